"""Features of films and photos: ResNet50 features of the moving part, and small pictures of the whole.

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
PIXELS = 64  # of a side, for networks over time; ResNet50 takes resnet50.IMAGE_SIZE
BATCH = 16  # pictures at once
_SMALL = (160, 120)  # (width, height) of the pictures in which motion is detected
_N_BACKGROUND = 40  # frames whose median is the background
_MIN_DIFFERENCE = 25  # of 255, of a moving pixel from the background
_MAX_MOVING = 0.4  # share of the picture: beyond, the camera moves
_MIN_AREA = 30  # small pixels
_MARGIN = 1.4  # side of the crop over the longer side of the moving area
_MIN_SIDE = 48  # pixels


@dataclasses.dataclass(frozen=True)
class Backbone:
    """ResNet50, frozen."""

    network: Any  # keras.Model, (batch, 224, 224, 3) RGB in [0, 255] → (batch, 2048)
    key: str  # digest of all that changes the features of a picture
    weights: dict  # for the receipt


def load_backbone(weights_dir=""):
    """ResNet50 with its weights, found or fetched by ``weights.fetch``, whose errors it raises."""
    import keras

    source = weights.fetch("resnet50", weights_dir)
    inputs = keras.Input((resnet50.IMAGE_SIZE, resnet50.IMAGE_SIZE, 3))
    bgr = keras.ops.flip(inputs - np.array(resnet50.MEANS_RGB, np.float32), axis=-1)
    network = keras.Model(inputs, resnet50.load(source)(bgr))
    key = runtime.digest({"sha256": source.sha256, "size": resnet50.IMAGE_SIZE, "recipe": 1})
    return Backbone(network, key, {"resnet50": source.receipt()})


def as_frame(image, size=resnet50.IMAGE_SIZE):
    """A picture of any size as a square (size, size, 3): scaled, not cut, as a bird may be at the edge of a film."""
    import cv2

    is_smaller = max(image.shape[:2]) < size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC if is_smaller else cv2.INTER_AREA)


def extract_pictures(pictures, backbone):
    """The inputs of the video encoders.

    Args:
        pictures: list of (crop, whole picture), each of any size.
        backbone: from ``load_backbone``.

    Returns:
        (pictures, 2048 + 64 * 64 * 3) float32: features of the crop, pixels of the whole.
    """
    crops = np.stack([as_frame(crop) for crop, _ in pictures]).astype(np.float32)
    features = backbone.network.predict(crops, batch_size=BATCH, verbose=0)
    pixels = np.stack([as_frame(whole, PIXELS).ravel() for _, whole in pictures])
    return np.hstack([features, pixels]).astype(np.float32)


def extract_film(path, times_s, backbone):
    """The frames of a film's scenes; each distinct picture is computed once, however many scenes it is in.

    Args:
        times_s: (scenes, 2), start and end; a scene that ends sooner repeats its last picture.
        backbone: from ``load_backbone``.

    Returns:
        (frames, numbers): rows of ``extract_pictures`` of each picture; the numbers of the pictures of each scene, (scenes, 8).
    """
    known, scenes, rows, waiting = {}, [], [], []
    background = _background(path, times_s[0][0], times_s[-1][1])
    for start_s, end_s in times_s:
        numbers = []
        for _, image in video_io.frames(path, 1 / FRAME_S, start_s, end_s):
            content = hash(image.tobytes())
            if content not in known:
                waiting.append((crop_motion(image, background), image))
            numbers.append(known.setdefault(content, len(known)))
            if len(waiting) == BATCH:
                rows.append(extract_pictures(waiting, backbone))
                waiting = []
        scenes.append(numbers[:N_FRAMES] + numbers[-1:] * (N_FRAMES - len(numbers)))
    if waiting:
        rows.append(extract_pictures(waiting, backbone))
    return np.concatenate(rows), np.array(scenes)


def _background(path, start_s, end_s):
    """The background of a film: the median of a few frames, small and smoothed."""
    rate_hz = min(1 / FRAME_S, _N_BACKGROUND / max(end_s - start_s, FRAME_S))
    return np.median([_small(image) for _, image in video_io.frames(path, rate_hz, start_s, end_s)], axis=0)


def crop_motion(image, background):
    """The square around the largest moving area: with a fixed camera, a bird is a few pixels of the picture.

    ``background`` is (120, 160, 3). The whole picture is returned where nothing moves, or nearly everything (the camera moves).
    """
    import cv2

    is_moving = (np.abs(_small(image) - background).max(axis=2) > _MIN_DIFFERENCE).astype(np.uint8)
    is_moving = cv2.morphologyEx(is_moving, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    n, _, areas, _ = cv2.connectedComponentsWithStats(is_moving)
    if n < 2 or is_moving.mean() > _MAX_MOVING or areas[1:, cv2.CC_STAT_AREA].max() < _MIN_AREA:
        return image
    x, y, width, height, _ = areas[1 + areas[1:, cv2.CC_STAT_AREA].argmax()]
    across, down = image.shape[1] / _SMALL[0], image.shape[0] / _SMALL[1]
    side = int(np.clip(_MARGIN * max(width * across, height * down), min(_MIN_SIDE, *image.shape[:2]), min(image.shape[:2])))
    left = int(np.clip((x + width / 2) * across - side / 2, 0, image.shape[1] - side))
    top = int(np.clip((y + height / 2) * down - side / 2, 0, image.shape[0] - side))
    return image[top : top + side, left : left + side]


def _small(image):
    import cv2

    return cv2.GaussianBlur(cv2.resize(image, _SMALL), (5, 5), 0).astype(np.int16)
