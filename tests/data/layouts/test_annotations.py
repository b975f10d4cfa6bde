"""Recordings with tables of labels: Raven's and Audacity's, and BirdCLEF's labels of soundscapes."""

import numpy as np
import pytest
import soundfile
from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
    "1\tSpectrogram 1\t1\t0.5\t1.5\t1000.0\t4000.0\trobin\n2\tSpectrogram 1\t1\t2.0\t3.0\t1000.0\t4000.0\twren\n"
)
AUDACITY = "0.500000\t1.500000\trobin\n2.000000\t3.000000\twren\n"


def sound(root, name):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(64_000), 16_000)


@pytest.mark.parametrize(("table", "text"), [("pond_20250414_061000.Table.1.selections.txt", RAVEN), ("pond_20250414_061000.txt", AUDACITY)])
def test_labels_with_times(tmp_path, table, text):
    sound(tmp_path, "pond_20250414_061000.wav")
    sound(tmp_path, "pond_20250414_071000.wav")
    write(tmp_path, table, text)
    write(tmp_path, "README.txt", "Recordings of the pond.\n")
    reading = registry.read(tmp_path)
    rows = reading.table.sort_values("start_s")
    assert list(reading.layouts["layout"]) == ["annotations"]
    assert list(rows["species"]) == ["robin", "wren"] and list(rows["start_s"]) == [0.5, 2.0] and list(rows["end_s"]) == [1.5, 3.0]
    assert set(rows["group_id"]) == {"pond 2025-04-14"} and rows["recording_id"].is_unique
    assert reasons(reading) == {"pond_20250414_071000.wav": "no annotation names it"}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(tmp_path, ending):
    sound(tmp_path, "walk.wav")
    for name, text in (("walk.Table.1.selections.txt", RAVEN), ("notes.csv", "place,remark\npond,wind\n")):
        (tmp_path / name).write_bytes(text.replace("\n", ending).encode())
    assert registry.read(tmp_path).table["species"].tolist() == ["robin", "wren"]


def test_parts_of_a_recording_are_one_group(tmp_path):
    sound(tmp_path, "walk.wav")
    write(tmp_path, "walk.txt", AUDACITY)
    assert set(registry.read(tmp_path).table["group_id"]) == {"walk.wav"}


def test_species_folders_beside_annotations(tmp_path):
    sound(tmp_path, "survey/walk.wav")
    write(tmp_path, "survey/walk.txt", AUDACITY)
    reading = registry.read(touch(tmp_path, "robin/a.wav", "wren/b.wav"))
    assert dict(zip(reading.layouts["layout"], reading.layouts["rows"], strict=True)) == {"annotations": 2, "species-folders": 2}
    assert by_path(reading)["robin/a.wav"]["species"] == "robin"


def test_annotations_that_cannot_be_used_are_unplaced(tmp_path):
    sound(tmp_path, "a/walk.wav")
    write(tmp_path, "a/walk.txt", AUDACITY)
    write(tmp_path, "a/gone.txt", AUDACITY)
    write(tmp_path, "a/broken.Table.1.selections.txt", RAVEN.replace("0.5", "soon"))
    found = reasons(registry.read(tmp_path))
    assert "named in a/gone.txt" in found["gone"] and "not a time" in found["a/broken.Table.1.selections.txt"] and len(found) == 2


def test_detections_of_a_program_are_no_labels_unless_asked_for(tmp_path):
    sound(tmp_path, "robin/walk.wav")
    write(tmp_path, "robin/walk.BirdNET.selection.table.txt", RAVEN)
    reading = registry.read(tmp_path)
    assert list(reading.layouts["layout"]) == ["species-folders"] and len(reading.table) == 1
    asked = registry.read(tmp_path, layout="annotations")
    assert set(asked.table["species"]) == {"robin", "wren"}


def test_labels_of_soundscapes_in_a_birdclef_folder(tmp_path):
    """Columns of ``train_soundscapes_labels.csv`` of 2026."""
    write(tmp_path, "train.csv", "primary_label,secondary_labels,filename,author,latitude,longitude\namekes,[],amekes/XC1.ogg,Ana,1,2\n")
    touch(tmp_path, "train_audio/amekes/XC1.ogg", "train_soundscapes/S01_20250414_061000.ogg", "train_soundscapes/S02_20250414_061000.ogg")
    write(tmp_path, "train_soundscapes_labels.csv", "filename,start,end,primary_label\nS01_20250414_061000.ogg,00:00:00,00:00:05,amekes;65448\n")
    reading = registry.read(tmp_path)
    row = by_path(reading)["train_soundscapes/S01_20250414_061000.ogg"]
    assert (row["species"], row["secondary_species"], row["start_s"], row["end_s"]) == ("amekes", "65448", 0.0, 5.0)
    assert "without labels" in reasons(reading)["train_soundscapes/S02_20250414_061000.ogg"]


def test_labels_of_files_of_a_data_set_are_left_to_it(tmp_path):
    """The truth of the test's soundscapes, kept in a BirdCLEF folder, is nothing to train on."""
    write(tmp_path, "train.csv", "primary_label,secondary_labels,filename,author,latitude,longitude\namekes,[],amekes/XC1.ogg,Ana,1,2\n")
    touch(tmp_path, "train_audio/amekes/XC1.ogg", "test_soundscapes/S01_20250414_061000.ogg")
    write(tmp_path, "truth/labels.csv", "filename,start,end,primary_label\nS01_20250414_061000.ogg,0,5,amekes\n")
    reading = registry.read(tmp_path)
    assert list(by_path(reading)) == ["train_audio/amekes/XC1.ogg"] and list(reading.layouts["layout"]) == ["birdclef"]
    assert "1 labels with times are of files that another layout lists" in reading.notes[0]
    assert len(registry.read(tmp_path, layout="annotations").table) == 1
