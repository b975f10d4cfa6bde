"""Boxes of each frame of a film, whether or not a track holds them: how many there are, for birds that cannot be tracked.

A table has a row a sampled frame: ``COLUMNS``; ``scene`` counts from 0 and goes up at every cut, ``width`` and ``height`` are those of the
image in pixels, ``n_possible``, ``n_likely`` and ``n_firm`` the boxes with at least the scores of ``SCORES``, ``n_faint`` the faint tracks of ``tracking.follow`` that begin in the frame.
"""

import numpy as np
import pandas as pd

from birdlib.video import cuts

SCORES = {"n_possible": 0.3, "n_likely": 0.4, "n_firm": 0.5}
COLUMNS = ["recording_id", "time_s", "scene", "width", "height", *SCORES, "n_faint"]


class Recorder:
    """Counts the boxes of detections that pass through."""

    def __init__(self, recording_id):
        self.recording_id, self._rows, self._scenes = recording_id, [], cuts.Cuts()

    def watch(self, detections):
        """Yield the detections, (time_s, image, boxes), unchanged."""
        for time_s, image, boxes in detections:
            scores = np.asarray(boxes, np.float32).reshape(-1, 5)[:, 4]
            n = [int(np.sum(scores >= score)) for score in SCORES.values()]
            self._rows.append((self.recording_id, time_s, self._scenes.add(image), image.shape[1], image.shape[0], *n))
            yield time_s, image, boxes

    def table(self, faint=()):
        """DataFrame of ``COLUMNS``.

        Args:
            faint: times from ``tracking.follow``.
        """
        table = pd.DataFrame(self._rows, columns=COLUMNS[:-1])
        began = pd.Series(faint, dtype=float).value_counts()
        return typed(table.assign(n_faint=table["time_s"].map(began).fillna(0)))


def typed(table):
    """The table with its types, also where it has no row."""
    types = dict.fromkeys(COLUMNS[2:], np.int64) | {"recording_id": object, "time_s": float}
    return table.astype(types)


def steady(counts, share):
    """The number that is reached in a share of the frames, whatever single frames hold: the quantile of the median of three frames.

    Args:
        counts: (frames,) int, in the order of time.
        share: of the frames, in (0, 1].
    """
    from scipy.ndimage import median_filter

    counts = np.asarray(counts, int)
    if not len(counts):
        return 0
    return int(np.quantile(median_filter(counts, size=3, mode="nearest"), 1.0 - share, method="nearest"))
