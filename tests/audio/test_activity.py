import numpy as np
import pytest
from sounds import RATE_HZ, hiss, song

from birdlib.audio import activity


def test_the_stretches_of_a_song_are_found():
    waveform = hiss(6.0)
    for start_s in (1.0, 4.0):
        waveform[round(start_s * RATE_HZ) :][: len(song(0.75))] += song(0.75)
    found = activity.find(waveform, RATE_HZ)
    assert np.abs(np.array(found.spans) - [(1.0, 1.75), (4.0, 4.75)]).max() < 0.08  # the trill ends with a pause of 0.05 s
    assert np.flatnonzero(found.bins).min() * 31.25 > 3600 and np.flatnonzero(found.bins).max() * 31.25 < 4400


def test_power_is_that_of_the_song_in_its_band():
    """A tone twice as loud has four times the power; hiss alone has far less in this band."""
    powers, background = [], hiss(4.0)
    for gain in (1.0, 2.0):
        waveform = background.copy()
        waveform[RATE_HZ : 2 * RATE_HZ] += gain * song(1.0)
        powers.append(activity.find(waveform, RATE_HZ))
    assert powers[1].power / powers[0].power == pytest.approx(4.0, rel=0.1)
    assert activity.band_power(background, RATE_HZ, powers[0].bins) < powers[0].power / 100


def test_fainter_birds_behind_a_loud_one_do_not_count():
    waveform = hiss(6.0, level=0.0003)
    waveform[RATE_HZ : 2 * RATE_HZ] += song(1.0)
    waveform[4 * RATE_HZ : 5 * RATE_HZ] += 0.03 * song(1.0)  # -30 dB
    assert len(activity.find(waveform, RATE_HZ).spans) == 1


@pytest.mark.parametrize("waveform", [hiss(2.0), np.zeros(RATE_HZ, np.float32), np.zeros(10, np.float32), np.resize(song(1.0), 2 * RATE_HZ) * 0 + 0.1])
def test_nothing_stands_out_of_hiss_silence_or_a_constant(waveform):
    assert activity.find(waveform, RATE_HZ).spans == []
