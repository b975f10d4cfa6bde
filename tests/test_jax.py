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
    "tests/models/test_fbanks.py",
    "tests/models/test_mae.py",
    "tests/models/test_mae_checkpoints.py",
    "tests/models/test_mae_heads.py",
    "tests/species/test_mel_models.py",
    "tests/species/test_mel_training.py",
    "tests/species/test_mel_resuming.py",
    "tests/species/test_weight_averaging.py",
    "tests/species/test_distillation.py",
]
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
    command = [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(
        command, cwd=root, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "computed on jax" in done.stdout
