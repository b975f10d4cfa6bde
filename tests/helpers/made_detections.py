"""Detections of birds in a film, rectangles of two colours, and the tracks of them."""

import numpy as np

from birdlib.video import tracking

RATE_HZ = 5.0
WIDTH, HEIGHT = 320, 240
RED, BLUE = (200, 60, 50), (60, 80, 210)


def picture(birds):
    """A grey picture with a rectangle for each (x, y, width, height, colour)."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for x, y, width, height, colour in birds:
        image[max(0, int(y)) : int(y + height), max(0, int(x)) : int(x + width)] = colour
    return image


def film(*paths, score=0.9):
    """Detections of birds; a path gives the bird (x, y, width, height, colour) of each time, or None."""
    for k in range(max(len(path) for path in paths)):
        birds = [path[k] for path in paths if k < len(path) and path[k] is not None]
        boxes = np.array([[*bird[:4], score] for bird in birds], np.float32).reshape(-1, 5)
        yield k / RATE_HZ, picture(birds), boxes


def perched(n, x=100, y=100, size=40, colour=RED):
    return [(x + k % 2, y, size, size, colour) for k in range(n)]


def follow(detections, folder, **parameters):
    """(tracks, crops)."""
    return tracking.follow(detections, "film", folder, rate_hz=RATE_HZ, **parameters)[:2]


def n_tracks(detections, folder, **parameters):
    return follow(detections, folder, **parameters)[0]["track"].nunique()
