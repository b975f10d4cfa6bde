"""Files outside a stage's folder whose change makes the stage stale, and the files in its subfolders: sizes and modification times in a table."""

import os
import stat
from pathlib import Path

import pandas as pd

from birdlib import runtime

TABLE = ".watched.parquet"
_COLUMNS = ["path", "bytes", "modified_ns"]
_ANY_TIME = 0  # modification time of a file that is compared by size only


def record(folder, paths):
    """Write the table of a stage's folder: size and time of ``paths``, files and folders, and sizes of the files in its subfolders."""
    base = os.path.realpath(folder)
    rows = [(os.path.relpath(path, base), *_size_and_time(path)) for path in paths]
    own = [path for path in Path(base).glob("*/**/*") if path.is_file() and path.name[0] != "."]
    rows += [(os.path.relpath(path, base), path.stat().st_size, _ANY_TIME) for path in sorted(own)]
    runtime.write_table(pd.DataFrame(rows, columns=_COLUMNS), Path(folder) / TABLE)


def why_changed(folder):
    """What has changed since ``record``, or ``""``."""
    base = os.path.realpath(folder)
    if not os.path.isfile(os.path.join(base, TABLE)):
        return f"{TABLE} is missing"
    try:
        table = pd.read_parquet(os.path.join(base, TABLE), columns=_COLUMNS)
    except Exception:  # of Parquet's readers: whatever damage makes them raise
        return f"{TABLE} is damaged"
    for name, size, modified_ns in table.itertuples(index=False):
        path = os.path.join(base, str(name))
        size_now, modified_ns_now = _size_and_time(path)
        if size_now != size or modified_ns not in (_ANY_TIME, modified_ns_now):
            return f"{os.path.normpath(path)} has changed"
    return ""


def _size_and_time(path):
    """(bytes, modification time in ns); (-1, time) of a folder, (-1, -1) of a path that is missing or cannot be looked up."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return (-1 if stat.S_ISDIR(found.st_mode) else found.st_size), found.st_mtime_ns
