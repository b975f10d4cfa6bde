"""Layers of masked autoencoders: patches, positions, the class token, and what is shown and masked.

A spectrogram (batch, frames, mels) is cut into square patches in the order of time: patch ``i * (mels / patch) + j`` is step i and
band j; in a patch the numbers of one frame stand together. Of tokens (batch, 1 + patches, dim) the first is the class token. An order
(batch, patches) is a permutation of the patches; the first ``n_shown`` of it are shown to the encoder, the others are masked.
"""

import functools

import numpy as np

EPSILON = 1e-6  # of layer norms, and of the variance of a patch


def sine_positions(n_steps, n_bands, dim):
    """Fixed positions in two dimensions, of "Attention Is All You Need" (2017) each: (n_steps * n_bands, dim) float32.

    The first half of the numbers tells the band, the second the step, as in the published code.
    """
    step, band = np.divmod(np.arange(n_steps * n_bands), n_bands)
    frequency = 10_000.0 ** -(np.arange(dim // 4) / (dim / 4))  # (dim / 4,)
    angles = [np.outer(place, frequency) for place in (band, step)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


@functools.cache
def layers():
    """Keras classes of this module by name, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    def registered(kind):
        return keras.saving.register_keras_serializable("birdlib")(kind)

    def at(tokens, places):
        """tokens (batch, n, dim) at places (batch, m) → (batch, m, dim)."""
        return ops.take_along_axis(tokens, places[..., None], axis=1)

    @registered
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

    @registered
    class Positions(keras.layers.Layer):
        """Adds to each token where it stands; the first ``after`` have no place. Not trained."""

        def __init__(self, n_bands, after=0, **options):
            super().__init__(**options)
            self.n_bands, self.after = n_bands, after

        def build(self, shape):
            places = sine_positions((shape[1] - self.after) // self.n_bands, self.n_bands, shape[-1])
            places = np.pad(places, ((self.after, 0), (0, 0)))
            made = keras.initializers.Constant(places)
            self.positions = self.add_weight(shape=places.shape, initializer=made, trainable=False, name="positions")

        def call(self, tokens):
            return tokens + ops.cast(self.positions, tokens.dtype)

        def get_config(self):
            return super().get_config() | {"n_bands": self.n_bands, "after": self.after}

    @registered
    class ClassToken(keras.layers.Layer):
        """(batch, n, dim) → (batch, 1 + n, dim): a learnt token first."""

        def build(self, shape):
            drawn = keras.initializers.TruncatedNormal(stddev=0.02)
            self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer=drawn, name="token")

        def call(self, tokens):
            return ops.concatenate([ops.zeros_like(tokens[:, :1]) + ops.cast(self.token, tokens.dtype), tokens], axis=1)

        def compute_output_shape(self, shape):
            return (shape[0], None if shape[1] is None else 1 + shape[1], shape[2])

    @registered
    class PatchMean(keras.layers.Layer):
        """(batch, 1 + patches, dim) → (batch, dim): the mean without the class token."""

        def call(self, tokens):
            return ops.mean(tokens[:, 1:], axis=1)

    @registered
    class Rest(keras.layers.Layer):
        """(batch, 1 + n, dim) → (batch, n, dim): all but the class token."""

        def call(self, tokens):
            return tokens[:, 1:]

    @registered
    class Shown(keras.layers.Layer):
        """(batch, n, dim), order (batch, n) → (batch, n_shown, dim): the first ``n_shown`` of the order."""

        def __init__(self, n_shown, **options):
            super().__init__(**options)
            self.n_shown = n_shown

        def call(self, tokens, order):
            return at(tokens, order[:, : self.n_shown])

        def get_config(self):
            return super().get_config() | {"n_shown": self.n_shown}

    @registered
    class PutBack(keras.layers.Layer):
        """(batch, 1 + n_shown, dim), order (batch, n) → (batch, 1 + n, dim): each at its place, a learnt token at the others."""

        def build(self, tokens_shape, order_shape):
            drawn = keras.initializers.TruncatedNormal(stddev=0.02)
            self.token = self.add_weight(shape=(1, 1, tokens_shape[-1]), initializer=drawn, name="token")

        def call(self, tokens, order):
            n_masked = order.shape[1] - tokens.shape[1] + 1
            masked = ops.tile(ops.zeros_like(tokens[:, :1]) + ops.cast(self.token, tokens.dtype), (1, n_masked, 1))
            patches = at(ops.concatenate([tokens[:, 1:], masked], axis=1), ops.argsort(order, axis=1))
            return ops.concatenate([tokens[:, :1], patches], axis=1)

    @registered
    class MaskedError(keras.layers.Layer):
        """True and guessed patches (batch, n, patch²), order (batch, n) → mean square error of the masked, (batch,)."""

        def __init__(self, n_shown, **options):
            super().__init__(**options)
            self.n_shown = n_shown

        def call(self, truth, guess, order):
            masked = order[:, self.n_shown :]
            return ops.mean(ops.square(at(guess, masked) - at(truth, masked)), axis=(1, 2))

        def get_config(self):
            return super().get_config() | {"n_shown": self.n_shown}

    kinds = (Patches, Positions, ClassToken, PatchMean, Rest, Shown, PutBack, MaskedError)
    return {kind.__name__: kind for kind in kinds}
