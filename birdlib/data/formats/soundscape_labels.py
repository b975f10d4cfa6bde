"""BirdCLEF's labels of windows of soundscapes: ``train_soundscapes_labels.csv`` (2026) and ``train_soundscape_labels.csv`` (2021).

Columns ``filename, start, end, primary_label``, with labels separated by ``;``; or ``row_id, ..., birds``, with labels separated by blanks
and the end second of a window of five seconds behind the file's name in ``row_id``.
"""

import re

import pandas as pd

from birdlib.data import birdclef, species_labels
from birdlib.data.formats import reading

_FILE = ("filename", "file", "soundscape", "audio_id", "itemid")
_START = ("start", "start_s", "start_time", "start_sec")
_END = ("end", "end_s", "end_time", "seconds", "end_sec")
_LABELS = ("primary_label", "birds", "labels", "primary_labels", "ebird_code", "label")
_NO_CALL = ("nocall", "")


def matches(text):
    """Whether a text is such a table."""
    names = set(reading.header(text))
    has_windows = {"row_id"} <= names or (names & set(_FILE) and names & set(_END))
    return bool(has_windows and names & {"primary_label", "birds", "primary_labels", "labels"})


def read(path, text, find):
    """Labels as detections, a row for each label of a window; see ``formats.read``. Windows without birds (``nocall``) have no rows."""
    cells = reading.csv_cells(path, ["row_id", *_FILE, *_START, *_END, *_LABELS])
    labels = reading.first_filled(cells, _LABELS)
    row_ids = cells.get("row_id", pd.Series("", index=cells.index)).str.rpartition("_")
    end_s = _times(path, cells, _END, row_ids[2])
    start_s = _times(path, cells, _START, None)
    start_s = end_s - birdclef.WINDOW_S if start_s is None else start_s
    files = reading.first_filled(cells, _FILE[:3])
    paths = find.soundscapes(files.where(files != "", row_ids[0]))
    split = [re.split(r"[;,|\s]+", label) if not label.startswith("[") else species_labels.split(label) for label in labels]
    table = pd.DataFrame({"path": paths, "start_s": start_s, "end_s": end_s, "species": split}).explode("species")
    table["species"] = table["species"].map(species_labels.clean)
    return table[~table["species"].str.lower().isin(_NO_CALL)].drop_duplicates(ignore_index=True)


def _times(path, cells, names, instead):
    name = next((name for name in names if name in cells), None)
    if name is None and instead is None:
        return None
    cells = cells if name else cells.assign(row_id=instead)
    return reading.seconds(path, cells, name or "row_id")
