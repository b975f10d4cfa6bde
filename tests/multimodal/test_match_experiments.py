"""The table of combinations grows, survives a kill, is summed up, and its best row is chosen."""

import functools
import json
import types

import numpy as np
import pandas as pd
import pytest
from made_scenes import ONE, RANDOM, birds, everything, film, library, put_scorer, results, rng, small_matcher

from birdlib.data import splits
from birdlib.losses import matching
from birdlib.multimodal import match_experiments, match_training, scene_encoders, scene_pairs

OPTIONS = {"epochs": 2, "patience": 2, "pairs_an_epoch": 64, "learning_rate": 0.01, "seed": 0}


def test_full_grid_has_72_combinations():
    combinations = match_experiments.grid("all", "all", "all", 1)
    assert len(combinations) == len({tuple(one.items()) for one in combinations}) == 3 * 4 * 6
    assert len(match_experiments.grid("all", "all", "all", 3)) == 3 * 72


def test_grid_of_named_combinations():
    combinations = match_experiments.grid(" cnn, bilstm", "cnn3d", "bce,", 2)
    assert [tuple(one.values()) for one in combinations] == [
        (audio, "cnn3d", "bce", seed) for audio in ("cnn", "bilstm") for seed in (0, 1)
    ]
    assert list(combinations[0]) == ["audio", "video", "loss", "seed"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cnm,cnn", "all", "all", 1), ["audio cnm", *scene_encoders.AUDIO]),
        (("all", "vgg", "all", 1), ["video vgg", *scene_encoders.VIDEO]),
        (("all", "all", "triplet", 1), ["loss triplet", *matching.LOSSES]),
        (("all", "", "all", 1), ["video names nothing"]),
        (("all", "all", "all", 0), ["n_seeds = 0"]),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(names, words):
    with pytest.raises(scene_pairs.CorrespondenceError) as caught:
        match_experiments.grid(*names)
    assert all(word in str(caught.value) for word in words)


def names_of(tables):
    """The recordings, photos and films of both sides."""
    return {*tables[0]["path"], *tables[1]["path"]}


@pytest.mark.parametrize("seed", range(60))
def test_evaluation_sets_and_training_share_no_file(seed):
    whole = everything(seed)
    media = [table[table["kind"] != "film"] for table in (whole.pictures, whole.sounds)]
    left_out = splits.leave_out(media, rng(seed).choice([0, 0.25, 1]), rng(seed), "category", min_left_out=2, min_kept=2)
    nameless = scene_pairs.nameless_films(whole)
    sets = match_experiments.query_sets(whole, left_out)
    assert tuple(sets) == match_experiments.SETS
    train = scene_pairs.training_rows(whole, "train", left_out)
    parts = [names_of(tables) for tables in [train, *sets.values()]]
    assert sum(map(len, parts)) == len(set().union(*parts))
    for_use = [scene_pairs.training_rows(whole, split) for split in ("train", "validation")]
    assert not names_of(sets["unseen films"]) & (names_of(for_use[0]) | names_of(for_use[1]))
    for name, tables in sets.items():
        for table in tables:
            assert not table["is_repeated"].any()
            is_film = (table["kind"] == "film").all()
            assert is_film if name == "unseen films" else not table["category"].isin(nameless).any()
            assert table["category"].isin(left_out).all() if name == "unseen species" else True
            assert name not in ("validation", "unseen media") or not table["category"].isin(left_out).any()


def test_films_without_species_are_for_evaluation_in_any_split():
    named, films = birds(3), film("v0") + film("v1", "validation") + film("v2", "test") + film("v3", species="s0")
    whole = library(*(table.to_dict("records") + films for table in (named.pictures, named.sounds)))
    sets = match_experiments.query_sets(whole, [])
    assert names_of(sets["unseen films"]) == {"v0.film", "v1.film", "v2.film"}
    assert len(sets["unseen media"][0]) == len(sets["validation"][1]) == 9 and sets["unseen species"][0].empty


def test_with_films_only_those_of_test_are_unseen():
    films = film("v0") + film("v1") + film("v2", "validation") + film("v3", "test") + film("v4", "test")
    sets = match_experiments.query_sets(library(films, films), [])
    assert names_of(sets["unseen films"]) == {"v3.film", "v4.film"} and names_of(sets["validation"]) == {"v2.film"}


@pytest.fixture
def trained(monkeypatch):
    """Records trainings in ``found`` in place of training; killed in training number ``dies_at``."""
    record, model = types.SimpleNamespace(found=[], dies_at=None), functools.cache(small_matcher)()

    def train_one(config, library, train, validation, **options):
        record.found.append(tuple(config.values()))
        if len(record.found) == record.dies_at:
            raise KeyboardInterrupt
        assert set(train[0]["category"]) == set(validation[1]["category"]) == {"s0", "s1", "s2"}
        return model, pd.DataFrame({"epoch": [1, 2]}), 0.5

    monkeypatch.setattr(match_experiments, "train_one", train_one)
    put_scorer(monkeypatch, RANDOM)
    return record


def grid(n_seeds=1, loss="bce"):
    return match_experiments.grid("cnn,bilstm", "cnn_average", loss, n_seeds)


def run(folder, combinations, key="a", whole=None):
    whole = birds(4) if whole is None else whole
    return match_experiments.run(combinations, whole, ["s3"], folder, key, **OPTIONS)


def test_second_run_trains_nothing_and_a_larger_one_only_new_combinations(tmp_path, trained):
    first = run(tmp_path, grid())
    assert len(trained.found) == 2 and len(first) == 2 * len(match_experiments.SETS) and "key" not in first
    assert first["set"].tolist() == [*match_experiments.SETS] * 2 and (first["epochs"] == 2).all()
    media = first[first["set"] == "unseen media"].iloc[0]
    assert (media["n_pictures"], media["n_sounds"]) == (9, 9) and 0 <= media["roc_auc"] <= 1
    pd.testing.assert_frame_equal(run(tmp_path, grid()), first)
    assert len(trained.found) == 2
    larger = run(tmp_path, grid(loss="bce,cosine"))
    assert trained.found[2:] == [("cnn", "cnn_average", "cosine", 0), ("bilstm", "cnn_average", "cosine", 0)]
    pd.testing.assert_frame_equal(larger[: len(first)], first)
    pd.testing.assert_frame_equal(run(tmp_path, grid()), larger)  # smaller again: earlier rows stay
    assert len(trained.found) == 4 and all(match_experiments.model_file(tmp_path, one).is_file() for one in grid(loss="bce,cosine"))


def test_rows_of_another_key_are_dropped_and_a_missing_model_is_trained_again(tmp_path, trained):
    run(tmp_path, grid())
    table = run(tmp_path, grid()[:1], key="b")
    assert len(trained.found) == 3 and len(table) == len(match_experiments.SETS)
    match_experiments.model_file(tmp_path, grid()[0]).unlink()
    table = run(tmp_path, grid()[:1], key="b")
    assert len(trained.found) == 4 and len(table) == len(match_experiments.SETS)


def test_kill_between_combinations_loses_nothing(tmp_path, trained):
    trained.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, grid())
    kept = pd.read_parquet(tmp_path / "results.parquet")
    table = run(tmp_path, grid())
    assert trained.found == [("cnn", "cnn_average", "bce", 0)] + [("bilstm", "cnn_average", "bce", 0)] * 2
    pd.testing.assert_frame_equal(table[: len(match_experiments.SETS)], kept.drop(columns="key"))
    assert len(table) == 2 * len(match_experiments.SETS)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".keras", ".keras", ".parquet"]


def test_training_depends_on_the_sum_of_the_seeds(monkeypatch):
    """Of the run and of the combination together."""
    whole = birds(3, n=2, splits=("train", "validation"))
    sides = [scene_pairs.rows(whole, split) for split in ("train", "validation")]
    monkeypatch.setattr(match_experiments, "build", lambda config, spectrogram: small_matcher(seed=None))
    found = [
        match_experiments.train_one({**ONE, "seed": own}, whole, *sides, **OPTIONS | {"seed": of_run, "epochs": 1})
        for of_run, own in ((3, 0), (1, 2), (0, 0))
    ]
    first, same, other = ([np.array(one) for one in model.get_weights()] for model, _, _ in found)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(first, same, strict=True))
    assert not all(np.allclose(a, b, atol=1e-3) for a, b in zip(first, other, strict=True))
    assert all(len(history) == 1 and seconds > 0 for _, history, seconds in found)


def test_matcher_for_use_is_trained_on_every_species_and_no_film_without(tmp_path, monkeypatch):
    named, films = birds(4), film("v0")
    whole = library(*(table.to_dict("records") + films for table in (named.pictures, named.sounds)))
    trained_on = []

    def train_one(config, library, train, validation, **options):
        trained_on.append({*train[0]["category"], *train[1]["category"], *validation[0]["category"]})
        return small_matcher(), None, 0.0

    monkeypatch.setattr(match_experiments, "train_one", train_one)
    model = match_experiments.train_for_use(ONE, whole, tmp_path, **OPTIONS)
    assert trained_on == [{"s0", "s1", "s2", "s3"}] and (tmp_path / match_experiments.MATCHER).is_file()
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng())
    loaded = scene_encoders.load(tmp_path / match_experiments.MATCHER)
    scores = [match_training.scores(matcher, whole, table)[0] for matcher in (model, loaded)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_best_is_chosen_on_validation_by_the_mean_of_its_seeds():
    table = results({
        ("bce", 0): {"validation": 0.95, "unseen media": 0.9, "unseen species": 0.9},
        ("bce", 1): {"validation": 0.55, "unseen media": 0.9, "unseen species": 0.9},
        ("cosine", 0): {"validation": 0.78, "unseen media": 0.1, "unseen species": 0.1},
        ("cosine", 1): {"validation": 0.82, "unseen media": 0.1, "unseen species": 0.1},
        ("info_nce", 0): {"validation": np.nan, "unseen media": 1.0, "unseen species": 1.0},
    })  # fmt: skip
    assert match_experiments.best(table) == {**ONE, "loss": "cosine", "seed": 1}
    assert json.loads(json.dumps(match_experiments.best(table))) == match_experiments.best(table)
    assert match_experiments.best(table.assign(roc_auc=np.nan))["loss"] == "bce"


def test_summary_is_mean_and_range_of_the_seeds():
    table = results({("bce", 0): {"unseen media": 0.9, "validation": 0.1}, ("bce", 1): {"unseen media": 0.6}})
    (row,) = match_experiments.summary(table).to_dict("records")
    names = {"audio": "cnn", "video": "cnn_average", "loss": "bce"}
    assert row == {**names, "n_seeds": 2, "roc_auc": pytest.approx([0.75, 0.6, 0.9])}


def test_figures_of_the_best_as_text_and_as_numbers():
    """Figures are of one seed; the table has the mean and the range of all seeds."""
    sets = dict.fromkeys(match_experiments.SETS, 0.5)
    table = results({("bce", 0): sets, ("bce", 1): sets | {"unseen media": 0.9}, ("cosine", 0): sets})
    assert match_experiments.figures_of(table, ONE | {"seed": 1})["roc_auc"].to_dict() == sets | {"unseen media": 0.9}
    text = match_experiments.best_table(table, ONE)
    assert text.columns.tolist() == list(match_experiments.SETS) and text.index.tolist() == ["n_seeds", "roc_auc"]
    assert text.loc["roc_auc", "unseen media"] == "0.700 (0.500 to 0.900)" and text.loc["n_seeds", "validation"] == 2


def test_key_changes_with_everything_that_changes_the_figures():
    given = {"inputs": {"01_split": "a"}, "backbone": types.SimpleNamespace(key="a"), "unseen_share": 0.2, "precision": "float32", **OPTIONS}
    others = {"inputs": {"01_split": "b"}, "backbone": None, "unseen_share": 0.3, "precision": "mixed_float16"}
    others |= {name: 2 * value + 1 for name, value in OPTIONS.items()}
    assert match_experiments.key(**given) == match_experiments.key(**given)
    assert len({match_experiments.key(**given | {name: other}) for name, other in others.items()} | {match_experiments.key(**given)}) == len(given) + 1


def test_description_of_the_best_combination_warns_where_unseen_species_are_at_chance():
    aucs = {"validation": 0.8, "unseen media": 0.7, "unseen species": 0.5, "unseen films": np.nan}
    table = pd.DataFrame([{**ONE, "set": name, "roc_auc": auc} for name, auc in aucs.items()])
    text = match_experiments.describe(table, ONE)
    assert "cnn + cnn_average + bce; ROC-AUC: validation 0.80, unseen media 0.70, unseen species 0.50." in text and "no better than chance" in text
    assert "chance" not in match_experiments.describe(table.replace(0.5, 0.9), ONE)


def test_a_grid_is_small_or_full():
    assert match_experiments.choose_names("small", "cnn", "cnn3d", "bce") == ("cnn", "cnn3d", "bce")
    assert set(match_experiments.choose_names("full", "cnn", "cnn3d", "bce")) == {"all"}
    with pytest.raises(scene_pairs.CorrespondenceError, match="grid is 'large': choose small or full"):
        match_experiments.choose_names("large", "cnn", "cnn3d", "bce")
