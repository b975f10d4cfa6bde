"""The recordings behind the rows: their length, sample rate and images, from a table of files or from their headers."""

import contextlib
import dataclasses
import math

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io


@dataclasses.dataclass(frozen=True)
class Sound:
    """What formats need of a recording; NaN where it is not known."""

    duration_s: float = math.nan
    sample_rate_hz: float = math.nan


def sounds(paths, files=None):
    """{path: Sound} of recordings.

    Args:
        paths: of recordings, as in the tables.
        files: DataFrame with ``path`` and, where known, ``duration_s`` and ``sample_rate_hz``; what it lacks is read from the
            headers of the files, where these are there.
    """
    known = {}
    if files is not None and len(files):
        known = {row["path"]: row for row in files.to_dict("records")}
    return {path: _sound(path, known.get(path, {})) for path in paths}


def _sound(path, row):
    duration_s, rate_hz = (_positive(row.get(name)) for name in ("duration_s", "sample_rate_hz"))
    with contextlib.suppress(runtime.FileError):  # moved, or a film without sound
        rate_hz = audio_io.sample_rate(path) if np.isnan(rate_hz) else rate_hz
        duration_s = audio_io.duration(path) if np.isnan(duration_s) else duration_s
    return Sound(float(duration_s), float(rate_hz))


def _positive(value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        return math.nan
    return value if value > 0 else math.nan
