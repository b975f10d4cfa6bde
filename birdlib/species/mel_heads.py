"""Heads of mel models: maps (batch, bands', frames', channels) of a backbone to probabilities (batch, classes).

The two heads of sound event detection also have probabilities per frame, see ``frames``.
"""

import keras
from keras import layers as kl
from keras import ops

from birdlib.species.classifiers import ACTIVATIONS

MAPS = "maps"  # name of the layer between backbone and head
_SED_UNITS = 512
_DROPOUT = 0.3
_GEM_DROPOUT = 0.25, 0.5  # before and after the dense layer, as in the second place of BirdCLEF+ 2026


def pooled(maps, n_classes, mode, dropout=None):
    """Mean and maximum over bands and frames, and a dense layer."""
    x = kl.Concatenate()([kl.GlobalAveragePooling2D()(maps), kl.GlobalMaxPooling2D()(maps)])  # (batch, 2 * channels)
    x = kl.Dropout(_DROPOUT if dropout is None else dropout)(x)
    return kl.Dense(n_classes, activation=ACTIVATIONS[mode], dtype="float32", name="clip")(x)


def sed(maps, n_classes, mode, dropout=None):
    """Probabilities of frames, weighted by an attention of each species for itself; with softmax by one for all, so that the species still sum to 1.

    "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (2020).
    """
    dropout = _DROPOUT if dropout is None else dropout
    x = ops.mean(maps, axis=1)  # (batch, frames', channels)
    smooth = [pool(3, strides=1, padding="same")(x) for pool in (kl.MaxPooling1D, kl.AveragePooling1D)]
    x = kl.Dropout(dropout)(kl.Add()(smooth))
    x = kl.Dropout(dropout)(kl.Dense(_SED_UNITS, activation="relu")(x))
    frames = kl.Dense(n_classes, activation=ACTIVATIONS[mode], dtype="float32", name="frames")(x)
    attention = kl.Dense(n_classes if mode == "multi" else 1, activation="tanh", dtype="float32", name="attention")(x)
    attention = kl.Softmax(axis=1, dtype="float32", name="over_time")(attention)  # (batch, frames', classes or 1)
    return SumOverTime(name="clip")([frames, attention])


def sed_gem(maps, n_classes, mode, dropout=None):
    """Generalised mean over bands, and logits of frames, weighted by an attention of each species for itself.

    As in the second place of BirdCLEF+ 2026 ("Distilled SED"): the generalised mean in place of the mean, no smoothing over time, and the
    activation after the sum over time.
    """
    before, after = _GEM_DROPOUT if dropout is None else (dropout, dropout)
    x = GeneralisedMean(name="over_bands")(maps)  # (batch, frames', channels)
    x = kl.Dropout(after)(kl.Dense(_SED_UNITS, activation="relu")(kl.Dropout(before)(x)))
    logits = kl.Dense(n_classes, dtype="float32", name="frame_logits")(x)
    attention = kl.Dense(n_classes, activation="tanh", dtype="float32", name="attention")(x)
    attention = kl.Softmax(axis=1, dtype="float32", name="over_time")(attention)  # (batch, frames', classes)
    return kl.Activation(ACTIVATIONS[mode], dtype="float32", name="clip")(SumOverTime(name="clip_logits")([logits, attention]))


HEADS = {"pooled": pooled, "sed": sed, "sed_gem": sed_gem}


def frames(body):
    """The probabilities per frame of a model's body: (batch, frames, classes), a Keras tensor; None where its head has none."""
    named = {layer.name: layer for layer in body.layers}
    if "frame_logits" in named:
        return kl.Activation(named["clip"].activation, dtype="float32", name="frames")(named["frame_logits"].output)
    return named["frames"].output if "frames" in named else None


@keras.saving.register_keras_serializable("birdlib")
class SumOverTime(kl.Layer):
    """Frames (batch, frames, classes) and attention (batch, frames, classes or 1), which sums to 1 → (batch, classes)."""

    def __init__(self, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)

    def call(self, inputs):
        frames, attention = inputs
        return ops.sum(frames * attention, axis=1)


@keras.saving.register_keras_serializable("birdlib")
class GeneralisedMean(kl.Layer):
    """Maps (batch, bands, frames, channels) → (mean over bands of x ** p) ** (1 / p), (batch, frames, channels).

    p is learnt; 1 is the mean, and it approaches the maximum as p grows. "Fine-tuning CNN Image Retrieval with No Human Annotation"
    (2017). Values below ``eps`` count as ``eps``, so maps should be activations that are not negative.

    Args:
        p: its first value; it never falls below 1.
    """

    def __init__(self, p=3.0, eps=1e-6, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)  # powers need the range of float32 at any precision
        self.first_p, self.eps = p, eps

    def build(self, shape):
        self.p = self.add_weight(shape=(), initializer=keras.initializers.Constant(self.first_p), name="p")

    def call(self, maps):
        p = ops.maximum(self.p, 1.0)
        return ops.power(ops.mean(ops.power(ops.maximum(maps, self.eps), p), axis=1), 1.0 / p)

    def compute_output_shape(self, shape):
        return (shape[0], *shape[2:])

    def get_config(self):
        return super().get_config() | {"p": self.first_p, "eps": self.eps}
