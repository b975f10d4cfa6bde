"""Bridges: whether a bird that appears in a film is the one that vanished just before, by place, size and colours.

Boxes are x, y, width, height (and what else may follow) in pixels.
"""

import dataclasses

import numpy as np

from birdlib.video import track_crops

_REACH = 1.0  # of its own size: how far a bird may be from where it was; what leaps farther is too easily another one
LARGEST_CHANGE = 1.8  # of the width or the height of a bird from one sight to the next
SIMILAR = 0.5  # Bhattacharyya distance of the colours of a bird and of itself later
_UNSURE = 0.15  # of the cost: two pairs that are closer to each other are not told apart
SAME_PLACE = 0.3  # intersection over union with where a bird has been, if it has not moved
_INNER = 0.6  # of a box's sides: the middle, where the bird is
_NEVER = 1e6


@dataclasses.dataclass
class Sight:
    """Where a bird is, and how it looks.

    Attributes:
        time_s: of the picture.
        box: (4 or more,).
        at_edge: whether it is at the edge of the picture, where birds come and go.
        colours: as ``colours`` gives them.
        crop, quality: as ``track_crops`` gives them.
    """

    time_s: float
    box: np.ndarray
    at_edge: bool
    colours: np.ndarray
    crop: np.ndarray | None
    quality: float


def sight(time_s, image, box, hidden=0.0):
    """A ``Sight`` of a box of an RGB picture, of which other boxes cover the share ``hidden``."""
    size, cut = image.shape[:2], track_crops.crop(image, box)
    at_edge = track_crops.touches_edge(box, size)
    return Sight(time_s, box, at_edge, colours(image, box), cut, track_crops.quality(cut, box, size, hidden))


def colours(image, box):
    """(8, 8, 8) float32: the share of each colour (CIELAB) in the middle of a box of an RGB picture."""
    import cv2

    x, y, width, height = box[:4]
    border = (1 - _INNER) / 2
    inner = (x + border * width, y + border * height, _INNER * width, _INNER * height)
    lab = cv2.cvtColor(track_crops.crop(image, inner, margin=0.0, longest_px=64), cv2.COLOR_RGB2LAB)
    lab = np.clip(lab, (0, 64, 64), (255, 191, 191)).astype(np.uint8)  # the most vivid colours are in the last bins
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 8, 8], [0, 256, 64, 192, 64, 192])
    return counts / max(counts.sum(), 1.0)


def difference(one, other):
    """Bhattacharyya distance of two ``colours``, in [0, 1]."""
    import cv2

    return cv2.compareHist(one, other, cv2.HISTCMP_BHATTACHARYYA)


def pairs(vanished, appeared, max_gap_s):
    """Pair what has vanished with what appears: one to one, and only where no other pair would do nearly as well.

    Args:
        vanished, appeared: lists of ``Sight``.
        max_gap_s: the longest time between two.

    Returns:
        list of (index of vanished, index of appeared).
    """
    from scipy.optimize import linear_sum_assignment

    if not vanished or not appeared:
        return []
    costs = np.array([[cost(before, after, max_gap_s) for after in appeared] for before in vanished])
    found = []
    for i, j in zip(*linear_sum_assignment(np.minimum(costs, _NEVER)), strict=True):
        others = np.concatenate([np.delete(costs[i], j), np.delete(costs[:, j], i), [_NEVER]])
        if costs[i, j] + _UNSURE < others.min():
            found.append((int(i), int(j)))
    return found


def cost(before, after, max_gap_s):
    """How little a bird that appears seems to be the one that vanished: inf if it cannot be.

    It is not, if both are in one picture or too far apart in time, if it looks different, has another size, is farther away than a bird gets in that time, or has moved and
    one of the two was at the edge of the picture: there, one leaves and another comes.
    """
    if not 0 < after.time_s - before.time_s <= max_gap_s:
        return np.inf
    different = difference(before.colours, after.colours)
    if different > SIMILAR:
        return np.inf
    if (before.at_edge or after.at_edge) and overlap(before.box, after.box) < SAME_PLACE:
        return np.inf
    if change(before.box, after.box) > LARGEST_CHANGE:
        return np.inf
    centre_before, centre = (sight.box[:2] + sight.box[2:4] / 2 for sight in (before, after))
    distance = np.linalg.norm(centre - centre_before) / np.prod([before.box[2:4], after.box[2:4]]) ** 0.25
    return distance / _REACH + different if distance <= _REACH else np.inf


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


def change(before, after):
    """By which factor, at least 1, the width or the height of a box has changed, whichever has more."""
    ratio = np.maximum(after[2:4], 1e-6) / np.maximum(before[2:4], 1e-6)
    return float(np.maximum(ratio, 1 / ratio).max())
