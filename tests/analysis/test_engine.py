"""An analysis as a whole: what is found, in which tables, from Python and in several processes."""

import os
import shutil

import analysed
import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from analysed import run

import birdlib
from birdlib import runtime
from birdlib.analysis import detections, models, summary, windows


def test_each_species_is_found_when_it_sings(here):
    found = run().detections
    assert found[["path", "species", "start_s", "end_s", "n_windows"]].to_numpy().tolist() == [
        [os.path.join("sounds", "a.wav"), "low", 1, 3, 2],
        [os.path.join("sounds", "a.wav"), "high", 4, 6, 2],
        [os.path.join("sounds", "b_20250501_060000.wav"), "high", 0, 1, 1],
    ]
    assert list(found) == detections.COLUMNS


def test_a_detection_has_names_band_and_clock_time(here):
    low, high, dated = run().detections.itertuples()
    assert (low.scientific_name, low.common_name, high.scientific_name) == ("Bassus bassus", "Low bird", "")
    assert low.low_hz < 1000 < low.high_hz < 1200 and 2800 < high.low_hz < 3000 < high.high_hz
    assert pd.isna(low.recorded_at) and dated.recorded_at == pd.Timestamp("2025-05-01 06:00:00") and np.isnan(low.probability)


def test_what_is_written_is_what_is_returned(here):
    analysis = run()
    pd.testing.assert_frame_equal(detections.read("out/detections.csv"), analysis.detections)
    pd.testing.assert_frame_equal(detections.read_files("out/files.csv"), analysis.files)
    assert pd.read_csv("out/species.csv")["species"].tolist() == ["high", "low"]
    about = runtime.read_json("out/analysis.json")
    assert about["settings"]["overlap_s"] == 0 and about["versions"]["birdlib"] == birdlib.__version__


def test_the_files_table_sums_up_each_file(here):
    files = run().files
    assert files[["duration_s", "sample_rate_hz", "media", "n_detections", "n_species", "top_species"]].to_numpy().tolist() == [
        [7.0, 8000.0, "sound", 2, 2, "low"],
        [4.0, 8000.0, "sound", 1, 1, "high"],
    ]


def test_thresholds_are_of_scores_and_the_least_confidence_is_of_probabilities(here):
    """A tone of amplitude 0.2 has a score of 1, the calibration makes 0.6 of it."""
    calibrated = analysed.model(curves={"method": "platt", "scope": "pooled", "pooled": {"a": 0.0, "b": np.log(1.5)}, "classes": {}})
    found = run(own=calibrated).detections
    assert found["probability"].tolist() == pytest.approx([0.6] * 3) == found["confidence"].tolist() and len(found) == 3
    assert len(run(own=calibrated, min_confidence=0.61, folder="other").detections) == 0


def test_overlapping_windows_find_a_song_across_two_windows(here):
    analysed.tone("sounds/a.wav", "0100")
    found = run("sounds/a.wav", overlap_s=0.5).detections
    assert found[["start_s", "end_s", "n_windows"]].to_numpy().tolist() == [[0.5, 2.5, 3]]


def test_a_gap_can_be_bridged_and_merging_left_out(here):
    analysed.tone("sounds/a.wav", "1101")
    assert [len(run("sounds/a.wav", f"out{gap_s}", gap_s=gap_s).detections) for gap_s in (0.0, 1.0, -1.0)] == [2, 1, 3]


def test_the_result_does_not_depend_on_the_number_of_jobs(here):
    one = run().detections
    with joblib.parallel_config(backend="threading"):
        pd.testing.assert_frame_equal(run(folder="out2", n_jobs=2).detections, one)


def test_a_long_file_in_parts_gives_the_result_of_the_whole(here, monkeypatch):
    rng = np.random.default_rng(0)
    analysed.tone("long.wav", "".join(rng.choice(list("0012"), 500)))
    whole = run("long.wav", overlap_s=0.25).detections
    monkeypatch.setattr(windows, "_MIN_BYTES", 0)
    monkeypatch.setattr(windows, "_PART_S", 120.0)
    analysis = run("long.wav", "out2", overlap_s=0.25)
    assert analysis.n_tasks == 4 and analysis.files["duration_s"].tolist() == [500.0]
    pd.testing.assert_frame_equal(analysis.detections, whole)


def test_an_unknown_format_is_an_error_before_anything_is_computed(here):
    with pytest.raises(runtime.ParameterError, match="'xlsx'.*raven"):
        run(to="raven,xlsx")
    assert not (here / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("name", ["café 春.wav", "a\nb.wav", "it's, \"odd\".wav", b"caf\xe9.wav"])
def test_odd_names_are_analysed(here, name):
    shutil.rmtree("sounds")
    os.mkdir("sounds")
    shutil.move(analysed.tone("x.wav", "010"), os.path.join(os.fsencode("sounds"), os.fsencode(name)))
    analysis = run()
    assert len(analysis.detections) == 1 and not len(analysis.skipped)
    pd.testing.assert_frame_equal(detections.read("out/detections.csv"), analysis.detections)


def test_a_silent_analysis_has_all_tables(here):
    analysed.tone("sounds/a.wav", "000")
    analysis = run("sounds/a.wav")
    assert len(detections.read("out/detections.csv")) == 0 and analysis.files["n_detections"].tolist() == [0]
    assert "No species was detected" in summary.describe(analysis)


def test_the_number_of_processes_may_be_left_to_the_machine_but_is_not_0(here):
    assert len(run("sounds/a.wav", n_jobs=None, to=None).detections) == 2
    with pytest.raises(runtime.ParameterError, match="n_jobs is 0: give a number"):
        run(n_jobs=0)


def test_the_function_returns_the_table_and_leaves_nothing_behind(here, monkeypatch):
    monkeypatch.setattr(models, "choose", lambda *_: (analysed.model(), "why"))
    found = birdlib.analyse("sounds", n_jobs=1)
    assert len(found) == 3 and sorted(path.name for path in here.iterdir()) == ["sounds"]
    found = birdlib.analyse(["sounds"], output="kept", n_jobs=1, html=False)
    assert len(found) == 3 and (here / "kept" / "detections.csv").is_file()


@pytest.mark.slow
def test_birdnet_finds_the_same_in_one_process_and_in_two(tmp_path):
    """Chirps and hiss; a low confidence, so that there is much to compare."""
    rng = np.random.default_rng(0)
    for number in range(4):
        seconds = 7 + 3 * number
        times_s = np.arange(seconds * 32_000) / 32_000
        song = 0.2 * np.sin(2 * np.pi * (3000 + 400 * number) * times_s + 20 * np.sin(2 * np.pi * 8 * times_s)) * (times_s % 1.5 < 0.6)
        soundfile.write(tmp_path / f"{number}.flac", song + 0.005 * rng.standard_normal(len(song)), 32_000)
    one, two = (birdlib.analyse(tmp_path, "birdnet", min_confidence=0.02, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert len(one) > 3
    pd.testing.assert_frame_equal(one, two)
