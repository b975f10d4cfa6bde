"""What the formats have in common: the columns of the tables, the names of files, and cells of one line.

Detections are spans of time in recordings, tracks are boxes of birds through the images of a film, and boxes are those of
single images. Times are seconds in the file, frequencies Hz, boxes pixels from the upper left corner; ``NaN`` and ``""`` are
what is not known.
"""

import math
import os
import posixpath
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.video import tracking

_TEXT, _NUMBER, _WHOLE = "", math.nan, 0
DETECTIONS = {  # column: what it holds where a table lacks it
    "path": _TEXT, "start_s": _NUMBER, "end_s": _NUMBER, "species": _TEXT, "scientific_name": _TEXT, "common_name": _TEXT,
    "score": _NUMBER, "probability": _NUMBER, "confidence": _NUMBER, "low_hz": _NUMBER, "high_hz": _NUMBER,
}  # fmt: skip
TRACKS = {"path": _TEXT, **dict.fromkeys(tracking.COLUMNS, _NUMBER), "recording_id": _TEXT, "track": _WHOLE, "identity": -1}
BOXES = {
    "path": _TEXT, "time_s": _NUMBER, "species": _TEXT, "x": _NUMBER, "y": _NUMBER, "width": _NUMBER, "height": _NUMBER,
    "score": _NUMBER, "image_width": _WHOLE, "image_height": _WHOLE,
}  # fmt: skip
COLUMNS = {"detections": DETECTIONS, "tracks": TRACKS, "boxes": BOXES}
_MAX_NAME_BYTES = 150  # file systems allow 255, and suffixes follow
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')


def complete(table, holds):
    """A table with all columns of its kind first and others after, sorted by path; text is never missing.

    Args:
        table: DataFrame, or a list of dicts.
        holds: ``"detections"``, ``"tracks"`` or ``"boxes"``.
    """
    table = pd.DataFrame(table).reset_index(drop=True)
    for name, default in COLUMNS[holds].items():
        if name not in table:
            table[name] = pd.Series(default, index=table.index, dtype="object" if default == "" else None)
        elif default == "":
            table[name] = table[name].astype(object).where(table[name].notna(), "").map(str).astype(object)
        else:
            table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
            if isinstance(default, int):
                table[name] = table[name].fillna(default).astype("int64")
    if holds == "detections" and len(table):
        table["confidence"] = table["confidence"].fillna(table["probability"]).fillna(table["score"])
    table = table[[*COLUMNS[holds], *(name for name in table if name not in COLUMNS[holds])]]
    times = [name for name in ("track", "start_s", "time_s", "end_s") if name in table]
    return table.sort_values(["path", *times], kind="stable", ignore_index=True)


def by_recording(table, files=()):
    """[(path, rows)]: the rows of each recording, sorted by path; recordings of ``files`` without rows have an empty table."""
    paths = sorted({*files, *table["path"]})
    groups = dict(tuple(table.groupby("path", sort=False)))
    return [(path, groups.get(path, table.iloc[:0])) for path in paths]


def detections_by_recording(given):
    """``by_recording`` of the detections in ``given``, with the recordings of its table ``files`` that have none."""
    files = given.get("files")
    return by_recording(given["detections"], () if files is None else files["path"])


def by_film(given):
    """``by_recording`` of the tracks in ``given``, with the films of its tables ``films`` and ``files`` that have none."""
    films = [] if given.get("films") is None else [*given["films"]["path"]]
    files = given.get("files")
    if files is not None and "media" in files:
        films += [*files.loc[files["media"] == "film", "path"]]
    return by_recording(given["tracks"], films)


# Paths and names


def stored(path):
    """A path as the tables hold it: relative to the current folder where it is below it, else absolute; with ``/``."""
    path = os.path.abspath(os.path.expanduser(path))
    here = os.getcwd()
    below = path == here or path.startswith(here.rstrip(os.sep) + os.sep)
    return runtime.printable(Path(os.path.relpath(path, here) if below else path).as_posix())


def absolute(path):
    """A path of a table as other programs need it, which may be started in another folder."""
    return os.path.abspath(path) if path else ""


def file_names(paths):
    """Names of output files without suffix, a recording each: {path: name with ``/``}.

    The folders below the one that all recordings share are kept, so that files of one name in two folders do not collide.
    Where two files of a folder have one stem, or stems that differ in case only, the suffix is kept, too.
    """
    paths = sorted(set(paths))
    full = {path: Path(absolute(path)) for path in paths}
    shared = _shared_folder([file.parent for file in full.values()])
    names = {}
    for path, file in full.items():
        folder = file.parent.relative_to(shared).parts if shared else file.parent.parts[1:]
        names[path] = posixpath.join(*map(_valid_name, folder), _valid_name(file.stem))
    for suffix in (lambda path: _NOT_IN_NAMES.sub("_", PurePosixPath(path).suffix), lambda path: f"-{runtime.digest(path)[:8]}"):
        counts = Counter(name.casefold() for name in names.values())
        names = {path: name + suffix(path) if counts[name.casefold()] > 1 else name for path, name in names.items()}
    return names


def _shared_folder(folders):
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # on two drives
        return None


def _valid_name(text):
    name = _NOT_IN_NAMES.sub("_", text).rstrip(" .") or "_"
    if len(name.encode("utf-8", "replace")) <= _MAX_NAME_BYTES:
        return name
    short = name.encode("utf-8", "replace")[: _MAX_NAME_BYTES - 9].decode("utf-8", "ignore")
    return f"{short}-{runtime.digest(text)[:8]}"


# Cells


def one_line(text):
    """A text without tabs and line ends, which formats without quotation marks cannot hold."""
    return " ".join(str(text).split())


def decimal(value, digits=4):
    """A number with at most ``digits`` decimals and at least one; empty for NaN."""
    if not np.isfinite(value):
        return ""
    whole, _, fraction = f"{value:.{digits}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def table_name(row):
    """The name of a species that people read: the common one, else the scientific one, else the model's label."""
    return one_line(row.common_name or row.scientific_name or row.species)


def label_text(row):
    """The names of a species in one text: ``Turdus merula, Eurasian Blackbird`` as BirdNET-Analyzer writes its labels.

    A label that is not made of both names stands behind the common one: ``Blackish Whistler [blkwhi1]``.
    """
    names = list(dict.fromkeys(one_line(name) for name in (row.scientific_name, row.common_name) if name))
    label = one_line(row.species)
    if not names or names == [label]:
        return label
    return ", ".join(names) if label == "_".join(names) else f"{names[-1]} [{label}]"


def two_names(row):
    """(scientific name, common name), each the label where it is not known, as in BirdNET-Analyzer."""
    return one_line(row.scientific_name or row.species), one_line(row.common_name or row.species)
