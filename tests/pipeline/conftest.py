"""What the tests of packages for Kaggle share."""

import pytest
from made_packages import BOUND, FREE, finish, network, put_member

from birdlib import notebook_setup, runtime
from birdlib.models import weights


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has the weights of two embedders, free and bound, and no network."""
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "MODELS", {"free": network(FREE, "free.tflite"), "bound": network(BOUND, "bound.tflite")})
    for name in weights.MODELS:
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / f"{name}.tflite").write_text(f"{name}.tflite")
    monkeypatch.setenv("BIRDLIB_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.setattr(notebook_setup, "KAGGLE_INPUT", tmp_path / "kaggle")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path / "index")), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def outputs(machine):
    """Stage 07 with a classifier on the free embedder and a member that needs none; its receipt knows this machine's paths."""
    outputs = machine / "outputs"
    home = outputs / "07_classify"
    put_member(home, kind="embeddings", embedder="free")
    put_member(home / "members" / "mel_cnn", kind="waveform", sample_rate_hz=32_000)
    put_member(home / "members" / "left_out", kind="embeddings", embedder="bound")
    runtime.write_json({"rule": "mean", "members": [".", "members/mel_cnn"]}, home / "ensemble.json")
    finish(outputs, {"free": {"source": f"folder {machine}", "licence": FREE}})
    return outputs
