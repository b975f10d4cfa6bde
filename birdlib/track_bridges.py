"""Bridges: whether a bird that appears in a film is the one that vanished just before, by place, size and colours.

Boxes are x, y, width, height (and what else may follow) in pixels.
"""

import dataclasses

import numpy as np

from birdlib import track_crops

REACH = 1.0  # of its own size: how far a bird may be at once from where it was
SPEED = 8.0  # of its own size per second: a hop
LARGEST_CHANGE = 1.7  # of a bird's size while it is not seen
SIMILAR = 0.55  # Bhattacharyya distance of the colours of a bird and of itself later
UNSURE = 0.15  # of the cost: two pairs that are closer to each other are not told apart
SAME_PLACE = 0.3  # intersection over union with where a bird has been, if it has not moved
_INNER = 0.6  # of a box's sides: the middle, where the bird is
_NEVER = 1e6


@dataclasses.dataclass
class Sight:
    """Where a bird was or is, and how it looks.

    Attributes:
        time_s: of the picture.
        box: (4 or more,).
        colours: as ``colours`` gives them.
        at_edge: whether it is at the edge of the picture, where birds come and go.
    """

    time_s: float
    box: np.ndarray
    colours: np.ndarray
    at_edge: bool


def colours(image, box):
    """(8, 8, 8) float32: the share of each colour (CIELAB) in the middle of a box of an RGB picture."""
    import cv2

    x, y, width, height = box[:4]
    border = (1 - _INNER) / 2
    inner = (x + border * width, y + border * height, _INNER * width, _INNER * height)
    lab = cv2.cvtColor(track_crops.crop(image, inner, margin=0.0, longest_px=64), cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 8, 8], [0, 256, 64, 192, 64, 192])
    return counts / max(counts.sum(), 1.0)


def difference(one, other):
    """Bhattacharyya distance of two ``colours``, in [0, 1]."""
    import cv2

    return cv2.compareHist(one, other, cv2.HISTCMP_BHATTACHARYYA)


def pairs(vanished, appeared):
    """Pair what has vanished with what appears: one to one, and only where no other pair would do nearly as well.

    Args:
        vanished, appeared: lists of ``Sight``.

    Returns:
        list of (index of vanished, index of appeared).
    """
    from scipy.optimize import linear_sum_assignment

    if not vanished or not appeared:
        return []
    costs = np.array([[cost(before, after) for after in appeared] for before in vanished])
    found = []
    for i, j in zip(*linear_sum_assignment(np.minimum(costs, _NEVER)), strict=True):
        others = np.concatenate([np.delete(costs[i], j), np.delete(costs[:, j], i), [_NEVER]])
        if costs[i, j] + UNSURE < others.min():
            found.append((int(i), int(j)))
    return found


def cost(before, after):
    """How little a bird that appears seems to be the one that vanished: inf if it cannot be.

    It is not, if it looks different, has another size, is farther away than a bird gets in that time, or has moved and
    one of the two was at the edge of the picture: there, one leaves and another comes.
    """
    different = difference(before.colours, after.colours)
    if different > SIMILAR:
        return np.inf
    if (before.at_edge or after.at_edge) and overlap(before.box, after.box) < SAME_PLACE:
        return np.inf
    size_before, size = (np.sqrt(sight.box[2] * sight.box[3]) for sight in (before, after))
    if max(size, size_before) > LARGEST_CHANGE * min(size, size_before):
        return np.inf
    centre_before, centre = (sight.box[:2] + sight.box[2:4] / 2 for sight in (before, after))
    distance = np.linalg.norm(centre - centre_before) / np.sqrt(size * size_before)
    reach = REACH + SPEED * (after.time_s - before.time_s)
    return distance / reach + different if distance <= reach else np.inf


def overlap(one, other):
    """Intersection over union of two boxes."""
    shared = _shared(one[None], other[None])[0, 0]
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-6)


def hidden(boxes):
    """(n,): which share of each of (n, 4 or more) boxes the one covers that covers most of it."""
    shared = _shared(boxes, boxes)
    np.fill_diagonal(shared, 0.0)
    return shared.max(axis=1, initial=0.0) / np.maximum(boxes[:, 2] * boxes[:, 3], 1e-6)


def _shared(one, other):
    """(n, m) areas that boxes (n, 4) and (m, 4) have in common."""
    starts = np.maximum(one[:, None, :2], other[:, :2])
    ends = np.minimum(one[:, None, :2] + one[:, None, 2:4], other[:, :2] + other[:, 2:4])
    return np.prod(np.maximum(ends - starts, 0.0), axis=2)
