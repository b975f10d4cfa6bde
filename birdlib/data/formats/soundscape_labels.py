"""BirdCLEF's labels of windows of soundscapes: ``train_soundscapes_labels.csv`` (2026) and ``train_soundscape_labels.csv`` (2021).

Columns ``filename, start, end, primary_label``, with labels separated by ``;``; or ``row_id, ..., birds``, with labels separated by blanks
and the end second of a window of five seconds behind the file's name in ``row_id``.
"""

import re

import numpy as np
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
    reading.require_columns(path, cells, [next((name for name in _LABELS if name in cells), _LABELS[0])])
    labels = reading.first_filled(cells, _LABELS)
    row_ids = [text.rpartition("_") for text in cells["row_id"]] if "row_id" in cells else [("", "", "")] * len(cells)
    files = reading.first_filled(cells, _FILE)
    files = files.where(files != "", pd.Series([stem for stem, _, _ in row_ids], index=cells.index, dtype=object))
    if not any(name in cells for name in _END):
        reading.require_columns(path, cells, ["row_id"])
        cells = cells.assign(end=[end for _, _, end in row_ids])
    end_s = reading.seconds(path, cells, next(name for name in _END if name in cells))
    start = next((name for name in _START if name in cells), None)
    start_s = reading.seconds(path, cells, start) if start else end_s - birdclef.WINDOW_S
    paths = find.soundscapes(files)
    split = [re.split(r"[;,|\s]+", label) if not label.startswith("[") else species_labels.split(label) for label in labels]
    table = pd.DataFrame({"path": paths, "start_s": start_s, "end_s": end_s, "species": split}).explode("species")
    table["species"] = [species_labels.clean(label) for label in table["species"]]
    is_bird = [label.lower() not in _NO_CALL for label in table["species"]]
    return table[np.array(is_bird, bool)].drop_duplicates(ignore_index=True)

