"""Facts about stages that are left out: the recordings have nothing for them, or their weights cannot be had."""

import pandas as pd
import pytest
from made_notebooks import notebook

from birdlib import stages
from birdlib.pipeline import execute, runner


def split_table(folder, **columns):
    row = dict.fromkeys(("audio_path", "image_path", "video_path", "species", "individual_id"), "")
    (folder / "01_split").mkdir(parents=True)
    table = pd.DataFrame([{**row, "recording_id": "a", **columns}])
    table.to_parquet(folder / "01_split" / "splits.parquet")


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        ({"video_path": "a.mp4"}, {"02_clean", "03_embed", "04_triplet", "05_match", "06_pseudolabel", "07_classify", "08_submit"}),
        ({"audio_path": "a.ogg"}, {"05_match", "06_pseudolabel", "09_count"}),
        ({"audio_path": "a.ogg", "individual_id": "ring 7"}, {"05_match", "06_pseudolabel"}),
    ],
)
def test_stages_without_anything_to_do_are_left_out(tmp_path, columns, left_out):
    """One film cannot be told from others, sound without names of birds cannot be counted; nobody laid soundscapes beside them."""
    split_table(tmp_path, **columns)
    assert {name for name in stages.READS if runner._missing_input(name, tmp_path)} == left_out


@pytest.fixture
def without_weights(tmp_path, monkeypatch):
    """The outputs folder of a chain of one notebook, whose weights cannot be had."""
    code = "from birdlib.models import weights\nraise weights.MissingWeightsError('no ResNet50: fetch it')"
    path = tmp_path / "05_match.ipynb"
    notebook(path, 'outputs_dir = "outputs"  # where', code)
    monkeypatch.setattr(runner, "notebooks", lambda: [path])
    monkeypatch.setattr(stages, "READS", {"05_match": []})
    return tmp_path / "outputs"


def test_a_stage_that_a_submission_can_do_without_is_left_out_for_want_of_weights(without_weights):
    stale = without_weights / "05_match" / "stage.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    assert runner.run(without_weights)["05_match"] == "left out"
    assert not stale.exists(), "what an earlier run said is not of this one"
    assert "left out: no ResNet50: fetch it" in (without_weights / "report.html").read_text()


def test_a_stage_that_a_submission_needs_stops_for_want_of_weights(without_weights, monkeypatch):
    monkeypatch.setattr(runner, "DISPENSABLE", ())
    with pytest.raises(execute.ChainError, match="fetch it"):
        runner.run(without_weights)
