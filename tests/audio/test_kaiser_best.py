import importlib.util

import numpy as np
import pytest

from birdlib.audio import kaiser_best, resampling


def noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize("from_hz", [8_000, 22_051, 32_000, 44_100])
def test_it_is_resampy_with_its_kernel_kaiser_best(from_hz):
    import resampy

    waveform = noise(3 * from_hz)
    expected = resampy.resample(waveform, from_hz, 16_000, filter="kaiser_best")
    found = resampling.resample(waveform, from_hz, 16_000, "kaiser_best")
    assert len(found) == 48_000 and np.abs(found[: len(expected)] - expected).max() < 1e-6


@pytest.mark.parametrize("from_hz", [8_000, 22_051, 44_100])
def test_a_stream_equals_the_whole(monkeypatch, from_hz):
    monkeypatch.setattr(kaiser_best, "_BLOCK_S", 1.0)
    waveform = noise(int(4.37 * from_hz))
    pieces = np.split(waveform, [1, 1_000, 2 * from_hz])
    found = np.concatenate(list(resampling.resample_blocks(pieces, from_hz, 16_000, "kaiser_best")))
    expected = resampling.resample(waveform, from_hz, 16_000, "kaiser_best")
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("n_samples", [1, 2, 3, 4, 7])
def test_a_few_samples_are_resampled_too(n_samples):
    """48 to 16 kHz: resampy itself refuses fewer than 3 samples."""
    for found in (kaiser_best.resample(noise(n_samples), 48_000, 16_000), *kaiser_best.resample_blocks([noise(n_samples)], 48_000, 16_000)):
        assert len(found) == -(-n_samples // 3) and np.isfinite(found).all()


def test_without_resampy_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(kaiser_best.ResamplerError, match="resampy: install it, or run 03_embed with resampler=soxr_hq"):
        resampling.resample(noise(100), 48_000, 16_000, "kaiser_best")
