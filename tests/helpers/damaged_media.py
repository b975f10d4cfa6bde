"""Small whole media files of many kinds, and damaged copies of them."""

import io
import struct
from fractions import Fraction

import numpy as np
import wav_chunks

SOUNDS = ("wav", "flac", "ogg", "mp3")
PICTURES = ("jpg", "png", "webp", "gif", "tiff", "avif", "heic")
FILMS = ("mp4", "mkv", "webm", "avi")
_RATE_HZ, _SIZE = 32_000, 64
_CODECS = {"mp4": ("libx264", "aac"), "mkv": ("libx264", "aac"), "webm": ("libvpx", "libopus"), "avi": ("mpeg4", "libmp3lame")}


def make(kind):
    """The bytes of a whole file: 1.5 s of two tones, a picture of 64 pixels, or a film of both; wav and jpg with the notes of a recorder and a camera."""
    target = io.BytesIO()
    if kind in SOUNDS:
        import soundfile

        soundfile.write(target, _tones(), _RATE_HZ, format=kind.upper(), subtype="MPEG_LAYER_III" if kind == "mp3" else None)
        return _with_notes(target.getvalue()) if kind == "wav" else target.getvalue()
    if kind in PICTURES:
        from PIL import Image

        from birdlib.video import images

        images.register_heif()
        options = {"exif": _exif()} if kind == "jpg" else {}
        Image.fromarray(_image(0)).save(target, {"jpg": "JPEG", "heic": "HEIF"}.get(kind, kind.upper()), **options)
        return target.getvalue()
    _write_film(target, kind)
    return target.getvalue()


def damaged(whole, rng):
    """A copy of a file with one to three kinds of damage: changed bits, bytes or header fields, lost, repeated or exchanged blocks, a lost end."""
    data = bytearray(whole)
    for damage in rng.choice(_DAMAGES, rng.integers(1, 4)):
        data = damage(data, rng) if data else data
    return bytes(data)


def _flip_bits(data, rng):
    for at in rng.integers(len(data), size=rng.integers(1, 20)):
        data[at] ^= 1 << rng.integers(8)
    return data


def _change_head(data, rng):
    """Headers state lengths, rates and sizes: most bytes that a decoder trusts are among the first."""
    for at in rng.integers(min(len(data), 512), size=rng.integers(1, 6)):
        data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.integers(256)])
    return data


def _set_field(data, rng):
    """An extreme number of two, four or eight bytes."""
    field = int(rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1])).to_bytes(8, str(rng.choice(["little", "big"])))
    width, at = int(rng.choice([2, 4, 8])), int(rng.integers(len(data)))
    data[at : at + width] = field[:width] if rng.random() < 0.5 else field[-width:]
    return data


def _truncate(data, rng):
    return data[: rng.integers(len(data))]


def _exchange_blocks(data, rng):
    length = int(rng.integers(1, max(2, len(data) // 4)))
    first, second = sorted(int(at) for at in rng.integers(max(1, len(data) - length), size=2))
    data[first : first + length], data[second : second + length] = data[second : second + length], data[first : first + length]
    return data


def _cut_out(data, rng):
    first, last = sorted(rng.integers(len(data), size=2))
    return data[:first] + data[last:]


def _repeat(data, rng):
    first, last = sorted(rng.integers(len(data), size=2))
    return data[:last] + data[first:last] * int(rng.integers(1, 4)) + data[last:]


def _overwrite(data, rng):
    first, length = int(rng.integers(len(data))), int(rng.integers(1, 2000))
    length = min(length, len(data) - first)
    data[first : first + length] = bytes(length) if rng.random() < 0.5 else rng.bytes(length)
    return data


_DAMAGES = (_flip_bits, _change_head, _set_field, _truncate, _exchange_blocks, _cut_out, _repeat, _overwrite)


def _tones():
    time_s = np.arange(int(1.5 * _RATE_HZ)) / _RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 3000 * time_s) + 0.2 * np.sin(2 * np.pi * 5000 * time_s)).astype(np.float32)


def _with_notes(wav):
    chunks = {
        b"guan": wav_chunks.guano(Timestamp="2025-04-14T05:30:00", Loc_Position="52.52 13.40"),
        b"wamd": wav_chunks.wamd(prefix="WOOD", time="2025-04-14 05:30:00", gps="WGS84, 52.52, N, 13.40, E"),
        b"bext": wav_chunks.bext("2025-04-14", "05:30:00"),
        b"LIST": wav_chunks.info(ICMT="Recorded at 05:30:00 14/04/2025 (UTC+2) by AudioMoth"),
    }
    content = wav[8:] + b"".join(wav_chunks.chunk(name, text) for name, text in chunks.items())
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _exif():
    from PIL import Image

    tags = Image.Exif()
    tags[272] = "EOS R5"
    tags.get_ifd(0x8769)[36867] = "2025:04:14 05:30:00"
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    return tags


def _image(number):
    image = np.random.default_rng(number).integers(0, 60, (_SIZE, _SIZE, 3), dtype=np.uint8)
    image[16:40, 8 + number : 32 + number] = (200, 120, 40)
    return image


def _write_film(target, kind):
    import av

    with av.open(target, "w", format={"mkv": "matroska"}.get(kind, kind)) as container:
        pictures, sounds = _CODECS[kind]
        picture = container.add_stream(pictures, rate=Fraction(10))
        picture.width = picture.height = _SIZE
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream(sounds, rate=48_000, layout="mono")
        for number in range(15):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(_image(number), format="rgb24")))
        container.mux(picture.encode())
        block = av.AudioFrame.from_ndarray(_tones()[None], format="fltp", layout="mono")
        block.sample_rate = _RATE_HZ
        resampler = av.AudioResampler(format=sound.format, layout="mono", rate=48_000, frame_size=sound.frame_size or 1152)
        for frame in [*resampler.resample(block), *resampler.resample(None)]:
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
