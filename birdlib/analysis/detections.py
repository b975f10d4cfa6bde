"""Detections of an analysis: what was found in which span of which file, as one table; and the tables that sum it up.

Times are seconds in the file, frequencies Hz. ``NaN``, ``NaT`` and ``""`` are what is not known.
"""

import numpy as np
import pandas as pd

_TEXT, _NUMBER, _WHOLE, _TIME = "object", "float64", "int64", "datetime64[ns]"
_TYPES = {
    "path": _TEXT,  # relative to the current folder where it is below it, else absolute
    "start_s": _NUMBER,
    "end_s": _NUMBER,
    "species": _TEXT,  # the model's label
    "scientific_name": _TEXT,
    "common_name": _TEXT,
    "score": _NUMBER,  # the model's own, the highest of the windows
    "probability": _NUMBER,  # calibrated; NaN where the model has no calibration
    "confidence": _NUMBER,  # the probability where there is one, else the score
    "low_hz": _NUMBER,
    "high_hz": _NUMBER,
    "n_windows": _WHOLE,
    "recorded_at": _TIME,  # when the detection began
    "latitude": _NUMBER,
    "longitude": _NUMBER,
    "site": _TEXT,
    "occurrence": _NUMBER,  # of the location model
}
_FILE_TYPES = {
    "path": _TEXT,
    "duration_s": _NUMBER,
    "sample_rate_hz": _NUMBER,
    "media": _TEXT,  # "sound" or "film"
    "recorded_at": _TIME,
    "latitude": _NUMBER,
    "longitude": _NUMBER,
    "site": _TEXT,
    "n_detections": _WHOLE,
    "n_species": _WHOLE,
    "top_species": _TEXT,  # with the most detections
    "seconds": _NUMBER,  # of computing
    "note": _TEXT,
}
_COUNT_TYPES = {  # of films
    "path": _TEXT,
    "n": _NUMBER,  # NaN where the film could not be counted
    "low": _NUMBER,
    "high": _NUMBER,
    "at_once": _NUMBER,
    "n_tracks": _NUMBER,
    "annotated": _TEXT,  # a file in the folder, or ""
    "method": _TEXT,  # "tracks" or "density", see individuals.frame_evidence
    "certainty": _TEXT,  # "certain", "likely" or "uncertain"
}
COLUMNS, FILE_COLUMNS, COUNT_COLUMNS = list(_TYPES), list(_FILE_TYPES), list(_COUNT_TYPES)
SPECIES_COLUMNS = ["species", "scientific_name", "common_name", "detections", "files", "seconds", "highest_confidence", "first_recorded", "last_recorded"]
_TOUCHING_S = 1e-6


def typed(table=()):
    """A table of detections with every column of ``COLUMNS`` in its type; columns that the given table lacks hold what is not known."""
    return _typed(table, _TYPES)


def typed_files(table=()):
    """The same for a table of files and ``FILE_COLUMNS``."""
    return _typed(table, _FILE_TYPES)


def read(path):
    """Detections from a ``detections.csv`` that ``analyse`` wrote."""
    return typed(_read_csv(path, _TYPES))


def read_files(path):
    """Files from a ``files.csv`` that ``analyse`` wrote."""
    return typed_files(_read_csv(path, _FILE_TYPES))


def read_counts(path):
    """Counts from a ``counts.csv`` that ``analyse`` wrote."""
    return _read_csv(path, _COUNT_TYPES)


def names(table):
    """What people call the species of each row: the common name, else the scientific name, else the label."""
    scientific = table["scientific_name"].where(table["scientific_name"] != "", table["species"])
    return table["common_name"].where(table["common_name"] != "", scientific)


def merge(windows, gap_s=0.0):
    """Join the windows of one species in one file that overlap, touch, or lie at most ``gap_s`` apart.

    Args:
        windows: detections of single windows: any of ``COLUMNS``, at least ``path, start_s, end_s, species``.
        gap_s: seconds from the end of one window to the start of the next; negative: nothing is joined.

    Returns:
        DataFrame of ``COLUMNS`` by path (in the order given), start and species. Of joined windows, the times are those of the first
        start and the last end, the band is from the lowest to the highest frequency, ``n_windows`` the sum, and all else is of the
        window with the highest confidence.
    """
    windows = typed(windows)
    windows["n_windows"] = windows["n_windows"].clip(lower=1)
    files = pd.Categorical(windows["path"], categories=windows["path"].unique())
    windows = windows.assign(_file=files.codes).sort_values(["_file", "species", "start_s", "end_s"], kind="stable", ignore_index=True)
    if gap_s >= 0 and len(windows):
        windows = _joined(windows, windows.groupby(["_file", "species"], sort=False).ngroup().to_numpy(), gap_s)
    order = windows.sort_values(["_file", "start_s", "species"], kind="stable", ignore_index=True)
    return order[COLUMNS]


def _joined(windows, groups, gap_s):
    start_s, end_s = windows["start_s"].to_numpy(), windows["end_s"].to_numpy()
    is_new = np.ones(len(windows), bool)
    reached_s = -np.inf
    for row in range(len(windows)):
        if row and groups[row] == groups[row - 1]:
            is_new[row] = start_s[row] > reached_s + gap_s + _TOUCHING_S
            reached_s = max(reached_s, end_s[row])
        else:
            reached_s = end_s[row]
    number = np.cumsum(is_new) - 1
    grouped = windows.groupby(number)
    best = windows["confidence"].fillna(-1.0).groupby(number).idxmax()
    merged = windows.loc[best].reset_index(drop=True)
    spans = grouped.agg(start_s=("start_s", "min"), end_s=("end_s", "max"), low_hz=("low_hz", "min"), high_hz=("high_hz", "max"), n_windows=("n_windows", "sum"))
    first = windows.loc[is_new, "recorded_at"].reset_index(drop=True)
    return merged.assign(**spans, recorded_at=first)


def by_species(detections):
    """A row per species, the most frequent first: ``SPECIES_COLUMNS``; ``seconds`` are those of its detections."""
    if not len(detections):
        return pd.DataFrame(columns=SPECIES_COLUMNS)
    detections = detections.assign(_seconds=detections["end_s"] - detections["start_s"])
    table = detections.groupby("species").agg(
        scientific_name=("scientific_name", "first"),
        common_name=("common_name", "first"),
        detections=("path", "size"),
        files=("path", "nunique"),
        seconds=("_seconds", "sum"),
        highest_confidence=("confidence", "max"),
        first_recorded=("recorded_at", "min"),
        last_recorded=("recorded_at", "max"),
    )
    return table.sort_values(["detections", "highest_confidence"], ascending=False, kind="stable").reset_index()[SPECIES_COLUMNS]


def _typed(table, types):
    table = pd.DataFrame(table)
    columns = {}
    for name, kind in types.items():
        values = table[name] if name in table else pd.Series([_UNKNOWN[kind]] * len(table), index=table.index, dtype=kind)
        if kind == _TEXT:
            values = values.astype(object).where(values.notna(), "").map(str).astype(object)
        elif kind == _TIME:
            values = pd.to_datetime(values).astype(_TIME)
        else:
            values = (values.fillna(0) if kind == _WHOLE else values).astype(kind)
        columns[name] = values
    return pd.DataFrame(columns, index=table.index)


def _read_csv(path, types):
    texts = {name: str for name, kind in types.items() if kind == _TEXT}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={name: [""] for name, kind in types.items() if kind != _TEXT})


_UNKNOWN = {_TEXT: "", _NUMBER: np.nan, _WHOLE: 0, _TIME: pd.NaT}
