import numpy as np
import pandas as pd
import pytest
from made_tracks import crops_of

from birdlib.individuals import clustering, counts, identification

FILMS = ["a", "b", "c", "empty"]
CASTS = [(0, 1), (1, 2), (3,)]  # the birds of the films a, b and c


def rng(seed=0):
    return np.random.default_rng(seed)


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
    identities = identification.identify(embeddings, tracks, apart, threshold, np.ones(n, bool))
    thresholds = identification.draw_thresholds(*halves, threshold, rng(), n=40)
    draws = identification.draw_identities(embeddings, tracks, apart, thresholds, np.full(n, 0.8), at_once, rng())
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


@pytest.mark.filterwarnings("error")
def test_films_without_birds_have_counts_of_zero():
    embeddings, tracks = crops_of([], noise=0)
    apart, none = np.zeros((0, 0), bool), np.zeros(0, bool)
    halves = clustering.validation_pairs(embeddings, tracks, [], apart)
    thresholds = identification.draw_thresholds(*halves, 0.5, rng(), n=7)
    identities = identification.identify(embeddings, tracks, apart, 0.5, none)
    draws = identification.draw_identities(embeddings, tracks, apart, thresholds, np.zeros(0), none, rng())
    assert thresholds.tolist() == [0.5] * 7 and draws.shape == (7, 0)
    table = counts.per_film(identities, draws, [], none, ["x", "y"])
    assert table.drop(columns="recording_id").to_numpy().tolist() == [[0] * 7] * 2
    assert counts.per_film_pair(identities, draws, [], ["x", "y"]).iloc[0, 2:].tolist() == [0] * 8
    assert counts.overall(identities, draws, []) == {"total": (0, 0, 0), "in_several_films": (0, 0, 0)}
    assert len(counts.per_film_pair(identities, draws, [], ["x"])) == 0
    assert len(counts.matches(identities, draws, pd.DataFrame(columns=["recording_id", "track"]))) == 0


@pytest.mark.parametrize("n, drawn, interval", [([0, 1], [0, 0], (2, 1, 2)), ([0, 0], [0, 1], (1, 1, 2))])
def test_the_interval_is_widened_to_hold_the_count(n, drawn, interval):
    table = counts.per_film(np.array(n), np.array([drawn] * 9), ["a", "a"], np.zeros(2, bool), ["a"])
    assert tuple(table.loc[0, ["n", "low", "high"]]) == interval


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
