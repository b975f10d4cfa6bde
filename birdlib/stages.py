"""Stage folders and receipts.

A stage writes its files into ``outputs/NN_name/`` and, last of all, ``stage.json``: where that receipt stands, the stage is
whole. A receipt is current while its parameters, its inputs, its weights and its own files are what they were. Work inside a
long stage goes through a journal, so that a killed run starts again where it stopped.
"""

import contextlib
import json
import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

import birdlib
from birdlib import runtime

RECEIPT = "stage.json"
WATCHED = ".watched.parquet"
HALF_WRITTEN = re.compile(r"\..+\.\d+(\.\w+)?")  # the temporary names of runtime.replacing
READS = {  # which stages a stage reads; the order of the keys is the order of the chain
    "01_split": [],
    "02_clean": ["01_split"],
    "03_embed": ["01_split", "02_clean"],
    "04_triplet": ["01_split", "03_embed"],
    "05_match": ["01_split"],
    "07_classify": ["01_split", "02_clean", "03_embed"],
    "08_submit": ["01_split", "07_classify"],
    "09_count": ["01_split"],
}
MAY_READ = {"07_classify": ["06_pseudolabel"]}  # and which it reads beside them where they can be read
INSTEAD = {"01_split": "data_dir", "07_classify": "classifier_dir"}  # a stage given the parameter need not read the other
PATH_PARAMETERS = ("manifest", "data_dir", "weights_dir", "classifier_dir")  # recorded relative to the outputs folder
FIELDS = set("parameters inputs results weights versions seconds files digest".split())  # of a receipt, at least
ANY_TIME = 0  # stands for a modification time that does not matter


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


def start(name, outputs_dir, also=(), **parameters):
    """Open a stage: check what it reads, make its folder, take away an old receipt.

    Args:
        name: such as ``"03_embed"``; a key of ``READS``.
        outputs_dir: folder of all stages.
        also: stages that it reads this time, beside those of ``READS`` and ``MAY_READ``.
        parameters: everything that changes the stage's results, JSON-able.

    Raises:
        MissingStageError: if a stage that this one reads is not finished; it names the notebook to run.
    """
    folder = Path(outputs_dir) / name
    extra = [other for other in MAY_READ.get(name, ()) if can_be_read(outputs_dir, other)]
    needs = [needed for needed in (*READS[name], *also, *extra) if not parameters.get(INSTEAD.get(needed))]
    inputs = {needed: receipt(outputs_dir, needed)["digest"] for needed in needs}
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
    for path in stage.folder.rglob(".*"):
        if HALF_WRITTEN.fullmatch(path.name):  # by a run that was killed
            path.unlink(missing_ok=True)
    runtime.write_table(_watch(stage.folder, watched), stage.folder / WATCHED)
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
        MissingStageError: if the stage is not finished, or its receipt is damaged.
    """
    path = Path(outputs_dir) / name / RECEIPT
    if not path.is_file():
        raise MissingStageError(f"{path.parent} is not finished: run notebooks/{name}.ipynb first")
    try:
        found = runtime.read_json(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not FIELDS <= found.keys():
        raise MissingStageError(f"{path} is damaged: run notebooks/{name}.ipynb again")
    return found


def can_be_read(outputs_dir, name):
    """Whether a stage is finished and rests on what the stages that it read hold now."""
    try:
        return all(receipt(outputs_dir, other)["digest"] == digest for other, digest in receipt(outputs_dir, name)["inputs"].items())
    except MissingStageError:
        return False


def relative(path, outputs_dir):
    """``path`` as receipts record it, relative to the outputs folder, which may be a link: ``..`` leads up from where it really is."""
    return os.path.relpath(path, os.path.realpath(outputs_dir))


def recordings_root(outputs_dir):
    """The folder that the manifest's paths are relative to, as stage 01 recorded it.

    Raises:
        MissingStageError: if it is not there any more, because one of the two folders was moved.
    """
    root = (Path(outputs_dir).resolve() / receipt(outputs_dir, "01_split")["results"]["root"]).resolve()
    if not root.is_dir():
        raise MissingStageError(f"the recordings are no longer in {root}: run notebooks/01_split.ipynb again")
    return root


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
        return "its receipt is damaged" if (folder / RECEIPT).is_file() else "not finished yet"
    now = normalise_parameters(parameters, outputs_dir)
    changed = [key for key, value in old["parameters"].items() if key not in now or now[key] != value]
    if changed:
        return "changed parameter " + ", ".join(changed)
    if old["versions"].get("birdlib") != birdlib.__version__:
        return "made by another version of birdlib"
    for needed, digest in old["inputs"].items():
        try:
            if receipt(outputs_dir, needed)["digest"] != digest:
                return f"{needed} has changed"
        except MissingStageError:
            return f"{needed} is missing or damaged"
    for other in MAY_READ.get(name, ()):
        if other not in old["inputs"] and can_be_read(outputs_dir, other):
            return f"{other} was not there yet"
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
    return {
        name: relative(value, outputs_dir) if name in PATH_PARAMETERS and value else value
        for name, value in parameters.items()
    }


# Work that can be killed and goes on


def map_resumable(function, tasks, journal, is_whole=None, n_jobs=1, desc=""):
    """Call ``function(**task)`` for every task, in parallel, and keep each result in a journal as soon as it is there.

    A task that the journal holds with the same arguments is not done again. A bad file does not stop the run: a
    ``BirdlibError`` becomes the row ``{"skipped_reason": ...}``; a full disk does stop it. The tasks go through joblib, so ``joblib.parallel_config``
    may send them to a cluster.

    Args:
        function: picklable; keyword arguments in, JSON-able dict out.
        tasks: {name: JSON-able dict of arguments}; one name's task always writes the same file.
        journal: path of the ``.jsonl`` file; a line that a kill cut short, or that cannot be read, is dropped.
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
    with runtime.telling_full_disk(journal), open(journal, "a", encoding="utf-8") as file:
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
    except runtime.FullDiskError:
        raise
    except runtime.BirdlibError as error:
        return name, {"skipped_reason": str(error)}


def _read_journal(journal):
    """The last (key, row) of each name; a last line that was not written whole is cut off the file, a garbled one is left."""
    journal = Path(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    rows, whole = {}, 0
    if journal.is_file():
        with open(journal, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError):  # garbled: its task is done again
                    entry = json.loads(line)
                    rows[entry["name"]] = entry["key"], dict(entry["row"])
        os.truncate(journal, whole)
    return rows


def _own_files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != RECEIPT and path.name[0] != ".")


def _file_record(path):
    return {"bytes": path.stat().st_size, "sha256": runtime.digest_file(path)}


def _watch(folder, paths):
    """The table of what is watched: files outside with size and time, files in the stage's subfolders with their size."""
    base = os.path.realpath(folder)
    rows = [(os.path.relpath(path, base), *_size_and_time(path)) for path in paths]
    own = [path for path in Path(base).glob("*/**/*") if path.is_file() and path.name[0] != "."]
    rows += [(os.path.relpath(path, base), path.stat().st_size, ANY_TIME) for path in sorted(own)]
    return pd.DataFrame(rows, columns=["path", "bytes", "modified_ns"])


def _changed_watched(folder):
    base = os.path.realpath(folder)
    if not os.path.isfile(os.path.join(base, WATCHED)):
        return f"{WATCHED} is missing"
    table = pd.read_parquet(os.path.join(base, WATCHED))
    for name, size, modified_ns in zip(table["path"], table["bytes"], table["modified_ns"], strict=True):
        path = os.path.join(base, name)
        size_now, modified_ns_now = _size_and_time(path)
        if size_now != size or modified_ns not in (ANY_TIME, modified_ns_now):
            return f"{os.path.normpath(path)} has changed"
    return ""


def _size_and_time(path):
    """(bytes, modification time in ns); a folder counts by its time only, a missing path as (-1, -1)."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return -1, -1
    return (-1 if stat.S_ISDIR(found.st_mode) else found.st_size), found.st_mtime_ns
