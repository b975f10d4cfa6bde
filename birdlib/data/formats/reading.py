"""Text and cells as other programs write them."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import csv_tables

_WITH_LABEL = re.compile(r"(.+) \[(.+)\]")
_SCIENTIFIC_NAME = re.compile(r"[A-Z][a-z-]+( [a-z-]+){1,2}")


class FormatError(runtime.FileError):
    """A file that is not of a format, or has rows that cannot be used."""


# Text


def read_text(path):
    """The text of a file in any encoding, with ``\\n`` as line end and without empty lines at its beginning.

    Raises:
        FormatError: if there is no such file, or it is not text.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FormatError(path, f"cannot be opened ({reason}): give the path of a file with annotations") from error
    try:
        text = csv_tables.decode(path, data)
    except csv_tables.TableError as error:
        raise FormatError(path, "is not text: give a file with annotations, saved in UTF-8") from error
    return with_newlines(text)


def with_newlines(text):
    """A text with ``\\n`` as line end, whatever system wrote it, and without empty lines at its beginning."""
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n\ufeff")


def split_cells(path, text, separator):
    """The cells of a table with a header and without quotation marks, as Raven writes it; quoted cells as Excel writes them are unquoted.

    Returns:
        DataFrame of str; of columns with one name the first.

    Raises:
        FormatError: if there is no header, or a row has more cells than it.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise FormatError(path, "is empty: give a table with a header")
    rows = [[_unquoted(cell.strip()) for cell in line.split(separator)] for line in lines]
    header, rows = rows[0], rows[1:]
    too_long = next((number for number, row in enumerate(rows, start=2) if any(row[len(header) :])), None)
    if too_long:
        raise FormatError(path, f"row {too_long} has more cells than the header ({len(header)}): remove the tabs in it that separate nothing")
    rows = [row[: len(header)] + [""] * (len(header) - len(row)) for row in rows]
    table = pd.DataFrame(rows, columns=pd.RangeIndex(len(header)), dtype=object)
    kept = {name: index for index, name in reversed(list(enumerate(header))) if name}
    table = table[sorted(kept.values())]
    return table.set_axis([header[index] for index in table], axis=1)


def _unquoted(cell):
    return cell[1:-1].replace('""', '"').strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


# Cells


def number(text):
    """A number with a point or a comma, as float; NaN for other text."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return np.nan


def numbers(cells):
    """``number`` of each cell: Series of float64."""
    return cells.map(number).astype("float64")


def seconds(path, table, column):
    """The times of a column: Series of float64.

    Raises:
        FormatError: if the column is missing, or a cell is no time.
    """
    require_columns(path, table, [column])
    values = table[column].map(csv_tables.seconds).astype("float64")
    if values.isna().any():
        row = int(np.flatnonzero(values.isna())[0])
        raise FormatError(path, f"row {row + 2} has {table[column].iloc[row]!r} as {column}, which is not a time: write seconds, such as 2.5, or remove the row")
    return values


def require_columns(path, table, columns):
    """Raise FormatError if columns are missing."""
    if missing := [name for name in columns if name not in table]:
        raise FormatError(path, f"has no column {', '.join(map(repr, missing))}: it has {', '.join(map(repr, table.columns[:20]))}")


def first_filled(table, columns):
    """Of each row the first cell of these columns that is not empty: Series of str; columns that the table lacks are left out."""
    values = pd.Series("", index=table.index, dtype=object)
    for name in columns:
        if name in table:
            values = values.where(values != "", table[name])
    return values


def other_columns(table, known):
    """The names of the columns that are not among the known."""
    return [name for name in table if name not in known]


def split_label(text):
    """(label, scientific name, common name) of ``tables.label_text``, and of BirdNET's ``Turdus merula_Eurasian Blackbird``."""
    if labelled := _WITH_LABEL.fullmatch(text):
        name, label = labelled.groups()
        return (label, name, "") if is_scientific(name) else (label, "", name)
    for separator in (", ", "_"):
        first, found, second = text.partition(separator)
        if found and is_scientific(first):
            return f"{first}_{second}", first, second
    return text, text if is_scientific(text) else "", ""


def is_scientific(text):
    """Whether a text looks like a scientific name: ``Turdus merula``, ``Corvus corone cornix``."""
    return _SCIENTIFIC_NAME.fullmatch(text) is not None


def csv_cells(path, columns):
    """The cells of a CSV table, as ``csv_tables.read``; raises FormatError."""
    try:
        return csv_tables.read(path, columns)
    except csv_tables.TableError as error:
        raise FormatError(error.path, error.reason) from error


def header(text):
    """The cells of the first line of a table with any of the usual separators, in lower case."""
    first = text.split("\n", 1)[0]
    if re.fullmatch(r"\"?sep=.\"?[,;\t]*", first):
        first = text.split("\n", 2)[1]
    separator = max(",;\t|", key=first.count)
    return [cell.strip().lower() for cell in next(csv.reader(io.StringIO(first), delimiter=separator), [])]


def names_of(cells, scientific, common):
    """Columns species, scientific_name and common_name of two columns: the label is BirdNET's ``Turdus merula_Eurasian Blackbird``.

    Where both names are the same, they are the label: that is how a label without names is written.
    """
    names = pd.DataFrame(index=cells.index)
    for column, name in (("scientific_name", scientific), ("common_name", common)):
        names[column] = cells[name] if name in cells else ""
    joined = names["scientific_name"] + "_" + names["common_name"]
    is_one = (names["scientific_name"] == names["common_name"]) | (names["common_name"] == "")
    names.insert(0, "species", joined.str.strip("_").where(~is_one, names["scientific_name"]))
    is_label = is_one & ~names["scientific_name"].map(is_scientific).astype(bool)
    names["scientific_name"] = names["scientific_name"].where(~is_label, "")
    names["common_name"] = names["common_name"].where(~is_one, "")
    return names
