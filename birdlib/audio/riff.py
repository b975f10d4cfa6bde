"""The chunks of a WAV file: where they lie and how long they are; the samples are skipped, not read.

Also RF64 and BW64, the forms for files of more than 4 GB (EBU Tech 3306), in which the chunk ``ds64`` holds the length of the samples.
"""

import io
import struct
from typing import NamedTuple

_FORMS = (b"RIFF", b"RF64", b"BW64")
_MIN_PLACEHOLDER = 0x7FFF0000  # of lengths that programs write which do not know it yet; others write 0
_MAX_CHUNKS = 1000
_MAX_TEXT_BYTES = 1_000_000


class Chunk(NamedTuple):
    """``name``, four bytes; ``start``, where its content begins in the file; ``n_stated`` bytes by its header, None where the header leaves it
    open; ``n_bytes`` that are there."""

    name: bytes
    start: int
    n_stated: int | None
    n_bytes: int


def chunks(file):
    """The chunks of an open WAV file in their order: a list of ``Chunk``, empty if it is none.

    Reading ends at the first chunk that is cut or of open length, and where bytes are no chunk.
    """
    n_total = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in _FORMS or head[8:] != b"WAVE":
        return []
    found, at, n_in_ds64 = [], 12, None
    while at + 8 <= n_total and len(found) < _MAX_CHUNKS:
        file.seek(at)
        name, n_stated = struct.unpack("<4sI", file.read(8))
        if not name.isascii() or b"\0" in name:
            break
        start = at + 8
        if name == b"ds64":
            n_in_ds64 = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        n_there = n_total - start
        if name == b"data":
            n_stated = _sample_bytes(n_stated, n_in_ds64 if head[:4] != b"RIFF" else None, n_there)
        found.append(Chunk(name, start, n_stated, n_there if n_stated is None else min(n_stated, n_there)))
        if n_stated is None or n_stated > n_there:
            break
        at = start + n_stated + n_stated % 2
    return found


def read(file, chunk):
    """The content of a chunk of metadata, its first million bytes at most."""
    file.seek(chunk.start)
    return file.read(min(chunk.n_bytes, _MAX_TEXT_BYTES))


def info(content):
    """{name: text} of the content of a ``LIST`` chunk of the kind INFO; empty of another kind.

    Names are four letters, ``ICMT`` for a comment and ``ICRD`` for the date of creation.
    """
    texts, at = {}, 4
    while content[:4] == b"INFO" and at + 8 <= len(content):
        name, n_bytes = struct.unpack_from("<4sI", content, at)
        texts[name.decode("latin-1")] = text(content[at + 8 : at + 8 + n_bytes])
        at += 8 + n_bytes + n_bytes % 2
    return texts


def text(content):
    """Bytes as text to the first zero: UTF-8, else Latin-1."""
    content = content.split(b"\0")[0]
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return content.decode("latin-1").strip()


def _sample_bytes(n_stated, n_in_ds64, n_there):
    """The length of the samples by the headers; None where they leave it open."""
    if n_in_ds64 and n_stated == 0xFFFFFFFF:
        return n_in_ds64
    is_open = n_stated == 0 or n_stated >= _MIN_PLACEHOLDER and n_stated > n_there
    return None if is_open else n_stated
