"""YAMNet as a float Keras model: waveform in, scores of 521 AudioSet classes, a 1024-d embedding and the log-mel out.

It takes 16 kHz mono in patches of 0.96 s, one every 0.48 s ("CNN Architectures for Large-Scale Audio Classification",
2017; MobileNet v1). Its weights are the official SavedModel, or a mirror of it as an int8 TFLite model, whose integers are turned back
into floats. Both are a ``Yamnet``; the second, being a Keras model of two halves, is the faster one.
"""

import csv
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from birdlib import devices
from birdlib.models import base, mirrors

SAMPLE_RATE_HZ = 16_000
PATCH_S, HOP_S = 0.96, 0.48
PATCH_SAMPLES = 15_600  # 96 frames, 10 ms apart, of 25 ms: the last window ends 15 ms after the patch
HOP_SAMPLES = 7_680
PATCH_FRAMES, HOP_FRAMES, MEL_BANDS = 96, 48, 64
EMBEDDING_DIM = 1024
_WINDOW, _STEP, _FFT = 400, 160, 512  # of the spectrogram: 25 ms every 10 ms
_MIN_HZ, _MAX_HZ = 125.0, 7500.0
_LOG_OFFSET = 0.001

BIRD_CLASSES = (
    "Fowl", "Chicken, rooster", "Cluck", "Crowing, cock-a-doodle-doo", "Turkey", "Gobble", "Duck", "Quack", "Goose", "Honk",
    "Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet", "Squawk", "Pigeon, dove", "Coo", "Crow", "Caw", "Owl", "Hoot",
    "Bird flight, flapping wings",
)  # fmt: skip
OTHER_SOUNDS = (  # of no animal
    "Speech", "Child speech, kid speaking", "Conversation", "Music", "Singing",
    "Vehicle", "Car", "Car passing by", "Truck", "Motorcycle", "Aircraft", "Fixed-wing aircraft, airplane", "Helicopter",
    "Engine", "Chainsaw", "Lawn mower", "Rain", "Raindrop", "Rain on surface", "Thunder", "Thunderstorm", "Wind", "Wind noise (microphone)",
    "Stream", "Waterfall", "Ocean", "Waves, surf", "Siren", "Gunshot, gunfire", "Explosion", "Fireworks",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Yamnet:
    """A YAMNet with its weights.

    Attributes:
        class_names: the 521 display names.
        predict: (samples,) float32 → (scores (patches, 521), embeddings (patches, 1024), log_mel (frames, 64)), NumPy;
            the end is zero-padded to whole patches.
        front_end, body: the two halves as Keras models, waveforms (batch, samples) → log_mel (batch, frames, 64), and
            patches (batch, 96, 64) → {"scores", "embeddings"}; None for the official SavedModel, which is one piece.
    """

    class_names: list
    predict: Callable
    front_end: Any = None
    body: Any = None


def load(source):
    """Load the weights that ``birdlib.models.weights`` found, a SavedModel folder or a TFLite file, as a ``Yamnet``.

    Raises:
        EmbedderError: for a SavedModel where TensorFlow is not installed.
    """
    if source.format == "savedmodel":
        return _load_saved_model(source.path)
    import keras

    layers, class_names = mirrors.read_yamnet(source.path)
    model = build_model(layers)

    def predict(waveform):
        outputs = model(pad(waveform)[None], training=False)
        return tuple(keras.ops.convert_to_numpy(outputs[name])[0] for name in ("scores", "embeddings", "log_mel"))

    return Yamnet(class_names, predict, model.get_layer("front_end"), model.get_layer("body"))


def _load_saved_model(folder):
    """Load the official SavedModel (google/yamnet/1), as ``hub.load`` does once it has the files."""
    if not devices.has_tensorflow():
        raise base.EmbedderError(f"{folder} is a SavedModel, which needs TensorFlow: install tensorflow, or use yamnet.tflite, see `python -m birdlib weights`")
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    table = tf.io.read_file(model.class_map_path()).numpy().decode()
    class_names = [row["display_name"] for row in csv.DictReader(io.StringIO(table))]
    return Yamnet(class_names, lambda waveform: tuple(part.numpy() for part in model(pad(waveform))))


def n_patches(n_samples):
    """How many patches cover a waveform at 16 kHz: at least one, and no sample is lost."""
    return 1 + max(0, -(-(n_samples - PATCH_SAMPLES) // HOP_SAMPLES))


def pad(waveform, patches=0):
    """Zero-pad a waveform to exactly ``patches`` patches, or to as many as cover it."""
    length = PATCH_SAMPLES + HOP_SAMPLES * ((patches or n_patches(len(waveform))) - 1)
    return np.pad(np.asarray(waveform[:length], np.float32), (0, max(0, length - len(waveform))))


def build_model(layers):
    """Put the layers of ``mirrors.read_yamnet`` together as a float32 Functional model.

    Returns:
        keras.Model, waveforms (batch, samples) of at least one patch → dict of scores (batch, patches, 521),
        embeddings (batch, patches, 1024) and log_mel (batch, frames, 64). It holds the models "front_end" and "body".
    """
    import keras
    from keras import layers as kl
    from keras import ops

    def to_patches(log_mel):
        patches = ops.extract_sequences(ops.transpose(log_mel, (0, 2, 1)), PATCH_FRAMES, HOP_FRAMES)  # (batch, 64, patches, 96)
        return ops.reshape(ops.transpose(patches, (0, 2, 3, 1)), (-1, PATCH_FRAMES, MEL_BANDS))  # (batch * patches, 96, 64)

    def unmerge(values_and_log_mel):
        values, log_mel = values_and_log_mel
        return ops.reshape(values, (ops.shape(log_mel)[0], -1, values.shape[-1]))  # (batch, patches, values)

    waveforms = keras.Input((None,), name="waveforms")
    to_log_mel = _tensorflow_log_mel if keras.backend.backend() == "tensorflow" else _log_mel
    log_mel = kl.Lambda(to_log_mel, output_shape=(None, MEL_BANDS), dtype="float32", name="log_mel")(waveforms)
    front_end = keras.Model(waveforms, log_mel, name="front_end")
    body = _build_body(layers)

    log_mel = front_end(waveforms)
    outputs = body(kl.Lambda(to_patches, output_shape=(PATCH_FRAMES, MEL_BANDS), dtype="float32")(log_mel))
    outputs = {
        name: kl.Lambda(unmerge, output_shape=(None, values.shape[-1]), dtype="float32", name=name)([values, log_mel])
        for name, values in outputs.items()
    }
    return keras.Model(waveforms, {"log_mel": log_mel, **outputs}, name="yamnet")


def _tensorflow_log_mel(waveforms):
    """(batch, samples) → (batch, frames, 64) by ``tf.signal``, whose float32 mel bands those of ``_log_mel`` equal to 1e-5."""
    import tensorflow as tf

    spectrogram = tf.abs(tf.signal.stft(waveforms, frame_length=_WINDOW, frame_step=_STEP, fft_length=_FFT))
    mel_bands = tf.signal.linear_to_mel_weight_matrix(MEL_BANDS, _FFT // 2 + 1, SAMPLE_RATE_HZ, _MIN_HZ, _MAX_HZ)
    return tf.math.log(tf.matmul(spectrogram, mel_bands) + _LOG_OFFSET)


def _log_mel(waveforms):
    """(batch, samples) → (batch, frames, 64) on any backend of Keras."""
    from keras import ops

    frames = ops.extract_sequences(waveforms, _WINDOW, _STEP)  # (batch, frames, 400)
    real, imaginary = ops.rfft(frames * _hann(), _FFT)
    magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary))  # (batch, frames, 257)
    return ops.log(ops.matmul(magnitude, _mel_bands()) + _LOG_OFFSET)


def _hann():
    """The periodic Hann window, (400,) float32."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)


def _mel_bands():
    """Triangles of equal width on the mel scale 1127 ln(1 + f / 700), as of ``tf.signal.linear_to_mel_weight_matrix``: (257, 64) float32."""
    edges = np.linspace(_mel(_MIN_HZ), _mel(_MAX_HZ), MEL_BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]  # (64,)
    bins = _mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, _FFT // 2 + 1))[:, None]  # (257, 1)
    bands = np.maximum(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0.0)
    bands[0] = 0.0  # not the mean
    return bands.astype(np.float32)


def _mel(hz):
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def _build_body(layers):
    import keras
    from keras import layers as kl

    patches = keras.Input((PATCH_FRAMES, MEL_BANDS), name="patches")
    x = kl.Reshape((PATCH_FRAMES, MEL_BANDS, 1), dtype="float32")(patches)
    for kind, stride, kernel, bias in layers[:-1]:
        options = {"strides": stride, "padding": "same", "activation": "relu6", "dtype": "float32"}
        if kind == "conv":
            layer = kl.Conv2D(len(bias), kernel.shape[:2], **options)
        else:
            layer = kl.DepthwiseConv2D(kernel.shape[:2], **options)
        x = layer(x)
        layer.set_weights([kernel, bias])
    embeddings = kl.GlobalAveragePooling2D(dtype="float32", name="embeddings")(x)  # (batch, 1024)
    _, _, kernel, bias = layers[-1]
    dense = kl.Dense(len(bias), activation="sigmoid", dtype="float32", name="scores")
    scores = dense(embeddings)  # (batch, 521)
    dense.set_weights([kernel, bias])
    body = keras.Model(patches, {"scores": scores, "embeddings": embeddings}, name="body")
    body.trainable = False
    return body
