"""How many tiles a film needs: more, where birds are so small that the detector finds many more of them in parts of the image.

A few images of the film decide. Tiles also add false boxes, so that they must find far more birds, which are small and have scores that birds have.
What is at one place in most of the images is a thing: birds move within a film.
"""

import contextlib

import numpy as np

from birdlib.video import boxes as geometry
from birdlib.video import io as video_io

RECIPE = 1
AUTO = 0  # as ``n_tiles``: chosen for each film
MORE_TILES = 2  # along the longer side, for small birds
_N_IMAGES = 8  # spread over the film
_MIN_SCORE = 0.5
_MIN_RATIO, _MIN_GAIN = 1.5, 0.3  # of the boxes in an image with more tiles to those with fewer; and more boxes an image
_MAX_STILL, _STILL_IOU = 0.5, 0.4  # share of the images in which a thing is at its place, by this intersection over union
_MAX_SIDE = 0.15  # of the median box's side to that of the image, both as the root of the area


def choose(images, detect):
    """The number of tiles along the longer side.

    Args:
        images: list of (height, width, 3) uint8.
        detect: function of (images, n_tiles) to a list of (n, 5) boxes.

    Returns:
        1 or ``MORE_TILES``.
    """
    n_found, _ = _count(images, detect(images, 1))
    n_closer, side = _count(images, detect(images, MORE_TILES))
    finds_more = n_closer >= max(_MIN_RATIO * n_found, n_found + _MIN_GAIN) and side <= _MAX_SIDE
    return MORE_TILES if finds_more else 1


def sample(path, start_s=0.0, end_s=None):
    """List of a few images of a film, from all of it; those that cannot be decoded are left out."""
    try:
        until_s = video_io.probe(path).duration_s
    except video_io.VideoError:
        return []
    until_s = until_s if end_s is None else min(end_s, until_s)
    images = []
    for k in range(_N_IMAGES):
        from_s = start_s + (k + 0.5) * max(until_s - start_s, 0.0) / _N_IMAGES
        with contextlib.suppress(video_io.VideoError), contextlib.closing(video_io.frames(path, None, from_s, end_s)) as frames:
            images.append(next(frames)[1])
    return images


def _count(images, found):
    """(mean number of boxes of birds in an image, median side of them against that of the image); side 0 without boxes."""
    sides = [np.sqrt(geometry.area(boxes) / (image.shape[0] * image.shape[1])) for image, boxes in zip(images, _moving(found), strict=True)]
    sides = np.concatenate([np.zeros(0), *sides])
    return len(sides) / max(len(images), 1), float(np.median(sides)) if len(sides) else 0.0


def _moving(found):
    """The boxes with enough score of each image, without those of things."""
    found = [boxes[boxes[:, 4] >= _MIN_SCORE] for boxes in found]
    moving = []
    for k, boxes in enumerate(found):
        others = [other for j, other in enumerate(found) if j != k]
        n_still = sum(((geometry.iou(boxes[:, None], other) >= _STILL_IOU).any(axis=1) for other in others), np.zeros(len(boxes)))
        moving.append(boxes[n_still <= _MAX_STILL * len(others)])
    return moving
