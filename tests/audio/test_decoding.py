"""Every container is decoded whole, whatever its header states, and everything else is refused with a reason."""

import os
import struct

import av
import numpy as np
import pytest
import soundfile
from odd_files import encode, without_length

from birdlib.audio import decoding, media_files

RATE_HZ = 32_000


def tone(seconds=2.0, hz=1000, rate_hz=RATE_HZ):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def decoded(path):
    """[(seconds, rms, rate)] of each decoder, and what was damaged."""
    with decoding.opened(path) as decoders:
        found = [(np.concatenate(list(decoder.pieces())), decoder) for decoder in decoders]
    parts = [(len(samples) / decoder.sample_rate_hz, float(np.sqrt(np.mean(samples**2))), decoder.sample_rate_hz) for samples, decoder in found]
    return parts, [line for _, decoder in found for line in decoder.damage]


@pytest.mark.parametrize(
    ("suffix", "codec", "container"),
    [(".m4a", "aac", "ipod"), (".aac", "aac", "adts"), (".webm", "libopus", "webm"), (".opus", "libopus", "ogg"), (".mka", "flac", "matroska"),
     (".wma", "wmav2", "asf"), (".mp3", "libmp3lame", "mp3"), (".mp2", "mp2", "mp2"), (".ac3", "ac3", "ac3"), (".caf", "alac", "caf")],
)  # fmt: skip
def test_containers_of_phones_and_messengers_are_read_whole(tmp_path, suffix, codec, container):
    rate_hz = 48_000 if codec == "libopus" else RATE_HZ
    path = encode(tmp_path / f"a{suffix}", [tone(2.0, rate_hz=rate_hz)], codec, container, rate_hz)
    ((seconds, rms, _),), damage = decoded(path)
    assert seconds == pytest.approx(2.0, abs=0.1) and rms == pytest.approx(0.5 / 2**0.5, rel=0.05) and not damage


def test_a_flac_that_states_no_length_is_read_to_its_last_sample(tmp_path):
    """As an encoder leaves it that writes to a pipe: the number of samples in its header is 0."""
    soundfile.write(tmp_path / "a.flac", tone(2.5), RATE_HZ)
    assert decoded(without_length(tmp_path / "a.flac"))[0][0][0] == 2.5


def test_a_wav_whose_recorder_lost_power_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(2.5), RATE_HZ)
    assert decoded(without_length(tmp_path / "a.wav"))[0][0][0] == 2.5


def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path):
    """A quiet and a loud half: the first frames tell too short or too long a duration from the bit rate."""
    loud = np.random.default_rng(0).normal(0, 0.3, 20 * RATE_HZ).clip(-1, 1).astype(np.float32)
    with av.open(str(tmp_path / "a.mp3"), "w", options={"write_xing": "0", "id3v2_version": "0"}) as file:
        stream = file.add_stream("libmp3lame", rate=RATE_HZ, layout="mono", options={"abr": "1"})
        frame = av.AudioFrame.from_ndarray(np.concatenate([np.zeros_like(loud), loud])[None], "fltp", "mono")
        frame.sample_rate = RATE_HZ
        for part in [*av.AudioResampler("fltp", "mono", RATE_HZ, frame_size=1152).resample(frame), None]:
            file.mux(stream.encode(part))
    assert decoded(tmp_path / "a.mp3")[0][0][0] == pytest.approx(40, abs=0.2)


def test_joined_ogg_files_are_decoded_one_behind_the_other(tmp_path):
    soundfile.write(tmp_path / "1.ogg", tone(2.0), RATE_HZ)
    soundfile.write(tmp_path / "2.ogg", tone(3.0, rate_hz=22_050), 22_050)
    (tmp_path / "a.ogg").write_bytes((tmp_path / "1.ogg").read_bytes() + (tmp_path / "2.ogg").read_bytes())
    parts, _ = decoded(tmp_path / "a.ogg")
    assert [(round(seconds, 2), rate) for seconds, _, rate in parts] == [(2.0, RATE_HZ), (3.0, 22_050)]


def test_joined_mp3_files_of_other_rates_are_decoded_to_the_end(tmp_path):
    encode(tmp_path / "1.mp3", [tone(2.0)], "libmp3lame")
    encode(tmp_path / "2.mp3", [tone(3.0, rate_hz=22_050)], "libmp3lame", rate_hz=22_050)
    (tmp_path / "a.mp3").write_bytes((tmp_path / "1.mp3").read_bytes() + (tmp_path / "2.mp3").read_bytes())
    assert decoded(tmp_path / "a.mp3")[0][0][0] == pytest.approx(5.0, abs=0.2)


def test_what_comes_before_the_damage_is_kept_to_an_eighth_of_a_second(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ), RATE_HZ)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: int(0.9 * len(data))])
    ((seconds, _, _),), damage = decoded(tmp_path / "a.flac")
    assert 3.4 < seconds <= 3.7 and len(damage) == 1


def test_of_several_sound_tracks_the_default_is_used_unless_it_is_silent(tmp_path):
    low, high, silent = tone(hz=500) * 0.2, tone(hz=500), np.zeros(2 * RATE_HZ, np.float32)
    for tracks, default, expected in (([low, high], 1, high), ([low, high], 0, low), ([silent, high], 0, high)):
        path = encode(tmp_path / "a.mka", tracks, "flac", "matroska", default=default)
        ((_, rms, _),), notes = decoded(path)
        assert rms == pytest.approx(np.sqrt(np.mean(expected**2)), rel=0.05) and "of 2 sound tracks" in notes[0]


@pytest.mark.parametrize("name", ["headerless.raw", "a.wav", "sound", "song.\udcff.wav"])
def test_neither_suffix_nor_name_of_a_file_matters(tmp_path, name):
    soundfile.write(tmp_path / "good.wav", tone(), RATE_HZ)
    (tmp_path / "good.wav").rename(tmp_path / name)
    assert decoded(tmp_path / name)[0][0][0] == 2.0


@pytest.mark.parametrize("n_bytes", [50, 5_000, 400_000])
@pytest.mark.parametrize("suffix", [".raw", ".mp3", ".wav", ".aac"])
def test_random_bytes_are_no_sound(tmp_path, n_bytes, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(np.random.default_rng(n_bytes).bytes(n_bytes))
    with pytest.raises(decoding.AudioError, match="save it again as WAV or FLAC"), decoding.opened(path):
        pass


@pytest.mark.parametrize("rate_hz", [1, 4_000_000])
def test_an_impossible_sample_rate_is_refused(tmp_path, rate_hz):
    soundfile.write(tmp_path / "a.wav", tone(), RATE_HZ)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate_hz)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(decoding.AudioError, match=f"sample rate of {rate_hz} Hz"), decoding.opened(tmp_path / "a.wav"):
        pass


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b"<html>", "is a web page"), (None, "is a folder"), ("gone", "no such file")])
def test_what_is_no_file_of_sound_is_named(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    if content is None:
        path.mkdir()
    elif content != "gone":
        path.write_bytes(content)
    with pytest.raises(decoding.AudioError, match=reason), decoding.opened(path):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such files")
def test_devices_and_pipes_are_refused_at_once(tmp_path):
    """A pipe that nobody writes to would be waited for, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "zero.wav"):
        with pytest.raises(decoding.AudioError, match=f"{name}: is a device or a pipe"):
            media_files.open_file(tmp_path / name)
