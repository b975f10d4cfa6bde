"""A training gives the same figures in bfloat16 as in float32, on two devices as on one, and with its data on the device; each within a stated tolerance."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_mae

from birdlib import devices, runtime
from birdlib.species import mae_pretraining, mel_models

BFLOAT16 = {"rtol": 0.03, "atol": 0.01}  # difference of a loss: bfloat16 has 8 bits, a step of 0.4 %
TWO_DEVICES = 1e-4


def pretrain(epochs=3, n_clips=32):
    from birdlib.models import mae

    rng = np.random.default_rng(0)
    clips = tiny_mae.spectrograms(n_clips, rng).astype(np.float16)
    model = mae.build_pretrainer(tiny_mae.encoder(), tiny_mae.SIZE)
    history = mae_pretraining.fit(model, clips, validation=clips[:12], epochs=epochs, batch_size=8, learning_rate=5e-3, rng=rng)
    return history[["loss", "validation_loss"]].to_numpy()


def train_mel_model(epochs=3):
    """Losses of a small CNN on noises of four bands."""
    import keras

    keras.utils.set_random_seed(0)
    model, _ = mel_models.build(4, window_s=0.5, dropout=0.0)
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 4
    time_s = np.arange(16_000) / 32_000
    sounds = np.sin(2 * np.pi * 1000 * 2.0 ** labels[:, None] * time_s) + 0.1 * rng.standard_normal((32, 16_000))
    model.compile(keras.optimizers.AdamW(3e-3, clipnorm=1.0), "sparse_categorical_crossentropy")
    return model.fit(sounds.astype(np.float32), labels, epochs=epochs, batch_size=8, shuffle=False, verbose=0).history["loss"]


@pytest.fixture
def float32_afterwards():
    yield
    devices.prepare(precision="float32")


@pytest.mark.slow
@pytest.mark.parametrize("train", [pretrain, train_mel_model])
def test_bfloat16_gives_the_losses_of_float32(train, float32_afterwards):
    devices.prepare(precision="float32")
    expected = train()
    devices.prepare(precision="mixed_bfloat16")
    found = train()
    assert not np.array_equal(found, expected)
    assert np.allclose(found, expected, **BFLOAT16)


@pytest.mark.slow
def test_spectrograms_that_stay_on_the_device_give_the_same_figures(monkeypatch):
    expected = pretrain(epochs=2)
    monkeypatch.setattr(devices, "fits", lambda n_bytes: True)
    assert np.allclose(pretrain(epochs=2), expected, rtol=1e-5)


TRAIN = """
import sys
sys.path[:0] = ["tests", "tests/helpers", "tests/multimodal"]
import numpy as np
from birdlib import devices
distribution = devices.prepare(sys.argv[1])
import made_pairs, test_parity
import test_triplet_training as triplets
with distribution.scope():
    pretrained = test_parity.pretrain()
    history = triplets.fit(made_pairs.encoder(), made_pairs.library(), objective="batch_semi_hard", epochs=3, n_species=5, n_samples=3)
np.savez(sys.argv[2], pretrained=pretrained, triplets=history[["loss", "spread", "validation_map_at_r"]].to_numpy(), n=len(devices.names()))
"""


@pytest.mark.slow
def test_two_devices_give_the_figures_of_one(tmp_path):
    """Bird-MAE, and triplets mined in batches of 15 pairs, which two devices do not divide; two virtual devices of a CPU, on JAX."""
    found = {}
    for strategy in ("default", "mirrored"):
        environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "BIRDLIB_CACHE": str(tmp_path)}
        command = [sys.executable, "-c", TRAIN, strategy, str(tmp_path / f"{strategy}.npz")]
        done = subprocess.run(command, cwd=runtime.repository(), env=os.environ | environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(tmp_path / f"{strategy}.npz") as file:
            found[strategy] = dict(file)
    assert found["mirrored"]["n"] == 2
    for name in ("pretrained", "triplets"):
        assert np.allclose(found["default"][name], found["mirrored"][name], rtol=TWO_DEVICES), name
