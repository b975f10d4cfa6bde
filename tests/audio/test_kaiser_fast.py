import numpy as np
import pytest

from birdlib.audio import kaiser_fast


@pytest.mark.parametrize("from_hz", [16_000, 22_050, 32_000, 44_100, 47_999, 96_000, 250_000])
def test_it_equals_librosa_and_resampy(from_hz):
    """At 250 kHz resampy's own times, in floating point, miss some samples by one entry of its table."""
    import librosa

    rates = from_hz, 48_000

    waveform = np.random.default_rng(0).standard_normal(rates[0] // 3 + 7).astype(np.float32)
    expected = librosa.resample(waveform, orig_sr=rates[0], target_sr=rates[1], res_type="kaiser_fast")
    found = kaiser_fast.resample(waveform, *rates)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=2e-5 if from_hz < 100_000 else 1e-3)


def test_a_part_from_a_whole_second_equals_that_of_the_whole():
    """An output depends on 16 inputs on either side, so one second of margin is more than enough."""
    waveform = np.random.default_rng(0).standard_normal(3 * 44_100).astype(np.float32)
    whole, part = kaiser_fast.resample(waveform, 44_100, 48_000), kaiser_fast.resample(waveform[44_100:], 44_100, 48_000)
    np.testing.assert_allclose(part[48_000:], whole[2 * 48_000 :], atol=1e-6)


def test_the_same_rate_and_no_samples_stay():
    assert len(kaiser_fast.resample(np.zeros(0, np.float32), 44_100, 48_000)) == 0
    assert kaiser_fast.resample(np.ones(3, np.float32), 48_000, 48_000).tolist() == [1, 1, 1]
