import functools

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
def few_resamples(monkeypatch):
    """Intervals of 10 resamples suffice here."""
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
    """Photos and sounds of a split manifest; their features are the species, with noise."""
    table = splits.assign(manifest(**options) if table is None else table, rng())
    photos = table[table["image_path"] != ""].reset_index(drop=True)
    sounds = table[table["audio_path"] != ""].reset_index(drop=True)
    sounds = sounds.assign(first=np.arange(len(sounds)), last=np.arange(len(sounds)) + 1)
    marks = pd.get_dummies(pd.concat([photos["species"], sounds["species"]])).to_numpy(np.float32)
    marks = marks + noise * rng(9).standard_normal(marks.shape).astype(np.float32)
    weights = np.ones(len(sounds), np.float32)
    return pairs.Library(photos, sounds, Shown(marks[: len(photos)]), marks[len(photos) :], weights, 1)


def encoder(whole, kinds=("image_features", "embeddings"), is_blind=False):
    """The sum of its inputs; blind, random vectors."""
    names = [name for name, media in zip(kinds, (whole.photos, whole.sounds), strict=True) if len(media)]
    dim, draw = whole.embeddings.shape[1], rng(5)

    def outputs(arrays, training):
        parts = {"image_features": lambda x: x, "embeddings": lambda x: x[:, 0]}
        found = sum(parts[name](arrays[name]) for name in names)
        found = draw.standard_normal(found.shape).astype(np.float32) if is_blind else found
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)

    outputs.input, outputs.output_shape = dict.fromkeys(names), (None, dim)
    return outputs


def results(whole, left_out=("s1", "s2"), **options):
    gallery, queries = evaluation.query_sets(whole, left_out, rng())
    return evaluation.table(encoder(whole, **options), whole, gallery, queries, rng())[0]


def only(kind, table):
    return table[table["audio_path" if kind == "sound" else "image_path"] != ""]


# Queries and gallery


@pytest.mark.parametrize("seed", range(4))
def test_queries_and_gallery_share_no_recording_file_or_group(seed):
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


def test_species_left_out_are_in_the_gallery_and_one_query_set_only():
    gallery, queries = evaluation.query_sets(library(), ["s1", "s2"], rng())
    assert list(queries) == ["validation", *SETS]
    assert {"s1", "s2"} < set(gallery["species"])
    assert set(queries["unseen species"]["species"]) == {"s1", "s2"}
    assert not {"s1", "s2"} & set(queries["known species"]["species"])
    assert not {"s1", "s2"} & set(queries["validation"]["species"])


def test_unseen_set_is_empty_if_no_species_is_left_out():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, [], rng())
    assert len(queries["unseen species"]) == 0
    queries["known species"] = queries["known species"][:9]
    assert set(evaluation.table(encoder(whole), whole, gallery, queries, rng())[0]["set"]) == {"known species"}


# The table


def test_table_has_an_ordered_row_for_each_set_and_modality(monkeypatch):
    monkeypatch.setattr(retrieval, "summary", functools.partial(retrieval.summary, n=300))
    table = results(library(noise=0.3))
    assert list(table) == ["set", "modality", "n", *evaluation._FIGURES]
    assert table[["set", "modality"]].to_numpy().tolist() == [[name, what] for name in SETS for what in MODALITIES]
    assert table.groupby("set")["n"].nunique().eq(1).all()  # the same pairs in every row
    figures = np.array(table[list(evaluation._FIGURES)].to_numpy().tolist())  # (rows, figures, 3)
    assert (figures >= 0).all() and (figures <= 1).all()
    value, low, high = np.moveaxis(figures, -1, 0)
    assert (low <= value + 1e-9).all() and (value <= high + 1e-9).all()


def test_perfect_embeddings_have_perfect_figures():
    figures = np.array(results(library())[list(evaluation._FIGURES)].to_numpy().tolist())
    assert figures == pytest.approx(np.ones_like(figures))


def test_random_embeddings_are_at_chance():
    """8 species as common as each other: one in eight, and each figure of 60 queries or more ± 3 * sqrt(0.11 / 60)."""
    table = results(library(n=800), (), is_blind=True)
    one = table[table["modality"].isin(["sound only", "photo only", "early fusion"])]
    assert (one["n"] >= 60).all()
    assert [figure[0] for figure in one["p_at_1"]] == pytest.approx([1 / 8] * 3, abs=0.13)
    assert all(figure[0] < 0.1 for figure in one["map_at_r"])


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_one_kind_of_media_gives_one_row_a_set(kind):
    whole = library(only(kind, manifest()))
    table = results(whole)
    assert table[["set", "modality"]].to_numpy().tolist() == [[name, f"{kind} only"] for name in SETS]
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    across = evaluation.cross_modal(encoder(whole), whole, gallery, queries, rng())
    assert len(across) == 0 and "chance" in across


def test_late_fusion_needs_validation():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    queries["validation"] = queries["validation"][:0]
    table, _ = evaluation.table(encoder(whole), whole, gallery, queries, rng())
    assert table.loc[table["set"] == "known species", "modality"].tolist() == MODALITIES[:3]


def test_table_is_empty_without_complete_pairs():
    table = manifest(n_species=8)
    has_photo = table["image_path"] != ""
    whole = library(table[has_photo == table["species"].isin(["s0", "s1", "s2"])])
    found = results(whole, ())
    assert len(found) == 0 and list(found) == ["set", "modality", "n", *evaluation._FIGURES]


def test_incomplete_pairs_are_not_in_the_table():
    """s3 has no photo: none of its sounds is a query."""
    table = manifest()
    whole = library(table[(table["species"] != "s3") | (table["audio_path"] != "")])
    gallery, queries = evaluation.query_sets(whole, [], rng())
    sought = queries["known species"]
    n_whole = (sought[["photo", "sound"]] != pairs.ABSENT).all(axis=1).sum()
    assert 0 < n_whole < len(sought)
    assert set(evaluation.table(encoder(whole), whole, gallery, queries, rng())[0]["n"]) == {n_whole}


# Across modalities


def test_cross_modal_chance_is_the_share_of_the_species_in_the_gallery():
    """2 photos of wrens and 6 of crows, for a sound of each: (2 / 8 + 6 / 8) / 2. The owl has no photo: its sound does not count."""
    names = ["wren"] * 2 + ["crow"] * 6
    photos = pd.DataFrame({"species": names, "group_id": [f"p{i}" for i in range(8)]})
    sounds = pd.DataFrame({"species": ["wren", "crow", "owl"], "group_id": list("abc"), "first": range(3), "last": range(1, 4)})  # fmt: skip
    marks = np.eye(3, dtype=np.float32)
    features = marks[[0] * 2 + [1] * 6]
    whole = pairs.Library(photos, sounds, Shown(features), marks, np.ones(3, np.float32), 1)
    gallery = pd.DataFrame({"photo": range(8), "sound": pairs.ABSENT, "species": names})
    sought = pd.DataFrame({"photo": pairs.ABSENT, "sound": range(3), "species": ["wren", "crow", "owl"]})
    table = evaluation.cross_modal(encoder(whole), whole, gallery, {"known species": sought}, rng())
    assert table["direction"].tolist() == ["photo for a sound"]
    assert table["chance"].tolist() == [pytest.approx(0.5)] and table["p_at_1"].item()[0] == 1


def test_cross_modal_queries_are_each_sound_and_each_photo_once():
    whole = library()
    gallery, queries = evaluation.query_sets(whole, ["s1"], rng())
    table = evaluation.cross_modal(encoder(whole), whole, gallery, queries, rng()).set_index(["set", "direction"])
    assert list(table) == ["n", "chance", "p_at_1", "recall_at_5", "recall_at_10", "r_precision", "map_at_r"]
    sought = queries["known species"]
    assert table.loc[("known species", "photo for a sound"), "n"] == sought["sound"].nunique()
    assert table.loc[("known species", "sound for a photo"), "n"] == sought["photo"].nunique()
    assert all(figure[0] == 1 for figure in table["p_at_1"])


# Connected pairs


def test_pairs_that_share_a_photo_or_a_group_get_one_number():
    """Sounds 0 and 1 are of one visit; pairs 0-1 share a visit, 1-2 a photo, so 0 and 2 are connected as well."""
    photos = pd.DataFrame({"species": "wren", "group_id": [f"p{i}" for i in range(5)]})
    sounds = pd.DataFrame({"species": "wren", "group_id": ["g0", "g0", "g2", "g3", "g4"]})
    whole = pairs.Library(photos, sounds, None, np.zeros((5, 2)), np.ones(5), 1)
    table = pd.DataFrame(
        [(0, 0), (1, 1), (1, 2), (2, 3), (-1, 4), (3, -1), (3, -1), (4, -1)], columns=["photo", "sound"]
    )
    found = evaluation._clusters(whole, table)
    assert pd.factorize(found)[0].tolist() == [0, 0, 0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_pairs_of_one_kind_are_connected_by_that_kind_only(kind):
    media = pd.DataFrame({"species": "wren", "group_id": ["a", "b", "a"]})
    tables = (media, media[:0]) if kind == "photo" else (media[:0], media)
    whole = pairs.Library(*tables, None, np.zeros((3, 2)), np.ones(3), 1)
    table = pd.DataFrame({"photo": pairs.ABSENT, "sound": pairs.ABSENT, "species": "wren"}, index=range(3))
    table[kind] = [0, 1, 2]
    assert pd.factorize(evaluation._clusters(whole, table))[0].tolist() == [0, 1, 0]


# Examples


def test_examples_alternate_wrong_and_right_and_differ_in_species():
    species = np.array(["wren", "wren", "crow", "crow", "owl", "owl", "jay"])
    is_right = np.array([True, True, False, False, True, False, True])
    gallery = np.array(["wren", "crow", "owl", "jay"])
    scores = np.zeros((7, 4))
    answers = np.where(is_right, species, np.roll(gallery, 1)[[list(gallery).index(one) for one in species]])
    scores[np.arange(7), [list(gallery).index(one) for one in answers]] = 1
    rows = evaluation.examples(scores, species, gallery, n=3)
    assert len(set(species[rows])) == 3 and is_right[rows][:2].tolist() == [False, True]
    assert len(evaluation.examples(scores, species, gallery)) == 4  # no more than there are species


def test_no_queries_or_gallery_give_no_examples():
    assert evaluation.examples(np.zeros((2, 0)), np.array(["a", "b"]), np.array([])) == []
    assert evaluation.examples(np.zeros((0, 2)), np.array([]), np.array(["a", "b"])) == []


def test_query_is_shown_with_its_nearest_in_order(monkeypatch):
    monkeypatch.setattr(result_sheets, "card", lambda library, pair, root, *facts: (pair["species"], *facts))
    queries, gallery = (pd.DataFrame({"species": names}) for names in (["wren", "crow"], ["crow", "wren", "owl"]))
    scores = np.array([[0.5, 0.25, 0.75], [0.5, 0.25, 0.0]])
    rows = result_sheets.nearest_cards(None, queries, gallery, scores, [1, 0], "", n_nearest=2)
    assert rows == [
        [("crow",), ("crow", 0.5, True), ("wren", 0.25, False)],
        [("wren",), ("owl", 0.75, False), ("crow", 0.5, False)],
    ]


def test_description_states_whether_fusion_helps():
    figures = {"sound only": 0.5, "photo only": 0.7, "early fusion": 0.8}
    rows = [{"set": "known species", "modality": name, "n": 18, "p_at_1": [value] * 3} for name, value in figures.items()]
    text = evaluation.describe(pd.DataFrame(rows))
    assert text == "P@1 of known species (18 queries): sound only 0.50, photo only 0.70, early fusion 0.80; fusion helps."
    assert "does not exceed" in evaluation.describe(pd.DataFrame(rows).assign(p_at_1=[[0.9] * 3, [0.7] * 3, [0.8] * 3]))
    assert evaluation.describe(pd.DataFrame(columns=["set", "modality", "n", "p_at_1"])) == "Test has no pairs to evaluate."


def test_description_of_cross_modal_retrieval_compares_with_chance():
    row = {"set": "known species", "direction": "photo for a sound", "n": 9, "chance": 0.1}
    assert "above chance (0.10)" in evaluation.describe_cross_modal(pd.DataFrame([row | {"p_at_1": [0.5, 0.2, 0.8]}]))
    assert "not clearly above" in evaluation.describe_cross_modal(pd.DataFrame([row | {"p_at_1": [0.5, 0.05, 0.8]}]))
    assert "no photo" in evaluation.describe_cross_modal(pd.DataFrame(columns=[*row, "p_at_1"]))


def test_the_rows_of_queries_have_the_figures_of_the_table_as_their_means():
    """Each query is named once for each modality, so that two runs can be compared query by query."""
    whole = library(noise=0.3)
    gallery, queries = evaluation.query_sets(whole, ("s1", "s2"), rng())
    table, by_query = evaluation.table(encoder(whole), whole, gallery, queries, rng())
    means = by_query.groupby(["set", "modality"])[["p_at_1", "map_at_r"]].mean()
    for row in table.itertuples():
        assert means.loc[(row.set, row.modality)].tolist() == pytest.approx([row.p_at_1[0], row.map_at_r[0]])
    assert not by_query.duplicated(["set", "modality", "query"]).any() and len(by_query) == table["n"].sum()
    assert by_query["query"].str.count(r" \+ ").eq(1).all()
