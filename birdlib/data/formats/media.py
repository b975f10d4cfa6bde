"""The recordings and films behind the rows: length, rate and size, from a table of files or from their headers."""

import contextlib
import math
import warnings
from collections import namedtuple

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.video import io as video_io

Sound = namedtuple("Sound", "duration_s sample_rate_hz")  # NaN where not known
Film = namedtuple("Film", "frame_rate_hz width height n_frames")


def sounds(paths, files=None):
    """{path: Sound} of recordings.

    Args:
        paths: of recordings, as in the tables.
        files: DataFrame with ``path`` and, where known, ``duration_s`` and ``sample_rate_hz``; what it lacks is read from the
            headers of the files, where these are there.
    """
    known = _rows(files)
    return {path: _sound(path, known.get(path, {})) for path in paths}


def _sound(path, row):
    duration_s, rate_hz = (_positive(row.get(name)) for name in ("duration_s", "sample_rate_hz"))
    with contextlib.suppress(runtime.FileError):  # moved, or a film without sound
        rate_hz = audio_io.sample_rate(path) if np.isnan(rate_hz) else rate_hz
        duration_s = audio_io.duration(path) if np.isnan(duration_s) else duration_s
    return Sound(float(duration_s), float(rate_hz))


def films(groups, files=None):
    """{path: Film} of films.

    Args:
        groups: [(path, rows)] with the columns ``time_s, x, y, width, height``. A film that is not there is taken to have the rate and the
            extent of its rows, with a warning.
        files: DataFrame with ``path`` and, where known, the fields of ``Film``; else they are read from the headers.
    """
    known = _rows(files)
    return {path: _film(path, known.get(path, {}), rows) for path, rows in groups}


def _film(path, row, rows):
    given = [_positive(row.get(name)) for name in Film._fields]
    if np.isnan(given).any():
        try:
            probed = video_io.probe(path)
            given = [probed.frame_rate_hz, probed.width, probed.height, probed.n_frames]
        except runtime.FileError as error:
            given = _of_rows(rows)
            if len(rows):
                what = f"frames are counted at {given[0]:g} a second, as its boxes are spaced, as the film cannot be read ({error.reason}): put it back and export again"
                warnings.warn(f"{path}: {what}", runtime.FileWarning, stacklevel=4)
    return Film(float(given[0]), *map(int, given[1:]))


def _of_rows(rows):
    times_s = np.unique(rows["time_s"].dropna())
    steps_s = np.diff(times_s)
    rate_hz = round(1 / steps_s[steps_s > 1e-6].min(), 3) if len(times_s) > 1 else 1.0
    width, height = ((rows[a] + rows[b]).max() if len(rows) else np.nan for a, b in (("x", "width"), ("y", "height")))
    n_frames = 1 + round(times_s[-1] * rate_hz) if len(times_s) else 1
    return rate_hz, *(max(1, math.ceil(size)) if np.isfinite(size) else 1 for size in (width, height)), n_frames


def _rows(files):
    return {row["path"]: row for row in files.to_dict("records")} if files is not None else {}


def _positive(value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        return math.nan
    return value if value > 0 else math.nan
