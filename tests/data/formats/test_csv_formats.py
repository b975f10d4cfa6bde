"""BirdNET-Analyzer's and Kaleidoscope's CSV tables, BirdCLEF's labels of windows, CSV and JSON lines."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from made_tables import detections, recording

from birdlib.data import formats
from birdlib.data.formats import reading

MERLE = {"scientific_name": "Turdus merula", "common_name": "Eurasian Blackbird", "score": 0.7, "probability": 0.8123, "low_hz": 1500.0, "high_hz": 4200.0}
WHEN = {"recorded_at": pd.Timestamp("2026-05-30 04:31:05"), "latitude": 52.5, "longitude": -1.25}
FOUND = detections(("north/a.wav", 0.0, 3.0, "Turdus merula_Eurasian Blackbird", MERLE | WHEN), ("north/a.wav", 3.5, 8.0, "1139490", {"score": 0.25}))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_birdnets_table_has_its_exact_header_and_cells(here):
    """``generate_csv`` of BirdNET-Analyzer 2: one table a recording, and the combined one."""
    written = formats.write({"detections": FOUND}, "birdnet", "out").written
    assert [path.name for path in written] == ["a.BirdNET.results.csv", "BirdNET_CombinedTable.csv"]
    for path in written:
        assert rows(path) == [
            ["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"],
            ["0.0", "3.0", "Turdus merula", "Eurasian Blackbird", "0.8123", str(here / "north/a.wav")],
            ["3.5", "8.0", "1139490", "1139490", "0.25", str(here / "north/a.wav")],
        ]


def test_birdnets_own_table_is_read(here):
    """Columns of ``--additional_columns`` follow the usual ones."""
    recording(here / "audio" / "dawn.wav")
    path = here / "dawn.BirdNET.results.csv"
    path.write_text("Start (s),End (s),Scientific name,Common name,Confidence,File,lat\n3.0,6.0,Erithacus rubecula,European Robin,0.4411,/data/dawn.wav,52.5\n")
    row = formats.read(path).iloc[0]
    assert row[["path", "start_s", "end_s", "species", "common_name", "confidence", "lat"]].tolist() == [
        "audio/dawn.wav", 3.0, 6.0, "Erithacus rubecula_European Robin", "European Robin", 0.4411, "52.5",
    ]  # fmt: skip


def test_labels_of_digits_stay_text_in_every_format(here):
    for name in ("raven", "audacity", "birdnet", "kaleidoscope", "jsonl", "csv"):
        path = formats.write({"detections": FOUND}, name, name).written[0]
        assert formats.read(path)["species"].tolist() == ["Turdus merula_Eurasian Blackbird", "1139490"], name


def test_kaleidoscope_splits_a_path_and_has_date_and_time(here):
    written = formats.write({"detections": FOUND}, "kaleidoscope", "out").written
    table = pd.read_csv(written[0], dtype=str, keep_default_na=False)
    expected = {
        "INDIR": str(here), "FOLDER": "north", "IN FILE": "a.wav", "OFFSET": "3.5", "DURATION": "4.5", "TOP1MATCH": "1139490", "MANUAL ID": "", "DATE": "",
    }  # fmt: skip
    assert table.loc[1, list(expected)].to_dict() == expected
    expected = {"Fmin": "1500.0", "Fmax": "4200.0", "DATE": "2026-05-30", "TIME": "04:31:05", "lat": "52.5", "lon": "-1.25", "week": "20", "confidence": "0.8123"}
    assert table.loc[0, list(expected)].to_dict() == expected
    assert table.columns[:13].tolist() == "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,confidence,lat,lon,week,overlap,sensitivity".split(",")


def test_kaleidoscopes_week_is_that_of_the_location_model(here):
    """The 60th of 365 days is in week 8 of 48, though it is the first of March."""
    given = {"detections": FOUND.head(1).assign(recorded_at="2026-03-01 04:31:05")}
    table = pd.read_csv(formats.write(given, "kaleidoscope", "out").written[0], dtype=str)
    assert table["week"].tolist() == ["8"]


def test_kaleidoscopes_clusters_are_read_with_the_manual_names_first(here):
    """cluster.csv, as the user's guide of Kaleidoscope Pro lists its columns; a path of Windows."""
    recording(here / "site1" / "x.wav")
    path = here / "cluster.csv"
    header = "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,Fmin,Fmean,Fmax,DATE,TIME,HOUR,DATE-12,TIME-12,HOUR-12,TOP1MATCH,TOP1DIST,VOCALIZATIONS,MANUAL ID"
    lines = [
        r"C:\Data,site1,x.wav,0,12.5,1.25,2500,3000,4100,2026-05-30,04:31:05,4,2026-05-29,16:31:05,16,cluster02,0.41,3,Robin",
        r"C:\Data,site1,x.wav,0,20.0,0.5,900,1000,1100,2026-05-30,04:31:05,4,2026-05-29,16:31:05,16,cluster07,0.38,1,",
        r"C:\Data,site1,x.wav,0,30.0,0.5,900,1000,1100,2026-05-30,04:31:05,4,2026-05-29,16:31:05,16,Noise,0.1,1,",
    ]
    path.write_bytes(("\ufeff" + "\r\n".join([header, *lines])).encode())
    table = formats.read(path)
    assert table["species"].tolist() == ["Robin", "cluster07"] and table["path"].tolist() == ["site1/x.wav"] * 2
    assert table["end_s"].tolist() == [13.75, 20.5] and table["high_hz"].tolist() == [4100.0, 1100.0] and table["HOUR"].tolist() == ["4", "4"]


def test_kaleidoscopes_frequencies_of_bats_are_kilohertz(here):
    path = here / "id.csv"
    path.write_text("INDIR,OUTDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,AUTO ID,Fmax,Fmin,MANUAL ID\n/d,,n,x.wav,0,0.5,2,PIPPIP,62.5,44.1,\n/d,,n,x.wav,0,9,2,NoID,,,\n")
    table = formats.read(path)
    assert table["species"].tolist() == ["PIPPIP"] and table.loc[0, ["low_hz", "high_hz"]].tolist() == [44100.0, 62500.0]


def test_json_lines_hold_every_column_and_null_for_what_is_not_known(here):
    path = formats.write({"detections": FOUND}, "jsonl", "out").written[0]
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["recorded_at"] == "2026-05-30T04:31:05" and first["confidence"] == 0.8123 and first["score"] == 0.7
    assert second["probability"] is None and second["low_hz"] is None and second["recorded_at"] is None and second["confidence"] == 0.25


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_complete_tables_are_read_back_as_they_were(here, name):
    path = formats.write({"detections": FOUND}, name, "out").written[0]
    table = formats.read(path)
    for column in ("path", "start_s", "end_s", "species", "scientific_name", "score", "probability", "low_hz", "recorded_at"):
        expected = FOUND[column].fillna("") if column == "scientific_name" else FOUND[column]
        pd.testing.assert_series_equal(table[column], expected, check_dtype=False, obj=column)


def test_a_german_spreadsheets_table_with_other_names_is_read(here):
    path = here / "annotations.csv"
    path.write_bytes("Filename;Start;End;Label\r\nx.wav;0,5;3,25;Großtrappe\r\n".encode("cp1252"))
    with pytest.warns(UserWarning, match="Windows-1252"):
        row = formats.read(path, "csv").iloc[0]
    assert row[["path", "start_s", "end_s", "species"]].tolist() == ["x.wav", 0.5, 3.25, "Großtrappe"]


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"start_s": 1}'])
def test_a_line_that_is_no_detection_is_named(here, line):
    path = here / "x.jsonl"
    path.write_text(f'{{"start_s": 0, "end_s": 1, "species": "robin"}}\n{line}\n')
    with pytest.raises(reading.FormatError, match="line 2 is not"):
        formats.read(path)


def test_birdclef_2026_labels_windows_with_several_species(here):
    """``train_soundscapes_labels.csv``: filename, start and end as hh:mm:ss, labels with ; between."""
    recording(here / "train_soundscapes" / "BC2026_Train_0001_S22_20250404_085000.ogg")
    path = here / "train_soundscapes_labels.csv"
    name = "BC2026_Train_0001_S22_20250404_085000.ogg"
    path.write_text(f"filename,start,end,primary_label\n{name},00:00:00,00:00:05,brnowl; 116570\n{name},00:59:55,01:00:00,47158son01\n{name},00:00:10,00:00:15,nocall\n")
    assert formats.guess(path) == "birdclef"
    table = formats.read(path)
    assert table[["start_s", "end_s", "species"]].to_numpy().tolist() == [[0.0, 5.0, "brnowl"], [0.0, 5.0, "116570"], [3595.0, 3600.0, "47158son01"]]
    assert set(table["path"]) == {f"train_soundscapes/{name}"}


def test_birdclef_2021_labels_windows_by_row_id(here):
    """``train_soundscape_labels.csv``: the audio's number begins the file's name; labels have blanks between, ``seconds`` is the end."""
    recording(here / "train_soundscapes" / "7019_COR_20190904.ogg")
    path = here / "train_soundscape_labels.csv"
    path.write_text("row_id,site,audio_id,seconds,birds\n7019_COR_5,COR,7019,5,nocall\n7019_COR_10,COR,7019,10,rucwre1 grhcha1\n")
    table = formats.read(path)
    assert table[["path", "start_s", "end_s"]].drop_duplicates().to_numpy().tolist() == [["train_soundscapes/7019_COR_20190904.ogg", 5.0, 10.0]]
    assert table["species"].tolist() == ["rucwre1", "grhcha1"]


def test_labels_by_row_id_alone_end_where_it_says(here):
    """As a submission names its windows: the stem and the end second."""
    path = here / "labels.csv"
    path.write_text("row_id,primary_label\nH02_20230420_20,robin\n")
    assert formats.read(path)[["path", "start_s", "end_s"]].to_numpy().tolist() == [["H02_20230420", 15.0, 20.0]]


def test_a_detection_without_any_score_has_an_empty_confidence(here):
    found = FOUND.assign(score=np.nan, probability=np.nan)
    for name, column in (("birdnet", "Confidence"), ("kaleidoscope", "confidence")):
        path = formats.write({"detections": found}, name, name).written[0]
        assert pd.read_csv(path)[column].isna().all()
