"""Which bird a track shows: crops, and the sound of the time in which the bird is alone, to one unit vector.

Early fusion: a frozen network trained on ImageNet looks at a crop, a small CNN hears the sound; side by side they go into one dense
layer. The network is asked at three depths: its last features tell species; a coloured ring or a spot is seen by its early layers, and
as it is in one place only, by their maximum over the picture. A sound that is not attributed to the track is absent, and then is not
listened to. A crop is (height, width, 3) uint8 RGB of any size; times are in seconds of the film.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from birdlib import hearing, individuals, pictures, resnet50, runtime, scene_encoders, vectors, weights

EMBEDDING_DIM = 256
SIZE = 128  # of the square that the large network sees: crops are small, and 224 takes three times as long
SOUND_DIM = 64
BATCH = 16  # crops at once
RECIPE = 1  # of the features of a crop
DEPTHS = {  # where a network is asked, besides its end
    "resnet50": ("conv2_block3_out", "conv3_block4_out"),
    "densenet121": ("conv2_block6_concat", "conv3_block12_concat"),
    "efficientnetb0": ("block2b_add", "block3b_add"),
}


class TrackEncoderError(runtime.BirdlibError):
    """A network that cannot be had as asked."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that is not trained.

    Attributes:
        network: keras.Model, (batch, SIZE, SIZE, 3) RGB in [0, 255] → (batch, sum of dims).
        dims: of its features at each depth, the maximum of the early ones and the mean of the last.
        key: of all that changes them.
        weights: for the receipt.
    """

    network: Any
    dims: tuple
    key: str
    weights: dict


def load_backbone(name="resnet50", weights_dir="", is_trained=True):
    """A frozen network that is asked at three depths, pooled over the picture.

    Args:
        name: one of ``DEPTHS``. "resnet50" comes by ``birdlib.weights``, the others as ``keras.applications`` downloads them.
        weights_dir: as in ``weights.find``.
        is_trained: False leaves it with random weights, for tests.

    Raises:
        TrackEncoderError: another name, or a download that failed.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    if name not in DEPTHS:
        raise TrackEncoderError(f"backbone is {name!r}: choose {', '.join(DEPTHS)}")
    inputs = keras.Input((SIZE, SIZE, 3), name="crop")
    options = {"include_top": False, "input_shape": (SIZE, SIZE, 3), "weights": None}
    receipt, x = {}, inputs
    if name == "resnet50":
        network = keras.applications.ResNet50(**options)
        x = keras.ops.flip(inputs - np.array(resnet50.MEANS_RGB, np.float32), axis=-1)
        if is_trained:
            source = weights.fetch(name, weights_dir)
            network.set_weights(resnet50.load(source).get_weights())
            receipt = source.receipt()
    else:
        network, receipt = _of_keras(name, options, is_trained)
        if name == "densenet121":
            x = keras.applications.densenet.preprocess_input(inputs)
    network.trainable = False
    key = runtime.digest({"name": name, "of": receipt.get("sha256", receipt), "size": SIZE, "recipe": RECIPE})
    maps = keras.Model(network.input, [*(network.get_layer(layer).output for layer in DEPTHS[name]), network.output])(x)
    pools = [keras.layers.GlobalMaxPooling2D()(one) for one in maps[:-1]]
    pools.append(keras.layers.GlobalAveragePooling2D()(maps[-1]))
    model = keras.Model(inputs, keras.layers.Concatenate()(pools), name=name)
    return Backbone(model, tuple(pool.shape[-1] for pool in pools), key, {name: receipt})


def _of_keras(name, options, is_trained):
    import keras

    build = {"densenet121": keras.applications.DenseNet121, "efficientnetb0": keras.applications.EfficientNetB0}[name]
    try:
        network = build(**options | {"weights": "imagenet" if is_trained else None})
    except Exception as error:  # Keras raises a bare one where it cannot download
        raise TrackEncoderError(
            f"the weights of {name} could not be downloaded from keras.applications ({error}): go online, or use resnet50"
        ) from error
    return network, {"source": "keras.applications", "keras": keras.__version__} if is_trained else {}


def encoder(dims, dim=EMBEDDING_DIM, has_sound=True, dropout=0.3):
    """What a crop's features and a sound make together.

    Args:
        dims: of the backbone.
        dim: of the vector.
        has_sound: False leaves the sound out altogether.
        dropout: before the dense layer.

    Returns:
        keras.Model, {"features": (batch, sum of dims), "spectrogram": (batch, 125, 128), "has_sound": (batch, 1), 0 where the sound
        is absent} → (batch, dim) unit vectors, float32. See ``standardise``.
    """
    import keras

    features = keras.Input((sum(dims),), name="features")
    inputs = {"features": features}
    x = keras.layers.BatchNormalization(center=False, scale=False, trainable=False, name="feature_scale")(features)
    ends = np.cumsum(dims).tolist()
    parts = [vectors.unit_vector()(x[:, end - n : end]) for n, end in zip(dims, ends, strict=True)]
    if has_sound:
        heard = keras.Input((hearing.N_STEPS, hearing.N_BANDS), name="spectrogram")
        is_there = keras.Input((1,), name="has_sound")
        voice = scene_encoders.audio_encoder("cnn", SOUND_DIM)({"spectrogram": heard})
        parts.append(keras.layers.Multiply(name="voice")([voice, is_there]))
        inputs |= {"spectrogram": heard, "has_sound": is_there}
    x = keras.layers.Concatenate(name="fusion")(parts)
    return keras.Model(inputs, vectors.to_unit_vector(x, dim, dropout, "track"), name="track_encoder")


def standardise(encoder, features):
    """Tell an encoder the mean and the variance of what it will see, so that all features count alike: once, before it is trained.

    Args:
        encoder: from ``encoder``; changed in place.
        features: (crops, sum of dims).
    """
    variance = features.var(axis=0)
    encoder.get_layer("feature_scale").set_weights([features.mean(axis=0), variance + 0.01 * variance.mean()])


def load(path):
    """A saved encoder, ready to use."""
    return scene_encoders.load(path)


# Seeing


def as_square(image, size=SIZE):
    """A crop scaled into a square, its proportions kept; beside it is its mean colour.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (size, size, 3) uint8.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(image, new, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    square = np.empty((size, size, 3), np.uint8)
    square[:] = np.round(image.reshape(-1, 3).mean(axis=0))
    top, left = (size - scaled.shape[0]) // 2, (size - scaled.shape[1]) // 2
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def see(images, backbone):
    """The features of crops.

    Args:
        images: list of (height, width, 3) uint8 RGB, of any sizes.
        backbone: from ``load_backbone``.

    Returns:
        (crops, sum of dims) float32.
    """
    features = np.zeros((len(images), sum(backbone.dims)), np.float32)
    for first in range(0, len(images), 8 * BATCH):
        squares = np.stack([as_square(image) for image in images[first : first + 8 * BATCH]]).astype(np.float32)
        found = backbone.network.predict(squares, batch_size=BATCH, verbose=0)
        features[first : first + len(found)] = found
    return features


def see_crops(crops, folder, backbone, store=None):
    """``see`` for the crops of tracks; what is in the store already is not looked at again.

    Args:
        crops: DataFrame of ``tracks.CROP_COLUMNS``.
        folder: of the paths.
        backbone: from ``load_backbone``.
        store: ``EmbeddingStore(folder, backbone.key)``, or None to keep nothing.

    Returns:
        (crops, sum of dims) float32, row-aligned with ``crops``.

    Raises:
        pictures.ImageError: a crop that cannot be read.
    """
    features = np.zeros((len(crops), sum(backbone.dims)), np.float32)
    tracks = list(crops.reset_index(drop=True).groupby(["recording_id", "track"]).indices.values())
    for rows in runtime.progress(tracks, desc="crops"):
        paths = [Path(folder) / path for path in crops["path"].iloc[rows]]
        key = runtime.digest([runtime.digest_file(path) for path in paths])
        found = None if store is None else store.get(key)
        features[rows] = see([pictures.read_image(path) for path in paths], backbone) if found is None else found[0]
        if found is None and store is not None:
            store.put(key, features[rows], np.ones(len(rows)))
    return features


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
    heard = np.zeros((len(summary), hearing.N_STEPS, hearing.N_BANDS), np.float32)
    has_sound = np.zeros(len(summary), bool)
    numbered = summary.reset_index(drop=True)
    for recording_id, rows in numbered[numbered["alone_from_s"].notna()].groupby("recording_id"):
        rows = rows.sort_values("alone_from_s")
        until_s = np.minimum(rows["alone_until_s"], rows["alone_from_s"] + hearing.SCENE_S)
        spans_s = np.column_stack([rows["alone_from_s"], until_s])
        for found in hearing.hear_film(paths[recording_id], spans_s):
            row = rows.index[np.isclose(spans_s[:, 0], found[0])][0]
            heard[row], has_sound[row] = found[2:].reshape(heard.shape[1:]), True
    return heard, has_sound


# Embedding


def embed_crops(encoder, features, heard=None, has_sound=None):
    """The vectors of crops.

    Args:
        encoder: from ``encoder``.
        features: from ``see``.
        heard, has_sound: (crops, 125, 128) and (crops,), of the track of each crop; None for no sound.

    Returns:
        (crops, dim) float32 unit vectors.
    """
    if not len(features):
        return np.zeros((0, encoder.output.shape[-1]), np.float32)
    arrays = {"features": features}
    if "spectrogram" in encoder.input:
        n = len(features)
        heard = np.zeros((n, hearing.N_STEPS, hearing.N_BANDS), np.float32) if heard is None else heard
        has_sound = np.zeros(n, bool) if has_sound is None else has_sound
        arrays |= {"spectrogram": heard, "has_sound": np.asarray(has_sound, np.float32)[:, None]}
    return np.asarray(encoder.predict(arrays, batch_size=4 * BATCH, verbose=0), np.float32)


def embed_tracks(encoder, summary, crops, features, heard=None, has_sound=None):
    """The vector of a track is the mean of its crops' vectors, scaled to unit length.

    Args:
        encoder: from ``encoder``.
        summary, crops: of ``tracks``.
        features: from ``see_crops``.
        heard, has_sound: from ``hear_tracks``; None for no sound.

    Returns:
        (embeddings, of_crops): (tracks, dim) and (crops, dim) float32, row-aligned with ``summary`` and with ``crops``.

    Raises:
        ValueError: if a track has no crop, or a crop no track.
    """
    of_track = track_rows(summary, crops)
    by_crop = (None, None) if heard is None else (heard[of_track], has_sound[of_track])
    of_crops = embed_crops(encoder, features, *by_crop)
    is_empty = np.bincount(of_track, minlength=len(summary)) == 0
    if is_empty.any():
        raise ValueError(f"track {summary['track'].iloc[int(np.argmax(is_empty))]} has no crop")
    return individuals.mean_embeddings(of_crops, of_track), of_crops


def track_rows(summary, crops):
    """(crops,) int: the row of ``summary`` that each crop belongs to; ValueError where there is none."""
    names = ["recording_id", "track"]
    rows = summary.set_index(names).index.get_indexer(crops.set_index(names).index)
    if (rows < 0).any():
        raise ValueError(f"crop {crops['path'].iloc[int(np.argmin(rows))]} belongs to no track")
    return rows
