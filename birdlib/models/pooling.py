"""From patches to features: any number of patch embeddings become one vector.

A recording, or a window of it, is a slice of rows of the patch table: embeddings of shape (patches, dim), with a weight for each
patch (its bird score). The pooling is a Keras layer, so that a saved model holds it.
"""

import functools

import numpy as np
import pandas as pd

from birdlib import runtime

LEAST_WEIGHT = 0.05  # of a patch in which no bird was heard: weights must not vanish, and silence tells a little too


def patch_weights(bird_scores):
    """Weights of patches for the pooling, (patches,) float32: the bird score, but never below ``LEAST_WEIGHT``."""
    return np.maximum(bird_scores, LEAST_WEIGHT).astype(np.float32)


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


def pool(embeddings, weights, slices, patch_pooling):
    """Pool the patches of each slice.

    Args:
        embeddings: (patches, dim), may be memory-mapped.
        weights: (patches,), from ``patch_weights``.
        slices: with ``first`` and ``last``.
        patch_pooling: a layer from ``build_pooling``.

    Returns:
        (slices, features) float32.
    """
    shape = patch_pooling.compute_output_shape((len(slices), None, embeddings.shape[1]), (len(slices), None))
    pooled = np.empty(shape, np.float32)
    ends = list(zip(slices["first"], slices["last"], strict=True))
    for row, (first, last) in enumerate(runtime.progress(ends, desc="pooling")):
        pooled[row] = np.asarray(patch_pooling(np.array(embeddings[None, first:last]), weights[None, first:last]))[0]
    return pooled


@functools.cache
def _patch_pooling():
    """The layer's class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable("birdlib")
    class PatchPooling(keras.layers.Layer):
        """Any number of patch embeddings to one vector: their weighted mean and standard deviation.

        Inputs: embeddings (batch, patches, dim) and weights (batch, patches); a patch of weight 0 is padding and changes nothing.
        Output: (batch, statistics * dim), each statistic of each view of ``view_dim`` numbers scaled to unit length.
        """

        def __init__(self, view_dim, statistics="mean_std", **options):
            super().__init__(**options)
            self.view_dim, self.statistics = view_dim, statistics

        def build(self, embeddings_shape, weights_shape):
            if embeddings_shape[-1] % self.view_dim:
                raise ValueError(f"embeddings of {embeddings_shape[-1]} numbers are not views of {self.view_dim}")

        def call(self, embeddings, weights):
            weights = ops.cast(weights, embeddings.dtype)[..., None]  # (batch, patches, 1)
            weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1e-6)
            pooled = ops.sum(weights * embeddings, axis=1)  # (batch, dim)
            if self.statistics == "mean_std":
                variance = ops.sum(weights * ops.square(embeddings - pooled[:, None]), axis=1)
                pooled = ops.concatenate([pooled, ops.sqrt(variance + 1e-8)], axis=-1)  # (batch, 2 * dim)
            views = ops.reshape(pooled, (-1, pooled.shape[-1] // self.view_dim, self.view_dim))
            views = views / ops.maximum(ops.norm(views, axis=-1, keepdims=True), 1e-3)
            return ops.reshape(views, (-1, pooled.shape[-1]))

        def compute_output_shape(self, embeddings_shape, weights_shape):
            return (embeddings_shape[0], embeddings_shape[-1] * (2 if self.statistics == "mean_std" else 1))

        def get_config(self):
            return super().get_config() | {"view_dim": self.view_dim, "statistics": self.statistics}

    return PatchPooling


def of_embedder(name, dim, statistics="mean_std"):
    """The pooling layer for what an embedder gives: YAMNet one view or two of 1024 numbers, any other one view of ``dim``."""
    return build_pooling(1024 if name == "yamnet" else dim, statistics)


def build_pooling(view_dim=1024, statistics="mean_std"):
    """The pooling layer; ``statistics="mean"`` with one view is the adaptive average pooling of the seed.

    Args:
        view_dim: size of one view of an embedding (YAMNet: 1024; with the octave-down view an embedding has two).
        statistics: ``"mean"`` or ``"mean_std"``.
    """
    return _patch_pooling()(view_dim, statistics, name="patch_pooling", dtype="float32")
