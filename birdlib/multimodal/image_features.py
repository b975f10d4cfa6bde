"""Photos: their features by the frozen part of VGG16, computed once for each picture and stored by its content.

A photo has two views, as it is and mirrored. Its middle, a square, is cut out and scaled to 224 pixels.
"""

import dataclasses
from typing import Any

import numpy as np

from birdlib import runtime, stages
from birdlib.models import vgg16, weights
from birdlib.store import EmbeddingStore
from birdlib.video import images, kinds

_N_VIEWS = 2
BATCH = 16  # photos at once


def as_input(image):
    """The middle square of a picture (height, width, 3) uint8 RGB of any size, as VGG16's (224, 224, 3) uint8 RGB."""
    import cv2

    size, (height, width) = vgg16.IMAGE_SIZE, image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = image[top : top + side, left : left + side]  # cut first: a thin strip, scaled, would fill the memory
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """VGG16, split where training begins."""

    vgg: Any  # the whole network, with the layers that ``encoders.image_encoder`` trains
    frozen: Any  # from ``encoders.frozen_vgg16``
    key: str  # digest of all that changes the features of a photo
    weights: dict  # for the receipt


def load_backbone(train_from="block5_conv1", weights_dir=""):
    """VGG16 with its weights, found or fetched by ``weights.fetch``, whose errors it raises.

    Raises:
        EncoderError: if VGG16 has no layer ``train_from``: see ``encoders.frozen_vgg16``.
    """
    from birdlib.multimodal import encoders

    source = weights.fetch("vgg16", weights_dir)
    vgg = vgg16.load(source)
    frozen = encoders.frozen_vgg16(vgg, train_from)
    computed_in = {} if frozen.compute_dtype == "float32" else {"dtype": frozen.compute_dtype}
    key = runtime.digest({"sha256": source.sha256, "train_from": train_from, "size": vgg16.IMAGE_SIZE, "recipe": 1, **computed_in})
    return Backbone(vgg, frozen, key, {"vgg16": source.receipt()})


class Features:
    """Features of photos for ``pairs.Library``: called with a row and a view, it returns an array of ``shape``."""

    def __init__(self, store, digests, shape):
        self.store, self.digests, self.shape = store, digests, shape

    def __call__(self, row, view):
        rows, _ = self.store.get(self.digests[row])
        return rows.reshape(_N_VIEWS, *self.shape)[view]


def embed(table, root, backbone, folder, stage):
    """Compute the features of every photo that the store does not hold yet.

    Args:
        table: rows with ``image_path``; may be empty.
        root, folder: of the paths, and of the store.
        backbone: from ``load_backbone``; None where the table is empty.
        stage: its name, for the table of skipped files.

    Returns:
        (photos, features, skipped): the rows whose picture could be read, numbered from 0, with its ``digest``; their ``Features``; the
        skipped files.
    """
    if not len(table):
        return table.assign(digest=""), None, stages.skipped_table([], stage)
    digests, bad, waiting = {}, [], {}
    with EmbeddingStore(folder, backbone.key) as store:
        for path in runtime.progress(sorted(set(table["image_path"])), desc="photos"):
            try:
                digest = kinds.digest_file(root / path)
                if digest not in store and digest not in waiting:
                    waiting[digest] = as_input(images.read_image(root / path))
                digests[path] = digest
            except runtime.FileError as error:
                bad.append((path, error.reason))
            if len(waiting) == BATCH:
                _compute(waiting, backbone.frozen, store)
        _compute(waiting, backbone.frozen, store)
    photos = table.assign(digest=table["image_path"].map(digests)).dropna(subset=["digest"]).reset_index(drop=True)
    features = Features(store, photos["digest"].tolist(), backbone.frozen.output_shape[1:])
    return photos, features, stages.skipped_table(bad, stage)


def _compute(waiting, frozen, store):
    if not waiting:
        return
    views = np.stack([view for image in waiting.values() for view in (image, image[:, ::-1])]).astype(np.float32)
    computed = frozen.predict(views, batch_size=BATCH, verbose=0)
    for i, digest in enumerate(waiting):
        rows = computed[i * _N_VIEWS : (i + 1) * _N_VIEWS].reshape(-1, computed.shape[-1])
        store.put(digest, rows, np.ones(len(rows), np.float32))
    waiting.clear()
