import numpy as np
import pandas as pd
import pytest

from birdlib.analysis import detections


def windows(*rows, path="a.wav"):
    """Rows of (species, start_s, confidence), windows of 3 s."""
    table = pd.DataFrame(rows, columns=["species", "start_s", "confidence"])
    return table.assign(path=path, end_s=table["start_s"] + 3.0, score=table["confidence"])


def test_consecutive_windows_of_one_species_are_one_detection_with_the_highest_confidence():
    merged = detections.merge(windows(("wren", 0, 0.5), ("wren", 3, 0.9), ("wren", 6, 0.6)))
    assert merged[["start_s", "end_s", "confidence", "score", "n_windows"]].to_numpy().tolist() == [[0, 9, 0.9, 0.9, 3]]


def test_windows_of_other_species_and_other_files_are_not_joined():
    table = pd.concat([windows(("wren", 0, 0.5), ("robin", 3, 0.5)), windows(("wren", 3, 0.5), path="b.wav")])
    assert detections.merge(table)["n_windows"].tolist() == [1, 1, 1]


def test_overlapping_windows_are_joined_whatever_their_order():
    merged = detections.merge(windows(("wren", 4, 0.7), ("wren", 0, 0.5), ("wren", 2, 0.6)))
    assert merged[["start_s", "end_s", "confidence"]].to_numpy().tolist() == [[0, 7, 0.7]]


@pytest.mark.parametrize(("gap_s", "n"), [(-1.0, 3), (0.0, 2), (2.9, 2), (3.0, 1)])
def test_a_gap_is_bridged_up_to_its_limit(gap_s, n):
    """0-3 and 3-6 touch; 9-12 lies 3 s behind."""
    assert len(detections.merge(windows(("wren", 0, 0.5), ("wren", 3, 0.5), ("wren", 9, 0.5)), gap_s)) == n


def test_the_band_of_joined_windows_holds_the_band_of_each():
    table = windows(("wren", 0, 0.5), ("wren", 3, 0.9), ("wren", 6, 0.2)).assign(low_hz=[3000, 4000, np.nan], high_hz=[7000, 8000, np.nan])
    assert detections.merge(table)[["low_hz", "high_hz"]].to_numpy().tolist() == [[3000, 8000]]


def test_joined_windows_begin_when_the_first_was_recorded():
    table = windows(("wren", 0, 0.5), ("wren", 3, 0.9)).assign(recorded_at=pd.to_datetime(["2025-05-01 06:00:00", "2025-05-01 06:00:03"]))
    assert detections.merge(table)["recorded_at"].tolist() == [pd.Timestamp("2025-05-01 06:00:00")]


def test_merging_twice_changes_nothing():
    table = windows(("wren", 0, 0.5), ("wren", 3, 0.9), ("wren", 9, 0.5), ("robin", 1, 0.4))
    once = detections.merge(table)
    pd.testing.assert_frame_equal(detections.merge(once), once)


def test_detections_are_the_same_after_writing_and_reading(tmp_path):
    table = windows(("NA", 0, 0.5), ("Ren, \"big\"", 9, 0.9), path="café\nα.wav").assign(recorded_at=pd.Timestamp("2025-05-01 06:00:00"), site="12")
    merged = detections.merge(table)
    merged.to_csv(tmp_path / "detections.csv", index=False)
    pd.testing.assert_frame_equal(detections.read(tmp_path / "detections.csv"), merged)


@pytest.mark.parametrize("table", [detections.typed(), detections.merge([])])
def test_an_empty_table_has_all_columns_in_their_types(table):
    assert list(table) == detections.COLUMNS and len(table) == 0
    assert table["recorded_at"].dtype == "datetime64[ns]" and table["start_s"].dtype == float


def test_an_empty_table_of_files_is_the_same_after_writing_and_reading(tmp_path):
    detections.typed_files().to_csv(tmp_path / "files.csv", index=False)
    pd.testing.assert_frame_equal(detections.read_files(tmp_path / "files.csv"), detections.typed_files())


def test_species_are_listed_by_frequency():
    table = detections.merge(pd.concat([windows(("robin", 0, 0.99), ("wren", 0, 0.5), ("wren", 9, 0.7)), windows(("wren", 0, 0.4), path="b.wav")]))
    species = detections.by_species(table)
    assert species[["species", "detections", "files", "seconds", "highest_confidence"]].to_numpy().tolist() == [["wren", 3, 2, 9, 0.7], ["robin", 1, 1, 3, 0.99]]
