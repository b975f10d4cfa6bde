"""An analysis that was stopped or is done again computes only what is missing."""

import itertools
import json

import analysed
import numpy as np
import pandas as pd
import pytest
import soundfile
from analysed import run

from birdlib import locks
from birdlib.analysis import detections, engine, inputs, sound_files, summary


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
    with locks.lock_folder("out"):
        with pytest.raises(locks.LockError, match="another --output"):
            run()


def test_formats_are_written_each_into_its_folder_also_later(here):
    run(to="raven")
    analysis = run(to=["audacity"])
    assert analysis.n_computed == 0 and list((here / "out" / "raven").iterdir()) and list((here / "out" / "audacity").iterdir())


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


def test_tasks_can_be_written_as_json(here):
    files, _ = inputs.find("sounds")
    tasks = engine._tasks(files, analysed.settings())
    assert json.loads(json.dumps(tasks)) == tasks and json.dumps(sound_files.as_settings(analysed.model()))
