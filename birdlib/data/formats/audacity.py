r"""Audacity label tracks (Audacity manual, "Importing and Exporting Labels").

Text with tabs: start, end and name of a label. In the extended format a line ``\``, low, high with its frequencies follows,
-1 where one is not defined. The confidence stands behind the name, in brackets.
"""

import re

import numpy as np
import pandas as pd

from birdlib.data.formats import reading, tables

SUFFIX = ".labels.txt"
_UNDEFINED_HZ = -1.0
_NUMBER = r"[+-]?\d+(?:[.,]\d*)?(?:[eE][+-]?\d+)?"
_LABEL = re.compile(rf"\s*({_NUMBER})\t\s*({_NUMBER})(?:\t(.*))?")
_BAND = re.compile(rf"\s*\\\t\s*({_NUMBER})\t\s*({_NUMBER})\s*")
_CONFIDENCE = re.compile(r"(.*\S) \(([01]\.\d+)\)")


def matches(text):
    """Whether a text is a label track."""
    first = text.split("\n", 1)[0]
    return bool(_LABEL.fullmatch(first)) and first.count("\t") <= 3


def write(given):
    """Label tracks of detections: yields (name of the file, text)."""
    return _write(given, with_bands=False)


def write_bands(given):
    """Label tracks of detections in the extended format, with their frequencies where known: yields (name of the file, text)."""
    return _write(given, with_bands=True)


def _write(given, with_bands):
    groups = tables.detections_by_recording(given)
    names = tables.file_names([path for path, _ in groups])
    for path, rows in groups:
        yield names[path] + SUFFIX, "".join(_lines(rows, with_bands))


def _lines(rows, with_bands):
    for row in rows.itertuples(index=False):
        confidence = f" ({row.confidence:.2f})" if np.isfinite(row.confidence) else ""
        yield f"{row.start_s:.6f}\t{row.end_s:.6f}\t{tables.label_text(row)}{confidence}\n"
        if with_bands and (row.low_hz >= 0 or row.high_hz > 0):
            low_hz, high_hz = (hz if hz >= 0 else _UNDEFINED_HZ for hz in (row.low_hz, row.high_hz))
            yield f"\\\t{low_hz:.6f}\t{high_hz:.6f}\n"


def read(path, text, find):
    """Detections of a label track; see ``formats.read``.

    A confidence is taken from brackets behind the name, or from a fourth cell, where BirdNET-Analyzer writes it.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        label, band = _LABEL.fullmatch(line), _BAND.fullmatch(line)
        if label:
            rows.append([reading.number(label[1]), reading.number(label[2]), label[3] or "", np.nan, np.nan])
        elif band and rows:
            rows[-1][3:] = [hz if hz >= 0 else np.nan for hz in map(reading.number, band.groups())]
        elif line.strip():
            raise reading.FormatError(path, f"line {number} is not a label (start, end and name with tabs between): {line[:60]!r}; correct or remove it")
    table = pd.DataFrame(rows, columns=["start_s", "end_s", "text", "low_hz", "high_hz"])
    names = [_name_and_confidence(text) for text in table.pop("text")]
    table["confidence"] = [confidence for _, confidence in names]
    parts = [reading.split_label(name) if np.isfinite(confidence) else (name, "", "") for name, confidence in names]
    for index, column in enumerate(("species", "scientific_name", "common_name")):
        table[column] = [part[index] for part in parts]
    table.insert(0, "path", find.recordings([""] * len(table)))
    return table


def _name_and_confidence(text):
    name, _, more = text.partition("\t")
    confidence = reading.number(more)
    written = _CONFIDENCE.fullmatch(name.strip())
    if written and not np.isfinite(confidence):
        return written[1], float(written[2])
    return name.strip(), confidence
