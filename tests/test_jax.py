import os
import subprocess
import sys

import pytest

from birdlib import runtime

FILES = [
    "tests/losses/test_metric_learning.py",
    "tests/losses/test_triplet_losses.py",
    "tests/losses/test_arcface.py",
    "tests/losses/test_multi_similarity.py",
    "tests/losses/test_active_share.py",
    "tests/multimodal/test_encoders.py",
    "tests/multimodal/test_audio_encoder.py",
    "tests/multimodal/test_image_encoder.py",
    "tests/multimodal/test_fused_encoders.py",
    "tests/losses/test_matching.py",
    "tests/multimodal/test_scene_encoders.py",
    "tests/individuals/test_training.py",
    "tests/individuals/test_track_encoder.py",
    "tests/individuals/test_backbones.py",
    "tests/losses/test_classification.py",
    "tests/audio/test_spec_augment.py",
    "tests/models/test_batch_calls.py",
    "tests/models/test_fbanks.py",
    "tests/models/test_mae.py",
    "tests/models/test_mae_checkpoints.py",
    "tests/models/test_mae_heads.py",
    "tests/species/test_mae_pretraining.py",
    "tests/species/test_mel_models.py",
    "tests/species/test_mel_training.py",
    "tests/species/test_mel_resuming.py",
    "tests/species/test_weight_averaging.py",
    "tests/species/test_distillation.py",
    "tests/models/test_yamnet.py",
    "tests/test_read_ahead.py",
    "tests/test_parity.py",
]
HAS_ITS_OWN_PROCESSES = "tests/test_parity.py::test_two_devices_give_the_figures_of_one"
RUN = """
import sys, pytest
returned = pytest.main(sys.argv[1:])
import keras
print("computed on", keras.backend.backend())
sys.exit(returned)
"""


@pytest.mark.slow
def test_losses_and_encoders_compute_on_jax_too():
    """The same tests in a process of its own, because Keras settles its backend once."""
    root = runtime.repository()
    command = [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", "--deselect", HAS_ITS_OWN_PROCESSES, *FILES]
    done = subprocess.run(
        command, cwd=root, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "computed on jax" in done.stdout
