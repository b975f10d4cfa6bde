"""What a folder of stages holds: which stages are finished, which would run again and why, with time, memory and disk."""

from pathlib import Path

import pandas as pd

from birdlib import locks, runtime, stages
from birdlib.models import weights
from birdlib.pipeline import execute

FINISHED, STALE, MISSING, FAILED = "finished", "stale", "missing", "failed"
COLUMNS = ["stage", "state", "why", "finished_at", "seconds", "peak_mb", "disk_mb", "skipped"]


def table(outputs_dir):
    """A row a stage, in the order of the chain.

    Returns:
        DataFrame of ``COLUMNS``: ``state`` is finished, stale (it would run again with the parameters that it had, ``why`` says the reason),
        failed (``why`` names the notebook up to the error) or missing; ``finished_at`` local time, ``peak_mb`` most memory of its process and
        ``disk_mb`` size of its folder (1e6 bytes), ``skipped`` rows of its skipped table. NaN and ``""`` where unknown.

    Raises:
        FileError: if there is no such folder.
    """
    outputs = Path(outputs_dir)
    if not outputs.is_dir():
        raise runtime.FileError(outputs, "is no folder: give --outputs, the folder of a run")
    return pd.DataFrame([_row(outputs, name) for name in stages.READS], columns=COLUMNS)


def describe(outputs_dir, rows):
    """Lines below the table: whether a run writes into the folder now, its size, its skipped files."""
    outputs = Path(outputs_dir)
    store_mb, all_mb = (_disk_mb(folder) for folder in (outputs / "store", outputs))
    lines = [f"{all_mb:,.0f} MB in {outputs}, {store_mb:,.0f} of them stored embeddings, which later runs take up."]
    if who := locks.holder(outputs):
        lines.insert(0, f"A run writes into this folder now: {who}.")
    if n_skipped := int(rows["skipped"].sum()):
        lines.append(f"{n_skipped} skipped files or categories, each with its reason: {outputs / stages.SKIPPED}")
    if (rows["state"] != FINISHED).any():
        lines.append("The command run, with the same options as before, runs what is stale or missing and leaves the others as they are.")
    return "\n".join(lines)


def _row(outputs, name):
    folder = outputs / name
    why = stages.why_outdated(outputs, name, weights.digest_in_use)
    try:
        receipt = stages.receipt(outputs, name)
    except stages.MissingStageError:
        unfinished = execute.unfinished_path(outputs, Path(f"{name}.ipynb"))
        state, why = (FAILED, f"see {unfinished}") if unfinished.is_file() else (MISSING, why if folder.is_dir() else "")
        return name, state, why, "", float("nan"), float("nan"), _disk_mb(folder), 0
    finished_at = pd.Timestamp.fromtimestamp((folder / stages.RECEIPT).stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    skipped = folder / stages.SKIPPED
    n_skipped = len(pd.read_parquet(skipped)) if skipped.is_file() else 0
    return name, STALE if why else FINISHED, why, finished_at, receipt["seconds"], receipt.get("peak_mb"), _disk_mb(folder), n_skipped


def _disk_mb(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
