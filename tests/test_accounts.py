"""Every input file is used or is a row of a skipped table with its reason: nothing stops a run, nothing is lost in silence."""

import csv
import subprocess
import sys

import numpy as np
import odd_files
import odd_films
import pandas as pd
import pytest

from birdlib import runtime, stages


def run(manifest, outputs, **parameters):
    """Run the whole chain; the last lines of what was printed are shown where it fails."""
    given = [argument for name, value in parameters.items() for argument in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "birdlib", "run", "--manifest", str(manifest), "--outputs", str(outputs), *given]
    done = subprocess.run(command, cwd=runtime.repository(), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]


def write_manifest(path, **names_of):
    """A row for each name of each column of paths, of two species in turn."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["recording_id", "species", "group_id", *names_of])
        table.writeheader()
        for column, names in names_of.items():
            for number, name in enumerate(sorted(names)):
                table.writerow({"recording_id": f"{column[:5]}{number:03d}", "species": ("even", "odd")[number % 2], "group_id": f"g{number}", column: name})
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
    run(write_manifest(folder / "manifest.csv", audio_path=names), tmp_path / "out", epochs=1, n_networks=1, encoders="", losses="")
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
    assert "channels cancel each other" in notes["opposite.wav"] and notes["plain.wav"] == "" and "before its header states" in notes["cut.wav"]
    assert set(patches["recording_id"]) == set(cleaned["recording_id"])
    assert {"04_triplet", "07_classify", "08_submit"} <= {path.parent.name for path in (tmp_path / "out").glob("*/stage.json")}


@pytest.mark.slow
def test_every_film_and_photo_is_used_or_skipped_with_a_reason(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    bad_photos = odd_files.images(folder)
    photos = {path.name for path in folder.iterdir()}
    tone = 0.3 * np.sin(np.arange(16_000) * 0.5)[None].astype(np.float32)
    good = odd_films.with_tracks(folder / "good $x_.mkv", [tone])
    odd_films.with_tracks(folder / "opposite.mkv", [np.concatenate([tone, -tone])])
    odd_films.with_tracks(folder / "silent.mkv", [0 * tone])
    odd_films.shifted(good, folder / "restarted.mkv", 1.0, 36_000)
    bad_films = {"empty.mp4": b"", "page.mp4": b"<html>", "noise.avi": np.random.default_rng(0).bytes(9999), "header.mkv": good.read_bytes()[:200]}
    for name, content in bad_films.items():
        (folder / name).write_bytes(content)
    films = {path.name for path in folder.iterdir()} - photos
    manifest = write_manifest(folder / "manifest.csv", image_path=photos, video_path=films)
    few = {"epochs": 1, "detector": "motion", "n_aviary": 0, "n_draws": 10, "video_encoders": "cnn3d", "pairs_an_epoch": 32}
    run(manifest, tmp_path / "out", **few)
    counts = stages.read(tmp_path / "out", "09_count", "counts.csv")
    assert len(counts) == len(films)
    reasons = {stage: stages.read(tmp_path / "out", stage, "skipped.parquet") for stage in ("05_match", "09_count")}
    assert set(bad_films) <= set(reasons["09_count"]["path"]) and set(bad_films) | bad_photos <= set(reasons["05_match"]["path"])
    unread = reasons["05_match"]["path"].isin(photos - bad_photos)
    assert not unread.any(), reasons["05_match"][unread]
    by_path = reasons["09_count"].set_index("path")["reason"]
    assert "jump" in by_path["restarted.mkv"] and "good $x_.mkv" not in by_path
