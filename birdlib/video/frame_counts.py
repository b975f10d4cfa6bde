"""Boxes of each frame of a film, whether or not a track holds them: how many there are, for birds that cannot be tracked.

A table has a row a sampled frame: ``COLUMNS``; ``scene`` counts from 0 and goes up at every cut, ``width`` and ``height`` are those of the
image in pixels, ``n_possible``, ``n_likely`` and ``n_firm`` the boxes with at least the scores of ``SCORES``. ``n_faint`` is the number of faint
tracks that begin in the frame: those that ``tracking.follow`` drops for their scores alone, though they move as birds do.
"""

import numpy as np
import pandas as pd

from birdlib.video import cuts

SCORES = {"n_possible": 0.3, "n_likely": 0.4, "n_firm": 0.5}
COLUMNS = ["recording_id", "time_s", "scene", "width", "height", *SCORES, "n_faint"]


class Recorder:
    """Numbers the scenes of a film and counts the boxes of its frames, as detections pass through."""

    def __init__(self, recording_id):
        self._recording_id, self._rows, self._scenes = recording_id, [], cuts.Cuts()

    def record(self, detections):
        """Yield (scene, time_s, image, boxes) for each of the detections, (time_s, image, boxes)."""
        for time_s, image, boxes in detections:
            scene, scores = self._scenes.add(image), np.asarray(boxes, np.float32).reshape(-1, 5)[:, 4]
            n = [int(np.sum(scores >= score)) for score in SCORES.values()]
            self._rows.append((self._recording_id, time_s, scene, image.shape[1], image.shape[0], *n))
            yield scene, time_s, image, boxes

    def table(self, faint_s):
        """DataFrame of ``COLUMNS``, a row a frame until now; ``faint_s`` are the times at which faint tracks begin."""
        table = pd.DataFrame(self._rows, columns=COLUMNS[:-1])
        n_begin = pd.Series(faint_s, dtype=float).value_counts()
        return typed(table.assign(n_faint=table["time_s"].map(n_begin).fillna(0)))


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
