import numpy as np
import pandas as pd
from made_tracks import crops_of

from birdlib.individuals import clustering, identification
from birdlib.metrics.identity import UNKNOWN


def rng(seed=0):
    return np.random.default_rng(seed)


def summary_of(rows):
    return pd.DataFrame(rows, columns=["recording_id", "track", "n_detections", "score"])


# What counts as a bird


def test_long_tracks_always_exist_and_short_ones_may_not():
    summary = summary_of([("a", 1, 60, 0.7), ("a", 2, 3, 0.9), ("a", 3, 3, 0.3), ("a", 4, 2, 0.5)])
    chance = identification.existence(summary)
    assert chance[0] > 0.9999 and 0.4 < chance[1] < 0.6 and chance[2] < 0.1


def test_existence_grows_with_detections_and_score():
    n, score = np.meshgrid(range(1, 40), np.linspace(0.05, 1, 20), indexing="ij")
    chance = identification.existence(pd.DataFrame({"n_detections": n.ravel(), "score": score.ravel()})).reshape(n.shape)
    assert (np.diff(chance, axis=0) >= 0).all() and (np.diff(chance, axis=1) >= 0).all()


def test_simultaneous_tracks_are_those_of_the_fullest_frame():
    """At 1 s the film has two birds and what may be a leaf, seen eight times with a low score, which does not count; at 2 s three birds."""
    rows = [(1, 1.0), (2, 1.0), (9, 1.0), (1, 2.0), (2, 2.0), (3, 2.0), (4, 3.0)]
    tracks = pd.DataFrame([("a", track, time_s, 0.9) for track, time_s in rows], columns=["recording_id", "track", "time_s", "score"])
    summary = summary_of([("a", 1, 20, 0.9), ("a", 2, 20, 0.9), ("a", 3, 20, 0.9), ("a", 4, 20, 0.9), ("a", 9, 8, 0.4)])
    assert identification.MIN_EXISTENCE_PROB < identification.existence(summary)[4] < identification.CONFIRMED_PROB
    assert identification.simultaneous_tracks(tracks, summary).tolist() == [True, True, True, False, False]
    assert identification.simultaneous_tracks(tracks[tracks["time_s"] < 2], summary).tolist() == [True, True, False, False, False]


def test_each_film_has_its_own_fullest_frame_and_track_numbers():
    tracks = pd.DataFrame(
        [("a", 1, 0.0, 0.9), ("b", 1, 5.0, 0.9), ("b", 2, 5.0, 0.9)], columns=["recording_id", "track", "time_s", "score"]
    )
    summary = summary_of([("a", 1, 9, 0.9), ("a", 2, 9, 0.9), ("b", 1, 9, 0.9), ("b", 2, 9, 0.9)])
    assert identification.simultaneous_tracks(tracks, summary).tolist() == [True, False, True, True]


def test_tracks_that_do_not_exist_or_have_no_crop_are_unknown():
    embeddings, tracks = crops_of([0, 1, 2, 3], noise=0.01)
    is_kept = tracks != 2
    identities = identification.identify(embeddings[is_kept], tracks[is_kept], np.zeros((4, 4)), 0.4, [True, False, True, True])
    assert identities.tolist() == [0, UNKNOWN, UNKNOWN, 1]


def test_simultaneous_tracks_are_in_every_draw_and_others_by_their_probability():
    embeddings, tracks = crops_of([0, 1, 2], noise=0.01)
    draws = identification.draw_identities(
        embeddings, tracks, np.zeros((3, 3)), [0.4] * 400, np.array([0.0, 0.0, 0.5]), np.array([True, False, False]), rng()
    )
    is_there = (draws != UNKNOWN).mean(axis=0)
    assert is_there[0] == 1 and is_there[1] == 0 and 0.4 < is_there[2] < 0.6


def test_resampled_crops_change_identities_where_crops_differ():
    """Half of the second track's crops are like the first track; all tracks are there and the threshold is fixed."""
    first, second = crops_of([0, 1], noise=0.01)[0].reshape(2, 6, -1)
    mixed = np.concatenate([first, first[:3], second[:3]])
    draws = identification.draw_identities(mixed, np.repeat([0, 1], 6), np.zeros((2, 2)), [0.3] * 60, np.ones(2), np.ones(2, bool), rng())
    assert 0.2 < (draws[:, 0] == draws[:, 1]).mean() < 0.8


# The bootstrap


def test_draws_differ_and_are_reproducible_with_the_same_rng():
    embeddings, tracks = crops_of([0, 0, 1, 1, 2, 2], noise=0.3)
    once, again, other = (
        identification.draw_identities(embeddings, tracks, np.zeros((6, 6)), [0.5] * 30, np.full(6, 0.6), np.zeros(6, bool), rng(seed))
        for seed in (0, 0, 1)
    )
    assert np.array_equal(once, again) and not np.array_equal(once, other) and len(np.unique(once, axis=0)) > 5


def test_identities_and_draws_are_computed_in_one_call():
    embeddings, tracks = crops_of([0, 0, 1], noise=0.1)
    table = pd.DataFrame({"recording_id": ["a", "a", "b"], "track": [1, 2, 1], "n_detections": 9, "score": 0.9})
    halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), 3), np.zeros((3, 3), bool))
    boxes = table.loc[table.index.repeat(3)].assign(time_s=np.arange(9.0))
    thresholds = identification.draw_thresholds(*halves, 0.5, rng(), 7)
    identities, draws, at_once = identification.identify_with_draws(embeddings, tracks, np.zeros((3, 3), bool), boxes, table, 0.5, thresholds, rng())
    assert identities.tolist() == [0, 0, 1] and draws.shape == (7, 3) and at_once.shape == (3,)


# The threshold


def test_thresholds_of_few_tracks_vary_more():
    """Twelve tracks of distinct birds, all in one frame, or three."""

    def spread(n_tracks):
        embeddings, tracks = crops_of(range(n_tracks), noise=0.25, n_crops=8)
        apart = ~np.eye(n_tracks, dtype=bool)
        halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(8), n_tracks), apart)
        return identification.draw_thresholds(*halves, 0.5, rng(), n=200).std()

    assert spread(3) > 1.3 * spread(24) > 0


def test_a_track_drawn_twice_counts_its_pairs_twice(monkeypatch):
    """The weight of a pair of halves is the count of its track, of a pair of tracks the product of both counts."""
    embeddings, tracks = crops_of([0, 1, 2], noise=0.2)
    halves, relations, of_track = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), 3), ~np.eye(3, dtype=bool))
    weighed = []
    monkeypatch.setattr(clustering, "choose_threshold", lambda apart, told, weights, fallback: (weighed.append((told, weights)), 0)[1:])
    identification.draw_thresholds(halves, relations, of_track, 0.5, rng(), n=20)
    first, second = (of_track[side] for side in np.triu_indices(6, k=1))
    for told, weights in weighed:
        times = weights[told == 1]  # the pairs of the halves, by track
        assert times.sum() == 3
        expected = np.where(first == second, times[first], times[first] * times[second])
        assert weights.tolist() == expected.tolist()
    assert len({tuple(weights) for _, weights in weighed}) > 3


def test_without_known_pairs_all_draws_have_the_chosen_threshold():
    embeddings, tracks = crops_of([0, 1], noise=0.1)
    halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), 2), np.zeros((2, 2), bool))
    assert identification.draw_thresholds(*halves, 0.37, rng(), n=5).tolist() == [0.37] * 5
