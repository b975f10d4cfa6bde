"""A bird that was not seen for a while is found again, if there is no doubt."""

import pytest
from made_detections import BLUE, RED, film, n_tracks, perched, picture

from birdlib.video import reassociation


@pytest.mark.parametrize("unseen, expected", [(1, 1), (4, 1), (6, 2), (20, 2)])
def test_gaps_up_to_the_maximum_are_bridged(unseen, expected, tmp_path):
    """5 images a second and max_gap_s=1: detected again after 5 images is in time."""
    path = perched(5) + [None] * unseen + perched(5)
    assert n_tracks(film(path), tmp_path, max_gap_s=1.0) == expected


def test_other_colours_on_the_same_perch_begin_a_new_track(tmp_path):
    path = perched(5) + [None] * 3 + perched(5, colour=BLUE)
    assert n_tracks(film(path), tmp_path) == 2


def test_ambiguous_reassociations_are_not_made(tmp_path):
    left, right, between = perched(5, x=90), perched(5, x=140), [None] * 7 + perched(5, x=115)
    assert n_tracks(film(left, right, between), tmp_path) == 3


def test_birds_at_the_edge_are_not_reassociated(tmp_path):
    """The same displacement away from the edge is bridged."""

    def came_back(x):
        return perched(5, x=x) + [None] * 3 + perched(5, x=x + 34)

    assert n_tracks(film(came_back(0)), tmp_path) == 2
    assert n_tracks(film(came_back(100)), tmp_path) == 1


def test_colour_distance_is_0_for_one_bird_and_1_for_other_colours():
    red, blue = (
        reassociation.colour_histogram(picture(perched(1, colour=colour)), (100, 100, 40, 40)) for colour in (RED, BLUE)
    )
    assert reassociation.colour_distance(red, red) == pytest.approx(0.0, abs=1e-6)
    assert reassociation.colour_distance(red, blue) == pytest.approx(1.0, abs=1e-6)
