"""Kaleidoscope's CSV tables (Wildlife Acoustics, "Kaleidoscope Pro User's Guide").

One table for all recordings. Written are the columns of BirdNET-Analyzer's Kaleidoscope table and, as Kaleidoscope's own,
channel, frequencies, date, time, ``TOP1MATCH`` and an empty ``MANUAL ID``, to be filled in there. ``INDIR``, ``FOLDER`` and
``IN FILE`` make a path together; ``OFFSET`` and ``DURATION`` are in seconds.
"""

import csv
import io
import os

import numpy as np
import pandas as pd

from birdlib.data.formats import reading, tables
from birdlib.models import birdnet_location

COLUMNS = [
    "INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "scientific_name", "common_name", "confidence", "lat", "lon", "week", "overlap",
    "sensitivity", "CHANNEL", "Fmin", "Fmax", "DATE", "TIME", "TOP1MATCH", "MANUAL ID",
]  # fmt: skip
NAME = "kaleidoscope.csv"
_LABELS = ("MANUAL ID", "TOP1MATCH", "AUTO ID", "AUTO-ID")
_MAX_KILOHERTZ = 250.0  # frequencies of a table that are all lower are in kHz, as in its tables of bats
_NOISE = ("noise", "noid", "")


def matches(text):
    """Whether a text is such a table."""
    return {"indir", "in file"} <= set(reading.header(text))


def write(given):
    """A table of detections: yields (name of the file, text)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in given["detections"].itertuples(index=False):
        folder, name = os.path.split(tables.absolute(row.path))
        parent, folder = os.path.split(folder)
        when = pd.Timestamp(getattr(row, "recorded_at", pd.NaT))
        known = pd.notna(when)
        place = [tables.decimal(getattr(row, name, np.nan), 4) for name in ("latitude", "longitude")]
        writer.writerow([
            parent, folder, name, tables.decimal(row.start_s, 3), tables.decimal(row.end_s - row.start_s, 3), *tables.two_names(row),
            tables.decimal(row.confidence), *place, birdnet_location.week_of(when) if known else "", "", "", 0, tables.decimal(row.low_hz, 1), tables.decimal(row.high_hz, 1),
            when.strftime("%Y-%m-%d") if known else "", when.strftime("%H:%M:%S") if known else "", tables.one_line(row.species), "",
        ])  # fmt: skip
    yield NAME, text.getvalue()


def read(path, text, find):
    """Detections of such a table, with its other columns; see ``formats.read``.

    The label is ``MANUAL ID`` where it is filled in, else that of BirdNET-Analyzer's columns, the cluster or the automatic one. Rows
    without any, and those of noise, are left out.
    """
    cells = reading.csv_cells(path, (*COLUMNS, *_LABELS))
    reading.require_columns(path, cells, ["IN FILE"])
    start_s = reading.seconds(path, cells, "OFFSET") if "OFFSET" in cells else pd.Series(0.0, index=cells.index)
    length_s = reading.seconds(path, cells, "DURATION") if "DURATION" in cells else pd.Series(np.nan, index=cells.index)
    folders = [cells.get(name, pd.Series("", index=cells.index)).str.replace("\\", "/", regex=False) for name in ("INDIR", "FOLDER")]
    given = ["/".join(part for part in parts if part) for parts in zip(*(part.str.rstrip("/") for part in folders), cells["IN FILE"], strict=True)]
    table = pd.DataFrame({"path": find.recordings(given, cells["IN FILE"]), "start_s": start_s, "end_s": start_s + length_s}, index=cells.index)
    table = table.join(reading.names_of(cells, "scientific_name", "common_name"))
    table["species"] = reading.first_filled(cells.assign(names=table["species"]), ("MANUAL ID", "TOP1MATCH", "names", "AUTO ID", "AUTO-ID"))
    table["confidence"] = reading.numbers(cells["confidence"]) if "confidence" in cells else np.nan
    for name, column in (("Fmin", "low_hz"), ("Fmax", "high_hz")):
        table[column] = reading.numbers(cells[name]) if name in cells else np.nan
    if table["high_hz"].max() < _MAX_KILOHERTZ:
        table[["low_hz", "high_hz"]] *= 1000.0
    table = table.join(cells[[name for name in reading.other_columns(cells, COLUMNS) if name not in table]])
    return table[~table["species"].str.lower().isin(_NOISE)]
