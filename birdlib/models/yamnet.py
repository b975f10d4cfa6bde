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

from birdlib.models import mirrors

SAMPLE_RATE_HZ = 16_000
PATCH_S, HOP_S = 0.96, 0.48
PATCH_SAMPLES = 15_600  # 96 frames, 10 ms apart, of 25 ms: the last window ends 15 ms after the patch
HOP_SAMPLES = 7_680
PATCH_FRAMES, HOP_FRAMES, MEL_BANDS = 96, 48, 64
EMBEDDING_DIM = 1024

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
    """Load the weights that ``birdlib.models.weights`` found, a SavedModel folder or a TFLite file, as a ``Yamnet``."""
    if source.format == "savedmodel":
        return _load_saved_model(source.path)
    layers, class_names = mirrors.read_yamnet(source.path)
    model = build_model(layers)

    def predict(waveform):
        outputs = model(pad(waveform)[None], training=False)
        return tuple(outputs[name].numpy()[0] for name in ("scores", "embeddings", "log_mel"))

    return Yamnet(class_names, predict, model.get_layer("front_end"), model.get_layer("body"))


def _load_saved_model(folder):
    """Load the official SavedModel (google/yamnet/1), as ``hub.load`` does once it has the files."""
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
    import tensorflow as tf
    from keras import layers as kl

    def to_log_mel(waveforms):
        spectrogram = tf.abs(tf.signal.stft(waveforms, frame_length=400, frame_step=160, fft_length=512))
        mel_bands = tf.signal.linear_to_mel_weight_matrix(MEL_BANDS, 257, SAMPLE_RATE_HZ, 125.0, 7500.0)
        return tf.math.log(tf.matmul(spectrogram, mel_bands) + 0.001)  # (batch, frames, 64)

    def to_patches(log_mel):
        patches = tf.signal.frame(log_mel, PATCH_FRAMES, HOP_FRAMES, axis=1)  # (batch, patches, 96, 64)
        return tf.reshape(patches, (-1, PATCH_FRAMES, MEL_BANDS))  # (batch * patches, 96, 64)

    def unmerge(values_and_log_mel):
        values, log_mel = values_and_log_mel
        return tf.reshape(values, (tf.shape(log_mel)[0], -1, values.shape[-1]))  # (batch, patches, values)

    waveforms = keras.Input((None,), name="waveforms")
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
