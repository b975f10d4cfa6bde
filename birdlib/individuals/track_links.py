"""Whether two tracks of a film may be one bird by time and place: evidence beside that of appearance.

A track ends where a bird leaves, is hidden, or is missed by the detector. The next track is

- ``EVIDENT``: the same bird, as it begins at once, where a bird gets in that time;
- ``PLAUSIBLE``: it begins soon where a bird gets, or after a while where the bird was hidden by another one, or at the edge where it left;
- ``UNEXPLAINED``: else; a cut, a bird that leaves on the left and one that comes on the right, or a long time without a bird.

Distances are in sizes of the bird, the root of its box's area.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.individuals import clustering
from birdlib.video import boxes

UNEXPLAINED, PLAUSIBLE, EVIDENT = 0, 1, 2
UNVALIDATED = 2.0  # factor of a threshold that was not validated on individuals
_MIN_PAIRS, _MAX_ERROR = 20, 0.15  # of a validated one: known pairs of each kind, equal error rate
JOININGS = ("default", "all", "evident")  # how tracks of one film without evidence are joined: with closer appearance, as any others, never
_EVIDENT_S, _SOON_S, _AT_EDGE_S, _HIDDEN_S = 1.0, 2.0, 5.0, 10.0  # the longest time without the bird
_SIZES_PER_S = 8.0  # that a hopping or running bird moves
_STILL, _NEAR = 1.0, 4.0  # sizes: a bird that has not moved; that has moved a little, unseen
_MAX_SIZE_RATIO = 3.0
_MIN_IOU = 0.3  # of a bird at the edge that has not left
_MIN_HIDDEN = 0.3  # share of its box that other birds cover
_EDGE = 0.01  # of the image
_SIDES = ["x", "y", "width", "height"]


@dataclasses.dataclass(frozen=True)
class Links:
    """Evidence for all pairs of tracks.

    ``level`` is (tracks, tracks) int8, of the second track as the one that follows the first; ``same_film`` is (tracks, tracks) bool. ``factor``
    divides the threshold of appearance for unexplained pairs of one film: 1 where the threshold was validated on individuals, so that appearance
    is evidence enough.
    """

    level: np.ndarray
    same_film: np.ndarray
    factor: float = 1.0

    def of(self, rows):
        """The links of some tracks, by their rows."""
        return Links(self.level[np.ix_(rows, rows)], self.same_film[np.ix_(rows, rows)], self.factor)

    def joinings(self):
        """The rules of joining among which a bootstrap draws: all, unless the default leaves no doubt."""
        return JOININGS if self.factor > 1 else JOININGS[:1]


def factor_of(error, n_pairs):
    """The factor of ``Links`` for a threshold of ``clustering.choose_threshold``, by its error rate and number of pairs."""
    return 1.0 if min(n_pairs) >= _MIN_PAIRS and error <= _MAX_ERROR else UNVALIDATED


def find(tracks, summary, frames, factor=1.0):
    """The ``Links`` of tracks.

    Args:
        tracks: DataFrame of ``tracking.COLUMNS``.
        summary: ``tracking.summary`` of it.
        frames: DataFrame of ``frame_counts.COLUMNS``; a film without a row is one scene, as wide and high as its boxes reach.
        factor: as in ``Links``.
    """
    films = summary["recording_id"].to_numpy()
    level, same_film = np.zeros((len(films),) * 2, np.int8), films[:, None] == films
    of_film, frames_of = dict(list(tracks.groupby("recording_id"))), dict(list(frames.groupby("recording_id")))
    for film in pd.unique(films):
        rows = np.flatnonzero(films == film)
        level[np.ix_(rows, rows)] = _film_evidence(of_film[film], frames_of.get(film), summary["track"].to_numpy()[rows])
    return Links(level, same_film, factor)


def chains(distances, must_not_link, threshold, links, min_level=PLAUSIBLE):
    """Join tracks to those that follow them, one to one, where time and place allow it and the appearance does.

    Args:
        distances: (tracks, tracks) of appearance.
        must_not_link: (tracks, tracks) bool.
        threshold: largest distance of plausible pairs; of evident ones, twice as much.
        links: of these tracks.
        min_level: ``PLAUSIBLE``, or ``EVIDENT`` for no other pairs.

    Returns:
        (tracks,) int: the chain of each, from 0.
    """
    chain = np.arange(len(distances))
    costs = distances / np.maximum(links.level, 1)  # what is evident needs less likeness
    costs = np.where((links.level >= min_level) & ~must_not_link & (costs <= threshold), costs, np.inf)
    before, after = np.flatnonzero(np.isfinite(costs).any(axis=1)), np.flatnonzero(np.isfinite(costs).any(axis=0))
    pairs = clustering.assign(costs[np.ix_(before, after)], threshold)
    pairs = np.column_stack([before[pairs[:, 0]], after[pairs[:, 1]]])
    for a, b in pairs[np.argsort(costs[pairs[:, 0], pairs[:, 1]], kind="stable")]:
        first, second = chain == chain[a], chain == chain[b]
        if not must_not_link[np.ix_(first, second)].any():
            chain[second] = chain[a]
    return np.unique(chain, return_inverse=True)[1]


def _film_evidence(tracks, frames, numbers):
    """(tracks, tracks) int8 of a film; ``numbers`` are those of its tracks, in the order of the rows."""
    grouped = tracks.sort_values("time_s", kind="stable").groupby("track")
    first, last = grouped.first().loc[numbers], grouped.last().loc[numbers]
    start_s, end_s = first["time_s"].to_numpy(), last["time_s"].to_numpy()
    begins, ends = first[_SIDES].to_numpy(float), last[_SIDES].to_numpy(float)
    width, height, scene_of = _film_size(tracks, frames)

    gap_s = start_s - end_s[:, None]  # (before, after)
    follows = (gap_s > 0) & (scene_of(start_s) == scene_of(end_s)[:, None])
    centres = [table[:, :2] + table[:, 2:] / 2 for table in (ends, begins)]
    size = np.sqrt(np.sqrt(boxes.area(ends))[:, None] * np.sqrt(boxes.area(begins)))
    distance = np.linalg.norm(centres[0][:, None] - centres[1], axis=2) / np.maximum(size, 1e-6)
    ratio = np.maximum(begins[:, 2:] / np.maximum(ends[:, None, 2:], 1e-6), ends[:, None, 2:] / np.maximum(begins[:, 2:], 1e-6)).min(axis=2)
    follows &= ratio <= _MAX_SIZE_RATIO

    left, came = _edges(ends, width, height), _edges(begins, width, height)
    inside = ~left.any(axis=1)[:, None] & ~came.any(axis=1)
    moved = inside & (distance <= _STILL + _SIZES_PER_S * gap_s) | (boxes.iou(ends[:, None], begins) >= _MIN_IOU)
    at_one_edge = (left[:, None] & came).any(axis=2) & (distance <= _NEAR)
    hidden = (_hidden(tracks, numbers, end_s, ends)[:, None] | _hidden(tracks, numbers, start_s, begins)) & (distance <= _NEAR)
    plausible = follows & (moved & (gap_s <= _SOON_S) | at_one_edge & (gap_s <= _AT_EDGE_S) | hidden & (gap_s <= _HIDDEN_S))
    return plausible.astype(np.int8) + (follows & moved & (gap_s <= _EVIDENT_S))


def _film_size(tracks, frames):
    """(width, height, function from times to scenes)."""
    if frames is None or not len(frames):
        reach = (tracks[["x", "y"]].to_numpy(float) + tracks[["width", "height"]].to_numpy(float)).max(axis=0)
        return *reach, lambda times_s: np.zeros(len(times_s), int)
    frames = frames.sort_values("time_s")
    scenes, times = frames["scene"].to_numpy(), frames["time_s"].to_numpy() - 1e-3  # times are rounded
    return frames["width"].iloc[0], frames["height"].iloc[0], lambda times_s: scenes[np.maximum(np.searchsorted(times, times_s, side="right") - 1, 0)]


def _edges(table, width, height):
    """(tracks, 4) bool: at the left, top, right, bottom of the image."""
    first, last = table[:, :2], table[:, :2] + table[:, 2:4]
    size = np.array([width, height])
    return np.concatenate([first <= _EDGE * size, last >= (1 - _EDGE) * size], axis=1)


def _hidden(tracks, numbers, times_s, own):
    """(tracks,) bool: other birds cover the box of a track at a time."""
    at = {round(time_s * 1000): rows for time_s, rows in tracks.groupby("time_s")}
    found = np.zeros(len(numbers), bool)
    for i, number in enumerate(numbers):
        rows = at[round(times_s[i] * 1000)]
        others = rows.loc[rows["track"] != number, _SIDES].to_numpy(float)
        shared = np.prod(boxes.shared_sides(own[i], others), axis=1)
        found[i] = shared.max(initial=0.0) >= _MIN_HIDDEN * max(boxes.area(own[i]), 1e-6)
    return found
