"""Unit vectors: what every encoder ends in, so that the cosine of two says how alike they are."""

import functools


def to_unit_vector(x, dim, dropout, kind):
    """The end of an encoder, its layers named by its kind: dropout, ``<kind>_dense``, and unit length, ``<kind>_embedding``.

    Args:
        x: (batch, numbers), of a model in the making.
        dim: of the vector.
        dropout: before the dense layer.
        kind: of what is encoded, e.g. "audio".

    Returns:
        (batch, dim) unit vectors, float32.
    """
    import keras

    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Dense(dim, name=f"{kind}_dense")(x)
    return unit_vector(f"{kind}_embedding")(x)


def unit_vector(name=None):
    """The layer that scales vectors (..., dim) to unit length, float32 at any precision; 0 stays 0."""
    return _unit_vector()(name=name)


@functools.cache
def _unit_vector():
    """The layer's class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable("birdlib")
    class UnitVector(keras.layers.Layer):
        """(..., dim) → the same scaled to unit length, in float32 at any precision, for float16 cannot hold squares of feature maps.

        0 stays 0 and has a slope, which Keras' UnitNormalization makes NaN.
        """

        def __init__(self, dtype="float32", **options):
            super().__init__(dtype=dtype, **options)

        def call(self, x):
            return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)

    return UnitVector
