"""An analysis as a whole: tables, settings, runs that were stopped or are done again."""

import itertools
import json
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
from birdlib import resume, runtime
from birdlib.analysis import detections, engine, inputs, models, sound_files, summary, windows
from birdlib.models import birdnet_location


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


def test_without_thresholds_a_quarter_is_the_least_confidence(here):
    settings = analysed.settings(analysed.model(thresholds=None))
    assert settings.min_confidence == 0.25 and "at least 0.25" in summary.describe_settings(settings)


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


def test_a_bad_file_is_one_row_of_the_skipped_table(here):
    (here / "sounds" / "bad.wav").write_bytes(b"no sound at all")
    (here / "sounds" / "empty.wav").write_bytes(b"")
    analysis = run()
    assert analysis.skipped["path"].tolist() == [os.path.join("sounds", name) for name in ("bad.wav", "empty.wav")]
    assert "could not be used as they are" in summary.describe(analysis) and len(analysis.detections) == 3
    assert not analysis.skipped["reason"].str.contains("sounds").any()


def test_whatever_a_file_does_to_the_model_the_others_are_analysed(here, monkeypatch):
    def fails(excerpt, spans):
        if len(spans) == 4:
            raise ZeroDivisionError("odd file")
        return analysed.predict(excerpt, spans)

    analysed.use(monkeypatch, fails)
    analysis = run()
    assert analysis.skipped["reason"].tolist() == ["ZeroDivisionError: odd file"] and len(analysis.files) == 1


def test_a_stopped_run_goes_on_with_the_files_that_are_missing(here, monkeypatch):
    calls = itertools.count()

    def stops(excerpt, spans):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return analysed.predict(excerpt, spans)

    analysed.use(monkeypatch, stops)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (here / "out" / "detections.csv").exists()
    analysis = run()
    assert (analysis.n_tasks, analysis.n_computed) == (2, 1) and len(analysis.detections) == 3
    assert "1 of 2 parts as computed before" in summary.describe(analysis)


def test_a_finished_analysis_is_not_computed_again_but_for_new_and_changed_files(here):
    run()
    again = run()
    assert again.n_computed == 0 and len(again.detections) == 3 and "all as computed before" in summary.describe(again)
    analysed.tone("sounds/c.wav", "1")
    analysed.tone("sounds/a.wav", "111")
    more = run()
    assert more.n_computed == 2 and more.files["duration_s"].tolist() == [3.0, 4.0, 1.0]


def test_two_runs_do_not_write_into_one_folder(here):
    with resume.lock_folder("out"):
        with pytest.raises(resume.LockError, match="another --output"):
            run()


def test_formats_are_written_each_into_its_folder_also_later(here):
    run(to="raven")
    analysis = run(to=["audacity"])
    assert analysis.n_computed == 0 and list((here / "out" / "raven").iterdir()) and list((here / "out" / "audacity").iterdir())


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


def test_of_unreadable_files_alone_the_tables_are_empty(here):
    (here / "bad.wav").write_bytes(b"no sound")
    analysis = run("bad.wav")
    assert len(analysis.files) == len(analysis.detections) == 0 and len(analysis.skipped) == 1
    assert summary.describe(analysis).startswith("No file could be analysed.\n1 file could not be used as it is")


def test_a_reason_is_given_once_though_sound_and_pictures_of_a_film_share_it(here, monkeypatch):
    (here / "empty.mp4").touch()
    flaws = pd.DataFrame({"path": ["empty.mp4"], "reason": ["is empty (0 bytes): copy it again, or remove it"]})
    monkeypatch.setattr(engine.films, "count", lambda *_: (pd.DataFrame(columns=detections.COUNT_COLUMNS), pd.DataFrame(columns=engine.films.TRACK_COLUMNS), flaws, ""))
    analysis = run(["sounds/a.wav", "empty.mp4"], count=True)
    assert analysis.skipped.to_numpy().tolist() == flaws.to_numpy().tolist()


def test_the_number_of_processes_may_be_left_to_the_machine_but_is_not_0(here):
    assert len(run("sounds/a.wav", n_jobs=None, to=None).detections) == 2
    with pytest.raises(runtime.ParameterError, match="n_jobs is 0: give a number"):
        run(n_jobs=0)


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_confidence": 0.0}, "min_confidence is 0"),
        ({"min_confidence": float("nan")}, "min_confidence"),
        ({"overlap_s": 1.0}, "windows of classifier last 1 s"),
        ({"overlap_s": -1.0}, "overlap"),
        ({"latitude": 50.0}, "give both"),
        ({"week": 18}, "week 18 is given without a location: add --lat and --lon"),
        ({"min_occurrence": float("nan")}, "min_occurrence is nan: choose 0 to 1"),
        ({"min_occurrence": 7}, "min_occurrence is 7: choose 0 to 1"),
        ({"gap_s": float("nan")}, "gap_s is not a number"),
        ({"overlap_s": "none"}, "overlap_s is 'none': give a number"),
        ({"latitude": 50.0, "longitude": 11.0}, "knows the species of birdnet"),
        ({"latitude": 50.0, "longitude": 11.0, "use_location": False}, "leave out one"),
    ],
)
def test_settings_that_cannot_be_used_are_errors_with_a_remedy(given, message):
    with pytest.raises(runtime.ParameterError, match=message):
        analysed.settings(**given)


def test_numbers_of_numpy_and_of_texts_are_those_of_python(monkeypatch):
    """They are written as JSON, and 18 and 18.0 are one setting."""
    monkeypatch.setattr(engine.weights, "fetch", lambda name, folder="": name)
    birdnet, given = analysed.model(name="birdnet"), {"min_confidence": 0.5, "overlap_s": 0.5, "latitude": 50.0, "longitude": 11.0, "week": 18, "gap_s": 1.0}
    as_python = json.dumps(analysed.settings(birdnet, **given).as_dict())
    for kind in (np.float64, np.float32, str):
        assert json.dumps(analysed.settings(birdnet, **{name: kind(value) for name, value in given.items()}).as_dict()) == as_python


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"latitude": 91.0, "longitude": 0.0}, "no location at latitude 91, longitude 0"),
        ({"latitude": 5.0, "longitude": 0.0, "week": 49}, "no week 49"),
        ({"latitude": 5.0, "longitude": 0.0, "week": 18.5}, "no week 18.5"),
    ],
)
def test_places_and_weeks_that_do_not_exist_are_errors(given, message):
    with pytest.raises(birdnet_location.LocationError, match=message):
        analysed.settings(analysed.model(name="birdnet"), **given)


# In Python


def test_the_function_returns_the_table_and_leaves_nothing_behind(here, monkeypatch):
    monkeypatch.setattr(models, "choose", lambda *_: (analysed.model(), "why"))
    found = birdlib.analyse("sounds", n_jobs=1)
    assert len(found) == 3 and sorted(path.name for path in here.iterdir()) == ["sounds"]
    found = birdlib.analyse(["sounds"], output="kept", n_jobs=1, html=False)
    assert len(found) == 3 and (here / "kept" / "detections.csv").is_file()


def test_tasks_can_be_written_as_json(here):
    files, _ = inputs.find("sounds")
    tasks = engine._tasks(files, analysed.settings())
    assert json.loads(json.dumps(tasks)) == tasks and json.dumps(sound_files.as_settings(analysed.model()))


def test_a_damaged_film_is_skipped(here):
    (here / "bad.mp4").write_bytes(b"no film at all")
    assert run(["bad.mp4", "sounds/a.wav"]).skipped["path"].tolist() == ["bad.mp4"]


def test_films_are_counted_once(here, monkeypatch):
    soundfile.write("sounds/film.wav", np.zeros(8000), 8000)
    calls = []

    def count(paths, folder, outputs_dir):
        calls.append(paths)
        table = pd.DataFrame([(paths[0], 2.0, 1.0, np.nan, 1, 3, "", "tracks", "uncertain")], columns=detections.COUNT_COLUMNS)
        return table, pd.DataFrame(columns=engine.films.TRACK_COLUMNS), pd.DataFrame([("x.mp4", "dark")], columns=["path", "reason"]), "two birds"

    monkeypatch.setattr(engine.films, "count", count)
    monkeypatch.setattr(inputs, "_media", lambda path: "film" if path.stem == "film" else "sound")
    for _ in range(2):
        analysis = run(count=True)
        assert analysis.counts["n"].tolist() == [2.0] and np.isnan(analysis.counts["high"][0]) and analysis.note == "two birds"
        assert analysis.skipped.to_numpy().tolist() == [["x.mp4", "dark"]]
    assert len(calls) == 1
    soundfile.write("sounds/film.wav", np.zeros(9000), 8000)
    run(count=True)
    assert len(calls) == 2


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
