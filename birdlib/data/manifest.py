"""The manifest: a table with one row per recording, with its label, its media files and its group.

Labels are always ``str`` (BirdCLEF mixes eBird codes with iNaturalist numbers), an empty cell is the empty string,
paths are relative to the folder of the manifest, and times are seconds, NaN for the whole file.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.data import csv_tables, media_paths, recording_ids, species_labels
from birdlib.runtime import BirdlibError

PATH_COLUMNS = ("audio_path", "image_path", "video_path")
_TIME_COLUMNS = ("start_s", "end_s")
COLUMNS = (
    "recording_id", "species", "secondary_species", "individual_id", "group_id",
    *PATH_COLUMNS, *_TIME_COLUMNS, "source", "licence", "attribution",
)  # fmt: skip
_EXAMPLES_SHOWN = 5
_REMEDIES = {
    "missing column": "add it to the header; see the README for what it holds",
    "no rows": "add a row for each recording",
    "column appears twice": "rename or remove one of them",
    "no species (only a video, to be counted, may lack it)": "fill the cell in, or remove the row",
    "species has ';' (others go to secondary_species)": "keep one label, and move the others",
    "species is 'row_id' (a column of submissions)": "choose another label",
    "no media path": "give the path of a sound, photo or film, or remove the row",
    "negative": "count from the start of the file",
    "is not a number": "write seconds, such as 2.5, or hh:mm:ss",
    "end_s is not after start_s": "correct the times, or leave both empty for the whole file",
}
_REMEDIES |= media_paths.FAULTS


class ManifestError(BirdlibError):
    """A manifest that cannot be used; ``faults`` is the table of ``_find_faults``."""

    def __init__(self, message, faults=None):
        super().__init__(message)
        self.faults = faults


def read(path):
    """Read a manifest from a CSV file, with its paths as they are on the disk; see ``csv_tables.read`` and ``media_paths``.

    Returns:
        (table, root): DataFrame of str, missing cells empty, and the folder its paths are relative to.

    Raises:
        ManifestError: if there is no such file, or it is not a table.
    """
    path = Path(path)
    try:
        table = csv_tables.read(path, COLUMNS)
    except csv_tables.TableError as error:
        raise ManifestError(str(error)) from error
    root = path.resolve().parent
    return find_media(table, root), root


def load(path):
    """``read``, ``check`` and ``normalise``: (table, root)."""
    table, root = read(path)
    check(table, root)
    return normalise(table), root


def find_media(table, root, may_leave=True):
    """The table with the paths of ``PATH_COLUMNS`` as they are on the disk; those without a file stay as given. ``may_leave``: see ``media_paths.Disk``."""
    disk = media_paths.Disk(root, may_leave)
    columns = [name for name in PATH_COLUMNS if name in table]
    return table.assign(**{name: [path for path, _, _ in disk.find(_text(table[name]))] for name in columns})


def check(table, root, may_leave=True):
    """Raise ManifestError if there are faults: count, examples and remedy of each kind, and all of them in ``faults``.

    Args:
        may_leave: as in ``find_media``.
    """
    faults = _find_faults(table, root, may_leave)
    if faults.empty:
        return
    lines = [f"the manifest of {root} has {len(faults)} fault{'s' * (len(faults) > 1)}:"]
    for kind, found in faults.groupby("fault", sort=False):
        examples = [
            (f"row {row.row + 2} {row.name!r}" if row.row >= 0 else row.name) + (f" ({row.hint})" if row.hint else "")
            for row in found.head(_EXAMPLES_SHOWN).set_index("name", drop=False).itertuples(index=False)
        ]
        more = f" and {len(found) - _EXAMPLES_SHOWN} more" if len(found) > _EXAMPLES_SHOWN else ""
        lines.append(f"- {kind} ({len(found)}): {', '.join(examples)}{more}. Remedy: {_remedy(kind)}")
    lines.append("Correct the table (row 1 is its header) and run again.")
    raise ManifestError("\n".join(lines), faults)


def _remedy(kind):
    column = "|".join((*PATH_COLUMNS, *_TIME_COLUMNS))
    return _REMEDIES.get(kind) or _REMEDIES[re.sub(rf"^({column}) | ({column})$", "", kind)]


def _find_faults(table, root, may_leave=True):
    """All faults of a manifest, as read or as normalised.

    Returns:
        DataFrame with ``row`` (of the table's index; -1 for the whole table; ``row + 2`` in a spreadsheet), ``name`` (the
        recording_id, path or value), ``fault`` and ``hint`` (what is there instead of a path, or "").
    """
    found = []

    def report(is_bad, fault, names):
        names = np.asarray(names, dtype=object)
        found.extend((table.index[row], names[row], fault, "") for row in np.flatnonzero(np.asarray(is_bad)))

    def report_table(fault, subjects):
        found.extend((-1, name, fault, "") for name in subjects)

    report_table("column appears twice", sorted(set(table.columns[table.columns.duplicated()])))
    table = table.loc[:, ~table.columns.duplicated()]
    missing = [name for name in ("recording_id", "species") if name not in table]
    missing += [] if set(PATH_COLUMNS) & set(table) else ["one of " + ", ".join(PATH_COLUMNS)]
    report_table("missing column", missing)
    if missing:
        found[-1] = (*found[-1][:3], f"the columns are {', '.join(map(repr, table.columns[:20]))}")
    if table.empty:
        report_table("no rows", ["the table is empty"])

    text = {name: _text(table[name]) for name in COLUMNS if name in table}
    blank = pd.Series("", index=table.index)
    ids = text.get("recording_id", blank)
    paths = {name: text[name] for name in PATH_COLUMNS if name in text}
    if "species" in text:
        needs_label = (text.get("audio_path", blank) != "") | (text.get("image_path", blank) != "")
        report((text["species"] == "") & needs_label, "no species (only a video, to be counted, may lack it)", ids)
        report(text["species"].str.contains(";", regex=False), "species has ';' (others go to secondary_species)", ids)
        report(text["species"].map(species_labels.clean) == "row_id", "species is 'row_id' (a column of submissions)", ids)
    if paths:
        report(np.logical_and.reduce([values == "" for values in paths.values()]), "no media path", ids)
    disk = media_paths.Disk(root, may_leave)
    for name, values in paths.items():
        rows = zip(table.index, disk.find(values), strict=True)
        faults = [(row, path, f"{name} {fault}", hint) for row, (path, fault, hint) in rows if fault]
        found += sorted(faults, key=lambda fault: fault[2])

    times = {name: _seconds(table[name] if name in table else blank) for name in _TIME_COLUMNS}
    start_s, end_s = times.values()
    for name, seconds in times.items():
        values = text.get(name, blank)
        report(~np.isfinite(seconds) & (values != ""), f"{name} is not a number", values)
        report(seconds < 0, f"negative {name}", ids)
    report((end_s >= 0) & (end_s <= start_s.fillna(0.0)), "end_s is not after start_s", ids)
    return pd.DataFrame(found, columns=["row", "name", "fault", "hint"])


def normalise(table, known_labels=()):
    """Bring a checked manifest into its full form.

    Labels that look alike become one (``species_labels.merge_lookalikes``), and ids valid and unique (``recording_ids``), each with a
    warning. A row without group_id becomes its own group, with a warning: recordings of one bird by one recordist may then
    fall into two splits.

    Args:
        known_labels: labels that are never merged, such as those of a taxonomy.

    Returns:
        DataFrame with the columns of ``COLUMNS`` first and any others after: str without surrounding blanks, secondary labels
        joined by ``;``, ``start_s`` and ``end_s`` float64 with NaN for the whole file.
    """
    others = [name for name in table if name not in COLUMNS]
    full = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in COLUMNS:
        values = table[name].reset_index(drop=True) if name in table else pd.Series("", index=full.index)
        full[name] = _seconds(values) if name in _TIME_COLUMNS else _text(values)
    full = _with_one_spelling(full, known_labels)
    parts = full["start_s"].astype(str) + " " + full["end_s"].astype(str)
    full["recording_id"] = recording_ids.repair(full["recording_id"], first_media(full), parts)
    lacks_group = full["group_id"] == ""
    if lacks_group.any():
        message = f"{lacks_group.sum()} of {len(full)} rows have no group_id and count as groups of their own"
        warnings.warn(message, stacklevel=2)
        full.loc[lacks_group, "group_id"] = full.loc[lacks_group, "recording_id"]
    return pd.concat([full, table[others].reset_index(drop=True)], axis=1)


def first_media(table):
    """(rows,) str: the sound's path, else the photo's, else the film's."""
    paths = table["audio_path"].where(table["audio_path"] != "", table["image_path"])
    return paths.where(paths != "", table["video_path"])


def _with_one_spelling(table, known_labels):
    known = {*known_labels, *table["species"].map(species_labels.clean)} - {""}
    labels_of = {cell: species_labels.split(cell, known) for cell in table["secondary_species"].unique()}
    secondary = [labels_of[cell] for cell in table["secondary_species"]]
    spelling = species_labels.merge_lookalikes(table["species"], [label for row in secondary for label in row], known_labels)
    joined = [";".join(dict.fromkeys(spelling[label] for label in row)) for row in secondary]
    table = table.assign(species=table["species"].map(spelling), secondary_species=joined)
    return table.assign(**{name: table[name].map(species_labels.clean) for name in ("individual_id", "group_id")}).astype(
        dict.fromkeys(("species", "secondary_species", "individual_id", "group_id"), str)
    )


def _text(values):
    """Cells as str without surrounding blanks; ``nan`` is empty."""
    values = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    return values.where(~values.isin(["nan", "NaN"]), "")


def _seconds(values):
    """Cells as float64 seconds, NaN where they are empty or not understood."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    values = _text(values)
    seconds = pd.to_numeric(values, errors="coerce").astype("float64")
    unread = seconds.isna() & (values != "")
    seconds[unread] = [csv_tables.seconds(text) for text in values[unread]]
    return seconds


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
