"""The overview draws what its stages left, and nothing where none is finished."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from birdlib import runtime, stages
from birdlib.reports import overview
from birdlib.video import writer


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "READS", {name: ["01_split"] * (name != "01_split") for name in stages.READS})
    (tmp_path / "test_soundscapes").mkdir()
    soundfile.write(tmp_path / "test_soundscapes" / "S1.wav", np.random.default_rng(0).normal(0, 0.1, 32_000 * 10), 32_000)
    stage = stages.start("01_split", tmp_path / "out")
    runtime.write_table(pd.DataFrame({"audio_path": ["", "R1.wav"]}), stage.folder / "splits.parquet")
    stages.finish(stage, {"root": ".."})
    return tmp_path / "out"


def finish(outputs, name, **files):
    stage = stages.start(name, outputs)
    for file_name, content in files.items():
        path = stage.folder / file_name.replace("__", ".")
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            runtime.write_table(content, path)
    stages.finish(stage, {})


def finish_submission(outputs, species, soundscape="S1"):
    found = pd.DataFrame({"soundscape": soundscape, "start_s": [0.0, 5.0], "end_s": [5.0, 10.0], "species": species, "probability": [0.5, 0.7]})
    finish(outputs, "08_submit", detections__csv=found)


def test_a_run_without_finished_stages_has_no_picture(outputs):
    assert overview.write(outputs) is None


def test_one_finished_stage_is_enough(outputs):
    finish_submission(outputs, ["1139490", "$_x$"])
    assert Image.open(overview.write(outputs)).size[0] > 1000


@pytest.mark.parametrize("has_film", [True, False])
def test_all_panels_are_drawn(outputs, has_film):
    finish_submission(outputs, ["wren", "robin"])
    vectors = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    finish(outputs, "04_triplet", embeddings__npy=vectors, index__parquet=pd.DataFrame({"species": ["wren", "robin"] * 4, "kind": ["photo"] * 3 + ["sound"] * 5}))
    counts = pd.DataFrame({"recording_id": ["f"], "n": [2], "low": [1], "high": [3], "at_once": [2]})
    tracks = pd.DataFrame({"recording_id": ["f"] * 3, "time_s": [0.2, 0.4, 0.4]})
    if has_film:
        (outputs / "09_count" / "annotated").mkdir(parents=True)
        writer.write(outputs / "09_count" / "annotated" / "f.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 10, rate_hz=10)
    finish(outputs, "09_count", counts__csv=counts, tracks__parquet=tracks)
    assert Image.open(overview.write(outputs)).size[0] > 1000


def test_a_soundscape_without_detections_leaves_its_panel_empty(outputs):
    finish(outputs, "08_submit", detections__csv=pd.DataFrame(columns=["soundscape", "start_s", "end_s", "species", "probability"]))
    assert overview.write(outputs).is_file()


def test_a_rehearsal_on_recordings_shows_a_recording(outputs):
    soundfile.write(outputs.parent / "R1.wav", np.random.default_rng(0).normal(0, 0.1, 32_000 * 10), 32_000)
    finish_submission(outputs, ["wren", "robin"], "R1")
    with_detections = overview.write(outputs).stat().st_size
    finish_submission(outputs, ["wren", "robin"], "gone")
    assert with_detections > 2 * overview.write(outputs).stat().st_size
