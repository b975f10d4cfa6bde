"""Small encoders of sounds, photos and both, and what they take."""

import numpy as np
from arrays import rng

from birdlib.multimodal import encoders

PATCH_DIM, VIEW_DIM, UNITS, DIM = 12, 6, 4, 16
SIZE = encoders.IMAGE_SIZE


def audio_encoder(seed=1):
    import keras

    keras.utils.set_random_seed(seed)
    return encoders.audio_encoder(PATCH_DIM, DIM, VIEW_DIM, UNITS)


def image_encoder(vgg, train_from="", seed=2):
    import keras

    keras.utils.set_random_seed(seed)
    return encoders.image_encoder(vgg, train_from, DIM)


def fused_encoder(vgg, train_from=""):
    """With a gate of random weights; an untrained one weighs both alike."""
    encoder = encoders.fused_encoder(image_encoder(vgg, train_from), audio_encoder())
    gate = encoder.get_layer("fusion").gate
    kernel, bias = gate.get_weights()
    gate.set_weights([rng().normal(size=kernel.shape), rng(1).normal(size=bias.shape)])
    return encoder


def sounds(n=3, n_patches=5, seed=0):
    return {
        "embeddings": rng(seed).random((n, n_patches, PATCH_DIM), dtype=np.float32),
        "weights": 0.1 + rng(seed + 1).random((n, n_patches), dtype=np.float32),
    }


def samples(encoder, n=3, seed=0):
    """A photo and a sound each, as the encoder takes them."""
    features = rng(seed).random((n, *encoder.input["image_features"].shape[1:]), dtype=np.float32)
    return {"image_features": features, **sounds(n, seed=seed + 1), "presence": np.ones((n, 2), np.float32)}


def pictures(n=2, seed=0):
    return (255 * rng(seed).random((n, SIZE, SIZE, 3))).astype(np.float32)


def with_presence(arrays, *presence):
    return arrays | {"presence": np.array([presence] * len(arrays["presence"]), np.float32)}


def are_equal(weights, others):
    return all(np.array_equal(one, other) for one, other in zip(weights, others, strict=True))
