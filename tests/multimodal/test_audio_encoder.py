"""The encoder of sounds: padding, the order and the weights of patches."""

import numpy as np
import pytest
from arrays import rng
from made_encoders import PATCH_DIM, UNITS, audio_encoder, sounds
from models import run

from birdlib.multimodal import encoders


def pad(arrays, n_patches):
    """Patches of weight 0, with something in them, to ``n_patches`` in all."""
    n = n_patches - arrays["weights"].shape[1]
    garbage = 50 * rng(9).normal(size=(len(arrays["weights"]), n, PATCH_DIM)).astype(np.float32)
    return arrays | {
        "embeddings": np.concatenate([arrays["embeddings"], garbage], axis=1),
        "weights": np.pad(arrays["weights"], [(0, 0), (0, n)]),
    }


@pytest.mark.parametrize("n_patches", [1, 5, 40])
def test_padding_does_not_change_an_embedding(n_patches):
    encoder, arrays = audio_encoder(), sounds(n_patches=n_patches)
    assert np.allclose(run(encoder, arrays), run(encoder, pad(arrays, 44)), atol=1e-5)


def test_order_of_patches_matters_to_the_lstm_and_not_to_the_pooling():
    """Without the dense weights of the LSTM's output, the order has no effect."""
    encoder, arrays = audio_encoder(), sounds()
    reversed_ = {name: array[:, ::-1] for name, array in arrays.items()}
    assert np.abs(run(encoder, arrays) - run(encoder, reversed_)).max() > 1e-3
    dense = encoder.get_layer("audio_dense")
    kernel, bias = dense.get_weights()
    kernel[: 2 * UNITS] = 0.0
    dense.set_weights([kernel, bias])
    assert np.allclose(run(encoder, arrays), run(encoder, reversed_), atol=1e-5)


def test_patch_weights_change_the_embedding():
    """A patch of a hundredth of the weight counts for less."""
    encoder, arrays = audio_encoder(), sounds()
    fainter = arrays | {"weights": arrays["weights"] * np.float32([0.01, 1, 1, 1, 1])}
    assert np.abs(run(encoder, arrays) - run(encoder, fainter)).max() > 1e-3


def test_encoder_of_sounds_only():
    audio = audio_encoder()
    encoder = encoders.fused_encoder(audio=audio)
    assert set(encoder.input) == {"embeddings", "weights"}
    assert np.allclose(np.linalg.norm(run(encoder, sounds()), axis=1), 1.0, atol=1e-5)
