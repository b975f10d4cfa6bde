"""What of a track is the bird: not the things that it leaves and comes to; boxes of low scores."""

import pytest
from made_detections import RATE_HZ, RED, film, follow, n_tracks, perched

from birdlib.video import tracking


def test_a_perch_that_a_bird_has_left_is_not_the_bird(tmp_path):
    """The perch has a lower score and another box; the bird sits elsewhere meanwhile, so that two birds at once would be counted."""
    perch = (112, 122, 26, 20, RED)
    sits = list(film(perched(8)))
    away = [(time_s + 1.6, image, boxes) for time_s, image, boxes in film([perch] * 10, score=0.35)]
    found, crops = follow([*sits, *away], tmp_path)
    assert found["time_s"].max() == pytest.approx(1.4) and crops["time_s"].max() <= 1.4


def test_a_perch_to_which_a_bird_comes_is_not_the_bird(tmp_path):
    perch = (112, 122, 26, 20, RED)
    before = list(film([perch] * 10, score=0.5))
    sits = [(time_s + 2.0, image, boxes) for time_s, image, boxes in film(perched(8))]
    found, crops = follow([*before, *sits], tmp_path, min_score=0.6)
    assert found["track"].nunique() == 1 and found["time_s"].min() == pytest.approx(2.0) and crops["time_s"].min() >= 2.0


def test_a_faint_bird_that_moves_before_it_is_confirmed_is_tracked_from_the_beginning(tmp_path):
    walks = [(20 + 5 * k, 100, 40, 40, RED) for k in range(20)]
    faint, sure = list(film(walks, score=0.5))[:10], list(film(walks))[10:]
    found, _ = follow([*faint, *sure], tmp_path, min_score=0.6)
    assert found["time_s"].min() == 0.0 and len(found) == 20


def test_faint_tracks_are_those_that_move(tmp_path):
    walks, sits = [(20 + 8 * k, 40, 40, 40, RED) for k in range(10)], perched(10, y=160)
    found, _, frames = tracking.follow(film(walks, sits, score=0.5), "film", tmp_path, rate_hz=RATE_HZ, min_score=0.6)
    assert not len(found) and frames["n_faint"].tolist() == [1] + [0] * 9
    _, _, frames = tracking.follow(film(walks, sits), "film", tmp_path, rate_hz=RATE_HZ, min_score=0.6)
    assert not frames["n_faint"].any()


def test_low_scores_extend_tracks_but_do_not_begin_them(tmp_path):
    sure, faint = list(film(perched(6))), list(film(perched(12), score=0.3))[6:]
    found, _ = follow([*sure, *faint], tmp_path)
    assert len(found) == 12 and found["track"].nunique() == 1
    assert n_tracks(faint, tmp_path) == 0
