"""What several tests need: noise, and a song."""

import numpy as np
import pandas as pd

from birdlib.audio import io as audio_io

RATE_HZ = 32000


def hiss(duration_s, level=0.003, sample_rate_hz=RATE_HZ, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(duration_s * sample_rate_hz))).astype(np.float32)


def song(duration_s, sample_rate_hz=RATE_HZ):
    """A trill at 4 kHz, ten notes a second."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.2 * np.sin(2 * np.pi * 4000 * time_s) * (time_s % 0.1 < 0.05)).astype(np.float32)


def two_birds(folder, sample_rate_hz, n_each=8):
    """Two species in hiss, one sings at 1 kHz and one at 2 kHz: (folder, table, truth)."""
    for i in range(2 * n_each):
        noise = hiss(0.6, level=0.2, sample_rate_hz=sample_rate_hz, seed=i)
        note = 0.3 * np.sin(2 * np.pi * 1000 * (1 + i % 2) * np.arange(len(noise)) / sample_rate_hz)
        audio_io.write(folder / f"{i}.flac", (noise + note).astype(np.float32), sample_rate_hz)
    names = [f"{i}.flac" for i in range(2 * n_each)]
    table = pd.DataFrame({"audio_path": names, "start_s": 0.0, "end_s": 0.6, "row": range(2 * n_each)})
    return folder, table, np.eye(2, dtype=np.float32)[np.arange(2 * n_each) % 2]
