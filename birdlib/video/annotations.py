"""Annotated films: a labelled box around every bird, in one colour for each individual.

Drawn by OpenCV: ``supervision``'s annotators take colours from a palette by class number, in no fewer lines.
"""

import colorsys

import numpy as np

from birdlib import runtime
from birdlib.video import io as video_io
from birdlib.video import writer

SAMPLE_RATE_HZ = 48_000  # supported by every browser
_MAX_SIDE = 1280  # pixels; larger films are scaled down
_MAX_GAP_S = 1.0  # between two detections of a track that the box is interpolated across
UNKNOWN = -1  # the label of a bird that has no identity
_GREY = (160, 160, 160)


def colour(label):
    """The colour of an individual, (red, green, blue) in 0..255, which depends on the label only.

    Consecutive numbers are a golden angle apart on the circle of hues; ``UNKNOWN`` is grey.
    """
    if label == UNKNOWN:
        return _GREY
    number = int(runtime.digest(label)[:8], 16) if isinstance(label, str) else int(label)
    hue = (number * 0.5 * (5**0.5 - 1)) % 1
    return tuple(round(255 * share) for share in colorsys.hsv_to_rgb(hue, 0.9, 1.0))


def annotate_film(source, path, tracks, labels, rate_hz=12.5):
    """Write a film again with a box around every bird that has a track, and its sound.

    Args:
        source: the film.
        path: of the new one, ``.mp4``.
        tracks: a row a detection of this film, with ``track, time_s, x, y, width, height``; boxes are interpolated
            between detections of a track that are at most ``_MAX_GAP_S`` apart.
        labels: track → number or word, e.g. the individual; tracks without are not drawn.
        rate_hz: images per second.

    Raises:
        VideoError: as ``video.io.frames``.
        BirdlibError, FullDiskError: as ``writer.write``.
    """
    paths = {track: rows.sort_values("time_s") for track, rows in tracks.groupby("track") if track in labels}
    sides = ["x", "y", "width", "height"]
    paths = {track: (rows.time_s.to_numpy(), rows[sides].to_numpy(float)) for track, rows in paths.items()}

    def frames_with_boxes():
        for time_s, image in video_io.frames(source, rate_hz):
            boxes = {track: _box_at(time_s, *rows, 0.5 / rate_hz) for track, rows in paths.items()}
            boxes = {track: box for track, box in boxes.items() if box is not None}
            yield image, np.reshape(list(boxes.values()), (-1, 4)), [labels[track] for track in boxes]

    _write_film(path, frames_with_boxes(), rate_hz, video_io.soundtrack(source, SAMPLE_RATE_HZ))


def _write_film(path, frames_with_boxes, rate_hz, sound=()):
    """Write (image, boxes, labels), see ``_draw``, with sound at ``SAMPLE_RATE_HZ``, in a form that browsers play."""
    drawn = (_draw(*_scale(image, boxes), labels) for image, boxes, labels in frames_with_boxes)
    options = {"movflags": "faststart"}
    writer.write(path, drawn, rate_hz=rate_hz, sound=sound, sample_rate_hz=SAMPLE_RATE_HZ, options=options)


def _draw(image, boxes, labels):
    """A copy of a (height, width, 3) uint8 RGB image with (n, 4) boxes and their labels, numbers or words."""
    import cv2

    image = np.ascontiguousarray(image).copy()
    side = max(image.shape[:2])
    thick, size = max(1, round(side / 400)), max(0.4, side / 1000)
    for box, label in zip(np.asarray(boxes, float), labels, strict=True):
        first, last = np.round(box[:2]).astype(int), np.round(box[:2] + box[2:4]).astype(int)
        cv2.rectangle(image, first.tolist(), last.tolist(), colour(label), thick)
        text = "?" if label == UNKNOWN else str(label)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        x = int(np.clip(first[0], 0, max(0, image.shape[1] - width)))
        y = int(max(first[1], height + below))  # the base line of the text is ``below`` above it
        cv2.rectangle(image, (x, y - height - below), (x + width, y), colour(label), -1)
        ink = (0, 0, 0) if np.dot(colour(label), (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
        cv2.putText(image, text, (x, y - below // 2), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
    return image


def _box_at(time_s, times_s, boxes, tolerance_s=0.0):
    """The interpolated box of a track, (4,) float64, or None where there is none.

    ``times_s`` (n,) ascend, ``boxes`` are (n, 4); a detection counts for ``tolerance_s`` before and after.
    """
    after = int(np.searchsorted(times_s, time_s))
    if 0 < after < len(times_s) and times_s[after] - times_s[after - 1] <= _MAX_GAP_S:
        share = (time_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
        return (1 - share) * boxes[after - 1] + share * boxes[after]
    near = [k for k in (after - 1, after) if 0 <= k < len(times_s) and abs(times_s[k] - time_s) <= tolerance_s + 1e-6]
    return boxes[near[0]] if near else None


def _scale(image, boxes):
    """Scale image and boxes down to ``_MAX_SIDE``; H.264 in this form needs even sides of at least two pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]
    if size == [width, height]:
        return image, boxes
    boxes = np.asarray(boxes, float)[:, :4] * np.tile([size[0] / width, size[1] / height], 2)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), boxes
