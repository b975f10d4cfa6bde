"""Re-association: whether a bird that appears is the one that vanished just before, by position, size and colours.

Boxes are x, y, width, height (further columns are ignored) in pixels.
"""

import dataclasses

import numpy as np

from birdlib.video import boxes, track_crops

_MAX_DISTANCE = 1.0  # in sizes of the bird, from where it vanished; farther away another bird is too likely
MAX_SIZE_RATIO = 1.8  # of a bird's widths or heights in two observations
MAX_COLOUR_DISTANCE = 0.5  # Bhattacharyya distance of one bird's colours in two observations
MIN_IOU = 0.3  # of a bird that has not moved
_MIN_COST_MARGIN = 0.15  # to the next best pair; below it neither is made
_INNER = 0.6  # of a box's sides: the middle, where the bird is
_IMPOSSIBLE = 1e6


@dataclasses.dataclass
class Observation:
    """A bird in one image."""

    time_s: float
    box: np.ndarray
    at_edge: bool  # of the image, where birds come and go
    colours: np.ndarray  # (8, 8, 8), from ``colour_histogram``
    crop: np.ndarray | None  # as in ``track_crops``
    quality: float


def observe(time_s, image, box, occlusion=0.0):
    """The ``Observation`` of a box of an RGB image, of which other boxes cover the share ``occlusion``."""
    size, crop = image.shape[:2], track_crops.crop(image, box)
    quality = track_crops.quality(crop, box, size, occlusion)
    return Observation(time_s, box, boxes.touches_edge(box, size), colour_histogram(image, box), crop, quality)


def colour_histogram(image, box):
    """(8, 8, 8) float32: the share of each CIELAB colour in the middle of a box of an RGB image."""
    import cv2

    x, y, width, height = box[:4]
    border = (1 - _INNER) / 2
    inner = (x + border * width, y + border * height, _INNER * width, _INNER * height)
    lab = cv2.cvtColor(track_crops.crop(image, inner, margin=0.0, max_side=64), cv2.COLOR_RGB2LAB)
    lab = np.clip(lab, (0, 64, 64), (255, 191, 191)).astype(np.uint8)  # the most vivid colours are in the last bins
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 8, 8], [0, 256, 64, 192, 64, 192])
    return counts / max(counts.sum(), 1.0)


def colour_distance(histogram, other):
    """Bhattacharyya distance of two ``colour_histogram``, in [0, 1]."""
    import cv2

    return cv2.compareHist(histogram, other, cv2.HISTCMP_BHATTACHARYYA)


def match(vanished, appeared, max_gap_s):
    """Match observations one to one, and only where no other match costs nearly as little.

    Args:
        vanished, appeared: lists of ``Observation``.
        max_gap_s: the longest time between the two of a match.

    Returns:
        list of (index of vanished, index of appeared).
    """
    from scipy.optimize import linear_sum_assignment

    if not vanished or not appeared:
        return []
    costs = np.array([[_cost(before, after, max_gap_s) for after in appeared] for before in vanished])
    matches = []
    for i, j in zip(*linear_sum_assignment(np.minimum(costs, _IMPOSSIBLE)), strict=True):
        others = np.concatenate([np.delete(costs[i], j), np.delete(costs[:, j], i), [_IMPOSSIBLE]])
        if costs[i, j] + _MIN_COST_MARGIN < others.min():
            matches.append((int(i), int(j)))
    return matches


def _cost(before, after, max_gap_s):
    """Distance in sizes of the bird plus colour distance; inf for two birds.

    They are two birds if both are in one image, too far apart in time, of other colours or size, or farther apart than
    a bird gets in that time. At the edge of the image, where birds leave and come, the bird must not have moved at all.
    """
    if not 0 < after.time_s - before.time_s <= max_gap_s:
        return np.inf
    colour = colour_distance(before.colours, after.colours)
    if colour > MAX_COLOUR_DISTANCE or boxes.size_ratio(before.box, after.box) > MAX_SIZE_RATIO:
        return np.inf
    if (before.at_edge or after.at_edge) and boxes.iou(before.box, after.box) < MIN_IOU:
        return np.inf
    centre_before, centre = (item.box[:2] + item.box[2:4] / 2 for item in (before, after))
    distance = np.linalg.norm(centre - centre_before) / np.prod([before.box[2:4], after.box[2:4]]) ** 0.25
    return distance / _MAX_DISTANCE + colour if distance <= _MAX_DISTANCE else np.inf
