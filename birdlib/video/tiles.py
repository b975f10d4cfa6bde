"""Detection in overlapping tiles, for small birds, and the merging of the tiles' boxes.

Boxes are (n, 5) float32: x, y, width, height in pixels, score in [0, 1]. Own code, because
``supervision.InferenceSlicer`` leaves out the whole image and does not know which boxes the edge of a tile truncates.
"""

import itertools
import math

import numpy as np

from birdlib.video import boxes as geometry

_OVERLAP = 0.2  # of neighbouring tiles, as in Slicing Aided Hyper Inference (2022)
_MAX_IOU = 0.5  # of the boxes of two birds, as in Faster R-CNN and SSD
_MAX_INSIDE = 0.7  # of the smaller of two boxes: with more, it is a part of the same bird


def layout(width, height, n_tiles):
    """The whole image, and for ``n_tiles`` > 1 (along the longer side) overlapping, about square tiles that cover it.

    Returns:
        list of (x, y, width, height), ints, in pixels.
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


def truncated_by(boxes, tile, width, height):
    """Which boxes, in pixels of the tile, end where the tile (x, y, width, height) does, and the image does not.

    Returns:
        (n, 4) bool: at the left, top, right, bottom.
    """
    x, y, tile_width, tile_height = tile
    near = 0.02 * max(tile_width, tile_height)
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]
    before = (first < near) & (np.array([x, y]) > 0)
    after = (last > np.array([tile_width, tile_height]) - near) & (x + tile_width < width, y + tile_height < height)
    return np.concatenate([before, after], axis=1)


def merge(boxes, truncated):
    """Non-maximum suppression that also drops a part of a bird inside the whole one, and joins what tiles cut in two.

    Args:
        boxes: (n, 5) float32.
        truncated: (n, 4) bool, at the left, top, right, bottom, by the edge of a tile. Such a box gives way to any
            whole one; two truncated boxes that continue each other are joined.

    Returns:
        (kept, 5) float32, by descending score.
    """
    is_part = truncated.any(axis=1)
    whole = _suppress(boxes[~is_part], boxes[~is_part, 4], np.zeros((0, 5), np.float32))
    parts, sides = boxes[is_part], truncated[is_part]
    if len(whole) and len(parts):
        free = ~_is_same_bird(parts[:, None], whole).any(axis=1)
        parts, sides = parts[free], sides[free]
    parts = _join(parts, sides)
    boxes = _suppress(parts, geometry.area(parts), whole)  # the largest shows most of the bird
    return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _suppress(boxes, rank, kept):
    """``kept``, and the boxes that are the same bird as no box kept before them, in descending rank."""
    for box in boxes[np.argsort(-rank, kind="stable")]:
        if not _is_same_bird(box, kept).any():
            kept = np.concatenate([kept, box[None]])
    return kept


def _is_same_bird(boxes, others):
    shared = np.prod(geometry.shared_sides(boxes, others), axis=-1)
    area, other_area = geometry.area(boxes), geometry.area(others)
    return (shared > _MAX_IOU * (area + other_area - shared)) | (shared > _MAX_INSIDE * np.minimum(area, other_area))


def _join(boxes, truncated):
    """Join boxes that continue each other: truncated at opposite sides, and beside each other by half."""
    for axis in (0, 1):
        k = 0
        while k < len(boxes):
            other, shared = 1 - axis, geometry.shared_sides(boxes[k], boxes)
            is_beside = shared[:, other] > _MAX_IOU * (boxes[k, other + 2] + boxes[:, other + 2] - shared[:, other])
            continues = truncated[k, axis + 2] & truncated[:, axis] & (boxes[:, axis] > boxes[k, axis])
            [mates] = np.nonzero(is_beside & continues & (shared[:, axis] > 0))
            if not len(mates):
                k += 1
                continue
            mate, pair = mates[0], boxes[[k, mates[0]]]
            first, last = pair[:, :2].min(axis=0), (pair[:, :2] + pair[:, 2:4]).max(axis=0)
            sides = truncated[k] | truncated[mate]
            sides[axis], sides[axis + 2] = truncated[k, axis], truncated[mate, axis + 2]
            boxes[k], truncated[k] = [*first, *(last - first), pair[:, 4].max()], sides
            boxes, truncated = np.delete(boxes, mate, axis=0), np.delete(truncated, mate, axis=0)
            k = 0
    return boxes
