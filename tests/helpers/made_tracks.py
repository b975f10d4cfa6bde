"""Tracks of birds with rings, a small network that sees them, and their tables."""

import numpy as np
import pandas as pd
from arrays import unit

from birdlib.individuals import backbones, track_datasets, track_sounds
from birdlib.video import tracking

DIM, MAP = 8, (8, 8, 6)


def backbone():
    """A small network of random weights."""
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((backbones.SIZE, backbones.SIZE, 3))
    early = keras.layers.AveragePooling2D(backbones.SIZE // MAP[0])(inputs / 127.5 - 1.0)
    early = keras.layers.Conv2D(MAP[2], 1, activation="relu")(early)
    last = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(DIM, 3)(early))
    return backbones.Backbone(keras.Model(inputs, [last, early]), DIM, MAP, "tiny", {"tiny": {}})


def together(n, *pairs):
    table = np.zeros((n, n), bool)
    for a, b in pairs:
        table[a, b] = table[b, a] = True
    return table


def ringed(rng, colour):
    """A grey bird in any light, with a ring of one colour somewhere."""
    image = np.full((64, 64, 3), rng.integers(60, 200), np.uint8)
    y, x = rng.integers(0, 44, 2)
    image[y : y + 20, x : x + 20] = colour
    return image


def set_of(names, must_not_link, backbone=None, n_crops=4, seed=0):
    """Tracks of ringed birds; without a backbone, features are random."""
    rng = np.random.default_rng(seed)
    of_track = np.repeat(np.arange(len(names)), n_crops)
    if backbone is None:
        seen = rng.normal(size=(len(of_track), DIM)).astype(np.float32), rng.normal(size=(len(of_track), *MAP)).astype(np.float16)
    else:
        colours = dict(zip(dict.fromkeys(names), rng.integers(0, 256, (len(names), 3)), strict=False))
        seen = backbones.extract_features([ringed(rng, colours[names[track]]) for track in of_track], backbone)
    summary = pd.DataFrame({"recording_id": "film", "track": np.arange(len(names))})
    crops = pd.DataFrame({"recording_id": "film", "track": of_track, "time_s": np.tile(np.arange(n_crops, dtype=float), len(names)), "path": ""})
    return track_datasets.from_films(summary, crops, seen, silence(of_track), must_not_link, np.array(names, dtype=object))


def silence(of_track):
    """No sound of any track."""
    n_tracks = max(of_track, default=-1) + 1
    return track_sounds.Sounds(np.zeros((n_tracks, 125, 128), np.float32), np.zeros(n_tracks, bool), np.asarray(of_track))


def tables(n_tracks, n_crops=3):
    """(summary, crops) of tracks that are alone, the crops not in the order of time."""
    found = [("film", track, 10.0 * track + n / 5, 0, 0, 9, 9, 0.9) for track in range(1, n_tracks + 1) for n in range(5)]
    rows = [("film", track, 10.0 * track + (n * 2 % 3) / 5, f"{track}_{n}.png", 1.0) for track in range(1, n_tracks + 1) for n in range(n_crops)]
    return tracking.summary(pd.DataFrame(found, columns=tracking.COLUMNS)), pd.DataFrame(rows, columns=tracking.CROP_COLUMNS)


def crops_of(birds, noise, n_crops=6, seed=0, dim=32):
    """(embeddings, crop_tracks) of tracks; ``birds`` is the bird of each."""
    centres = unit(np.random.default_rng(1).normal(size=(max(birds, default=0) + 1, dim)))[list(birds)].reshape(-1, dim)
    vectors = np.repeat(centres, n_crops, axis=0) + noise * np.random.default_rng(seed).normal(size=(n_crops * len(birds), dim))
    return unit(vectors) if len(birds) else np.zeros((0, dim)), np.repeat(np.arange(len(birds)), n_crops)
