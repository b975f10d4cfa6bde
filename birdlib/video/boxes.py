"""Geometry of boxes: (..., 4 or more) arrays of x, y, width, height in pixels; a score that follows is ignored.

Own code, because ``supervision.box_iou_batch`` gives ratios of all pairs only: tiles need the shared lengths, occlusion
the shared areas, evaluation the IoU row by row.
"""

import numpy as np


def shared_sides(boxes, others):
    """(..., 2): the lengths that both boxes cover, across and down; (n, 1, 4) and (m, 4) are broadcast to all pairs."""
    starts = np.maximum(boxes[..., :2], others[..., :2])
    ends = np.minimum(boxes[..., :2] + boxes[..., 2:4], others[..., :2] + others[..., 2:4])
    return np.maximum(ends - starts, 0.0)


def area(boxes):
    """(...,) in square pixels."""
    return boxes[..., 2] * boxes[..., 3]


def iou(boxes, others):
    """(...,) intersection over union, broadcast as in ``shared_sides``."""
    shared = np.prod(shared_sides(boxes, others), axis=-1)
    return shared / np.maximum(area(boxes) + area(others) - shared, 1e-6)


def occlusion(boxes):
    """(n,): the largest share of each of (n, 4) boxes that a single other one covers."""
    shared = np.prod(shared_sides(boxes[:, None], boxes), axis=-1)
    np.fill_diagonal(shared, 0.0)
    return shared.max(axis=1, initial=0.0) / np.maximum(area(boxes), 1e-6)


def size_ratio(box, other):
    """The factor, at least 1, between two widths or two heights, whichever is larger."""
    ratio = np.maximum(other[2:4], 1e-6) / np.maximum(box[2:4], 1e-6)
    return float(np.maximum(ratio, 1 / ratio).max())


def touches_edge(box, image_size, tolerance=0.01):
    """Whether a box reaches the edge of a (height, width) image, or comes within this share of its size."""
    height, width = image_size
    left, top = tolerance * width, tolerance * height
    right, bottom = (1 - tolerance) * width, (1 - tolerance) * height
    return bool(box[0] <= left or box[1] <= top or box[0] + box[2] >= right or box[1] + box[3] >= bottom)


def clip(boxes, width, height):
    """Clip (n, 4 or more) boxes to an image; drop those of which less than a pixel is left. Returns float32."""
    start = np.clip(boxes[:, :2], 0, (width, height))
    end = np.clip(boxes[:, :2] + boxes[:, 2:4], 0, (width, height))
    boxes = np.concatenate([start, end - start, boxes[:, 4:]], axis=1).astype(np.float32)
    return boxes[(boxes[:, 2:4] >= 1).all(axis=1)]
