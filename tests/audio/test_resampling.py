import numpy as np
import pytest

from birdlib.audio import resampling
from birdlib.models.base import RESAMPLERS


def tone(hz=1000.0, duration_s=2.0, sample_rate_hz=32000):
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("sample_rate_hz", [8000, 11025, 44100, 48000, 192000])
@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_a_tone_stays_a_tone_at_any_rate(sample_rate_hz, resampler):
    waveform = resampling.resample(tone(1000, 1.0, sample_rate_hz), sample_rate_hz, 16000, resampler)
    assert waveform.shape == (16000,) and waveform.dtype == np.float32
    assert np.abs(waveform - tone(1000, 1.0, 16000))[1000:-1000].max() < 0.002


def test_an_unknown_resampler_is_refused():
    with pytest.raises(ValueError, match="soxr_hq, kaiser_best"):
        resampling.resample(tone(), 32000, 16000, "linear")
    with pytest.raises(ValueError, match="soxr_hq, kaiser_best"):
        list(resampling.resample_blocks([tone()], 32000, 16000, "linear"))
