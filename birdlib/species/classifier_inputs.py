"""What a classifier of stage 07 is made of: recordings by an embedder, pooled, and what the embedder itself knows of the species."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import taxonomy
from birdlib.models import base, pooling, zero_shot
from birdlib.species import train_heads

MAX_ROWS, MAX_CELLS = 2000, 100_000  # recordings, and recordings x species, up to which there is cross-validation
ALTERNATIVES = {"yamnet": ("yamnet_bands",)}  # embedder → others of the same weights


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What candidates are made of: ``config, data, embedded`` and ``options`` as of ``train_heads.train_head``; ``features`` of its recordings."""

    config: dict
    data: object
    embedded: train_heads.PatchEmbeddings
    features: np.ndarray
    patch_pooling: object
    options: train_heads.Options

    @property
    def is_used(self):
        """(rows,) bool: recordings of training and validation that have features, each once."""
        splits = self.data.splits
        return ~splits["is_repeated"].to_numpy() & (splits["split"] != "test").to_numpy() & np.isfinite(self.features[:, 0])

    @property
    def is_small(self):
        """Whether there are few enough recordings for cross-validation."""
        n = int(self.is_used.sum())
        return n <= MAX_ROWS and n * len(self.data.classes) <= MAX_CELLS

    @property
    def embedder(self):
        """Its name."""
        return self.embedded.preprocessing["embedder"]

    @functools.cached_property
    def background(self):
        """(windows, features) of soundscapes without any of the species, or None."""
        if self.embedded.windows is None:
            return None
        windows, targets = train_heads.pool_windows(self.embedded, self.data, self.patch_pooling)
        return windows[~targets.any(axis=1)]

    @functools.cached_property
    def zero_shot(self):
        """(layer, is_known (classes,)) of what the embedder knows of the species without training; None where that is nothing."""
        last_layer = zero_shot.load(self.embedder, self.data.weights_dir)
        if last_layer is None:
            return None
        matched = taxonomy.match(_names(self.data), last_layer.species)["column"].to_numpy()
        return (last_layer.columns(matched), matched >= 0) if (matched >= 0).any() else None

    @functools.cached_property
    def zero_shot_scores(self):
        """(rows of the splits, classes) of ``zero_shot``; 0.5 for recordings without embeddings."""
        patches = self.embedded.patches
        slices = pooling.recording_slices(patches)
        scores = pooling.pool(self.embedded.embeddings, pooling.patch_weights(patches["bird_score"].to_numpy()), slices, self.zero_shot[0])
        rows = pd.Index(slices["recording_id"]).get_indexer(self.data.splits["recording_id"])
        return np.where(rows[:, None] >= 0, scores[rows], 0.5)


def alternatives(inputs, folder):
    """Inputs of the recordings by the other embedders of the same weights, where they are few enough for cross-validation.

    Args:
        inputs: those of stage 03's embedder.
        folder: for the embeddings, which are memory-mapped.

    Returns:
        (list of Inputs, notes): notes say which cannot be had.
    """
    name, found, notes = inputs.embedder, [], []
    for other in ALTERNATIVES.get(name, ()) if inputs.is_small else ():
        try:
            embedded = train_heads.load_embeddings(other, inputs.data, folder, inputs.embedded.windows is not None)
        except base.EmbedderError as error:
            notes.append(f"{other}: {error}")
            continue
        patch_pooling = embedded.pooling()
        features = train_heads.pool_recordings(embedded, inputs.data, patch_pooling)
        found.append(dataclasses.replace(inputs, embedded=embedded, features=features, patch_pooling=patch_pooling))
    return found, notes


def _names(data):
    """Names of the classes, by the taxonomy of the recordings' folder where it has one."""
    try:
        return taxonomy.names(data.classes, stages.recordings_root(data.outputs_dir))
    except runtime.BirdlibError:  # without stage 01, as in benchmarks, or its recordings are gone
        return taxonomy.names(data.classes)
