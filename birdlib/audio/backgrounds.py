"""Background sounds for augmentation: random parts of soundscapes, and of human voices.

A *sounds table* has a row per stretch of a file that may be used: ``path``, ``start_s``, ``end_s`` (NaN: to the end).
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io

_MIN_PART_S = 0.001


class BackgroundError(runtime.BirdlibError):
    """There is no sound that could be added to a song."""


def from_files(paths, exclude=None, min_s=1.0):
    """The sounds table of files such as soundscapes, best without the species that are to be learnt.

    Args:
        exclude: DataFrame ``path, start_s, end_s`` of stretches that are left out, such as windows with labels; None:
            whole files. A file that has such stretches and cannot be read is left out.
        min_s: shorter stretches between them are left out, too.
    """
    excluded = {} if exclude is None else dict(list(exclude.sort_values("start_s").groupby("path")))
    rows = []
    for path in map(str, paths):
        start_s, end_s = 0.0, np.nan
        if path in excluded:
            try:
                end_s = audio_io.duration(path)
            except audio_io.AudioError:
                continue
            for row in excluded[path].itertuples():
                rows.append((path, start_s, row.start_s))
                start_s = max(start_s, row.end_s)
        rows.append((path, start_s, end_s))
    table = pd.DataFrame(rows, columns=["path", "start_s", "end_s"])
    return table[~(table["end_s"] - table["start_s"] < min_s)].reset_index(drop=True)


def from_speech(segments, recordings, root, min_s=0.5):
    """The sounds table of the voices that stage 02 found.

    Args:
        segments: ``segments.parquet`` of stage 02: ``recording_id, start_s, end_s`` in seconds of the cleaned part.
        recordings: the manifest: ``recording_id, audio_path, start_s``.
        root: folder of the manifest's paths.
        min_s: shorter stretches are left out.
    """
    recordings = recordings[recordings["audio_path"] != ""].drop_duplicates("recording_id").set_index("recording_id")
    speech = segments[segments["recording_id"].isin(recordings.index)]
    speech = speech[speech["end_s"] - speech["start_s"] >= min_s]
    source = recordings.loc[speech["recording_id"]]
    offset_s = source["start_s"].fillna(0.0).to_numpy(dtype=float)
    times = {name: speech[name].to_numpy(dtype=float) + offset_s for name in ("start_s", "end_s")}
    return pd.DataFrame({"path": [str(Path(root) / path) for path in source["audio_path"]], **times})


class Sounds:
    """Random parts of a sounds table, read on demand, so that memory does not grow with the files.

    A file that cannot be read is dropped, warned about and kept in ``skipped``, a list of (path, reason).

    Raises:
        BackgroundError: if the table has no rows.
    """

    def __init__(self, table, sample_rate_hz):
        if not len(table):
            raise BackgroundError("the table of background sounds is empty: give soundscapes, or leave background out")
        self.sample_rate_hz, self.skipped = sample_rate_hz, []
        self._rows = [(str(row.path), float(row.start_s), float(row.end_s)) for row in table.itertuples()]
        self._durations_s = {}

    def draw(self, n_samples, *, rng):
        """A random part of a random row, (n_samples,) float32; a shorter row is repeated.

        Raises:
            BackgroundError: if none of the files can be read.
        """
        while self._rows:
            path, start_s, end_s = self._rows[rng.integers(len(self._rows))]
            try:
                return self._read_part(path, start_s, end_s, n_samples, rng)
            except audio_io.AudioError as error:
                self._rows = [row for row in self._rows if row[0] != path]
                self.skipped.append((path, error.reason))
                warnings.warn(f"background left out: {error}", stacklevel=2)
        path, reason = self.skipped[-1]
        raise BackgroundError(f"not one background sound can be read, e.g. {path}: {reason}; leave background out")

    def _read_part(self, path, start_s, end_s, n_samples, rng):
        if path not in self._durations_s:
            self._durations_s[path] = audio_io.duration(path)
        end_s = np.fmin(end_s, self._durations_s[path])
        part_s = (n_samples + 1) / self.sample_rate_hz  # one sample more: times are rounded to samples of the file
        first_s = start_s + rng.random() * max(0.0, end_s - start_s - part_s)
        last_s = max(min(end_s, first_s + part_s), first_s + _MIN_PART_S)
        return np.resize(audio_io.read(path, self.sample_rate_hz, first_s, last_s)[0], n_samples)
