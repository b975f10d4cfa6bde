"""The recordings table. One row is one recording: a label, where its media lie, and which rows must stay together.

Labels are always ``str`` (BirdCLEF mixes eBird codes with iNaturalist numbers), an empty cell is the empty string,
paths are relative to the folder of the manifest, and times are seconds, NaN meaning "the whole file".
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
    """A manifest that cannot be used; ``faults`` holds every one, as of ``_find_faults``."""

    def __init__(self, message, faults=None):
        super().__init__(message)
        self.faults = faults


def read(path):
    """Read a manifest as it is written: nothing is checked, converted or filled in.

    Args:
        path: a CSV file, UTF-8 with or without byte-order mark.

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
    """Refuse a manifest with faults, naming all of them at once.

    Raises:
        ManifestError: its text gives each kind of fault with its number and first examples;
            its ``faults`` has every one.
    """
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
    """List what is wrong with a manifest, as read or as normalised.

    Returns:
        DataFrame with ``row`` (counted from 0; -1 when the whole table is meant; a spreadsheet shows it as
        ``row + 2``), ``name`` (the recording_id, path or value meant) and ``fault``.
    """
    found = []

    def report(bad, fault, shown):
        rows = np.flatnonzero(np.asarray(bad))
        names = np.asarray(shown, dtype=object)
        found.extend((row, names[row], fault) for row in rows)

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
        to_learn_from = (text.get("audio_path", blank) != "") | (text.get("image_path", blank) != "")
        report((text["species"] == "") & to_learn_from, "no species (only a video, to be counted, may lack it)", ids)
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
        DataFrame with every column of ``COLUMNS`` first and any others after: str without surrounding blanks,
        ``start_s`` and ``end_s`` float64 with NaN for "whole file". A row without group_id becomes its own group,
        which is warned about: recordings of one bird by one recordist may then fall into two splits.
    """
    others = [name for name in table if name not in COLUMNS]
    full = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in COLUMNS:
        values = table[name].reset_index(drop=True) if name in table else pd.Series("", index=full.index)
        if name in _TIME_COLUMNS:
            full[name] = pd.to_numeric(values, errors="coerce").astype("float64")
        else:
            full[name] = values.fillna("").astype(str).str.strip()
    alone = full["group_id"] == ""
    if alone.any():
        warnings.warn(
            f"{alone.sum()} of {len(full)} rows have no group_id and count as groups of their own", stacklevel=2
        )
        full.loc[alone, "group_id"] = full.loc[alone, "recording_id"]
    return pd.concat([full, table[others].reset_index(drop=True)], axis=1)


def watched_paths(source, table, root):
    """What a stage that read the manifest watches: its file, every media file, and the folders they lie in."""
    paths = [Path(root) / path for name in PATH_COLUMNS for path in table[name] if path]
    return [Path(source), *sorted({path.parent for path in paths}), *sorted(set(paths))]


def class_names(table):
    """The primary labels in string order, the order of columns of every score table."""
    return sorted(set(table["species"].astype(str)) - {""})


def secondary_labels(table):
    """The secondary labels of each row, as a list of lists of str."""
    if "secondary_species" not in table:
        return [[] for _ in range(len(table))]
    return [[label.strip() for label in cell.split(";") if label.strip()] for cell in table["secondary_species"]]


def multi_hot(table, classes, secondary_weight=1.0):
    """Truth as an array.

    Args:
        classes: labels in column order. Secondary labels outside them are left out.
        secondary_weight: value for a secondary label, in [0, 1]; the primary one is always 1.

    Returns:
        (rows, classes) float32; a row without species has only its secondary labels.

    Raises:
        ValueError: if a primary label is not among the classes.
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
    """(n,) bool, listing each parent folder once: one system call a folder instead of one a file."""
    parts = [os.path.split(path) for path in paths]
    wanted = {}
    for folder, name in parts:
        wanted.setdefault(folder, set()).add(name)
    with ThreadPoolExecutor(max_workers=8) as pool:  # network folders wait, they do not compute
        found = pool.map(lambda folder: _files_in(Path(root, folder), wanted[folder]), wanted)
        present = dict(zip(wanted, found, strict=True))
    return np.array([name not in present[folder] for folder, name in parts], dtype=bool)


def _files_in(folder, names):
    """Those of the names that are files in the folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.name in names and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
