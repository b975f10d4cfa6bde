"""Pictures looked at in parts, for what is small in them, and one set of boxes from those of all parts.

Boxes are (n, 5) float32: x, y, width, height in pixels, score in [0, 1].
"""

import itertools
import math

import numpy as np

_OVERLAP = 0.2  # of neighbouring tiles, as in Slicing Aided Hyper Inference (2022)
_MAX_IOU = 0.5  # of two boxes that are two birds, as in Faster R-CNN and SSD
_MAX_INSIDE = 0.7  # of the smaller of two boxes: more, and it is a part of the same bird


def layout(width, height, n_tiles):
    """The whole picture, and overlapping tiles of about square shape if there are to be any.

    Args:
        width, height: in pixels.
        n_tiles: along the longer side; 1 gives the whole only.

    Returns:
        list of (x, y, width, height), ints; the tiles cover the picture.
    """
    whole = [(0, 0, width, height)]
    if n_tiles == 1:
        return whole
    n_short = max(1, round(n_tiles * min(width, height) / max(width, height)))
    n_across, n_down = (n_tiles, n_short) if width >= height else (n_short, n_tiles)
    across, down = _cuts(width, n_across), _cuts(height, n_down)
    return whole + [(x, y, w, h) for (y, h), (x, w) in itertools.product(down, across)]


def _cuts(length, n):
    size = math.ceil(length / (n - (n - 1) * _OVERLAP))
    return [(round(k * (length - size) / max(1, n - 1)), size) for k in range(n)]


def cut_by(boxes, tile, width, height):
    """Which boxes the edge of a tile may have cut off: they end where it does, and the picture does not.

    Args:
        boxes: (n, 5) float32, in pixels of the tile.
        tile: x, y, width, height.
        width, height: of the picture.

    Returns:
        (n, 4) bool: at the left, top, right, bottom.
    """
    x, y, tile_width, tile_height = tile
    near = 0.02 * max(tile_width, tile_height)
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]
    before = (first < near) & (np.array([x, y]) > 0)
    after = (last > np.array([tile_width, tile_height]) - near) & (x + tile_width < width, y + tile_height < height)
    return np.concatenate([before, after], axis=1)


def inside(boxes, width, height):
    """Boxes clipped to their picture; those of which less than a pixel is left are dropped."""
    first = np.clip(boxes[:, :2], 0, (width, height))
    last = np.clip(boxes[:, :2] + boxes[:, 2:4], 0, (width, height))
    boxes = np.concatenate([first, last - first, boxes[:, 4:]], axis=1).astype(np.float32)
    return boxes[(boxes[:, 2:4] >= 1).all(axis=1)]


def merge(boxes, cut):
    """Non-maximum suppression that also drops a part of a bird inside the whole one, and joins what tiles cut in two.

    Args:
        boxes: (n, 5) float32.
        cut: (n, 4) bool, whether the edge of a tile cuts a box off at its left, top, right, bottom. Such a box gives way to
            any that is whole; two that nobody saw whole become one.

    Returns:
        (kept, 5) float32, the surest first.
    """
    is_cut = cut.any(axis=1)
    whole = _suppress(boxes[~is_cut], boxes[~is_cut, 4], np.zeros((0, 5), np.float32))
    parts, sides = boxes[is_cut], cut[is_cut]
    if len(whole) and len(parts):
        free = ~_same(parts, whole).any(axis=1)
        parts, sides = parts[free], sides[free]
    parts = _joined(parts, sides)
    boxes = _suppress(parts, parts[:, 2] * parts[:, 3], whole)  # the largest shows most of the bird
    return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _suppress(boxes, rank, kept):
    """``kept`` and those boxes that are the same bird as none before them, the highest in rank first."""
    for box in boxes[np.argsort(-rank, kind="stable")]:
        if not _same(box[None], kept).any():
            kept = np.concatenate([kept, box[None]])
    return kept


def _same(boxes, others):
    """(boxes, others) bool: there is one bird in both."""
    both = _shared(boxes, others, 0) * _shared(boxes, others, 1)
    area, other_area = boxes[:, None, 2] * boxes[:, None, 3], others[:, 2] * others[:, 3]
    return (both > _MAX_IOU * (area + other_area - both)) | (both > _MAX_INSIDE * np.minimum(area, other_area))


def _shared(boxes, others, axis):
    """(boxes, others) float32: the length that both cover, across (0) or down (1)."""
    first, last = boxes[:, None, axis], boxes[:, None, axis] + boxes[:, None, axis + 2]
    other_first, other_last = others[:, axis], others[:, axis] + others[:, axis + 2]
    return np.maximum(np.minimum(last, other_last) - np.maximum(first, other_first), 0)


def _joined(boxes, cut):
    """Boxes that go on where another was cut are one: at opposite sides, and more than half as long beside each other."""
    for axis in (0, 1):
        k = 0
        while k < len(boxes):
            other, mine = 1 - axis, boxes[k : k + 1]
            beside = _shared(mine, boxes, other)[0]
            beside = beside > _MAX_IOU * (mine[0, other + 2] + boxes[:, other + 2] - beside)
            goes_on = cut[k, axis + 2] & cut[:, axis] & (boxes[:, axis] > mine[0, axis])
            [mates] = np.nonzero(beside & goes_on & (_shared(mine, boxes, axis)[0] > 0))
            if not len(mates):
                k += 1
                continue
            pair = boxes[[k, mates[0]]]
            first, last = pair[:, :2].min(axis=0), (pair[:, :2] + pair[:, 2:4]).max(axis=0)
            new_cut = cut[k] | cut[mates[0]]
            new_cut[axis], new_cut[axis + 2] = cut[k, axis], cut[mates[0], axis + 2]
            boxes[k], cut[k] = [*first, *(last - first), pair[:, 4].max()], new_cut
            boxes, cut = np.delete(boxes, mates[0], axis=0), np.delete(cut, mates[0], axis=0)
            k = 0
    return boxes
