"""Annotations become rows of a manifest that a chain can run with."""

import pandas as pd
import pytest
from made_tables import detections, recording

from birdlib import runtime
from birdlib.data import formats, manifest
from birdlib.data.formats import reading

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tFile Offset (s)\tSpecies\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{start_s}\t{end_s}\t{label}\n" for start_s, end_s, label in rows))
    return path


def parts(table):
    return table[["audio_path", "start_s", "end_s", "species", "secondary_species"]].to_numpy().tolist()


def test_the_rows_are_a_manifest(here):
    """It is written, read, checked and normalised without a warning: every recording is one group, ids are unique."""
    recording(here / "site 1/dawn.wav")
    labels(here / "site 1/dawn.labels.txt", (0, 2, "robin"), (3.5, 4, "wren"), (3.5, 4, "robin"))
    table, left_out = formats.to_manifest(here)
    runtime.write_table(table, here / "manifest.csv")
    read, root = manifest.load(here / "manifest.csv")
    assert root == here.resolve() and left_out.empty
    assert parts(read) == [["site 1/dawn.wav", 0.0, 2.0, "robin", ""], ["site 1/dawn.wav", 3.5, 4.0, "wren", "robin"]]
    assert read["group_id"].unique().tolist() == ["site 1/dawn.wav"] and read["recording_id"].tolist() == ["dawn-00000_00", "dawn-00003_50"]


def test_labels_that_overlap_are_secondary_to_each_other_and_those_that_touch_are_not(here):
    recording(here / "x.wav")
    labels(here / "x.txt", (0, 4, "a"), (1, 2, "b"), (1.5, 6, "c"), (6, 8, "d"), (7, 9, "d"))
    assert parts(formats.to_manifest(here)[0]) == [
        ["x.wav", 0.0, 4.0, "a", "b;c"],
        ["x.wav", 1.0, 2.0, "b", "a;c"],
        ["x.wav", 1.5, 6.0, "c", "a;b"],
        ["x.wav", 6.0, 8.0, "d", ""],
        ["x.wav", 7.0, 9.0, "d", ""],
    ]


def test_the_most_confident_label_of_a_part_is_its_species(here):
    recording(here / "x.wav")
    labels(here / "x.txt", (0, 3, "wren (0.40)"), (0, 3, "robin (0.90)"))
    assert parts(formats.to_manifest(here)[0]) == [["x.wav", 0.0, 3.0, "robin", "wren"]]


def test_a_point_becomes_a_part_around_it_within_the_recording(here):
    recording(here / "x.wav")
    labels(here / "x.txt", (6, 6, "robin"), (1, 1, "wren"))
    assert parts(formats.to_manifest(here, point_s=4.0)[0]) == [["x.wav", 0.0, 4.0, "wren", "robin"][:4] + [""], ["x.wav", 4.0, 8.0, "robin", ""]]
    with pytest.raises(runtime.ParameterError, match="point_s is 0"):
        formats.to_manifest(here, point_s=0)


def test_one_table_for_several_recordings_and_one_for_each_are_not_counted_twice(here):
    """As this library writes them: each recording's own and all_recordings."""
    for name in ("a/x.wav", "b/x.wav"):
        recording(here / name)
    found = detections(("a/x.wav", 0.0, 1.0, "robin"), ("b/x.wav", 2.0, 3.0, "wren"))
    formats.write({"detections": found}, "raven", "raven")
    table, left_out = formats.to_manifest("raven", media=here)
    assert parts(table) == [["a/x.wav", 0.0, 1.0, "robin", ""], ["b/x.wav", 2.0, 3.0, "wren", ""]]
    assert set(left_out["path"]) == {"raven/all_recordings.list.txt"}


def test_what_cannot_be_used_is_listed_with_its_reason(here):
    recording(here / "x.wav")
    labels(here / "x.txt", (0, 1, "robin"), (2, 3, ""))
    labels(here / "gone.txt", (0, 1, "robin"))
    (here / "README.txt").write_text("how the labels were made\n")
    (here / "film.txt").write_text("1,1,10,10,5,5,1\n")
    (here / "broken.txt").write_text(RAVEN + "1\tSpectrogram 1\t1\tsoon\t2\t0\t1\tx.wav\t0\trobin\n")
    table, left_out = formats.to_manifest(here)
    reasons = left_out.set_index("path")["reason"]
    assert parts(table) == [["x.wav", 0.0, 1.0, "robin", ""]]
    assert "named in gone.txt, but is not found, and no file of its name is below ." in reasons["gone"]
    assert "is of no format that is known" in reasons["README.txt"] and "has 'soon' as Begin Time" in reasons["broken.txt"]
    assert "put the film beside it" in reasons["film.txt"] and reasons["(annotations)"] == "1 rows have no label"


@pytest.mark.parametrize("name", [".", "a\0b.wav", "x" * 300 + ".wav"])
def test_names_that_no_file_can_have_are_not_found(here, name):
    (here / "labels.txt").write_text(f"{RAVEN}1\tSpectrogram 1\t1\t1\t2\t0\t1\t{name}\t0\trobin\n")
    table, left_out = formats.to_manifest(here)
    assert table.empty and "is not found" in left_out["reason"][0]


def test_one_file_that_cannot_be_used_is_an_error(here):
    with pytest.raises(reading.FormatError, match="does not exist"):
        formats.to_manifest(here / "none")
    (here / "x.txt").write_text("hello\n")
    with pytest.raises(reading.FormatError, match="is of no format"):
        formats.to_manifest(here / "x.txt")


def test_a_recording_that_two_files_fit_is_listed_with_both(here):
    for name in ("a/x.wav", "b/x.wav"):
        recording(here / name)
    labels(here / "labels/x.txt", (0, 1, "robin"))
    table, left_out = formats.to_manifest(here / "labels", media=here)
    assert table.empty and left_out["reason"].tolist() == ["named in labels/x.txt, but fits 2 files, such as a/x.wav, b/x.wav: put the annotations beside their recording"]


def test_a_folder_that_was_copied_is_used_and_not_the_original(here):
    """The annotations still give the absolute paths of the original."""
    recording(here / "original/x.wav")
    formats.write({"detections": detections(("original/x.wav", 0.0, 1.0, "robin"))}, "raven", "copy/labels")
    assert formats.read("copy/labels/x.Table.1.selections.txt")["path"].tolist() == ["original/x.wav"]
    recording(here / "copy/x.wav")
    assert formats.to_manifest("copy")[0]["audio_path"].tolist() == ["x.wav"]
    (here / "copy/x.wav").unlink()
    assert formats.to_manifest("copy")[0]["audio_path"].tolist() == ["../original/x.wav"]


def test_windows_of_birdclefs_soundscapes_become_rows(here):
    recording(here / "train_soundscapes/s1.ogg", 12)
    path = here / "train_soundscapes_labels.csv"
    path.write_text("filename,start,end,primary_label\ns1.ogg,00:00:00,00:00:05,brnowl;116570\ns1.ogg,00:00:05,00:00:10,nocall\n")
    table, left_out = formats.to_manifest(path)
    assert parts(table) == [["train_soundscapes/s1.ogg", 0.0, 5.0, "brnowl", "116570"]] and left_out.empty


def test_paths_are_relative_to_where_the_manifest_will_be(here):
    recording(here / "data/x.wav")
    labels(here / "data/x.txt", (0, 1, "robin"))
    assert formats.to_manifest("data", root="project")[0]["audio_path"].tolist() == ["../data/x.wav"]


def test_a_thousand_overlapping_labels_take_no_longer_than_a_moment(here):
    """Each of them overlaps two others: the work grows with the overlaps, not with their square."""
    recording(here / "x.wav")
    labels(here / "x.txt", *((k, k + 1.5, f"s{k % 7}") for k in range(3000)))
    table, _ = formats.to_manifest(here)
    assert len(table) == 3000 and table["secondary_species"].map(lambda cell: cell.count(";")).max() == 1
    assert isinstance(table, pd.DataFrame) and table["recording_id"].is_unique
