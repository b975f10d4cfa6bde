import functools
import types

import numpy as np
import pandas as pd
import pytest
from made_pairs import Shown

from birdlib.data import splits
from birdlib.metrics import retrieval
from birdlib.multimodal import evaluation, pairs, result_sheets

MODALITIES = ["sound only", "photo only", "early fusion", "late fusion"]
SETS = ["known species", "unseen species"]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals of 10 draws do here."""
    monkeypatch.setattr(retrieval, "summary", functools.partial(retrieval.summary, n=10))


def manifest(n=160, n_species=8, seed=0, n_files=None):
    """Recordings of sound or photo by random species; groups of one to several, files used more than once."""
    draw = rng(seed)
    kind, number = draw.integers(0, 2, n), draw.integers(0, n_files or n, n)
    table = pd.DataFrame({"recording_id": [f"r{i:03d}" for i in range(n)]})
    table["species"] = [f"s{i}" for i in draw.integers(0, n_species, n)]
    table["group_id"] = [f"g{i}" for i in draw.integers(0, n // 2, n)]
    table["audio_path"] = [f"{i}.ogg" if is_sound else "" for is_sound, i in zip(kind, number, strict=True)]
    table["image_path"] = ["" if is_sound else f"{i}.jpg" for is_sound, i in zip(kind, number, strict=True)]
    return table.assign(individual_id="", video_path="")


def library(table=None, noise=0.0, **options):
    """What the photos and sounds of a split manifest show: the mark of the species, with noise."""
    table = splits.assign(manifest(**options) if table is None else table, rng())
    photos = table[table["image_path"] != ""].reset_index(drop=True)
    sounds = table[table["audio_path"] != ""].reset_index(drop=True)
    sounds = sounds.assign(first=np.arange(len(sounds)), last=np.arange(len(sounds)) + 1)
    marks = pd.get_dummies(pd.concat([photos["species"], sounds["species"]])).to_numpy(np.float32)
    marks = marks + noise * rng(9).standard_normal(marks.shape).astype(np.float32)
    weights = np.ones(len(sounds), np.float32)
    return pairs.Library(photos, sounds, Shown(marks[: len(photos)]), marks[len(photos) :], weights, 1)


def encoder(whole, kinds=("image_features", "embeddings"), is_blind=False):
    """Adds up what it sees and hears; blind, it answers by lot."""
    names = [name for name, media in zip(kinds, (whole.photos, whole.sounds), strict=True) if len(media)]
    dim, draw = whole.embeddings.shape[1], rng(5)

    def predict(arrays, batch_size, verbose):
        parts = {"image_features": lambda x: x, "embeddings": lambda x: x[:, 0]}
        found = sum(parts[name](arrays[name]) for name in names)
        found = draw.standard_normal(found.shape).astype(np.float32) if is_blind else found
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)

    return types.SimpleNamespace(input=dict.fromkeys(names), output_shape=(None, dim), predict=predict)


def results(whole, left_out=("s1", "s2"), **options):
    gallery, queries = evaluation.query_sets(whole, left_out, rng())
    return evaluation.table(encoder(whole, **options), whole, gallery, queries, rng())


def only(kind, table):
    return table[table["audio_path" if kind == "sound" else "image_path"] != ""]


# What is sought, and among what


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_sought_lies_in_the_gallery(seed):
    """No recording, file or group of a query is one of the gallery's; files and groups are used several times here."""
    whole = library(n=150, seed=seed, n_files=90)
    gallery, queries = evaluation.query_sets(whole, ["s0", "s3"], rng(seed))
    assert len(gallery) and len(queries["known species"])
    for kind, media in zip(pairs.KINDS, (whole.photos, whole.sounds), strict=True):
        among = media.loc[gallery.loc[gallery[kind] != pairs.ABSENT, kind]]
        assert set(among["split"]) == {"train"}
        for name, query in queries.items():
            sought = media.loc[query.loc[query[kind] != pairs.ABSENT, kind]]
            assert not sought["is_repeated"].any(), name
            for column in ("recording_id", "group_id", "image_path" if kind == "photo" else "audio_path"):
                assert not set(sought[column]) & set(among[column]), (name, column)


def test_species_left_out_are_in_the_gallery_and_in_one_set_only():
    gallery, queries = evaluation.query_sets(library(), ["s1", "s2"], rng())
    assert list(queries) == ["validation", *SETS]
    assert {"s1", "s2"} < set(gallery["species"])
    assert set(queries["unseen species"]["species"]) == {"s1", "s2"}
    assert not {"s1", "s2"} & set(queries["known species"]["species"])
    assert not {"s1", "s2"} & set(queries["validation"]["species"])


def test_with_none_left_out_the_unseen_set_is_empty():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, [], rng())
    assert len(queries["unseen species"]) == 0
    queries["known species"] = queries["known species"][:9]
    assert set(evaluation.table(encoder(whole), whole, gallery, queries, rng())["set"]) == {"known species"}


# The table


def test_the_table_has_a_row_for_each_set_and_modality_in_this_order(monkeypatch):
    monkeypatch.setattr(retrieval, "summary", functools.partial(retrieval.summary, n=300))
    table = results(library(noise=0.3))
    assert list(table) == ["set", "modality", "n", *evaluation.FIGURES]
    assert table[["set", "modality"]].to_numpy().tolist() == [[name, what] for name in SETS for what in MODALITIES]
    assert table.groupby("set")["n"].nunique().eq(1).all()  # the same pairs in every row
    figures = np.array(table[list(evaluation.FIGURES)].to_numpy().tolist())  # (rows, figures, 3)
    assert (figures >= 0).all() and (figures <= 1).all()
    value, low, high = np.moveaxis(figures, -1, 0)
    assert (low <= value + 1e-9).all() and (value <= high + 1e-9).all()


def test_who_knows_every_species_is_always_right():
    figures = np.array(results(library())[list(evaluation.FIGURES)].to_numpy().tolist())
    assert figures == pytest.approx(np.ones_like(figures))


def test_who_answers_by_lot_is_right_as_often_as_chance():
    """8 species as common as each other: one in eight, and each figure of 60 queries or more ± 3 * sqrt(0.11 / 60)."""
    table = results(library(n=800), (), is_blind=True)
    one = table[table["modality"].isin(["sound only", "photo only", "early fusion"])]
    assert (one["n"] >= 60).all()
    assert [figure[0] for figure in one["p_at_1"]] == pytest.approx([1 / 8] * 3, abs=0.13)
    assert all(figure[0] < 0.1 for figure in one["map_at_r"])


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_with_one_kind_of_media_there_is_one_row_a_set(kind):
    whole = library(only(kind, manifest()))
    table = results(whole)
    assert table[["set", "modality"]].to_numpy().tolist() == [[name, f"{kind} only"] for name in SETS]
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    across = evaluation.across(encoder(whole), whole, gallery, queries, rng())
    assert len(across) == 0 and "chance" in across


def test_without_validation_there_is_no_late_fusion():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    queries["validation"] = queries["validation"][:0]
    table = evaluation.table(encoder(whole), whole, gallery, queries, rng())
    assert table.loc[table["set"] == "known species", "modality"].tolist() == MODALITIES[:3]


def test_where_no_bird_was_both_seen_and_heard_the_table_is_empty():
    table = manifest(n_species=8)
    has_photo = table["image_path"] != ""
    whole = library(table[has_photo == table["species"].isin(["s0", "s1", "s2"])])
    found = results(whole, ())
    assert len(found) == 0 and list(found) == ["set", "modality", "n", *evaluation.FIGURES]


def test_pairs_without_a_photo_or_a_sound_are_left_out_of_the_table():
    """Nobody took a photo of s3: none of its sounds is asked for, but they are among what is found across."""
    table = manifest()
    whole = library(table[(table["species"] != "s3") | (table["audio_path"] != "")])
    gallery, queries = evaluation.query_sets(whole, [], rng())
    sought = queries["known species"]
    n_whole = (sought[["photo", "sound"]] != pairs.ABSENT).all(axis=1).sum()
    assert 0 < n_whole < len(sought)
    assert set(evaluation.table(encoder(whole), whole, gallery, queries, rng())["n"]) == {n_whole}


# Across modalities


def test_chance_across_is_the_share_of_the_species_among_what_is_sought():
    """2 photos of wrens and 6 of crows, for a wren and a crow heard: (2 / 8 + 6 / 8) / 2. The owl heard has no photo: it is left out."""
    names = ["wren"] * 2 + ["crow"] * 6
    photos = pd.DataFrame({"species": names, "group_id": [f"p{i}" for i in range(8)]})
    sounds = pd.DataFrame({"species": ["wren", "crow", "owl"], "group_id": list("abc"), "first": range(3), "last": range(1, 4)})  # fmt: skip
    marks = np.eye(3, dtype=np.float32)
    features = marks[[0] * 2 + [1] * 6]
    whole = pairs.Library(photos, sounds, Shown(features), marks, np.ones(3, np.float32), 1)
    gallery = pd.DataFrame({"photo": range(8), "sound": pairs.ABSENT, "species": names})
    sought = pd.DataFrame({"photo": pairs.ABSENT, "sound": range(3), "species": ["wren", "crow", "owl"]})
    table = evaluation.across(encoder(whole), whole, gallery, {"known species": sought}, rng())
    assert table["direction"].tolist() == ["photo for a sound"]
    assert table["chance"].tolist() == [pytest.approx(0.5)] and table["p_at_1"].item()[0] == 1


def test_across_asks_each_sound_and_each_photo_once():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    table = evaluation.across(encoder(whole), whole, gallery, queries, rng()).set_index(["set", "direction"])
    assert list(table) == ["n", "chance", "p_at_1", "recall_at_5", "recall_at_10", "r_precision", "map_at_r"]
    sought = queries["known species"]
    assert table.loc[("known species", "photo for a sound"), "n"] == sought["sound"].nunique()
    assert table.loc[("known species", "sound for a photo"), "n"] == sought["photo"].nunique()
    assert all(figure[0] == 1 for figure in table["p_at_1"])


# What hangs together


def test_pairs_that_share_a_photo_or_a_recording_s_group_get_one_number():
    """Sounds 0 and 1 are of one visit; pairs 0-1 share a visit, 1-2 a photo, and so 0 and 2 hang together as well."""
    photos = pd.DataFrame({"species": "wren", "group_id": [f"p{i}" for i in range(5)]})
    sounds = pd.DataFrame({"species": "wren", "group_id": ["g0", "g0", "g2", "g3", "g4"]})
    whole = pairs.Library(photos, sounds, None, np.zeros((5, 2)), np.ones(5), 1)
    table = pd.DataFrame(
        [(0, 0), (1, 1), (1, 2), (2, 3), (-1, 4), (3, -1), (3, -1), (4, -1)], columns=["photo", "sound"]
    )
    found = evaluation.clusters(whole, table)
    assert pd.factorize(found)[0].tolist() == [0, 0, 0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_pairs_of_one_kind_hang_together_by_that_kind_alone(kind):
    media = pd.DataFrame({"species": "wren", "group_id": ["a", "b", "a"]})
    tables = (media, media[:0]) if kind == "photo" else (media[:0], media)
    whole = pairs.Library(*tables, None, np.zeros((3, 2)), np.ones(3), 1)
    table = pd.DataFrame({"photo": pairs.ABSENT, "sound": pairs.ABSENT, "species": "wren"}, index=range(3))
    table[kind] = [0, 1, 2]
    assert pd.factorize(evaluation.clusters(whole, table))[0].tolist() == [0, 1, 0]


# Examples


def test_examples_are_of_different_species_and_wrong_and_right_in_turn():
    species = np.array(["wren", "wren", "crow", "crow", "owl", "owl", "jay"])
    is_right = np.array([True, True, False, False, True, False, True])
    gallery = np.array(["wren", "crow", "owl", "jay"])
    scores = np.zeros((7, 4))
    answers = np.where(is_right, species, np.roll(gallery, 1)[[list(gallery).index(one) for one in species]])
    scores[np.arange(7), [list(gallery).index(one) for one in answers]] = 1
    rows = evaluation.examples(scores, species, gallery, n=3)
    assert len(set(species[rows])) == 3 and is_right[rows][:2].tolist() == [False, True]
    assert len(evaluation.examples(scores, species, gallery)) == 4  # no more than there are species


def test_without_queries_or_gallery_there_are_no_examples():
    assert evaluation.examples(np.zeros((2, 0)), np.array(["a", "b"]), np.array([])) == []
    assert evaluation.examples(np.zeros((0, 2)), np.array([]), np.array(["a", "b"])) == []


def test_each_query_is_shown_with_its_nearest_the_likest_first(monkeypatch):
    monkeypatch.setattr(result_sheets, "card", lambda library, pair, root, *facts: (pair["species"], *facts))
    queries, gallery = (pd.DataFrame({"species": names}) for names in (["wren", "crow"], ["crow", "wren", "owl"]))
    scores = np.array([[0.5, 0.25, 0.75], [0.5, 0.25, 0.0]])
    rows = result_sheets.nearest_cards(None, queries, gallery, scores, [1, 0], "", n_nearest=2)
    assert rows == [
        [("crow",), ("crow", 0.5, True), ("wren", 0.25, False)],
        [("wren",), ("owl", 0.75, False), ("crow", 0.5, False)],
    ]
