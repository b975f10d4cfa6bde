import numpy as np
import pytest

from birdlib.models import fbanks

RATE_HZ = fbanks.SAMPLE_RATE_HZ


def kaldi(waveform):
    """What Kaldi does, frame by frame in double precision: (frames, 128) natural logarithms, without padding."""
    to_mel = lambda hz: 1127.0 * np.log(1.0 + hz / 700.0)  # noqa: E731
    edges = to_mel(20.0) + np.arange(130) * (to_mel(16_000.0) - to_mel(20.0)) / 129
    mels = to_mel(np.arange(512) * RATE_HZ / 1024)
    filters = np.array([np.interp(mels, edges[i : i + 3], [0.0, 1.0, 0.0]) for i in range(128)])  # (128, 512)
    rows = []
    for start in range(0, len(waveform) - 799, 320):
        frame = waveform[start : start + 800].astype(float)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * np.hanning(800), 1024)) ** 2
        rows.append(np.log(np.maximum(filters @ power[:512], 1.1920929e-07)))
    return np.array(rows)


def tone(hz, seconds=1.0, level=0.1):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def test_log_mel_values_equal_kaldi():
    rng = np.random.default_rng(0)
    waveform = np.float32(0.05 * rng.normal(size=RATE_HZ)) + tone(3_000.0)
    log_mel = fbanks.spectrograms(waveform[None])[0] * 2 * fbanks.STD + fbanks.MEAN
    assert np.allclose(log_mel[:98], kaldi(waveform), atol=2e-3)


def test_five_seconds_are_498_frames_padded_with_the_lowest_value():
    """1 + (160,000 - 800) / 320 = 498.5, and frames are whole."""
    log_mel = fbanks.spectrograms(np.random.default_rng(1).normal(size=(2, fbanks.CLIP_SAMPLES)) * [[0.1], [0.01]])
    assert log_mel.shape == (2, 512, 128)
    for clip in log_mel:
        assert (clip[498:] == clip[:498].min()).all() and clip[497].std() > 0


@pytest.mark.parametrize("hz", [500.0, 2_000.0, 8_000.0])
def test_a_tone_is_loudest_in_the_band_around_it(hz):
    band = fbanks.spectrograms(tone(hz)[None])[0, 50].argmax()
    centres_hz = 700.0 * np.expm1(np.linspace(fbanks._mel(20.0), fbanks._mel(16_000.0), 130)[1:-1] / 1127.0)
    assert abs(int(band) - int(np.abs(centres_hz - hz).argmin())) <= 1


def test_ten_times_louder_adds_the_logarithm_of_a_hundred():
    quiet, loud = fbanks.spectrograms(np.stack([tone(2_000.0, level=0.05), tone(2_000.0, level=0.5)]))
    band = quiet[50].argmax()
    assert loud[50, band] - quiet[50, band] == pytest.approx(np.log(100.0) / (2 * fbanks.STD), abs=1e-3)


def test_silence_is_the_lowest_value():
    """(ln 1.19e-7 + 7.2) / 8.86 = -0.987, everywhere."""
    assert np.allclose(fbanks.spectrograms(np.zeros((1, RATE_HZ))), -0.987, atol=1e-3)


def test_a_spectrogram_does_not_depend_on_the_other_clips():
    clips = np.stack([tone(1_000.0), tone(4_000.0, level=0.001)])
    assert np.allclose(fbanks.spectrograms(clips)[1], fbanks.spectrograms(clips[1:])[0], atol=1e-5)


def test_longer_sounds_are_cut():
    waveform = np.random.default_rng(2).normal(size=7 * RATE_HZ).astype(np.float32)[None] * 0.1
    assert fbanks.spectrograms(waveform).shape == (1, 512, 128)


def test_a_sound_of_less_than_a_window_is_refused():
    with pytest.raises(ValueError, match="799 samples is shorter than one window, 800"):
        fbanks.spectrograms(np.zeros((1, 799)))
