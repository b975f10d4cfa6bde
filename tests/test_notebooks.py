"""The notebooks as files: the same structure and set-up cell in all, no outputs stored."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest

from birdlib import runtime, stages
from birdlib.pipeline import runner

NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in runner.notebooks()}


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def cell(notebook, cell_id):
    return next(cell for cell in notebook["cells"] if cell["id"] == cell_id)


def test_every_stage_has_its_notebook():
    assert set(stages.READS) == set(NOTEBOOKS) - {"00_index"}
    assert list(stages.READS) == sorted(stages.READS)


def test_the_set_up_cell_is_the_same_everywhere():
    assert len({source(cell(notebook, "set-up")) for notebook in NOTEBOOKS.values()}) == 1


def run_set_up(folder, **environment):
    """The set-up cell in a folder and an environment of its own; gives the finished process."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "git").write_text("#!/bin/sh\necho fatal: unable to access >&2; exit 128\n")
    (folder / "bin" / "git").chmod(0o755)
    code = source(cell(NOTEBOOKS["00_index"], "set-up")) + "\nprint(root, Path.cwd())"
    kept = {name: os.environ[name] for name in os.environ if name not in ("PYTHONPATH", "BIRDLIB_ROOT")}
    environment = kept | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_set_up_finds_the_repository_above_or_by_its_name(tmp_path):
    root = runtime.repository()
    above = subprocess.run(
        [sys.executable, "-c", source(cell(NOTEBOOKS["00_index"], "set-up")) + "\nprint(root, Path.cwd())"],
        cwd=root / "notebooks",
        capture_output=True,
        text=True,
    )
    assert above.stdout.split() == run_set_up(tmp_path, BIRDLIB_ROOT=str(root)).stdout.split() == [str(root)] * 2


@pytest.mark.parametrize("environment", [{}, {"COLAB_RELEASE_TAG": "release"}])
def test_where_birdlib_is_not_the_set_up_names_the_remedies(tmp_path, environment):
    """Colab without a network: git fails."""
    done = run_set_up(tmp_path, **environment)
    assert done.returncode == 1 and "birdlib is not here" in done.stderr and "BIRDLIB_ROOT" in done.stderr
    assert ("fatal" in done.stderr) == bool(environment)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_clean(name):
    notebook = NOTEBOOKS[name]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code_cells(notebook))
    ids = [c["id"] for c in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert max(len(source(c).splitlines()) for c in code_cells(notebook) if c["id"] != "parameters") <= 20


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_its_question_then_set_up_then_parameters(name):
    notebook = NOTEBOOKS[name]
    heading, set_up, parameters = notebook["cells"][:3]
    assert all(word in source(heading) for word in ("?", "**Reads**", "**Writes**", "**Needs**", "Colab", "Kaggle"))
    assert set_up["id"] == "set-up" and parameters["metadata"]["tags"] == ["parameters"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_parameters_are_plain_values_with_a_comment_on_each(name):
    lines = [line for line in source(cell(NOTEBOOKS[name], "parameters")).splitlines() if not line.startswith("# ")]  # headings of groups
    for node, line in zip(ast.parse("\n".join(lines)).body, lines, strict=True):
        assert type(ast.literal_eval(node.value)) in (str, int, float, bool), line
        assert re.search(r"  # \S", line), f"{line}: has no comment"


@pytest.mark.parametrize("name", stages.READS)
def test_a_stage_starts_with_its_parameters_and_names_what_it_needs(name):
    """Everything in the parameters cell goes into the receipt, except folders, the number of processes and the device strategy."""
    notebook = NOTEBOOKS[name]
    declared = {node.targets[0].id for node in ast.parse(source(cell(notebook, "parameters"))).body}
    calls = [n for n in ast.walk(ast.parse(source(cell(notebook, "open")))) if isinstance(n, ast.Call)]
    start = next(n for n in calls if getattr(n.func, "attr", "") == "start")
    assert start.args[0].value == name
    recorded = {keyword.arg for keyword in start.keywords}
    assert declared - recorded <= {"outputs_dir", "n_jobs", "strategy", "weights_dir"}
    assert recorded <= declared
    heading = source(notebook["cells"][0])
    assert all(needed[:2] in heading.split("**Needs**")[1] for needed in stages.READS[name])


@pytest.mark.parametrize("name", stages.READS)
def test_a_stage_ends_with_assertions_and_its_receipt(name):
    text = "\n".join(source(c) for c in code_cells(NOTEBOOKS[name])[-2:])
    assert "assert " in text and "stages.finish(" in text
