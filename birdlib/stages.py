"""Stage folders and receipts.

A stage writes its files into ``outputs/NN_name/`` and, last of all, ``stage.json``: where that receipt stands, the stage is
whole. A receipt is current while its parameters, its inputs, its weights and its own files are what they were. Work inside a
long stage goes through a journal, so that a killed run starts again where it stopped.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

import birdlib
from birdlib import runtime

RECEIPT = "stage.json"
WATCHED = ".watched.parquet"
READS = {  # which stages a stage reads; the order of the keys is the order of the chain
    "01_split": [],
    "02_clean": ["01_split"],
    "03_embed": ["01_split", "02_clean"],
    "07_classify": ["01_split", "03_embed"],
    "08_submit": ["01_split", "07_classify"],
}
PATH_PARAMETERS = ("manifest", "data_dir", "weights_dir", "classifier_dir")  # recorded relative to the outputs folder


class MissingStageError(runtime.BirdlibError):
    """A stage that this one reads is not finished."""


@dataclass(frozen=True)
class Stage:
    """A stage at work: its name, folder, parameters and the digests of the stages it reads."""

    name: str
    folder: Path
    parameters: dict
    inputs: dict
    started: float = field(default_factory=time.monotonic)


def start(name, outputs_dir, **parameters):
    """Open a stage: check what it reads, make its folder, take away an old receipt.

    Args:
        name: such as ``"03_embed"``; a key of ``READS``.
        outputs_dir: folder of all stages.
        parameters: everything that changes the stage's results, JSON-able.

    Raises:
        MissingStageError: if a stage that this one reads is not finished; it names the notebook to run.
    """
    folder = Path(outputs_dir) / name
    inputs = {needed: receipt(outputs_dir, needed)["digest"] for needed in READS[name]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECEIPT).unlink(missing_ok=True)
    return Stage(name, folder, normalise_parameters(parameters, outputs_dir), inputs)


def finish(stage, results, weights=None, watched=(), devices=("CPU",)):
    """Write the receipt: the stage is whole.

    Args:
        stage: from ``start``.
        results: headline results, JSON-able; the report shows them.
        weights: {model: {"source", "sha256", "licence"}} of the pretrained weights used.
        watched: files and folders outside ``outputs`` whose change makes the stage stale.
        devices: what it computed on.

    Returns:
        the receipt, as a dict.
    """
    _write_watched(stage.folder, watched)
    files = {path.name: _file_record(path) for path in _own_files(stage.folder)}
    written = {
        "stage": stage.name,
        "parameters": stage.parameters,
        "inputs": stage.inputs,
        "results": results,
        "weights": weights or {},
        "devices": list(devices),
        "versions": runtime.versions(),
        "seconds": round(time.monotonic() - stage.started, 2),
        "files": files,
        "digest": runtime.digest({name: record["sha256"] for name, record in files.items()}),
    }
    runtime.write_json(written, stage.folder / RECEIPT)
    return written


def receipt(outputs_dir, name):
    """The receipt of a finished stage.

    Raises:
        MissingStageError: if the stage is not finished.
    """
    path = Path(outputs_dir) / name / RECEIPT
    if not path.is_file():
        raise MissingStageError(f"{path.parent} is not finished: run notebooks/{name}.ipynb first")
    return runtime.read_json(path)


def recordings_root(outputs_dir):
    """The folder that the manifest's paths are relative to, as stage 01 recorded it."""
    return (Path(outputs_dir) / receipt(outputs_dir, "01_split")["results"]["root"]).resolve()


def why_stale(outputs_dir, name, parameters, find_weights=None):
    """Say why a stage has to run, or ``""`` if its receipt is current.

    Args:
        parameters: the values the stage's notebook would get; those that the receipt does not record (numbers of jobs, say)
            do not change results and are not compared.
        find_weights: function from a model's name to the sha256 of the weights that would be used now, or None if there are none.
    """
    folder = Path(outputs_dir) / name
    try:
        old = receipt(outputs_dir, name)
    except MissingStageError:
        return "not finished yet"
    except json.JSONDecodeError:
        return "its receipt is damaged"
    now = normalise_parameters(parameters, outputs_dir)
    changed = [key for key, value in old["parameters"].items() if key not in now or now[key] != value]
    if changed:
        return "changed parameter " + ", ".join(changed)
    if old["versions"].get("birdlib") != birdlib.__version__:
        return "made by another version of birdlib"
    for needed, digest in old["inputs"].items():
        path = Path(outputs_dir) / needed / RECEIPT
        if not path.is_file() or runtime.read_json(path)["digest"] != digest:
            return f"{needed} has changed"
    for file_name, record in old["files"].items():
        path = folder / file_name
        if not path.is_file() or path.stat().st_size != record["bytes"]:
            return f"{file_name} is missing or damaged"
    for model, record in old["weights"].items():
        digest = find_weights(model) if find_weights else None
        if digest is not None and digest != record["sha256"]:
            return f"the weights of {model} have changed"
    return _changed_watched(folder)


def normalise_parameters(parameters, outputs_dir):
    """Parameters as the receipt records them: paths relative to the outputs folder, the rest as it is."""
    outputs = os.path.abspath(outputs_dir)
    return {
        name: os.path.relpath(os.path.abspath(value), outputs) if name in PATH_PARAMETERS and value else value
        for name, value in parameters.items()
    }


# Work that can be killed and goes on


def map_resumable(function, tasks, journal, is_whole=None, n_jobs=1, desc=""):
    """Call ``function(**task)`` for every task, in parallel, and keep each result in a journal as soon as it is there.

    A task that the journal holds with the same arguments is not done again. A bad file does not stop the run: a
    ``BirdlibError`` becomes the row ``{"skipped_reason": ...}``. The tasks go through joblib, so ``joblib.parallel_config``
    may send them to a cluster.

    Args:
        function: picklable; keyword arguments in, JSON-able dict out.
        tasks: {name: JSON-able dict of arguments}; one name's task always writes the same file.
        journal: path of the ``.jsonl`` file; a line that a kill cut short is dropped.
        is_whole: function of a journalled row; False sends its task through again (its file is gone, say).

    Returns:
        {name: row}, in the order of the tasks.
    """
    from joblib import Parallel, delayed

    keys = {name: runtime.digest(task) for name, task in tasks.items()}
    done = {
        name: row
        for name, (key, row) in _read_journal(journal).items()
        if keys.get(name) == key and ("skipped_reason" in row or is_whole is None or is_whole(row))
    }
    todo = [name for name in tasks if name not in done]
    jobs = (delayed(_attempt)(function, name, tasks[name]) for name in todo)
    results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs) if todo else []
    with open(journal, "a", encoding="utf-8") as file:
        for name, row in runtime.progress(results, total=len(todo), desc=desc):
            file.write(json.dumps({"name": name, "key": keys[name], "row": row}, ensure_ascii=False) + "\n")
            file.flush()
            done[name] = row
    return {name: done[name] for name in tasks}


def skipped_table(rows, stage):
    """The skipped table: ``path``, ``stage``, ``reason``, one row for each file that could not be used."""
    table = pd.DataFrame(rows, columns=["path", "reason"])
    table.insert(1, "stage", stage)
    return table


def _attempt(function, name, task):
    try:
        return name, function(**task)
    except runtime.BirdlibError as error:
        return name, {"skipped_reason": str(error)}


def _read_journal(journal):
    """The last (key, row) of each name; a last line that was not written whole is cut off the file."""
    journal = Path(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    rows, whole = {}, 0
    if journal.is_file():
        with open(journal, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                rows[entry["name"]] = entry["key"], entry["row"]
                whole += len(line)
        os.truncate(journal, whole)
    return rows


def _own_files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != RECEIPT and path.name[0] != ".")


def _file_record(path):
    return {"bytes": path.stat().st_size, "sha256": runtime.digest_file(path)}


def _write_watched(folder, paths):
    rows = [(os.path.relpath(path, folder), *_size_and_time(path)) for path in paths]
    runtime.write_table(pd.DataFrame(rows, columns=["path", "bytes", "modified_ns"]), folder / WATCHED)


def _changed_watched(folder):
    for path, size, modified in pd.read_parquet(folder / WATCHED).itertuples(index=False):
        if _size_and_time(folder / path) != (size, modified):
            return f"{(folder / path).resolve()} has changed"
    return ""


def _size_and_time(path):
    """(bytes, modification time in ns); a folder counts by its time only, a missing path as (-1, -1)."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return -1, -1
    return (-1 if os.path.isdir(path) else stat.st_size), stat.st_mtime_ns
