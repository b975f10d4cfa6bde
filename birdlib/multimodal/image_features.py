"""Photos: their features by the frozen part of VGG16, computed once for each picture and stored by its content.

A photo has two views, as it is and mirrored. Its middle, a square, is cut out and scaled to 224 pixels.
"""

import dataclasses
from typing import Any

import numpy as np

from birdlib import runtime, stages
from birdlib.models import vgg16, weights
from birdlib.store import EmbeddingStore
from birdlib.video import images, kinds, squares

_N_VIEWS = 2
BATCH = 16  # photos at once


def as_input(image):
    """The middle square of a picture (height, width, 3) uint8 RGB of any size, as VGG16's (224, 224, 3) uint8 RGB."""
    return squares.middle_square(image, vgg16.IMAGE_SIZE)


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

    def compute(inputs):
        views = np.stack([view for image in inputs for view in (image, image[:, ::-1])]).astype(np.float32)
        computed = backbone.frozen.predict(views, batch_size=BATCH, verbose=0)
        return computed.reshape(len(inputs), -1, computed.shape[-1])  # (photos, views * positions, channels)

    with EmbeddingStore(folder, backbone.key) as store:
        photos, skipped = fill_store(table, root, store, as_input, compute)
    features = Features(store, photos["digest"].tolist(), backbone.frozen.output_shape[1:])
    return photos, features, stages.skipped_table(skipped, stage)


def fill_store(table, root, store, prepare, compute):
    """Compute the features of every picture that a store does not hold yet, ``BATCH`` pictures at once.

    Args:
        table: rows with ``image_path``, relative to ``root``.
        store: an open ``EmbeddingStore``.
        prepare: function (height, width, 3) uint8 RGB → what is kept of a picture until it is computed.
        compute: function of a list of these → their features, each (rows, dim).

    Returns:
        (photos, skipped): the rows whose picture could be read, numbered from 0, with its ``digest``; list of (path, reason).
    """
    digests, bad, waiting = {}, [], {}

    def flush():
        if waiting:
            for digest, rows in zip(waiting, compute(list(waiting.values())), strict=True):
                store.put(digest, rows, np.ones(len(rows), np.float32))
            waiting.clear()

    for path in runtime.progress(sorted(set(table["image_path"])), desc="photos"):
        try:
            digest = kinds.digest_file(root / path)
            if digest not in store and digest not in waiting:
                waiting[digest] = prepare(images.read_image(root / path))
            digests[path] = digest
        except runtime.FileError as error:
            bad.append((path, error.reason))
        if len(waiting) == BATCH:
            flush()
    flush()
    photos = table.assign(digest=table["image_path"].map(digests)).dropna(subset=["digest"]).reset_index(drop=True)
    return photos, bad
