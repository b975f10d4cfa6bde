"""Motion detection before a fixed camera: boxes around what differs from the background, without weights.

The background is a running median of images (Piccardi, "Background subtraction techniques: a review", 2004). Where
something always moves, as a leaf in the wind, the threshold is higher. A bird that sits still for most of ``WINDOW_S``
is background.
"""

import collections
import warnings

import numpy as np

from birdlib.video import io as video_io

RECIPE = 1
_SIDE = 320  # pixels to which images are scaled down
WINDOW_S, RATE_HZ = 60.0, 2.0  # the background is the median of this window, at so many images a second
_MAX_IMAGES = 40  # of the median
_MIN_IMAGES = 3
REFRESH_S = 10.0  # between two backgrounds
_MIN_DIFFERENCE = 18.0  # grey levels, of the strongest colour
_MIN_DEVIATIONS = 4.0  # or so many times the median deviation at the pixel
_JOIN = 9  # pixels: parts about so close are one object
_MIN_AREA = 0.0005  # of the image
_MAX_AREA = 0.4  # with more, the camera or the light has changed


def detect_film(path, rate_hz=5.0, start_s=0.0, end_s=None):
    """Detect what moves in a film of any length in constant memory; arguments as in ``video.io.frames``.

    Yields:
        (time_s, image, boxes), boxes (n, 5) float32 with the contrast as score: 0 at the threshold, .5 at twice as
        much.

    Raises:
        VideoError: as ``video.io.frames``.
    """
    ahead, window = _small_frames(path, start_s, end_s), collections.deque()
    coming, background, made_s = next(ahead, None), None, -np.inf
    for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
        while coming is not None and coming[0] <= time_s + WINDOW_S / 2:
            window.append(coming)
            coming = next(ahead, None)
        if time_s >= made_s + REFRESH_S:
            while len(window) > WINDOW_S * RATE_HZ or (window and window[0][0] < time_s - WINDOW_S):
                window.popleft()
            background, made_s = _background([small for _, small in window]), time_s
        yield time_s, image, _boxes(image, background)


def _small_frames(path, start_s, end_s):
    """The warnings of a film are left to ``detect_film``, which reads it too."""
    frames = video_io.frames(path, RATE_HZ, start_s, end_s)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", video_io.VideoWarning)
            found = next(frames, None)
        if found is None:
            return
        yield found[0], _small(found[1])


def _small(image):
    """(height, width, 3) uint8, at most ``_SIDE`` a side, grain smoothed."""
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (3, 3), 0)


def _background(window):
    """(median, threshold), (height, width, 3) and (height, width) float32; None for too few images."""
    import cv2

    window = [small for small in window if small.shape == window[0].shape]
    if len(window) < _MIN_IMAGES:
        return None
    window = np.stack(window[:: -(-len(window) // _MAX_IMAGES)])
    middle = np.median(window, axis=0).astype(np.float32)
    spread = np.median(np.abs(window - middle), axis=0).max(axis=2).astype(np.float32)
    spread = cv2.dilate(spread, np.ones((5, 5)))  # a leaf's edge moves to its neighbours
    return middle, np.maximum(_MIN_DIFFERENCE, _MIN_DEVIATIONS * spread)


def _boxes(image, background):
    import cv2

    nothing = np.zeros((0, 5), np.float32)
    if background is None:
        return nothing
    small, (middle, threshold) = _small(image), background
    if small.shape != middle.shape:
        return nothing
    difference = small - middle
    difference = np.abs(difference - np.median(difference, axis=(0, 1))).max(axis=2)  # less a change of light
    contrast = difference / threshold
    moving = cv2.morphologyEx((contrast > 1).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    moving = np.pad(moving, _JOIN)  # else it would grow to the edge of the image
    moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_JOIN, _JOIN)))
    moving = np.ascontiguousarray(moving[_JOIN:-_JOIN, _JOIN:-_JOIN])
    if moving.mean() > _MAX_AREA:
        return nothing
    n, labels, stats, _ = cv2.connectedComponentsWithStats(moving)
    boxes = []
    for k in range(1, n):
        x, y, width, height, area = stats[k]
        if area >= _MIN_AREA * moving.size:
            mean_contrast = float(contrast[labels == k].mean())
            boxes.append((x, y, width, height, max(0.0, 1 - 1 / max(mean_contrast, 1e-6))))
    scale_x, scale_y = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
    return np.array(boxes, np.float32).reshape(-1, 5) * np.float32([scale_x, scale_y, scale_x, scale_y, 1])
