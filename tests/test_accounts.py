"""Every input file is used or is a row of a skipped table with its reason: nothing stops a run, nothing is lost in silence."""

import csv
import subprocess
import sys

import odd_files
import pandas as pd
import pytest

from birdlib import runtime, stages


def run(manifest, outputs, *stage_numbers, **parameters):
    """Run stages one after the other; the last lines of what was printed are shown where one fails."""
    given = [argument for name, value in parameters.items() for argument in ("-p", f"{name}={value}")]
    for number in stage_numbers:
        command = [sys.executable, "-m", "birdlib", "run", "--manifest", str(manifest), "--outputs", str(outputs), "--only", number, *given]
        done = subprocess.run(command, cwd=runtime.repository(), capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]


def write_manifest(path, column, names):
    rows = [(f"r{number:03d}", ("even", "odd")[number % 2], name, f"g{number}") for number, name in enumerate(sorted(names))]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("recording_id", "species", column, "group_id"), *rows])
    return path


def account(outputs, names, used, bad):
    """Used and skipped files together are all; the bad ones are skipped with a reason that says something."""
    skipped = pd.concat([pd.read_parquet(path) for path in outputs.glob("*/skipped.parquet")])
    assert set(used) | set(skipped["path"]) == set(names) and not set(used) & set(skipped["path"])
    assert set(skipped["path"]) == bad
    assert skipped["reason"].str.len().min() > 10


@pytest.mark.slow
def test_every_sound_file_is_used_or_skipped_with_a_reason(tmp_path):
    folder = tmp_path / "{sounds} $x_"
    folder.mkdir()
    bad = odd_files.sounds(folder)
    names = {path.name for path in folder.iterdir()}
    run(write_manifest(folder / "manifest.csv", "audio_path", names), tmp_path / "out", "01", "02", "03", n_jobs=2)
    splits, cleaned, patches = (
        stages.read(tmp_path / "out", stage, file)
        for stage, file in (("01_split", "splits.parquet"), ("02_clean", "recordings.parquet"), ("03_embed", "patches.parquet"))
    )
    path_of = splits.drop_duplicates("recording_id").set_index("recording_id")["audio_path"]
    account(tmp_path / "out", names, path_of[cleaned["recording_id"]], bad)
    durations = dict(zip(path_of[cleaned["recording_id"]], cleaned["duration_s"], strict=True))
    for name in ("pipe.flac", "power_lost.wav", "no_length.mp3", "phone.m4a", "browser.opus"):
        assert durations[name] == pytest.approx(4.0, abs=0.1), name
    assert durations["joined.ogg"] == pytest.approx(8.0, abs=0.1) and durations["cut.wav"] == pytest.approx(2.0, abs=0.1)
    assert set(path_of[cleaned.loc[cleaned["is_silent"], "recording_id"]]) == {"offset_only.wav"}
    notes = dict(zip(path_of[cleaned["recording_id"]], cleaned["note"], strict=True))
    assert "channels cancel each other" in notes["opposite.wav"] and notes["plain.wav"] == ""
    assert set(patches["recording_id"]) == set(cleaned["recording_id"])
