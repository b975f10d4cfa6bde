"""Rehearsal of a submission: notebook 08 from the packaged folders on a synthetic hidden test set, offline and timed."""

import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import birdclef, submissions
from birdlib.data.synthetic import hidden_test
from birdlib.pipeline import execute, kaggle, network_guard, process_watch
from birdlib.species import soundscape_predictions

_HIDDEN_VARIABLES = ("BIRDLIB_", "KAGGLE_", "XDG_", "JUPYTER_", "IPYTHONDIR", "MPLCONFIGDIR", "PYTHON")  # variables that the notebook must not see


class RehearsalError(runtime.BirdlibError):
    """The rehearsed submission failed."""


def run(outputs_dir, n_files=soundscape_predictions.COMPETITION_FILES, budget_min=soundscape_predictions.BUDGET_MIN, data_dir="", odd=None, keep=False, seed=0):
    """Rehearse the submission.

    Code, classifier and weights are those of the packaged folders, parameters of 08 those of the outputs' recipe, if they are of one. Home and cache
    are empty, and connections are refused.

    Args:
        outputs_dir: where stage 07 has written. The folders for Kaggle in its ``kaggle/`` are brought up to date; the report, the executed
            notebook and its log go to its ``rehearsal/``.
        n_files: size of the test set.
        budget_min: time limit of the notebook.
        data_dir: source of the soundscapes; empty: that of stage 01.
        odd: see ``hidden_test.make``; None: one corrupt, one empty, one of 10 s and one of 61 s.
        keep: whether the test set and the notebook's outputs stay, in ``rehearsal/work``.

    Returns:
        the report, as a dict.

    Raises:
        RehearsalError: the notebook failed, did not end in time, or could not load a member.
        submissions.SubmissionError: its submission is not valid; and what ``kaggle.write`` and ``hidden_test.make`` raise.
    """
    outputs = Path(outputs_dir).resolve()
    data_dir = Path(data_dir) if data_dir else stages.recordings_root(outputs)
    odd = {"corrupt": 1, "empty": 1, "short": 1, "long": 1} if odd is None else odd
    kaggle.write(outputs, outputs / "kaggle", with_wheels=False)
    folder = outputs / "rehearsal"
    work = folder / "work"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with execute.progress_bars(1) as (bar, progress_file):
            bar.set_description("making the test set")
            files = hidden_test.make(work / "data", data_dir, n_files, odd, np.random.default_rng(seed))
            bar.set_description(f"08 on {n_files} files")
            measured = _execute(folder, outputs / "kaggle", budget_min, progress_file, kaggle.recipe_parameters(outputs))
            bar.update()
        report = _report(folder, outputs / "kaggle", files, measured, budget_min)
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
    runtime.write_json(report, folder / "rehearsal.json")
    return report


def project(n_files, timings, wall_s):
    """What the competition's files would take.

    Args:
        n_files: of this rehearsal.
        timings: ``seconds, minutes`` of the files that were predicted.
        wall_s: of all of it.

    Returns:
        (seconds spent outside the files, seconds a minute of sound, seconds of the whole): the last is what this rehearsal took, where it had as
        many files, of which some may have got the prior for want of time.
    """
    seconds, files = timings["seconds"].sum(), soundscape_predictions.COMPETITION_FILES
    per_minute = seconds / timings["minutes"].sum()
    whole_s = wall_s - seconds + files * soundscape_predictions.COMPETITION_S / 60 * per_minute
    return wall_s - seconds, per_minute, wall_s if n_files >= files else whole_s


def lines(report):
    """The report as text."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in report["kinds"].items())
    fits = report["projected_min"] <= report["budget_min"]
    hosts = sorted({each["host"] for each in report["refused"]})
    rows = {
        "files": f"{report['files']} ({kinds}), of {report['distinct']} different soundscapes",
        "submission": f"valid: {report['rows']} rows, {report['columns']} species",
        "wall time": f"{report['wall_s'] / 60:.1f} min, of which {report['start_up_s']:.0f} s were spent outside the files",
        f"{report['competition_files']} files": f"{report['projected_min']:.1f} min of {report['budget_min']:g}{'' if fits else ': TOO LONG'}",
        "processor time": f"{report['cpu_s'] / 60:.1f} min on {report['n_cores']} cores",
        "peak memory": f"{report['peak_memory_gb']:.2f} GB, of all its processes together",
        "network": f"off; attempts refused: {len(report['refused'])}{', of ' if hosts else ''}{', '.join(hosts)}",
    }
    rows |= {"members": ", ".join(report["members"]), "steps dropped": "; ".join(report["plan"]) or "none"}
    rows |= {"files skipped": f"{report['skipped']}, which get the prior"}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _execute(folder, packages, budget_min, progress_file, parameters=types.MappingProxyType({})):
    """Run the packaged notebook, with these parameters, in processes of its own; (wall seconds, processor seconds, peak bytes)."""
    work, code = folder / "work", packages / "birdlib-code"
    network_guard.write_guard(work / "guard", work / "refused.jsonl")
    (work / "home").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN_VARIABLES)} | {
        "HOME": str(work / "home"),
        "PYTHONPATH": os.pathsep.join([str(work / "guard"), str(code)]),
        "PYTHONDONTWRITEBYTECODE": "1",  # Kaggle mounts what is attached read-only
        "BIRDLIB_ROOT": str(code),
        "BIRDLIB_CACHE": str(work / "cache"),
        "BIRDLIB_PROGRESS": str(progress_file),
    }
    executed = folder / kaggle.NOTEBOOK
    command = [sys.executable, "-m", "papermill", str(code / "notebooks" / kaggle.NOTEBOOK), str(executed), "--no-progress-bar"]
    models = packages / "birdlib-models"
    folders = {"outputs_dir": work / "outputs", "data_dir": work / "data", "classifier_dir": models / "07_classify", "weights_dir": models / "weights"}
    for name, path in folders.items():
        command += ["--parameters_raw", name, str(path)]
    for name, value in (dict(parameters) | {"budget_min": float(budget_min)}).items():
        command += ["--parameters_raw" if isinstance(value, str) else "--parameters", name, str(value)]
    log = folder / "notebook.log"
    with open(log, "wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=work, stdout=output, stderr=subprocess.STDOUT)
        cpu_s, peak = process_watch.watch(process, limit_s=60 * budget_min)
    wall_s = time.monotonic() - began
    if process.returncode:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])
        what = f"did not end within {budget_min:g} minutes" if wall_s > 60 * budget_min else "failed"
        raise RehearsalError(f"notebook 08 {what}:\n{last}\n\nThe notebook up to there: {executed}\nIts output: {log}")
    return wall_s, cpu_s, peak


def _report(folder, packages, files, measured, budget_min):
    work = folder / "work"
    classes = runtime.read_json(packages / "birdlib-models" / "07_classify" / "classes.json")
    columns = birdclef.submission_classes(work / "data") if birdclef.is_layout(work / "data") else classes
    written = work / "outputs" / "08_submit"
    submission = pd.read_csv(written / "submission.csv")
    submissions.require_valid(submission, columns, hidden_test.expected_row_ids(files))
    wall_s, cpu_s, peak = measured
    results = stages.receipt(work / "outputs", "08_submit")["results"]
    if results["members left out"]:
        raise RehearsalError(
            f"the submission is valid, but these members of the ensemble could not be loaded: {', '.join(results['members left out'])}. "
            f"The reason is in {folder / kaggle.NOTEBOOK}; remove it, or run notebooks/07_classify.ipynb again"
        )
    timings = pd.read_csv(written / "timings.csv").dropna(subset="seconds")  # files that were predicted
    start_up_s, seconds_per_minute, projected_s = project(len(files), timings, wall_s)
    return {
        "files": len(files),
        "kinds": files["kind"].value_counts().sort_index().to_dict(),
        "distinct": int(files.loc[files["source"] != "", "source"].nunique()),
        "rows": len(submission),
        "columns": len(columns),
        "wall_s": wall_s,
        "start_up_s": start_up_s,
        "seconds_per_minute": seconds_per_minute,
        "competition_files": soundscape_predictions.COMPETITION_FILES,
        "projected_min": projected_s / 60,
        "budget_min": budget_min,
        "cpu_s": cpu_s,
        "n_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "peak_memory_gb": peak / 1e9,
        "refused": network_guard.attempts(work / "refused.jsonl"),
        "members": results["members"],
        "plan": results["plan"] if isinstance(results["plan"], list) else [],
        "skipped": results["skipped"],
    }
