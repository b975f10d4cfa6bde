"""The trainings that ``bench train`` times: each the suite's own model, loss and optimizer on random arrays of the sizes of a real batch.

An item is what is counted per second: a pair of photo and sound, a window of 5 s, a pair of film and sound, or a patch of 0.96 s. How long a step takes
does not depend on what the numbers are.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from birdlib import runtime

N_CLASSES = 200
PATCHES, PATCH_DIM = 25, 2048  # of a sound in stage 04: YAMNet's, with the octave-down view
BATCH = {  # case: items of a step, tiny and full
    "triplet": (48, 512),
    "triplet_block5": (12, 192),
    "mel_cnn": (16, 256),
    "mel_mobilenetv2": (8, 256),
    "mel_efficientnetb0": (8, 256),
    "mae_pretraining": (16, 256),
    "mae_finetuning": (16, 128),
    "match_cnn3d": (16, 256),
    "match_transformer": (32, 512),
    "yamnet": (64, 1024),
}
SIZES = ("tiny", "full")
_MAE_SIZE = {"tiny": "tiny", "full": "base"}
_GROUP = 4  # rows of a species in a batch of triplets


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        model: keras.Model, compiled where it is trained.
        inputs: of one step, an array or {name: array}.
        targets: of one step; None where nothing is trained.
        unit: what an item is, in the plural.
        has_loop: whether it has a loop over time, whose steps a compiler counts once.
    """

    model: Any
    inputs: Any
    targets: Any
    unit: str
    has_loop: bool = False


def batch_size(name, size):
    """Items of a step of a case.

    Raises:
        ParameterError: for an unknown case or size.
    """
    if name not in BATCH:
        raise runtime.ParameterError(f"bench train has no {name!r}: choose {', '.join(BATCH)}")
    if size not in SIZES:
        raise runtime.ParameterError(f"--size is {size!r}: choose {' or '.join(SIZES)}")
    return BATCH[name][SIZES.index(size)]


def build(name, size):
    """Build a case: one of ``BATCH``, of one of ``SIZES``.

    Returns:
        Case.
    """
    n, rng = batch_size(name, size), np.random.default_rng(0)
    return _BUILDERS[name](n, size, rng)


def _uniform(rng, *shape):
    return rng.random(shape, dtype=np.float32)


# Stage 04: photo and sound


def _triplet(n, size, rng):
    """VGG16 frozen: its pooled features, 1024 numbers of a photo, are cached."""
    return _fused(n, rng, "", _uniform(rng, n, 1024))


def _triplet_block5(n, size, rng):
    """VGG16 trained from block5_conv1: the feature maps before it are cached."""
    return _fused(n, rng, "block5_conv1", _uniform(rng, n, 14, 14, 512))


def _fused(n, rng, train_from, features):
    import keras

    from birdlib.models import vgg16
    from birdlib.multimodal import fused_encoders, triplet_training

    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE, 3))
    encoder = fused_encoders.build("gate", vgg, PATCH_DIM, train_from=train_from)
    model = triplet_training.compiled(encoder, N_CLASSES, triplet_training.Options())
    arrays = {
        "image_features": features, "embeddings": _uniform(rng, n, PATCHES, PATCH_DIM), "weights": np.ones((n, PATCHES), np.float32),
        "presence": np.ones((n, 2), np.float32),
    }  # fmt: skip
    labels = np.column_stack([np.arange(n) // _GROUP, np.arange(n), np.arange(n)])
    return Case(model, {name: arrays[name] for name in encoder.input}, labels, "pairs", has_loop=True)


# Stage 07: windows of sound


def _mel(backbone):
    def build_mel(n, size, rng):
        import keras

        from birdlib.species import mel_models

        model, _ = mel_models.build(N_CLASSES, backbone=backbone, mode="multi", is_trained=False)
        model.compile(keras.optimizers.AdamW(1e-3, weight_decay=1e-2, clipnorm=1.0), loss="binary_crossentropy")
        return Case(model, _uniform(rng, n, model.input_shape[1]) - 0.5, _truth(rng, n), "windows")

    return build_mel


def _mae_pretraining(n, size, rng):
    from birdlib.models import mae
    from birdlib.species import mae_pretraining

    encoder = mae.build_encoder(_MAE_SIZE[size])
    pretrainer = mae.build_pretrainer(encoder, _MAE_SIZE[size])
    mae_pretraining.compile_pretrainer(pretrainer, 1e-3)
    order = mae_pretraining.orders(n, pretrainer.input["order"].shape[1], rng)
    inputs = {"spectrogram": _uniform(rng, n, *encoder.input_shape[1:]), "order": order}
    return Case(pretrainer, inputs, {"loss": np.zeros(n, np.float32)}, "windows")


def _mae_finetuning(n, size, rng):
    import keras

    from birdlib.models import mae, mae_heads

    encoder = mae.build_encoder(_MAE_SIZE[size])
    model = mae_heads.classifier(encoder, mae_heads.build_head("mlp", encoder, N_CLASSES), freeze=False)
    model.compile(keras.optimizers.AdamW(3e-4, weight_decay=1e-2, clipnorm=1.0), loss="binary_crossentropy")
    return Case(model, _uniform(rng, n, model.input_shape[1]) - 0.5, _truth(rng, n), "windows")


def _truth(rng, n):
    return (rng.random((n, N_CLASSES)) < 0.02).astype(np.float32)


# Stage 05: film and sound


def _match(audio, video):
    def build_matcher(n, size, rng):
        import keras

        from birdlib.losses import matching
        from birdlib.multimodal import scene_encoders

        model = scene_encoders.matcher(scene_encoders.audio_encoder(audio), scene_encoders.video_encoder(video))
        model.compile(keras.optimizers.AdamW(1e-3, weight_decay=1e-3, clipnorm=1.0), loss=matching.get("bce"))
        inputs = {name: _uniform(rng, n, *x.shape[1:]) for name, x in model.input.items()}
        targets = np.column_stack([np.arange(n) % 2, np.zeros(n), np.zeros(n)]).astype(np.float32)
        return Case(model, inputs, targets, "pairs")

    return build_matcher


# Stage 03: embedding, which trains nothing


def _yamnet(n, size, rng):
    """The log-mel and the network, from waveforms, as JAX computes it in stage 03."""
    from birdlib.models import weights, yamnet, yamnet_embedder

    model = yamnet_embedder.of_patches(yamnet.load(weights.fetch("yamnet")))
    return Case(model, _uniform(rng, n, yamnet.PATCH_SAMPLES) - 0.5, None, "patches")


_BUILDERS: dict[str, Callable] = {
    "triplet": _triplet,
    "triplet_block5": _triplet_block5,
    "mel_cnn": _mel("cnn"),
    "mel_mobilenetv2": _mel("mobilenetv2"),
    "mel_efficientnetb0": _mel("efficientnetb0"),
    "mae_pretraining": _mae_pretraining,
    "mae_finetuning": _mae_finetuning,
    "match_cnn3d": _match("cnn", "cnn3d"),
    "match_transformer": _match("transformer", "transformer"),
    "yamnet": _yamnet,
}
