"""Tables as spreadsheets and people write them are read as they were meant, or refused with the remedy."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from birdlib.data import csv_tables

HEAD = ["recording_id", "species", "audio_path"]
ROWS = [["a", "Turdus merula", "a.ogg"], ["b", "Parus, major", "b.ogg"], ["c", 'the "blue" tit', "c.ogg"]]
PLAIN = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
CELLS = st.text(PLAIN | st.sampled_from('\n,;\t|"\' '), max_size=12)
NAMES = st.text(st.sampled_from("abcxyz_ÄéЖ鳥0189"), min_size=1, max_size=8)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
without_warnings = pytest.mark.filterwarnings("error")


def write(path, rows, delimiter=",", encoding="utf-8", newline="\n", **options):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline, **options).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def cells(table):
    return table.to_numpy().tolist()


def save(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@without_warnings
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separator_encoding_and_line_ends_do_not_matter(tmp_path, delimiter, encoding, newline):
    table = csv_tables.read(write(tmp_path / "t.csv", [HEAD, *ROWS], delimiter, encoding, newline))
    assert list(table) == HEAD and cells(table) == ROWS


@without_warnings
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    rows=st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(ENCODINGS),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@example(["a", "b"], [['"', "", "", ""]], ",", "utf-8", "\n", csv.QUOTE_MINIMAL)
def test_what_csv_writes_is_read_back(tmp_path, names, rows, delimiter, encoding, newline, quoting):
    """Up to blanks around a cell; rows without content are left out. With Mac line ends the writer does not quote other ones by itself."""
    quoting = csv.QUOTE_ALL if newline == "\r" else quoting
    rows = [row[: len(names)] for row in rows]
    table = csv_tables.read(write(tmp_path / "t.csv", [names, *rows], delimiter, encoding, newline, quoting=quoting))
    stripped = [[cell.strip().strip("\ufeff") for cell in row] for row in rows]
    assert list(table) == names
    assert cells(table) == [row for row in stripped if any(row)]
    assert list(table.index) == [index for index, row in enumerate(stripped) if any(row)]


@pytest.mark.parametrize("text", ["Grünspecht", "Mésange à longue queue", "Gärtner’s Spötter"])
def test_windows_text_is_read_with_a_warning(tmp_path, text):
    path = write(tmp_path / "t.csv", [["species"], [text]], encoding="cp1252")
    with pytest.warns(csv_tables.TableWarning, match="t.csv: .*Windows-1252: if letters are wrong, save it as CSV in UTF-8"):
        assert cells(csv_tables.read(path)) == [[text]]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "sep=;;;"])
def test_the_separator_line_of_excel_is_no_header(tmp_path, first):
    assert cells(csv_tables.read(save(tmp_path, f"{first}\r\na,b;c\r\n1,5;2\r\n"))) == [["1,5", "2"]]


@without_warnings
@pytest.mark.parametrize(
    "text",
    [
        "id,species\nx,crow,\ny,tit,\n",
        "id,species,\nx,crow,\ny,tit,\n",
        "id,species,,,\nx,crow\ny,tit,,,\n,,,,\n",
        ",id,species\n0,x,crow\n1,y,tit\n",
        "Unnamed: 0,id,species\n0,x,crow\n1,y,tit\n",
        "id,species\n1,x,crow\n2,y,tit\n",
        "id,species,id\nx,crow,x\ny,tit,y\n",
        "ID ,Species\nx,crow\ny,tit\n",
        "\n\nid, species\n x , \"crow\"\n\ny,tit",
        '"id,species"\n"x,crow"\n"y,tit"\n',
        "id;species\nx;crow\ny;tit\n\n\n",
        "id,species\nx,crow\ny,tit\n,\n",
    ],
)  # fmt: skip
def test_cells_stay_in_their_columns(tmp_path, text):
    """Trailing commas, empty columns, row numbers with and without header, a column twice, blanks, blank lines, quoted rows."""
    table = csv_tables.read(save(tmp_path, text), ["id", "species"])
    assert list(table) == ["id", "species"] and cells(table) == [["x", "crow"], ["y", "tit"]]


def test_a_short_row_has_empty_cells_and_an_unnamed_column_with_content_is_kept(tmp_path):
    table = csv_tables.read(save(tmp_path, "id,,species\nx,note,crow\ny\n"))
    assert list(table) == ["id", "unnamed_2", "species"] and cells(table) == [["x", "note", "crow"], ["y", "", ""]]


def test_known_names_are_found_unless_a_column_has_the_name_itself(tmp_path):
    table = csv_tables.read(save(tmp_path, "Recording ID,audioPath,species,Species,Other Column\n1,2,3,4,5\n"), HEAD)
    assert list(table) == ["recording_id", "audio_path", "species", "Species", "Other Column"]


def test_rows_keep_their_numbers(tmp_path):
    """Row 3 is blank in the spreadsheet: the crow is in row 4, which has index 2."""
    assert list(csv_tables.read(save(tmp_path, "id\nx\n\ncrow\n")).index) == [0, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,b\nx,y\nx,y,a remark,\nz,y,one, two\n", r"2 rows .* header \(2\): row 3: 'a remark'; row 4: 'one', 'two'. Remedy: name the column"),
        ("id,species,id\nx,crow,y\n", "twice with different cells: 'id'. Remedy: rename or remove"),
        ('id,species\n"a,b\nc,d,e,f\n', "in line 2 a quotation mark is opened and not closed; close it"),
        ('id,species\nc,"' + "d" * 1_100_000, "quotation mark"),
        ("", "is empty: give a CSV table"),
        ("\ufeff\n ,\n", "is empty: give a CSV table"),
        (json.dumps([{"id": "a"}]), "is JSON, not a CSV table: save it as CSV"),
        (json.dumps({"id": ["a"]}, indent=1), "is JSON, not a CSV table: save it as CSV"),
        ("<!DOCTYPE html><html></html>", "is a web page or XML"),
        (b"PK\x03\x04" + bytes(50), "is a spreadsheet or an archive, not a CSV table: open it and save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(50), "is an Excel workbook.* save it as CSV"),
        (b"\x1f\x8b" + bytes(50), "is compressed: unpack it first"),
        (bytes(range(256)) * 9, "is not text: give a CSV table"),
        (b"\xff\xfe" + "a;b\n".encode("utf-16-le") + b"\x00", "is not text"),
    ],
)  # fmt: skip
def test_other_files_are_refused_with_the_remedy(tmp_path, text, reason):
    with pytest.raises(csv_tables.TableError, match=rf"table\.csv: .*{reason}"):
        csv_tables.read(save(tmp_path, text))


def test_parquet_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table.csv")
    with pytest.raises(csv_tables.TableError, match="is a Parquet table: save it as CSV"):
        csv_tables.read(tmp_path / "table.csv")


def test_a_folder_is_refused_with_the_table_in_it(tmp_path):
    save(tmp_path, "id\n1\n")
    with pytest.raises(csv_tables.TableError, match=r"is a folder: give the path of a CSV file, such as .*table\.csv"):
        csv_tables.read(tmp_path)
    with pytest.raises(csv_tables.TableError, match="cannot be opened .*: give the path of a CSV file"):
        csv_tables.read(tmp_path / "gone.csv")


def test_a_header_alone_is_an_empty_table(tmp_path):
    table = csv_tables.read(save(tmp_path, "id;species\n"))
    assert list(table) == ["id", "species"] and table.empty


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("2,5", 2.5), (" 2.5 s", 2.5), (".5", 0.5), ("7.", 7), ("00:00:02", 2), ("1:02.5", 62.5), ("01:02:03,5", 3723.5),
     ("-1", -1), ("1e2", 100)],
)  # fmt: skip
def test_times_are_seconds_or_clock_times(text, seconds):
    assert csv_tables.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "inf", "nan", "1:2:3:4", "1_0", "1.234,5", ":30", "12:", "0x10"])
def test_other_text_is_no_time(text):
    assert np.isnan(csv_tables.seconds(text))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59_999))
def test_clock_times_are_exact_to_the_millisecond(hours, minutes, milliseconds):
    text = f"{hours}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    assert csv_tables.seconds(text) == pytest.approx(3600 * hours + 60 * minutes + milliseconds / 1000, abs=1e-9)
