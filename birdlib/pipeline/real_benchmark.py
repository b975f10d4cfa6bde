"""``bench real``: what the suite gets on real recordings, photos and films, beside a plain reference, in one table.

The folder holds the tables of ``TABLES`` with the manifest's columns, paths relative to it. Every job tests each item once, by models that
never saw its group, and chooses all settings on the other groups; a job without its table is left out.
"""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import bootstrap

TABLES = {  # job: its table, and the module with its function ``rows``
    "sound": ("species24.csv", "real_sound"),
    "photos": ("species24.csv", "real_photos"),
    "voices": ("individuals.csv", "real_voices"),
    "films": ("videos.csv", "real_films"),
}


def parse_jobs(text):
    """Names of jobs, separated by commas; empty: all. ParameterError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()] or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        raise runtime.ParameterError(f"bench real has no job {', '.join(unknown)}: choose of {', '.join(TABLES)}")
    return list(dict.fromkeys(names))


def run(folder, cache, jobs, seed=0, weights_dir=""):
    """Run jobs one after the other.

    Args:
        folder: with the tables.
        cache: folder for embeddings, crops and tracks; a second run is faster.
        jobs: from ``parse_jobs``.

    Yields:
        (job, rows): list of ``real_rows.Row``; None where the folder has no table for the job.

    Raises:
        FileError: if the folder has no table for any of the jobs.
    """
    folder, cache = Path(folder), Path(cache)
    if not any((folder / TABLES[job][0]).is_file() for job in jobs):
        names = ", ".join(dict.fromkeys(TABLES[job][0] for job in jobs))
        raise runtime.FileError(folder, f"has none of {names}: give the folder that holds these manifests")
    cache.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        table, module = TABLES[job]
        if not (folder / table).is_file():
            yield job, None
            continue
        rng = runtime.set_seed(seed)
        yield job, importlib.import_module(f"birdlib.pipeline.{module}").rows(folder, cache, rng=rng, weights_dir=weights_dir)


def as_text(rows):
    """Rows as a table for people: figures to the third decimal, with their intervals."""
    table = pd.DataFrame(rows)
    has_interval = np.isfinite(table["low"])
    values = [
        bootstrap.interval_text((row.value, row.low, row.high)) if known else f"{row.value:.3f}"
        for row, known in zip(table.itertuples(), has_interval, strict=True)
    ]
    return table.assign(value=values)[["job", "method", "figure", "value", "n", "note"]]
