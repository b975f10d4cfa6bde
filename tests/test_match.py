"""The table of combinations grows and survives a kill; the question is answered of any two files, or it says why not."""

import functools
import json
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_correspondence import BLIND, birds, everything, film, library, media, put_scorer, rng, small_matcher
from test_scenes import backbone, by_second, recording, tone
from test_scenes import film as write_film

from birdlib import __main__, correspondence, match, runtime, scenes, stages

ONE = {"audio": "cnn", "video": "cnn_average", "loss": "bce", "seed": 0}
OPTIONS = {"epochs": 2, "patience": 2, "learning_rate": 0.01, "seed": 0}


# What is tested on


def names_of(tables):
    """The recordings, photos and films of both sides."""
    return {*tables[0]["path"], *tables[1]["path"]}


@pytest.mark.parametrize("seed", range(60))
def test_the_sets_and_what_is_learnt_share_nothing(seed):
    whole = everything(seed)
    left_out = correspondence.left_out(whole, rng(seed).choice([0, 0.25, 1]), rng(seed))
    nameless = correspondence.nameless_films(whole)
    sets = match.query_sets(whole, left_out)
    assert tuple(sets) == match.SETS
    learnt = correspondence.rows(whole, "train", [*left_out, *nameless])
    parts = [names_of(some) for some in [learnt, *sets.values()]]
    assert sum(map(len, parts)) == len(set().union(*parts))
    for_use = [correspondence.rows(whole, split, nameless) for split in ("train", "validation")]
    assert not names_of(sets["unseen films"]) & (names_of(for_use[0]) | names_of(for_use[1]))
    for name, some in sets.items():
        for table in some:
            assert not table["is_repeated"].any()
            assert (
                (table["kind"] == "film").all()
                if name == "unseen films"
                else not table["category"].isin(nameless).any()
            )
            assert table["category"].isin(left_out).all() if name == "unseen species" else True
            assert name not in ("validation", "unseen media") or not table["category"].isin(left_out).any()


def test_films_without_species_are_tested_on_whatever_their_split():
    named, films = birds(3), film("v0") + film("v1", "validation") + film("v2", "test") + film("v3", species="s0")
    whole = library(*(table.to_dict("records") + films for table in (named.pictures, named.sounds)))
    sets = match.query_sets(whole, [])
    assert names_of(sets["unseen films"]) == {"v0.film", "v1.film", "v2.film"}
    assert len(sets["unseen media"][0]) == len(sets["validation"][1]) == 9 and sets["unseen species"][0].empty


def test_of_films_alone_those_of_test_are_unseen():
    films = film("v0") + film("v1") + film("v2", "validation") + film("v3", "test") + film("v4", "test")
    sets = match.query_sets(library(films, films), [])
    assert names_of(sets["unseen films"]) == {"v3.film", "v4.film"} and names_of(sets["validation"]) == {"v2.film"}


# The table


@pytest.fixture
def trained(monkeypatch):
    """What was trained, in place of training: ``found``, and it is killed in training number ``dies_at``."""
    told, model = types.SimpleNamespace(found=[], dies_at=None), functools.cache(small_matcher)()

    def train_one(one, library, train, validation, **options):
        told.found.append(tuple(one.values()))
        if len(told.found) == told.dies_at:
            raise KeyboardInterrupt
        assert set(train[0]["category"]) == set(validation[1]["category"]) == {"s0", "s1", "s2"}
        return model, pd.DataFrame({"epoch": [1, 2]}), 0.5

    monkeypatch.setattr(match, "train_one", train_one)
    put_scorer(monkeypatch, BLIND)
    return told


def grid(n_seeds=1, loss="bce"):
    return correspondence.grid("cnn,bilstm", "cnn_average", loss, n_seeds)


def run(folder, combinations, key="a", whole=None):
    whole = birds(4) if whole is None else whole
    return match.run(combinations, whole, ["s3"], folder, key, **OPTIONS)


def test_a_second_run_trains_nothing_and_a_larger_one_only_what_is_new(tmp_path, trained):
    first = run(tmp_path, grid())
    assert len(trained.found) == 2 and len(first) == 2 * len(match.SETS) and "key" not in first
    assert first["set"].tolist() == [*match.SETS] * 2 and (first["epochs"] == 2).all()
    media = first[first["set"] == "unseen media"].iloc[0]
    assert (media["n_pictures"], media["n_sounds"]) == (9, 9) and 0 <= media["roc_auc"] <= 1
    pd.testing.assert_frame_equal(run(tmp_path, grid()), first)
    assert len(trained.found) == 2
    larger = run(tmp_path, grid(loss="bce,cosine"))
    assert trained.found[2:] == [("cnn", "cnn_average", "cosine", 0), ("bilstm", "cnn_average", "cosine", 0)]
    pd.testing.assert_frame_equal(larger[: len(first)], first)
    pd.testing.assert_frame_equal(run(tmp_path, grid()), larger)  # smaller again: what was computed stays
    assert len(trained.found) == 4 and all(match.model_file(tmp_path, one).is_file() for one in grid(loss="bce,cosine"))


def test_rows_of_another_key_are_dropped_and_a_lost_model_is_trained_again(tmp_path, trained):
    run(tmp_path, grid())
    table = run(tmp_path, grid()[:1], key="b")
    assert len(trained.found) == 3 and len(table) == len(match.SETS)
    match.model_file(tmp_path, grid()[0]).unlink()
    table = run(tmp_path, grid()[:1], key="b")
    assert len(trained.found) == 4 and len(table) == len(match.SETS)


def test_a_kill_between_combinations_loses_nothing(tmp_path, trained):
    trained.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, grid())
    kept = pd.read_parquet(tmp_path / "results.parquet")
    table = run(tmp_path, grid())
    assert trained.found == [("cnn", "cnn_average", "bce", 0)] + [("bilstm", "cnn_average", "bce", 0)] * 2
    pd.testing.assert_frame_equal(table[: len(match.SETS)], kept.drop(columns="key"))
    assert len(table) == 2 * len(match.SETS)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".keras", ".keras", ".parquet"]


def test_one_training_depends_on_the_seeds_alone(monkeypatch):
    """Of the run and of the combination together."""
    whole = birds(3, n=2, splits=("train", "validation"))
    sides = [correspondence.rows(whole, split) for split in ("train", "validation")]
    monkeypatch.setattr(match, "build", lambda one: small_matcher(seed=None))
    found = [
        match.train_one({**ONE, "seed": own}, whole, *sides, **OPTIONS | {"seed": of_run})
        for of_run, own in ((3, 0), (1, 2), (0, 0))
    ]
    first, same, other = ([np.array(one) for one in model.get_weights()] for model, _, _ in found)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(first, same, strict=True))
    assert not all(np.allclose(a, b, atol=1e-3) for a, b in zip(first, other, strict=True))
    assert all(len(history) == 2 and seconds > 0 for _, history, seconds in found)


def test_the_matcher_that_is_asked_has_learnt_every_species_and_no_film_without(tmp_path, monkeypatch):
    named, films = birds(4), film("v0")
    whole = library(*(table.to_dict("records") + films for table in (named.pictures, named.sounds)))
    learnt = []

    def train_one(one, library, train, validation, **options):
        learnt.append({*train[0]["category"], *train[1]["category"], *validation[0]["category"]})
        return small_matcher(), None, 0.0

    monkeypatch.setattr(match, "train_one", train_one)
    model = match.train_for_use(ONE, whole, tmp_path, **OPTIONS)
    assert learnt == [{"s0", "s1", "s2", "s3"}] and (tmp_path / match.MATCHER).is_file()
    table = correspondence.pair(whole.pictures, whole.sounds, rng())
    said = [
        correspondence.scores(one, whole, table)[0]
        for one in (model, match.scene_encoders.load(tmp_path / match.MATCHER))
    ]
    assert said[0] == pytest.approx(said[1], abs=1e-6)


def results(figures):
    """{(loss, seed): {set: ROC-AUC}} as a table."""
    rows = [
        {**ONE, "loss": loss, "seed": seed, "set": name, "roc_auc": auc, "seconds": 1.0, "epochs": 1}
        for (loss, seed), of in figures.items()
        for name, auc in of.items()
    ]
    return pd.DataFrame(rows)


def test_the_best_is_chosen_on_validation_only_by_the_mean_of_its_seeds():
    table = results({
        ("bce", 0): {"validation": 0.95, "unseen media": 0.9, "unseen species": 0.9},
        ("bce", 1): {"validation": 0.55, "unseen media": 0.9, "unseen species": 0.9},
        ("cosine", 0): {"validation": 0.78, "unseen media": 0.1, "unseen species": 0.1},
        ("cosine", 1): {"validation": 0.82, "unseen media": 0.1, "unseen species": 0.1},
        ("info_nce", 0): {"validation": np.nan, "unseen media": 1.0, "unseen species": 1.0},
    })  # fmt: skip
    assert match.best(table) == {**ONE, "loss": "cosine", "seed": 1}
    assert json.loads(json.dumps(match.best(table))) == match.best(table)
    assert match.best(table.assign(roc_auc=np.nan))["loss"] == "bce"


def test_the_summary_is_mean_and_range_of_the_seeds():
    table = results({("bce", 0): {"unseen media": 0.9, "validation": 0.1}, ("bce", 1): {"unseen media": 0.6}})
    (row,) = match.summary(table).to_dict("records")
    assert row == {
        "audio": "cnn",
        "video": "cnn_average",
        "loss": "bce",
        "n_seeds": 2,
        "roc_auc": pytest.approx([0.75, 0.6, 0.9]),
    }


# Examples


def test_examples_are_the_surest_and_no_picture_is_shown_twice(monkeypatch):
    whole, said = birds(4, n=2, splits=("test",)), rng(3)
    monkeypatch.setattr(correspondence, "scores", lambda model, library, table: (said.random(len(table)), None))
    shown = match.examples(None, whole, (whole.pictures, whole.sounds), rng(), n=2)
    assert shown["picture"].is_unique and list(shown) == ["picture", "sound", "match", "probability", "is_right"]
    assert (
        list(zip(shown["match"], shown["is_right"], strict=True))
        == [(1, True)] * 2 + [(0, False)] * 2 + [(1, False)] * 2
    )
    assert (shown["is_right"] == ((shown["probability"] >= 0.5) == (shown["match"] == 1))).all()
    card = match.card(whole, next(shown.itertuples()))
    assert card["is_right"] and card["frames"].shape == card["spectrogram"].shape == (2, 8) and "seen" in card["title"]


def test_without_pairs_there_are_no_examples():
    whole = library(media("wren"), [])
    assert match.examples(small_matcher(), whole, (whole.pictures, whole.sounds), rng()).empty


# The question


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A stage 05 that is finished, with a matcher that has learnt nothing."""
    folder = tmp_path_factory.mktemp("outputs")
    runtime.set_seed(0)
    stage = folder / "05_match"
    stage.mkdir()
    match.build(ONE).save(stage / match.MATCHER)
    runtime.write_json(match.best(results({("bce", 0): {"validation": 0.9}})), stage / "best.json")
    said = {"validation": 0.9, "unseen media": 0.8, "unseen species": 0.7, "unseen films": np.nan}
    runtime.write_table(results({("bce", 0): said, ("bce", 1): {"unseen media": 0.1}}), stage / "results.parquet")
    runtime.write_json(dict.fromkeys(stages.FIELDS, {}), stage / stages.RECEIPT)
    return folder


@pytest.fixture
def ask(outputs, tmp_path, monkeypatch):
    """Ask of two files of a folder."""
    monkeypatch.setattr(scenes, "load_backbone", lambda weights_dir="": backbone())
    return lambda picture, sound: match.judge(tmp_path / picture, tmp_path / sound, outputs)


def photo(folder, name="a.png"):
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / name)
    return name


def test_a_film_and_a_sound_are_judged_by_their_scenes(tmp_path, ask):
    seen, heard = write_film(tmp_path / "a.mp4", by_second(8)), recording(tmp_path / "a.wav", tone(9.5))
    probability, facts, basis = ask(seen, heard)
    assert list(facts) == ["picture_s", "sound_s", "probability", "cosine"] and 0 < probability < 1
    assert facts["probability"].is_monotonic_decreasing and facts["probability"].mean() == pytest.approx(probability)
    assert sorted(zip(facts["picture_s"], facts["sound_s"], strict=True)) == [
        (p, s) for p in (0, 2, 4) for s in (0, 4, 5.5)
    ]
    assert facts["cosine"].between(-1.001, 1.001).all()
    assert (
        basis
        == "judged by cnn (sound) and cnn_average (picture), learnt with bce; ROC-AUC 0.80 on unseen media, 0.70 on unseen species"
    )
    assert ask(seen, heard)[0] == probability


@pytest.mark.parametrize(
    ("film_s", "sound"),
    [
        (12, tone(5)),
        (5, tone(30)),
        (6, np.stack([tone(6), 0.5 * tone(6)])),
        (0.1, tone(6)),  # one frame
        (6, tone(0.5)),
    ],
    ids=["shorter", "longer", "stereo", "one frame", "half a second"],
)
def test_sound_and_film_of_any_length_end_well(tmp_path, ask, film_s, sound):
    seen, heard = write_film(tmp_path / "a.mkv", by_second(film_s)), recording(tmp_path / "a.wav", sound)
    own = write_film(tmp_path / "b.mkv", by_second(film_s), sound=sound)
    for other in (heard, own):
        probability, facts, _ = ask(seen, other)
        assert 0 < probability < 1 and len(facts) and np.isfinite(facts).all(axis=None)


def test_a_photo_is_judged_with_a_film_s_soundtrack(tmp_path, ask):
    _, facts, _ = ask(photo(tmp_path), write_film(tmp_path / "a.mkv", by_second(4), sound=tone(4)))
    assert facts[["picture_s", "sound_s"]].to_numpy().tolist() == [[0, 0]]


def damaged(folder, case):
    """(picture, sound) of which one is bad."""
    picture, sound = photo(folder), recording(folder / "a.wav", tone(4))
    if case == "no picture":
        return "none.png", sound
    if case == "no film":
        return "none.mp4", sound
    if case == "no sound":
        return picture, "none.wav"
    if case == "silent":
        return picture, recording(folder / "b.wav", np.zeros(100_000, np.float32))
    if case == "silent film":
        return picture, write_film(folder / "b.mkv", by_second(4))
    if case == "corrupt picture":
        (folder / "b.png").write_bytes((folder / picture).read_bytes()[:40])
        return "b.png", sound
    if case == "corrupt film":
        (folder / "b.mp4").write_bytes(b"this is no film" * 99)
        return "b.mp4", sound
    (folder / "b.wav").write_text("no sound")
    return picture, "b.wav"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no picture", "none.png: No such file"),
        ("no film", "none.mp4: No such file"),
        ("no sound", "none.wav: No such file"),
        ("silent", "b.wav: is silent"),
        ("silent film", "b.mkv: has no sound"),
        ("corrupt picture", "b.png: "),
        ("corrupt film", "b.mp4: "),
        ("corrupt sound", "b.wav: "),
    ],
)
def test_what_cannot_be_judged_is_told(tmp_path, ask, case, words):
    with pytest.raises(correspondence.CorrespondenceError) as caught:
        ask(*damaged(tmp_path, case))
    assert words in str(caught.value) and str(caught.value).split(": ", 1)[1]


def test_a_stage_that_is_not_finished_is_told(tmp_path):
    with pytest.raises(stages.MissingStageError, match="05_match.ipynb first"):
        match.judge("a.png", "a.wav", tmp_path)


def test_the_command_answers(tmp_path, outputs, ask, capsys):
    picture, sound = photo(tmp_path), recording(tmp_path / "a.wav", tone(4))
    asked = [str(tmp_path / sound), "--outputs", str(outputs)]
    assert __main__.main(["match", str(tmp_path / picture), *asked]) == 0
    said = capsys.readouterr().out
    assert "they belong together with a probability of 0." in said and "judged by cnn" in said and "picture_s" in said
    assert __main__.main(["match", str(tmp_path / "none.png"), *asked]) == 1
    assert "none.png: No such file" in capsys.readouterr().err


def test_the_command_wants_a_picture_and_a_sound(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["match", "a.mp4"])
    assert "AUDIO" in capsys.readouterr().err
    monkeypatch.setattr(
        match, "judge", lambda *given: (_ for _ in ()).throw(correspondence.CorrespondenceError(str(given)))
    )
    assert __main__.main(["match", "a.mp4", "a.wav"]) == 1
    assert "('a.mp4', 'a.wav', 'outputs')" in capsys.readouterr().err


# Truth


def test_the_true_casts_of_films(tmp_path):
    assert match.true_casts(tmp_path) is None
    (tmp_path / "truth").mkdir()
    rows = [("videos/a_1.mp4", "wren"), ("videos/a_1.mp4", "tit"), ("videos/a_1.mp4", "wren"), ("videos/b.mp4", "tit")]
    pd.DataFrame(rows, columns=["video", "label"]).to_csv(tmp_path / "truth" / "video_tracks.csv", index=False)
    assert match.true_casts(tmp_path) == {"video-a_1": {"wren", "tit"}, "video-b": {"tit"}}
