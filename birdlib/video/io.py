"""Reading films: images, (height, width, 3) uint8, RGB and upright, and their synchronous sound.

Times are in seconds since the film's first image, those of its sound too. Films are decoded by PyAV: OpenCV has no
sound, and takes damage for the end of a film. Damaged parts are left out, and a ``VideoWarning`` at the end reports
them.
"""

import collections
import contextlib
import dataclasses
import itertools
import math
import warnings
from pathlib import Path

import numpy as np

from birdlib import runtime, streaming
from birdlib.audio import decoding
from birdlib.audio import io as audio_io
from birdlib.video import images

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"}  # of films
_ROUNDING_S = 0.001  # containers round times to a millisecond
_JITTER_S = 0.1  # sound that is further than this from its time is moved there
_MISSING_S = 0.5  # a film that ends this much before the end in its header is reported


class VideoError(runtime.FileError):
    """A film that cannot be used."""


class VideoWarning(runtime.FileWarning):
    """A part of a film is damaged or missing."""


@dataclasses.dataclass(frozen=True)
class Film:
    """The header of a film, which promises more than there is if the film is truncated."""

    duration_s: float
    width: int  # upright
    height: int
    frame_rate_hz: float  # the mean, where it varies
    n_frames: int  # estimated where the header has none
    sample_rate_hz: int  # of the sound; 0 without

    @property
    def has_sound(self):
        """Whether there is a soundtrack, even a silent one."""
        return self.sample_rate_hz > 0


def probe(path):
    """The ``Film`` in a file, from its header and its first image; raises VideoError as ``frames`` does.

    If the header has no duration, as in films recorded by browsers, the packets are read through, but not decoded.
    """
    with _open(path) as (container, picture, sound):
        first = next(_decode(container, picture, []), None)
        if first is None:
            raise VideoError(path, "holds no picture that can be decoded")
        duration_s, rate_hz = _duration_s(container, picture), _frame_rate_hz(picture)
        if not duration_s:
            packets = itertools.chain([first], container.demux(picture))
            ends = [packet.pts + (packet.duration or 0) for packet in packets if packet.pts is not None]
            duration_s = _since_start_s(picture, max(ends, default=0), picture.time_base)
        width, height = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
        n_frames = picture.frames or max(1, round(duration_s * rate_hz))
        return Film(duration_s, width, height, rate_hz, n_frames, sound.codec_context.sample_rate if sound else 0)


def frames(path, rate_hz=None, start_s=0.0, end_s=None):
    """Read the images of a film of any length in constant memory.

    A damaged image is replaced by the one before; those predicted from it may be faulty until the next key frame. A
    truncated
    film is read up to there, unless its index is missing, which some formats write at the end: then it cannot be
    opened.

    Args:
        path: mp4, mov, mkv, webm, avi or another kind that FFmpeg reads; a photo is a film of one image.
        rate_hz: images per second, each the one shown at its time, however the film's own rate varies. None gives every
            image once, with the time when it appears.
        start_s, end_s: a part of the film, without ``end_s``; None, or a time beyond, is its end.

    Yields:
        (time_s, image): seconds since the first image, (height, width, 3) uint8 RGB.

    Raises:
        VideoError: the file is missing, empty, no film or truncated before its index; it has no image that can be
            decoded, none in the part, or images of more than ``images.MAX_PIXELS``.
    """
    end_s = math.inf if end_s is None else end_s
    if not 0.0 <= start_s < end_s:
        raise VideoError(path, f"the part from {start_s:g} s to {end_s:g} s is empty")
    damage, n_given = [], 0
    with _open(path) as (container, picture, _):
        for from_s, until_s, frame in _timed(_decode_from(container, picture, start_s, damage), picture):
            if from_s >= end_s - _ROUNDING_S:
                break
            if rate_hz is None:
                times_s = [from_s] if until_s > start_s + _ROUNDING_S else []
            else:
                times_s = _grid(max(from_s, start_s), min(until_s, end_s), rate_hz, start_s)
            image = _upright(frame) if times_s else None
            n_given += len(times_s)
            for time_s in times_s:
                yield time_s, image.copy() if len(times_s) > 1 else image
        else:
            missing_s = _duration_s(container, picture) - until_s if n_given and picture.duration else 0.0
            _warn(path, "pictures", damage, missing_s)
    if not n_given:
        raise VideoError(path, f"has no picture that can be decoded from {start_s:g} s on")


def soundtrack(path, sample_rate_hz=None, block_s=60.0):
    """Read the sound of a film of any length in constant memory.

    It begins with the first image: earlier sound is cut, and gaps are filled with silence. It need not end with the
    images.

    Args:
        path: as in ``frames``.
        sample_rate_hz: of the result; None keeps that of the film.
        block_s: seconds of each block; only the last is shorter.

    Yields:
        (samples,) float32 in [-1, 1], consecutive and without overlap; nothing if the film has no sound.

    Raises:
        VideoError: as ``frames``; or the sound holds NaN or infinite samples.
    """
    pieces = _decode_sound(path)
    file_rate_hz = next(pieces)
    if not file_rate_hz:
        return
    sample_rate_hz = sample_rate_hz or file_rate_hz
    pieces = audio_io.resample_blocks(pieces, file_rate_hz, sample_rate_hz)
    for block in streaming.regroup(pieces, max(1, round(block_s * sample_rate_hz))):
        yield np.clip(block, -1.0, 1.0)


# Streams


@contextlib.contextmanager
def _open(path):
    """(container, its image stream, its sound stream or None)."""
    import av

    path = Path(path)
    if not path.is_file():
        raise VideoError(path, "there is no such file")
    with path.open("rb") as file:
        head = file.read(256)
        if not head:
            raise VideoError(path, "is empty (0 bytes)")
        if decoding.is_web_page(head):
            raise VideoError(path, "is a web page, not a film (a failed download?)")
        file.seek(0)
        options = {"protocol_whitelist": "none"}  # a playlist must not open other files
        try:
            container = av.open(file, options=options, metadata_errors="ignore")
        except av.FFmpegError as error:
            reason = f"is no film, of a kind that cannot be read, or broken off before its index ({error.strerror})"
            raise VideoError(path, reason) from error
        with container:
            streams = [stream for stream in container.streams if getattr(stream, "codec_context", None)]
            cover = av.stream.Disposition.attached_pic
            picture = next((s for s in streams if s.type == "video" and not s.disposition & cover), None)
            if picture is None:
                raise VideoError(path, "has no pictures that can be decoded (a sound file?)")
            width, height = picture.codec_context.width, picture.codec_context.height
            if width * height > images.MAX_PIXELS:
                raise VideoError(path, f"has pictures of {width} x {height}, which is too many pixels: scale it down")
            yield container, picture, next((s for s in streams if s.type == "audio"), None)


def _decode(container, stream, damage):
    """The undamaged frames of a stream, in the order in which they are shown; ``damage`` lists the others."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damage.append(error.strerror)
            packet = None  # damaged from here on
        if packet is None:
            return
        try:
            decoded = packet.decode()
        except av.FFmpegError as error:
            damage.append(error.strerror)
            continue
        damage.extend("corrupt" for frame in decoded if frame.is_corrupt)
        yield from (frame for frame in decoded if not frame.is_corrupt)


def _decode_from(container, picture, start_s, damage):
    """``_decode`` from a key frame before ``start_s`` on; from the beginning if none is found."""
    import av

    if start_s > 0 and picture.start_time is not None:
        start = picture.start_time + round(start_s / picture.time_base)
        with contextlib.suppress(av.FFmpegError):
            container.seek(start, stream=picture)
            decoded = _decode(container, picture, damage)
            first = next(decoded, None)
            if first is not None and first.pts is not None and first.pts <= start:
                return itertools.chain([first], decoded)
            damage.clear()
            container.seek(picture.start_time - round(60 / picture.time_base), stream=picture)  # safely before all
    return _decode(container, picture, damage)


def _timed(decoded, picture):
    """(from_s, until_s, frame): when each is shown. A time that does not ascend becomes the end of the frame before."""
    step_s = 1 / (_frame_rate_hz(picture) or 25.0)
    shown, from_s, until_s = None, -1.0, 0.0
    for frame in decoded:
        time_s = until_s if frame.pts is None else _since_start_s(picture, frame.pts, picture.time_base)
        time_s = time_s if time_s > from_s else until_s  # H.264 in an AVI, say, which has no times of its own
        if shown is not None:
            yield from_s, time_s, shown
        shown, from_s = frame, time_s
        until_s = time_s + (float((frame.duration or 0) * picture.time_base) or step_s)
    if shown is not None:
        yield from_s, until_s, shown


def _grid(from_s, until_s, rate_hz, start_s):
    """The times start_s + n / rate_hz that are in [from_s, until_s)."""
    first, end = (math.ceil((time_s - start_s - _ROUNDING_S) * rate_hz) for time_s in (from_s, until_s))
    return [start_s + n / rate_hz for n in range(max(0, first), end)]


def _upright(frame):
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))  # both turn counter-clockwise


def _decode_sound(path):
    """Yields the rate of the file first, 0 without sound; then pieces of the waveform that begins with the images."""
    import av

    with _open(path) as (container, picture, sound):
        rate_hz = sound.codec_context.sample_rate if sound else 0
        yield rate_hz
        if not rate_hz:
            return
        damage, n_given = [], 0
        converters = collections.defaultdict(lambda: av.AudioResampler(format="fltp", rate=rate_hz))
        for frame in _decode(container, sound, damage):
            converter = converters[frame.format.name, frame.layout.name, frame.sample_rate]  # broadcasts change theirs
            parts = [part.to_ndarray().mean(axis=0) for part in converter.resample(frame)]
            piece = np.concatenate([np.zeros(0, np.float32), *parts])
            if not np.isfinite(piece).all():
                raise VideoError(path, "holds sound with samples that are NaN or infinite")
            due = n_given
            if frame.pts is not None:
                due = round(_since_start_s(picture, frame.pts, sound.time_base) * rate_hz)
            if n_given == 0 or abs(due - n_given) > _JITTER_S * rate_hz:
                for start in range(n_given, due, rate_hz):
                    yield np.zeros(min(rate_hz, due - start), np.float32)
                piece = piece[max(0, n_given - due) :]
                n_given = max(n_given, due)
            n_given += len(piece)
            yield piece
        _warn(path, "sound", damage)


def _frame_rate_hz(picture):
    return float(picture.average_rate or picture.guessed_rate or 0)


def _since_start_s(picture, pts, time_base):
    return float(pts * time_base - (picture.start_time or 0) * picture.time_base)


def _duration_s(container, picture):
    """The duration in the header, 0 if there is none; an edit list may make the whole shorter than its images."""
    durations_s = float((picture.duration or 0) * picture.time_base), (container.duration or 0) / 1e6
    return min(filter(None, durations_s), default=0.0)


def _warn(path, what, damage, missing_s=0.0):
    reports = []
    if damage:
        reports.append(f"{what} left out because damaged: {len(damage)} ({damage[0]})")
    if missing_s > _MISSING_S:
        reports.append(f"it ends {missing_s:.1f} s before its header says")
    if reports:
        warnings.warn(f"{path}: {'; '.join(reports)}", VideoWarning, stacklevel=3)
