"""Speed against the plain way, in one run: what ``python -m birdlib bench`` measures over several modules."""

import time

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data.synthetic import sample
from birdlib.losses import mining
from birdlib.multimodal import image_features, pairs
from birdlib.video import images as video_images

_N_SAMPLES, DIM = 10_000, 128  # of the mining
_LOOPED = 20  # anchors that the Python loop looks at; its time is scaled to all
_RECORDINGS, _PATCHES = 100, 25  # made-up sounds beside the sample's photos


def triplet():
    """An epoch with cached features against one that runs VGG16 in each step, and exact mining against a loop.

    Returns:
        DataFrame: ``what, seconds, times_faster``, each way below the plain way it is compared with.
    """
    return pd.concat([_epochs(""), _epochs("block5_conv1"), _mining()], ignore_index=True)


def _epochs(train_from):
    """The photos of the sample with made-up patches: the time does not depend on what the sounds are."""
    from birdlib.multimodal import encoders, triplet_batches, triplet_training

    rng = runtime.set_seed(0)
    backbone = image_features.load_backbone(train_from)
    paths = sorted((sample.ensure() / "images").glob("*/*.jpg"))
    images = np.stack([image_features.as_input(video_images.read_image(path)) for path in paths]).astype(np.float32)
    features = backbone.frozen.predict(images, batch_size=image_features.BATCH, verbose=0)
    labels = [path.parent.name for path in paths]
    names = {"individual_id": "", "group_id": "", "split": "train", "is_repeated": False}
    first = np.arange(_RECORDINGS) * _PATCHES
    media = pd.DataFrame({"recording_id": [str(path) for path in paths], "species": labels, **names})
    sounds = pd.DataFrame(
        {
            "recording_id": [f"r{i}" for i in range(_RECORDINGS)],
            "species": np.resize(sorted(set(labels)), _RECORDINGS),
            **names,
            "first": first,
            "last": first + _PATCHES,
        }
    )
    dim = 2 * 1024  # YAMNet's, with the octave-down view
    embeddings = rng.random((_RECORDINGS * _PATCHES, dim), np.float32)
    image = encoders.image_encoder(backbone.vgg, train_from)
    encoder = encoders.fused_encoder(image, encoders.audio_encoder(dim))
    rows = []
    for what, model, seen in (
        ("VGG16 in each step", _through_vgg16(backbone.frozen, encoder), images),
        ("cached features", encoder, features),
    ):
        library = pairs.Library(media, sounds, _Shown(seen), embeddings, np.ones(len(embeddings), np.float32), _PATCHES)
        options = triplet_training.Options()
        trained = triplet_training.compiled(model, len(set(labels)), options)
        data = triplet_batches.batches(model, library, (media, sounds), sorted(set(labels)), "", options, seed=[0])
        trained.fit(data, steps_per_epoch=1, verbose=0)  # traced before the clock starts
        seconds = _seconds(lambda trained=trained, data=data: trained.fit(data, epochs=1, verbose=0))
        rows.append((f"epoch, {what}, {f'training from {train_from}' if train_from else 'VGG16 all frozen'}", seconds))
    return _against_the_first(rows)


class _Shown:
    """Arrays in memory in place of ``photos.Features``."""

    def __init__(self, arrays):
        self.arrays, self.shape = arrays, arrays.shape[1:]

    def __call__(self, row, view):
        return self.arrays[row]


def _through_vgg16(frozen, encoder):
    """The encoder with pictures where the cached features would be."""
    import keras

    pixels = keras.Input(frozen.input_shape[1:], name="image_features")
    others = {
        name: keras.Input(x.shape[1:], name=name) for name, x in encoder.input.items() if name != "image_features"
    }
    return keras.Model({"image_features": pixels, **others}, encoder({"image_features": frozen(pixels), **others}))


def _mining():
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((_N_SAMPLES, DIM)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = rng.integers(200, size=_N_SAMPLES)

    def loop():
        for i in range(_LOOPED):
            best, found = -2.0, -1
            for j in range(_N_SAMPLES):
                if labels[j] != labels[i]:
                    cosine = embeddings[i] @ embeddings[j]
                    if cosine > best:
                        best, found = cosine, j
        return found

    def product():
        for start in range(0, _N_SAMPLES, 1024):
            embeddings[start : start + 1024] @ embeddings.T

    mining.hardest_negatives(embeddings, labels)
    size = f"hardest negatives among {_N_SAMPLES:,} × {DIM}"
    return _against_the_first(
        [
            (f"{size}, Python loop ({_LOOPED} anchors, scaled)", _seconds(loop) * _N_SAMPLES / _LOOPED),
            (
                f"{size}, exact, blocked",
                min(_seconds(lambda: mining.hardest_negatives(embeddings, labels)) for _ in range(5)),
            ),
            (f"{size}, the matrix product alone", min(_seconds(product) for _ in range(5))),
        ]
    )


def _seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _against_the_first(rows):
    table = pd.DataFrame(rows, columns=["what", "seconds"])
    return table.assign(times_faster=table["seconds"].iloc[0] / table["seconds"])
