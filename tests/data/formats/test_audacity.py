r"""Audacity label tracks: three cells a label, and in the extended format a line ``\`` with its frequencies."""

import crowsetta
import numpy as np
import pytest
from made_tables import detections, recording

from birdlib.data import formats
from birdlib.data.formats import reading

MERLE = {"scientific_name": "Turdus merula", "common_name": "Eurasian Blackbird", "confidence": 0.8123, "low_hz": 1500.0, "high_hz": 4200.0}
FOUND = detections(("a.wav", 0.5, 3.0, "Turdus merula_Eurasian Blackbird", MERLE), ("a.wav", 3700.25, 3703.0, "eurrob1", {"common_name": "European Robin"}))
# the examples of the Audacity manual, "Importing and Exporting Labels"
STANDARD = "2.150000\t2.150000\tpoint label at 2.15 seconds\n3.400000\t6.100000\tregion label from 3.4 to 6.1 seconds\n"
EXTENDED = (
    "1.000000\t1.000000\tThis point was clicked at 6928.456055 Hz\n\\\t6928.456055\t6928.456055\n"
    "2.000000\t2.500000\tLow frequency undefined, High frequency 6334.588867 Hz\n\\\t-1.000000\t6334.588867\n"
    "3.000000\t3.500000\tLow frequency 8908.015625, High frequency undefined\n\\\t8908.015625\t-1.000000\n"
    "4.000000\t4.500000\tLow frequency 1484.669312 Hz, High frequency 2969.338523 Hz\n\\\t1484.669312\t2969.338523\n"
)


def write(folder, name, found=FOUND):
    return formats.write({"detections": found}, name, folder).written[0]


def test_a_label_has_both_names_and_the_confidence(tmp_path):
    assert write(tmp_path, "audacity").read_text() == (
        "0.500000\t3.000000\tTurdus merula, Eurasian Blackbird (0.81)\n3700.250000\t3703.000000\tEuropean Robin [eurrob1]\n"
    )


def test_crowsetta_reads_both_formats(tmp_path):
    plain = crowsetta.formats.seq.AudSeq.from_file(write(tmp_path / "plain", "audacity")).to_seq()
    assert plain.onsets_s.tolist() == [0.5, 3700.25] and plain.offsets_s.tolist() == [3.0, 3703.0]
    bands = crowsetta.formats.bbox.AudBBox.from_file(write(tmp_path / "bands", "audacity-bands", FOUND[:1])).to_bbox()
    assert [(box.onset, box.offset, box.low_freq, box.high_freq) for box in bands] == [(0.5, 3.0, 1500.0, 4200.0)]


def test_a_label_without_frequencies_has_no_line_of_them(tmp_path):
    lines = write(tmp_path, "audacity-bands").read_text().splitlines()
    assert [line[:2] for line in lines] == ["0.", "\\\t", "37"]


def test_the_manuals_examples_are_read(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text(STANDARD)
    table = formats.read(path)
    assert table["end_s"].tolist() == [2.15, 6.1] and table["species"].tolist() == ["point label at 2.15 seconds", "region label from 3.4 to 6.1 seconds"]
    path.write_bytes(EXTENDED.replace("\n", "\r\n").encode())
    table = formats.read(path)
    np.testing.assert_array_equal(table["low_hz"], [6928.456055, np.nan, 8908.015625, 1484.669312])
    np.testing.assert_array_equal(table["high_hz"], [6928.456055, 6334.588867, np.nan, 2969.338523])


def test_what_crowsetta_and_this_reader_read_of_audacitys_own_file_is_equal():
    """A label track that Audacity exported comes with crowsetta."""
    path = crowsetta.example("spinetail.txt", return_path=True)
    boxes = crowsetta.formats.bbox.AudBBox.from_file(path).to_bbox()
    rows = formats.read(path)[["start_s", "end_s", "low_hz", "high_hz", "species"]].itertuples(index=False)
    assert [tuple(row) for row in rows] == sorted((box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes)


def test_names_and_confidence_are_read_back(tmp_path):
    table = formats.read(write(tmp_path, "audacity-bands"))
    assert table.loc[0, ["species", "scientific_name", "common_name", "confidence", "low_hz"]].tolist() == [
        "Turdus merula_Eurasian Blackbird", "Turdus merula", "Eurasian Blackbird", 0.81, 1500.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("species", "scientific", "common", "text"),
    [
        ("blkwhi1", "Pachycephala jacquinoti", "Blackish Whistler", "Blackish Whistler [blkwhi1]"),
        ("Robin", "", "European Robin", "European Robin [Robin]"),
        ("robin, juvenile", "", "", "robin, juvenile"),
        ("Turdus merula", "Turdus merula", "", "Turdus merula"),
        ("Turdus merula", "Turdus merula", "Eurasian Blackbird", "Eurasian Blackbird [Turdus merula]"),
        ("1139490", "Turdus merula", "", "Turdus merula [1139490]"),
    ],
)
def test_a_label_is_read_back_whatever_its_names_are(tmp_path, species, scientific, common, text):
    """With the confidence behind it, which tells that a program wrote it."""
    path = write(tmp_path, "audacity", detections(("a.wav", 0.0, 3.0, species, {"scientific_name": scientific, "common_name": common, "confidence": 0.5})))
    assert path.read_text() == f"0.000000\t3.000000\t{text} (0.50)\n"
    assert formats.read(path)["species"].tolist() == [species]


def test_a_label_that_a_person_wrote_is_one_name_even_with_a_comma(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1.0\t2.0\tsong, distant\n")
    assert formats.read(path)["species"].tolist() == ["song, distant"]


def test_birdnet_analyzers_label_tracks_are_read(tmp_path):
    """``generate_audacity`` writes the confidence as a fourth cell."""
    path = tmp_path / "dawn.BirdNET.results.txt"
    path.write_text("0.0\t3.0\tTurdus merula, Eurasian Blackbird\t0.8123\n")
    row = formats.read(path).iloc[0]
    assert (row["species"], row["common_name"], row["confidence"]) == ("Turdus merula_Eurasian Blackbird", "Eurasian Blackbird", 0.8123)


def test_the_recording_is_that_of_the_label_tracks_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recording(tmp_path / "deep" / "a.wav")
    assert formats.read(write(tmp_path / "labels", "audacity"), media=tmp_path)["path"].unique().tolist() == ["deep/a.wav"]


def test_two_recordings_that_fit_equally_are_not_guessed_between(tmp_path):
    for name in ("b/a.wav", "c/a.wav"):
        recording(tmp_path / name)
    assert formats.read(write(tmp_path / "labels", "audacity"), media=tmp_path)["path"].unique().tolist() == ["a"]


def test_a_line_that_is_no_label_is_named(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1.0\t2.0\trobin\nlater\n")
    with pytest.raises(reading.FormatError, match="line 2 is not a label .*'later'; correct or remove it"):
        formats.read(path)
