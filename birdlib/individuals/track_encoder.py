"""The early-fusion encoder: a crop, and the sound from while the bird is alone, to one unit vector. Imports Keras.

Features of a frozen ImageNet network and the output of a small CNN of the sound are concatenated and go into one dense layer. The
network's last features separate species. What separates individuals, a coloured ring or a spot, is small and in one place: linear
detectors of local features are trained on an early map of the network, and the maximum of each over the map goes into the dense layer too
(Oquab et al., "Is object localization for free?", 2015). A sound that is not attributed to the track is multiplied by 0.
``crop_features`` is (features (crops, dim) float32, maps (crops, height, width, channels) float16), as of ``backbones``.
"""

import keras
import numpy as np
from keras import ops

from birdlib.models import batch_calls, layers
from birdlib.multimodal import scene_audio, scene_encoders

EMBEDDING_DIM = 256
SOUND_DIM = 64
_BATCH = 64  # crops
_N_DETECTORS = 192  # of local features


def encoder(dim, map_shape, out_dim=EMBEDDING_DIM, has_sound=True, dropout=0.2, sound_dim=SOUND_DIM):
    """Build the encoder.

    Args:
        dim, map_shape: of the backbone; dim 0 leaves its last features out, channels 0 its map.
        out_dim: of the vector.
        has_sound: whether the model has the inputs ``spectrogram`` and ``has_sound``.
        dropout: before the dense layer.
        sound_dim: of the output of the CNN of the sound.

    Returns:
        keras.Model, {"features": (batch, dim), "map": (batch, *map_shape), "spectrogram": (batch, 125, 128), "has_sound":
        (batch, 1), 0 where the sound is absent} → (batch, out_dim) unit vectors, float32. Call ``standardise`` before training.
    """
    inputs, parts = {}, []
    options = {"center": False, "scale": False, "trainable": False}
    if map_shape[-1]:
        inputs["map"] = keras.Input(map_shape, name="map")
    if dim:
        inputs["features"] = keras.Input((dim,), name="features")
        x = keras.layers.BatchNormalization(name="feature_scale", **options)(inputs["features"])
        parts.append(layers.UnitVector(name="looks")(x))
    if map_shape[-1]:
        x = keras.layers.BatchNormalization(name="map_scale", **options)(inputs["map"])
        x = keras.layers.BatchNormalization(momentum=0.9)(Most(_N_DETECTORS, name="detectors")(x))
        parts.append(layers.UnitVector(name="marks")(x) if dim or has_sound else x)
    if has_sound:
        inputs["spectrogram"] = keras.Input((scene_audio.N_STEPS, scene_audio.N_BANDS), name="spectrogram")
        inputs["has_sound"] = keras.Input((1,), name="has_sound")
        voice = scene_encoders.audio_encoder("cnn", sound_dim)({"spectrogram": inputs["spectrogram"]})
        parts.append(keras.layers.Multiply(name="voice")([voice, inputs["has_sound"]]))
    x = keras.layers.Concatenate(name="fusion")(parts) if len(parts) > 1 else parts[0]
    return keras.Model(inputs, layers.to_unit_vector(x, out_dim, dropout, "track"), name="track_encoder")


@keras.saving.register_keras_serializable("birdlib")
class Most(keras.layers.Layer):
    """The maximum of each of ``n`` linear detectors over a map: (batch, height, width, channels) → (batch, n) float32.

    A 1 × 1 convolution and global maximum pooling, with gradients of the maxima alone: three times as fast.
    """

    def __init__(self, n, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)
        self.n = n

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.n, shape[-1]), initializer="lecun_normal", name="kernel")
        self.bias = self.add_weight(shape=(self.n,), initializer="zeros", name="bias")

    def call(self, x):
        n_cells, channels = x.shape[1] * x.shape[2], x.shape[3]
        x = ops.reshape(x, (-1, n_cells, channels))
        responses = ops.matmul(ops.stop_gradient(self.kernel), ops.swapaxes(x, 1, 2))  # (batch, n, cells)
        first = n_cells * ops.arange(ops.shape(x)[0], dtype="int32")
        best = ops.cast(ops.argmax(responses, axis=-1), "int32") + first[:, None]
        cells = ops.take(ops.reshape(x, (-1, channels)), best, axis=0)  # (batch, n, channels)
        return ops.sum(cells * self.kernel, axis=-1) + self.bias

    def compute_output_shape(self, shape):
        return shape[0], self.n

    def get_config(self):
        return {**super().get_config(), "n": self.n}


def standardise(encoder, crop_features):
    """Set the mean and the variance of the inputs, so that all are on one scale: once, before training."""
    for name, values in zip(("feature_scale", "map_scale"), crop_features, strict=True):
        if not values.shape[-1]:
            continue
        values = values.reshape(-1, values.shape[-1])
        mean = values.mean(axis=0, dtype=np.float64)
        square = np.square(values, dtype=np.float32).mean(axis=0, dtype=np.float64)
        variance = np.maximum(square - mean**2, 0.0)
        encoder.get_layer(name).set_weights([mean, variance + 0.01 * variance.mean()])


def load(path):
    """A saved encoder, ready to use."""
    return scene_encoders.load(path)


def embed_crops(encoder, crop_features, sounds=None):
    """The vectors of crops.

    Args:
        encoder: from ``encoder``.
        crop_features: from ``backbones.extract_features``.
        sounds: ``track_sounds.Sounds`` of the crops; None for no sound.

    Returns:
        (crops, dim) float32 unit vectors.
    """
    n = len(crop_features[0])
    if not n:
        return np.zeros((0, encoder.output.shape[-1]), np.float32)
    arrays = {name: array for name, array in zip(("features", "map"), crop_features, strict=True) if name in encoder.input}
    if "spectrogram" in encoder.input:
        spectrograms, has_sound = (np.zeros((n, scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32), np.zeros(n, bool))
        if sounds is not None:
            spectrograms, has_sound = sounds.spectrograms[sounds.of_crop], sounds.is_present[sounds.of_crop]
        arrays |= {"spectrogram": spectrograms, "has_sound": has_sound.astype(np.float32)[:, None]}
    return np.asarray(batch_calls.outputs(encoder, arrays, _BATCH), np.float32)
