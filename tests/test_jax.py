import os
import subprocess
import sys

import pytest

from birdlib import runtime

NAMES = (
    *("losses", "encoders", "cross_losses", "scene_encoders", "identity_training", "track_encoders", "backbones"),
    *("label_losses", "spec_augment", "fbanks", "mae", "mae_checkpoints", "mae_heads", "mel_models", "mel_training"),
)
FILES = [f"tests/test_{name}.py" for name in NAMES]
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
