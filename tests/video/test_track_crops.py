"""The crops that are kept of a track."""

import numpy as np

from birdlib.video import track_crops


def test_a_track_whose_kept_crops_are_all_later_has_the_first_of_them():
    """A weak box at the end of a track may have been the better crop."""
    best = track_crops.BestCrops(1)
    for time_s, quality in ((0.0, 0.1), (1.0, 0.2), (2.0, 0.9), (3.0, 0.1)):
        best.add(time_s, np.zeros((2, 2, 3), np.uint8), quality)
    assert all(time_s > 0.0 for _, time_s, _ in best.kept.values())
    [(_, time_s, _)] = best.select(until_s=0.0)
    assert time_s == min(item[1] for item in best.kept.values())
