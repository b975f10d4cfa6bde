"""Digests of code: what is executed counts, in all modules that a notebook imports."""

import json

import pytest

from birdlib import runtime, source_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with modules a, which imports b inside a function, b, and c, which nobody imports."""
    home = tmp_path / "birdlib"
    (home / "sound").mkdir(parents=True)
    monkeypatch.setattr(source_digest, "__file__", str(home / "source_digest.py"))
    (home / "sound" / "__init__.py").write_text('"""Sounds."""\n')
    (home / "sound" / "a.py").write_text("def f():\n    from birdlib.sound.b import g\n    return g()\n")
    (home / "sound" / "b.py").write_text("import numpy as np\n\n\ndef g():\n    return np.pi\n")
    (home / "c.py").write_text("x = 1\n")
    return home


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "01_split.ipynb"
    cells = [{"cell_type": "markdown", "source": ["from birdlib import c"]}, {"cell_type": "code", "source": ["%matplotlib inline\n", "from birdlib.sound import a"]}]
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_modules_are_followed_through_imports_inside_functions(package, notebook):
    assert list(source_digest.of_notebook(notebook)) == ["birdlib.sound", "birdlib.sound.a", "birdlib.sound.b"]


def test_only_what_is_executed_counts(package, notebook):
    before = source_digest.of_notebook(notebook)
    (package / "sound" / "b.py").write_text('"""Pi."""\n\nimport numpy as np  # of NumPy\n\ndef g():\n    """Pi."""\n    return (np.pi)\n')
    assert source_digest.of_notebook(notebook) == before
    (package / "sound" / "b.py").write_text("import numpy as np\n\n\ndef g():\n    return np.e\n")
    assert source_digest.changed(before, source_digest.of_notebook(notebook)) == "birdlib.sound.b"
    assert source_digest.changed(before, before) == ""


def test_stage_01_does_not_import_the_classifiers():
    """Else a change in any of them would run the whole chain again."""
    modules = source_digest.of_notebook(runtime.repository() / "notebooks" / "01_split.ipynb")
    assert "birdlib.data.splits" in modules and "birdlib.species.train_heads" not in modules


def test_a_missing_notebook_has_no_modules(tmp_path):
    """On Kaggle, stage 08 runs without the others."""
    assert source_digest.of_notebook(tmp_path / "08_submit.ipynb") == {}
