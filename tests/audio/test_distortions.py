import numpy as np
import pytest
from sounds import RATE_HZ, hiss, song

from birdlib.audio import distortions

EVERY = {
    "reverb": lambda x: distortions.reverb(x, RATE_HZ, decay_s=0.5, wet=0.3, rng=np.random.default_rng(0)),
    "compress": lambda x: distortions.compress(x, RATE_HZ, ratio=4.0),
    "shift": lambda x: distortions.shift(x, 5000),
    "clip": lambda x: distortions.clip(x, 0.7),
    "pitch": lambda x: distortions.pitch(x, RATE_HZ, 0.5),
    "volume": lambda x: distortions.volume(x, 1.3),
    "faster": lambda x: distortions.stretch(x, 1.2),
    "slower": lambda x: distortions.stretch(x, 0.8),
    "add": lambda x: distortions.add(x, hiss(0.3, level=0.1), 10.0),
}


def whistle(hz, duration_s=2.0, level=0.5):
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def click(at_s, duration_s=1.0):
    waveform = np.zeros(round(duration_s * RATE_HZ), np.float32)
    waveform[round(at_s * RATE_HZ)] = 0.9
    return waveform


def loudest_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 8 * len(waveform)))
    return spectrum.argmax() * RATE_HZ / (8 * len(waveform))


def level_db(waveform):
    return 20 * np.log10(distortions.rms(waveform))


# All distortions


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("n_samples", [5 * RATE_HZ, 12345, 300, 1])
def test_distortions_keep_length_and_full_scale(name, n_samples):
    waveform = np.resize(song(1) / 0.2 + hiss(1), n_samples).clip(-1, 1).astype(np.float32)
    before = waveform.copy()
    distorted = EVERY[name](waveform)
    assert distorted.shape == waveform.shape and distorted.dtype == np.float32
    assert np.isfinite(distorted).all() and np.abs(distorted).max() <= 1.0
    assert np.array_equal(waveform, before)  # what was handed in is not written to


@pytest.mark.parametrize("name", [name for name in EVERY if name != "add"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_silence_stays_silence(name):
    assert not EVERY[name](np.zeros(RATE_HZ, np.float32)).any()


def test_adding_to_silence_or_adding_silence_changes_nothing():
    silence = np.zeros(RATE_HZ, np.float32)
    assert not distortions.add(silence, hiss(1), 10.0).any()
    assert np.array_equal(distortions.add(song(1), silence, 10.0), song(1))


# Reverb


def test_the_echo_of_a_click_decays_by_60_db_in_the_decay_time():
    """Straight line through the level of 50 ms pieces: -60 dB in 0.5 s."""
    at = round(0.1 * RATE_HZ)
    distorted = distortions.reverb(click(0.1), RATE_HZ, decay_s=0.5, wet=0.3, rng=np.random.default_rng(1))
    assert np.abs(distorted[:at]).max() < 1e-6  # FFTs round
    assert np.abs(distorted).argmax() == at
    pieces = distorted[at + 1 : at + 1 + 9 * 1600].reshape(9, 1600)
    slope = np.polyfit(np.arange(9) * 0.05, [level_db(piece) for piece in pieces], 1)[0]
    assert slope == pytest.approx(-60 / 0.5, rel=0.1)
    assert np.abs(distorted[at + RATE_HZ // 2 + 2 :]).max() < 1e-6


def test_reverb_keeps_the_loudness_and_differs_by_seed():
    seeds = [np.random.default_rng(seed) for seed in (0, 1, 0)]
    rooms = [distortions.reverb(song(2), RATE_HZ, decay_s=0.5, wet=0.3, rng=rng) for rng in seeds]
    assert level_db(rooms[0]) == pytest.approx(level_db(song(2)), abs=0.01)
    assert not np.allclose(rooms[0], rooms[1], atol=1e-3) and np.array_equal(rooms[0], rooms[2])
    dry = distortions.reverb(song(2), RATE_HZ, decay_s=0.5, wet=0.0, rng=np.random.default_rng(0))
    assert np.allclose(dry, song(2), atol=1e-6)


# Compression


def test_compression_reduces_level_differences_by_its_ratio():
    """Whistles at 0, -12 and -40 dB of the loudest, threshold at -20: 0 stays, -12 becomes -3, -40 becomes -40 + 15."""
    levels = 0.5 * 10 ** (np.array([0, -12, -40]) / 20)
    waveform = np.concatenate([whistle(3000, 1.0, level) for level in levels])
    distorted = distortions.compress(waveform, RATE_HZ, ratio=4.0).reshape(3, RATE_HZ)[:, 2000:-2000]
    relative = [level_db(part) - level_db(0.5 * whistle(3000, 1.0, 1.0)) for part in distorted]
    assert relative == pytest.approx([0, -3, -25], abs=0.1)


def test_compression_is_independent_of_gain_and_a_ratio_of_1_changes_nothing():
    waveform = song(1) + hiss(1)
    loud, quiet = (distortions.compress(gain * waveform, RATE_HZ, ratio=3.0) for gain in (1.0, 0.1))
    assert np.allclose(quiet, 0.1 * loud, atol=1e-5)
    assert np.allclose(distortions.compress(waveform, RATE_HZ, ratio=1.0), waveform, atol=1e-6)


# Shift, clipping, volume


def test_shifting_forth_and_back_changes_nothing():
    later = distortions.shift(click(0.5), RATE_HZ // 4)
    assert later.argmax() == round(0.75 * RATE_HZ)
    assert np.array_equal(distortions.shift(later, -RATE_HZ // 4), click(0.5))


def test_clipping_cuts_what_is_louder_than_a_share_of_the_peak():
    waveform = hiss(2, level=0.1)
    clipped = distortions.clip(waveform, 0.7)
    ceiling = 0.7 * np.abs(waveform).max()
    is_louder = np.abs(waveform) > ceiling
    assert np.allclose(np.abs(clipped[is_louder]), ceiling) and is_louder.any()
    assert np.array_equal(clipped[~is_louder], waveform[~is_louder])
    assert (np.sign(clipped) == np.sign(waveform)).all()


def test_a_sparse_call_is_clipped_above_its_noise():
    """A whistle of a tenth of a second in five seconds of faint noise, 51 dB below: clipping takes at most 3 dB of it."""
    noise = hiss(5, level=0.001)
    call = np.zeros(5 * RATE_HZ, np.float32)
    call[: RATE_HZ // 10] = whistle(4000, 0.1)
    before, after = (level_db(x[: RATE_HZ // 10]) - level_db(x[RATE_HZ:]) for x in (call + noise, distortions.clip(call + noise, 0.7)))
    assert before == pytest.approx(51, abs=1) and before - 3.2 < after < before - 1


def test_volume_is_a_factor_up_to_full_scale():
    assert np.allclose(distortions.volume(song(1), 0.5), 0.5 * song(1))
    loud = 4.5 * song(1)  # up to 0.9: only 1.11 times as loud is possible
    assert np.allclose(distortions.volume(loud, 1.3), loud / np.abs(loud).max())


# Pitch and tempo


@pytest.mark.parametrize("semitones", [-0.5, 0.5])
def test_half_a_semitone_changes_every_frequency_by_three_percent(semitones):
    """2 ** (0.5 / 12) = 1.0293."""
    for hz in (2000.0, 6000.0):
        moved = distortions.pitch(whistle(hz), RATE_HZ, semitones)
        assert loudest_hz(moved) == pytest.approx(hz * 2 ** (semitones / 12), rel=0.002)


@pytest.mark.parametrize("rate", [0.8, 1.2])
def test_stretching_changes_the_tempo_and_keeps_the_pitch(rate):
    """Ten notes a second become 8 or 12; both are at 4 kHz."""
    stretched = distortions.stretch(song(4), rate)
    envelope = np.abs(stretched).reshape(-1, 160).mean(axis=1)  # 200 a second
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean(), 8 * len(envelope)))
    notes_hz = spectrum.argmax() * 200 / (8 * len(envelope))
    assert notes_hz == pytest.approx(10 * rate, rel=0.02)
    assert loudest_hz(distortions.stretch(whistle(4000), rate)) == pytest.approx(4000, rel=0.002)


def test_a_shortened_song_is_repeated():
    """2 s at 1.25 times the tempo end after 1.6 s."""
    stretched = distortions.stretch(np.concatenate([hiss(1, level=0.1), np.zeros(RATE_HZ, np.float32)]), 1.25)
    is_loud = stretched.reshape(-1, 1600).std(axis=1) > 0.03
    assert is_loud[:15].all() and not is_loud[17:31].any() and is_loud[33:].all()


# Other sounds below


@pytest.mark.parametrize("snr_db", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("noise_s", [0.5, 2.0, 7.0])
def test_noise_is_added_at_the_given_snr(snr_db, noise_s):
    """Whatever its own level and length."""
    waveform = song(2)
    below = distortions.add(waveform, hiss(noise_s, level=0.05), snr_db) - waveform
    assert level_db(waveform) - level_db(below) == pytest.approx(snr_db, abs=0.01)
    assert below[-1000:].any()


def test_a_sum_beyond_full_scale_is_turned_down_as_a_whole():
    waveform, noise = whistle(3000, 1.0, 0.95), whistle(5000, 1.0, 0.95)
    mixed = distortions.add(waveform, noise, 0.0)
    assert np.abs(mixed).max() == pytest.approx(1.0)
    assert np.corrcoef(mixed, waveform + noise)[0, 1] == pytest.approx(1.0, abs=1e-6)
