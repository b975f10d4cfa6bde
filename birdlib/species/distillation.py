"""Distillation: a pretrained network's embeddings, which a mel model learns to predict from the same sound.

Knowledge of thousands of species reaches a network that is trained on a few: Perch v2 in the second, fifth and ninth place of BirdCLEF+
2026. A teacher embeds every recording once, through the embedding store, patch by patch from its beginning. A random crop lies across
several patches, so its embedding is their mean, weighted by the seconds that each shares with the crop; without any, that of the nearest.
"""

import numpy as np

from birdlib import runtime
from birdlib.models import embedders, weights
from birdlib.species import train_heads


class DistillationError(runtime.BirdlibError):
    """A teacher that cannot be had."""


def choose(names, weights_dir=""):
    """The first teacher of a comma list of embedders whose weights can be had.

    Returns:
        weights.Source; its licence extends to what is distilled from it.

    Raises:
        DistillationError: for an unknown name, or if none can be had; it says why of each.
    """
    reasons = []
    for name in runtime.names(names):
        if name not in embedders.NAMES:
            raise DistillationError(f"distillation from {name!r} is unknown: name of {', '.join(embedders.NAMES)}")
        try:
            return weights.fetch(name, weights_dir)
        except weights.MissingWeightsError as error:
            reasons.append(str(error))
    raise DistillationError("no teacher to distil from can be had: " + ("; ".join(reasons) or "none is named"))


def load(names, data, folder, with_windows):
    """The teacher with its embeddings of all recordings and, where asked for, of the soundscape windows of ``data``.

    Args:
        names: as of ``choose``.
        data: TrainingData.
        folder: where the arrays are written.

    Returns:
        (Teacher, receipt of its weights).
    """
    source = choose(names, data.weights_dir)
    embedded = train_heads.load_embeddings(source.name, data, folder, with_windows)
    return Teacher(source.name, [(embedded.embeddings, embedded.patches), *([embedded.windows] if with_windows else [])]), embedded.weights


class Teacher:
    """Embeddings of any stretch of recordings and windows; see the module.

    Attributes: ``name``; ``dim`` of an embedding.

    Args:
        sets: list of (embeddings (patches, dim), patches as of stage 03).
    """

    def __init__(self, name, sets):
        self.name, self.dim = name, sets[0][0].shape[1]
        self._of = {}
        for embeddings, patches in sets:
            times = patches[["start_s", "end_s"]].to_numpy(np.float64)
            for recording_id, rows in patches.groupby("recording_id").indices.items():
                self._of[recording_id] = embeddings, rows, times[rows]

    def __contains__(self, recording_id):
        return recording_id in self._of

    def embed(self, recording_id, start_s, end_s):
        """(dim,) float32, the mean over the patches of a stretch of a recording; 0 for a recording that the teacher could not read."""
        if recording_id not in self._of:
            return np.zeros(self.dim, np.float32)
        embeddings, rows, times = self._of[recording_id]
        shared_s = np.minimum(times[:, 1], end_s) - np.maximum(times[:, 0], start_s)  # negative: the gap
        if not (shared_s > 0).any():
            return np.array(embeddings[rows[shared_s.argmax()]], np.float32)
        inside = shared_s > 0
        return np.average(embeddings[rows[inside]], axis=0, weights=shared_s[inside]).astype(np.float32)
