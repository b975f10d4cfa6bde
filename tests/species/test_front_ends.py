"""Members with the same mel front end compute it once; workers give the scores of one process."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime
from birdlib.data import birdclef
from birdlib.species import (
    classifiers,
    front_ends,
    inference,
    mel_models,
    members,
    soundscape_predictions,
    time_budget,
    workers,
)

CLASSES = ["crow", "tit", "wren"]
WINDOW_S = 1.0


def save_member(folder, window_s=WINDOW_S, seed=0):
    import keras

    keras.utils.set_random_seed(seed)
    model, _ = mel_models.build(len(CLASSES), mode="multi", window_s=window_s)
    preprocessing = {"kind": "waveform", "sample_rate_hz": mel_models.SAMPLE_RATE_HZ, "window_s": window_s, "prior": [0.2] * 3}
    classifiers.save(folder, model, CLASSES, preprocessing)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three mel models; the last has shorter windows."""
    home = tmp_path_factory.mktemp("07")
    names = ["members/a", "members/b", "members/short"]
    for seed, name in enumerate(names):
        save_member(home / name, 0.5 if name.endswith("short") else WINDOW_S, seed)
    classifiers.save(home, classifiers.build_head(2, 3, hidden=()), CLASSES, {"prior": [0.2] * 3})
    runtime.write_json({"rule": "mean", "members": names, "thresholds": [0.5] * 3, "calibration": {}, "prior": [0.2] * 3}, home / "ensemble.json")
    return home


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory):
    home, rng = tmp_path_factory.mktemp("soundscapes"), np.random.default_rng(0)
    for number in range(4):
        soundfile.write(home / f"S{number}.wav", 0.1 * rng.standard_normal(5 * 32_000), 32_000)
    return sorted(home.glob("*.wav"))


def alone(folder, member_id):
    """A member that was loaded without the others."""
    model, classes, preprocessing = classifiers.load(folder / member_id)
    return members.WaveformMember(member_id, member_id, classes, preprocessing, model, "k" * 64)


def test_members_with_the_same_front_end_share_it_and_others_do_not(folder):
    a, b, short = inference.load(folder)
    assert a._front is b._front and isinstance(a._front, front_ends.SharedFrontEnd) and short._front is None


def test_a_shared_front_end_is_computed_once_and_the_scores_stay(folder, soundscapes):
    a, b, _ = inference.load(folder)
    spans = birdclef.windows(5.0, WINDOW_S)
    found = [member.open(soundscapes[0]).predict(spans) for member in (a, b)]
    assert a._front.n_computed == 1  # five windows are one batch
    for scores, name in zip(found, ("members/a", "members/b"), strict=True):
        assert scores == pytest.approx(alone(folder, name).open(soundscapes[0]).predict(spans), abs=1e-6)
    a.open(soundscapes[1]).predict(spans)
    b.open(soundscapes[1]).predict(spans[:2])  # other windows
    assert a._front.n_computed == 3


def test_too_many_windows_are_computed_again_and_not_kept(folder, soundscapes, monkeypatch):
    monkeypatch.setattr(front_ends, "_MAX_BYTES", 1000)
    a, b, _ = inference.load(folder)
    spans = birdclef.windows(5.0, WINDOW_S)
    for member in (a, b):
        member.open(soundscapes[0]).predict(spans)
    assert a._front.n_computed == 2 and a._front._kept == []


@pytest.mark.slow
def test_workers_give_the_scores_of_one_process(folder, soundscapes, tmp_path):
    files, config, loaded = soundscape_predictions.open_files(soundscapes, WINDOW_S), inference.load_config(folder), inference.load(folder)
    names = {member.member_id: member.name for member in loaded}
    certificates = pd.DataFrame({"member_id": list(names), "chosen": "keras"})

    def predict(n_workers, kept=None):
        budget = time_budget.TimeBudget(time_budget.plan(names, shifts_s=(0.5,)), files["minutes"].sum(), 90)
        with workers.start(n_workers, folder, "", certificates) as pool:
            return soundscape_predictions.predict_all(files, loaded, config, budget, kept, pool)

    here, timings, *_ = predict(1)
    found, in_workers, skipped, refused = predict(2, tmp_path / "parts")
    assert found == pytest.approx(here, abs=1e-6) and skipped.empty and refused.empty
    assert in_workers["soundscape"].tolist() == timings["soundscape"].tolist() and in_workers["seconds"].notna().all()
    again, kept, *_ = predict(2, tmp_path / "parts")
    assert np.array_equal(again, found) and kept["seconds"].isna().all()


@pytest.mark.slow
def test_this_process_goes_on_where_the_workers_die(folder, soundscapes):
    files, config, loaded = soundscape_predictions.open_files(soundscapes, WINDOW_S), inference.load_config(folder), inference.load(folder)
    names = {member.member_id: member.name for member in loaded}
    budget = time_budget.TimeBudget(time_budget.plan(names), files["minutes"].sum(), 90)
    pool = workers.Workers(2, folder / "gone", "", {"members/a": "keras"})  # none can be loaded, so a worker ends as it starts
    with pytest.warns(UserWarning, match="the workers died"):
        scores, timings, skipped, _ = soundscape_predictions.predict_all(files, loaded, config, budget, None, pool)
    assert np.isfinite(scores).all() and not timings["is_prior"].any() and skipped.empty
