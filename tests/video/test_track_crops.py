"""The crops that are kept of a track."""

import numpy as np
import pytest
from made_detections import BLUE, HEIGHT, RATE_HZ, RED, WIDTH, film, follow, perched, picture

from birdlib.video import images, track_crops


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_track_whose_kept_crops_are_all_later_has_the_first_of_them():
    """A weak box at the end of a track may have been the better crop."""
    best = track_crops.BestCrops(1)
    for time_s, quality in ((0.0, 0.1), (1.0, 0.2), (2.0, 0.9), (3.0, 0.1)):
        best.add(time_s, np.zeros((2, 2, 3), np.uint8), quality)
    assert all(time_s > 0.0 for _, time_s, _ in best.kept.values())
    [(_, time_s, _)] = best.select(until_s=0.0)
    assert time_s == min(item[1] for item in best.kept.values())


def test_crops_are_few_and_spread_over_the_track(tmp_path):
    path = perched(20) + [None] * 20 + perched(40, x=30, y=30, colour=BLUE)
    _, crops = follow(film(path), tmp_path, n_crops=4)
    assert (crops.groupby("track").size() == 4).all()
    assert (crops.groupby("track")["quality"].diff().dropna() <= 0).all()
    for track, colour in ((1, RED), (2, BLUE)):
        mine = crops[crops["track"] == track]
        for path in mine["path"]:
            image = images.read_image(tmp_path / path)
            np.testing.assert_allclose(image[image.shape[0] // 2, image.shape[1] // 2], colour, atol=12)
        assert mine["time_s"].max() - mine["time_s"].min() > 2.0


def test_crops_of_an_earlier_run_are_deleted(tmp_path):
    follow(film(perched(20)), tmp_path, n_crops=8)
    _, crops = follow(film(perched(20)), tmp_path, n_crops=2)
    assert sorted(crops["path"]) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))


def test_crops_in_memory_do_not_grow_with_the_track():
    best = track_crops.BestCrops(n_crops=4)
    for k in range(2000):
        best.add(k / RATE_HZ, np.zeros((2, 2, 3), np.uint8), 1.0 if k in (300, 1700) else 0.5)
        assert len(best.kept) <= 8
    chosen = best.select()
    assert len(chosen) == 4
    assert {time_s for worth, time_s, _ in chosen if worth == 1.0} == {300 / RATE_HZ, 1700 / RATE_HZ}


def test_sharp_large_and_whole_crops_have_higher_quality(rng):
    sharp = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    blurred = np.full_like(sharp, 128)
    size, box = (HEIGHT, WIDTH), (100, 100, 96, 96)
    best = track_crops.quality(sharp, box, size)
    assert best > track_crops.quality(blurred, box, size)
    assert best > track_crops.quality(sharp, (100, 100, 48, 48), size)
    assert best > track_crops.quality(sharp, (0, 100, 96, 96), size)
    assert best > track_crops.quality(sharp, box, size, occlusion=0.5)


def test_crops_have_a_margin_and_stay_inside():
    image = picture([])
    assert track_crops.crop(image, (100, 100, 40, 20)).shape == (28, 48, 3)
    assert track_crops.crop(image, (300, 220, 20, 20)).shape == (22, 22, 3)
    assert max(track_crops.crop(np.zeros((2000, 3000, 3), np.uint8), (0, 0, 3000, 2000)).shape) == 320
