import numpy as np
import pytest
import soundfile
from sounds import RATE_HZ, hiss, song

from birdlib.audio import io as audio_io
from birdlib.audio import noise


def denoise(waveform, sample_rate_hz, method):
    quietest = noise.Measures.of(waveform, sample_rate_hz).noise()
    return np.concatenate(list(noise.denoise_blocks([waveform], sample_rate_hz, method, quietest)))


@pytest.mark.parametrize(("method", "quiet_s"), [("stationary", 12), ("nonstationary", 40)])
def test_denoising_keeps_the_song_and_does_not_depend_on_blocks(method, quiet_s):
    """More than one block: they are of 4 and of 33 s."""
    import noisereduce

    waveform = np.concatenate([hiss(quiet_s), hiss(8, seed=1) + 0.2 * song(8)])
    reduced = denoise(waveform, RATE_HZ, method)
    assert len(reduced) == len(waveform) and reduced.dtype == np.float32
    quiet = slice(0, round(0.75 * quiet_s * RATE_HZ))
    assert np.square(reduced[quiet]).mean() < 0.2 * np.square(waveform[quiet]).mean()
    rules = {"y_noise": noise.Measures.of(waveform, RATE_HZ).noise()} if method == "stationary" else {}
    whole = noisereduce.reduce_noise(
        waveform, RATE_HZ, stationary=method == "stationary", chunk_size=None, padding=4096, **rules
    )
    assert np.abs(reduced - whole).max() < 1e-4


@pytest.mark.parametrize("method", noise.DENOISERS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_short_clips_and_silence_can_be_denoised(method):
    half_silent = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), hiss(2), np.zeros(50 * RATE_HZ, np.float32)])
    for waveform in (np.zeros(RATE_HZ, np.float32), hiss(0.04), hiss(0.04)[:1], half_silent):
        reduced = denoise(waveform, RATE_HZ, method)
        assert len(reduced) == len(waveform) and np.isfinite(reduced).all()


def test_measures_of_noise_song_silence_and_clipping():
    """White noise of RMS 0.003 is -50.5 dB over 16 kHz; of these 8.5 kHz are in the band: -53.2 dB."""
    measures = noise.Measures.of(hiss(20), RATE_HZ).summary()
    assert measures["noise_floor_db"] == pytest.approx(-53.2, abs=1.0)
    assert measures["snr_db"] < 3 and measures["clipped_share"] == 0 and not measures["is_silent"]
    sung = noise.Measures.of(hiss(20) + np.concatenate([song(10), np.zeros(10 * RATE_HZ, np.float32)]), RATE_HZ)
    assert sung.summary()["snr_db"] > 25
    assert sung.summary(spans=[[0, 10]])["snr_db"] < 3
    assert len(sung.noise()) == pytest.approx(10 * RATE_HZ, rel=0.1) and np.abs(sung.noise()).max() < 0.03
    assert noise.Measures.of(np.zeros(1000, np.float32), 8000).summary()["is_silent"]
    assert noise.Measures.of(np.ones(32000, np.float32), RATE_HZ).summary()["clipped_share"] == 1


def test_measures_do_not_depend_on_the_blocks():
    waveform = hiss(5) + song(5)
    whole, parts = noise.Measures.of(waveform, RATE_HZ), noise.Measures(RATE_HZ)
    assert np.array_equal(np.concatenate(list(parts.update(np.split(waveform, [5, 40000, 99999])))), waveform)
    assert whole.summary() == parts.summary() and np.array_equal(whole.noise(), parts.noise())


@pytest.mark.parametrize("sample_rate_hz", [32_000, 48_000])
def test_an_offset_without_sound_is_silent(tmp_path, sample_rate_hz):
    """A recorder's direct current is no sound, also where it is resampled; a quiet song on it is."""
    offset = np.full(3 * sample_rate_hz, 0.3, np.float32)
    song = 0.01 * np.sin(2 * np.pi * 3000 * np.arange(len(offset)) / sample_rate_hz).astype(np.float32)
    for waveform, is_silent in ((offset, True), (offset + song, False)):
        soundfile.write(tmp_path / "a.wav", waveform, sample_rate_hz, subtype="FLOAT")
        measured = noise.Measures.of(audio_io.read(tmp_path / "a.wav", 32_000)[0], 32_000)
        assert measured.summary()["is_silent"] == is_silent
