"""Pairs of a sound and a picture, and which of them are for training."""

import pandas as pd
import pytest
from made_scenes import birds, everything, film, library, media, rng, scene

from birdlib.multimodal import scene_pairs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_each", [1, 3])
def test_pairs_are_balanced_and_matches_share_their_category(seed, n_each):
    whole = everything(seed)
    pictures, sounds = scene_pairs.rows(whole, "train")
    table = scene_pairs.pair(pictures, sounds, rng(seed), n_each)
    assert set(table["picture"]) <= set(pictures.index) and set(table["sound"]) <= set(sounds.index)
    of_pictures = whole.pictures["category"].reindex(table["picture"]).to_numpy()
    of_sounds = whole.sounds["category"].reindex(table["sound"]).to_numpy()
    assert ((of_pictures == of_sounds) == (table["match"] == 1)).all()
    counts = table.groupby(["picture", "match"]).size().unstack()
    assert (counts == n_each).all(axis=None)
    complete = set(pictures["category"]) & set(sounds["category"])
    if sounds["category"].nunique() > 1:
        assert set(table["picture"]) == set(pictures.index[pictures["category"].isin(complete)])


def test_film_frames_are_paired_with_the_sound_of_their_moment():
    scenes = film("v0", species="wren", n=3) + film("v1", species="wren", n=3)
    whole = library(scenes, scenes + media("wren", kind="recording") + media("crow", kind="recording"))
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng(), n_each=5)
    matches = table[table["match"] == 1]
    assert (matches["picture"] == matches["sound"]).all() and len(matches) == 30


def test_silent_moment_is_paired_with_another_sound_of_its_category():
    whole = library(film("v0", n=2), film("v0", n=1) + film("v1", n=1))
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng())
    assert table["match"].tolist() == [1, 0, 1, 0] and table["sound"].tolist() == [0, 1, 0, 1]


def test_category_with_one_side_has_no_match():
    whole = library(media("wren") + media("crow"), media("wren", kind="recording") + media("tit", kind="recording"))
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng(), n_each=4)
    assert set(whole.pictures["category"].iloc[table["picture"]]) == {"wren"}
    assert set(whole.sounds["category"].iloc[table.loc[table["match"] == 0, "sound"]]) == {"tit"}


@pytest.mark.parametrize(("pictures", "sounds"), [([], []), (media("wren"), []), ([], media("wren"))])
def test_missing_side_gives_no_pairs(pictures, sounds):
    whole = library(pictures, sounds)
    table = scene_pairs.pair(whole.pictures, whole.sounds, rng())
    assert table.empty and list(table) == ["picture", "sound", "match"]


def test_films_without_species_are_not_for_training_if_there_are_species():
    named = birds(3)
    films = film("v0") + film("v1", "test")
    pictures, sounds = (t.to_dict("records") + films for t in (named.pictures, named.sounds))
    whole = library(pictures, sounds)
    assert scene_pairs.nameless_films(whole) == ["film:v0", "film:v1"]
    assert not scene_pairs.false_negatives(*scene_pairs.rows(whole, "train", ["film:v0", "film:v1"]))


@pytest.mark.parametrize(
    ("photos", "recordings"),
    [
        ([], []),
        (media("wren"), []),
        (media("wren"), media("crow", kind="recording")),  # no match among them
        (media("wren"), media("wren", kind="recording")),  # no mismatch
        (media("wren", "test"), media("wren", "test", kind="recording")),
    ],
)
def test_films_without_species_are_for_training_if_there_is_nothing_else(photos, recordings):
    films = film("v0") + film("v1") + film("v2", "test")
    whole = library(films + photos, films + recordings)
    assert scene_pairs.nameless_films(whole) == []
    warning = scene_pairs.false_negatives(*scene_pairs.rows(whole, "train"))
    assert "2 films without species are in training" in warning


def test_rows_are_without_repeated_ones_and_categories_left_out():
    repeated = scene("photo", "wren", "again", is_repeated=True)
    whole = library([*media("wren"), repeated, *media("tit")], media("tit", "test"))
    pictures, sounds = scene_pairs.rows(whole, "train", ["tit"])
    assert pictures.index.tolist() == [0, 1, 2] and sounds.empty


def test_categories_with_too_little_in_training_are_listed():
    pictures = media("wren") + media("crow") + media("jay", n=1) + media("owl", "test")
    sounds = [one for name, n in (("wren", 2), ("tit", 1), ("jay", 1)) for one in media(name, n=n, kind="recording")]
    assert scene_pairs.thin_categories(library(pictures, sounds)) == [
        ("category crow", "no sound in training: it is not trained"),
        ("category jay", "one picture and one sound in training: one pair that matches"),
        ("category tit", "no picture in training: it is used for mismatches only"),
    ]


def test_stage_05_needs_two_species_with_pictures_and_sounds_or_two_films():
    """A BirdCLEF folder has recordings only; one species with a photo is still nothing to compare with."""
    rows = pd.DataFrame(
        [("a", "wren", "a.ogg", "", ""), ("b", "crow", "b.ogg", "", ""), ("c", "wren", "", "c.jpg", "")],
        columns=["recording_id", "species", "audio_path", "image_path", "video_path"],
    )
    assert not scene_pairs.has_pairs(rows)
    crow = pd.DataFrame([("d", "crow", "", "d.jpg", "")], columns=rows.columns)
    assert scene_pairs.has_pairs(pd.concat([rows, crow]))
    films = pd.DataFrame([(i, "", "", "", f"{i}.mp4") for i in "ef"], columns=rows.columns)
    assert scene_pairs.has_pairs(films) and not scene_pairs.has_pairs(films[:1])
    assert not scene_pairs.has_pairs(films.assign(species="wren")), "a film is of its species"
