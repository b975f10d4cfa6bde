"""Counts by frames: flocks, birds that no track holds, and the word for certainty."""

import pandas as pd
import pytest

from birdlib.individuals import counts, frame_evidence
from birdlib.video import frame_counts


def table(n, low, high, at_once):
    row = ["film", n, low, high, at_once, n, low, high]
    return pd.DataFrame([row], columns=counts.FILM_COLUMNS)


def frames(firm, likely=None, possible=None, faint=0, n=40):
    columns = {"recording_id": "film", "time_s": [k / 5 for k in range(n)], "scene": 0, "width": 640, "height": 360}
    likely = firm if likely is None else likely
    numbers = {"n_firm": firm, "n_likely": likely, "n_possible": likely if possible is None else possible}
    return pd.DataFrame({**columns, **numbers, "n_faint": [faint] + [0] * (n - 1)})[frame_counts.COLUMNS]


def revised(*count, is_validated=False, **boxes):
    row = frame_evidence.revise(table(*count), frames(**boxes), is_validated).iloc[0]
    return (row["n"], row["low"], row["high"], row["method"], row["certainty"])


def test_a_flock_that_tracks_do_not_hold_is_counted_by_its_boxes():
    assert revised(2, 1, 3, 2, firm=9, likely=10, possible=12) == (10, 9, 12, "density", "likely")


def test_a_flock_in_a_quarter_of_the_frames_has_a_wider_interval():
    firm = [12] * 6 + [3] * 34
    assert revised(2, 1, 3, 2, firm=firm) == (12, 3, 12, "density", "uncertain")


@pytest.mark.parametrize("firm", [2, 4])
def test_few_boxes_more_than_tracks_are_no_flock(firm):
    assert revised(2, 2, 3, 2, firm=firm)[3] == "tracks"


@pytest.mark.parametrize(
    ("count", "boxes", "expected"),
    [
        ((2, 2, 2, 2), {"firm": 2}, (2, 2, "certain")),
        ((2, 2, 2, 1), {"firm": 2}, (2, 2, "likely")),  # never both at once
        ((3, 3, 4, 3), {"firm": 3}, (3, 4, "likely")),
        ((3, 3, 6, 3), {"firm": 3}, (3, 6, "uncertain")),
        ((2, 2, 2, 2), {"firm": 2, "likely": 4}, (2, 4, "uncertain")),  # boxes that no track holds
        ((0, 0, 0, 0), {"firm": 0, "likely": 0, "possible": 3}, (0, 3, "uncertain")),
        ((0, 0, 0, 0), {"firm": 0}, (0, 0, "certain")),
    ],
)
def test_certainty_follows_the_interval(count, boxes, expected):
    n, low, high, _, certainty = revised(*count, **boxes)
    assert (low, high, certainty) == expected and n == count[0]


def test_without_validation_an_interval_reaches_down_to_what_single_frames_show():
    assert revised(6, 5, 9, 4, firm=4)[1] == 4
    assert revised(6, 5, 9, 4, firm=4, is_validated=True)[1] == 5
    assert revised(3, 3, 4, 2, firm=0)[1] == 1  # a bird was there


def test_faint_tracks_may_be_birds():
    assert revised(2, 2, 2, 2, firm=2, faint=3)[1:] == (2, 5, "tracks", "uncertain")
    assert revised(2, 2, 6, 2, firm=2, faint=3)[2] == 6  # some may be parts of tracks that are counted


def test_an_interval_holds_its_count_whatever_frames_show():
    for count in ((0, 0, 1, 0), (1, 1, 1, 1), (5, 3, 8, 3)):
        for firm in range(0, 12, 3):
            n, low, high, *_ = revised(*count, firm=firm, likely=firm + 1, possible=firm + 2)
            assert low <= n <= high and count[3] <= n


def test_a_film_without_frames_keeps_its_count():
    row = frame_evidence.revise(table(2, 2, 3, 2), frames(firm=5).head(0)).iloc[0]
    assert (row["n"], row["low"], row["high"], row["certainty"]) == (2, 2, 3, "likely")
    assert list(frame_evidence.revise(table(2, 2, 3, 2).head(0), frames(firm=5)))[-2:] == ["method", "certainty"]


def test_the_total_has_the_birds_of_flocks_too():
    before = table(2, 1, 3, 2)
    after = frame_evidence.revise(before, frames(firm=9, likely=10, possible=12))
    assert frame_evidence.add_untracked((5, 4, 7), before, after) == (13, 12, 16)
    assert frame_evidence.add_untracked((5, 4, 7), before, frame_evidence.revise(before, frames(firm=2))) == (5, 4, 7)


def test_the_interval_of_the_total_holds_it_where_a_flock_adds_more_to_its_lower_end():
    """The flock of 9 to 12 birds had 5 by tracks, at least 0: the count grows by 5, its lower end by 9."""
    before = table(5, 0, 6, 2)
    after = frame_evidence.revise(before, frames(firm=9, likely=10, possible=12))
    n, low, high = frame_evidence.add_untracked((5, 4, 7), before, after)
    assert (n, low) == (10, 10) and high >= n
