"""Raven selection tables (Cornell Lab of Ornithology, "Raven Pro User's Manual").

Text with a header and tabs between the cells, without quotation marks. The columns are those of BirdNET-Analyzer, which many
scripts expect, and the scientific name. A file for each recording, ``NAME.Table.1.selections.txt`` as Raven names them, and
one for all: there a time counts from the start of the first recording, as in a Raven window that shows the recordings of
``all_recordings.list.txt`` one behind the other.
"""

import numpy as np
import pandas as pd

from birdlib.data.formats import media, reading, tables

COLUMNS = [
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Common Name", "Species Code",
    "Confidence", "Begin Path", "File Offset (s)", "Scientific Name",
]  # fmt: skip
SUFFIX = ".Table.1.selections.txt"
ALL = "all_recordings"
_FULL_BAND_HZ = 15_000.0  # where the sample rate is not known, as in BirdNET-Analyzer
_LABELS = ("Species Code", "Species", "Annotation", "Label", "Common Name", "Scientific Name", "Call Type", "Tag", "ID")
_NUMBERS = {"Low Freq (Hz)": "low_hz", "High Freq (Hz)": "high_hz", "Confidence": "confidence", "Score": "score"}
_NO_CALL = "nocall"  # BirdNET-Analyzer's row for a recording without detections


def matches(text):
    """Whether a text is a selection table."""
    cells = [cell.strip().strip('"').lower() for cell in text.split("\n", 1)[0].split("\t")]
    return {"begin time (s)", "end time (s)"} <= set(cells)


def write(given):
    """Selection tables of detections: yields (name of the file, text).

    Boxes without frequencies reach from 0 Hz to half the sample rate.
    """
    groups = tables.detections_by_recording(given)
    names = tables.file_names([path for path, _ in groups])
    sounds = media.sounds([path for path, _ in groups], given.get("files"))
    header = "\t".join(COLUMNS) + "\n"
    together, from_s = [header], 0.0
    for path, rows in groups:
        yield names[path] + SUFFIX, header + "".join(_lines(rows, path, sounds[path]))
        together += _lines(rows, path, sounds[path], from_s, len(together))
        from_s += sounds[path].duration_s if sounds[path].duration_s > 0 else rows["end_s"].max() if len(rows) else 0.0
    if len(groups) > 1:
        yield f"{ALL}{SUFFIX}", "".join(together)
        yield f"{ALL}.list.txt", "".join(f"{tables.one_line(tables.absolute(path))}\n" for path, _ in groups)


def _lines(rows, path, sound, from_s=0.0, first=1):
    top_hz = sound.sample_rate_hz / 2 if sound.sample_rate_hz > 0 else _FULL_BAND_HZ
    begin_path = tables.one_line(tables.absolute(path))
    for number, row in enumerate(rows.itertuples(index=False), start=first):
        low_hz = row.low_hz if row.low_hz >= 0 else 0.0
        high_hz = row.high_hz if row.high_hz > low_hz else max(top_hz, low_hz)
        cells = [
            number, "Spectrogram 1", 1, tables.decimal(from_s + row.start_s, 6), tables.decimal(from_s + row.end_s, 6),
            tables.decimal(low_hz, 1), tables.decimal(high_hz, 1), tables.table_name(row), tables.one_line(row.species),
            tables.decimal(row.confidence), begin_path, tables.decimal(row.start_s, 6), tables.one_line(row.scientific_name),
        ]  # fmt: skip
        yield "\t".join(map(str, cells)) + "\n"


def read(path, text, find):
    """Detections of a selection table, with its other columns; see ``formats.read``.

    The label is the first of the columns that hold one. Rows of a selection's other views are left out, and so is
    BirdNET-Analyzer's row ``nocall`` for a recording without detections.
    """
    cells = reading.split_cells(path, text, "\t")
    names = {name.lower(): name for name in cells}
    known = {name: names[name.lower()] for name in (*COLUMNS, *_LABELS, *_NUMBERS, "Begin File", "Delta Time (s)") if name.lower() in names}
    cells = cells.rename(columns={given: name for name, given in known.items()})
    if {"Selection", "View"} <= set(cells):
        is_spectrogram = cells["View"].str.lower().str.startswith("spectrogram")
        cells = cells[~cells.duplicated("Selection", keep=False) | is_spectrogram].drop_duplicates("Selection")
    cells = cells.reset_index(drop=True)
    start_s, end_s = (reading.seconds(path, cells, name) for name in ("Begin Time (s)", "End Time (s)"))
    given = reading.first_filled(cells, ("Begin Path", "Begin File"))
    if "File Offset (s)" in cells and (given != "").any():  # of several recordings, one behind the other
        offset_s = reading.numbers(cells["File Offset (s)"]).where(given != "")
        start_s, end_s = offset_s.fillna(start_s), offset_s.fillna(start_s) + (end_s - start_s)
    table = pd.DataFrame({"path": find.recordings(given, cells.get("Begin File")), "start_s": start_s, "end_s": end_s})
    labels = [name for name in _LABELS if name in cells] or reading.other_columns(cells, known)[:1]
    table["species"] = reading.first_filled(cells, labels)
    for name, column in (("Scientific Name", "scientific_name"), ("Common Name", "common_name")):
        table[column] = cells.get(name, "")
    for name, column in _NUMBERS.items():
        table[column] = reading.numbers(cells[name]) if name in cells else np.nan
    table = pd.concat([table, cells[[name for name in reading.other_columns(cells, known) if name not in table]]], axis=1)
    return table[table["species"].str.lower() != _NO_CALL]
