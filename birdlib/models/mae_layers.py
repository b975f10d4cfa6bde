"""Keras layers of masked autoencoders: patches, positions, the class token, and the split into visible and masked patches.

A spectrogram (batch, frames, mels) is cut into square patches in the order of time: patch ``i * (mels / patch) + j`` is step i and
band j; in a patch the values of one frame stand together. Of tokens (batch, 1 + patches, dim) the first is the class token. An order
(batch, patches) is a permutation of the patches; the encoder sees the first ``n_shown`` of it, the others are masked.
"""

import keras
import numpy as np
from keras import ops

EPSILON = 1e-6  # of layer norms, and of the variance of a patch


def sine_positions(n_steps, n_bands, dim):
    """Fixed positions in two dimensions, of "Attention Is All You Need" (2017) each: (n_steps * n_bands, dim) float32.

    The first half of the numbers encodes the band, the second the step, as in the published code.
    """
    step, band = np.divmod(np.arange(n_steps * n_bands), n_bands)
    frequency = 10_000.0 ** -(np.arange(dim // 4) / (dim / 4))  # (dim / 4,)
    angles = [np.outer(index, frequency) for index in (band, step)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


def _add_token(layer, dim):
    return layer.add_weight(shape=(1, 1, dim), initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="token")


def _repeat(token, tokens):
    """A learnt token (1, 1, dim) for each row of tokens: (batch, 1, dim), in their dtype."""
    return ops.zeros_like(tokens[:, :1]) + ops.cast(token, tokens.dtype)


def _take(tokens, indices):
    """tokens (batch, n, dim) at indices (batch, m) → (batch, m, dim)."""
    return ops.take_along_axis(tokens, indices[..., None], axis=1)


class Resident(keras.layers.Layer):
    """Numbers of rows (batch,) → these rows of an array (n, ...) that stays on the device, float32; for training only, it is not saved."""

    def __init__(self, array, **options):
        super().__init__(dtype="float32", trainable=False, **options)
        self.array = self.add_weight(shape=array.shape, initializer="zeros", trainable=False, autocast=False, dtype=str(array.dtype), name="array")
        self.array.assign(array)

    def call(self, rows):
        return ops.cast(ops.take(self.array, rows, axis=0), "float32")


@keras.saving.register_keras_serializable("birdlib")
class Patches(keras.layers.Layer):
    """(batch, frames, mels) → (batch, patches, patch²); ``normalise``: each patch with mean 0 and variance 1."""

    def __init__(self, patch, normalise=False, **options):
        super().__init__(**options)
        self.patch, self.normalise = patch, normalise

    def call(self, spectrogram):
        p, (_, frames, mels) = self.patch, spectrogram.shape
        x = ops.reshape(spectrogram, (-1, frames // p, p, mels // p, p))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, frames * mels // p**2, p * p))
        if self.normalise:
            x = x - ops.mean(x, axis=-1, keepdims=True)
            x = x / ops.sqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + EPSILON)
        return x

    def get_config(self):
        return super().get_config() | {"patch": self.patch, "normalise": self.normalise}


@keras.saving.register_keras_serializable("birdlib")
class Positions(keras.layers.Layer):
    """Adds to each token its position; the first ``after`` have none. Not trained."""

    def __init__(self, n_bands, after=0, **options):
        super().__init__(**options)
        self.n_bands, self.after = n_bands, after

    def build(self, shape):
        positions = sine_positions((shape[1] - self.after) // self.n_bands, self.n_bands, shape[-1])
        positions = np.pad(positions, ((self.after, 0), (0, 0)))
        fixed = keras.initializers.Constant(positions)
        self.positions = self.add_weight(shape=positions.shape, initializer=fixed, trainable=False, name="positions")

    def call(self, tokens):
        return tokens + ops.cast(self.positions, tokens.dtype)

    def get_config(self):
        return super().get_config() | {"n_bands": self.n_bands, "after": self.after}


@keras.saving.register_keras_serializable("birdlib")
class ClassToken(keras.layers.Layer):
    """(batch, n, dim) → (batch, 1 + n, dim): a learnt token first."""

    def build(self, shape):
        self.token = _add_token(self, shape[-1])

    def call(self, tokens):
        return ops.concatenate([_repeat(self.token, tokens), tokens], axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], None if shape[1] is None else 1 + shape[1], shape[2])


@keras.saving.register_keras_serializable("birdlib")
class PatchMean(keras.layers.Layer):
    """(batch, 1 + patches, dim) → (batch, dim): the mean without the class token."""

    def call(self, tokens):
        return ops.mean(tokens[:, 1:], axis=1)


@keras.saving.register_keras_serializable("birdlib")
class Rest(keras.layers.Layer):
    """(batch, 1 + n, dim) → (batch, n, dim): all but the class token."""

    def call(self, tokens):
        return tokens[:, 1:]


@keras.saving.register_keras_serializable("birdlib")
class Shown(keras.layers.Layer):
    """(batch, n, dim), order (batch, n) → (batch, n_shown, dim): the first ``n_shown`` of the order."""

    def __init__(self, n_shown, **options):
        super().__init__(**options)
        self.n_shown = n_shown

    def call(self, tokens, order):
        return _take(tokens, order[:, : self.n_shown])

    def get_config(self):
        return super().get_config() | {"n_shown": self.n_shown}


@keras.saving.register_keras_serializable("birdlib")
class PutBack(keras.layers.Layer):
    """(batch, 1 + n_shown, dim), order (batch, n) → (batch, 1 + n, dim): visible patches in their positions, a learnt token in the others."""

    def build(self, tokens_shape, order_shape):
        self.token = _add_token(self, tokens_shape[-1])

    def call(self, tokens, order):
        n_masked = order.shape[1] - tokens.shape[1] + 1
        masked = ops.tile(_repeat(self.token, tokens), (1, n_masked, 1))
        patches = _take(ops.concatenate([tokens[:, 1:], masked], axis=1), ops.argsort(order, axis=1))
        return ops.concatenate([tokens[:, :1], patches], axis=1)


@keras.saving.register_keras_serializable("birdlib")
class MaskedError(keras.layers.Layer):
    """True and predicted patches (batch, n, patch²), order (batch, n) → mean square error of the masked, (batch,)."""

    def __init__(self, n_shown, **options):
        super().__init__(**options)
        self.n_shown = n_shown

    def call(self, truth, prediction, order):
        masked = order[:, self.n_shown :]
        return ops.mean(ops.square(_take(prediction, masked) - _take(truth, masked)), axis=(1, 2))

    def get_config(self):
        return super().get_config() | {"n_shown": self.n_shown}
