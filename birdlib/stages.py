"""Stage folders and receipts.

A stage writes its files into ``outputs/NN_name/`` and, last of all, the receipt ``stage.json``: a stage with a receipt is complete.
A receipt is current while its parameters, inputs, weights, code and files are unchanged.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import birdlib
from birdlib import devices as keras_on
from birdlib import locks, runtime, source_digest, watched_files

RECEIPT = "stage.json"
SKIPPED = "skipped.parquet"  # of a stage, and of all in the outputs folder
RECIPE = "recipe.json"  # of the run, in the outputs folder
READS = {  # stage: the stages that it reads; the keys are in the order of the chain
    "01_split": [],
    "02_clean": ["01_split"],
    "03_embed": ["01_split", "02_clean"],
    "04_triplet": ["01_split", "03_embed"],
    "05_match": ["01_split"],
    "06_pseudolabel": ["01_split", "02_clean", "03_embed"],
    "07_classify": ["01_split", "02_clean", "03_embed"],
    "08_submit": ["01_split", "07_classify"],
    "09_count": ["01_split"],
}
_MAY_READ = {"07_classify": ["06_pseudolabel"]}  # read as well where they are finished
_INSTEAD = {"01_split": "data_dir", "07_classify": "classifier_dir"}  # a parameter that replaces reading the stage
PATH_PARAMETERS = ("manifest", "data_dir", "weights_dir", "classifier_dir")  # recorded relative to the outputs folder
FIELDS = {"parameters": dict, "inputs": dict, "results": dict, "weights": dict, "versions": dict, "seconds": float, "files": dict, "digest": str}  # of a receipt, at least
_READERS = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".npy": lambda path: np.load(path, mmap_mode="r"), ".json": runtime.read_json}


class MissingStageError(runtime.BirdlibError):
    """A stage that this one reads is not finished."""


class NothingToDoError(runtime.BirdlibError):
    """The data set has nothing for a stage: the chain leaves the stage out and goes on."""


@dataclass(frozen=True)
class Stage:
    """A running stage: its name, folder, parameters, the digests of the stages it reads and of the modules it imports."""

    name: str
    folder: Path
    parameters: dict
    inputs: dict
    code: dict = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)


def start(name, outputs_dir, also=(), **parameters):
    """Open a stage: check its inputs, make and lock its folder until ``finish`` or the end of the process, remove an old receipt.

    Args:
        name: such as ``"03_embed"``; a key of ``READS``.
        outputs_dir: folder of all stages.
        also: stages that it reads in addition to those of ``READS`` and ``_MAY_READ``.
        parameters: everything that changes the stage's results, JSON-able.

    Raises:
        MissingStageError: if a stage that this one reads is not finished; it names the notebook to run.
        LockError: if another process has opened the stage and not finished it, or the folder is not writable.
    """
    folder = Path(outputs_dir) / name
    extra = [other for other in _MAY_READ.get(name, ()) if can_be_read(outputs_dir, other)]
    inputs = {needed: receipt(outputs_dir, needed)["digest"] for needed in needed_stages(name, parameters, (*also, *extra))}
    locks.hold(folder, "close its notebook if it has failed there, or choose another outputs folder", name)
    (folder / RECEIPT).unlink(missing_ok=True)
    return Stage(name, folder, _normalise_parameters(parameters, outputs_dir), inputs, _code(name))


def needed_stages(name, parameters, also=()):
    """The stages that must be finished before ``name``: those that it reads and that no parameter replaces."""
    return [needed for needed in (*READS[name], *also) if not parameters.get(_INSTEAD.get(needed))]


def finish(stage, results, weights=None, watched=(), devices=("CPU",)):
    """Write the receipt and return it.

    Args:
        stage: from ``start``.
        results: headline results, JSON-able; the report shows them.
        weights: {model: {"source", "sha256", "licence"}} of the pretrained weights used.
        watched: files and folders outside ``outputs`` whose change makes the stage stale.
        devices: names of the devices used.
    """
    runtime.remove_half_written(stage.folder.rglob(".*"))
    watched_files.record(stage.folder, watched)
    files = {path.name: _file_record(path) for path in _own_files(stage.folder)}
    written = {
        "stage": stage.name,
        "parameters": stage.parameters,
        "recipe": os.environ.get("BIRDLIB_RECIPE", ""),
        "inputs": stage.inputs,
        "code": stage.code,
        "results": results,
        "weights": weights or {},
        "backend": keras_on.backend(),
        "devices": list(devices),
        "versions": runtime.versions(),
        "seconds": round(time.monotonic() - stage.started, 2),
        "peak_mb": runtime.peak_mb(),
        "files": files,
        "digest": runtime.digest({name: record["sha256"] for name, record in files.items()}),
    }
    runtime.write_json(written, stage.folder / RECEIPT)
    locks.release(stage.folder)
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
    except (ValueError, RecursionError):
        found = None
    if not _is_receipt(found):
        raise MissingStageError(f"{path} is damaged: run notebooks/{name}.ipynb again")
    return found


def _is_receipt(found):
    """Whether a value of a JSON file has all that is asked of receipts."""
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in FIELDS.items()):
        return False
    parts = [found.get("code", {}), *found["files"].values(), *found["weights"].values()]
    return all(isinstance(part, dict) for part in parts) and all("bytes" in record for record in found["files"].values())


def can_be_read(outputs_dir, name):
    """Whether a stage is finished and the stages that it read have not changed since."""
    try:
        return all(receipt(outputs_dir, other)["digest"] == digest for other, digest in receipt(outputs_dir, name)["inputs"].items())
    except MissingStageError:
        return False


def read(outputs_dir, name, *file_names):
    """Files of a finished stage: tables of ``.parquet`` and ``.csv``, memory-mapped arrays of ``.npy``, values of ``.json``.

    Returns:
        the content of the one file, or a list of contents in the order of ``file_names``.

    Raises:
        MissingStageError: if the stage is not finished, or has no such file because another version of birdlib wrote it.
    """
    receipt(outputs_dir, name)
    paths = [Path(outputs_dir) / name / file_name for file_name in file_names]
    for path in paths:
        if not path.is_file():
            raise MissingStageError(f"{path} is missing: run notebooks/{name}.ipynb again")
    contents = [_read_file(path, name) for path in paths]
    return contents if len(contents) > 1 else contents[0]


def _read_file(path, name):
    try:
        return _READERS[path.suffix](path)
    except (OSError, ValueError, EOFError) as error:  # pyarrow's errors are ValueErrors too
        raise MissingStageError(f"{path} is damaged ({error}): run notebooks/{name}.ipynb again") from error


def settings(outputs_dir, name, file_name, fields):
    """The dict of a JSON file that a finished stage wrote beside its models.

    Raises:
        MissingStageError: if the stage is not finished, or a field is missing because another version of birdlib wrote the file.
    """
    found = read(outputs_dir, name, file_name)
    if missing := sorted(set(fields) - found.keys()):
        path = Path(outputs_dir) / name / file_name
        raise MissingStageError(f"{path} has no {', '.join(missing)}: another version of birdlib wrote it; run notebooks/{name}.ipynb again")
    return found


def relative(path, outputs_dir):
    """``path`` as receipts record it: relative to the outputs folder with links resolved."""
    return os.path.relpath(path, os.path.realpath(outputs_dir))


def recordings_root(outputs_dir):
    """The folder that the manifest's paths are relative to, as stage 01 recorded it.

    Raises:
        MissingStageError: if the folder no longer exists.
    """
    root = os.path.join(os.path.realpath(outputs_dir), str(receipt(outputs_dir, "01_split")["results"].get("root")))
    if not os.path.isdir(root):
        raise MissingStageError(f"the recordings are no longer in {root}: run notebooks/01_split.ipynb again")
    return Path(root).resolve()


def why_stale(outputs_dir, name, parameters, find_weights=None):
    """Why a stage has to run, or ``""`` if its receipt is current.

    Args:
        parameters: the values the stage's notebook would get; those that the receipt does not record (number of jobs, say)
            do not change results and are not compared.
        find_weights: function from a model's name to the sha256 of the weights that would be used now, or None.
    """
    try:
        old = receipt(outputs_dir, name)
    except MissingStageError:
        return why_outdated(outputs_dir, name)
    now = _normalise_parameters(parameters, outputs_dir)
    changed = [key for key, value in old["parameters"].items() if key not in now or now[key] != value]
    if changed:
        return "changed parameter " + ", ".join(changed)
    return why_outdated(outputs_dir, name, find_weights)


def why_outdated(outputs_dir, name, find_weights=None):
    """Why a stage would have to run with the parameters that it had, or ``""``; see ``why_stale``."""
    folder = Path(outputs_dir) / name
    try:
        old = receipt(outputs_dir, name)
    except MissingStageError:
        return "its receipt is damaged" if (folder / RECEIPT).is_file() else "not finished yet"
    if old["versions"].get("birdlib") != birdlib.__version__:
        return "made by another version of birdlib"
    if (code := old.get("code")) and (module := source_digest.changed(code, _code(name))):
        return f"{module} has changed"
    for needed, digest in old["inputs"].items():
        try:
            if receipt(outputs_dir, needed)["digest"] != digest:
                return f"{needed} has changed"
        except MissingStageError:
            return f"{needed} is missing or damaged"
    for other in _MAY_READ.get(name, ()):
        if other not in old["inputs"] and can_be_read(outputs_dir, other):
            return f"{other} was not finished yet"
    for file_name, record in old["files"].items():
        path = os.path.join(folder, file_name)
        if not os.path.isfile(path) or os.path.getsize(path) != record["bytes"]:
            return f"{file_name} is missing or damaged"
    for model, record in old["weights"].items():
        digest = find_weights(model) if find_weights else None
        if digest is not None and digest != record.get("sha256"):
            return f"the weights of {model} have changed"
    return watched_files.why_changed(folder)


def _code(name):
    """Digests of the modules that a stage's notebook imports."""
    return source_digest.of_notebook(runtime.repository() / "notebooks" / f"{name}.ipynb")


def _normalise_parameters(parameters, outputs_dir):
    """Parameters as the receipt records them: paths relative to the outputs folder."""
    return {
        name: relative(value, outputs_dir) if name in PATH_PARAMETERS and value else value
        for name, value in parameters.items()
    }


def skipped_table(rows, stage):
    """The skipped table: ``path``, ``stage``, ``reason``, a row for each file that could not be used."""
    table = pd.DataFrame([(runtime.printable(path), reason) for path, reason in rows], columns=["path", "reason"])
    table.insert(1, "stage", stage)
    return table


def all_skipped(outputs_dir):
    """The skipped tables of all stages in one: ``path``, ``stage``, ``reason``."""
    found = [_read_file(path, path.parent.name) for path in sorted(Path(outputs_dir).glob(f"[0-9][0-9]_*/{SKIPPED}"))]
    return pd.concat(found, ignore_index=True) if found else skipped_table([], "")


def _own_files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != RECEIPT and path.name[0] != ".")


def _file_record(path):
    return {"bytes": path.stat().st_size, "sha256": runtime.digest_file(path)}
