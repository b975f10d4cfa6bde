"""The number of tiles is chosen by what a few images of a film show."""

import cv2
import numpy as np
import pytest

from birdlib.video import tile_choice, writer

IMAGES = [np.zeros((270, 480, 3), np.uint8)] * 8


def detector(found, side=20, score=0.7, step=60):
    """Boxes in a row that moves on from image to image; ``found`` is the number by the number of tiles."""

    def detect(images, n_tiles):
        return [np.array([[k * step + 500 * n, 0, side, side, score] for n in range(found[n_tiles])], np.float32).reshape(-1, 5) for k in range(len(images))]

    return detect


@pytest.mark.parametrize(
    ("found", "n_tiles"),
    [({1: 1, 2: 3}, 2), ({1: 0, 2: 2}, 2), ({1: 2, 2: 2}, 1), ({1: 4, 2: 5}, 1), ({1: 0, 2: 0}, 1)],
)
def test_tiles_are_used_where_they_find_far_more_birds(found, n_tiles):
    assert tile_choice.choose(IMAGES, detector(found)) == n_tiles


@pytest.mark.parametrize("options", [{"side": 120}, {"score": 0.4}, {"step": 0}])
def test_large_birds_low_scores_and_things_that_never_move_need_no_tiles(options):
    assert tile_choice.choose(IMAGES, detector({1: 1, 2: 4}, **options)) == 1


def test_a_film_without_images_needs_no_tiles():
    assert tile_choice.choose([], detector({1: 0, 2: 0})) == 1


def test_images_are_of_all_parts_of_a_film(tmp_path):
    """Its grey level is the time in tenths of a second."""
    writer.write(tmp_path / "a.mp4", (np.full((64, 96, 3), 2 * k, np.uint8) for k in range(80)), rate_hz=10, crf=1)
    levels = [image.mean() / 2 for image in tile_choice.sample(tmp_path / "a.mp4")]
    np.testing.assert_allclose(levels, np.arange(5, 80, 10), atol=2)
    part = [image.mean() / 2 for image in tile_choice.sample(tmp_path / "a.mp4", 4.0, 6.0)]
    assert 38 < min(part) and max(part) < 62 and len(part) == 8


def test_what_is_no_film_has_no_images(tmp_path):
    (tmp_path / "a.mp4").write_text("no film")
    cv2.imwrite(str(tmp_path / "b.png"), IMAGES[0])
    assert tile_choice.sample(tmp_path / "a.mp4") == [] and len(tile_choice.sample(tmp_path / "b.png")) >= 1
