"""Mel models: five seconds of sound to species, by a network that sees their mel spectrogram as a picture.

Sound comes as waveforms (batch, samples) of mono float32 in [-1, 1] at ``SAMPLE_RATE_HZ``. A model is two: ``front_end``, waveforms to
spectrograms (batch, frames, bands) in [0, 1], which learns nothing, and ``body``, spectrograms to probabilities. They share their
weights with the whole, so whoever trains the body, on spectrograms that were tampered with, say, trains the model.
"""

import functools
import math

import numpy as np

from birdlib import runtime
from birdlib.audio import spec_augment
from birdlib.models import weights

SAMPLE_RATE_HZ = 32_000
WINDOW_S = 5.0
MEL = {  # as the second of BirdCLEF+ 2025 had it, and many others
    "fft_length": 2048,
    "sequence_stride": 512,
    "num_mel_bins": 128,
    "min_freq": 20,
    "max_freq": 16_000,
}
_RANGE_DB = 80.0  # from black to white
_LEAST_PEAK_DB = -60.0  # re a sine of amplitude 1: what is fainter throughout is not made brighter
_BACKBONES = ("cnn", "mobilenetv2", "efficientnetb0")
HEADS = ("pooled", "sed")
MODES = ("single", "multi")  # one species at a time (softmax), or any number of them (sigmoid)
_CNN_CHANNELS = (16, 32, 64, 128)  # of the small network, each stage half as large as the one before
_SED_UNITS = 512
_MOMENTUM = 0.9  # of batch normalisation: MobileNetV2's 0.999 would still average photos after a short training
_DEVIATIONS_RGB = (0.229, 0.224, 0.225)  # of ImageNet


class MelModelError(runtime.BirdlibError):
    """A mel model that cannot be built as asked."""


def build(n_classes, *, backbone="cnn", head="pooled", mode="single", window_s=WINDOW_S, dropout=0.3, masking=None,
          weights_dir="", is_trained=True):  # fmt: skip
    """A mel model.

    Args:
        n_classes: species; 1 with ``mode="multi"`` is a detector of one.
        backbone: one of ``_BACKBONES``.
            ``cnn``: a small residual network of our own, for a minute on two cores.
            ``mobilenetv2``: "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), trained on ImageNet.
            ``efficientnetb0``: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), trained on ImageNet.
        head: one of ``HEADS``.
            ``pooled``: mean and maximum over the spectrogram, and a dense layer.
            ``sed``: sound event detection; the bands are averaged, each species has a probability in each frame, and attention over time
            says which frames count: "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (2020).
        mode: one of ``MODES``.
        window_s: what the model hears at once.
        dropout: before the last layers.
        masking: a layer, (batch, frames, bands) → the same, for training, e.g. of ``spec_augment.build``; None for none.
        weights_dir: as in ``weights.find``.
        is_trained: False leaves the backbone with random weights.

    Returns:
        (model, receipt): keras.Model, (batch, samples) → probabilities (batch, n_classes) float32; and the backbone's weights, for the
        receipt of the stage, {} where they are random. See ``with_frames``.

    Raises:
        MelModelError: for a name that is unknown.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    for what, value, known in (("backbone", backbone, _BACKBONES), ("head", head, HEADS), ("mode", mode, MODES)):
        if value not in known:
            raise MelModelError(f"{what} is {value!r}: choose {', '.join(known)}")
    front = _front_end(window_s)
    spectrograms = keras.Input(front.output_shape[1:], name="spectrograms")  # (batch, frames, bands)
    seen = masking(spectrograms) if masking else spectrograms
    pictures = keras.layers.Permute((2, 1))(seen)  # (batch, bands, frames)
    pictures = keras.layers.Reshape((*pictures.shape[1:], 1))(pictures)
    maps, receipt = _look(pictures, backbone, weights_dir, is_trained)  # (batch, bands', frames', channels)
    on_top = {"pooled": _pooled_head, "sed": _sed_head}[head]
    body = keras.Model(spectrograms, on_top(maps, n_classes, mode, dropout), name="body")
    return _join(front, body), receipt


def front_end(model):
    """The part of a mel model that hears: keras.Model, waveforms (batch, samples) → spectrograms (batch, frames, bands) in [0, 1].

    0 is ``_RANGE_DB`` below the loudest point of the window, or silence; so how loud a recording was does not count.
    """
    return model.get_layer("front_end")


def body(model):
    """The part of a mel model that learns: keras.Model, spectrograms (batch, frames, bands) → (batch, classes)."""
    return model.get_layer("body")


def with_frames(model):
    """When who sings: a model with the sed head that also tells its frames. It shares the weights.

    Returns:
        keras.Model, waveforms → {"clip": (batch, classes), "frames": (batch, frames, classes)} probabilities. A frame stands for
        ``window_s`` / frames seconds.

    Raises:
        MelModelError: if the model has another head.
    """
    import keras

    inner = body(model)
    if "frames" not in [layer.name for layer in inner.layers]:
        raise MelModelError("this model does not know when: build it with head='sed'")
    outputs = {"clip": inner.output, "frames": inner.get_layer("frames").output}
    return _join(front_end(model), keras.Model(inner.input, outputs, name="body"))


def join_detectors(detectors):
    """Several models that hear the same window as one, the spectrogram being computed once.

    Args:
        detectors: list of models, of one species each, say.

    Returns:
        keras.Model, waveforms (batch, samples) → (batch, classes of all the detectors, side by side).

    Raises:
        MelModelError: without any, or for windows of different lengths.
    """
    import keras

    if not detectors or len({model.input_shape for model in detectors}) > 1:
        raise MelModelError("detectors to join must be one at least, and hear windows of one length")
    waveforms = keras.Input(detectors[0].input_shape[1:], name="waveforms")
    spectrograms = front_end(detectors[0])(waveforms)
    found = []
    for i, inner in enumerate(map(body, detectors)):
        renamed = keras.Model(inner.input, inner.output, name=f"detector_{i}")  # names must differ
        found.append(renamed(spectrograms))
    joined = keras.layers.Concatenate(dtype="float32")(found) if len(found) > 1 else found[0]
    return keras.Model(waveforms, joined, name="detectors")


def register():
    """Make the layers of saved mel models known to Keras."""
    _layers(), spec_augment.build()


def load(path):
    """A saved mel model, ready to use."""
    import keras

    register()
    return keras.saving.load_model(path, compile=False)


# The parts


def _join(front, inner):
    import keras

    waveforms = keras.Input(front.input_shape[1:], name="waveforms")
    return keras.Model(waveforms, inner(front(waveforms)), name="mel_model")


def _front_end(window_s):
    import keras

    waveforms = keras.Input((round(window_s * SAMPLE_RATE_HZ),), name="waveforms")
    hear = keras.layers.MelSpectrogram(
        sampling_rate=SAMPLE_RATE_HZ, mag_exp=2.0, power_to_db=False, dtype="float32", name="mel", **MEL
    )
    power = keras.layers.Permute((2, 1), dtype="float32")(hear(waveforms))  # (batch, frames, bands)
    return keras.Model(waveforms, _layers()["Brightness"](name="brightness")(power), name="front_end")


def _look(pictures, name, weights_dir, is_trained):
    """What a backbone makes of pictures (batch, bands, frames, 1) in [0, 1], and its receipt."""
    import keras

    if name == "cnn":
        return _small_cnn(pictures), {}
    source = weights.fetch(name, weights_dir) if is_trained else None
    pictures = keras.layers.Concatenate(name="rgb")([pictures] * 3)
    options = {"include_top": False, "input_shape": pictures.shape[1:], "weights": None}
    if name == "mobilenetv2":
        network, scale = keras.applications.MobileNetV2(**options), keras.layers.Rescaling(2.0, offset=-1.0)
        if source:
            with_top = keras.applications.MobileNetV2(weights=str(source.path))
            network.set_weights(with_top.get_weights()[:-2])
    else:
        network, scale = keras.applications.EfficientNetB0(**options), keras.layers.Rescaling(255.0)
        if source:
            network.load_weights(source.path)
            _correct_normalisation(network)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return network(scale(pictures)), {name: source.receipt()} if source else {}


def _correct_normalisation(network):
    """EfficientNet was trained on pictures divided by their deviation; its file has the root of that, which Keras mends elsewhere."""
    import keras

    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * np.array(_DEVIATIONS_RGB, np.float32), count])
    layer.finalize_state()


def _small_cnn(x):
    """Residual blocks of separable convolutions, for some hundreds of recordings."""
    from keras import layers as kl

    x = _convolution(kl.Conv2D(_CNN_CHANNELS[0], 5, strides=2, padding="same", use_bias=False), x)
    for channels in _CNN_CHANNELS[1:]:
        short = kl.AveragePooling2D(2, padding="same")(x)
        short = kl.Conv2D(channels, 1, use_bias=False)(short)
        x = _convolution(kl.SeparableConv2D(channels, 3, strides=2, padding="same", use_bias=False), x)
        x = kl.SeparableConv2D(channels, 3, padding="same", use_bias=False)(x)
        x = kl.BatchNormalization(momentum=_MOMENTUM)(x)
        x = kl.ReLU()(kl.Add()([x, short]))
    return x  # (batch, 8, 20, 128) for five seconds


def _convolution(layer, x):
    from keras import layers as kl

    return kl.ReLU()(kl.BatchNormalization(momentum=_MOMENTUM)(layer(x)))


def _pooled_head(maps, n_classes, mode, dropout):
    from keras import layers as kl

    x = kl.Concatenate()([kl.GlobalAveragePooling2D()(maps), kl.GlobalMaxPooling2D()(maps)])  # (batch, 2 * channels)
    x = kl.Dropout(dropout)(x)
    return kl.Dense(n_classes, activation=_activation(mode), dtype="float32", name="clip")(x)


def _sed_head(maps, n_classes, mode, dropout):
    """Attention of each species for itself; where there is one at a time, one attention for all, so that they still sum to 1."""
    import keras
    from keras import layers as kl

    x = keras.ops.mean(maps, axis=1)  # (batch, frames', channels)
    smooth = [pool(3, strides=1, padding="same")(x) for pool in (kl.MaxPooling1D, kl.AveragePooling1D)]
    x = kl.Dropout(dropout)(kl.Add()(smooth))
    x = kl.Dropout(dropout)(kl.Dense(_SED_UNITS, activation="relu")(x))
    frames = kl.Dense(n_classes, activation=_activation(mode), dtype="float32", name="frames")(x)
    attention = kl.Dense(n_classes if mode == "multi" else 1, activation="tanh", dtype="float32", name="attention")(x)
    attention = kl.Softmax(axis=1, dtype="float32", name="over_time")(attention)  # (batch, frames', classes or 1)
    return _layers()["SumOverTime"](name="clip")([frames, attention])


def _activation(mode):
    return {"single": "softmax", "multi": "sigmoid"}[mode]


@functools.cache
def _layers():
    """Keras classes of this module, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    full_scale_db = 20.0 * math.log10(MEL["fft_length"] / 4)  # a sine of amplitude 1 through a Hann window

    @keras.saving.register_keras_serializable("birdlib")
    class Brightness(keras.layers.Layer):
        """Power (batch, frames, bands) → decibels below the loudest of each window, ``_RANGE_DB`` of them as [0, 1].

        Keras' own scale takes the loudest of the whole batch, and a window's picture would depend on its neighbours.
        """

        def __init__(self, dtype="float32", **options):
            super().__init__(dtype=dtype, **options)

        def call(self, power):
            level_db = 10.0 * ops.log10(ops.maximum(power, 1e-12)) - full_scale_db
            peak_db = ops.maximum(ops.max(level_db, axis=(1, 2), keepdims=True), _LEAST_PEAK_DB)
            return ops.clip((level_db - peak_db) / _RANGE_DB + 1.0, 0.0, 1.0)

    @keras.saving.register_keras_serializable("birdlib")
    class SumOverTime(keras.layers.Layer):
        """Frames (batch, frames, classes) and attention (batch, frames, classes or 1), which sums to 1 → (batch, classes)."""

        def __init__(self, dtype="float32", **options):
            super().__init__(dtype=dtype, **options)

        def call(self, inputs):
            frames, attention = inputs
            return ops.sum(frames * attention, axis=1)

    return {"Brightness": Brightness, "SumOverTime": SumOverTime}
