"""All formats: one list, files that are kept, names that do not collide, and what is written is read."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_tables import detections, films, tracks

from birdlib import runtime
from birdlib.analysis import detections as analysed
from birdlib.data import formats
from birdlib.data.formats import reading, tables

DETECTION_FORMATS = [name for name in formats.NAMES if formats.FORMATS[name].holds == "detections"]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=15)
FILE_NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0/"), min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
TIMES = st.floats(0, 200_000, allow_nan=False).map(lambda seconds: round(seconds, 3))


def given_tables():
    found = detections(("a/x.wav", 0.0, 3.0, "robin", {"low_hz": 1000.0, "high_hz": 2000.0, "score": 0.5}))
    return {"detections": found, "tracks": tracks(), "films": films()}


@pytest.mark.parametrize("name", formats.NAMES)
def test_a_written_file_is_recognised_by_its_content(tmp_path, name):
    for path in formats.write(given_tables(), name, tmp_path).written:
        if path.suffix != ".ini" and not path.name.endswith(".list.txt"):
            expected = "audacity" if name == "audacity-bands" else name
            assert formats.guess(path) == expected, path


@pytest.mark.parametrize("name", formats.NAMES)
def test_a_file_that_exists_is_kept_unless_it_shall_be_overwritten(tmp_path, name):
    first = formats.write(given_tables(), name, tmp_path)
    assert first.written and not first.kept
    for path in first.written:
        path.write_text("mine")
    again = formats.write(given_tables(), name, tmp_path)
    assert again.kept == first.written and not again.written and {path.read_text() for path in first.written} == {"mine"}
    assert formats.write(given_tables(), name, tmp_path, overwrite=True).written == first.written
    assert "mine" not in {path.read_text() for path in first.written}
    assert not [path for path in tmp_path.rglob(".*")]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(runtime.FileError, match="out/detections.csv: cannot be written .*: choose another folder"):
        formats.write(given_tables(), "csv", tmp_path / "out")


@pytest.mark.parametrize("name", ["xlsx", "birdclef", ""])
def test_an_unknown_format_is_answered_with_the_known_ones_and_what_they_hold(tmp_path, name):
    with pytest.raises(runtime.ParameterError, match=r"unknown format .*: use raven \(detections\), .*mot \(tracks\).*coco \(boxes\)"):
        formats.write(given_tables(), name, tmp_path)


def test_a_format_for_which_there_is_no_table_says_so(tmp_path):
    with pytest.raises(runtime.ParameterError, match="the format cvat holds tracks, and there are none here"):
        formats.write({"detections": given_tables()["detections"]}, "cvat", tmp_path)


@pytest.mark.parametrize(("content", "message"), [("", "is empty"), ("hello\n", "is of no format that is known"), ("recording_id,species,audio_path,start_s,end_s\n", "no format")])
def test_other_files_are_refused_with_the_formats_that_can_be_read(tmp_path, content, message):
    path = tmp_path / "x.txt"
    path.write_text(content)
    with pytest.raises(reading.FormatError, match=f"{message}.*raven .*birdclef"):
        formats.read(path)


def test_a_missing_file_and_one_that_is_not_text_are_refused(tmp_path):
    with pytest.raises(reading.FormatError, match="cannot be opened"):
        formats.read(tmp_path / "none.txt")
    path = tmp_path / "x.txt"
    path.write_bytes(bytes(range(32)) * 50 + b"\xff\xfe\xfd")
    with pytest.raises(reading.FormatError, match="is not text"):
        formats.read(path)


@pytest.mark.parametrize("name", DETECTION_FORMATS)
def test_tables_without_rows_are_written_and_read(tmp_path, name):
    files = pd.DataFrame({"path": ["x.wav"], "duration_s": [60.0], "sample_rate_hz": [48000]})
    for path in formats.write({"detections": detections(), "files": files}, name, tmp_path).written:
        assert len(formats.read(path, name)) == 0


def test_the_columns_are_those_of_an_analysis():
    """The table that analyse makes is what the formats take."""
    assert set(tables.DETECTIONS) < set(analysed.COLUMNS) and {"path", "duration_s", "sample_rate_hz", "media"} < set(analysed.FILE_COLUMNS)


# Names


def test_recordings_of_one_stem_get_files_of_their_own():
    names = tables.file_names(["a/x.wav", "b/x.wav", "b/x.flac", "b/X.FLAC", "b/y.wav"])
    assert names["a/x.wav"] == "a/x" and names["b/x.wav"] == "b/x.wav" and names["b/y.wav"] == "b/y"
    assert names["b/x.flac"].startswith("b/x.flac-") and names["b/X.FLAC"].startswith("b/X.FLAC-")
    assert len({name.casefold() for name in names.values()}) == 5


def test_a_single_recording_is_named_without_its_folders():
    assert tables.file_names(["/data/2026/north/x.wav"]) == {"/data/2026/north/x.wav": "x"}


@given(st.lists(FILE_NAMES, min_size=1, max_size=6, unique=True))
@example(["a" * 250 + ".wav", "a" * 251 + ".wav"])
@example(["a?.wav", "a*.wav", "a\n.wav"])
@example(["con .wav", "con.wav"])
@example(["鳥" * 80 + ".wav"])
def test_names_of_files_are_unique_and_any_file_system_takes_them(names):
    found = tables.file_names([f"folder/{name}" for name in names])
    assert len(found) == len(names) == len({name.casefold() for name in found.values()})
    for name in found.values():
        assert len(os.fsencode(name)) < 220 and not set(name) & set('<>:"|?*\\/\n\t\0') and name.strip(". ")


# Round trips


@pytest.mark.parametrize("name", DETECTION_FORMATS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TIMES, TIMES, TEXT, st.floats(0, 1)), min_size=1, max_size=5))
@example(rows=[(3600.5, 4.0, 'tab\there "and" quote\nline; comma, \x0b', 0.5)])
@example(rows=[(0.0, 5.0, "=1+1", 1.0), (0.0, 5.0, "NA", 0.0), (1.0, 5.0, "\\", 0.25), (2.0, 5.0, "007", 0.1)])
def test_times_and_labels_are_read_as_they_were_written(tmp_path, name, rows):
    """Formats without quotation marks hold labels in one line, blanks at the ends are lost, and confidences are rounded."""
    rows = [(start_s, start_s + length_s, "x" + label, round(score, 2)) for start_s, length_s, label, score in rows]
    found = detections(*(("x.wav", start_s, end_s, label, {"confidence": score}) for start_s, end_s, label, score in rows))
    path = formats.write({"detections": found}, name, tmp_path, overwrite=True).written[0]
    table = formats.read(path, name)
    expected = tables.complete(found, "detections")
    np.testing.assert_allclose(table["start_s"], expected["start_s"], atol=1e-3)
    np.testing.assert_allclose(table["end_s"], expected["end_s"], atol=2e-3)
    np.testing.assert_allclose(table["confidence"], expected["confidence"], atol=1e-6)
    assert [tables.one_line(label) for label in table["species"]] == [tables.one_line(label) for label in expected["species"]]


# Damage


@pytest.mark.parametrize("name", [*formats.NAMES, "birdclef"])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1), length=st.integers(0, 60), inserted=st.text(st.sampled_from('\n\t,;"{}[]<>\\x0é-:.'), max_size=6))
@example(position=0.0, length=0, inserted="")
@example(position=0.0, length=10_000, inserted="\n")
def test_damaged_files_are_read_or_refused_by_name(tmp_path, name, position, length, inserted):
    """A part is cut out and other characters are put there."""
    path = tmp_path / "x.txt"
    if name == "birdclef":
        text = "filename,start,end,primary_label\nx.ogg,00:00:00,00:00:05,brnowl;116570\n"
    else:
        text = formats.write(given_tables(), name, tmp_path / "out", overwrite=True).written[0].read_text()
    cut = round(position * len(text))
    path.write_text(text[:cut] + inserted + text[cut + length :])
    try:
        table = formats.read(path, name)
    except reading.FormatError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert list(tables.COLUMNS[formats.FORMATS[name].holds]) == list(table)[: len(tables.COLUMNS[formats.FORMATS[name].holds])]
