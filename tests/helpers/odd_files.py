"""Odd files as people have them, all synthetic: ``sounds``, ``images`` and ``films`` write them into a folder."""

import struct
import unicodedata
from fractions import Fraction

import av
import numpy as np
import soundfile
from PIL import Image

RATE_HZ = 32_000


def chirps(seconds=4.0, rate_hz=RATE_HZ, seed=0):
    """Two chirps a second in a little noise, (samples,) float32."""
    rng = np.random.default_rng(seed)
    waveform = 0.003 * rng.standard_normal(int(seconds * rate_hz))
    time_s = np.arange(int(0.25 * rate_hz)) / rate_hz
    top_hz = min(6000, 0.3 * rate_hz)
    chirp = 0.4 * np.hanning(len(time_s)) * np.sin(2 * np.pi * (0.4 * top_hz * time_s + 1.2 * top_hz * time_s**2))
    for start in range(int(0.1 * rate_hz), len(waveform) - len(chirp), rate_hz // 2):
        waveform[start : start + len(chirp)] += chirp
    return waveform.astype(np.float32)


def encode(path, tracks, codec, container=None, rate_hz=RATE_HZ, default=0, options=None):
    """Write sound tracks by FFmpeg; the one that is the default has its flag."""
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        streams = [file.add_stream(codec, rate=rate_hz, layout="mono") for _ in tracks]
        for number, stream in enumerate(streams):
            stream.bit_rate = 96_000
            stream.disposition = av.stream.Disposition.default.value if number == default else 0
        sizes = [getattr(stream.codec_context, "frame_size", 0) or 1024 for stream in streams]
        resamplers = [av.AudioResampler(stream.format, "mono", stream.rate, frame_size=size) for stream, size in zip(streams, sizes, strict=True)]
        for stream, resampler, waveform in zip(streams, resamplers, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(waveform[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                file.mux(stream.encode(part))
    return path


def without_length(path):
    """Make the header of a FLAC or WAV state no length, as writers to a pipe and recorders that lost power leave it."""
    data = bytearray(path.read_bytes())
    if data.startswith(b"fLaC"):
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    else:
        at = data.find(b"data")
        data[at + 4 : at + 8] = bytes(4)
    path.write_bytes(data)
    return path


def sounds(folder):
    """Good, odd and unusable sound files; returns the names of those that cannot be used."""
    song = chirps()
    for name in ("plain.wav", "UPPER.WAV", "#1 100% robin.wav", "it's a \"bird\".wav", "{species} $x_.wav", unicodedata.normalize("NFD", "Grünspecht.wav"), "尾.flac"):
        soundfile.write(folder / name, song, RATE_HZ)
    codecs = {".m4a": ("aac", "ipod"), ".aac": ("aac", "adts"), ".mka": ("flac", "matroska"), ".wma": ("wmav2", "asf"), ".mp3": ("libmp3lame", "mp3")}
    for suffix, (codec, container) in codecs.items():
        encode(folder / f"phone{suffix}", [song], codec, container)
    for suffix, container in ((".webm", "webm"), (".opus", "ogg")):
        encode(folder / f"browser{suffix}", [chirps(rate_hz=48_000)], "libopus", container, 48_000)
    encode(folder / "no_length.mp3", [song], "libmp3lame", "mp3", options={"write_xing": "0", "id3v2_version": "0"})
    for name in ("pipe.flac", "power_lost.wav"):
        soundfile.write(folder / name, song, RATE_HZ)
        without_length(folder / name)
    soundfile.write(folder / "1.ogg", song, RATE_HZ)
    (folder / "joined.ogg").write_bytes(2 * (folder / "1.ogg").read_bytes())
    soundfile.write(folder / "opposite.wav", np.stack([song, -song], axis=1), RATE_HZ)
    soundfile.write(folder / "eight.wav", np.stack([song * k / 8 for k in range(8)], axis=1), RATE_HZ)
    soundfile.write(folder / "offset_only.wav", np.full(3 * RATE_HZ, 0.3, np.float32), RATE_HZ)
    for rate_hz in (1000, 22_254, 250_000):
        soundfile.write(folder / f"rate_{rate_hz}.wav", chirps(3, rate_hz), rate_hz)
    data = (folder / "plain.wav").read_bytes()
    (folder / "cut.wav").write_bytes(data[: len(data) // 2])
    bad = {
        "headerless.raw": song.tobytes(),
        "empty.wav": b"",
        "page.mp3": b"<!DOCTYPE html><html>not found</html>",
        "random.mp3": np.random.default_rng(0).bytes(50_000),
        "resource_fork.wav": b"\x00\x05\x16\x07" + bytes(4092),
        "rate_1.wav": data[:24] + struct.pack("<I", 1) + data[28:],
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    soundfile.write(folder / "nan.wav", np.append(song, np.nan).astype(np.float32), RATE_HZ, subtype="FLOAT")
    soundfile.write(folder / "integers.wav", song * 32_767, RATE_HZ, subtype="FLOAT")
    return {*bad, "nan.wav", "integers.wav"}


def images(folder):
    """Good, odd and unusable images; returns the names of those that cannot be used."""
    pixels = np.full((96, 128, 3), (90, 140, 60), np.uint8)
    pixels[30:70, 40:90] = (160, 60, 40)
    image = Image.fromarray(pixels)
    for name in ("a.jpg", "a.png", "a.webp", "a.tif", "a.gif", "a.bmp", "a.jfif", "尾1.jpg"):
        image.save(folder / name)
    image.convert("CMYK").save(folder / "cmyk.tif")
    image.convert("1").save(folder / "bits.png")
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    image.save(folder / "webp_named.jpg", format="WEBP")
    data = (folder / "a.jpg").read_bytes()
    (folder / "no_end.jpg").write_bytes(data[:-2])
    bad = {"half.jpg": data[: len(data) // 2], "empty.png": b"", "text.jpg": b"no image\n" * 100}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    return set(bad)
