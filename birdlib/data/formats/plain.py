"""The complete table of detections as CSV and as JSON lines: every column, unrounded."""

import io
import json

import pandas as pd

from birdlib.data.formats import reading, tables

CSV_NAME, JSON_NAME = "detections.csv", "detections.jsonl"
_SYNONYMS = {
    "path": ("path", "file", "filename", "filepath", "audio_path", "recording", "audio_file", "sound"),
    "start_s": ("start_s", "start", "begin", "onset", "start_time", "begin_time", "begin_s", "onset_s"),
    "end_s": ("end_s", "end", "offset", "end_time", "offset_s", "stop"),
    "species": ("species", "label", "annotation", "class", "name"),
    "low_hz": ("low_hz", "low_f", "low_freq", "min_hz", "fmin"),
    "high_hz": ("high_hz", "high_f", "high_freq", "max_hz", "fmax"),
}


def matches_csv(text):
    """Whether a text is a CSV table with a recording, times and a label in each row."""
    names = set(reading.header(text))
    if "recording_id" in names:  # a manifest
        return False
    return all(names & set(_SYNONYMS[column]) for column in ("start_s", "end_s", "species"))


def matches_json(text):
    """Whether a text has a JSON object in each line."""
    try:
        first = json.loads(text.split("\n", 1)[0])
    except ValueError:
        return False
    return isinstance(first, dict) and "start_s" in first and "species" in first


def write_csv(given):
    """The table of detections: yields (name of the file, text)."""
    text = io.StringIO()
    given["detections"].to_csv(text, index=False, lineterminator="\n")
    yield CSV_NAME, text.getvalue()


def write_json(given):
    """The table of detections, an object in each line; ``null`` is not known: yields (name of the file, text)."""
    table = given["detections"].copy()
    for name in table.select_dtypes(["datetime", "datetimetz"]):
        table[name] = table[name].map(lambda time: time.isoformat(), na_action="ignore")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    yield JSON_NAME, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def read_csv(path, text, find):
    """Detections of a CSV table, with its other columns; see ``formats.read``. Some other names of the columns are understood."""
    cells = reading.csv_cells(path, [name for names in _SYNONYMS.values() for name in names])
    cells = cells.rename(columns=_renamed(cells))
    for name in ("start_s", "end_s"):
        cells[name] = reading.seconds(path, cells, name)
    for name in tables.DETECTIONS:
        if name in cells and tables.DETECTIONS[name] != "" and name not in ("start_s", "end_s"):
            cells[name] = reading.numbers(cells[name])
    if "recorded_at" in cells:
        cells["recorded_at"] = pd.to_datetime(cells["recorded_at"], errors="coerce")
    return cells.assign(path=find.recordings(cells.get("path", [""] * len(cells))))


def _renamed(cells):
    """{name: column}: of each column the first synonym that is there."""
    lower = {name.lower(): name for name in reversed(list(cells))}
    found = {column: next((lower[name] for name in names if name in lower), None) for column, names in _SYNONYMS.items()}
    return {name: column for column, name in found.items() if name}


def read_json(path, text, find):
    """Detections of JSON lines, with their other values; see ``formats.read``."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise reading.FormatError(path, f"line {number} is not JSON ({error}): correct or remove it") from error
        if not isinstance(row, dict) or not {"start_s", "end_s", "species"} <= row.keys():
            raise reading.FormatError(path, f"line {number} is not an object with start_s, end_s and species: correct or remove it")
        rows.append(row)
    table = pd.DataFrame(rows)
    if "recorded_at" in table:
        table["recorded_at"] = pd.to_datetime(table["recorded_at"], errors="coerce")
    given = table["path"].fillna("") if "path" in table else [""] * len(table)
    return table.assign(path=find.recordings(given))
