"""Reading films: images, (height, width, 3) uint8, RGB and upright, and their synchronous sound.

Times are in seconds since the film's first image, those of its sound too. Films are decoded by PyAV: OpenCV has no
sound, and takes damage for the end of a film. Damaged parts and time jumps (see ``timeline``) are left out, and a
``VideoWarning`` at the end reports them.
"""

import contextlib
import dataclasses
import itertools
import math
import warnings

import numpy as np

from birdlib import runtime, streaming
from birdlib.audio import decoding, resampling
from birdlib.audio import io as audio_io
from birdlib.video import timeline
from birdlib.video.containers import REMEDY, VideoError, VideoWarning, open_film, since_start_s, timeline_of

_ROUNDING_S = 0.001  # containers round times to a millisecond
_JITTER_S = 0.1  # sound that is further than this from its time is moved there
_MISSING_S = 0.5  # a film that ends this much before the end in its header is reported
_MIN_RATE_HZ, _MAX_RATE_HZ = 50, 1_600_000  # of sound
_COMPARED_S = 30.0  # of the beginning of the sound, over which channels are compared


@dataclasses.dataclass(frozen=True)
class Film:
    """What the header of a film says, or its packets where that is wrong."""

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

    The packets are read through, but not decoded: they tell the duration where the header has none, as in films recorded by browsers,
    or a wrong one.
    """
    line = timeline_of(path)
    with open_film(path) as (container, picture):
        first = next(_decode(container, picture, []), None)
        if first is None:
            raise VideoError(path, f"holds no picture that can be decoded: {REMEDY}")
        duration_s, rate_hz = _duration_s(container, picture), _frame_rate_hz(picture, line)
        n_frames = picture.frames or max(1, round((duration_s or line.end_s) * rate_hz))
        if line.n_pictures and abs(duration_s - line.end_s) > _MISSING_S:
            n_frames = line.n_pictures if duration_s else n_frames
            duration_s = line.end_s
        width, height = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
        return Film(duration_s, width, height, rate_hz, n_frames, _sample_rate_hz(container))


def frames(path, rate_hz=None, start_s=0.0, end_s=None):
    """Read the images of a film of any length in constant memory.

    A damaged image is replaced by the one before; those predicted from it may be faulty until the next key frame. A
    truncated film is read up to there, unless its index is missing, which some formats write at the end: then it cannot be
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
        raise VideoError(path, f"the part from {start_s:g} s to {end_s:g} s is empty: let it start before it ends, and not before 0 s")
    damage, n_given, line = [], 0, timeline_of(path)
    with open_film(path) as (container, picture):
        for from_s, until_s, frame in _timed(_decode_from(container, picture, start_s, damage, line), picture, line):
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
            missing_s = _missing_s(container, picture, until_s, line) if n_given and not line.jumps else 0.0
            _warn(path, "pictures", damage, missing_s, line.jumps)
    if not n_given:
        raise VideoError(path, f"has no picture that can be decoded from {start_s:g} s on: {REMEDY}")


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
    pieces = resampling.resample_blocks(pieces, file_rate_hz, sample_rate_hz)
    for block in streaming.regroup(pieces, max(1, round(block_s * sample_rate_hz))):
        yield np.clip(block, -1.0, 1.0)


# Streams


def _decode(container, stream, damage):
    """The undamaged frames of a stream, in the order in which they are shown; ``damage`` lists the others."""
    return decoding.decoded_frames(container, stream, damage)


def _decode_from(container, picture, start_s, damage, line):
    """``_decode`` from a key frame before ``start_s`` on; from the beginning if none is found, or times go backwards."""
    import av

    if start_s > 0 and picture.start_time is not None and len(line.runs) == 1:
        start = picture.start_time + round(line.raw_s(start_s) / picture.time_base)
        with contextlib.suppress(av.FFmpegError):
            container.seek(start, stream=picture)
            decoded = _decode(container, picture, damage)
            first = next(decoded, None)
            if first is not None and first.pts is not None and first.pts <= start:
                return itertools.chain([first], decoded)
            damage.clear()
            container.seek(picture.start_time - round(60 / picture.time_base), stream=picture)  # safely before all
    return _decode(container, picture, damage)


def _timed(decoded, picture, line):
    """(from_s, until_s, frame): when each is shown. A time that does not ascend becomes the end of the frame before."""
    step_s, longest_s, clock = 1 / (_frame_rate_hz(picture, line) or 25.0), line.longest_s(), timeline.Clock(line)
    shown, from_s, until_s = None, -1.0, 0.0
    for frame in decoded:
        time_s = until_s if frame.pts is None else clock.shown_s(since_start_s(picture, frame.pts, picture.time_base))
        time_s = time_s if time_s > from_s else until_s  # H.264 in an AVI, say, which has no times of its own
        if shown is not None:
            yield from_s, time_s, shown
        shown, from_s = frame, time_s
        lasts_s = float((frame.duration or 0) * picture.time_base)
        until_s = time_s + (lasts_s if 0 < lasts_s <= longest_s else min(step_s, longest_s))
        if lasts_s > longest_s:
            until_s = max(until_s, line.end_s)
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
    damage, n_given, clock = [], 0, timeline.Clock(timeline_of(path), is_sound=True)
    with open_film(path) as (container, _):
        rate_hz = _sample_rate_hz(container)
        yield rate_hz
        if not rate_hz:
            return
        sound, note = decoding.sound_stream(container)
        number = sound.index
    channel = _loudest_if_cancelling(path, number, rate_hz)
    for start_s, piece in _sound_pieces(path, number, rate_hz, damage):
        piece = audio_io.mix_down(piece, channel)
        if not np.isfinite(piece).all():
            raise VideoError(path, "holds sound with samples that are NaN or infinite: convert its sound to AAC or 16 bits")
        due = n_given if start_s is None else round(clock.shown_s(start_s) * rate_hz)
        if n_given == 0 or abs(due - n_given) > _JITTER_S * rate_hz:
            for start in range(n_given, due, rate_hz):
                yield np.zeros(min(rate_hz, due - start), np.float32)
            piece = piece[max(0, n_given - due) :]
            n_given = max(n_given, due)
        n_given += len(piece)
        yield piece
    notes = [note] if note else []
    if channel is not None:
        notes.append(f"the channels of its sound cancel each other: channel {channel + 1} alone is used")
    _warn(path, "sound", damage, notes=notes)


def _sound_pieces(path, number, rate_hz, damage):
    """(raw time or None, (samples, channels) float32) of each frame of a sound track."""
    import av

    with open_film(path) as (container, picture):
        sound, converters = container.streams[number], {}
        for frame in _decode(container, sound, damage):
            kind = frame.format.name, frame.layout.name, frame.sample_rate  # broadcasts change theirs
            if kind not in converters:
                converters[kind] = av.AudioResampler(format="fltp", rate=rate_hz)
            start_s = None if frame.pts is None else since_start_s(picture, frame.pts, sound.time_base)
            parts = [part.to_ndarray().T for part in converters[kind].resample(frame)]
            yield start_s, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def _loudest_if_cancelling(path, number, rate_hz):
    pieces = (piece for _, piece in _sound_pieces(path, number, rate_hz, []) if len(piece))
    first = next(pieces, None)
    if first is None or first.shape[1] == 1:
        return None
    return audio_io.loudest_if_cancelling(itertools.chain([first], pieces), _COMPARED_S * rate_hz)


def _sample_rate_hz(container):
    """Of the first sound track that has a credible one; 0 without sound."""
    rates_hz = [stream.codec_context.sample_rate for stream in container.streams.audio if getattr(stream, "codec_context", None)]
    return next((rate_hz for rate_hz in rates_hz if _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ), 0)


def _frame_rate_hz(picture, line):
    return 1 / line.interval_s if line.jumps else float(picture.average_rate or picture.guessed_rate or 0)


def _duration_s(container, picture):
    """The duration in the header, 0 if there is none; an edit list may make the whole shorter than its images."""
    durations_s = float((picture.duration or 0) * picture.time_base), (container.duration or 0) / 1e6
    return min(filter(None, durations_s), default=0.0)


def _missing_s(container, picture, until_s, line):
    """How much earlier a film ends than its header says; 0 where the header is a guess."""
    if picture.duration:
        return _duration_s(container, picture) - until_s
    if container.duration and "matroska" in container.format.name:  # its duration counts from 0, and is of all streams
        return container.duration / 1e6 - float((picture.start_time or 0) * picture.time_base) - max(until_s, line.all_end_s)
    return 0.0


def _warn(path, what, damage, missing_s=0.0, jumps=(), notes=()):
    reports = list(notes)
    if damage:
        reports.append(f"{what} left out because damaged: {len(damage)} ({damage[0]})")
    if missing_s > _MISSING_S:
        reports.append(f"it ends {missing_s:.1f} s before its header says")
    if jumps:
        at_s, gap_s = max(jumps, key=lambda jump: abs(jump[1]))
        often = "" if len(jumps) == 1 else f" {len(jumps)} times, once"
        reports.append(f"its times jump{often} by {gap_s:,.1f} s at {at_s:.1f} s (a restarted camera?): what follows is taken to follow at once")
    if reports:
        warnings.warn(f"{runtime.printable(path)}: {'; '.join(reports)}", VideoWarning, stacklevel=3)
