"""Features of crops from a frozen network: its last ones, which separate species, and an early map, which keeps small local features.

A crop is (height, width, 3) uint8 RGB of any size. ``crop_features`` is (features, maps): (crops, dim) float32, pooled over the crop, and
(crops, height, width, channels) float16, not pooled.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from birdlib import runtime
from birdlib.models import resnet50, weights
from birdlib.video import images as video_images

SIZE = 128  # pixels of a side of the network's input: crops are small, and 224 takes three times as long
BATCH = 16  # crops
_RECIPE = 2  # version of the preprocessing
EARLY_LAYERS = {"resnet50": "conv2_block3_2_relu", "densenet121": "pool2_conv", "efficientnetb0": "block2b_add"}


class BackboneError(runtime.BirdlibError):
    """An unknown backbone, or one whose weights cannot be downloaded."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen network.

    Attributes:
        network: keras.Model, (batch, SIZE, SIZE, 3) RGB in [0, 255] → [(batch, dim), (batch, height, width, channels)], or the
            latter alone.
        dim: of the last features, pooled over the crop; 0 without them, which is five times as fast.
        map_shape: (height, width, channels) of the early map.
        key: of all that changes the features.
        weights: for the receipt.
    """

    network: Any
    dim: int
    map_shape: tuple
    key: str
    weights: dict


def load(name="resnet50", weights_dir="", is_trained=True, has_end=True):
    """A frozen network with its last features and an early map.

    Args:
        name: one of ``EARLY_LAYERS``. "resnet50" comes by ``birdlib.models.weights``, the others as ``keras.applications`` downloads them.
        weights_dir: as in ``weights.find``.
        is_trained: False keeps random weights, for tests.
        has_end: False leaves the last features out.

    Raises:
        BackboneError: another name, or a download that failed.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    if name not in EARLY_LAYERS:
        raise BackboneError(f"backbone is {name!r}: choose {', '.join(EARLY_LAYERS)}")
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
        network, receipt = _from_keras(name, options, is_trained)
        if name == "densenet121":
            x = keras.applications.densenet.preprocess_input(inputs)
    network.trainable = False
    recipe = {"name": name, "of": receipt.get("sha256", receipt), "size": SIZE, "recipe": _RECIPE}
    early = network.get_layer(EARLY_LAYERS[name]).output
    if not has_end:
        model = keras.Model(inputs, keras.Model(network.input, early)(x), name=name)
        return Backbone(model, 0, model.output.shape[1:], runtime.digest({**recipe, "has_end": False}), {name: receipt})
    last, early = keras.Model(network.input, [network.output, early])(x)
    model = keras.Model(inputs, [keras.layers.GlobalAveragePooling2D()(last), early], name=name)
    return Backbone(model, last.shape[-1], early.shape[1:], runtime.digest(recipe), {name: receipt})


def _from_keras(name, options, is_trained):
    import keras

    build = {"densenet121": keras.applications.DenseNet121, "efficientnetb0": keras.applications.EfficientNetB0}[name]
    try:
        network = build(**options | {"weights": "imagenet" if is_trained else None})
    except Exception as error:  # Keras raises a bare one where it cannot download
        raise BackboneError(
            f"the weights of {name} could not be downloaded from keras.applications ({error}): go online, or use resnet50"
        ) from error
    return network, {"source": "keras.applications", "keras": keras.__version__} if is_trained else {}


def as_square(image, size=SIZE, colour=None):
    """A crop scaled into the middle of a square, its proportions kept.

    Args:
        image: (height, width, 3) uint8 RGB.
        colour: of the rest of the square; None for the mean colour of the crop.

    Returns:
        (size, size, 3) uint8.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(image, new, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    square = np.empty((size, size, 3), np.uint8)
    square[:] = np.round(image.reshape(-1, 3).mean(axis=0)) if colour is None else colour
    top, left = (size - scaled.shape[0]) // 2, (size - scaled.shape[1]) // 2
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def extract_features(images, backbone):
    """The features of crops: (features, maps), (crops, dim) float32 and (crops, *map_shape) float16.

    Args:
        images: list of (height, width, 3) uint8 RGB, of any sizes.
        backbone: from ``load``.
    """
    features, maps = _empty(len(images), backbone)
    for first in range(0, len(images), 8 * BATCH):
        rows = slice(first, first + 8 * BATCH)
        squares = np.stack([as_square(image) for image in images[rows]]).astype(np.float32)
        found = backbone.network.predict(squares, batch_size=BATCH, verbose=0)
        if backbone.dim:
            features[rows], maps[rows] = found
        else:
            maps[rows] = found
    return features, maps


def extract_stored_features(crops, folder, backbone, store=None):
    """``extract_features`` of the crops of tracks, or from a store where they were extracted before.

    Args:
        crops: DataFrame of ``tracking.CROP_COLUMNS``.
        folder: of the paths.
        backbone: from ``load``.
        store: ``EmbeddingStore(folder, backbone.key)``, or None to store nothing.

    Returns:
        (features, maps), row-aligned with ``crops``.

    Raises:
        images.ImageError: a crop that cannot be read.
    """
    features, maps = _empty(len(crops), backbone)
    tracks = list(crops.reset_index(drop=True).groupby(["recording_id", "track"]).indices.values())
    for rows in runtime.progress(tracks, desc="crops"):
        paths = [Path(folder) / path for path in crops["path"].iloc[rows]]
        key = runtime.digest([runtime.digest_file(path) for path in paths])
        found = None if store is None else store.get(key)
        if found is None:
            features[rows], maps[rows] = extract_features([video_images.read_image(path) for path in paths], backbone)
            if store is not None:
                store.put(key, np.hstack([features[rows], maps[rows].reshape(len(rows), -1)]), np.ones(len(rows)))
        else:
            features[rows] = found[0][:, : backbone.dim]
            maps[rows] = found[0][:, backbone.dim :].reshape(len(rows), *backbone.map_shape)
    return features, maps


def _empty(n, backbone):
    return np.zeros((n, backbone.dim), np.float32), np.zeros((n, *backbone.map_shape), np.float16)
