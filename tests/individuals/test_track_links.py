"""Evidence of time and place: which track may go on in which."""

import numpy as np
import pandas as pd
import pytest

from birdlib.individuals import clustering, identification, track_links
from birdlib.metrics.identity import UNKNOWN
from birdlib.video import frame_counts, tracking

WIDTH, HEIGHT = 640, 360
EVIDENT, PLAUSIBLE, UNEXPLAINED = track_links.EVIDENT, track_links.PLAUSIBLE, track_links.UNEXPLAINED


def track(number, start_s, end_s, first, last=None, size=40):
    """Boxes at 5 Hz from one place to another, (x, y)."""
    times_s = np.arange(round(start_s * 5), round(end_s * 5) + 1) / 5
    places = np.linspace(first, last or first, len(times_s))
    rows = [("film", number, time_s, x, y, size, size, 0.9) for time_s, (x, y) in zip(times_s, places, strict=True)]
    return pd.DataFrame(rows, columns=tracking.COLUMNS)


def frames(cut_s=np.inf, end_s=30.0):
    times_s = np.arange(round(end_s * 5)) / 5
    columns = {"recording_id": "film", "time_s": times_s, "scene": (times_s >= cut_s).astype(int), "width": WIDTH, "height": HEIGHT}
    return pd.DataFrame({**columns, **dict.fromkeys(frame_counts.SCORES, 1), "n_faint": 0})


def level(*tracks, cut_s=np.inf):
    """Of the second track as the sequel of the first."""
    table = pd.concat(tracks, ignore_index=True)
    return track_links.find(table, tracking.summary(table), frames(cut_s)).level[0, 1]


SITS = track(1, 0, 3, (300, 150))


@pytest.mark.parametrize(
    ("sequel", "expected"),
    [
        (track(2, 3.4, 6, (310, 150)), EVIDENT),  # it was missed for a moment
        (track(2, 3.4, 6, (420, 150)), EVIDENT),  # it hopped three lengths in .4 s
        (track(2, 4.6, 8, (300, 150)), PLAUSIBLE),  # it was missed for 1.6 s
        (track(2, 3.2, 6, (560, 150)), UNEXPLAINED),  # 6.5 lengths in .2 s
        (track(2, 9, 12, (300, 150)), UNEXPLAINED),  # the place was empty for 6 s
        (track(2, 3.4, 6, (300, 150), size=200), UNEXPLAINED),  # five times the size
        (track(2, 2.0, 6, (330, 150)), UNEXPLAINED),  # both are there at 2 s
    ],
)
def test_a_sequel_begins_soon_where_the_bird_can_be(sequel, expected):
    assert level(SITS, sequel) == expected


def test_no_track_goes_on_over_a_cut():
    assert level(SITS, track(2, 3.4, 6, (310, 150)), cut_s=3.2) == UNEXPLAINED


@pytest.mark.parametrize(("start_s", "place", "expected"), [(6, (WIDTH - 40, 170), PLAUSIBLE), (12, (WIDTH - 40, 170), UNEXPLAINED), (4, (0, 150), UNEXPLAINED), (4, (300, 150), UNEXPLAINED)])
def test_a_bird_that_leaves_comes_back_at_the_same_edge_and_soon(start_s, place, expected):
    leaves = track(1, 0, 3, (300, 150), (WIDTH - 40, 150))
    assert level(leaves, track(2, start_s, start_s + 3, place, (300, 150))) == expected


def test_a_bird_that_another_hides_may_stay_away_for_longer():
    other = track(3, 1, 15, (315, 150))
    assert level(SITS, track(2, 9, 12, (260, 150)), other) == PLAUSIBLE


def test_films_have_no_places_in_common():
    table = pd.concat([SITS, track(1, 3.4, 6, (300, 150)).assign(recording_id="other")], ignore_index=True)
    links = track_links.find(table, tracking.summary(table), frames())
    assert not links.level.any() and not links.same_film[0, 1]


def test_chains_have_one_sequel_each_and_never_hold_two_birds_of_one_frame():
    """Two tracks could follow the first; both are in one frame, so that only the more similar one does."""
    table = pd.concat([SITS, track(2, 3.4, 6, (310, 150)), track(3, 3.4, 6, (330, 200)), track(4, 6.2, 8, (310, 150))], ignore_index=True)
    summary, apart = tracking.summary(table), tracking.must_not_link(table)
    links = track_links.find(table, summary, frames())
    distances = np.array([[0, 0.1, 0.05, 0.1], [0.1, 0, 0.3, 0.1], [0.05, 0.3, 0, 0.9], [0.1, 0.1, 0.9, 0]])
    chain = track_links.chains(distances, apart, 0.2, links)
    assert chain[0] == chain[2] and chain[1] == chain[3] != chain[0]
    assert len(set(track_links.chains(distances, apart, 0.01, links))) == 4


def embeddings_of(angles):
    """Unit vectors in a plane: the distance of two is 1 - the cosine of the angle, in degrees, between them."""
    angles = np.radians(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def count(table, angles, factor, cut_s=np.inf, threshold=0.3):
    summary, apart = tracking.summary(table), tracking.must_not_link(table)
    links = track_links.find(table, summary, frames(cut_s), factor)
    identities, draws, _ = identification.identify_with_draws(
        embeddings_of(angles), np.arange(len(summary)), apart, table, summary, threshold, np.full(30, threshold), np.random.default_rng(0), links=links
    )
    n_drawn = [len(set(row) - {UNKNOWN}) for row in draws]
    return len(set(identities) - {UNKNOWN}), min(n_drawn), max(n_drawn)


SUCCESSIVE = pd.concat([track(k + 1, 4 * k, 4 * k + 2, (300, 150), (0, 150)) for k in range(4)], ignore_index=True)
SIMILAR = [0, 38, 0, 38]  # degrees: distances of .21, below the threshold, above half of it


def test_birds_that_leave_and_others_that_come_are_not_one_by_default():
    """Two looks that are far from each other by half of the threshold: two birds, one if any similar tracks are joined, four if none are."""
    assert count(SUCCESSIVE, SIMILAR, track_links.UNVALIDATED) == (2, 1, 4)


def test_the_appearance_of_a_validated_encoder_is_evidence_enough():
    assert count(SUCCESSIVE, SIMILAR, 1.0) == (1, 1, 1)


def test_a_cut_separates_similar_birds_and_a_missed_moment_does_not():
    table = pd.concat([SITS, track(2, 3.4, 6, (310, 150))], ignore_index=True)
    assert count(table, [0, 38], track_links.UNVALIDATED) == (1, 1, 1)
    assert count(table, [0, 38], track_links.UNVALIDATED, cut_s=3.2) == (2, 1, 2)


def test_one_bird_that_hops_behind_bars_is_one_bird():
    hops = pd.concat([track(k + 1, 2 * k, 2 * k + 1.6, (100 + 70 * (k % 3), 150)) for k in range(6)], ignore_index=True)
    assert count(hops, [0, 20, 5, 25, 10, 15], track_links.UNVALIDATED) == (1, 1, 1)


def test_a_factor_is_one_only_for_a_threshold_with_enough_pairs_and_few_errors():
    assert track_links.factor_of(0.05, (40, 60)) == 1.0
    for error, n_pairs in ((0.3, (40, 60)), (0.05, (40, 3)), (float("nan"), (0, 0))):
        assert track_links.factor_of(error, n_pairs) == track_links.UNVALIDATED


def test_scaled_distances_merge_later():
    points = embeddings_of([0, 30])
    scale = np.array([[1.0, 3.0], [3.0, 1.0]])
    assert clustering.cluster(points, None, 0.2).tolist() == [0, 0]
    assert clustering.cluster(points, None, 0.2, scale).tolist() == [0, 1]
