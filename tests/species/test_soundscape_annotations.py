import numpy as np
import pytest

from birdlib.species import soundscape_annotations

ROWS = ["S1_5", "S1_10", "S1_15", "S1_20"]


def labels_file(folder, *lines):
    path = folder / "labels.csv"
    path.write_text("\n".join(["filename,start,end,primary_label", *lines]))
    return path


def test_annotations_apply_to_the_windows_in_their_interval_only(tmp_path):
    """An interval of 10 s labels both windows in it; an empty label means no species; labels of no class are dropped."""
    path = labels_file(tmp_path, "S1.ogg,00:00:00,00:00:05,wren;crow", "S1.ogg,5,15,crow;dragon", "S1.ogg,00:00:10,00:00:15,", "S9.ogg,0,5,wren")
    with pytest.warns(UserWarning, match="1 labels are no species of the recordings and are dropped: dragon"):
        truth = soundscape_annotations.read_annotations(path, ROWS, ["crow", "wren"])
    assert np.array_equal(truth, [[1, 1], [1, 0], [1, 0], [np.nan, np.nan]], equal_nan=True)


def test_invalid_annotations_are_reported_with_their_line(tmp_path):
    with pytest.raises(soundscape_annotations.AnnotationError, match="labels.csv, line 3: 'noon' is no time"):
        soundscape_annotations.read_annotations(labels_file(tmp_path, "S1.ogg,0,5,wren", "S1.ogg,noon,5,wren"), ROWS, ["wren"])
    (tmp_path / "other.csv").write_text("row_id,birds\nS1_5,wren\n")
    with pytest.raises(soundscape_annotations.AnnotationError, match="no column filename, start, end, primary_label"):
        soundscape_annotations.read_annotations(tmp_path / "other.csv", ROWS, ["wren"])


def test_human_labels_are_a_table_and_the_file_is_optional(tmp_path):
    path = labels_file(tmp_path, "S1.ogg,0,5,wren")
    table = soundscape_annotations.human_labels(path, ROWS, ["crow", "wren"])
    assert table[["row_id", "label", "target", "kind"]].to_numpy().tolist() == [["S1_5", "crow", 0.0, "human"], ["S1_5", "wren", 1.0, "human"]]
    assert soundscape_annotations.human_labels(tmp_path / "none.csv", ROWS, ["crow"]).empty


def test_truth_is_read_in_the_order_of_rows_and_classes(tmp_path):
    """A numeric label stays text, NA is a label, a species outside the classes is dropped, an unknown row is empty."""
    (tmp_path / "truth.csv").write_text("row_id,birds\nH1_10,wren;22973\nH1_5,\nH1_15,NA;zander\n")
    classes = ["22973", "NA", "wren"]
    truth = soundscape_annotations.read_truth(tmp_path / "truth.csv", ["H1_5", "H1_10", "H1_15", "H9_5"], classes)
    assert truth.tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert soundscape_annotations.read_truth(tmp_path / "truth.csv", [], classes).shape == (0, 3)


def test_annotations_may_come_from_a_spreadsheet(tmp_path):
    """Semicolons, names in capitals, decimal commas, a list of labels."""
    path = tmp_path / "labels.csv"
    path.write_bytes("Filename;Start;End;Primary Label\na.ogg;0,0;00:00:05;['crow', 'tit']\n".encode("utf-16"))
    truth = soundscape_annotations.read_annotations(path, ["a_5", "a_10"], ["crow", "owl", "tit"])
    np.testing.assert_array_equal(truth, [[1, 0, 1], [np.nan] * 3])


def test_the_names_of_annotated_soundscapes_are_their_stems(tmp_path):
    assert soundscape_annotations.annotated_stems(labels_file(tmp_path, "S1.ogg,0,5,wren", "S1.ogg,0,5,wren", "S2,5,10,")) == {"S1", "S2"}
    assert soundscape_annotations.annotated_stems(tmp_path / "none.csv") == set()


def test_annotations_that_are_named_and_missing_are_an_error(tmp_path):
    assert not soundscape_annotations.annotations_path(tmp_path, soundscape_annotations.ANNOTATIONS).is_file()
    assert not soundscape_annotations.annotations_path(tmp_path, "").is_file()
    with pytest.raises(soundscape_annotations.AnnotationError, match="human_labels is 'missing.csv'"):
        soundscape_annotations.annotations_path(tmp_path, "missing.csv")
