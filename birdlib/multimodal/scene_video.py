"""What can be seen of films and photos: ResNet50's features of what moves, and small pictures of the whole.

A picture is (height, width, 3) uint8 RGB. Times are in seconds of the file.
"""

import dataclasses
from typing import Any

import numpy as np

from birdlib import runtime
from birdlib.models import resnet50, weights
from birdlib.video import io as video_io

N_FRAMES = 8  # of a scene, at equal distances, the first at its beginning
FRAME_S = 0.5  # between them
PIXELS = 64  # of a side, for networks that see movement; ResNet50 sees resnet50.IMAGE_SIZE
BATCH = 16  # pictures at once
_SMALL = (160, 120)  # (width, height) of what movement is looked for in
_N_BACKGROUND = 40  # frames that tell what stands still
_MOVES = 25  # of 255, by which something that moves differs
_MOST_MOVING = 0.4  # of the picture: beyond, the camera moves
_LEAST_AREA = 30  # small pixels
_AROUND = 1.4  # of the moving thing's longer side
_LEAST_SIDE = 48  # pixels


@dataclasses.dataclass(frozen=True)
class Backbone:
    """ResNet50, frozen.

    Attributes:
        network: keras.Model, (batch, 224, 224, 3) RGB in [0, 255] → (batch, 2048).
        key: of all that changes the features of a picture.
        weights: for the receipt.
    """

    network: Any
    key: str
    weights: dict


def load_backbone(weights_dir=""):
    """ResNet50 with its weights, which are fetched if need be.

    Args:
        weights_dir: as in ``weights.find``.

    Raises:
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    source = weights.fetch("resnet50", weights_dir)
    inputs = keras.Input((resnet50.IMAGE_SIZE, resnet50.IMAGE_SIZE, 3))
    bgr = keras.ops.flip(inputs - np.array(resnet50.MEANS_RGB, np.float32), axis=-1)
    network = keras.Model(inputs, resnet50.load(source)(bgr))
    key = runtime.digest({"sha256": source.sha256, "size": resnet50.IMAGE_SIZE, "recipe": 1})
    return Backbone(network, key, {"resnet50": source.receipt()})


def as_frame(image, size=resnet50.IMAGE_SIZE):
    """A picture of any size as a square: scaled, not cut, as a bird may be at the edge of a film.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    import cv2

    is_smaller = max(image.shape[:2]) < size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC if is_smaller else cv2.INTER_AREA)


def see(looks, backbone):
    """What the networks take of pictures.

    Args:
        looks: list of (picture in focus, whole picture), each of any size.
        backbone: from ``load_backbone``.

    Returns:
        (pictures, 2048 + 64 * 64 * 3) float32: features of what is in focus, pixels of the whole.
    """
    focused = np.stack([as_frame(crop) for crop, _ in looks]).astype(np.float32)
    features = backbone.network.predict(focused, batch_size=BATCH, verbose=0)
    pixels = np.stack([as_frame(whole, PIXELS).ravel() for _, whole in looks])
    return np.hstack([features, pixels]).astype(np.float32)


def look(path, times_s, backbone):
    """See the scenes of a film: every picture that differs is seen once, in whatever scenes it is shown.

    Args:
        path: of the film.
        times_s: (scenes, 2), start and end; where a scene ends sooner, its last picture stands still.
        backbone: from ``load_backbone``.

    Returns:
        (frames, shown): what ``see`` gives of each picture; the numbers of the pictures of each scene, (scenes, 8).
    """
    seen, scenes, rows, waiting = {}, [], [], []
    still = _background(path, times_s[0][0], times_s[-1][1])
    for start_s, end_s in times_s:
        shown = []
        for _, image in video_io.frames(path, 1 / FRAME_S, start_s, end_s):
            content = hash(image.tobytes())
            if content not in seen:
                waiting.append((focus(image, still), image))
            shown.append(seen.setdefault(content, len(seen)))
            if len(waiting) == BATCH:
                rows.append(see(waiting, backbone))
                waiting = []
        scenes.append(shown[:N_FRAMES] + shown[-1:] * (N_FRAMES - len(shown)))
    if waiting:
        rows.append(see(waiting, backbone))
    return np.concatenate(rows), np.array(scenes)


def _background(path, start_s, end_s):
    """What stands still in a film: the median of a few frames, small and smoothed."""
    rate_hz = min(1 / FRAME_S, _N_BACKGROUND / max(end_s - start_s, FRAME_S))
    return np.median([_small(image) for _, image in video_io.frames(path, rate_hz, start_s, end_s)], axis=0)


def focus(image, background):
    """The square around the largest thing that moves: a bird in a film by a camera that stands still is a few pixels of it.

    Args:
        image: (height, width, 3) uint8 RGB.
        background: (120, 160, 3), what stands still.

    Returns:
        (side, side, 3) uint8 RGB; the whole picture where nothing moves, or nearly all (the camera does).
    """
    import cv2

    moves = (np.abs(_small(image) - background).max(axis=2) > _MOVES).astype(np.uint8)
    moves = cv2.morphologyEx(moves, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    n, _, found, _ = cv2.connectedComponentsWithStats(moves)
    if n < 2 or moves.mean() > _MOST_MOVING or found[1:, cv2.CC_STAT_AREA].max() < _LEAST_AREA:
        return image
    x, y, width, height, _ = found[1 + found[1:, cv2.CC_STAT_AREA].argmax()]
    across, down = image.shape[1] / _SMALL[0], image.shape[0] / _SMALL[1]
    side = int(np.clip(_AROUND * max(width * across, height * down), min(_LEAST_SIDE, *image.shape[:2]), min(image.shape[:2])))
    left = int(np.clip((x + width / 2) * across - side / 2, 0, image.shape[1] - side))
    top = int(np.clip((y + height / 2) * down - side / 2, 0, image.shape[0] - side))
    return image[top : top + side, left : left + side]


def _small(image):
    import cv2

    return cv2.GaussianBlur(cv2.resize(image, _SMALL), (5, 5), 0).astype(np.int16)
