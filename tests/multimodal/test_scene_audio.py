import math

import numpy as np
import pytest
from media import RATE_HZ, by_second, film, recording, tone

from birdlib.multimodal import scene_audio

# Spectrogram


def test_silence_is_0():
    assert scene_audio.spectrogram(np.zeros(RATE_HZ * 4, np.float32)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("hz", [1500, 4000, 11_000])
def test_a_tone_is_in_its_band(hz):
    """A band is 125 Hz wide, its edges half a bin (15.6 Hz) higher than a multiple; a full sine in the middle of a band is all in it.

    Hann's window spreads it over three bins, of 1, 1/4 and 1/4 of its power: 1.5 is 0.018 above 1.
    """
    levels = scene_audio.spectrogram(tone(4, hz + 78.125, amplitude=1.0))
    assert levels.shape == (125, 128) and levels.dtype == np.float32
    assert (levels.argmax(axis=1) == hz // 125).all()
    assert levels[:, hz // 125] == pytest.approx(1 + np.log10(1.5) / 10, abs=0.002)


def test_a_tenth_of_the_amplitude_is_a_fifth_lower():
    """20 dB of 100."""
    loud, soft = (scene_audio.spectrogram(tone(4, amplitude=a)).max() for a in (0.5, 0.05))
    assert loud - soft == pytest.approx(0.2, abs=1e-4)


def test_short_sound_is_padded_with_silence_and_a_long_one_is_cut():
    long, short = tone(6), tone(1)
    assert np.array_equal(scene_audio.spectrogram(long), scene_audio.spectrogram(long[: 4 * RATE_HZ]))
    levels = scene_audio.spectrogram(short)
    assert (levels[:31].max(axis=1) > 0.9).all() and np.abs(levels[32:]).max() < 1e-9


def test_stft_has_every_bin_of_512_samples_every_256():
    """A sine in the middle of bin 64, 4000 Hz, has its whole amplitude there: level 1; the last transform is padded."""
    levels = scene_audio.spectrogram(tone(4, 4000.0, amplitude=1.0), "stft")
    assert levels.shape == (500, 257) and levels.dtype == np.float32
    assert (levels.argmax(axis=1) == 64).all() and levels[:-1, 64] == pytest.approx(1.0, abs=0.002)


def test_stft_is_that_of_scipy():
    from scipy import signal

    waveform = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * RATE_HZ).astype(np.float32)
    _, _, spectrum = signal.stft(waveform, nperseg=512, noverlap=256, window="hann", boundary=None, padded=False)
    expected = 1 + np.log10(np.abs(2 * spectrum.T) ** 2 + 1e-10) / 10
    assert np.allclose(scene_audio.spectrogram(waveform, "stft")[:-1], expected, atol=1e-4)


def test_unknown_spectrogram_is_refused_with_the_choices():
    with pytest.raises(scene_audio.SpectrogramError, match="'mfcc' is unknown: use bands or stft"):
        scene_audio.spectrogram(tone(4), "mfcc")


# Films


def film_spectrogram(path, **options):
    """The spectrogram of a film's first scene."""
    film(path, by_second(6), **options)
    return scene_audio.extract_film(path, [[0.0, 4.0]])[0, 2:].reshape(125, 128)


def test_stereo_equals_mono(tmp_path):
    sound = tone(6)
    stereo = film_spectrogram(tmp_path / "stereo.mkv", sound=np.stack([sound, sound]))
    assert np.allclose(film_spectrogram(tmp_path / "mono.mkv", sound=sound), stereo, atol=1e-3)


def test_band_does_not_depend_on_the_sample_rate(tmp_path):
    original = film_spectrogram(tmp_path / "a.mkv", sound=tone(6, 4062.5))
    resampled = film_spectrogram(tmp_path / "b.mkv", sound=tone(6, 4062.5, rate_hz=44_100), rate_hz=44_100)
    assert original[60].argmax() == resampled[60].argmax() == 32


# Recordings


def extract(path, waveform, start_s=0.0, end_s=math.inf):
    """(times, spectrograms) of the scenes of a recording."""
    recording(path, waveform)
    rows = scene_audio.extract_recording(path, start_s, end_s)
    return rows[:, :2].tolist(), rows[:, 2:].reshape(-1, 125, 128)


def test_scenes_with_song_are_taken_from_a_recording(tmp_path):
    """Eight times four seconds; song in the 2nd, 4th, 5th and 8th, a rumble of 100 Hz, twenty times as strong, in the others."""
    songs = [1, 3, 4, 7]
    pieces = [tone(4, amplitude=0.04) if n in songs else tone(4, hz=100.0, amplitude=0.8) for n in range(8)]
    times_s, spectrograms = extract(tmp_path / "a.wav", np.concatenate(pieces))
    assert [start_s for start_s, _ in times_s] == [4.0 * n for n in songs]
    assert all(levels[60].argmax() in (31, 32) for levels in spectrograms)


@pytest.mark.parametrize(
    ("duration_s", "expected_s"),
    [(1.5, [[0, 1.5]]), (4, [[0, 4]]), (4.3, [[0, 4]]), (9.5, [[0, 4], [4, 8], [5.5, 9.5]])],
)
def test_last_scene_of_a_recording_is_flush_with_its_end(tmp_path, duration_s, expected_s):
    times_s, spectrograms = extract(tmp_path / "a.wav", tone(duration_s))
    assert times_s == expected_s
    if duration_s > 4:  # no silence in any
        assert all(levels.max(axis=1).min() > 0.9 for levels in spectrograms)


def test_scenes_stay_inside_the_part_of_a_recording(tmp_path):
    sound = np.concatenate([tone(5, 2062.5), tone(7, 6062.5), tone(5, 2062.5)])
    times_s, spectrograms = extract(tmp_path / "a.wav", sound, 5.0, 12.0)
    assert times_s == [[5, 9], [8, 12]] and (spectrograms.argmax(axis=2) == 48).all()
