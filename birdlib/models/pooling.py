"""From patches to features: any number of patch embeddings become one vector.

A recording, or a window of it, is a slice of rows of the patch table: embeddings of shape (patches, dim), with a weight for each
patch (its bird score). The pooling is a Keras layer, so that a saved model holds it.
"""

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.store import temporary_array

ADAPTIVE_AVERAGE, ADAPTIVE_SIZE = "adaptive_average", 1024
STATISTICS = ("mean_std", "mean", ADAPTIVE_AVERAGE)  # weighted by bird score and scaled to unit length; the last is the plain average, unscaled
_VIEW_DIMS = {"yamnet": 1024, "yamnet_bands": 2048}  # of embedders that may have two views, of which one is an octave lower
_BATCH = 4096  # patches that are pooled at once
MIN_WEIGHT = 0.05  # of a patch without a bird: weights must not vanish, and background carries some information


class PoolingError(runtime.BirdlibError):
    """A pooling of patches that does not exist."""


def patch_weights(bird_scores):
    """Weights of patches for the pooling, (patches,) float32: the bird score, but never below ``MIN_WEIGHT``."""
    return np.maximum(bird_scores, MIN_WEIGHT).astype(np.float32)


def recording_slices(patches):
    """The rows of each recording in the patch table, which lie together.

    Returns:
        DataFrame: ``recording_id, first, last``; its patches are rows ``first`` to ``last`` - 1.
    """
    rows = pd.Series(np.arange(len(patches))).groupby(patches["recording_id"].to_numpy(), sort=False)
    slices = rows.agg(["min", "max"]).rename_axis("recording_id").reset_index()
    return pd.DataFrame({"recording_id": slices["recording_id"], "first": slices["min"], "last": slices["max"] + 1})


def window_slices(slices, n_patches, hop):
    """Cut every recording into windows of ``n_patches`` patches, ``hop`` apart, the last one flush with its end.

    A shorter recording is one window.
    """
    rows = [
        (row.recording_id, first, min(first + n_patches, row.last))
        for row in slices.itertuples()
        for first in [*range(row.first, row.last - n_patches, hop), max(row.first, row.last - n_patches)]
    ]
    return pd.DataFrame(rows, columns=["recording_id", "first", "last"])


def pool(embeddings, weights, slices, patch_pooling, folder=None):
    """Pool the patches of each slice.

    Args:
        embeddings: (patches, dim), may be memory-mapped.
        weights: (patches,), from ``patch_weights``.
        slices: with ``first`` and ``last``.
        patch_pooling: a layer from ``build_pooling``.
        folder: where the features lie on disk, see ``store.temporary_array``; None keeps them in memory.

    Returns:
        (slices, features) float32.
    """
    return _pool(lambda numbers: (np.asarray(embeddings[numbers]), weights[numbers]), embeddings.shape[1], slices, patch_pooling, folder)


def pool_rows(rows, slices, patch_pooling, folder=None):
    """``pool`` for the rows of an embedding store, (patches, dim + 1), whose last column is the bird score."""

    def read(numbers):
        found = rows[numbers]  # (batch, length, dim + 1)
        return found[..., :-1], patch_weights(found[..., -1])

    return _pool(read, rows.shape[1] - 1, slices, patch_pooling, folder)


def _pool(read, dim, slices, patch_pooling, folder):
    """``read``: numbers of patches → (their embeddings, their weights)."""
    shape = patch_pooling.compute_output_shape((len(slices), None, dim), (len(slices), None))
    pooled = np.empty(shape, np.float32) if folder is None else temporary_array(folder, shape)
    firsts, lengths = slices["first"].to_numpy(), (slices["last"] - slices["first"]).to_numpy()
    for length in runtime.progress(np.unique(lengths), desc="pooling"):  # slices of one length are pooled together, without padding
        rows, size = np.flatnonzero(lengths == length), max(1, _BATCH // length)
        for batch in (rows[begin : begin + size] for begin in range(0, len(rows), size)):
            numbers = firsts[batch, None] + np.arange(length)  # (batch, length)
            pooled[batch] = np.asarray(patch_pooling(*read(numbers)))
    return pooled


def of_embedder(name, dim, statistics="mean_std"):
    """The pooling layer for the embeddings of an embedder: YAMNet's have one view or two, all others one view of ``dim``.

    Args:
        statistics: one of ``STATISTICS``.

    Raises:
        PoolingError: for another.
    """
    if statistics not in STATISTICS:
        raise PoolingError(f"pooling {statistics!r} is unknown: use one of {', '.join(STATISTICS)}")
    return build_pooling(_VIEW_DIMS.get(name, dim), statistics)


def build_pooling(view_dim=1024, statistics="mean_std"):
    """A layer of ``layers``, imported late so that importing birdlib does not import Keras."""
    from birdlib.models import layers

    if statistics == ADAPTIVE_AVERAGE:
        return layers.AdaptiveAveragePooling(ADAPTIVE_SIZE)
    return layers.PatchPooling(view_dim, statistics)
