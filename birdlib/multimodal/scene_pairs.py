"""Pairs of scenes: which sound and which picture belong together, and which of them are for training.

A pair is a picture scene and a sound scene (``scenes``), named by their rows. They match if their category is the same: the species,
or, for a film without one, the film. A film's pictures are paired with their own moment's sound.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import splits as split_rules
from birdlib.models import resnet50
from birdlib.multimodal import scene_video, scenes

_NAMELESS = "film:"  # prefix of the category of a film without species
_CACHE_BYTES = 2**27  # of arrays that stay in memory, of each kind: 2,048 spectrograms of bands, 261 of an STFT


class CorrespondenceError(runtime.BirdlibError):
    """A matcher that cannot be trained or used as configured."""


@dataclasses.dataclass(frozen=True)
class Library:
    """Scenes and their arrays; the tables are those of ``scenes``, rows numbered from 0."""

    pictures: pd.DataFrame
    sounds: pd.DataFrame
    picture_arrays: dict  # {"pixels", "features"}: functions of a row of pictures
    sound_arrays: dict  # {"spectrogram"}: function of a row of sounds
    spectrogram: str = "bands"  # its kind, a name of ``scene_audio.KINDS``


def library(pictures, sounds, store, spectrogram="bands"):
    """A library of the scenes of a store, with a cache of the arrays read last; ``spectrogram`` is that of ``scenes.sound_scenes``."""
    of_pictures, of_sounds = scenes.Arrays(store, pictures), scenes.Arrays(store, sounds, spectrogram)
    frames, (n_steps, n_bands) = scene_video.N_FRAMES, of_sounds.spectrogram_shape
    picture_arrays = {"pixels": _cached(of_pictures.pixels, frames * scene_video.PIXELS**2 * 3), "features": _cached(of_pictures.features, 4 * frames * resnet50.FEATURES)}
    return Library(pictures, sounds, picture_arrays, {"spectrogram": _cached(of_sounds.spectrogram, 4 * n_steps * n_bands)}, spectrogram)


def _cached(read, n_bytes):
    """A function of a row that keeps the arrays of ``n_bytes`` that were read last."""
    return functools.lru_cache(_CACHE_BYTES // n_bytes)(read)


def has_pairs(splits):
    """Whether the recordings of a split table give pairs: two species with pictures and sounds; a film without species counts as one."""
    has_film = splits["video_path"] != ""
    pictured, recorded = (set(splits.loc[has_film | (splits[name] != ""), "species"]) for name in ("image_path", "audio_path"))
    n_nameless = splits.loc[has_film & (splits["species"] == ""), "recording_id"].nunique()
    return len(pictured & recorded - {""}) + n_nameless > 1


def rows(library, split, without=()):
    """(pictures, sounds): the rows of one split, less some categories, and less what is repeated from another split."""
    return split_rules.rows_of((library.pictures, library.sounds), split, without, "category")


def training_rows(library, split, left_out=()):
    """(pictures, sounds): the rows of one split for training: without ``nameless_films`` and the species left out."""
    return rows(library, split, [*left_out, *nameless_films(library)])


def pair(pictures, sounds, rng, n_each=1):
    """Balanced pairs: for every picture ``n_each`` sounds that match, and as many that do not.

    A film's moment takes its own sound. A picture whose category has no sound is in no pair; a sound without pictures is in mismatches.

    Returns:
        DataFrame: ``picture, sound`` (rows of the library), ``match`` (0 or 1).
    """
    categories, moments, found = sounds["category"].to_numpy(), sounds["moment"].to_numpy(), []
    for row, category, moment in zip(pictures.index, pictures["category"], pictures["moment"], strict=True):
        same = np.flatnonzero(categories == category)
        own = np.flatnonzero(moments == moment) if moment else np.zeros(0, int)
        matches = own if len(own) else same
        others = np.flatnonzero(categories != category)
        if len(matches) and len(others):
            found += [(row, sounds.index[i], 1) for i in rng.choice(matches, n_each)]
            found += [(row, sounds.index[i], 0) for i in rng.choice(others, n_each)]
    return pd.DataFrame(found, columns=["picture", "sound", "match"])


def nameless_films(library):
    """Categories of films without species, if species can be trained without them: their birds are unknown, so their mismatches may be
    false. They are for evaluation, not for training."""
    species = [{name for name in table["category"] if not name.startswith(_NAMELESS)} for table in rows(library, "train")]
    if not species[0] & species[1] or len(species[1]) < 2:
        return []
    names = {*library.pictures["category"], *library.sounds["category"]}
    return sorted(name for name in names if name.startswith(_NAMELESS))


def false_negatives(pictures, sounds):
    """A warning about training mismatches that may be false; ``""`` where every category is a species."""
    n_films = max(table.loc[table["category"].str.startswith(_NAMELESS), "category"].nunique() for table in (pictures, sounds))
    if not n_films:
        return ""
    return f"{n_films} films without species are in training: with sounds of others they are mismatches, but may show the same birds"


def inputs(library, table, names):
    """The inputs of a matcher: {"pixels" or "features", "spectrogram"} float32, row-aligned with the pairs."""
    arrays = {}
    for name in names:
        is_sound = name in library.sound_arrays
        read = (library.sound_arrays if is_sound else library.picture_arrays)[name]
        arrays[name] = np.stack([np.asarray(read(row), np.float32) for row in table["sound" if is_sound else "picture"]])
    return arrays


def thin_categories(library):
    """Categories with no or one matching pair in training: ``(category, reason)``."""
    pictures, sounds = (table["category"].value_counts() for table in rows(library, "train"))
    found = []
    for name in sorted(set(pictures.index) | set(sounds.index)):
        n_pictures, n_sounds = pictures.get(name, 0), sounds.get(name, 0)
        if not (n_pictures and n_sounds):
            lacking = "sound in training: it is not trained" if n_pictures else "picture in training: it is used for mismatches only"
            found.append((f"category {name}", f"no {lacking}"))
        elif n_pictures == n_sounds == 1:
            found.append((f"category {name}", "one picture and one sound in training: one pair that matches"))
    return found
