"""What is learnt of pairs, and what the figures say."""

import functools

import numpy as np
import pandas as pd
import pytest
from made_scenes import BLIND, PERFECT, birds, film, library, media, put_scorer, rng, small_matcher

from birdlib.losses import matching as matching_losses
from birdlib.multimodal import match_training, scene_pairs

untrained = functools.cache(small_matcher)


@pytest.mark.parametrize("loss", [pytest.param("bce", marks=pytest.mark.slow), "info_nce"])
def test_what_can_be_told_apart_is_learnt(loss):
    whole = birds(6, n=6)
    model = small_matcher(joint=loss == "bce")
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation", "test")]
    before = match_training.evaluate(model, whole, sides[2], rng())
    options = {"epochs": 4, "patience": 8, "pairs_an_epoch": 64, "learning_rate": 0.03, "batch_size": 32}
    history = match_training.fit(model, whole, *sides[:2], loss, **options)
    figures = match_training.evaluate(model, whole, sides[2], rng())
    assert before["roc_auc"] < 0.75 < 0.9 < figures["roc_auc"] and figures["equal_error_rate"] < 0.2
    assert list(history) == ["epoch", "loss", "validation_roc_auc", "is_kept"] and history["is_kept"].sum() == 1
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    if loss == "info_nce":
        assert figures["sound_mrr"] > 0.9 and figures["picture_recall_at_1"] > 0.9


def test_the_best_epoch_is_kept_and_patience_is(monkeypatch):
    """Of five epochs the second is the best by what is said of them; three more do not surpass it."""
    said, weights, model, whole = [0.6, 0.8, 0.7, 0.8, 0.5], [], small_matcher(), birds(4)

    def auc(truth, values):
        weights.append([np.array(one) for one in model.get_weights()])
        return said[len(weights) - 1]

    monkeypatch.setattr(match_training, "_auc", auc)
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    history = match_training.fit(model, whole, *sides, "cosine", epochs=20, patience=3, pairs_an_epoch=8)
    assert history["validation_roc_auc"].tolist() == said
    assert history["is_kept"].tolist() == [False, True, False, False, False]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[-1], strict=True))


def test_without_validation_the_last_epoch_is_kept():
    whole = birds(3, splits=("train",))
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    history = match_training.fit(small_matcher(), whole, *sides, "contrastive", epochs=3, patience=1, pairs_an_epoch=8)
    assert history["is_kept"].tolist() == [False, False, True] and history["validation_roc_auc"].isna().all()


@pytest.mark.parametrize("whole", [birds(1), library(media("wren"), media("tit")), library([], [])])
def test_where_nothing_can_be_told_apart_it_says_so(whole):
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    with pytest.raises(match_training.CorrespondenceError, match="nothing to learn from"):
        match_training.fit(untrained(), whole, *sides, "bce")


def test_scores_are_those_of_the_whole_matcher_whatever_the_batches(monkeypatch):
    model, whole = untrained(), birds(3)
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng(), n_each=2)
    audio, video, logit = matching_losses.parts(
        model.predict(scene_pairs.inputs(whole, table, ["features", "spectrogram"]), verbose=0)
    )
    for batch in (256, 7):
        monkeypatch.setattr(match_training, "BATCH", batch)
        probability, cosine = match_training.scores(model, whole, table)
        assert probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
        assert cosine == pytest.approx((audio * video).sum(axis=1), abs=1e-5)
        assert match_training.embed(model, whole, whole.sounds, "sound")[table["sound"]] == pytest.approx(
            audio, abs=1e-5
        )
    assert [len(values) for values in match_training.scores(model, whole, table[:0])] == [0, 0]


def test_who_knows_all_has_full_marks(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(5)
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    assert figures.pop("equal_error_rate") == 0
    assert len(figures) == 11 and all(value == 1 for value in figures.values())


def test_who_knows_nothing_is_at_chance(monkeypatch):
    """Of 10 species with 10 scenes each, one of ten is found at the first place."""
    put_scorer(monkeypatch, BLIND)
    whole = birds(10, n=10, splits=("test",))
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    for name in match_training.PAIR_FIGURES:
        assert figures[name] == pytest.approx(0.5, abs=0.05)
    for side in ("sound", "picture"):
        assert figures[f"{side}_recall_at_1"] == pytest.approx(0.1, abs=0.1)
        assert figures[f"{side}_recall_at_1"] <= figures[f"{side}_recall_at_5"] <= figures[f"{side}_recall_at_10"]


@pytest.mark.parametrize(
    "whole",
    [
        library([], []),
        library(media("wren", "test"), []),
        library(media("wren", "test"), media("tit", "test", kind="recording")),
    ],
)
def test_where_nothing_can_be_compared_figures_are_nan(whole):
    some = scene_pairs.rows(whole, "test")
    assert all(np.isnan(value) for value in match_training.evaluate(untrained(), whole, some, rng()).values())
    assert match_training.best_threshold(untrained(), whole, some, rng()) == 0.5


def test_one_species_can_be_sought_and_not_told_apart(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(1)
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    assert np.isnan([figures[name] for name in match_training.PAIR_FIGURES]).all() and figures["sound_mrr"] == 1


def test_the_threshold_tells_most_pairs_rightly(monkeypatch):
    """Matches are said 0.9 and mismatches 0.7: only a threshold between them tells all."""
    whole = birds(4)
    monkeypatch.setattr(
        match_training, "scores", lambda model, library, table: (0.7 + 0.2 * table["match"].to_numpy(), None)
    )
    cut = match_training.best_threshold(None, whole, scene_pairs.rows(whole, "validation"), rng())
    assert 0.7 < cut <= 0.9
    monkeypatch.setattr(match_training, "embed", lambda model, library, table, side: np.ones((len(table), 2)))
    said = [match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng(), at) for at in (0.5, cut)]
    assert [one["accuracy"] for one in said] == [0.5, 1] and said[0]["roc_auc"] == 1


def test_films_are_compared_by_the_mean_of_their_scenes(monkeypatch):
    films = film("a") + film("b") + film("b", "test")[:1]
    whole = library(films + media("wren"), films + media("wren", kind="recording"))
    said = np.array([[0.9, 0.7, 0.1, 0.3], [0.5, 0.5, 0.2, 0.2], [0, 0, 1, 1], [0, 1, 1, 1]])

    def scores(model, library, table):
        assert table[["picture", "sound"]].max(axis=None) == 3  # each scene once, films only
        return said[table["picture"], table["sound"]], None

    monkeypatch.setattr(match_training, "scores", scores)
    table = match_training.film_pairs(None, whole, (whole.pictures, whole.sounds))
    assert table.to_numpy().tolist() == [
        ["a", "a", 1, pytest.approx(0.65)],
        ["a", "b", 0, pytest.approx(0.2)],
        ["b", "a", 0, pytest.approx(0.25)],
        ["b", "b", 1, pytest.approx(1.0)],
    ]


def test_without_films_there_are_no_pairs_of_films():
    whole = birds(2)
    table = match_training.film_pairs(None, whole, (whole.pictures, whole.sounds))
    assert table.empty and list(table) == ["film", "sound_film", "is_own", "probability"]
    assert np.isnan(match_training.film_auc(table, [], rng())).all()
    assert len(match_training.share_species(table, {})) == 0


def film_table(n=6):
    """Film k is sure of its own sound, and nearly as sure of that of its neighbour."""
    rows = [
        (f"v{a}", f"v{b}", int(a == b), 0.9 if a == b else 0.8 if a // 2 == b // 2 else 0.1)
        for a in range(n)
        for b in range(n)
    ]
    return pd.DataFrame(rows, columns=["film", "sound_film", "is_own", "probability"])


def test_the_auc_of_films_and_of_their_species():
    table = film_table()
    assert match_training.film_auc(table, table["is_own"], rng()) == [1, 1, 1]
    casts = {f"v{k}": {f"s{k // 2}", f"only {k}"} for k in range(6)}
    shared = match_training.share_species(table, casts)
    assert shared.sum() == 12 and match_training.film_auc(table, shared, rng()) == [1, 1, 1]
    value, low, high = match_training.film_auc(table.assign(probability=rng().random(36)), table["is_own"], rng())
    assert low < value < high and 0 <= low and high <= 1


def test_one_film_has_nothing_to_be_compared_with():
    assert np.isnan(match_training.film_auc(film_table(1), [1], rng())).all()


def test_a_film_in_which_no_bird_is_shares_no_species():
    assert match_training.share_species(film_table(2), {"v0": {"wren"}}).tolist() == [1, 0, 0, 0]


def test_species_are_asked_for_only_where_they_are_known():
    table = film_table()
    own, shared = "its own sound", "a sound of its species"
    assert match_training.film_aucs(table, None, rng()) == {own: [1, 1, 1]}
    assert match_training.film_aucs(table, {f"v{k}": {f"s{k // 2}"} for k in range(6)}, rng()) == {own: [1, 1, 1], shared: [1, 1, 1]}


@pytest.mark.parametrize(("n_pairs", "n_met"), [(1, 24), (100, 108)])
def test_an_epoch_has_so_many_pairs_at_least_and_meets_every_sound_about_once(n_pairs, n_met):
    """Six pictures, twelve sounds: two that match and two that do not for each picture; for 100 pairs, nine and nine."""
    pictures, sounds = ([one for name in ("wren", "tit") for one in media(name, n=n)] for n in (3, 6))
    drawn = match_training._draw(scene_pairs.rows(library(pictures, sounds), "train"), n_pairs, rng())
    assert len(drawn) == n_met and drawn["match"].mean() == 0.5 and set(drawn["picture"]) == set(range(6))
