"""What is to be heard besides the bird: crops of soundscapes as background, of human voices as noise.

A *sounds table* has a row a stretch of a file that may be cropped: ``path``, ``start_s``, ``end_s`` (NaN: to the end).
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io

_MOMENT_S = 0.001  # no stretch is shorter


class AmbienceError(runtime.BirdlibError):
    """There is nothing that could be laid below a song."""


def of_files(paths, without=None, shortest_s=1.0):
    """The sounds table of files, of soundscapes say: best of what has none of the species that are to be learnt.

    Args:
        without: DataFrame ``path, start_s, end_s`` of stretches that are left out, such as windows with labels; None: whole files. A file that has
            some and cannot be read is left out.
        shortest_s: what is shorter between such stretches is left out, too.
    """
    taken = {} if without is None else dict(list(without.sort_values("start_s").groupby("path")))
    rows = []
    for path in map(str, paths):
        begin_s, end_s = 0.0, np.nan
        if path in taken:
            try:
                end_s = audio_io.describe(path)["duration_s"]
            except audio_io.AudioError:
                continue
            for row in taken[path].itertuples():
                rows.append((path, begin_s, row.start_s))
                begin_s = max(begin_s, row.end_s)
        rows.append((path, begin_s, end_s))
    table = pd.DataFrame(rows, columns=["path", "start_s", "end_s"])
    return table[~(table["end_s"] - table["start_s"] < shortest_s)].reset_index(drop=True)


def of_speech(segments, recordings, root, shortest_s=0.5):
    """The sounds table of the voices that stage 02 found.

    Args:
        segments: ``segments.parquet`` of stage 02: ``recording_id, start_s, end_s`` in seconds of the part that was cleaned.
        recordings: the manifest: ``recording_id, audio_path, start_s``.
        root: folder of the manifest's paths.
        shortest_s: shorter stretches are left out.
    """
    one_each = recordings[recordings["audio_path"] != ""].drop_duplicates("recording_id").set_index("recording_id")
    spoken = segments[segments["recording_id"].isin(one_each.index)]
    spoken = spoken[spoken["end_s"] - spoken["start_s"] >= shortest_s]
    part = one_each.loc[spoken["recording_id"]]
    begin_s = part["start_s"].fillna(0.0).to_numpy(dtype=float)
    paths = [str(Path(root) / path) for path in part["audio_path"]]
    times = {name: spoken[name].to_numpy(dtype=float) + begin_s for name in ("start_s", "end_s")}
    return pd.DataFrame({"path": paths, **times})


class Sounds:
    """Random crops of a sounds table, read when they are asked for, so that memory does not grow with the files.

    A file that cannot be read is left out from then on, warned about and kept in ``skipped``, a list of (path, reason).

    Raises:
        AmbienceError: if the table has no rows.
    """

    def __init__(self, table, sample_rate_hz):
        if not len(table):
            raise AmbienceError("the table of background sounds has no rows: give soundscapes, or leave background out")
        self.sample_rate_hz, self.skipped = sample_rate_hz, []
        self._rows = [(str(row.path), float(row.start_s), float(row.end_s)) for row in table.itertuples()]
        self._longest_s = {}

    def draw(self, n_samples, *, rng):
        """A crop of a random row, at a random place in it; a shorter row is repeated.

        Returns:
            (n_samples,) float32.

        Raises:
            AmbienceError: if not one file can be read.
        """
        while self._rows:
            path, start_s, end_s = self._rows[rng.integers(len(self._rows))]
            try:
                return self._crop(path, start_s, end_s, n_samples, rng)
            except audio_io.AudioError as error:
                self._rows = [row for row in self._rows if row[0] != path]
                self.skipped.append((path, error.reason))
                warnings.warn(f"background left out: {error}", stacklevel=2)
        path, reason = self.skipped[-1]
        raise AmbienceError(f"not one background sound can be read, e.g. {path}: {reason}; leave background out")

    def _crop(self, path, start_s, end_s, n_samples, rng):
        if path not in self._longest_s:
            self._longest_s[path] = audio_io.describe(path)["duration_s"]
        end_s = np.fmin(end_s, self._longest_s[path])
        wanted_s = (n_samples + 1) / self.sample_rate_hz  # one more: times are rounded to samples of the file
        first_s = start_s + rng.random() * max(0.0, end_s - start_s - wanted_s)
        waveform, _ = audio_io.read(
            path, self.sample_rate_hz, first_s, max(min(end_s, first_s + wanted_s), first_s + _MOMENT_S)
        )
        return np.resize(waveform, n_samples)
