"""Packages that Kaggle's image lacks go there as wheels."""

import ast
import json
import shutil
import sys

import made_wheels
import pytest
from made_packages import files

from birdlib import runtime
from birdlib.pipeline import kaggle

# Modules of Kaggle's image that notebook 08 may want; pip calls scikit-learn what Python calls sklearn
IMAGE = set("numpy pandas pyarrow scipy sklearn joblib matplotlib tqdm soundfile soxr librosa tensorflow keras kagglehub packaging".split()) | {"h5py", "threadpoolctl"}  # which Keras and scikit-learn need


def test_offline_errors_name_the_wheels_and_how_to_omit_them(outputs):
    with pytest.raises(kaggle.PackageError, match="(?s)ai-edge-litert.*No matching distribution.*--no-wheels"):
        kaggle.write(outputs, outputs / "kaggle")
    assert not (outputs / "kaggle").exists()


def test_wheels_are_downloaded_once(outputs, machine, monkeypatch):
    monkeypatch.setattr(kaggle, "ABSENT", ("ai-edge-litert",))
    made_wheels.put_wheel(machine / "index", "ai-edge-litert")
    kaggle.write(outputs, outputs / "kaggle")
    folder = outputs / "kaggle" / "birdlib-wheels"
    assert "ai_edge_litert-2.9.0-py3-none-any.whl" in files(folder)
    assert "\nai-edge-litert>=" in (folder / "birdlib-wheels.txt").read_text()
    shutil.rmtree(machine / "index")
    assert set(kaggle.write(outputs, outputs / "kaggle")["state"]) == {"already right"}


def imported(text):
    """(modules of birdlib, other modules) that a Python text imports anywhere."""
    names = [
        (node.module, [alias.name for alias in node.names]) if isinstance(node, ast.ImportFrom) else ("", [alias.name for alias in node.names])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    mine = {f"{module}.{name}" for module, aliases in names if (module or "").split(".")[0] == "birdlib" for name in aliases}
    theirs = {name.split(".")[0] for module, aliases in names for name in ([module] if module else aliases)}
    return mine, theirs - {"birdlib"} - sys.stdlib_module_names


OPTIONAL = {"av", "psutil"}  # soundfile reads all formats of the competition without av; psutil measures the memory on Windows alone
ON_REQUEST = {"jax", "distributed", "ray", "pyspark", "joblibspark"}  # another backend of Keras, and engines


def test_notebook_08_needs_nothing_but_the_image_and_the_wheels():
    """Followed through every module of birdlib that it leads to, also into functions."""
    notebook = json.loads((runtime.repository() / "notebooks" / "08_submit.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    todo, needed, seen = [imported(text) for text in code], set(), set()
    while todo:
        mine, theirs = todo.pop()
        needed |= theirs
        paths = [runtime.repository() / (name.replace(".", "/") + ".py") for name in mine - seen]
        todo += [imported(path.read_text()) for path in paths if path.is_file()]  # the others are functions and classes
        seen |= mine
    assert {"birdlib.models.embedders", "birdlib.audio.io"} <= seen
    assert {name.replace("_", "-") for name in needed - IMAGE - OPTIONAL - ON_REQUEST} <= set(kaggle.ABSENT)
