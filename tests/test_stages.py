"""Facts about stages: a receipt is written last, and is current only while nothing it rests on has changed."""

import os

import numpy as np
import pytest

from birdlib import runtime, source_digest, stages


def finish_split(outputs, content="birds", **parameters):
    stage = stages.start("01_split", outputs, **({"seed": 0} | parameters))
    (stage.folder / "splits.csv").write_text(content)
    return stages.finish(stage, {"root": "."}, watched=[outputs / "recordings.csv"])


@pytest.fixture
def outputs(tmp_path):
    (tmp_path / "recordings.csv").write_text("a,b")
    return tmp_path


def test_an_unfinished_stage_names_the_notebook_to_run(outputs):
    with pytest.raises(stages.MissingStageError, match="notebooks/01_split.ipynb"):
        stages.start("02_clean", outputs)


def test_a_receipt_is_current_until_something_changes(outputs):
    finish_split(outputs)
    assert stages.why_stale(outputs, "01_split", {"seed": 0, "n_jobs": 4}) == ""
    assert "seed" in stages.why_stale(outputs, "01_split", {"seed": 1})


def test_starting_a_stage_again_takes_its_receipt_away(outputs):
    finish_split(outputs)
    stages.start("01_split", outputs, seed=0)
    assert stages.why_stale(outputs, "01_split", {"seed": 0}) == "not finished yet"


def test_a_changed_file_outside_makes_a_stage_stale(outputs):
    finish_split(outputs)
    (outputs / "recordings.csv").write_text("a,b,c")
    assert "recordings.csv has changed" in stages.why_stale(outputs, "01_split", {"seed": 0})


def test_a_truncated_output_makes_a_stage_stale(outputs):
    finish_split(outputs)
    (outputs / "01_split" / "splits.csv").write_text("bir")
    assert "splits.csv is missing or damaged" in stages.why_stale(outputs, "01_split", {"seed": 0})


def test_an_earlier_stage_with_the_same_result_leaves_the_later_one_current(outputs):
    finish_split(outputs)
    stages.finish(stages.start("02_clean", outputs, policy="keep"), {})
    finish_split(outputs)
    assert stages.why_stale(outputs, "02_clean", {"policy": "keep"}) == ""
    finish_split(outputs, content="other birds")
    assert stages.why_stale(outputs, "02_clean", {"policy": "keep"}) == "01_split has changed"


def test_other_weights_make_a_stage_stale(outputs):
    finish_split(outputs)
    weights = {"yamnet": {"source": "cache", "sha256": "aa", "licence": "Apache-2.0"}}
    stages.finish(stages.start("02_clean", outputs), {}, weights=weights)
    assert stages.why_stale(outputs, "02_clean", {}, {"yamnet": "aa"}.get) == ""
    assert stages.why_stale(outputs, "02_clean", {}, {"yamnet": "bb"}.get) == "the weights of yamnet have changed"
    assert stages.why_stale(outputs, "02_clean", {}, {}.get) == ""


def test_paths_are_recorded_relative_to_the_outputs(outputs):
    written = finish_split(outputs, manifest=str(outputs.parent / "mine.csv"))
    assert written["parameters"]["manifest"] == os.path.join("..", "mine.csv")


def test_a_stage_given_what_another_would_make_does_not_need_it(outputs):
    """A Kaggle submission: an attached classifier and the competition's data, and no earlier stage."""
    given = {"data_dir": str(outputs), "classifier_dir": str(outputs)}
    stages.finish(stages.start("08_submit", outputs, **given), {})
    assert stages.why_stale(outputs, "08_submit", given) == ""
    with pytest.raises(stages.MissingStageError, match="notebooks/07_classify.ipynb"):
        stages.start("08_submit", outputs, data_dir=str(outputs), classifier_dir="")


def test_labels_of_soundscapes_that_come_late_make_the_classifier_stale(outputs, monkeypatch):
    """07 does without 06; where 06 is finished, or changes, 07 runs again; where 06 rests on what is gone, it is as if it were not there."""
    monkeypatch.setitem(stages.READS, "06_pseudolabel", ["01_split"])
    monkeypatch.setitem(stages.READS, "07_classify", ["01_split"])
    finish_split(outputs)
    assert stages.finish(stages.start("07_classify", outputs), {})["inputs"].keys() == {"01_split"}
    assert stages.why_stale(outputs, "07_classify", {}) == ""
    for content, reason in (("wren", "06_pseudolabel was not finished yet"), ("robin", "06_pseudolabel has changed")):
        stage = stages.start("06_pseudolabel", outputs)
        (stage.folder / "labels.csv").write_text(content)
        stages.finish(stage, {})
        assert stages.why_stale(outputs, "07_classify", {}) == reason
        stages.finish(stages.start("07_classify", outputs), {})
        assert stages.why_stale(outputs, "07_classify", {}) == ""
    finish_split(outputs, content="other birds")
    assert stages.finish(stages.start("07_classify", outputs), {})["inputs"].keys() == {"01_split"}


@pytest.mark.parametrize("text", ["{", "3", "{}", "\udcff"])
def test_a_damaged_receipt_is_as_good_as_none(outputs, text):
    finish_split(outputs)
    stages.finish(stages.start("02_clean", outputs), {})
    (outputs / "01_split" / stages.RECEIPT).write_text(text, errors="surrogateescape")
    assert stages.why_stale(outputs, "01_split", {"seed": 0}) == "its receipt is damaged"
    assert stages.why_stale(outputs, "02_clean", {}) == "01_split is missing or damaged"
    with pytest.raises(stages.MissingStageError, match="damaged: run notebooks/01_split.ipynb again"):
        stages.start("02_clean", outputs)


def test_a_lost_file_in_a_subfolder_makes_a_stage_stale(outputs):
    """A copied folder, whose files have other times, does not."""
    stage = stages.start("01_split", outputs)
    (stage.folder / "audio").mkdir()
    for name in ("kept.flac", "lost.flac", ".half.12345.flac"):
        (stage.folder / "audio" / name).write_text("sound")
    stages.finish(stage, {"root": "."})
    assert not (stage.folder / "audio" / ".half.12345.flac").exists()
    os.utime(stage.folder / "audio" / "kept.flac", ns=(1, 1))
    assert stages.why_stale(outputs, "01_split", {}) == ""
    (stage.folder / "audio" / "lost.flac").unlink()
    assert "lost.flac has changed" in stages.why_stale(outputs, "01_split", {})


def test_outputs_and_data_move_together(tmp_path):
    (tmp_path / "a" / "data").mkdir(parents=True)
    (tmp_path / "a" / "data" / "recordings.csv").write_text("a,b")
    stage = stages.start("01_split", tmp_path / "a" / "outputs", data_dir=str(tmp_path / "a" / "data"))
    stages.finish(stage, {"root": "../data"}, watched=[tmp_path / "a" / "data" / "recordings.csv"])
    (tmp_path / "a").rename(tmp_path / "b")
    assert stages.why_stale(tmp_path / "b" / "outputs", "01_split", {"data_dir": str(tmp_path / "b" / "data")}) == ""
    assert stages.recordings_root(tmp_path / "b" / "outputs") == tmp_path / "b" / "data"


def test_outputs_may_be_a_link_to_another_disk(tmp_path):
    """``..`` of a linked folder leads up from where the link points to."""
    (tmp_path / "data").mkdir()
    (tmp_path / "disk" / "far" / "away").mkdir(parents=True)
    outputs = tmp_path / "outputs"
    outputs.symlink_to(tmp_path / "disk" / "far" / "away")
    (tmp_path / "data" / "recordings.csv").write_text("a,b")
    stage = stages.start("01_split", outputs, data_dir=str(tmp_path / "data"))
    root = stages.relative(tmp_path / "data", outputs)
    stages.finish(stage, {"root": root}, watched=[tmp_path / "data" / "recordings.csv"])
    assert stages.why_stale(outputs, "01_split", {"data_dir": str(tmp_path / "data")}) == ""
    assert stages.recordings_root(outputs) == tmp_path / "data"


def test_outputs_that_lost_their_recordings_say_so(outputs):
    finish_split(outputs)
    assert stages.recordings_root(outputs) == outputs
    stage = stages.start("01_split", outputs)
    stages.finish(stage, {"root": "../gone"})
    with pytest.raises(stages.MissingStageError, match="no longer in .*gone"):
        stages.recordings_root(outputs)


def test_files_of_a_finished_stage_are_read_by_their_suffix(outputs):
    finish_split(outputs, content="species,n\nwren,2\n")
    folder = outputs / "01_split"
    np.save(folder / "a.npy", np.arange(3))
    runtime.write_json({"b": 1}, folder / "b.json")
    table, array, value = stages.read(outputs, "01_split", "splits.csv", "a.npy", "b.json")
    assert table["species"].tolist() == ["wren"] and isinstance(array, np.memmap) and value == {"b": 1}
    assert len(stages.read(outputs, "01_split", "splits.csv")) == 1


def test_reading_what_is_not_there_names_the_notebook_to_run(outputs):
    with pytest.raises(stages.MissingStageError, match="run notebooks/01_split.ipynb first"):
        stages.read(outputs, "01_split", "splits.csv")
    finish_split(outputs)
    with pytest.raises(stages.MissingStageError, match="classes.json is missing: run notebooks/01_split.ipynb again"):
        stages.read(outputs, "01_split", "classes.json")


def test_settings_of_another_version_name_the_missing_field(outputs):
    finish_split(outputs)
    runtime.write_json({"rate": 1}, outputs / "01_split" / "how.json")
    assert stages.settings(outputs, "01_split", "how.json", ("rate",)) == {"rate": 1}
    with pytest.raises(stages.MissingStageError, match="has no hop: another version"):
        stages.settings(outputs, "01_split", "how.json", ("rate", "hop"))


def test_the_peak_memory_changes_neither_digest_nor_staleness(outputs, monkeypatch):
    first = finish_split(outputs)
    assert first["peak_mb"] > 20  # Python with NumPy and pandas
    monkeypatch.setattr(runtime, "peak_mb", lambda: 123_456)
    second = finish_split(outputs)
    assert second["peak_mb"] == 123_456 and second["digest"] == first["digest"]
    path = outputs / "01_split" / stages.RECEIPT
    runtime.write_json({key: value for key, value in second.items() if key != "peak_mb"}, path)  # of an older version
    assert stages.why_stale(outputs, "01_split", {"seed": 0}) == ""


def test_a_changed_module_makes_the_stages_stale_that_import_it(outputs, monkeypatch):
    finish_split(outputs)
    stages.finish(stages.start("02_clean", outputs, policy="keep"), {})
    digests = source_digest.of_notebook
    module = "birdlib.audio.cleaning"  # 02 imports it, 01 does not
    monkeypatch.setattr(source_digest, "of_notebook", lambda path: {name: "new" if name == module else old for name, old in digests(path).items()})
    assert stages.why_stale(outputs, "01_split", {"seed": 0}) == ""
    assert stages.why_stale(outputs, "02_clean", {"policy": "keep"}) == f"{module} has changed"


def test_a_receipt_without_digests_of_code_is_compared_by_the_rest(outputs):
    """Receipts of earlier commits have none."""
    finish_split(outputs)
    written = stages.receipt(outputs, "01_split")
    del written["code"]
    runtime.write_json(written, outputs / "01_split" / stages.RECEIPT)
    assert stages.why_stale(outputs, "01_split", {"seed": 0}) == ""
