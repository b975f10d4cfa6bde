"""What is found in a sound file, or in the sound of a film: spans, notes, and species that are expected at its location."""

import os

import analysed
import films_made
import numpy as np
import pandas as pd
import pytest
import soundfile
from analysed import run

from birdlib.analysis import engine, models, sound_files
from birdlib.models import birdnet_location


def test_a_file_shorter_than_birdnet_needs_has_a_note(here):
    analysed.tone("short.wav", "1")
    analysis = run("short.wav", own=analysed.model(name="birdnet", window_s=3.0, thresholds=None), use_location=False)
    assert analysis.files["note"].tolist() == ["lasts 1.00 s: birdnet needs 1.5 s"]


def test_a_file_that_ends_before_its_header_states_is_used_with_a_note(here):
    path = analysed.tone("cut.wav", "1" * 20)
    os.truncate(path, os.path.getsize(path) // 2)
    analysis = run("cut.wav")
    assert analysis.files["duration_s"].tolist() == pytest.approx([10.0], abs=0.1)


def test_the_last_detection_ends_with_the_file(here):
    soundfile.write("c.wav", 0.2 * np.sin(2 * np.pi * 1000 * np.arange(20_000) / 8000), 8000)
    assert run("c.wav").detections["end_s"].tolist() == [2.5]


def test_wrong_scores_are_reported(here, monkeypatch):
    analysed.use(monkeypatch, lambda excerpt, spans: np.full((len(spans), 2), np.nan, np.float32))
    assert "not finite" in run().skipped["reason"][0]


@pytest.fixture
def located(here, monkeypatch):
    """"low" is expected in the north, "high" in summer; the weeks that were asked for are noted."""
    asked = []

    def load_location(weights_dir):
        def occurrence(latitude, longitude, week):
            asked.append((latitude, longitude, week))
            return np.array([latitude > 0, week > 20], float)

        return occurrence

    monkeypatch.setattr(models, "load_location", load_location)
    monkeypatch.setattr(engine.weights, "fetch", lambda name, folder="": name)
    return asked


def test_species_that_are_not_expected_are_left_out(located):
    found = run("sounds/a.wav", own=analysed.model(name="birdnet"), latitude=50.0, longitude=11.0, week=10).detections
    assert found["species"].tolist() == ["low"] and found["occurrence"].tolist() == [1.0] and found["latitude"].tolist() == [50.0]


def test_without_a_week_that_of_the_date_is_used_else_the_whole_year(located):
    run(own=analysed.model(name="birdnet"), latitude=50.0, longitude=11.0)
    assert sorted(located) == [(50.0, 11.0, birdnet_location.ALL_YEAR), (50.0, 11.0, birdnet_location.week_of(pd.Timestamp("2025-05-01")))]


def test_a_file_without_location_is_not_filtered(located):
    assert len(run(own=analysed.model(name="birdnet")).detections) == 3 and not located


def test_the_location_in_a_file_is_used_unless_it_shall_not(located, monkeypatch):
    monkeypatch.setattr(sound_files.clock, "read", lambda path: engine_clock(latitude=-5.0, longitude=11.0))
    own = analysed.model(name="birdnet")
    assert run("sounds/a.wav", own=own).detections["species"].tolist() == []
    assert run("sounds/a.wav", "other", own=own, use_location=False).detections["species"].tolist() == ["low", "high"]


def engine_clock(**known):
    return sound_files.clock.Recorded(**known)


@pytest.mark.parametrize("where", [(0.0, 0.0), (float("nan"), 3.0)])
def test_a_recorder_without_a_fix_has_no_location(where):
    assert sound_files._where(engine_clock(latitude=where[0], longitude=where[1]), [None, None, None]) is None


def test_the_soundtrack_of_a_film_is_analysed_as_the_same_sound_is(here):
    times_s = np.arange(2 * 8000) / 8000
    films_made.steady(here / "film.mkv", sound=0.2 * np.sin(2 * np.pi * 1000 * times_s)[None])
    analysis = run("film.mkv")
    assert analysis.files[["media", "n_detections"]].to_numpy().tolist() == [["film", 1]]
    assert analysis.detections[["species", "start_s", "end_s"]].to_numpy().tolist() == [["low", 0.0, 2.0]]


def test_a_film_without_sound_has_a_note_and_is_no_error(here):
    films_made.steady(here / "silent.mkv")
    analysis = run(["silent.mkv", "sounds/a.wav"])
    assert analysis.files[["path", "media", "note"]].to_numpy().tolist() == [
        ["silent.mkv", "film", "is a film without sound"],
        [os.path.join("sounds", "a.wav"), "sound", ""],
    ]
    assert not len(analysis.skipped) and len(analysis.detections) == 2
