import warnings

import numpy as np
import pytest
import soundfile
import wav_chunks

from birdlib import runtime
from birdlib.audio import io as audio_io


def tone(hz=1000.0, duration_s=2.0, sample_rate_hz=32000):
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_every_format_preserves_the_waveform(tmp_path, suffix):
    path = tmp_path / f"song{suffix}"
    audio_io.write(path, tone(), 32000)
    waveform, sample_rate_hz = audio_io.read(path)
    assert sample_rate_hz == 32000 and waveform.shape == (64000,) and waveform.dtype == np.float32
    error = np.abs(waveform - tone())[2000:-2000].max()  # lossy codecs smear the very ends
    assert error < (2**-15 if suffix in (".wav", ".flac") else 0.1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_the_same_waveform_gives_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        audio_io.write(tmp_path / f"{name}{suffix}", tone(), 32000)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2  # nothing half-written stays behind


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("to_hz", [None, 16000])
def test_streaming_equals_the_whole_file(tmp_path, suffix, to_hz):
    path = tmp_path / f"noise{suffix}"
    noise = 0.1 * np.random.default_rng(0).standard_normal(44100 * 5 + 17).astype(np.float32)
    audio_io.write(path, noise, 44100)
    whole, sample_rate_hz = audio_io.read(path, to_hz)
    blocks = list(audio_io.stream(path, block_s=0.7, sample_rate_hz=to_hz))
    assert {len(block) for block in blocks[:-1]} == {round(0.7 * sample_rate_hz)}
    streamed = np.concatenate(blocks)
    assert streamed.shape == whole.shape
    assert np.abs(streamed - whole).max() < 1e-5


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".mp3"])
def test_a_segment_is_that_part_of_the_whole(tmp_path, suffix):
    path = tmp_path / f"noise{suffix}"
    audio_io.write(path, 0.1 * np.random.default_rng(0).standard_normal(160000).astype(np.float32), 32000)
    whole, _ = audio_io.read(path)
    segment, _ = audio_io.read(path, start_s=1.25, end_s=3.5)
    assert np.abs(segment - whole[40000:112000]).max() < 1e-5
    assert np.array_equal(np.concatenate(list(audio_io.stream(path, 0.5, start_s=1.25, end_s=3.5))), segment)
    assert len(audio_io.read(path, start_s=4.5, end_s=99)[0]) == 16000
    assert len(audio_io.read(path, start_s=float("nan"), end_s=float("nan"))[0]) == 160000  # an empty manifest cell
    with pytest.raises(audio_io.AudioError, match="5.00 s long, so nothing starts at 6 s"):
        audio_io.read(path, start_s=6)


def test_stereo_is_mixed_down(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(), np.zeros_like(tone())], axis=1), 32000)
    assert np.abs(audio_io.read(path)[0] - tone() / 2).max() < 2**-15
    assert audio_io.duration(path) == 2.0 and audio_io.sample_rate(path) == 32000


@pytest.mark.parametrize("layout", ["opposite", "nearly opposite", "equal", "one dead", "uncorrelated"])
def test_channels_that_cancel_each_other_leave_the_loudest(tmp_path, layout):
    """An XLR output in a stereo socket: the second channel is the first turned upside down."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 64_000)).astype(np.float32)
    second = {"opposite": -tone(), "nearly opposite": -0.9 * tone(), "equal": tone(), "one dead": 0 * tone(), "uncorrelated": noise[1]}[layout]
    first = noise[0] if layout == "uncorrelated" else tone()
    soundfile.write(tmp_path / "a.wav", np.stack([first, second], axis=1), 32000)
    with runtime.collect_warnings(tmp_path / "a.wav") as notes:
        waveform, _ = audio_io.read(tmp_path / "a.wav")
        streamed = np.concatenate(list(audio_io.stream(tmp_path / "a.wav", 0.3)))
    cancels = layout in ("opposite", "nearly opposite")
    assert np.abs(waveform - (first if cancels else (first + second) / 2)).max() < 2**-14
    assert np.array_equal(waveform, streamed)
    assert notes == ["its channels cancel each other: channel 1 alone is used"] * cancels


def test_joined_files_are_one_waveform_at_the_rate_of_the_first(tmp_path):
    soundfile.write(tmp_path / "1.ogg", tone(), 32000)
    soundfile.write(tmp_path / "2.ogg", tone(1000, 2.0, 22050), 22050)
    path = tmp_path / "a.ogg"
    path.write_bytes((tmp_path / "1.ogg").read_bytes() + (tmp_path / "2.ogg").read_bytes())
    waveform, sample_rate_hz = audio_io.read(path)
    assert sample_rate_hz == 32000 and audio_io.duration(path) == pytest.approx(4.0) and len(waveform) == pytest.approx(4 * 32000, abs=5)
    assert np.array_equal(audio_io.read(path, start_s=1.5, end_s=3.0)[0], waveform[48_000:96_000])


def test_a_part_of_a_file_without_a_trusted_length_is_read(tmp_path):
    soundfile.write(tmp_path / "a.mp3", tone(), 32000, format="MP3")
    whole, _ = audio_io.read(tmp_path / "a.mp3")
    assert np.array_equal(audio_io.read(tmp_path / "a.mp3", start_s=0.7, end_s=1.2)[0], whole[22_400:38_400])
    with pytest.raises(audio_io.AudioError, match="nothing starts at 9 s"):
        audio_io.read(tmp_path / "a.mp3", start_s=9.0)


def test_very_short_clips_and_silence_are_read(tmp_path):
    for name, waveform in {"short": tone(duration_s=0.04), "silent": np.zeros(64000, np.float32)}.items():
        path = tmp_path / f"{name}.wav"
        audio_io.write(path, waveform, 32000)
        assert len(audio_io.read(path, 16000)[0]) == len(waveform) // 2
        assert np.isfinite(audio_io.log_mel(audio_io.read(path, 16000)[0], 16000)).all()
    soundfile.write(tmp_path / "one.wav", np.ones(1), 44100)
    assert len(audio_io.read(tmp_path / "one.wav", 16000)[0]) == 1  # ceil(16000 / 44100)
    assert sum(map(len, audio_io.stream(tmp_path / "one.wav", sample_rate_hz=16000))) == 1


def test_the_decodable_part_of_a_damaged_file_is_used(tmp_path):
    for suffix in (".ogg", ".flac"):
        path = tmp_path / f"cut{suffix}"
        audio_io.write(path, 0.1 * np.random.default_rng(0).standard_normal(320000).astype(np.float32), 32000)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        waveform, _ = audio_io.read(path)
        assert 3.0 < len(waveform) / 32000 < 7.0
        assert np.array_equal(np.concatenate(list(audio_io.stream(path, 1.5))), waveform)


def unusable(folder):
    """Path and expected reason of files nothing can be made of."""
    audio_io.write(folder / "song.ogg", tone(), 32000)
    (folder / "stub.ogg").write_bytes((folder / "song.ogg").read_bytes()[:500])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "page.mp3").write_text("\n<!DOCTYPE html><html><body>404</body></html>" * 50)
    (folder / "text.ogg").write_text("recorded at dawn\n" * 50)
    soundfile.write(folder / "none.wav", np.zeros(0), 32000)
    for name, value in {"nan": np.nan, "infinite": np.inf, "unscaled": 20000.0}.items():
        waveform = tone(duration_s=3)
        waveform[70000] = value
        soundfile.write(folder / f"{name}.wav", waveform, 32000, subtype="FLOAT")
    return {
        "absent.wav": "no such file",
        "stub.ogg": "not audio",
        "empty.wav": "0 bytes",
        "page.mp3": "web page",
        "text.ogg": "not audio",
        "none.wav": "no samples",
        "nan.wav": "NaN or infinite",
        "infinite.wav": "NaN or infinite",
        "unscaled.wav": "up to 20000",
    }


def test_an_unusable_file_is_reported_with_its_reason(tmp_path):
    for name, reason in unusable(tmp_path).items():
        for attempt in (audio_io.read, lambda path: list(audio_io.stream(path))):
            with pytest.raises(audio_io.AudioError, match=reason) as caught:
                attempt(tmp_path / name)
            assert name in str(caught.value)


def test_the_error_can_be_pickled():
    import pickle

    error = pickle.loads(pickle.dumps(audio_io.AudioError("a.wav", "is empty")))
    assert str(error) == "a.wav: is empty"


def test_frames_lose_no_sample():
    waveform = np.arange(10, dtype=np.float32)
    frames = audio_io.frame(waveform, 4, 3)
    assert frames.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert audio_io.frame(waveform[:5], 4, 3).tolist() == [[0, 1, 2, 3], [3, 4, 0, 0]]
    assert audio_io.frame(waveform[:0], 4, 3).tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError):
        audio_io.frame(waveform, 3, 4)


def test_the_loudest_mel_band_is_where_the_tone_is():
    """1000 Hz is 1000 mel (HTK), and 64 bands share the 185 to 2804 mel of 125 to 7500 Hz: (1000 - 185) / 40.3 = 20th.

    The tone has half the amplitude of full scale: -6 dB, of which the band's triangle takes a little.
    """
    levels_db = audio_io.log_mel(tone(1000, 1.0, 16000), 16000)
    assert levels_db.shape == (101, 64) and levels_db.dtype == np.float32
    assert levels_db[50].argmax() in (19, 20)
    assert -9 < levels_db[50].max() < -3
    assert audio_io.log_mel(np.zeros(16000, np.float32), 16000).max() == -100


def test_padding_is_low_noise_after_the_clip():
    padded = audio_io.pad_with_noise(tone(duration_s=0.1), 32000, np.random.default_rng(0))
    assert np.array_equal(padded[:3200], tone(duration_s=0.1))
    assert padded.shape == (32000,) and padded.dtype == np.float32
    assert 20 * np.log10(padded[3200:].std()) == pytest.approx(-60, abs=0.2)
    assert audio_io.pad_with_noise(tone(), 100, np.random.default_rng(0)) is not None


@pytest.mark.parametrize(("subtype", "form"), [("PCM_16", "WAV"), ("PCM_24", "WAV"), ("FLOAT", "WAV"), ("IMA_ADPCM", "WAV"), ("PCM_16", "WAVEX"), ("PCM_16", "RF64")])
def test_a_wav_that_was_cut_short_is_read_with_a_warning_where_the_end_is_wanted(tmp_path, subtype, form):
    """Half of the bytes of 4 s are there: 2 s are lacking."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(duration_s=4.0), 32000, subtype=subtype, format=form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(audio_io.AudioWarning, match=r"a.wav: it ends 2.0 s before its header states"):
        waveform, _ = audio_io.read(path)
    assert len(waveform) == pytest.approx(64000, abs=1500)  # blocks of ADPCM are whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(audio_io.read(path, end_s=1.5)[0]) == 48000


@pytest.mark.parametrize("n_stated", [0, 0xFFFFFFFF, 0x7FFFFFFF, None])
def test_a_wav_whose_header_leaves_its_length_open_is_whole(tmp_path, n_stated):
    path = wav_chunks.write(tmp_path / "a.wav", n_samples=8000, n_stated=n_stated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(audio_io.read(path)[0]) == 8000
