"""Tracking: a track goes on while the bird is unambiguous, and holds one bird."""

import numpy as np
import pandas as pd
import pytest
from made_detections import BLUE, HEIGHT, RATE_HZ, RED, WIDTH, film, follow, n_tracks, perched

from birdlib import runtime
from birdlib.data.synthetic import sample
from birdlib.video import boxes as geometry
from birdlib.video import detectors, tracking


@pytest.mark.parametrize("seed", range(3))
def test_a_track_holds_one_bird(seed, tmp_path):
    """Four birds of two colours sit, flit to perches that have long been free, and are now and then not seen."""
    rng = np.random.default_rng(seed)
    perches = [(x, y) for x in (15, 90, 165, 240) for y in (15, 90, 165)]
    free_from, at, paths = np.zeros(len(perches)), [0, 5, 7, 11], [[] for _ in range(4)]
    free_from[at] = 7
    for k in range(60):
        for bird, path in enumerate(paths):
            if rng.random() < 0.1:
                at[bird] = int(rng.choice(np.flatnonzero(free_from <= k)))
            free_from[at[bird]] = k + 7
            place = perches[at[bird]] + rng.normal(0, 2, 2)
            path.append(None if rng.random() < 0.1 else (*place, 40, 34, (RED, BLUE)[bird % 2]))
    found, _ = follow(film(*paths), tmp_path)
    names = []
    for time_s, x, y in found[["time_s", "x", "y"]].to_numpy():
        seen = [(path[round(time_s * RATE_HZ)], bird) for bird, path in enumerate(paths)]
        names.append(min((np.hypot(box[0] - x, box[1] - y), bird) for box, bird in seen if box)[1])
    birds_of = found.assign(bird=names).groupby("track")["bird"]
    assert birds_of.ngroups >= 4
    assert (birds_of.nunique() == 1).all()
    assert len(found) > 0.8 * sum(box is not None for path in paths for box in path)


def test_a_track_includes_the_first_detection(tmp_path):
    found, _ = follow(film([None] * 3 + perched(10)), tmp_path)
    assert list(found.columns) == tracking.COLUMNS
    np.testing.assert_allclose(found["time_s"], np.arange(3, 13) / RATE_HZ)
    assert set(found["track"]) == {1}


def test_a_box_around_two_birds_is_in_neither_track(tmp_path):
    """The detector gives one box for two close birds: afterwards each begins a new track."""
    both = [(100, 100, 82, 40, RED)] * 2
    found, _ = follow(film(perched(5) + both + perched(5, x=142)), tmp_path)
    assert found["track"].nunique() == 2
    assert found["width"].max() < 50


def test_a_track_does_not_switch_to_a_bird_that_was_hidden(tmp_path):
    """One is hidden by another as large, whose box overlaps the last of the first."""
    found, _ = follow(film(perched(6) + perched(6, x=118, colour=BLUE)), tmp_path)
    assert found.groupby("track")["time_s"].agg(["min", "max"]).to_numpy().tolist() == [[0.0, 1.0], [1.2, 2.2]]


@pytest.mark.parametrize("n, expected", [(2, 0), (3, 1)])
def test_tracks_of_few_detections_are_dropped(n, expected, tmp_path):
    assert n_tracks(film([None] + perched(n) + [None] * 3), tmp_path, min_detections=3) == expected


def test_a_single_image_can_be_a_track(tmp_path):
    found, crops = follow(film(perched(1)), tmp_path, min_detections=1)
    assert len(found) == len(crops) == 1
    assert n_tracks(film(perched(1)), tmp_path) == 0


@pytest.mark.parametrize("wrong", [{"n_crops": 0}, {"min_detections": 0}, {"max_gap_s": -1.0}])
def test_invalid_numbers_raise_an_error(wrong, tmp_path):
    with pytest.raises(ValueError, match="positive"):
        follow(film(perched(3)), tmp_path, **wrong)


@pytest.mark.slow
def test_tracks_of_the_sample_are_pure(tmp_path):
    """By a real detector: every bird has a track, and a box in fifty at most is of another bird than its track."""
    folder = sample.ensure()
    truth = pd.read_csv(folder / "truth" / "video_tracks.csv")
    detector, wrong, total = detectors.load("efficientdet_lite2", min_score=0.2), 0, 0
    for video, boxes in truth.groupby("video"):
        found, _ = follow(detector.detect_film(folder / video, RATE_HZ), tmp_path)
        names = []
        for row in found.itertuples():
            near = boxes[(boxes["time_s"] - row.time_s).abs() < 0.034]
            box = np.array([row.x, row.y, row.width, row.height])
            overlaps = geometry.iou(box, near[["x", "y", "width", "height"]].to_numpy(float))
            names.append(near["individual_id"].iloc[int(np.argmax(overlaps))])
        found["bird"] = names
        counts = found.groupby("track")["bird"].value_counts().unstack(fill_value=0)
        wrong, total = wrong + int((counts.sum(axis=1) - counts.max(axis=1)).sum()), total + len(found)
        assert set(counts.idxmax(axis=1)) == set(boxes["individual_id"]), video
    assert wrong <= total / 50


def test_a_full_disk_raises_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(runtime.FullDiskError, match="disk is full"):
        follow(film(perched(5)), tmp_path)


def test_a_bird_that_moves_more_than_half_its_length_between_images_is_tracked(tmp_path):
    running = [(10 + 26 * k, 100, 40, 40, RED) for k in range(10)]
    found, _ = follow(film(running), tmp_path)
    assert found["track"].nunique() == 1 and len(found) == 10


def test_running_birds_that_cross_keep_their_tracks(tmp_path):
    right, left = [(10 + 26 * k, 60, 40, 40, RED) for k in range(10)], [(250 - 26 * k, 120, 40, 40, BLUE) for k in range(10)]
    found, _ = follow(film(right, left), tmp_path)
    assert found.groupby("track")["y"].nunique().tolist() == [1, 1] and len(found) == 20


def test_no_track_goes_on_over_a_cut(tmp_path):
    detections = [(time_s, image if time_s < 1.5 else shaded(image), boxes) for time_s, image, boxes in film(perched(16))]
    assert n_tracks(detections, tmp_path) == 2
    assert n_tracks(film(perched(16)), tmp_path) == 1


def shaded(image):
    """Another place around the same bird."""
    other = np.tile(np.linspace(0, 90, WIDTH), (HEIGHT, 1)).astype(np.uint8)
    return np.where((image == 128).all(axis=2)[..., None], np.stack([other, other // 2, 60 + other], axis=2), image)
