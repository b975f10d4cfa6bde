"""BirdNET-Analyzer's CSV tables (``generate_csv`` in its ``analyze/utils.py``).

A file for each recording, and one for all as its option ``--combine_results`` writes. Where a name is not known, both are
the label, as there.
"""

import csv
import io

import pandas as pd

from birdlib.data.formats import reading, tables

COLUMNS = ["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"]
SUFFIX = ".BirdNET.results.csv"
ALL = "BirdNET_CombinedTable.csv"


def matches(text):
    """Whether a text is such a table."""
    return {"start (s)", "end (s)"} <= set(reading.header(text))


def write(given):
    """Tables of detections: yields (name of the file, text)."""
    groups = tables.detections_by_recording(given)
    names = tables.file_names([path for path, _ in groups])
    for path, rows in groups:
        yield names[path] + SUFFIX, _text(rows)
    yield ALL, _text(given["detections"])


def _text(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows.itertuples(index=False):
        names = tables.two_names(row)
        writer.writerow([tables.decimal(row.start_s, 3), tables.decimal(row.end_s, 3), *names, tables.decimal(row.confidence), tables.absolute(row.path)])
    return text.getvalue()


def read(path, text, find):
    """Detections of such a table, with its other columns; see ``formats.read``."""
    cells = reading.csv_cells(path, COLUMNS)
    table = pd.DataFrame({"path": find.recordings(cells.get("File", pd.Series("", index=cells.index)))}, index=cells.index)
    for name, column in (("Start (s)", "start_s"), ("End (s)", "end_s")):
        table[column] = reading.seconds(path, cells, name)
    table = table.join(reading.names_of(cells, "Scientific name", "Common name"))
    table["confidence"] = reading.numbers(cells["Confidence"]) if "Confidence" in cells else float("nan")
    return table.join(cells[[name for name in reading.other_columns(cells, COLUMNS) if name not in table]])
