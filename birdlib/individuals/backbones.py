"""Features of crops from a frozen network: its last ones, which separate species, and an early map, which keeps small local features.

A crop is (height, width, 3) uint8 RGB of any size. ``crop_features`` is (features, maps): (crops, dim) float32, pooled over the crop, and
(crops, height, width, channels) float16, not pooled.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from birdlib import runtime
from birdlib.models import image_networks
from birdlib.video import images as video_images
from birdlib.video import squares

SIZE = 128  # pixels of a side of the network's input: crops are small, and 224 takes three times as long
BATCH = 16  # crops
_RECIPE = 2  # version of the preprocessing
EARLY_LAYERS = {"resnet50": "conv2_block3_2_relu", "densenet121": "pool2_conv", "efficientnetb0": "block2b_add"}
_NO_MAP = (0, 0, 0)


class BackboneError(runtime.BirdlibError):
    """An unknown backbone, or one of which nothing is wanted."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen network.

    Attributes:
        network: keras.Model, (batch, size, size, 3) RGB in [0, 255] → [(batch, dim), (batch, height, width, channels)], or one of them alone.
        dim: of the last features, pooled over the crop; 0 without them, which is five times as fast.
        map_shape: (height, width, channels) of the early map; (0, 0, 0) without it, which takes a hundredth of the memory.
        key: of all that changes the features.
        weights: for the receipt.
        size: pixels of a side of the input.
    """

    network: Any
    dim: int
    map_shape: tuple
    key: str
    weights: dict
    size: int = SIZE


def require(name):
    """Raise BackboneError if there is no such backbone."""
    if name not in EARLY_LAYERS:
        raise BackboneError(f"backbone is {name!r}: choose {', '.join(EARLY_LAYERS)}")


def load(name="resnet50", weights_dir="", is_trained=True, *, has_end=True, has_map=True, size=SIZE):
    """A frozen network with its last features and an early map.

    Args:
        name: one of ``EARLY_LAYERS``. The last features of resnet50 are 2,048, of densenet121 1,024, of efficientnetb0 1,280.
        weights_dir: as in ``weights.find``.
        is_trained: False keeps random weights, for tests.
        has_end, has_map: False leaves the last features or the map out.
        size: pixels of a side of the input, at least 32; 224 is that of the network's training.

    Raises:
        BackboneError: another name, a size below 32, or neither features nor map.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    require(name)
    if size < 32 or not (has_end or has_map):
        raise BackboneError(f"backbone of {size} pixels, last features {has_end}, map {has_map}: take 32 pixels or more, and one of the two")
    layers = [*([""] if has_end else []), *([EARLY_LAYERS[name]] if has_map else [])]
    network, receipt = image_networks.load(name, weights_dir, is_trained, size, layers)
    options = {**({} if has_end else {"has_end": False}), **({} if has_map else {"has_map": False})}
    inputs = keras.Input((size, size, 3), name="crop")
    outputs = list(network(inputs)) if len(layers) > 1 else [network(inputs)]
    if has_end:
        outputs[0] = keras.layers.GlobalAveragePooling2D()(outputs[0])
    model = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=name)
    key = runtime.digest({"name": name, "of": receipt.get("sha256", receipt), "size": size, "recipe": _RECIPE, **options})
    map_shape = outputs[-1].shape[1:] if has_map else _NO_MAP
    return Backbone(model, outputs[0].shape[-1] if has_end else 0, map_shape, key, {name: receipt}, size)


def extract_features(images, backbone):
    """The features of crops: (features, maps), (crops, dim) float32 and (crops, *map_shape) float16.

    Args:
        images: list of (height, width, 3) uint8 RGB, of any sizes.
        backbone: from ``load``.
    """
    features, maps = _empty(len(images), backbone)
    for first in range(0, len(images), 8 * BATCH):
        rows = slice(first, first + 8 * BATCH)
        inputs = np.stack([squares.as_square(image, backbone.size) for image in images[rows]]).astype(np.float32)
        found = backbone.network.predict(inputs, batch_size=BATCH, verbose=0)
        if backbone.dim and maps.size:
            features[rows], maps[rows] = found
        elif backbone.dim:
            features[rows] = found
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
