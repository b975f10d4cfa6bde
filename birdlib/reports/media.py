"""Small pictures, short sounds and films for pages, and the bytes that they may take."""

import io
import tempfile
from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.reports import page, player_media
from birdlib.video import images, writer
from birdlib.video import io as video_io

_FILM_WIDTH, _FILM_RATE_HZ, _FILM_CRF, _FILM_MAX_S = 480, 12.5, 30, 20.0
_SNIPPET_KBIT_S = 32  # enough to tell a song by


def thumbnail(path, size=96, quality=60):
    """A photo as WebP bytes whose longer side is ``size`` pixels; None where it cannot be read."""
    try:
        return webp(images.read_image(path), size, quality)
    except (OSError, ValueError, runtime.BirdlibError):
        return None


def webp(image, size, quality=60):
    """An RGB image, (height, width, 3) uint8, as WebP bytes whose longer side is at most ``size`` pixels."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((size, size))
    target = io.BytesIO()
    picture.save(target, "WEBP", quality=quality, method=4)
    return target.getvalue()


def snippet(path, seconds=2.0, start_s=0.0, end_s=None, loudest=True):
    """A short part of a recording at 24 kHz: (samples,) float32; None where it cannot be read or is silent.

    Args:
        loudest: the part with the most energy above 1 kHz, where most birds sing, within the first minute; else the beginning.
    """
    rate_hz = player_media.SAMPLE_RATE_HZ
    stop_s = start_s + 60.0 if end_s is None else min(end_s, start_s + 60.0)
    try:
        waveform, _ = audio_io.read(path, rate_hz, start_s, stop_s if loudest else min(stop_s, start_s + seconds))
    except (OSError, runtime.BirdlibError):
        return None
    if not len(waveform) or not np.any(waveform):
        return None
    n = round(seconds * rate_hz)
    if not loudest or len(waveform) <= n:
        return waveform[:n]
    energy = np.cumsum(np.diff(waveform.astype(np.float64), prepend=0.0) ** 2)  # the difference weakens what is below 1 kHz
    first = int(np.argmax(energy[n - 1 :] - np.concatenate([[0.0], energy[:-n]])))
    return waveform[first : first + n]


def spectrogram(waveform, width=120, height=60):
    """A small spectrogram of a waveform at 24 kHz as WebP bytes."""
    from PIL import Image

    picture = Image.fromarray(player_media.spectrogram(waveform)).resize((width, height))
    target = io.BytesIO()
    picture.save(target, "WEBP", quality=45, method=4)
    return target.getvalue()


def small_film(path):
    """A film as the bytes of an MP4 without sound, at most 480 pixels wide and 20 s long; None where it cannot be read."""
    import cv2

    def frames():
        for _, image in video_io.frames(path, rate_hz=_FILM_RATE_HZ, end_s=_FILM_MAX_S):
            height, width = image.shape[:2]
            scale = min(1.0, _FILM_WIDTH / width)
            size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
            yield cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "film.mp4"
            writer.write(target, frames(), rate_hz=_FILM_RATE_HZ, crf=_FILM_CRF, preset="veryfast", options={"movflags": "faststart"})
            return target.read_bytes()
    except (OSError, runtime.BirdlibError):
        return None


def frame(path, time_s, width=_FILM_WIDTH):
    """The frame of a film at a time as WebP bytes; None where it cannot be read."""
    try:
        _, image = next(video_io.frames(path, start_s=time_s))
    except (OSError, StopIteration, runtime.BirdlibError):
        return None
    return webp(image, width)


def image_uri(data):
    """WebP bytes as a data URI; empty for None."""
    return page.data_uri(data, "image/webp") if data else ""


def sound_uri(waveform):
    """A waveform at 24 kHz as an MP3 data URI; empty for None."""
    return page.data_uri(player_media.mp3(waveform, _SNIPPET_KBIT_S), "audio/mpeg") if waveform is not None else ""
