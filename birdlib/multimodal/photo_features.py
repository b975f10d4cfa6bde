"""Features of photos that tell species apart: a frozen network's last map of the whole photo and of the bird in it, pooled.

The bird is cut out as a square around the best box of a detector; where none is found, the whole photo stands in for it. A map is pooled by its
generalised mean of power 3 ("Fine-tuning CNN Image Retrieval with No Human Annotation", 2019), between the average, which dilutes small marks,
and the maximum. A view is the mean over a picture and its mirror image, scaled to unit length. Features are (photos, views * dim) float32.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np

from birdlib import runtime, stages
from birdlib.models import image_networks, weights
from birdlib.multimodal import image_features
from birdlib.store import EmbeddingStore
from birdlib.video import detectors, squares

VIEWS = ("whole photo", "bird")
AUTO = ("mobilenetv2", "vgg16")  # the best, and the one that stage 04 loads anyway
LAYERS = {"vgg16": "block5_conv3"}  # whose map is pooled, where it is not the last
DETECTOR = "efficientdet_lite2"
MIN_SCORE = 0.3  # of a box that is taken for the bird
_POWER, _EPS = 3.0, 1e-6
_RECIPE = 1  # version of the preprocessing


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network and a detector, which is None where its weights are missing; ``key`` digests all that changes features."""

    network: Any  # keras.Model, (batch, size, size, 3) RGB in [0, 255] → (batch, dim)
    detector: Any
    key: str
    weights: dict  # for the receipt
    size: int

    @property
    def dim(self):
        """Numbers of a photo."""
        return len(VIEWS) * self.network.output_shape[-1]


def choose(image_backbone, weights_dir=""):
    """The name of the network to load; nothing is built.

    Args:
        image_backbone: of ``image_networks.NETWORKS``, or ``auto``: the first of ``AUTO`` whose weights can be had.

    Raises:
        ImageNetworkError: if there is no such network.
        MissingWeightsError: if its weights, or those of the last of ``AUTO``, are nowhere.
    """
    names = AUTO if image_backbone == "auto" else (image_backbone,)
    for name in names:
        image_networks.require(name)
        try:
            weights.fetch(name, weights_dir)
            return name
        except weights.MissingWeightsError:
            if name == names[-1]:
                raise


def load(image_backbone, weights_dir="", is_trained=True, detector=DETECTOR, size=image_networks.SIZE):
    """The extractor of a network.

    Args:
        image_backbone: of ``image_networks.NETWORKS``.
        weights_dir: as in ``weights.find``.
        is_trained: False keeps random weights, for tests.
        detector: a network of ``detectors.load``, of which nothing is used where its weights are missing; ``""``: none.
        size: pixels of a side of the network's input.

    Raises:
        ImageNetworkError: for an unknown network.
        MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # whatever the training takes: the classifier is used where none is set
    try:
        network, receipt = image_networks.load(image_backbone, weights_dir, is_trained, size, (LAYERS.get(image_backbone, ""),))
        images = keras.Input((size, size, 3), name="image")
        pooled = keras.Model(images, _generalised_mean(network(images)), name=image_backbone)
    finally:
        keras.config.set_dtype_policy(policy)
    found = _load_detector(detector, weights_dir) if detector else None
    parts = {"name": image_backbone, "of": receipt.get("sha256", receipt), "size": size, "detector": found.key if found else "", "recipe": _RECIPE}
    return Extractor(pooled, found, runtime.digest(parts), {image_backbone: receipt, **(found.weights if found else {})}, size)


def _load_detector(name, weights_dir):
    try:
        return detectors.load(name, weights_dir, min_score=MIN_SCORE)
    except weights.MissingWeightsError as error:
        warnings.warn(f"birds are not cut out of photos, and small ones are recognised less well: {error}", detectors.DetectorWarning, stacklevel=3)
        return None


def _generalised_mean(maps):
    """(batch, height, width, channels) → (batch, channels)."""
    from keras import ops

    powers = ops.power(ops.maximum(ops.cast(maps, "float32"), _EPS), _POWER)
    return ops.power(ops.mean(powers, axis=(1, 2)), 1.0 / _POWER)


def extract(photos, extractor):
    """Features of photos, (photos, ``dim``) float32.

    Args:
        photos: list of (height, width, 3) uint8 RGB, of any sizes.
    """
    return _compute([_views(photo, extractor) for photo in photos], extractor).reshape(len(photos), -1)


def embed(table, root, extractor, folder, stage):
    """Features of every photo of a table, computed once for each content and kept in a store.

    Args:
        table: rows with ``image_path``, relative to ``root``.
        folder: of the store.
        stage: its name, for the table of skipped files.

    Returns:
        (photos, features, skipped): the rows whose picture could be read, numbered from 0; their features (rows, ``dim``); the skipped files.
    """
    with EmbeddingStore(folder, extractor.key) as store:
        photos, skipped = image_features.fill_store(
            table, root, store, lambda photo: _views(photo, extractor), lambda views: _compute(views, extractor)
        )
    features = [store.get(digest)[0].reshape(-1) for digest in photos["digest"]]
    return photos, np.reshape(features, (len(photos), extractor.dim)).astype(np.float32), stages.skipped_table(skipped, stage)


def _views(photo, extractor):
    """(views, size, size, 3) uint8."""
    whole = squares.middle_square(photo, extractor.size)
    boxes = extractor.detector.detect([photo])[0] if extractor.detector else []
    bird = squares.as_square(squares.around(photo, boxes[0]), extractor.size) if len(boxes) else whole
    return np.stack([whole, bird])


def _compute(views, extractor):
    """(photos, views, network's dim), each view of unit length; of a list of ``_views``."""
    pictures = np.concatenate([np.reshape(views, (-1, extractor.size, extractor.size, 3)), np.zeros((0, extractor.size, extractor.size, 3))])
    mirrored = pictures[:, :, ::-1]
    found = [_unit(extractor.network.predict(part.astype(np.float32), batch_size=image_features.BATCH, verbose=0)) for part in (pictures, mirrored)]
    return _unit(np.mean(found, axis=0)).reshape(len(views), len(VIEWS), -1)


def _unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _EPS)
