"""Pairs of scenes: which sound and which picture belong together, and which of them are learnt from.

A pair is a picture scene and a sound scene (``scenes``), named by their rows. They match if their category is the same: the species,
or, for a film without one, the film. A film's pictures are paired with their own moment's sound.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib.data import splits as split_rules
from birdlib.multimodal import scenes

_NAMELESS = "film:"  # category of a film without species begins so
_REMEMBERED = 2048  # scenes whose arrays stay in memory: some 130 MB of each kind


@dataclasses.dataclass(frozen=True)
class Library:
    """Scenes and their arrays.

    Attributes:
        pictures, sounds: tables of ``scenes``, rows numbered from 0.
        picture_arrays: {"pixels", "features"}: functions of a row of pictures.
        sound_arrays: {"spectrogram"}: functions of a row of sounds.
    """

    pictures: pd.DataFrame
    sounds: pd.DataFrame
    picture_arrays: dict
    sound_arrays: dict


def library(pictures, sounds, store):
    """A library of the scenes of a store; what was read last stays in memory."""
    seen, heard = scenes.Arrays(store, pictures), scenes.Arrays(store, sounds)
    remember = functools.lru_cache(maxsize=_REMEMBERED)
    pixels, features, spectrogram = (remember(read) for read in (seen.pixels, seen.features, heard.spectrogram))
    return Library(pictures, sounds, {"pixels": pixels, "features": features}, {"spectrogram": spectrogram})


def can_learn(splits):
    """Whether the recordings of a split table give pairs: two species that can be seen and heard, or two films."""
    has_film = splits["video_path"] != ""
    seen, heard = (set(splits.loc[has_film | (splits[name] != ""), "species"]) for name in ("image_path", "audio_path"))
    return len(seen & heard - {""}) > 1 or splits.loc[has_film, "recording_id"].nunique() > 1


def rows(library, split, without=()):
    """(pictures, sounds): the rows of one split, less some categories, and less what is repeated from another split."""
    return split_rules.rows_of((library.pictures, library.sounds), split, without, "category")


def learnt(library, split, left_out=()):
    """(pictures, sounds): the rows of one split that are learnt from: without ``nameless_films``, nor species left out."""
    return rows(library, split, [*left_out, *nameless_films(library)])


def pair(pictures, sounds, rng, n_each=1):
    """Balanced pairs: for every picture ``n_each`` sounds that match, and as many that do not.

    A film's moment takes its own sound. A picture whose category has no sound is in no pair; a sound without pictures is in mismatches.

    Args:
        pictures, sounds: rows of a library's tables.
        rng: draws the partners.

    Returns:
        DataFrame: ``picture, sound`` (rows of the library), ``match`` (0 or 1).
    """
    of, moments = pictures["category"].to_numpy(), sounds["moment"].to_numpy()
    categories, found = sounds["category"].to_numpy(), []
    for row, category, moment in zip(pictures.index, of, pictures["moment"], strict=True):
        same = np.flatnonzero(categories == category)
        own = np.flatnonzero(moments == moment) if moment else np.zeros(0, int)
        matches = own if len(own) else same
        others = np.flatnonzero(categories != category)
        if len(matches) and len(others):
            found += [(row, sounds.index[i], 1) for i in rng.choice(matches, n_each)]
            found += [(row, sounds.index[i], 0) for i in rng.choice(others, n_each)]
    return pd.DataFrame(found, columns=["picture", "sound", "match"])


def nameless_films(library):
    """Categories of films without species, where species can be learnt without them: what they hold is not known, so with the sound of another
    they may be false mismatches. They are tested on, and not learnt from."""
    learnt = [{name for name in table["category"] if not name.startswith(_NAMELESS)} for table in rows(library, "train")]
    if not learnt[0] & learnt[1] or len(learnt[1]) < 2:
        return []
    names = {*library.pictures["category"], *library.sounds["category"]}
    return sorted(name for name in names if name.startswith(_NAMELESS))


def false_negatives(pictures, sounds):
    """What may be wrong with the mismatches that are learnt from, in words; ``""`` where every category is a species."""
    n_films = max(table.loc[table["category"].str.startswith(_NAMELESS), "category"].nunique() for table in (pictures, sounds))
    if not n_films:
        return ""
    return f"{n_films} films without species are learnt from: with the sound of another they count as mismatches, and may hold the same birds"


def inputs(library, table, names):
    """What a matcher takes: {"pixels" or "features", "spectrogram"} float32, row-aligned with the pairs."""
    sides = {"spectrogram": ("sound", library.sound_arrays), **{n: ("picture", library.picture_arrays) for n in ("pixels", "features")}}
    arrays = {}
    for name in names:
        column, source = sides[name]
        arrays[name] = np.stack([np.asarray(source[name](row), np.float32) for row in table[column]])
    return arrays


def thin_categories(library):
    """Categories that can match nothing, or hardly: ``(category, what is lacking)``, in training."""
    pictures, sounds = (table["category"].value_counts() for table in rows(library, "train"))
    found = []
    for name in sorted(set(pictures.index) | set(sounds.index)):
        n_seen, n_heard = pictures.get(name, 0), sounds.get(name, 0)
        if not (n_seen and n_heard):
            lacking = "sound in training: it is not learnt" if n_seen else "picture in training: it serves for mismatches only"
            found.append((f"category {name}", f"no {lacking}"))
        elif n_seen == n_heard == 1:
            found.append((f"category {name}", "one picture and one sound in training: one pair that matches"))
    return found
