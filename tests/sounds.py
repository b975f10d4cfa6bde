"""What several tests need: noise, and a song."""

import numpy as np

RATE_HZ = 32000


def hiss(duration_s, level=0.003, sample_rate_hz=RATE_HZ, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(duration_s * sample_rate_hz))).astype(np.float32)


def song(duration_s, sample_rate_hz=RATE_HZ):
    """A trill at 4 kHz, ten notes a second."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.2 * np.sin(2 * np.pi * 4000 * time_s) * (time_s % 0.1 < 0.05)).astype(np.float32)
