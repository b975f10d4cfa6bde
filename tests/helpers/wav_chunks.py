"""WAV files with the metadata that recorders write, chunk by chunk."""

import struct

RATE_HZ = 8000


def chunk(name, content):
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


def sample_format(code=1, n_bits=16):
    return struct.pack("<HHIIHH", code, 1, RATE_HZ, RATE_HZ * n_bits // 8, n_bits // 8, n_bits)


def write(path, before=(), after=(), *, n_samples=800, n_stated=None, form=b"RIFF", fmt=None):
    """Write a mono WAV of zeros.

    Args:
        before, after: (name, content) of chunks before and behind the samples.
        n_stated: bytes of samples by the header; None for the true number.
        form: ``RIFF`` or ``RF64``, whose ds64 the caller gives.
    """
    samples = bytes(2 * n_samples)
    data = struct.pack("<4sI", b"data", len(samples) if n_stated is None else n_stated) + samples
    first, last = (b"".join(chunk(*pair) for pair in pairs) for pairs in (before, after))
    content = b"WAVE" + (first if form != b"RIFF" else b"") + chunk(b"fmt ", fmt or sample_format()) + (first if form == b"RIFF" else b"") + data + last
    path.write_bytes(form + struct.pack("<I", len(content) if form == b"RIFF" else 0xFFFFFFFF) + content)
    return path


def info(**texts):
    """The content of a LIST chunk, as ``ICMT="Recorded at ..."``."""
    return b"INFO" + b"".join(chunk(name.encode(), text.encode() + b"\0") for name, text in texts.items())


def guano(**fields):
    """The content of a guan chunk; ``_`` in a name is a blank."""
    lines = ["GUANO|Version: 1.0", *(f"{name.replace('_', ' ')}: {text}" for name, text in fields.items())]
    return "\n".join(lines).encode()


def wamd(**fields):
    """The content of a wamd chunk of a Song Meter: ``prefix``, ``time``, ``gps``."""
    numbers = {"prefix": 4, "time": 5, "gps": 6}
    return b"".join(struct.pack("<HI", numbers[name], len(text)) + text.encode() for name, text in fields.items())


def bext(day, time):
    return bytes(320) + day.encode() + time.encode() + bytes(264)
