"""Mel models: windows of sound to species, by a network that sees their mel spectrogram as an image.

Input: waveforms (batch, samples), mono float32 in [-1, 1] at ``SAMPLE_RATE_HZ``. A model has two parts: ``front_end``, waveforms to spectrograms
(batch, frames, bands) in [0, 1], which has no weights, and ``body``, spectrograms to probabilities. Both share their layers with the whole model, so
training the body, for example on augmented spectrograms, trains the model.
"""

import functools
import math

import keras
from keras import layers as kl
from keras import ops

from birdlib import runtime
from birdlib.audio import spec_augment  # noqa: F401  saved models may contain its layer
from birdlib.models import efficientnetb0, saved, weights
from birdlib.species import mel_heads
from birdlib.species.classifiers import ACTIVATIONS
from birdlib.species.mel_heads import HEADS

SAMPLE_RATE_HZ = 32_000
WINDOW_S = 5.0
MEL = {  # as in the second place of BirdCLEF+ 2025, and many others
    "fft_length": 2048,
    "sequence_stride": 512,
    "num_mel_bins": 128,
    "min_freq": 20,
    "max_freq": 16_000,
}
_FULL_SCALE_DB = 20.0 * math.log10(MEL["fft_length"] / 4)  # a sine of amplitude 1 through a Hann window
_RANGE_DB = 80.0  # from black to white
_MIN_PEAK_DB = -60.0  # re a sine of amplitude 1: fainter windows are not brightened
_CNN_CHANNELS = (16, 32, 64, 128)  # of the small network; each stage halves the image
_MOMENTUM = 0.9  # of batch normalisation: MobileNetV2's 0.999 would still average photos after a short training


class MelModelError(runtime.BirdlibError):
    """A mel model that cannot be built from these arguments."""


def build(n_classes, *, backbone="cnn", head="pooled", mode="single", window_s=WINDOW_S, dropout=None, masking=None,
          weights_dir="", is_trained=True):  # fmt: skip
    """A mel model.

    Args:
        n_classes: species; 1 with ``mode="multi"`` is a detector of one.
        backbone: one of ``BACKBONES``.
            ``cnn``: a small residual network of our own, for a minute on two cores.
            ``mobilenetv2``: "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), trained on ImageNet.
            ``efficientnetb0``: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), trained on ImageNet.
        head: one of ``HEADS``.
            ``pooled``: mean and maximum over the spectrogram, and a dense layer.
            ``sed``: sound event detection; the bands are averaged, each species has a probability in each frame, and attention over time
            weights the frames, see ``mel_heads.sed``.
            ``sed_gem``: the same with a learnt generalised mean over bands, as won in 2026, see ``mel_heads.sed_gem``.
        mode: one of ``ACTIVATIONS``: ``single``, one species at a time (softmax), or ``multi``, any number of them (sigmoid).
        window_s: length of the input.
        dropout: before the last layers; None for that of the head.
        masking: a layer, (batch, frames, bands) → the same, active in training, e.g. ``spec_augment.SpecAugment``; None for none.
        weights_dir: as in ``weights.find``.
        is_trained: False leaves the backbone with random weights.

    Returns:
        (model, receipt): keras.Model, (batch, samples) → probabilities (batch, n_classes) float32; and the backbone's weights, for the
        receipt of the stage, {} where they are random. See ``with_frames``.

    Raises:
        MelModelError: for a name that is unknown.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    for what, value, known in (("backbone", backbone, BACKBONES), ("head", head, HEADS), ("mode", mode, ACTIVATIONS)):
        if value not in known:
            raise MelModelError(f"{what} is {value!r}: choose {', '.join(known)}")
    front = _front_end(window_s)
    spectrograms = keras.Input(front.output_shape[1:], name="spectrograms")  # (batch, frames, bands)
    images = kl.Permute((2, 1))(masking(spectrograms) if masking else spectrograms)  # (batch, bands, frames)
    images = kl.Reshape((*images.shape[1:], 1))(images)
    source = weights.fetch(backbone, weights_dir) if is_trained and backbone != "cnn" else None
    maps = kl.Identity(name=mel_heads.MAPS)(BACKBONES[backbone](images, source and source.path))  # (batch, bands', frames', channels)
    inner = keras.Model(spectrograms, HEADS[head](maps, n_classes, mode, dropout), name="body")
    return _join(front, inner), {backbone: source.receipt()} if source else {}


def front_end(model):
    """The part of a mel model without weights: keras.Model, waveforms (batch, samples) → spectrograms (batch, frames, bands) in [0, 1].

    0 is ``_RANGE_DB`` below the loudest point of the window, or silence; the level of a recording has no effect.
    """
    return model.get_layer("front_end")


def body(model):
    """The part of a mel model that is trained: keras.Model, spectrograms (batch, frames, bands) → (batch, classes)."""
    return model.get_layer("body")


def with_frames(model):
    """A model with a head of sound event detection that also returns probabilities per frame. It shares the weights.

    Returns:
        keras.Model, waveforms → {"clip": (batch, classes), "frames": (batch, frames, classes)} probabilities. A frame lasts
        ``window_s`` / frames seconds.

    Raises:
        MelModelError: if the model has another head.
    """
    inner = body(model)
    if (frames := mel_heads.frames(inner)) is None:
        raise MelModelError("this model has no probabilities per frame: build it with head='sed' or 'sed_gem'")
    return _join(front_end(model), keras.Model(inner.input, {"clip": inner.output, "frames": frames}, name="body"))


def join_detectors(detectors):
    """Several models on the same window as one; the spectrogram is computed once.

    Args:
        detectors: list of models, for example of one species each.

    Returns:
        keras.Model, waveforms (batch, samples) → (batch, classes of all the detectors, side by side).

    Raises:
        MelModelError: for an empty list, or windows of different lengths.
    """
    if not detectors or len({model.input_shape for model in detectors}) > 1:
        raise MelModelError("to join detectors, give at least one, all with windows of one length")
    waveforms = keras.Input(detectors[0].input_shape[1:], name="waveforms")
    spectrograms = front_end(detectors[0])(waveforms)
    outputs = []
    for i, inner in enumerate(map(body, detectors)):
        renamed = keras.Model(inner.input, inner.output, name=f"detector_{i}")  # names must differ
        outputs.append(renamed(spectrograms))
    joined = kl.Concatenate(dtype="float32")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(waveforms, joined, name="detectors")


def load(path):
    """A saved mel model; importing this module registered its layers."""
    return saved.load(path)


# Layers


@keras.saving.register_keras_serializable("birdlib")
class Brightness(kl.Layer):
    """Power (batch, frames, bands) → decibels below the loudest of each window, ``_RANGE_DB`` of them as [0, 1].

    Keras' own scale takes the loudest of the whole batch, so that the image of a window would depend on its neighbours.
    """

    def __init__(self, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)

    def call(self, power):
        level_db = 10.0 * ops.log10(ops.maximum(power, 1e-12)) - _FULL_SCALE_DB
        peak_db = ops.maximum(ops.max(level_db, axis=(1, 2), keepdims=True), _MIN_PEAK_DB)
        return ops.clip((level_db - peak_db) / _RANGE_DB + 1.0, 0.0, 1.0)


# The parts of a model


def _join(front, inner):
    waveforms = keras.Input(front.input_shape[1:], name="waveforms")
    return keras.Model(waveforms, inner(front(waveforms)), name="mel_model")


def _front_end(window_s):
    waveforms = keras.Input((round(window_s * SAMPLE_RATE_HZ),), name="waveforms")
    mel = kl.MelSpectrogram(sampling_rate=SAMPLE_RATE_HZ, mag_exp=2.0, power_to_db=False, dtype="float32", name="mel", **MEL)
    power = kl.Permute((2, 1), dtype="float32")(mel(waveforms))  # (batch, frames, bands)
    return keras.Model(waveforms, Brightness(name="brightness")(power), name="front_end")


# Backbones: images (batch, bands, frames, 1) in [0, 1] and a weight file or None → maps (batch, bands', frames', channels)


def _small_cnn(x, path):
    """Residual blocks of separable convolutions, for some hundreds of recordings."""
    x = _normalised(kl.Conv2D(_CNN_CHANNELS[0], 5, strides=2, padding="same", use_bias=False), x)
    for channels in _CNN_CHANNELS[1:]:
        short = kl.AveragePooling2D(2, padding="same")(x)
        short = kl.Conv2D(channels, 1, use_bias=False)(short)
        x = _normalised(kl.SeparableConv2D(channels, 3, strides=2, padding="same", use_bias=False), x)
        x = kl.SeparableConv2D(channels, 3, padding="same", use_bias=False)(x)
        x = kl.BatchNormalization(momentum=_MOMENTUM)(x)
        x = kl.ReLU()(kl.Add()([x, short]))
    return x  # (batch, 8, 20, 128) for five seconds


def _normalised(layer, x):
    return kl.ReLU()(kl.BatchNormalization(momentum=_MOMENTUM)(layer(x)))


def _mobilenetv2(images, path):
    def load_without_top(network):
        with_top = keras.applications.MobileNetV2(weights=str(path))
        network.set_weights(with_top.get_weights()[:-2])

    return _imagenet(images, keras.applications.MobileNetV2, {"scale": 2.0, "offset": -1.0}, path and load_without_top)


def _efficientnetb0(images, path):
    load = functools.partial(efficientnetb0.load_weights, path=path)
    return _imagenet(images, keras.applications.EfficientNetB0, {"scale": 255.0}, path and load)


def _imagenet(images, build_network, rescaling, load_weights):
    rgb = kl.Concatenate(name="rgb")([images] * 3)
    network = build_network(include_top=False, input_shape=rgb.shape[1:], weights=None)
    rescale = kl.Rescaling(**rescaling)
    if load_weights:
        load_weights(network)
    for layer in network.layers:
        if isinstance(layer, kl.BatchNormalization):
            layer.momentum = _MOMENTUM
    return network(rescale(rgb))


BACKBONES = {"cnn": _small_cnn, "mobilenetv2": _mobilenetv2, "efficientnetb0": _efficientnetb0}
