"""CSV tables as people and spreadsheets write them: any separator, encoding and line end.

Every cell is read as ``str``, without the blanks around it; a missing cell is the empty string. Rows without content and
columns without name and content are left out. The index of a table is the row in a spreadsheet - 2, as row 1 is the header.
"""

import csv
import io
import re
import warnings
from pathlib import Path

import pandas as pd

from birdlib import runtime

_SEPARATORS = ",;\t|"
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHER_FORMATS = {
    b"PK\x03\x04": "is a spreadsheet or an archive, not a CSV table: open it and save it as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook, not a CSV table: open it and save it as CSV",
    b"PAR1": "is a Parquet table: save it as CSV, for example by pandas.read_parquet(...).to_csv(..., index=False)",
    b"\x1f\x8b": "is compressed: unpack it first",
    b"SQLite format": "is a database: export the table as CSV",
    b"%PDF": "is a PDF document: save the table as CSV",
}
_END = "\x00end of table\x00"  # a last row that is swallowed if a quotation mark is not closed
_MAX_CELL_CHARACTERS = 1_000_000
_EXAMPLES_SHOWN = 5


class TableError(runtime.FileError):
    """A file that is not a CSV table, or whose columns and rows do not fit together."""


class TableWarning(runtime.FileWarning):
    """A table that is read, but not as it stands."""


def read(path, columns=()):
    """Read a CSV table.

    The separator is a comma, semicolon, tab or bar, found by the header or given by a first line ``sep=;``. The text is
    UTF-8, UTF-16 or UTF-32, else Windows-1252 with a warning. Empty cells beyond the header are ignored, and so is a column
    without name, or named by pandas, that only numbers the rows. Of two equal columns of the same name one is dropped.

    Args:
        columns: names that are also found in other case and with blanks, such as ``Recording ID`` for ``recording_id``.

    Returns:
        DataFrame of str.

    Raises:
        TableError: if there is no such file, it is not a table, rows have more cells than the header, or columns of the same
            name differ.
    """
    path = Path(path)
    text = _text(path)
    header, rows, numbers = _cells(path, text)
    header, rows = _fit(path, header, rows, numbers)
    header = _rename(header, columns)
    table = pd.DataFrame(rows, columns=pd.RangeIndex(len(header)), index=pd.Index(numbers, dtype=int) - 2, dtype=str)
    return _named_columns(path, header, table)


def seconds(text):
    """Seconds of ``2.5``, ``2,5``, ``2.5 s``, ``1:02.5`` (m:s) or ``00:01:02`` (h:m:s), as float; NaN for other text."""
    text = text.strip().lower().removesuffix("s").strip().replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+:){0,2}(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text):
        return float("nan")
    sign = -1.0 if text.startswith("-") else 1.0
    return sign * sum(float(part) * 60**power for power, part in enumerate(reversed(text.lstrip("+-").split(":"))))


# Bytes and text


def _text(path):
    if path.is_dir():
        tables = sorted(file.name for file in path.glob("*.csv"))
        there = f", such as {path / tables[0]}" if tables else ""
        raise TableError(path, f"is a folder: give the path of a CSV file{there}, or a folder of BirdCLEF's layout as data_dir")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TableError(path, f"cannot be opened ({reason}): give the path of a CSV file") from error
    for magic, reason in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise TableError(path, reason)
    text = decode(path, data)
    if not text.strip():
        raise TableError(path, "is empty: give a CSV table with a header and a row per recording")
    if path.suffix.lower() in (".json", ".jsonl") or re.match(r'\s*([\[{]\s*[\[{"]|\{\s*\})', text):
        raise TableError(path, "is JSON, not a CSV table: save it as CSV")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise TableError(path, "is a web page or XML, not a CSV table: download the table itself, or save it as CSV")
    return text


def decode(path, data):
    """The text of a file's bytes in UTF-8, UTF-16 or UTF-32, else Windows-1252 with a warning; raises TableError for what is not text."""
    mark = next((mark for mark in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    encoding = _BYTE_ORDER_MARKS[mark] if mark else _encoding_without_mark(data)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    n_control = sum(data.count(bytes([code])) for code in range(32) if code not in (9, 10, 12, 13, 26))
    if encoding != "utf-8" or mark or n_control > 0.01 * len(data):
        raise TableError(path, "is not text: give a CSV table, saved in UTF-8")
    message = "is not UTF-8 and was read as Windows-1252: if letters are wrong, save it as CSV in UTF-8"
    warnings.warn(f"{runtime.printable(path)}: {message}", TableWarning, stacklevel=4)
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:  # five bytes are not assigned
        return data.decode("latin-1")


def _encoding_without_mark(data):
    """UTF-16 without byte-order mark has a zero in every second byte of ASCII text."""
    start = data[:2000]
    for encoding, offset in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(start) >= 4 and start[offset::2].count(0) > 0.8 * (len(start) // 2) and start[1 - offset :: 2].count(0) == 0:
            return encoding
    return "utf-8"


# Cells


def _cells(path, text):
    """The header, the rows, and the number of each row in a spreadsheet."""
    first, _, rest = text.lstrip("\ufeff\r\n").partition("\n" if "\n" in text else "\r")
    given = re.fullmatch(r"\"?sep=(.)\"?[,;\t]*", first.rstrip("\r"))
    if given:
        text, separator = rest, given[1]
    else:
        separator = _separator(text)
    lines = _parse(path, text, separator)
    header = next((line[0] for line in lines if line), "")
    if max(map(len, lines), default=0) == 1 and any(mark in header for mark in ",;\t"):  # whole rows were quoted
        lines = _parse(path, "\n".join("".join(line) for line in lines), _separator(header))
    lines = [[cell.strip().strip("\ufeff") for cell in line] for line in lines]
    filled = [number for number, line in enumerate(lines) if any(line)]
    if not filled:
        raise TableError(path, "is empty: give a CSV table with a header and a row per recording")
    header, *filled = filled
    return lines[header], [lines[number] for number in filled], [number - header + 1 for number in filled]


def _separator(text):
    """The separator that occurs most often in the header outside quotation marks; a comma where there is none."""
    header = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    return max(_SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark, skipinitialspace=True))))


def _parse(path, text, separator):
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=separator, skipinitialspace=True)
    lines, line_number = [], 1
    default = csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        for line in reader:
            if line and line[-1].endswith(_END):
                break
            lines.append(line)
            line_number = reader.line_num + 1
    except csv.Error as error:
        line = [str(error)]
    finally:
        csv.field_size_limit(default)
    if line != [_END]:
        raise TableError(path, f"is not a CSV table: in line {line_number} a quotation mark is opened and not closed; close it, or remove it")
    return lines


# Rows and columns


def _fit(path, header, rows, numbers):
    """The header and the rows with as many cells; empty cells beyond the header are cut off, missing ones are empty."""
    while header and not header[-1]:
        if any(len(row) >= len(header) and row[len(header) - 1] for row in rows):
            break
        header = header[:-1]
    width = len(header)
    if rows and all(len(row) == width + 1 for row in rows) and _is_numbering([row[0] for row in rows]) and any(row[-1] for row in rows):
        rows = [row[1:] for row in rows]  # row numbers without header, as R writes them
    too_long = [(number, [cell for cell in row[width:] if cell]) for number, row in zip(numbers, rows, strict=True) if any(row[width:])]
    if too_long:
        examples = "; ".join(f"row {number}: {', '.join(map(repr, extra))}" for number, extra in too_long[:_EXAMPLES_SHOWN])
        more = f"; and {len(too_long) - _EXAMPLES_SHOWN} more" if len(too_long) > _EXAMPLES_SHOWN else ""
        remedy = "name the column in the header, or put a text that holds the separator into quotation marks"
        raise TableError(path, f"{len(too_long)} rows have more cells than the header ({width}): {examples}{more}. Remedy: {remedy}")
    return header, [row[:width] + [""] * (width - len(row)) for row in rows]


def _rename(header, columns):
    """The header with known names in their own spelling, unless a column has that name already."""
    known = {_folded(name): name for name in columns if name not in header}
    return [name if name in columns else known.get(_folded(name), name) for name in header]


def _folded(name):
    return re.sub(r"[\W_]+", "", name).lower()


def _named_columns(path, header, table):
    """The table with its names, without row numbers, unnamed empty columns and repeated equal columns."""
    kept, different = {}, []
    for index, name in enumerate(header):
        cells = table[index]
        is_unnamed = not name or re.fullmatch(r"Unnamed: \d+(_level_\d+)?", name)
        if is_unnamed and (not (cells != "").any() or _is_numbering(cells)):
            continue
        name = name or f"unnamed_{index + 1}"
        if name not in kept:
            kept[name] = index
        elif not table[kept[name]].equals(cells.rename(kept[name])):
            different.append(name)
    if different:
        names = ", ".join(map(repr, dict.fromkeys(different)))
        raise TableError(path, f"column appears twice with different cells: {names}. Remedy: rename or remove one of them")
    table = table[list(kept.values())]
    table.columns = pd.Index(list(kept), dtype=str)
    return table


def _is_numbering(cells):
    """Whether cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    cells = list(cells)
    return cells in ([str(index) for index in range(len(cells))], [str(index + 1) for index in range(len(cells))])
