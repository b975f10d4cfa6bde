"""Files that cannot be analysed are rows of the skipped table, and the others are analysed."""

import os

import analysed
import pandas as pd
from analysed import run

from birdlib.analysis import detections, engine, summary


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


def test_a_damaged_film_is_skipped(here):
    (here / "bad.mp4").write_bytes(b"no film at all")
    assert run(["bad.mp4", "sounds/a.wav"]).skipped["path"].tolist() == ["bad.mp4"]
