
import numpy as np
import pandas as pd
import pytest
import soundfile
from sounds import hiss, song

from birdlib.data import taxonomy
from birdlib.species import mel_models, panel, teachers

NAMES = pd.DataFrame({"label": ["wren", "crow", "roc"], "scientific_name": ["A a", "B b", "R r"], "common_name": ["Wren", "Crow", "Roc"]})


def teacher(name, labels):
    known = pd.DataFrame({"species": NAMES.loc[NAMES["label"].isin(labels), "scientific_name"].tolist()})
    return teachers.Teacher(name, labels, None, 5.0, name, {}, taxonomy.match(NAMES, known))


@pytest.fixture
def found(monkeypatch):
    """BirdNET knows two birds, Perch none, YAMNet no species; a second Perch cannot be had."""
    here = {"birdnet": teacher("birdnet", ["wren", "crow"]), "perch": teacher("perch", []), "yamnet": teacher("yamnet", [])}

    def load_general(which, names, *options):
        notes = [("perch_v2", "missing, so its labels are absent: no such file")] if "perch_v2" in which else []
        return [here[name] for name in which if name in here], pd.DataFrame(notes, columns=["teacher", "note"])

    monkeypatch.setattr(teachers, "load_general", load_general)


def test_who_knows_nothing_is_told_and_not_asked_and_who_is_missing_stops_nobody(found):
    asked, everybody, table = panel.general("birdnet, perch,perch_v2,yamnet", NAMES)
    assert [each.name for each in asked] == ["birdnet", "yamnet"] and [each.name for each in everybody] == ["birdnet", "perch", "yamnet"]
    told = table.set_index("teacher")
    assert told["labels"].to_dict() == {"birdnet": 2, "perch": 0, "perch_v2": 0, "yamnet": 0}
    assert "not asked" in told["note"]["perch"] and "missing" in told["note"]["perch_v2"] and "sounds that are none" in told["note"]["yamnet"]
    assert panel.general("", NAMES)[0] == []


def test_labels_that_nobody_can_teach_are_listed_with_the_reason(found):
    """The roc is in the taxonomy, but nobody recorded it."""
    _, everybody, _ = panel.general("birdnet,perch,yamnet", NAMES)
    table = panel.unmatched(NAMES, everybody, ["roc"])
    assert table.groupby("label")["why"].apply(list).to_dict() == {
        "wren": ["perch does not know it"],
        "crow": ["perch does not know it"],
        "roc": ["birdnet does not know it", "perch does not know it", "no recording of it: it cannot be learnt"],
    }
    assert panel.unmatched(NAMES, [], []).empty


def test_the_rarest_species_that_nobody_knows_get_detectors():
    """One recording is too few to learn from, and what a general teacher knows needs no detector."""
    species = ["wren"] * 9 + ["crow"] * 2 + ["owl"] * 3 + ["roc"] + ["gull"] * 2
    splits = pd.DataFrame({"species": species, "split": "train"})
    assert panel.rare_species(2, splits, {"crow"}) == ["gull", "owl"]
    assert panel.rare_species(9, splits, set()) == ["crow", "gull", "owl", "wren"] and panel.rare_species(0, splits, set()) == []


@pytest.mark.slow
def test_a_detector_is_trained_on_cleaned_sound_and_hears_windows(tmp_path, monkeypatch):
    """A trill among noise; windows of a second, so that it is quick."""
    rows = []
    for n in range(8):
        is_wren, split = n % 2 == 0, "validation" if n > 5 else "train"
        waveform = hiss(1.0, seed=n) + (song(1.0) if is_wren else 0)
        soundfile.write(tmp_path / f"r{n}.wav", waveform, mel_models.SAMPLE_RATE_HZ)
        rows.append({"recording_id": f"r{n}", "species": "wren" if is_wren else "rest", "split": split, "audio_path": f"r{n}.wav"})
    splits = pd.DataFrame(rows)
    clips = splits[["recording_id", "audio_path"]].assign(start_s=0.0, end_s=1.0, is_noise=False)
    options = {"steps": 2, "epochs": 1, "window_s": 1.0, "rng": np.random.default_rng(0)}
    taught, history = panel.detectors(["wren"], splits, clips, tmp_path, tmp_path / "kept", **options)
    assert taught.labels == ["wren"] and history["label"].tolist() == ["wren"]
    soundfile.write(tmp_path / "S1.wav", hiss(3.0), mel_models.SAMPLE_RATE_HZ)
    scores, others = taught.hear(tmp_path / "S1.wav")
    assert scores.shape == (3, 1) and ((scores >= 0) & (scores <= 1)).all() and not others.any()
