"""Raven selection tables: written as Raven opens them, read as Raven and BirdNET-Analyzer write them."""

import crowsetta
import numpy as np
import pandas as pd
import pytest
from made_tables import detections, recording

from birdlib.data import formats
from birdlib.data.formats import reading

MERLE = {"scientific_name": "Turdus merula", "common_name": "Eurasian Blackbird", "confidence": 0.8123, "low_hz": 1500.0, "high_hz": 4200.0}
FOUND = detections(("a.wav", 0.0, 3.0, "eurbla", MERLE), ("a.wav", 3700.25, 3703.0, "unknown"), ("b.wav", 1.0, 2.5, "eurbla", MERLE))
FILES = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "duration_s": [4000.0, 60.0, 60.0], "sample_rate_hz": [48000, 32000, 32000]})
# as Raven Pro 1.6 saves a selection table: tabs, CRLF, no quotation marks, a row for each view of a selection
SAVED = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tSpecies\tNotes\r\n"
    "1\tWaveform 1\t1\t154.387792767\t154.911598217\t2878.2\t4049.0\tnight.wav\tEATO\tsays \"drink\r\n"
    "1\tSpectrogram 1\t1\t154.387792767\t154.911598217\t2878.2\t4049.0\tnight.wav\tEATO\tsays \"drink\r\n"
    "2\tWaveform 1\t1\t167.5\t168.1\t2731.9\t3902.7\tnight.wav\t\t\r\n"
    "2\tSpectrogram 1\t1\t167.5\t168.1\t2731.9\t3902.7\tnight.wav\t\t\r\n"
)  # fmt: skip


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return formats.write({"detections": FOUND, "files": FILES}, "raven", "raven").written


def test_each_recording_has_a_table_named_as_raven_names_it_and_there_is_one_for_all(written):
    names = ["a.Table.1.selections.txt", "b.Table.1.selections.txt", "c.Table.1.selections.txt", "all_recordings.Table.1.selections.txt", "all_recordings.list.txt"]
    assert [path.name for path in written] == names


def test_crowsetta_reads_the_boxes(written):
    boxes = crowsetta.formats.bbox.Raven.from_file(written[0], annot_col="Common Name").to_bbox()
    assert [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes] == [
        (0.0, 3.0, 1500.0, 4200.0, "Eurasian Blackbird"),
        (3700.25, 3703.0, 0.0, 24000.0, "unknown"),
    ]


def test_a_box_without_frequencies_reaches_from_0_hz_to_half_the_sample_rate(written):
    table = pd.read_csv(written[0], sep="\t")
    assert table.loc[1, ["Low Freq (Hz)", "High Freq (Hz)"]].tolist() == [0.0, 24000.0]


def test_in_the_table_of_all_recordings_time_goes_on_from_one_to_the_next(written):
    """b begins where a ends, after 4000 s; the time in the file stands in File Offset (s)."""
    table = pd.read_csv(written[3], sep="\t")
    assert table["Selection"].tolist() == [1, 2, 3]
    assert table["Begin Time (s)"].tolist() == [0.0, 3700.25, 4001.0]
    assert table["File Offset (s)"].tolist() == [0.0, 3700.25, 1.0]
    assert [line.rpartition("/")[2] for line in written[4].read_text().split()] == ["a.wav", "b.wav", "c.wav"]


def test_a_recording_without_detections_has_a_table_without_rows(written):
    assert len(pd.read_csv(written[2], sep="\t")) == 0
    assert formats.guess(written[2]) == "raven" and len(formats.read(written[2])) == 0


def test_the_table_of_all_recordings_is_read_as_those_of_each(written, tmp_path):
    for name in ("a", "b", "c"):
        recording(tmp_path / f"{name}.wav", 0.1)
    together = formats.read(written[3])
    alone = pd.concat([formats.read(path) for path in written[:3]], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone)
    assert together["path"].tolist() == ["a.wav", "a.wav", "b.wav"]
    assert together["species"].tolist() == ["eurbla", "unknown", "eurbla"]


def test_a_table_that_raven_saved_is_read_with_one_row_a_selection(tmp_path):
    path = tmp_path / "night.Table.1.selections.txt"
    path.write_bytes(SAVED.encode())
    table = formats.read(path)
    assert table["path"].tolist() == ["night.wav", "night.wav"]
    assert table["start_s"].tolist() == [154.387792767, 167.5] and table["high_hz"].tolist() == [4049.0, 3902.7]
    assert table["species"].tolist() == ["EATO", ""] and table["Notes"].tolist() == ['says "drink', ""]


def test_what_crowsetta_and_this_reader_read_of_ravens_own_file_is_equal():
    """A table that Raven wrote comes with crowsetta."""
    path = crowsetta.example("Recording1", return_path=True)
    boxes = crowsetta.formats.bbox.Raven.from_file(path, annot_col="Species").to_bbox()
    table = formats.read(path)
    rows = table[["start_s", "end_s", "low_hz", "high_hz", "species"]].itertuples(index=False)
    expected = sorted((box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes)
    assert len(boxes) == 6 and [tuple(row) for row in rows] == expected


def test_birdnet_analyzers_row_for_a_recording_without_detections_is_none(tmp_path):
    """``generate_raven_table`` of BirdNET-Analyzer writes a row ``nocall``, so that its tables can be combined."""
    path = tmp_path / "quiet.BirdNET.selection.table.txt"
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCommon Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
    path.write_text(f"{header}1\tSpectrogram 1\t1\t0\t3\t0\t15000\tnocall\tnocall\t1.0\t/data/quiet.wav\t0\n")
    assert len(formats.read(path)) == 0
    path.write_text(f"{header}1\tSpectrogram 1\t1\t3.0\t6.0\t0\t15000\tEuropean Robin\teurrob1\t0.4411\t/data/quiet.wav\t3.0\n")
    row = formats.read(path).iloc[0]
    assert (row["species"], row["common_name"], row["confidence"], row["path"]) == ("eurrob1", "European Robin", 0.4411, "/data/quiet.wav")


def test_a_path_of_another_computer_is_found_by_its_last_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for site in ("north", "south"):
        recording(tmp_path / site / "dawn.wav")
    path = tmp_path / "selections.txt"
    path.write_text("Selection\tBegin Time (s)\tEnd Time (s)\tBegin Path\tSpecies\n1\t1\t2\tD:\\audio\\south\\dawn.wav\trobin\n")
    assert formats.read(path)["path"].tolist() == ["south/dawn.wav"]


def test_spreadsheets_commas_and_quotation_marks_are_understood(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes('\ufeffSelection\tBegin Time (s)\tEnd Time (s)\tSpecies\r\n1\t1,5\t1:02,5\t"the ""blue"" tit"\r\n\r\n'.encode("utf-16"))
    row = formats.read(path).iloc[0]
    assert (row["start_s"], row["end_s"], row["species"]) == (1.5, 62.5, 'the "blue" tit') and np.isnan(row["low_hz"])


@pytest.mark.parametrize(("row", "message"), [("1\tsoon\t2\trobin", "row 2 has 'soon' as Begin Time"), ("1\t1\t2\trobin\tmore", "row 2 has more cells")])
def test_rows_that_cannot_be_used_are_named(tmp_path, row, message):
    path = tmp_path / "x.txt"
    path.write_text(f"Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n{row}\n")
    with pytest.raises(reading.FormatError, match=message):
        formats.read(path)
