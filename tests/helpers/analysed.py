"""A model of tests for analyses: it hears how loud a window is, below and above 2 kHz."""

import numpy as np
import pandas as pd
import soundfile

from birdlib.analysis import engine, models

RATE_HZ = 8000
LABELS = pd.DataFrame({"species": ["low", "high"], "scientific_name": ["Bassus bassus", ""], "common_name": ["Low bird", ""]})


def predict(excerpt, spans):
    """(spans, 2): ten times the amplitude of the window's energy below and above 2 kHz, at most 1."""
    scores = []
    for start_s, end_s in spans:
        first, last = (round((seconds - excerpt.start_s) * excerpt.sample_rate_hz) for seconds in (start_s, end_s))
        window = np.resize(excerpt.waveform[first:last], last - first)
        energy = np.abs(np.fft.rfft(window)) ** 2
        is_high = np.fft.rfftfreq(len(window), 1 / excerpt.sample_rate_hz) > 2000
        scores.append([10 * np.sqrt(2 * energy[rows].sum()) / len(window) for rows in (~is_high, is_high)])
    return np.minimum(np.array(scores, np.float32), 1.0)


def model(**others):
    """Windows of 1 s; thresholds of 0.5."""
    return models.Model(**{"name": "classifier", "folder": "", "labels": LABELS, "window_s": 1.0, "licences": {}, "key": "k" * 64, "thresholds": np.array([0.5, 0.5]), **others})


def settings(own=None, **others):
    return engine.settings_of(own or model(), **{"count": False, **others})


def use(monkeypatch, scorer=predict):
    """Let analyses load this scorer."""
    monkeypatch.setattr(models, "load", lambda name, folder="", weights_dir="", key="": models.Scorer(scorer, 1.0))


def tone(path, seconds, rate_hz=RATE_HZ):
    """A wav that is quiet but for a tone of 1 kHz in the seconds ``1`` and of 3 kHz in the seconds ``2``, e.g. "0112"."""
    times_s = np.arange(rate_hz) / rate_hz
    sounds = {"0": np.zeros(rate_hz), "1": 0.2 * np.sin(2 * np.pi * 1000 * times_s), "2": 0.2 * np.sin(2 * np.pi * 3000 * times_s)}
    soundfile.write(path, np.concatenate([sounds[second] for second in seconds]).astype(np.float32), rate_hz)
    return path


def run(paths="sounds", folder="out", own=None, **others):
    """``engine.run`` in this process; ``others`` are its arguments and settings."""
    given = {name: others.pop(name) for name in ("to", "n_jobs", "overwrite") if name in others}
    return engine.run(paths, folder, settings(own, **others), **{"n_jobs": 1, **given})
