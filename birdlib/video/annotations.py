"""Films with a numbered box around every bird, in one steady colour for each individual."""

import colorsys

import numpy as np

from birdlib import runtime
from birdlib.video import io as video_io
from birdlib.video import writer

MAX_SIDE = 1280  # pixels; larger films are scaled down
SAMPLE_RATE_HZ = 48_000  # every browser plays it
_MAX_GAP_S = 1.0  # between two detections of a track that the box is led across
UNKNOWN = -1  # the label of a bird that is not told from others
_GREY = (160, 160, 160)


def colour(label):
    """The colour of an individual, (red, green, blue) in 0..255: it depends on nothing but the label.

    Numbers that follow each other lie a golden angle apart on the circle of hues; ``UNKNOWN`` is grey.
    """
    if label == UNKNOWN:
        return _GREY
    number = int(runtime.digest(label)[:8], 16) if isinstance(label, str) else int(label)
    hue = (number * 0.5 * (5**0.5 - 1)) % 1
    return tuple(round(255 * share) for share in colorsys.hsv_to_rgb(hue, 0.9, 1.0))


def draw(image, boxes, labels):
    """Draw boxes with their labels.

    Args:
        image: (height, width, 3) uint8, RGB; it is left as it is.
        boxes: (n, 4 or more): x, y, width, height in pixels.
        labels: n numbers or words.

    Returns:
        (height, width, 3) uint8.
    """
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
        y = int(max(first[1], height + below))  # the line that the text stands on is ``below`` above it
        cv2.rectangle(image, (x, y - height - below), (x + width, y), colour(label), -1)
        ink = (0, 0, 0) if np.dot(colour(label), (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
        cv2.putText(image, text, (x, y - below // 2), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
    return image


def write_video(path, frames_with_boxes, rate_hz, sound=()):
    """Write a film with boxes that plays in a browser, of any length in little memory; whole or not at all.

    Args:
        path: of the file, ``.mp4``.
        frames_with_boxes: iterable of (image, boxes, labels), see ``draw``; all images of one size.
        rate_hz: pictures per second.
        sound: iterable of (samples,) float32 at ``SAMPLE_RATE_HZ``, e.g. ``video.soundtrack(film, SAMPLE_RATE_HZ)``.

    Raises:
        BirdlibError, FullDiskError: as ``recorder.write``.
    """
    drawn = (draw(*_scaled(image, boxes), labels) for image, boxes, labels in frames_with_boxes)
    writer.write(
        path, drawn, rate_hz=rate_hz, sound=sound, sample_rate_hz=SAMPLE_RATE_HZ, options={"movflags": "faststart"}
    )


def annotate_film(source, path, tracks, labels, rate_hz=12.5):
    """Write a film anew with a box around every bird that has a track, and its sound.

    Args:
        source: the film.
        path: of the new one, ``.mp4``.
        tracks: a row a detection of this film, with ``track, time_s, x, y, width, height``. Between two of a track that
            are at most ``_MAX_GAP_S`` apart, its box moves evenly.
        labels: track → number or word, e.g. which individual it is; tracks without are not drawn.
        rate_hz: pictures per second.

    Raises:
        video.VideoError: as ``video.frames``.
        BirdlibError, FullDiskError: as ``recorder.write``.
    """
    paths = {track: rows.sort_values("time_s") for track, rows in tracks.groupby("track") if track in labels}
    sides = ["x", "y", "width", "height"]
    paths = {track: (rows.time_s.to_numpy(), rows[sides].to_numpy(float)) for track, rows in paths.items()}

    def frames_with_boxes():
        for time_s, image in video_io.frames(source, rate_hz):
            here = {track: box_at(time_s, *rows, 0.5 / rate_hz) for track, rows in paths.items()}
            here = {track: box for track, box in here.items() if box is not None}
            yield image, np.reshape(list(here.values()), (-1, 4)), [labels[track] for track in here]

    write_video(path, frames_with_boxes(), rate_hz, video_io.soundtrack(source, SAMPLE_RATE_HZ))


def box_at(time_s, times_s, boxes, tolerance_s=0.0):
    """Where a track is at a time.

    Args:
        time_s: seconds.
        times_s: (n,) of its detections, ascending.
        boxes: (n, 4).
        tolerance_s: a detection counts for so long before and after.

    Returns:
        (4,) float64, or None where it is not.
    """
    after = int(np.searchsorted(times_s, time_s))
    if 0 < after < len(times_s) and times_s[after] - times_s[after - 1] <= _MAX_GAP_S:
        share = (time_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
        return (1 - share) * boxes[after - 1] + share * boxes[after]
    near = [k for k in (after - 1, after) if 0 <= k < len(times_s) and abs(times_s[k] - time_s) <= tolerance_s + 1e-6]
    return boxes[near[0]] if near else None


def _scaled(image, boxes):
    """Picture and boxes at most ``MAX_SIDE`` large; H.264 in this form wants even sides, of at least two pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]
    if size == [width, height]:
        return image, boxes
    boxes = np.asarray(boxes, float)[:, :4] * np.tile([size[0] / width, size[1] / height], 2)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), boxes
