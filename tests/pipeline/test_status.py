"""The state of a run's folder: finished, stale, failed and missing stages."""

import os

import pytest

from birdlib import __main__, locks, runtime, stages
from birdlib.pipeline import status


@pytest.fixture
def outputs(tmp_path):
    """01 finished with a skipped file, 02 finished before 01 changed, 03 failed, the others not begun."""
    home = tmp_path / "outputs"
    (home / "notebooks").mkdir(parents=True)

    def split(content):
        stage = stages.start("01_split", home)
        (stage.folder / "splits.csv").write_text(content)
        runtime.write_table(stages.skipped_table([("a.wav", "is empty")], stage.name), stage.folder / stages.SKIPPED)
        stages.finish(stage, {"root": "."})

    split("birds")
    stages.finish(stages.start("02_clean", home), {})
    split("other birds")
    (home / "notebooks" / "03_embed.failed.ipynb").write_text("{}")
    return home


def test_each_stage_has_its_state_and_the_reason(outputs):
    rows = status.table(outputs).set_index("stage")
    assert list(rows.index) == list(stages.READS)
    assert list(rows["state"][:4]) == [status.FINISHED, status.STALE, status.FAILED, status.MISSING]
    assert rows.loc["02_clean", "why"] == "01_split has changed"
    assert "03_embed.failed.ipynb" in rows.loc["03_embed", "why"]
    assert rows.loc["01_split", "skipped"] == 1 and rows.loc["01_split", "disk_mb"] > 0


def test_skipped_files_of_all_stages_are_one_table(outputs):
    table = stages.all_skipped(outputs)
    assert list(table.itertuples(index=False, name=None)) == [("a.wav", "01_split", "is empty")]


def test_the_command_prints_the_table_and_what_to_do(outputs, capsys):
    assert __main__.main(["status", "--outputs", str(outputs)]) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed.lower() and "01_split has changed" in printed
    assert "1 skipped files or categories" in printed and "The command run" in printed and "A run writes" not in printed


def test_a_running_run_is_said(outputs):
    with locks.lock_folder(outputs):
        assert f"process {os.getpid()} on " in locks.holder(outputs)
        assert f"A run writes into this folder now: process {os.getpid()} on " in status.describe(outputs, status.table(outputs))
    assert locks.holder(outputs) == ""


def test_a_folder_that_does_not_exist_is_named(tmp_path, capsys):
    assert __main__.main(["status", "--outputs", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err
