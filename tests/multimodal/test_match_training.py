"""Training of matchers and their figures."""

import functools

import numpy as np
import pandas as pd
import pytest
from made_scenes import PERFECT, RANDOM, birds, film, library, media, put_scorer, rng, small_matcher

from birdlib import stages
from birdlib.losses import matching as matching_losses
from birdlib.multimodal import match_training, scene_pairs

untrained = functools.cache(small_matcher)


@pytest.mark.parametrize("loss", [pytest.param("bce", marks=pytest.mark.slow), "info_nce"])
def test_training_separates_distinct_categories(loss):
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


def test_best_epoch_is_kept_and_patience_ends_the_training(monkeypatch):
    """The second of five epochs has the best AUC; three more do not surpass it."""
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


def test_last_epoch_is_kept_without_validation():
    whole = birds(3, splits=("train",))
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    history = match_training.fit(small_matcher(), whole, *sides, "contrastive", epochs=3, patience=1, pairs_an_epoch=8)
    assert history["is_kept"].tolist() == [False, False, True] and history["validation_roc_auc"].isna().all()


@pytest.mark.parametrize("whole", [birds(1), library(media("wren"), media("tit")), library([], [])])
def test_training_without_mismatches_is_refused(whole):
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    with pytest.raises(stages.NothingToDoError, match="nothing to learn from"):
        match_training.fit(untrained(), whole, *sides, "bce")


def test_scores_equal_the_whole_matcher_for_any_batch_size(monkeypatch):
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
        assert match_training.embed(model, whole, whole.sounds, "sound")[table["sound"]] == pytest.approx(audio, abs=1e-5)
    assert [len(values) for values in match_training.scores(model, whole, table[:0])] == [0, 0]


def test_perfect_scores_have_perfect_figures(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(5)
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    assert figures.pop("equal_error_rate") == 0
    assert len(figures) == 11 and all(value == 1 for value in figures.values())


def test_random_scores_are_at_chance(monkeypatch):
    """Of 10 species with 10 scenes each, one of ten is found at the first place."""
    put_scorer(monkeypatch, RANDOM)
    whole = birds(10, n=10, splits=("test",))
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    for name in match_training._PAIR_FIGURES:
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
def test_figures_are_nan_without_pairs(whole):
    rows = scene_pairs.rows(whole, "test")
    assert all(np.isnan(value) for value in match_training.evaluate(untrained(), whole, rows, rng()).values())
    assert match_training.best_threshold(untrained(), whole, rows, rng()) == 0.5


def test_one_species_has_retrieval_figures_only(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(1)
    figures = match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng())
    assert np.isnan([figures[name] for name in match_training._PAIR_FIGURES]).all() and figures["sound_mrr"] == 1


def test_best_threshold_separates_matches_from_mismatches(monkeypatch):
    """Matches score 0.9 and mismatches 0.7: only a threshold between them classifies all."""
    whole = birds(4)
    monkeypatch.setattr(
        match_training, "scores", lambda model, library, table: (0.7 + 0.2 * table["match"].to_numpy(), None)
    )
    cut = match_training.best_threshold(None, whole, scene_pairs.rows(whole, "validation"), rng())
    assert 0.7 < cut <= 0.9
    monkeypatch.setattr(match_training, "embed", lambda model, library, table, side: np.ones((len(table), 2)))
    said = [match_training.evaluate(None, whole, scene_pairs.rows(whole, "test"), rng(), at) for at in (0.5, cut)]
    assert [one["accuracy"] for one in said] == [0.5, 1] and said[0]["roc_auc"] == 1


def test_pairs_of_films_score_the_mean_of_their_scenes(monkeypatch):
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


def test_no_films_give_no_pairs_of_films():
    whole = birds(2)
    table = match_training.film_pairs(None, whole, (whole.pictures, whole.sounds))
    assert table.empty and list(table) == ["film", "sound_film", "is_own", "probability"]
    aucs = match_training.film_aucs(table, {}, rng())
    assert len(aucs) == 2 and np.isnan(list(aucs.values())).all()


def film_table(n=6):
    """Film k scores highest with its own sound, and nearly as high with that of its neighbour."""
    rows = [
        (f"v{a}", f"v{b}", int(a == b), 0.9 if a == b else 0.8 if a // 2 == b // 2 else 0.1)
        for a in range(n)
        for b in range(n)
    ]
    return pd.DataFrame(rows, columns=["film", "sound_film", "is_own", "probability"])


OWN, SPECIES = "its own sound", "a sound of its species"


def test_aucs_of_films_for_their_own_sound_and_for_that_of_their_species():
    """The species of films are known only where ``species_of`` is given."""
    table = film_table()
    assert match_training.film_aucs(table, None, rng()) == {OWN: [1, 1, 1]}
    species_of = {f"v{k}": {f"s{k // 2}", f"only {k}"} for k in range(6)}
    assert match_training._share_species(table, species_of).sum() == 12
    assert match_training.film_aucs(table, species_of, rng()) == {OWN: [1, 1, 1], SPECIES: [1, 1, 1]}
    value, low, high = match_training.film_aucs(table.assign(probability=rng().random(36)), None, rng())[OWN]
    assert low < value < high and 0 <= low and high <= 1


def test_auc_of_a_single_film_is_nan():
    assert np.isnan(match_training.film_aucs(film_table(1), None, rng())[OWN]).all()


def test_film_without_birds_shares_no_species():
    assert match_training._share_species(film_table(2), {"v0": {"wren"}}).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("n_pairs", "n_expected"), [(1, 24), (100, 108)])
def test_an_epoch_has_at_least_n_pairs_and_uses_every_sound_about_once(n_pairs, n_expected):
    """Six pictures, twelve sounds: two that match and two that do not for each picture; for 100 pairs, nine and nine."""
    pictures, sounds = ([one for name in ("wren", "tit") for one in media(name, n=n)] for n in (3, 6))
    table = match_training._sample_pairs(scene_pairs.rows(library(pictures, sounds), "train"), n_pairs, rng())
    assert len(table) == n_expected and table["match"].mean() == 0.5 and set(table["picture"]) == set(range(6))


# Pairs by which matchers are compared


def test_two_matchers_are_tested_on_the_same_pairs(monkeypatch):
    whole = birds(4)
    sets = {"unseen media": scene_pairs.rows(whole, "test"), "unseen films": scene_pairs.rows(whole, "nothing")}
    found = {}
    for kind in (PERFECT, RANDOM):
        put_scorer(monkeypatch, kind)
        found[kind] = match_training.tested_pairs(None, whole, sets, rng(3))
    assert found[PERFECT].drop(columns="probability").equals(found[RANDOM].drop(columns="probability"))
    assert set(found[PERFECT]["set"]) == {"unseen media"} and not found[PERFECT].duplicated(["set", "picture", "sound"]).any()
    assert found[PERFECT]["match"].eq(found[PERFECT]["probability"]).all()
    aucs = {kind: match_training.pair_aucs(pairs, rng())["unseen media"] for kind, pairs in found.items()}
    assert aucs[PERFECT] == [1.0, 1.0, 1.0] and aucs[RANDOM][1] < aucs[RANDOM][0] < aucs[RANDOM][2] < 0.9


def test_without_pairs_there_is_an_empty_table():
    whole = birds(2)
    pairs = match_training.tested_pairs(None, whole, {"unseen films": scene_pairs.rows(whole, "nothing")}, rng())
    assert not len(pairs) and list(pairs) == ["set", "picture", "sound", "recording_id", "match", "probability"]
    assert match_training.pair_aucs(pairs, rng()) == {}
