import av
import numpy as np
import pytest
from films_made import RATE_HZ, clicks, film, grey, read_sound, steady, times

from birdlib.audio import resampling
from birdlib.video import io as video_io


def click_times(waveform, rate_hz):
    return [float(n / rate_hz) for n in np.flatnonzero(np.abs(waveform) > 0.5)]


@pytest.mark.parametrize(
    ("picture_starts_s", "sound_starts_s", "expected"),
    [(0.0, 0.0, [0.5, 1.5]), (0.0, 0.7, [1.2, 2.2]), (0.6, 0.0, [0.9]), (1.0, 0.7, [0.2, 1.2]), (0.2, 0.7, [1.0, 2.0])],
)
def test_sound_is_synchronous_with_the_first_image(tmp_path, picture_starts_s, sound_starts_s, expected):
    """Clicks half a second and a second and a half after the sound begins; time is counted from the first picture."""
    starts_ms = round(1000 * picture_starts_s)
    images = [starts_ms + t for t in range(0, 2000, 100)]
    path = film(tmp_path / "a.mkv", grey(20), images, sound=clicks(0.5, 1.5), sound_starts_s=sound_starts_s)
    waveform, rate_hz = read_sound(path)
    assert rate_hz == RATE_HZ and waveform.dtype == np.float32 and waveform.ndim == 1
    assert click_times(waveform, rate_hz) == pytest.approx(expected, abs=0.0015)
    assert len(waveform) / rate_hz == pytest.approx(2.0 + sound_starts_s - picture_starts_s, abs=0.0015)
    assert times(video_io.frames(path))[0] == 0.0


def test_encoder_delay_does_not_shift_the_sound(tmp_path):
    """AAC begins with 1024 samples of its own, 128 ms here."""
    path = steady(tmp_path / "a.mp4", sound=clicks(0.5, 1.5), codecs=("libx264", "aac"))
    waveform, rate_hz = read_sound(path)
    for time_s in (0.5, 1.5):
        near = slice(round((time_s - 0.2) * rate_hz), round((time_s + 0.2) * rate_hz))
        assert near.start + np.abs(waveform[near]).argmax() == pytest.approx(time_s * rate_hz, abs=8)


def test_gaps_are_filled_with_silence(tmp_path):
    """Of two seconds in parts of a tenth, those from .5 to .9 s are taken out."""
    whole = steady(tmp_path / "a.mkv", sound=clicks(0.25, 0.75, 1.25))
    path = tmp_path / "b.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            sound, time_s = packet.stream.type == "audio", float(packet.pts * packet.time_base)
            packet.stream = streams[packet.stream.index]
            if not (sound and 0.49 < time_s < 0.89):
                target.mux(packet)
    waveform, rate_hz = read_sound(path)
    assert len(waveform) == 2 * rate_hz and click_times(waveform, rate_hz) == pytest.approx([0.25, 1.25], abs=0.0015)
    assert not waveform[4000:7200].any()


def test_streaming_equals_whole_file(tmp_path):
    sound = 0.3 * np.random.default_rng(0).standard_normal((1, 2 * RATE_HZ))
    path = steady(tmp_path / "a.mkv", sound=sound)
    waveform, _ = read_sound(path)
    assert np.abs(waveform - np.clip(sound[0], -1, 1)).max() < 1e-4
    blocks = list(video_io.soundtrack(path, 16_000, block_s=0.3))
    assert [len(block) for block in blocks] == [4800] * 6 + [3200]
    joined = np.concatenate(blocks)
    assert np.array_equal(joined, read_sound(path, 16_000)[0])
    assert np.abs(joined - np.clip(resampling.resample(waveform, RATE_HZ, 16_000), -1, 1)).max() < 1e-4


def test_rate_and_channels_may_change(tmp_path):
    """In a transport stream, say, after two and four seconds."""
    path = tmp_path / "both.ts"
    with path.open("wb") as both:
        for n_channels, rate_hz, begins_s in ((1, 8000, 0), (2, 16_000, 2), (1, 16_000, 4)):
            part = tmp_path / f"{begins_s}.ts"
            times_ms = range(1000 * begins_s, 1000 * begins_s + 2000, 100)
            tone = np.tile(0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * rate_hz) / rate_hz), (n_channels, 1))
            sound = {"sound": tone, "sound_starts_s": begins_s, "rate_hz": rate_hz}
            film(part, grey(20), times_ms, **sound, codecs=("libx264", "aac"))
            both.write(part.read_bytes())
    waveform, rate_hz = read_sound(path)
    assert rate_hz == 8000 and len(waveform) / rate_hz == pytest.approx(6, abs=0.2)
    for start in (0.5, 2.5, 4.5):
        spectrum = np.abs(np.fft.rfft(waveform[round(start * rate_hz) :][:rate_hz]))
        assert spectrum.argmax() == 500 and spectrum.max() > 0.2 * rate_hz


def test_channels_are_mixed(tmp_path):
    sound = np.stack([np.full(RATE_HZ, 0.5), np.full(RATE_HZ, -0.1)])
    waveform, _ = read_sound(steady(tmp_path / "a.mkv", sound=sound))
    assert waveform.shape == (RATE_HZ,) and np.allclose(waveform, 0.2, atol=1e-3)


def test_no_sound_gives_no_block_and_silence_gives_zeros(tmp_path):
    none = steady(tmp_path / "a.mp4")
    assert list(video_io.soundtrack(none, 16_000)) == list(video_io.soundtrack(none)) == []
    waveform, rate_hz = read_sound(steady(tmp_path / "b.mkv", sound=np.zeros((1, RATE_HZ))))
    assert len(waveform) == rate_hz and not waveform.any()
