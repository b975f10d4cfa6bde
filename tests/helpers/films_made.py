"""Films for tests, written image by image, and readers of them."""

from fractions import Fraction

import av
import numpy as np
import pandas as pd

from birdlib.video import io as video_io
from birdlib.video import tracking

RATE_HZ = 8000


def grey(n, width=64, height=48):
    """Images of the levels 10, 30, 50 ... and again, which the encoder keeps apart."""
    return [np.full((height, width, 3), 10 + 20 * (k % 12), np.uint8) for k in range(n)]


def levels(shown):
    """The numbers of ``grey`` images in (time, image) pairs."""
    return [round((float(image.mean()) - 10) / 20) for _, image in shown]


def film(path, images, times_ms, *, sound=None, sound_starts_s=0.0, codecs=("libx264", "pcm_s16le"), tick_ms=1,
         rate_hz=RATE_HZ, **options):  # fmt: skip
    """Write a film; ``sound`` is (channels, samples); ``options`` are those of the container and the encoder."""
    of_container = {name: options.pop(name) for name in ("live", "movflags") if name in options}
    with av.open(str(path), "w", options=of_container) as container:
        picture = container.add_stream(codecs[0], rate=10)
        picture.height, picture.width = images[0].shape[:2]
        picture.pix_fmt, picture.codec_context.time_base = "yuv420p", Fraction(tick_ms, 1000)
        picture.options = {"threads": "1", "preset": "ultrafast", "crf": "10"} | options
        if sound is not None:
            layout = {1: "mono", 2: "stereo"}[len(sound)]
            track = container.add_stream(codecs[1], rate=rate_hz, layout=layout)
        for image, time_ms in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(time_ms) // tick_ms, Fraction(tick_ms, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for first in range(0, 0 if sound is None else sound.shape[1], 800):
            part = np.ascontiguousarray(sound[:, first : first + 800], np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = first + round(sound_starts_s * rate_hz)
            container.mux(track.encode(frame))
        if sound is not None:
            container.mux(track.encode())
    return path


def steady(path, n=20, **options):
    """``n`` images, ten a second."""
    return film(path, grey(n), range(0, 100 * n, 100), **options)


def clicks(*times_s, duration_s=2.0):
    sound = np.zeros((1, round(duration_s * RATE_HZ)))
    for time_s in times_s:
        sound[0, round(time_s * RATE_HZ)] = 0.9
    return sound


def times(shown):
    return [time_s for time_s, _ in shown]


def read_sound(path, sample_rate_hz=None):
    """The whole soundtrack and its rate."""
    sample_rate_hz = sample_rate_hz or video_io.probe(path).sample_rate_hz
    return np.concatenate(list(video_io.soundtrack(path, sample_rate_hz))), sample_rate_hz


def read_mot(path, rate_hz):
    """The table of tracks that ``tracking.write_mot`` wrote."""
    lines = pd.read_csv(path, header=None)
    columns = {"recording_id": path.stem, "track": lines[1], "time_s": (lines[0] - 1) / rate_hz}
    found = pd.DataFrame(columns | {name: lines[2 + k] for k, name in enumerate(("x", "y", "width", "height", "score"))})
    return found.sort_values(["track", "time_s"], ignore_index=True)[tracking.COLUMNS]
