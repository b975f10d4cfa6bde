import numpy as np
import pytest

from birdlib.analysis import bands

RATE_HZ = 32_000


def noise(seconds, level=0.001):
    return (level * np.random.default_rng(0).standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def sweep(low_hz, high_hz, seconds=1.0, rate_hz=RATE_HZ):
    """A tone that rises evenly: each frequency has the same energy."""
    times_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * (low_hz + (high_hz - low_hz) * times_s / seconds / 2) * times_s)).astype(np.float32)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(2000, 6000), (500, 900), (8000, 15000)])
def test_the_band_of_a_sweep_is_the_middle_nine_tenths_of_its_frequencies(low_hz, high_hz):
    """Each frequency has the same energy, so 5 % of it lies below low + 0.05 (high - low)."""
    waveform = noise(20)
    waveform[5 * RATE_HZ : 6 * RATE_HZ] += sweep(low_hz, high_hz)
    found = bands.Background(waveform, RATE_HZ).band(waveform[4 * RATE_HZ : 7 * RATE_HZ])
    assert found == pytest.approx((low_hz + 0.05 * (high_hz - low_hz), high_hz - 0.05 * (high_hz - low_hz)), abs=80)


def test_the_same_sweep_has_the_same_band_at_another_sample_rate():
    for rate_hz in (22_050, 96_000):
        waveform = np.concatenate([np.zeros(9 * rate_hz, np.float32), sweep(2000, 6000, rate_hz=rate_hz)])
        assert bands.Background(waveform, rate_hz).band(waveform[-rate_hz:]) == pytest.approx((2200, 5800), abs=80)


def test_a_hum_of_the_whole_recording_is_background():
    times_s = np.arange(20 * RATE_HZ) / RATE_HZ
    waveform = noise(20) + (0.3 * np.sin(2 * np.pi * 1000 * times_s)).astype(np.float32)
    waveform[5 * RATE_HZ : 6 * RATE_HZ] += sweep(4000, 6000)
    assert bands.Background(waveform, RATE_HZ).band(waveform[4 * RATE_HZ : 7 * RATE_HZ])[0] > 3500


def test_a_song_that_fills_the_recording_still_has_a_band():
    times_s = np.arange(3 * RATE_HZ) / RATE_HZ
    waveform = noise(3) + (0.3 * np.sin(2 * np.pi * 4000 * times_s)).astype(np.float32)
    assert bands.Background(waveform, RATE_HZ).band(waveform) == pytest.approx((4000, 4000), abs=80)


@pytest.mark.parametrize("n_samples", [0, 10, 3 * RATE_HZ])
def test_silence_has_no_band(n_samples):
    waveform = np.zeros(n_samples, np.float32)
    assert np.isnan(bands.Background(waveform, RATE_HZ).band(waveform)).all()
