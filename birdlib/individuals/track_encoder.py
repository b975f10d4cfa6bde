"""Which bird a track shows: crops, and the sound of the time in which the bird is alone, to one unit vector.

Early fusion: a frozen network trained on ImageNet looks at a crop, a small CNN hears the sound; side by side they go into one dense
layer. The network's last features tell species. What tells an individual, a coloured ring or a spot, is small and in one place only: a
layer of detectors is trained on an early map of the network, and the most that each finds anywhere goes into the dense layer too (Oquab
et al., "Is object localization for free?", 2015). A
sound that is not attributed to the track is absent, and is not listened to. A crop is (height, width, 3) uint8 RGB of any size; "seen"
is (features (crops, dim) float32, maps (crops, height, width, channels) float16); times are in seconds of the film.
"""

import functools

import numpy as np

from birdlib.multimodal import scene_audio, scene_encoders

EMBEDDING_DIM = 256
_SOUND_DIM = 64
BATCH = 64  # crops at once
_N_DETECTORS = 192  # of marks


def encoder(dim, map_shape, out_dim=EMBEDDING_DIM, has_sound=True, dropout=0.2):
    """What is seen of a crop and a sound make together.

    Args:
        dim, map_shape: of the backbone; 0 leaves its last features out.
        out_dim: of the vector.
        has_sound: False leaves the sound out altogether.
        dropout: before the dense layer.

    Returns:
        keras.Model, {"features": (batch, dim), "map": (batch, *map_shape), "spectrogram": (batch, 125, 128), "has_sound":
        (batch, 1), 0 where the sound is absent} → (batch, out_dim) unit vectors, float32. See ``standardise``.
    """
    import keras

    from birdlib.models import layers as vector_layers

    early = keras.Input(map_shape, name="map")
    inputs, parts = {"map": early}, []
    options = {"center": False, "scale": False, "trainable": False}
    if dim:
        inputs["features"] = keras.Input((dim,), name="features")
        looks = keras.layers.BatchNormalization(name="feature_scale", **options)(inputs["features"])
        parts.append(vector_layers.UnitVector(name="looks")(looks))
    x = keras.layers.BatchNormalization(name="map_scale", **options)(early)
    x = keras.layers.BatchNormalization(momentum=0.9)(_most()(_N_DETECTORS, name="detectors")(x))
    parts.append(vector_layers.UnitVector(name="marks")(x) if dim or has_sound else x)
    if has_sound:
        heard = keras.Input((scene_audio.N_STEPS, scene_audio.N_BANDS), name="spectrogram")
        is_there = keras.Input((1,), name="has_sound")
        voice = scene_encoders.audio_encoder("cnn", _SOUND_DIM)({"spectrogram": heard})
        parts.append(keras.layers.Multiply(name="voice")([voice, is_there]))
        inputs |= {"spectrogram": heard, "has_sound": is_there}
    x = keras.layers.Concatenate(name="fusion")(parts) if len(parts) > 1 else x
    return keras.Model(inputs, vector_layers.to_unit_vector(x, out_dim, dropout, "track"), name="track_encoder")


@functools.cache
def _most():
    """The layer's class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable("birdlib")
    class Most(keras.layers.Layer):
        """The most that each of ``n`` linear detectors finds anywhere in a map: (batch, height, width, channels) → (batch, n) float32.

        A 1 × 1 convolution and global maximum pooling, whose slope is that of the places found alone: three times as fast.
        """

        def __init__(self, n, dtype="float32", **options):
            super().__init__(dtype=dtype, **options)
            self.n = n

        def build(self, shape):
            self.kernel = self.add_weight(shape=(self.n, shape[-1]), initializer="lecun_normal", name="kernel")
            self.bias = self.add_weight(shape=(self.n,), initializer="zeros", name="bias")

        def call(self, x):
            n_places, channels = x.shape[1] * x.shape[2], x.shape[3]
            x = ops.reshape(x, (-1, n_places, channels))
            found = ops.matmul(ops.stop_gradient(self.kernel), ops.swapaxes(x, 1, 2))  # (batch, n, places)
            first = n_places * ops.arange(ops.shape(x)[0], dtype="int32")
            best = ops.cast(ops.argmax(found, axis=-1), "int32") + first[:, None]
            there = ops.take(ops.reshape(x, (-1, channels)), best, axis=0)  # (batch, n, channels)
            return ops.sum(there * self.kernel, axis=-1) + self.bias

        def compute_output_shape(self, shape):
            return shape[0], self.n

        def get_config(self):
            return {**super().get_config(), "n": self.n}

    return Most


def standardise(encoder, seen):
    """Tell an encoder the mean and the variance of what it will see, so that all numbers count alike: once, before it is trained."""
    for name, numbers in zip(("feature_scale", "map_scale"), seen, strict=True):
        if not numbers.shape[-1]:
            continue
        numbers = numbers.reshape(-1, numbers.shape[-1])
        mean, square = (
            numbers.mean(axis=0, dtype=np.float64),
            np.square(numbers, dtype=np.float32).mean(axis=0, dtype=np.float64),
        )
        variance = np.maximum(square - mean**2, 0.0)
        encoder.get_layer(name).set_weights([mean, variance + 0.01 * variance.mean()])


def load(path):
    """A saved encoder, ready to use."""
    _most()
    return scene_encoders.load(path)


# Hearing


def hear_tracks(summary, paths):
    """The sound of tracks, where a bird is the only one in the film: from then on, at most ``hearing.SCENE_S``.

    Args:
        summary: DataFrame of ``tracks.SUMMARY_COLUMNS``.
        paths: dict, recording_id → path of the film.

    Returns:
        (heard, has_sound): (tracks, 125, 128) float32 and (tracks,) bool, row-aligned with ``summary``; 0 and False where no
        sound is attributed, or there is none but silence.
    """
    heard = np.zeros((len(summary), scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32)
    has_sound = np.zeros(len(summary), bool)
    numbered = summary.reset_index(drop=True)
    for recording_id, rows in numbered[numbered["alone_from_s"].notna()].groupby("recording_id"):
        rows = rows.sort_values("alone_from_s")
        until_s = np.minimum(rows["alone_until_s"], rows["alone_from_s"] + scene_audio.SCENE_S)
        spans_s = np.column_stack([rows["alone_from_s"], until_s])
        for found in scene_audio.hear_film(paths[recording_id], spans_s):
            row = rows.index[np.isclose(spans_s[:, 0], found[0])][0]
            heard[row], has_sound[row] = found[2:].reshape(heard.shape[1:]), True
    return heard, has_sound


# Embedding


def embed_crops(encoder, seen, heard=None, has_sound=None):
    """The vectors of crops.

    Args:
        encoder: from ``encoder``.
        seen: from ``see``.
        heard, has_sound: (crops, 125, 128) and (crops,), of the track of each crop; None for no sound.

    Returns:
        (crops, dim) float32 unit vectors.
    """
    n = len(seen[0])
    if not n:
        return np.zeros((0, encoder.output.shape[-1]), np.float32)
    arrays = {name: part for name, part in zip(("features", "map"), seen, strict=True) if name in encoder.input}
    if "spectrogram" in encoder.input:
        heard = np.zeros((n, scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32) if heard is None else heard
        has_sound = np.zeros(n, bool) if has_sound is None else has_sound
        arrays |= {"spectrogram": heard, "has_sound": np.asarray(has_sound, np.float32)[:, None]}
    return np.asarray(encoder.predict(arrays, batch_size=BATCH, verbose=0), np.float32)


def track_rows(summary, crops):
    """(crops,) int: the row of ``summary`` that each crop belongs to; ValueError where there is none."""
    names = ["recording_id", "track"]
    rows = summary.set_index(names).index.get_indexer(crops.set_index(names).index)
    if (rows < 0).any():
        raise ValueError(f"crop {crops['path'].iloc[int(np.argmin(rows))]} belongs to no track")
    return rows
