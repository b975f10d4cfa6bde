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
        ({"audio_path": "a.ogg"}, {"04_triplet", "05_match", "06_pseudolabel", "07_classify", "08_submit", "09_count"}),
        ({"audio_path": "a.ogg", "individual_id": "ring 7"}, {"04_triplet", "05_match", "06_pseudolabel", "07_classify", "08_submit"}),
    ],
)
def test_stages_without_anything_to_do_are_left_out(tmp_path, columns, left_out):
    """One film cannot be matched, one species cannot be classified, and sound without names of birds cannot be counted."""
    split_table(tmp_path, **columns)
    assert {name for name in stages.READS if runner._missing_input(name, tmp_path, {})} == left_out


@pytest.fixture
def without_weights(tmp_path, monkeypatch):
    """The outputs folder of a chain of one notebook, whose weights cannot be had."""
    code = "from birdlib.models import weights\nraise weights.MissingWeightsError('no ResNet50: fetch it')"
    path = tmp_path / "05_match.ipynb"
    notebook(path, 'outputs_dir = "outputs"  # where', code)
    monkeypatch.setattr(runner, "notebooks", lambda: [path])
    monkeypatch.setattr(stages, "READS", {"05_match": []})
    return tmp_path / "outputs"


def test_a_dispensable_stage_without_weights_is_left_out(without_weights):
    stale = without_weights / "05_match" / "stage.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    assert runner.run(without_weights)["05_match"] == "left out"
    assert not stale.exists(), "what an earlier run said is not of this one"
    assert "left out: no ResNet50: fetch it" in (without_weights / "report.html").read_text()


def test_a_required_stage_without_weights_stops_the_chain(without_weights, monkeypatch):
    monkeypatch.setattr(runner, "DISPENSABLE", ())
    with pytest.raises(execute.ChainError, match="fetch it"):
        runner.run(without_weights)


def write_recordings(outputs, **is_silent):
    """What stages 01 and 02 leave of recordings of a finch and a crow: {recording: whether it is silent}."""
    split_table(outputs)
    rows = [{"recording_id": name, "species": name.rstrip("12"), "audio_path": f"{name}.ogg"} for name in is_silent]
    table = pd.DataFrame(rows).assign(image_path="", video_path="", individual_id="")
    table.to_parquet(outputs / "01_split" / "splits.parquet")
    for name, reads in (("01_split", []), ("02_clean", ["01_split"])):
        stage = stages.Stage(name, outputs / name, {}, {other: stages.receipt(outputs, other)["digest"] for other in reads})
        stage.folder.mkdir(exist_ok=True)
        if reads:
            pd.DataFrame({"recording_id": list(is_silent), "is_silent": list(is_silent.values())}).to_parquet(stage.folder / "recordings.parquet")
        stages.finish(stage, {"root": "."})


@pytest.mark.parametrize(
    ("is_silent", "reason"),
    [
        ({"finch1": False, "crow1": False}, ""),
        ({"finch1": False, "finch2": False}, "only 'finch' has any"),
        ({"finch1": True, "crow1": False}, "only 'crow' has any"),
        ({"finch1": True, "crow1": True}, "there are none"),
    ],
)
def test_a_classifier_needs_two_species_with_sound(tmp_path, is_silent, reason):
    """One species cannot be told from others, and silence is of no species."""
    write_recordings(tmp_path, **is_silent)
    found = [runner._missing_input(name, tmp_path, {}) for name in ("04_triplet", "07_classify", "08_submit")]
    assert all(reason in text and bool(text) == bool(reason) for text in found)
    assert not runner._missing_input("03_embed", tmp_path, {})


def test_a_submission_with_a_classifier_from_elsewhere_needs_no_recordings(tmp_path):
    split_table(tmp_path, video_path="a.mp4")
    assert not runner._missing_input("08_submit", tmp_path, {"classifier_dir": "elsewhere"})


def test_a_stage_is_left_out_with_the_stage_that_it_reads(tmp_path):
    split_table(tmp_path, audio_path="a.ogg")
    assert runner._missing_input("03_embed", tmp_path, {}, ["02_clean"]) == "02_clean is left out"
    assert not runner._missing_input("09_count", tmp_path, {}, ["07_classify"]).startswith("07")


def test_a_stage_that_raises_nothing_to_do_is_left_out(tmp_path, monkeypatch):
    path = tmp_path / "02_clean.ipynb"
    notebook(path, 'outputs_dir = "outputs"  # where', "from birdlib import stages\nraise stages.NothingToDoError('all <3> files are empty')")
    monkeypatch.setattr(runner, "notebooks", lambda: [path])
    monkeypatch.setattr(stages, "READS", {"02_clean": []})
    assert runner.run(tmp_path / "outputs") == {"02_clean": "left out"}
    assert "left out: all &lt;3&gt; files are empty" in (tmp_path / "outputs" / "report.html").read_text()
    assert not list((tmp_path / "outputs" / "notebooks").glob("*.ipynb"))
