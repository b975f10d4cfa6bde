"""Photos of synthetic species, and an encoder of their features."""

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.multimodal import pairs


class Shown:
    """The features of a photo, the same for both views."""

    def __init__(self, features):
        self.features, self.shape = features, features.shape[1:]

    def __call__(self, row, view):
        return self.features[row]


def library(n_species=6, n_each=10, signal=3.0, offset=0.0, dim=32, seed=0):
    """Photos only, every fourth for validation. Their features are ``offset``, ``signal`` times the vector of the species, and noise."""
    rng = np.random.default_rng(seed)
    species = np.repeat(np.arange(n_species), n_each)
    centres = signal * rng.standard_normal((n_species, dim))
    features = (offset + centres[species] + rng.standard_normal((len(species), dim))).astype(np.float32)
    table = pd.DataFrame({"recording_id": [f"r{i}" for i in range(len(species))]})
    table["species"] = [f"s{i:02d}" for i in species]
    table["split"] = np.where(np.arange(len(species)) % 4 == 3, "validation", "train")
    table = table.assign(individual_id="", group_id=table["recording_id"], is_repeated=False)
    nothing = table.iloc[:0].assign(first=0, last=0)
    return pairs.Library(table, nothing, Shown(features), np.zeros((0, 8), np.float32), np.zeros(0, np.float32), 0)


def encoder(dim=32, seed=0):
    import keras

    runtime.set_seed(seed)
    x = keras.Input((dim,), name="image_features")
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Dense(64, activation="relu")(x))
    return keras.Model({"image_features": x}, keras.layers.UnitNormalization()(keras.layers.Dense(16)(hidden)))
