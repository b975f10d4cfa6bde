"""Pairs: a photo and a recording of one species (of one individual, where known), as inputs of an encoder.

A pair names its photo and its sound by their rows in the library's tables; -1 means that there is none. The caller passes
the rows of one split, so that no pair spans two.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib.data import splits as split_rules
from birdlib.models import batch_calls, pooling

ABSENT = -1
_CHUNK = 512  # pairs whose arrays are in memory at once, at most
_CHUNK_BYTES = 2**28  # of those arrays: the feature maps of a photo are up to 13 MB, where training begins in VGG16's first block
KINDS = ("photo", "sound")  # of media, in the order of ``presence``


@dataclasses.dataclass(frozen=True)
class Library:
    """Photos and sounds that can be paired: ``recording_id, species, individual_id, group_id, split, is_repeated``, rows from 0."""

    photos: pd.DataFrame
    sounds: pd.DataFrame  # also with ``first, last``, their rows in ``embeddings``
    photo_features: Callable  # ``image_features.Features``: (row of photos, view) → features; view 1 is mirrored
    embeddings: np.ndarray  # (patches, dim), may be memory-mapped
    weights: np.ndarray  # (patches,)
    n_patches: int  # length of the window of a sound that is embedded


def pair(photos, sounds, rng):
    """Pair the photos and sounds of one split at random, every one at least once.

    Returns:
        DataFrame: ``photo, sound`` (rows of the library, or -1), ``species``.
    """
    return _side_by_side(photos, sounds, rng, lambda side, n: np.resize(side, n) if len(side) else np.full(n, ABSENT))


def sample(photos, sounds, n, rng):
    """Draw ``n`` samples of the photos and sounds of a species, as ``pair`` gives them; at least one photo or sound is needed.

    No two share a photo or a recording while there are enough: pairs first, then what is left of the more numerous side, alone. Only
    where these are fewer than ``n`` are photos and sounds drawn again.
    """
    rounds, n_drawn = [], 0
    while n_drawn < n:
        drawn = _side_by_side(photos, sounds, rng, lambda side, n: np.pad(side, (0, n - len(side)), constant_values=ABSENT))
        drawn = drawn.iloc[rng.permutation(len(drawn))]
        is_alone = (drawn[["photo", "sound"]] == ABSENT).any(axis=1)
        rounds.append(drawn.iloc[np.argsort(is_alone.to_numpy(), kind="stable")])
        n_drawn += len(drawn)
    return pd.concat(rounds, ignore_index=True)[:n]


def media(library, pairs):
    """(pairs, 2) int: numbers of the photo and the recording of each pair, equal for equal ones; below 0 where there is none."""
    photos = library.photos["digest" if "digest" in library.photos else "recording_id"]
    numbers = [np.append(pd.factorize(ids)[0], ABSENT) for ids in (photos, library.sounds["recording_id"])]  # ABSENT takes the last
    return np.stack([number[pairs[kind]] for number, kind in zip(numbers, ("photo", "sound"), strict=True)], axis=1)


def _side_by_side(photos, sounds, rng, lengthen):
    """Each species' photos and sounds in random order, side by side, those of one individual together where both sides know it."""
    birds = [pd.MultiIndex.from_frame(table[["species", "individual_id"]]) for table in (photos, sounds)]
    sides = [_members(photos, birds[0].isin(birds[1])), _members(sounds, birds[1].isin(birds[0]))]
    rows = []
    for key in sorted(set(sides[0]) | set(sides[1])):
        photo, sound = (rng.permutation(side.get(key, [])).astype(int) for side in sides)
        n = max(len(photo), len(sound))
        rows.append(pd.DataFrame({"photo": lengthen(photo, n), "sound": lengthen(sound, n), "species": key[0]}))
    if not rows:
        return pd.DataFrame({"photo": np.zeros(0, int), "sound": np.zeros(0, int), "species": np.zeros(0, str)})
    return pd.concat(rows, ignore_index=True)


def _members(table, is_known):
    """{(species, individual): rows}; the individual only where both sides know it."""
    individual = table["individual_id"].where(is_known, "")
    return table.groupby([table["species"], individual]).groups


def alone(pairs, kind):
    """The pairs with their photo alone, or their sound alone; as many rows as before."""
    return pairs.assign(**{other: ABSENT for other in KINDS if other != kind})


def each(pairs, kind):
    """Each photo (or each sound) of the pairs once, alone."""
    return alone(pairs[pairs[kind] != ABSENT].drop_duplicates(kind), kind)


def inputs(library, pairs, rng=None):
    """The inputs of an encoder; with ``rng``, windows of sounds and mirroring of photos are random, else by bird score and none.

    Returns:
        dict of float32 arrays: ``image_features`` (pairs, ...) where there are photos, ``embeddings`` (pairs, patches, dim) and
        ``weights`` (pairs, patches) where there are sounds, ``presence`` (pairs, 2).
    """
    photo, sound = pairs["photo"].to_numpy(), pairs["sound"].to_numpy()
    presence = np.stack([photo, sound], axis=1) != ABSENT
    arrays = {"presence": presence.astype(np.float32)}
    if len(library.photos):
        features = np.zeros((len(pairs), *library.photo_features.shape), np.float32)
        for i in np.flatnonzero(presence[:, 0]):
            features[i] = library.photo_features(photo[i], 0 if rng is None else int(rng.integers(2)))
        arrays["image_features"] = features
    if len(library.sounds):
        embeddings = np.zeros((len(pairs), library.n_patches, library.embeddings.shape[1]), np.float32)
        weights = np.zeros((len(pairs), library.n_patches), np.float32)
        weights[~presence[:, 1], 0] = 1.0  # one empty patch, because an LSTM needs one
        first, last = library.sounds["first"].to_numpy(), library.sounds["last"].to_numpy()
        for i in np.flatnonzero(presence[:, 1]):
            start, end = window(library.weights, first[sound[i]], last[sound[i]], library.n_patches, rng)
            embeddings[i, : end - start] = library.embeddings[start:end]
            weights[i, : end - start] = library.weights[start:end]
        arrays |= {"embeddings": embeddings, "weights": weights}
    return arrays


def window(weights, first, last, n_patches, rng=None):
    """The window of a sound: all patches, or ``n_patches`` in a row, those of the greatest weight or, with ``rng``, at random.

    ``weights`` are those of all sounds, ``first`` and ``last`` the rows of this one; returns those of the window.
    """
    n_spare = last - first - n_patches
    if n_spare <= 0:
        return first, last
    if rng is not None:
        start = first + int(rng.integers(n_spare + 1))
    else:
        total = np.concatenate([[0.0], np.cumsum(weights[first:last], dtype=np.float64)])
        start = first + int(np.argmax(total[n_patches:] - total[:-n_patches]))
    return start, start + n_patches


def embed(encoder, library, pairs):
    """Unit vectors of pairs, (pairs, dim) float32, computed in chunks."""
    embedded = [np.zeros((0, encoder.output_shape[-1]), np.float32)]
    n_bytes = 4 * int(np.prod(library.photo_features.shape)) if len(library.photos) else 1
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // n_bytes))
    for start in range(0, len(pairs), chunk):
        arrays = inputs(library, pairs.iloc[start : start + chunk])
        arrays = {name: arrays[name] for name in encoder.input}
        embedded.append(batch_calls.outputs(encoder, arrays, 64))
    return np.concatenate(embedded)


def drop_modalities(pairs, share, rng):
    """Modality dropout: a share of the complete pairs loses its photo or its sound, so that each is trained alone too."""
    draw = rng.random(len(pairs))
    is_whole = (pairs[["photo", "sound"]] != ABSENT).all(axis=1).to_numpy()
    no_photo, no_sound = is_whole & (draw < share / 2), is_whole & (draw > 1 - share / 2)
    photo, sound = np.where(no_photo, ABSENT, pairs["photo"]), np.where(no_sound, ABSENT, pairs["sound"])
    return pairs.assign(photo=photo, sound=sound)


def library(splits, photos, photo_features, patches, embeddings, n_patches):
    """Build a ``Library`` from the tables of stages 01 and 03.

    Args:
        splits, photos: the table of stage 01, and its rows with a picture that could be read; may be empty.
        patches, embeddings: of stage 03.
        n_patches: maximum length of a window of a sound.
    """
    slices = pooling.recording_slices(patches)
    sounds = splits[splits["audio_path"] != ""].merge(slices, on="recording_id")
    longest = int((slices["last"] - slices["first"]).max()) if len(slices) else 0
    weights = pooling.patch_weights(patches["bird_score"].to_numpy())
    photos = photos.reset_index(drop=True)
    return Library(photos, sounds, photo_features, embeddings, weights, min(n_patches, longest))


def rows(whole, split, without=()):
    """(photos, sounds): the rows of one split, less some species, and less what is repeated from another split."""
    return split_rules.rows_of((whole.photos, whole.sounds), split, without)


def thin_species(whole, without=()):
    """Species with too little in training: ``(species, reason)``."""
    photos, sounds = (table["species"].value_counts() for table in rows(whole, "train", without))
    found = []
    for name in sorted(set(photos.index) | set(sounds.index)):
        n_photos, n_sounds = photos.get(name, 0), sounds.get(name, 0)
        if n_photos + n_sounds == 1:
            found.append((f"species {name}", "one sample only in training: it is a negative only"))
        elif len(photos) and len(sounds) and not (n_photos and n_sounds):
            missing = "sound" if n_photos else "photo"
            found.append((f"species {name}", f"no {missing} in training: the other is trained alone"))
    return found
