"""The manifest: a table with one row per recording, with its label, its media files and its group.

Labels are always ``str`` (BirdCLEF mixes eBird codes with iNaturalist numbers), an empty cell is the empty string,
paths are relative to the folder of the manifest, and times are seconds, NaN for the whole file.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.runtime import BirdlibError

PATH_COLUMNS = ("audio_path", "image_path", "video_path")
_TIME_COLUMNS = ("start_s", "end_s")
COLUMNS = (
    "recording_id", "species", "secondary_species", "individual_id", "group_id",
    *PATH_COLUMNS, *_TIME_COLUMNS, "source", "licence", "attribution",
)  # fmt: skip
_EXAMPLES_SHOWN = 5


class ManifestError(BirdlibError):
    """A manifest that cannot be used; ``faults`` is the table of ``_find_faults``."""

    def __init__(self, message, faults=None):
        super().__init__(message)
        self.faults = faults


def read(path):
    """Read a manifest, a CSV file in UTF-8 with or without byte-order mark, without checks or conversions.

    Returns:
        (table, root): DataFrame of str, missing cells empty, and the folder its paths are relative to.

    Raises:
        ManifestError: if there is no such file, or it is not a table.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except OSError as error:
        raise ManifestError(f"{path} cannot be opened ({error.strerror}): give the path of a manifest CSV") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not a CSV table in UTF-8: {error}") from error
    table.columns = table.columns.str.strip()
    return table, path.resolve().parent


def check(table, root):
    """Raise ManifestError if there are faults: count and examples of each kind, and all of them in ``faults``."""
    faults = _find_faults(table, root)
    if faults.empty:
        return
    lines = [f"the manifest of {root} has {len(faults)} fault{'s' * (len(faults) > 1)}:"]
    for kind, found in faults.groupby("fault", sort=False):
        pairs = found[["row", "name"]].itertuples(index=False)
        examples = [f"row {row + 2} {name!r}" if row >= 0 else name for row, name in pairs]
        more = f" and {len(examples) - _EXAMPLES_SHOWN} more" if len(examples) > _EXAMPLES_SHOWN else ""
        lines.append(f"- {kind} ({len(found)}): {', '.join(examples[:_EXAMPLES_SHOWN])}{more}")
    raise ManifestError("\n".join(lines), faults)


def _find_faults(table, root):
    """All faults of a manifest, as read or as normalised.

    Returns:
        DataFrame with ``row`` (from 0; -1 for the whole table; ``row + 2`` in a spreadsheet), ``name`` (the
        recording_id, path or value) and ``fault``.
    """
    found = []

    def report(is_bad, fault, names):
        names = np.asarray(names, dtype=object)
        found.extend((row, names[row], fault) for row in np.flatnonzero(np.asarray(is_bad)))

    def report_table(fault, subjects):
        found.extend((-1, name, fault) for name in subjects)

    report_table("column appears twice", sorted(set(table.columns[table.columns.duplicated()])))
    table = table.loc[:, ~table.columns.duplicated()]
    report_table("missing column", [name for name in ("recording_id", "species") if name not in table])
    if not set(PATH_COLUMNS) & set(table):
        report_table("missing column", ["one of " + ", ".join(PATH_COLUMNS)])
    if table.empty:
        report_table("no rows", ["the table is empty"])

    text = {name: table[name].fillna("").astype(str).str.strip() for name in COLUMNS if name in table}
    blank = pd.Series("", index=table.index)
    ids = text.get("recording_id", blank)
    if "recording_id" in text:
        report(~ids.str.fullmatch(r"[A-Za-z0-9_-]+"), "recording_id is not of letters, digits, _ and -", ids)
        report(ids.duplicated(keep="first") & (ids != ""), "duplicate recording_id", ids)
    paths = {name: text[name] for name in PATH_COLUMNS if name in text}
    if "species" in text:
        needs_label = (text.get("audio_path", blank) != "") | (text.get("image_path", blank) != "")
        report((text["species"] == "") & needs_label, "no species (only a video, to be counted, may lack it)", ids)
        report(text["species"].str.contains(";", regex=False), "species has ';' (others go to secondary_species)", ids)
    if paths:
        report(np.logical_and.reduce([values == "" for values in paths.values()]), "no media path", ids)
    for name, values in paths.items():
        absolute = values.map(os.path.isabs).astype(bool)
        report(absolute, f"{name} is absolute: write it relative to the manifest", values)
        given = (values != "") & ~absolute
        missing = np.zeros(len(table), dtype=bool)
        missing[given.to_numpy()] = _are_missing(values[given], root)
        report(missing, f"{name} has no such file", values)

    start_s, end_s = (pd.to_numeric(text.get(name, blank), errors="coerce") for name in _TIME_COLUMNS)
    for name, seconds in zip(_TIME_COLUMNS, (start_s, end_s), strict=True):
        values = text.get(name, blank)
        report(~np.isfinite(seconds) & ~values.str.lower().isin(["", "nan"]), f"{name} is not a number", values)
        report(seconds < 0, f"negative {name}", ids)
    report((end_s >= 0) & (end_s <= start_s.fillna(0.0)), "end_s is not after start_s", ids)
    return pd.DataFrame(found, columns=["row", "name", "fault"])


def normalise(table):
    """Bring a checked manifest into its full form.

    Returns:
        DataFrame with the columns of ``COLUMNS`` first and any others after: str without surrounding blanks,
        ``start_s`` and ``end_s`` float64 with NaN for the whole file. A row without group_id becomes its own group,
        with a warning: recordings of one bird by one recordist may then fall into two splits.
    """
    others = [name for name in table if name not in COLUMNS]
    full = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in COLUMNS:
        values = table[name].reset_index(drop=True) if name in table else pd.Series("", index=full.index)
        if name in _TIME_COLUMNS:
            full[name] = pd.to_numeric(values, errors="coerce").astype("float64")
        else:
            full[name] = values.fillna("").astype(str).str.strip()
    lacks_group = full["group_id"] == ""
    if lacks_group.any():
        message = f"{lacks_group.sum()} of {len(full)} rows have no group_id and count as groups of their own"
        warnings.warn(message, stacklevel=2)
        full.loc[lacks_group, "group_id"] = full.loc[lacks_group, "recording_id"]
    return pd.concat([full, table[others].reset_index(drop=True)], axis=1)


def watched_paths(source, table, root):
    """Inputs of a stage that reads the manifest: its file, every media file, and their folders."""
    paths = [Path(root) / path for name in PATH_COLUMNS for path in table[name] if path]
    return [Path(source), *sorted({path.parent for path in paths}), *sorted(set(paths))]


def class_names(table):
    """The primary labels in string order, as the columns of every score table."""
    return sorted(set(table["species"].astype(str)) - {""})


def secondary_labels(table):
    """The secondary labels of each row, a list of lists of str."""
    if "secondary_species" not in table:
        return [[] for _ in range(len(table))]
    return [[label.strip() for label in cell.split(";") if label.strip()] for cell in table["secondary_species"]]


def multi_hot(table, classes, secondary_weight=1.0):
    """Truth as an array.

    Args:
        classes: labels in column order, with every primary label, else ValueError. Other secondary labels are left out.
        secondary_weight: value for a secondary label, in [0, 1]; the primary one is always 1.

    Returns:
        (rows, classes) float32; a row without species has only its secondary labels.
    """
    column = {label: index for index, label in enumerate(classes)}
    primary = table["species"].astype(str)
    unknown = sorted(set(primary) - set(column) - {""})
    if unknown:
        raise ValueError(f"{len(unknown)} species are not among the classes: {', '.join(unknown[:_EXAMPLES_SHOWN])}")
    truth = np.zeros((len(table), len(column)), dtype=np.float32)
    for row, labels in enumerate(secondary_labels(table)):
        for label in labels:
            if label in column:
                truth[row, column[label]] = secondary_weight
    labelled = np.flatnonzero((primary != "").to_numpy())
    truth[labelled, primary.iloc[labelled].map(column).to_numpy(dtype=int)] = 1.0
    return truth


def _are_missing(paths, root):
    """(n,) bool; each parent folder is listed once, instead of one system call per file."""
    parts = [os.path.split(path) for path in paths]
    wanted = {}
    for folder, name in parts:
        wanted.setdefault(folder, set()).add(name)
    with ThreadPoolExecutor(max_workers=8) as pool:  # network folders are slow
        found = pool.map(lambda folder: _files_in(Path(root, folder), wanted[folder]), wanted)
        present = dict(zip(wanted, found, strict=True))
    return np.array([name not in present[folder] for folder, name in parts], dtype=bool)


def _files_in(folder, names):
    """The names that are files in the folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.name in names and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
