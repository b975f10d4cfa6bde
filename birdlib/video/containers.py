"""Opening films: containers of pictures and sound, whose decoders may raise anything, and the errors that this becomes."""

import array
import contextlib
import functools
import os

import numpy as np

from birdlib import runtime
from birdlib.audio import decoding, media_files
from birdlib.video import images, timeline

REMEDY = "copy it again, or convert it to MP4 (H.264)"


class VideoError(runtime.FileError):
    """A film that cannot be used."""


class VideoWarning(runtime.FileWarning):
    """A part of a film is damaged or missing, its times jump, or one of several sound tracks or channels is used."""


@contextlib.contextmanager
def open_film(path):
    """(container, its image stream); whatever a decoder raises in the block becomes a VideoError."""
    with media_files.open_file(path, VideoError, "a film") as file:
        try:
            container = decoding.open_container(file)
        except Exception as error:  # of one of FFmpeg's many readers
            reason = f"is no film, of a kind that cannot be read, or broken off before its index ({_text(error)})"
            raise VideoError(path, f"{reason}: {REMEDY}") from error
        with container:
            try:
                yield container, _picture_stream(path, container)
            except (runtime.BirdlibError, Warning):
                raise
            except Exception as error:  # of decoders: whatever damage makes them raise
                raise VideoError(path, f"cannot be decoded ({_text(error)}): {REMEDY}") from error


def _picture_stream(path, container):
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if getattr(stream, "codec_context", None)]
    picture = next((stream for stream in streams if not stream.disposition & cover), None)
    if picture is None:
        raise VideoError(path, "has no pictures that can be decoded: a sound file belongs into audio_path; else convert it to MP4 (H.264)")
    width, height = picture.codec_context.width, picture.codec_context.height
    if width * height > images.MAX_PIXELS:
        raise VideoError(path, f"has pictures of {width} x {height}, which is too many pixels: scale it down")
    return picture


def _text(error):
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def timeline_of(path):
    """The ``Timeline`` of a film; its packets are read through once, but not decoded.

    Raises:
        VideoError: the file cannot be opened.
    """
    media_files.open_file(path, VideoError, "a film").close()
    state = os.stat(path)
    return _read_timeline(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)  # films are read in many parts
def _read_timeline(path, *_):
    import av

    with open_film(path) as (container, picture):
        streams = [picture, *(stream for stream in container.streams.audio if getattr(stream, "codec_context", None))]
        rows = {stream.index: array.array("d") for stream in streams}
        with contextlib.suppress(av.FFmpegError):  # broken from there on
            for packet in container.demux(streams):
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None and packet.size and not packet.is_discard:
                    order = time if packet.dts is None else packet.dts
                    times_s = (since_start_s(picture, ticks, packet.time_base) for ticks in (order, time))
                    rows[packet.stream_index].extend((*times_s, float((packet.duration or 0) * packet.time_base)))
        pictures, *sounds = (np.array(values).reshape(-1, 3) for values in rows.values())
        return timeline.measure(pictures, sounds)


def since_start_s(picture, pts, time_base):
    """Seconds since the first picture of a time stamp of any stream."""
    return float(pts * time_base - (picture.start_time or 0) * picture.time_base)
