"""The rehearsal: that it is as lonely as Kaggle, that it ends when the time is up, and that it says what it saw."""

import json
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from birdlib import __main__, runtime, stages
from birdlib.data.synthetic import sample
from birdlib.models import embedders, pooling
from birdlib.pipeline import network_guard, process_watch, rehearsal
from birdlib.species import classifiers

SEES = """
import json, os, socket, birdlib
seen = {name: os.environ.get(name) for name in ("HOME", "BIRDLIB_WEIGHTS", "BIRDLIB_CACHE")}
try:
    socket.create_connection(("203.0.113.7", 80), timeout=5)
except OSError as error:
    seen["error"] = error.strerror
json.dump({**seen, "code": birdlib.__file__, "given": [data_dir, classifier_dir, weights_dir, budget_min]}, open(outputs_dir, "w"))
"""


def put_notebook(packages, code):
    """A packaged notebook 08 that is but one cell, and a packaged birdlib that is nothing."""
    (packages / "birdlib-code" / "birdlib").mkdir(parents=True)
    (packages / "birdlib-code" / "birdlib" / "__init__.py").touch()
    (packages / "birdlib-code" / "notebooks").mkdir()
    parameters = 'outputs_dir = data_dir = classifier_dir = weights_dir = ""\nbudget_min = 1.0'
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), packages / "birdlib-code" / "notebooks" / "08_submit.ipynb")


def test_the_notebook_runs_from_the_packages_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_WEIGHTS", str(tmp_path / "my weights"))
    put_notebook(tmp_path / "packages", SEES)
    work, models = tmp_path / "work", tmp_path / "packages" / "birdlib-models"
    work.mkdir()
    wall_s, cpu_s, peak = rehearsal._execute(tmp_path, tmp_path / "packages", 5, tmp_path / "progress.json")
    seen = json.loads((work / "outputs").read_text())
    assert seen == {
        "HOME": str(work / "home"),
        "BIRDLIB_WEIGHTS": None,
        "BIRDLIB_CACHE": str(work / "cache"),
        "error": "the network is off in this rehearsal: 203.0.113.7 is out of reach",
        "code": str(tmp_path / "packages" / "birdlib-code" / "birdlib" / "__init__.py"),
        "given": [str(work / "data"), str(models / "07_classify"), str(models / "weights"), 5.0],
    }
    assert [each["host"] for each in network_guard.attempts(work / "refused.jsonl")] == ["203.0.113.7"]
    assert 0 < cpu_s and 0 < wall_s and 20e6 < peak


def test_all_processes_end_at_the_time_limit():
    """One that starts another and waits for it."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    process = subprocess.Popen([sys.executable, "-c", code])
    family = []
    while len(family) < 2:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    process_watch.watch(process, limit_s=0.1)
    assert process.returncode and not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)


REPORT = {
    "files": 12, "kinds": {"corrupt": 1, "whole": 11}, "distinct": 4, "rows": 144, "columns": 206, "wall_s": 60.0, "start_up_s": 24.0, "competition_files": 700,
    "projected_min": 35.4, "budget_min": 90.0, "cpu_s": 66.0, "n_cores": 2, "peak_memory_gb": 1.5, "refused": [],
    "members": ["yamnet", "mel_cnn"], "plan": [], "skipped": 1,
}  # fmt: skip


def test_the_report_states_the_time_and_refused_connections():
    told = rehearsal.lines(REPORT)
    assert "12 (1 corrupt, 11 whole), of 4 different soundscapes" in told and "off; attempts refused: 0" in told
    assert "35.4 min of 90" in told and "TOO LONG" not in told and "steps dropped   none" in told
    told = rehearsal.lines(REPORT | {"projected_min": 90.1, "refused": [{"host": "birds.example.org"}], "plan": ["without mel_cnn: after 9 files"]})
    assert "90.1 min of 90: TOO LONG" in told and "refused: 1, of birds.example.org" in told and "without mel_cnn: after 9 files" in told


@pytest.mark.slow
def test_a_rehearsal_from_end_to_end(tmp_path, capsys):
    """A classifier that has learnt nothing, on YAMNet: three files, one of them corrupt and one of 10 s, become 12 + 12 + 2 rows.

    A member of the ensemble, and then all of it, that was trained on another embedder does not pass.
    """
    listener, classes = embedders.load("yamnet"), sorted(path.name for path in (sample.ensure() / "train_audio").iterdir())
    layer = pooling.build_pooling()
    head = classifiers.build_head(layer(np.zeros((1, 2, listener.dim), np.float32), np.ones((1, 2), np.float32)).shape[-1], len(classes))
    prior = [1 / len(classes)] * len(classes)
    preprocessing = {"kind": "embeddings", "embedder": "yamnet", "octave_down": True, "key": listener.key, "denoise": "none", "thresholds": prior, "prior": prior}
    classifiers.save(tmp_path / "07_classify", classifiers.join(layer, head, listener.dim), classes, preprocessing)
    stages.finish(stages.Stage("07_classify", tmp_path / "07_classify", {}, {}), {})
    command = ["rehearse", "--outputs", str(tmp_path), "--data", str(sample.ensure()), "--files", "3", "--empty", "0", "--long", "0"]
    assert __main__.main(command) == 0, capsys.readouterr().err
    report = runtime.read_json(tmp_path / "rehearsal" / "rehearsal.json")
    assert report["kinds"] == {"corrupt": 1, "short": 1, "whole": 1} and report["rows"] == 26 and report["columns"] == 12
    assert report["refused"] == [] and report["skipped"] == 1 and report["members"] == ["yamnet"] and report["plan"] == []
    assert not (tmp_path / "rehearsal" / "work").exists() and (tmp_path / "rehearsal" / "08_submit.ipynb").is_file()
    strange = {**preprocessing, "key": "another"}
    shutil.copytree(tmp_path / "07_classify", tmp_path / "07_classify" / "members" / "other")
    runtime.write_json(strange, tmp_path / "07_classify" / "members" / "other" / "preprocessing.json")
    ensemble = {"rule": "mean", "members": [".", "members/other"], "thresholds": prior, "calibration": {}, "prior": prior}
    runtime.write_json(ensemble, tmp_path / "07_classify" / "ensemble.json")
    assert __main__.main(command) == 1
    assert "could not be loaded: members/other" in capsys.readouterr().err
    runtime.write_json(strange, tmp_path / "07_classify" / "preprocessing.json")
    assert __main__.main(command) == 1
    assert "notebook 08 failed" in capsys.readouterr().err


def test_fewer_files_are_projected_and_as_many_as_the_competition_has_are_not():
    """Also where some of these got the prior, as the time was up: those that were predicted took a minute each."""
    timings = pd.DataFrame({"seconds": [60.0] * 8, "minutes": 1.0})
    assert rehearsal.project(10, timings, 500.0) == (20.0, 60.0, 20.0 + 700 * 60.0)
    assert rehearsal.project(700, timings, 500.0) == (20.0, 60.0, 500.0)
