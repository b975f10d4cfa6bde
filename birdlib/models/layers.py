"""Keras layers that encoders and classifiers share: pooling of patch embeddings, and unit vectors whose dot product is their cosine."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("birdlib")
class PatchPooling(keras.layers.Layer):
    """Any number of patch embeddings to one vector: their weighted mean and standard deviation.

    ``statistics="mean"`` with one view is plain average pooling. A view is a part of an embedding that is scaled by itself (YAMNet: 1024
    numbers; with the octave-down view an embedding has two).

    Inputs: embeddings (batch, patches, dim) and weights (batch, patches); a patch of weight 0 is padding and changes nothing.
    Output: (batch, statistics * dim), each statistic of each view of ``view_dim`` numbers scaled to unit length.
    """

    def __init__(self, view_dim=1024, statistics="mean_std", name="patch_pooling", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
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


@keras.saving.register_keras_serializable("birdlib")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Any number of patch embeddings to ``size`` numbers: their plain average, as PyTorch's ``AdaptiveAvgPool2d((1, size))``.

    Of (patches, dim), number i of the output is the average over all patches and over the numbers floor(i dim / size) to
    ceil((i + 1) dim / size) - 1 of an embedding; with YAMNet's 1024 and a size of 1024 that is the mean of the patches. Nothing is scaled.

    Inputs: embeddings (batch, patches, dim) and weights (batch, patches), which only tell patches, above 0, from padding, 0.
    Output: (batch, size).
    """

    def __init__(self, size=1024, name="patch_pooling", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
        self.size = size

    def build(self, embeddings_shape, weights_shape):
        dim, edges = embeddings_shape[-1], np.arange(self.size + 1) * embeddings_shape[-1]
        first, last, number = edges[:-1] // self.size, -(-edges[1:] // self.size), np.arange(dim)[:, None]
        is_in_bin = (number >= first) & (number < last)  # (dim, size)
        self._bins = None if dim == self.size else (is_in_bin / is_in_bin.sum(axis=0)).astype(np.float32)

    def call(self, embeddings, weights):
        is_patch = ops.cast(weights > 0, embeddings.dtype)[..., None]  # (batch, patches, 1)
        mean = ops.sum(is_patch * embeddings, axis=1) / ops.maximum(ops.sum(is_patch, axis=1), 1.0)  # (batch, dim)
        return mean if self._bins is None else ops.matmul(mean, ops.convert_to_tensor(self._bins, dtype=mean.dtype))

    def compute_output_shape(self, embeddings_shape, weights_shape):
        return (embeddings_shape[0], self.size)

    def get_config(self):
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable("birdlib")
class UnitVector(keras.layers.Layer):
    """(..., dim) → the same scaled to unit length, in float32 at any precision, for float16 cannot hold squares of feature maps.

    0 stays 0 and has a gradient, which is NaN in ``keras.layers.UnitNormalization``.
    """

    def __init__(self, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)

    def call(self, x):
        return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def to_unit_vector(x, dim, dropout, kind):
    """The end of an encoder, its layers named by its kind: dropout, ``<kind>_dense``, and unit length, ``<kind>_embedding``.

    Args:
        x: (batch, features), a Keras tensor.
        dim: of the vector.
        dropout: before the dense layer.
        kind: of what is encoded, e.g. "audio".

    Returns:
        (batch, dim) unit vectors, float32.
    """
    x = keras.layers.Dropout(dropout)(x)  # made before the dense layer: the order decides which seed each one draws
    x = keras.layers.Dense(dim, name=f"{kind}_dense")(x)
    return UnitVector(name=f"{kind}_embedding")(x)
