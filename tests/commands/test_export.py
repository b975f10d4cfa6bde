"""The command ``export``: what stages and analyses wrote, in the formats of other programs."""

import json

import pandas as pd
import pytest
from made_tables import detections, recording, tracks

from birdlib import __main__, stages
from birdlib.data import formats
from birdlib.video import tracking


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage(name, tables, results=None, **parameters):
    running = stages.start(name, "outputs", **parameters)
    for file_name, table in tables.items():
        path = running.folder / file_name
        table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    stages.finish(running, results or {})


@pytest.fixture
def chain(here):
    """Finished stages 01, 02, 06, 08 and 09 of one recording, one soundscape and one film."""
    recording(here / "data/train_audio/robin/song.wav", 30)
    recording(here / "data/test_soundscapes/S1_20260530_043000.wav", 10)
    recording(here / "data/train_soundscapes/S2.wav", 10)
    (here / "data/train.csv").write_text("primary_label,filename\nrobin,robin/song.wav\n")
    (here / "data/taxonomy.csv").write_text("primary_label,scientific_name,common_name\nrobin,Erithacus rubecula,European Robin\n")
    splits = pd.DataFrame(
        {"recording_id": ["robin-song", "film"], "audio_path": ["train_audio/robin/song.wav", ""], "video_path": ["", "videos/film.mp4"], "split": "test"}
    )
    stage("01_split", {"splits.parquet": splits}, {"root": "../data"})
    segments = pd.DataFrame({"recording_id": ["robin-song"], "start_s": [1.5], "end_s": [4.0], "policy": ["remove"]})
    stage("02_clean", {"segments.parquet": segments, "recordings.parquet": pd.DataFrame({"recording_id": ["robin-song"], "start_s": [20.0]})})
    stage("03_embed", {})
    windows = pd.DataFrame({"row_id": ["S2_5", "S2_10"], "soundscape": "S2", "audio_path": "train_soundscapes/S2.wav", "start_s": [0.0, 5.0], "end_s": [5.0, 10.0]})
    pseudo = pd.DataFrame({"row_id": ["S2_5", "S2_10"], "label": "robin", "target": [0.9, 0.1], "kind": "soft", "origin": "student", "teacher": "t", "round": 1, "confidence": 0.9})
    stage("06_pseudolabel", {"labels.parquet": pseudo, "windows.parquet": windows})
    stage("07_classify", {})
    found = {"row_id": "S1_20260530_043000_5", "soundscape": "S1_20260530_043000", "start_s": 0.0, "end_s": 5.0, "species": ["robin", "116570"], "score": [0.8, 0.3], "probability": [0.7, 0.2]}
    stage("08_submit", {"detections.csv": pd.DataFrame(found)}, data_dir="", n_rehearse=8)
    found = tracks()
    individuals = found.groupby("track", as_index=False)["identity"].first().assign(recording_id="film")
    stage("09_count", {"tracks.parquet": found[tracking.COLUMNS], "individuals.parquet": individuals, "counts.csv": pd.DataFrame({"recording_id": ["film"], "n": [2]})})
    return here


def export(arguments, capsys):
    code = __main__.main(["export", *arguments.split()])
    return code, capsys.readouterr()


def test_finished_stages_are_exported_into_a_folder_for_each_and_its_format(chain, capsys):
    code, shown = export("--to audacity,csv", capsys)
    assert code == 0
    assert "detections as audacity: 2 detections in 1 recording, 1 file written: outputs/export/detections/audacity" in shown.out
    read = {name: formats.read(path) for name in ("detections", "pseudo-labels", "voices") for path in [next((chain / f"outputs/export/{name}/csv").iterdir())]}
    columns = ["path", "start_s", "end_s", "species", "common_name", "confidence"]
    assert read["detections"][columns].to_numpy().tolist() == [
        ["data/test_soundscapes/S1_20260530_043000.wav", 0.0, 5.0, "robin", "European Robin", 0.7],
        ["data/test_soundscapes/S1_20260530_043000.wav", 0.0, 5.0, "116570", "", 0.2],
    ]
    assert read["pseudo-labels"][columns].to_numpy().tolist() == [["data/train_soundscapes/S2.wav", 0.0, 5.0, "robin", "European Robin", 0.9]]


def test_voices_are_timed_in_the_file_even_where_the_recording_is_a_part_of_it(chain, capsys):
    """Voice from 1.5 s to 4 s of a part that begins at 20 s."""
    assert export("--to audacity --what voices --output voices", capsys)[0] == 0
    assert (chain / "voices/voices/audacity/song.labels.txt").read_text() == "21.500000\t24.000000\thuman voice\n"


def test_tracks_are_exported_with_their_individuals(chain, capsys):
    code, shown = export("--to mot,cvat,coco", capsys)
    assert code == 0 and "tracks as cvat: 3 tracks in 1 file, 1 file written" in shown.out
    content = json.loads((chain / "outputs/export/tracks/coco/coco.json").read_text())
    assert {item["identity"] for item in content["annotations"]} == {0, 1} and content["videos"][0]["file_name"] == "data/videos/film.mp4"
    assert not (chain / "outputs/export/detections").exists()
    assert shown.err.count("note: data/videos/film.mp4: frames are counted at 5 a second") == 1


def test_files_that_exist_are_kept_and_named(chain, capsys):
    export("--to kaleidoscope --what detections", capsys)
    path = chain / "outputs/export/detections/kaleidoscope/kaleidoscope.csv"
    path.write_text("mine")
    code, shown = export("--to kaleidoscope --what detections", capsys)
    assert code == 0 and path.read_text() == "mine" and "1 file existed and was kept: give --overwrite to replace" in shown.out
    export("--to kaleidoscope --what detections --overwrite", capsys)
    assert path.read_text().startswith("INDIR")


def test_detections_below_the_confidence_are_left_out(chain, capsys):
    assert "1 detection in 1 recording" in export("--to csv --what detections --min-confidence 0.5", capsys)[1].out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to cvat", "09_count is not finished: run notebooks/09_count.ipynb first"),
        ("--to raven", "08_submit is not finished: run notebooks/08_submit.ipynb first"),
        ("--to raven --what voices", "02_clean is not finished: run notebooks/02_clean.ipynb first"),
        ("--to xlsx", "unknown format 'xlsx': use raven (detections), "),
        ("--to raven --what birds", "unknown source 'birds': use detections, pseudo-labels, voices, tracks"),
        ("--to cvat --what voices", "--to cvat holds tracks, and --what names voices: use raven"),
        ("--to raven --analysis nowhere", "nowhere has no detections.csv: run python -m birdlib analyse PATH --output nowhere first"),
        ("--to raven --analysis nowhere --what voices", "--what names stages, which an analysis has not"),
    ],
)
def test_what_is_missing_is_said_with_what_to_run(here, capsys, arguments, message):
    code, shown = export(arguments, capsys)
    assert code == 1 and message in shown.err


def test_an_analysis_is_exported_beside_its_tables(here, capsys):
    """Labels such as NA and 116570 stay text; a file without detections gets an empty label track."""
    (here / "analysis").mkdir()
    found = detections(("x.wav", 0.0, 3.0, "NA", {"confidence": 0.9, "recorded_at": "2026-05-30 04:31:05"}), ("x.wav", 5.0, 6.0, "116570", {"confidence": 0.4}))
    found.to_csv("analysis/detections.csv", index=False)
    pd.DataFrame({"path": ["x.wav", "y.wav"], "duration_s": 60.0, "sample_rate_hz": 48000, "media": "sound"}).to_csv("analysis/files.csv", index=False)
    tracks().to_parquet("analysis/tracks.parquet")
    assert export("--to audacity,jsonl,mot --analysis analysis", capsys)[0] == 0
    assert formats.read("analysis/audacity/x.labels.txt")["species"].tolist() == ["NA", "116570"]
    assert (here / "analysis/audacity/y.labels.txt").read_text() == ""
    assert json.loads((here / "analysis/jsonl/detections.jsonl").read_text().splitlines()[0])["recorded_at"] == "2026-05-30T04:31:05"
    assert (here / "analysis/mot/film.txt").is_file()


def test_an_analysis_of_sounds_has_no_tracks_to_export(here, capsys):
    (here / "analysis").mkdir()
    detections(("x.wav", 0.0, 3.0, "robin")).to_csv("analysis/detections.csv", index=False)
    code, shown = export("--to csv,cvat --analysis analysis", capsys)
    assert code == 1 and "--to cvat holds tracks, and analysis has detections: use raven" in shown.err
    assert not (here / "analysis/csv").exists()
