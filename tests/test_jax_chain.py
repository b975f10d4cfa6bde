"""The chain on JAX where TensorFlow cannot be imported. Slow: minutes."""

import os
import subprocess
import sys

import pytest

from birdlib import runtime, stages

pytestmark = pytest.mark.slow

CHAIN = """
import importlib.abc, sys
from pathlib import Path

class NoTensorFlow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTensorFlow())
from birdlib import devices
devices.has_tensorflow = lambda: False  # find_spec would raise
from in_process import run_notebook
from odd_sets import FAST
from birdlib.pipeline import execute, runner
execute.execute = run_notebook
for number in sys.argv[3:]:
    done = runner.run(sys.argv[1], only=number, given={**FAST, "encoders": "mel_cnn", "manifest": sys.argv[2]})
    print(number, done, flush=True)
assert not any(name.partition(".")[0] == "tensorflow" for name in sys.modules)
"""
STAGES = {"01": "01_split", "02": "02_clean", "03": "03_embed", "04": "04_triplet", "07": "07_classify", "09": "09_count"}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The stages of a small set of sounds, photos and films, in a process that has no TensorFlow."""
    import odd_sets

    folder = tmp_path_factory.mktemp("jax")
    manifest = odd_sets.make_whole(folder / "data")
    environment = {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([".", "tests/helpers"])}
    command = [sys.executable, "-c", CHAIN, str(folder / "outputs"), str(manifest), *STAGES]
    done = subprocess.run(command, cwd=runtime.repository(), env=os.environ | environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder / "outputs"


def test_stages_run_on_jax_without_tensorflow(outputs):
    receipts = {name: stages.receipt(outputs, name) for name in STAGES.values()}
    assert [receipts[name]["backend"] for name in ("03_embed", "04_triplet", "07_classify", "09_count")] == ["jax"] * 4
    assert receipts["07_classify"]["devices"] == ["JAX, CPU"]


def test_yamnet_is_computed_by_jax(outputs):
    assert stages.receipt(outputs, "03_embed")["weights"]["yamnet"]["backend"] == "jax"
