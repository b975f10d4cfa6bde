import numpy as np
import pandas as pd
import pytest
from arrays import unit

from birdlib.individuals import clustering, counts

FILMS = ["a", "b", "c", "empty"]
CASTS = [(0, 1), (1, 2), (3,)]  # the birds of the films a, b and c


def rng(seed=0):
    return np.random.default_rng(seed)


def summary_of(rows):
    return pd.DataFrame(rows, columns=["recording_id", "track", "n_detections", "score"])


def crops_of(birds, noise, n_crops=6, seed=0, dim=32):
    """(embeddings, crop_tracks) of tracks; ``birds`` is the bird of each."""
    centres = unit(rng(1).normal(size=(max(birds, default=0) + 1, dim)))[list(birds)].reshape(-1, dim)
    vectors = np.repeat(centres, n_crops, axis=0) + noise * rng(seed).normal(size=(n_crops * len(birds), dim))
    return unit(vectors) if len(birds) else np.zeros((0, dim)), np.repeat(np.arange(len(birds)), n_crops)


@pytest.fixture(scope="module", params=[0.02, 0.15, 0.3], ids=["clear", "noisy", "inseparable"])
def world(request):
    """Three films, each bird of which is two tracks, and one film without birds; birds of one film are seen together."""
    recording_ids = [film for film, cast in zip(FILMS, CASTS, strict=False) for _ in cast for _ in range(2)]
    birds = [bird for cast in CASTS for bird in cast for _ in range(2)]
    n = len(birds)
    apart = (np.array(recording_ids)[:, None] == recording_ids) & (np.array(birds)[:, None] != birds)
    embeddings, tracks = crops_of(birds, request.param)
    halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), n), apart)
    threshold = clustering.choose_threshold(clustering.distances(halves[0]), halves[1])[0]
    at_once = np.arange(n) % 2 == 0
    identities = counts.identify(embeddings, tracks, apart, threshold, np.ones(n, bool))
    thresholds = counts.draw_thresholds(*halves, threshold, rng(), n=40)
    draws = counts.draw_identities(embeddings, tracks, apart, thresholds, np.full(n, 0.8), at_once, rng())
    return request.param, recording_ids, birds, identities, draws, at_once


def test_well_separated_birds_are_counted_exactly_and_an_empty_film_has_none(world):
    noise, recording_ids, birds, identities, draws, at_once = world
    table = counts.per_film(identities, draws, recording_ids, at_once, FILMS).set_index("recording_id")
    assert table.loc["empty"].tolist() == [0] * 7
    if noise < 0.1:
        assert identities.tolist() == clustering.renumber(birds).tolist()
        assert table["n"].tolist() == table["high"].tolist() == [2, 2, 1, 0]
        assert table["only_here"].tolist() == [1, 1, 1, 0]
        assert counts.overall(identities, draws, recording_ids) == {"total": (4, 4, 4), "in_several_films": (1, 1, 1)}


def test_a_count_is_in_its_interval_and_at_least_the_largest_number_in_one_frame(world):
    _, recording_ids, _, identities, draws, at_once = world
    table = counts.per_film(identities, draws, recording_ids, at_once, FILMS)
    assert (table["at_once"] <= table["low"]).all() and table["at_once"].tolist() == [2, 2, 1, 0]
    for name in ("", "only_here_"):
        assert (table[f"{name}low"] <= table[name[:-1] or "n"]).all() and (table[name[:-1] or "n"] <= table[f"{name}high"]).all()


def test_the_total_of_two_films_is_their_sum_minus_the_shared_birds_in_every_draw(world):
    _, recording_ids, _, identities, draws, at_once = world
    for drawn in (identities, *draws):
        table = counts.per_film_pair(drawn, draws[:0], recording_ids, FILMS)
        assert (table["n_a"] + table["n_b"] - table["shared"] == table["total"]).all()
        n = counts.per_film(drawn, draws[:0], recording_ids, at_once, FILMS).set_index("recording_id")["n"]
        assert table["n_a"].tolist() == n[table["a"]].tolist() and table["n_b"].tolist() == n[table["b"]].tolist()
    assert len(table) == 6


def test_the_count_does_not_depend_on_the_order_of_the_tracks(world):
    _, recording_ids, _, identities, draws, at_once = world
    order = rng().permutation(len(identities))
    shuffled = identities[order], draws[:, order], np.array(recording_ids)[order]
    told = counts.per_film(identities, draws, recording_ids, at_once, FILMS)
    pd.testing.assert_frame_equal(counts.per_film(*shuffled, at_once[order], FILMS), told)
    assert counts.overall(*shuffled) == counts.overall(identities, draws, recording_ids)


def test_draws_differ_and_are_reproducible_with_the_same_rng():
    embeddings, tracks = crops_of([0, 0, 1, 1, 2, 2], noise=0.3)
    once, again, other = (
        counts.draw_identities(embeddings, tracks, np.zeros((6, 6)), [0.5] * 30, np.full(6, 0.6), np.zeros(6, bool), rng(seed))
        for seed in (0, 0, 1)
    )
    assert np.array_equal(once, again) and not np.array_equal(once, other) and len(np.unique(once, axis=0)) > 5


@pytest.mark.filterwarnings("error")
def test_films_without_birds_have_counts_of_zero():
    embeddings, tracks = crops_of([], noise=0)
    apart, none = np.zeros((0, 0), bool), np.zeros(0, bool)
    halves = clustering.validation_pairs(embeddings, tracks, [], apart)
    thresholds = counts.draw_thresholds(*halves, 0.5, rng(), n=7)
    identities = counts.identify(embeddings, tracks, apart, 0.5, none)
    draws = counts.draw_identities(embeddings, tracks, apart, thresholds, np.zeros(0), none, rng())
    assert thresholds.tolist() == [0.5] * 7 and draws.shape == (7, 0)
    table = counts.per_film(identities, draws, [], none, ["x", "y"])
    assert table.drop(columns="recording_id").to_numpy().tolist() == [[0] * 7] * 2
    assert counts.per_film_pair(identities, draws, [], ["x", "y"]).iloc[0, 2:].tolist() == [0] * 8
    assert counts.overall(identities, draws, []) == {"total": (0, 0, 0), "in_several_films": (0, 0, 0)}
    assert len(counts.per_film_pair(identities, draws, [], ["x"])) == 0
    assert len(counts.matches(identities, draws, summary_of([]))) == 0


# What counts as a bird


def test_long_tracks_always_exist_and_short_ones_may_not():
    summary = summary_of([("a", 1, 60, 0.7), ("a", 2, 3, 0.9), ("a", 3, 3, 0.3), ("a", 4, 2, 0.5)])
    chance = counts.existence(summary)
    assert chance[0] > 0.9999 and 0.4 < chance[1] < 0.6 and chance[2] < 0.1


def test_existence_grows_with_detections_and_score():
    n, score = np.meshgrid(range(1, 40), np.linspace(0.05, 1, 20), indexing="ij")
    chance = counts.existence(pd.DataFrame({"n_detections": n.ravel(), "score": score.ravel()})).reshape(n.shape)
    assert (np.diff(chance, axis=0) >= 0).all() and (np.diff(chance, axis=1) >= 0).all()


def test_simultaneous_tracks_are_those_of_the_fullest_frame():
    """At 1 s the film has two birds and what may be a leaf, seen eight times with a low score, which does not count; at 2 s three birds."""
    rows = [(1, 1.0), (2, 1.0), (9, 1.0), (1, 2.0), (2, 2.0), (3, 2.0), (4, 3.0)]
    tracks = pd.DataFrame([("a", track, time_s, 0.9) for track, time_s in rows], columns=["recording_id", "track", "time_s", "score"])
    summary = summary_of([("a", 1, 20, 0.9), ("a", 2, 20, 0.9), ("a", 3, 20, 0.9), ("a", 4, 20, 0.9), ("a", 9, 8, 0.4)])
    assert counts.MIN_EXISTENCE_PROB < counts.existence(summary)[4] < counts.CONFIRMED_PROB
    assert counts.simultaneous_tracks(tracks, summary).tolist() == [True, True, True, False, False]
    assert counts.simultaneous_tracks(tracks[tracks["time_s"] < 2], summary).tolist() == [True, True, False, False, False]


def test_each_film_has_its_own_fullest_frame_and_track_numbers():
    tracks = pd.DataFrame(
        [("a", 1, 0.0, 0.9), ("b", 1, 5.0, 0.9), ("b", 2, 5.0, 0.9)], columns=["recording_id", "track", "time_s", "score"]
    )
    summary = summary_of([("a", 1, 9, 0.9), ("a", 2, 9, 0.9), ("b", 1, 9, 0.9), ("b", 2, 9, 0.9)])
    assert counts.simultaneous_tracks(tracks, summary).tolist() == [True, False, True, True]


def test_tracks_that_do_not_exist_or_have_no_crop_are_unknown():
    embeddings, tracks = crops_of([0, 1, 2, 3], noise=0.01)
    is_kept = tracks != 2
    identities = counts.identify(embeddings[is_kept], tracks[is_kept], np.zeros((4, 4)), 0.4, [True, False, True, True])
    assert identities.tolist() == [0, counts.UNKNOWN, counts.UNKNOWN, 1]


def test_simultaneous_tracks_are_in_every_draw_and_others_by_their_probability():
    embeddings, tracks = crops_of([0, 1, 2], noise=0.01)
    draws = counts.draw_identities(
        embeddings, tracks, np.zeros((3, 3)), [0.4] * 400, np.array([0.0, 0.0, 0.5]), np.array([True, False, False]), rng()
    )
    is_there = (draws != counts.UNKNOWN).mean(axis=0)
    assert is_there[0] == 1 and is_there[1] == 0 and 0.4 < is_there[2] < 0.6


def test_resampled_crops_change_identities_where_crops_differ():
    """Half of the second track's crops are like the first track; all tracks are there and the threshold is fixed."""
    first, second = crops_of([0, 1], noise=0.01)[0].reshape(2, 6, -1)
    mixed = np.concatenate([first, first[:3], second[:3]])
    draws = counts.draw_identities(mixed, np.repeat([0, 1], 6), np.zeros((2, 2)), [0.3] * 60, np.ones(2), np.ones(2, bool), rng())
    assert 0.2 < (draws[:, 0] == draws[:, 1]).mean() < 0.8


@pytest.mark.parametrize("n, drawn, interval", [([0, 1], [0, 0], (2, 1, 2)), ([0, 0], [0, 1], (1, 1, 2))])
def test_the_interval_is_widened_to_hold_the_count(n, drawn, interval):
    table = counts.per_film(np.array(n), np.array([drawn] * 9), ["a", "a"], np.zeros(2, bool), ["a"])
    assert tuple(table.loc[0, ["n", "low", "high"]]) == interval


# The threshold


def test_thresholds_of_few_tracks_vary_more():
    """Twelve tracks of distinct birds, all in one frame, or three."""

    def spread(n_tracks):
        embeddings, tracks = crops_of(range(n_tracks), noise=0.25, n_crops=8)
        apart = ~np.eye(n_tracks, dtype=bool)
        halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(8), n_tracks), apart)
        return counts.draw_thresholds(*halves, 0.5, rng(), n=200).std()

    assert spread(3) > 1.3 * spread(24) > 0


def test_a_track_drawn_twice_counts_its_pairs_twice(monkeypatch):
    """The weight of a pair of halves is the count of its track, of a pair of tracks the product of both counts."""
    embeddings, tracks = crops_of([0, 1, 2], noise=0.2)
    halves, relations, of_track = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), 3), ~np.eye(3, dtype=bool))
    weighed = []
    monkeypatch.setattr(clustering, "choose_threshold", lambda apart, told, weights, fallback: (weighed.append((told, weights)), 0)[1:])
    counts.draw_thresholds(halves, relations, of_track, 0.5, rng(), n=20)
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
    assert counts.draw_thresholds(*halves, 0.37, rng(), n=5).tolist() == [0.37] * 5


# Matches


def test_matches_list_tracks_of_different_films_with_their_share_of_draws(world):
    noise, recording_ids, birds, identities, draws, _ = world
    summary = pd.DataFrame({"recording_id": recording_ids, "track": [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]})
    table = counts.matches(identities, draws, summary)
    assert (table["recording_id_a"] != table["recording_id_b"]).all() and table["share"].dropna().between(0, 1).all()
    if noise < 0.1:
        assert len(table) == 4 and (table["share"] == 1).all()
        assert set(zip(table["track_a"], table["track_b"], strict=True)) == {(3, 1), (3, 2), (4, 1), (4, 2)}


def test_same_share_is_nan_for_tracks_that_never_exist_together():
    shares = counts._same_share(np.array([[0, 0, -1], [0, 1, -1], [-1, 0, 1]]))
    assert shares[0, 0] == 1 and shares[0, 1] == 0.5 and np.isnan(shares[0, 2]) and shares[1, 2] == 0


def test_description_names_films_with_uncertain_counts():
    table = pd.DataFrame({"recording_id": ["a", "b"], "n": [4, 2], "low": [4, 1], "high": [5, 4]})
    text = counts.describe(table, {"total": [5, 4, 6], "in_several_films": [1, 0, 2]})
    assert text.startswith("5 individuals in all films [4, 6], 1 of them in several films [0, 2].") and "Uncertain: b;" in text


def test_identities_and_draws_are_computed_in_one_call():
    embeddings, tracks = crops_of([0, 0, 1], noise=0.1)
    table = pd.DataFrame({"recording_id": ["a", "a", "b"], "track": [1, 2, 1], "n_detections": 9, "score": 0.9})
    halves = clustering.validation_pairs(embeddings, tracks, np.tile(range(6), 3), np.zeros((3, 3), bool))
    boxes = table.loc[table.index.repeat(3)].assign(time_s=np.arange(9.0))
    thresholds = counts.draw_thresholds(*halves, 0.5, rng(), 7)
    identities, draws, at_once = counts.identify_with_draws(embeddings, tracks, np.zeros((3, 3), bool), boxes, table, 0.5, thresholds, rng())
    assert identities.tolist() == [0, 0, 1] and draws.shape == (7, 3) and at_once.shape == (3,)
