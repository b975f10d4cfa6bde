"""Encoders of scenes, four seconds of sound or eight video frames, to unit vectors of one shared space.

A sound is a ``spectrogram`` (steps, bands) of a kind of ``scene_audio.KINDS``, log-magnitudes of about 0 to 1. Frames are ``pixels``
(N_FRAMES, SIZE, SIZE, 3), RGB 0-255, for the encoders with a trained convolution, and ``features`` (N_FRAMES, FEATURE_DIM) of a frozen
ResNet50 for the others.
Any sound encoder goes with any video encoder: ``matcher`` puts a Siamese head on the two, which predicts whether they belong
together, while their cosine serves retrieval. All are small: some hundreds of scenes train in a minute on two cores.
"""

import keras
import numpy as np
from keras import ops

from birdlib import runtime
from birdlib.models import layers, saved
from birdlib.models.resnet50 import FEATURES as FEATURE_DIM
from birdlib.multimodal import scene_audio
from birdlib.multimodal.scene_video import N_FRAMES
from birdlib.multimodal.scene_video import PIXELS as SIZE

_EMBEDDING_DIM = 64
_WIDTH = 64  # of a token, of a hidden layer, of an LSTM
_N_TOKENS = 25  # of a sound, 160 ms each
_CHANNELS = (16, 32, 48, 64)  # of the 2-D convolutions, each 3 x 3 with stride 2
_N_BLOCKS, _N_HEADS = 2, 4
_DROPOUT = 0.3
SLOPE = 5.0  # of the logit over the cosine, before training


class SceneEncoderError(runtime.BirdlibError):
    """An unknown encoder of scenes."""


def audio_encoder(name, dim=_EMBEDDING_DIM, spectrogram="bands"):
    """A sound to a unit vector.

    Args:
        spectrogram: the kind of its input, a name of ``scene_audio.KINDS``.
        name: one of ``AUDIO``.
            ``cnn``: 2-D convolutions; pitch is kept, time is pooled by mean and maximum.
            ``bilstm``: tokens of 160 ms, an LSTM each way, mean over time.
            ``transformer``: the same tokens with their positions, blocks of attention, mean over time.

    Returns:
        keras.Model, {"spectrogram": (batch, steps, bands)} → (batch, dim) unit vectors, float32. The spectrogram is scaled to
        mean 0 and deviation 1 inside, so that loudness does not count.

    Raises:
        SceneEncoderError: for another name.
    """
    build = _choose(name, AUDIO, "audio")
    inputs = keras.Input(scene_audio.kind_of(spectrogram).shape, name="spectrogram")
    x = keras.layers.LayerNormalization(axis=(1, 2), center=False, scale=False, name="loudness")(inputs)
    x = layers.to_unit_vector(build(x), dim, _DROPOUT, "audio")
    return keras.Model({"spectrogram": inputs}, x, name="audio_encoder")


def video_encoder(name, dim=_EMBEDDING_DIM):
    """The frames of a scene to a unit vector.

    Args:
        name: one of ``VIDEO``.
            ``cnn3d``: convolutions over time and picture, of ``pixels``; their mean and maximum.
            ``cnn_lstm``: an LSTM over the ``features`` of the frames, its last state.
            ``cnn_average``: the mean of the ``features``, whatever their order.
            ``cnn_lstm_trained``, ``cnn_average_trained``: the same, but of a small convolutional network of the ``pixels`` of each frame,
            which is trained with the rest.
            ``transformer``: ``features`` with their positions, blocks of attention, mean over time.

    Returns:
        keras.Model, {"pixels": (batch, N_FRAMES, SIZE, SIZE, 3)} or {"features": (batch, N_FRAMES, FEATURE_DIM)} →
        (batch, dim) unit vectors, float32.

    Raises:
        SceneEncoderError: for another name.
    """
    build = _choose(name, VIDEO, "video")
    if name in OF_PIXELS:
        inputs = keras.Input((N_FRAMES, SIZE, SIZE, 3), name="pixels")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    else:
        inputs = keras.Input((N_FRAMES, FEATURE_DIM), name="features")
        x = keras.layers.LayerNormalization(name="feature_scale")(inputs)
    x = layers.to_unit_vector(build(x), dim, _DROPOUT, "video")
    return keras.Model({inputs.name: inputs}, x, name="video_encoder")


def matcher(audio, video, joint=True):
    """A fusional Siamese network: two encoders and a head that predicts whether sound and frames belong together.

    The head is a small network on [a, v, |a - v|, a * v], the unit vectors a and v being scaled to numbers of size 1. A multiple of the
    cosine, which it would have to learn first, is added to its output.

    Args:
        audio, video: from ``audio_encoder`` and ``video_encoder``, of one dim. They are shared, not copied: training the matcher
            trains them. It holds them as its layers ``audio_encoder`` and ``video_encoder``.
        joint: whether the gradient of the logit reaches the encoders. If not, a loss must train them by their vectors.

    Returns:
        keras.Model, {the audio encoder's input, the video encoder's} → (batch, 2 * dim + 1): see ``losses.matching.parts``. The
        probability is the sigmoid of the logit.
    """
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in {**audio.input, **video.input}.items()}
    a, v = (encoder({name: inputs[name] for name in encoder.input}) for encoder in (audio, video))
    relation = Relation(is_detached=not joint, name="relation")([a, v])  # (batch, 4 * dim)
    cosine = ops.mean(relation[:, -a.shape[-1] :], axis=1, keepdims=True)  # of a * v, times dim
    x = keras.layers.Dense(_WIDTH, activation="relu", name="head")(relation)
    x = keras.layers.Dropout(_DROPOUT)(x)
    correction = keras.layers.Dense(1, dtype="float32", name="said")(x)  # the name that saved matchers have
    constant = keras.initializers.Constant(SLOPE)
    slope = keras.layers.Dense(1, use_bias=False, kernel_initializer=constant, dtype="float32", name="slope")(cosine)
    logit = keras.layers.Add(dtype="float32", name="logit")([correction, slope])
    return keras.Model(inputs, keras.layers.Concatenate(dtype="float32", name="parts")([a, v, logit]), name="matcher")


def head(matcher):
    """The Siamese head of a matcher alone: keras.Model, [a, v] (batch, dim) unit vectors → logit (batch, 1). Weights are shared."""
    return keras.Model(matcher.get_layer("relation").input, matcher.get_layer("logit").output)


def load(path):
    """A saved encoder or matcher, ready to use."""
    return saved.load(path)


def _choose(name, builders, kind):
    if name not in builders:
        raise SceneEncoderError(f"{kind} encoder {name!r} is unknown: use one of {', '.join(builders)}")
    return builders[name]


# Sounds


def _audio_cnn(x):
    x = _convolve(keras.layers.Reshape((*x.shape[1:], 1))(x))  # (batch, 8, 8, 64), of an STFT (batch, 32, 17, 64)
    x = keras.layers.Reshape((x.shape[1], -1))(x)  # each pitch has its own features
    return _mean_and_maximum(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D, x)


def _audio_tokens(x):
    n_steps = x.shape[1] // _N_TOKENS
    x = keras.layers.Conv1D(_WIDTH, n_steps, n_steps, activation="relu", name="tokens")(x)
    return keras.layers.LayerNormalization()(x)  # (batch, 25, WIDTH)


def _audio_bilstm(x):
    lstm = keras.layers.LSTM(_WIDTH, return_sequences=True)
    x = keras.layers.Bidirectional(lstm, name="bilstm")(_audio_tokens(x))  # (batch, 25, 2 * WIDTH)
    return keras.layers.GlobalAveragePooling1D()(x)


def _audio_transformer(x):
    return _transform(_audio_tokens(x))


# Video


def _video_cnn3d(x):
    x = _normalise(keras.layers.Conv3D(16, (1, 3, 3), (1, 2, 2), padding="same")(x))  # (batch, 8, 32, 32, 16)
    for filters, pool in ((32, (2, 2, 2)), (48, (1, 2, 2)), (64, (2, 2, 2))):
        x = keras.layers.AveragePooling3D(pool)(x)  # not strides, whose 3-D gradients take XLA ten times as long on a CPU
        x = _normalise(keras.layers.Conv3D(filters, 3, padding="same")(x))  # at last (batch, 2, 4, 4, 64)
    return _mean_and_maximum(keras.layers.GlobalAveragePooling3D, keras.layers.GlobalMaxPooling3D, x)


def _frame_tokens(x):
    x = keras.layers.Dense(_WIDTH, activation="relu", name="tokens")(x)
    return keras.layers.LayerNormalization()(x)  # (batch, N_FRAMES, WIDTH)


def _video_lstm(x):
    return keras.layers.LSTM(_WIDTH, name="lstm")(_frame_tokens(x))


def _video_average(x):
    return keras.layers.Dense(_WIDTH, activation="relu", name="hidden")(keras.layers.GlobalAveragePooling1D()(x))


def _frame_features(x):
    """Pixels (batch, N_FRAMES, SIZE, SIZE, 3) to features (batch, N_FRAMES, 128) of a convolutional network, the same for each frame."""
    x = _convolve(ops.reshape(x, (-1, SIZE, SIZE, 3)))  # (batch * N_FRAMES, 4, 4, 64)
    x = _mean_and_maximum(keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D, x)
    return ops.reshape(x, (-1, N_FRAMES, x.shape[-1]))


def _video_lstm_trained(x):
    return _video_lstm(_frame_features(x))


def _video_average_trained(x):
    return _video_average(_frame_features(x))


def _video_transformer(x):
    return _transform(_frame_tokens(x))


# Both


def _convolve(x):
    """A picture or spectrogram (batch, height, width, channels) to a map of a 16th of its height and width, 64 channels."""
    for filters in _CHANNELS:
        x = _normalise(keras.layers.Conv2D(filters, 3, 2, padding="same")(x))
    return x


def _normalise(x):
    """A whole map to mean 0 and deviation 1: place by place, what is loud or bright would equal what is faint."""
    return keras.layers.ReLU()(keras.layers.GroupNormalization(1)(x))


def _mean_and_maximum(mean, maximum, x):
    return keras.layers.Concatenate()([mean()(x), maximum()(x)])


def _transform(x):
    """Tokens (batch, tokens, WIDTH) to (batch, WIDTH): "Attention Is All You Need" (2017), normalised before each part."""
    x = PositionalEncoding(name="places")(x)
    for _ in range(_N_BLOCKS):
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.MultiHeadAttention(_N_HEADS, _WIDTH // _N_HEADS)(y, y)
        x = keras.layers.Add()([x, keras.layers.Dropout(_DROPOUT)(y)])
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(2 * _WIDTH, activation="gelu")(y)
        y = keras.layers.Dense(_WIDTH)(y)
        x = keras.layers.Add()([x, keras.layers.Dropout(_DROPOUT)(y)])
    x = keras.layers.LayerNormalization()(x)
    return keras.layers.GlobalAveragePooling1D()(x)


@keras.saving.register_keras_serializable("birdlib")
class PositionalEncoding(keras.layers.Layer):
    """Tokens (batch, tokens, dim), dim even, plus the sines and cosines of their positions ("Attention Is All You Need", 2017)."""

    def call(self, x):
        n_tokens, dim = x.shape[1:]
        angles = np.arange(n_tokens)[:, None] / 10_000 ** (np.arange(0, dim, 2) / dim)
        encoding = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # (tokens, dim)
        return x + ops.convert_to_tensor(encoding, dtype=x.dtype)


@keras.saving.register_keras_serializable("birdlib")
class Relation(keras.layers.Layer):
    """Unit vectors a and v (batch, dim) → [a, v, |a - v|, a * v] of a and v times the root of dim, (batch, 4 * dim)."""

    def __init__(self, is_detached, **options):
        super().__init__(**options)
        self.is_detached = is_detached

    def call(self, vectors):
        a, v = (vector * vector.shape[-1] ** 0.5 for vector in vectors)
        if self.is_detached:
            a, v = ops.stop_gradient(a), ops.stop_gradient(v)
        return ops.concatenate([a, v, ops.abs(a - v), a * v], axis=-1)

    def get_config(self):
        return super().get_config() | {"is_detached": self.is_detached}


AUDIO = {"cnn": _audio_cnn, "bilstm": _audio_bilstm, "transformer": _audio_transformer}
VIDEO = {
    "cnn3d": _video_cnn3d, "cnn_lstm": _video_lstm, "cnn_average": _video_average, "transformer": _video_transformer,
    "cnn_lstm_trained": _video_lstm_trained, "cnn_average_trained": _video_average_trained,
}  # fmt: skip
OF_PIXELS = ("cnn3d", "cnn_lstm_trained", "cnn_average_trained")
