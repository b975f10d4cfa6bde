"""The best crops of a track: few, spread over time, whatever the length of the film."""

from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.video import boxes

_MARGIN = 0.1  # of the box's longer side, added on each side
_MAX_SIDE = 320  # pixels of a crop; networks take 224
_SHARPNESS_SIDE = 96  # pixels at which sharpness is measured, which must not depend on the size of the crop
_HALF_SHARP = 200.0  # the variance of the Laplacian that counts half
_FULL_SIDE = 224  # pixels, from which on a crop is no better for being larger
_EDGE_FACTOR = 0.5  # of the quality of a bird that the edge of the image truncates


def crop(image, box, margin=_MARGIN, max_side=_MAX_SIDE):
    """Cut a bird out of an image.

    Args:
        image: (height, width, 3) uint8.
        box: x, y, width, height in pixels.
        margin: share of the box's longer side that is added on each side, within the image.
        max_side: in pixels; a larger crop is scaled down to it.

    Returns:
        (height, width, 3) uint8, at least one pixel; a copy, which does not hold the image in memory.
    """
    import cv2

    x, y, width, height = (float(value) for value in box[:4])
    border = margin * max(width, height)
    left, top = (int(max(0, np.floor(value - border))) for value in (x, y))
    left, top = min(left, image.shape[1] - 1), min(top, image.shape[0] - 1)
    right, bottom = int(np.ceil(x + width + border)), int(np.ceil(y + height + border))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = max_side / max(part.shape[:2])
    if scale >= 1:
        return part.copy()
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)


def quality(crop, box, image_size, occlusion=0.0):
    """How well a crop shows a bird: sharp, large, whole and alone.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
    comparative study", 2000), measured at one size.

    Args:
        crop: (height, width, 3) uint8.
        box: x, y, width, height in pixels.
        image_size: (height, width) of the image.
        occlusion: share of the box that other boxes cover.

    Returns:
        float in [0, 1).
    """
    import cv2

    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    scale = _SHARPNESS_SIDE / max(grey.shape)
    size = (max(3, round(grey.shape[1] * scale)), max(3, round(grey.shape[0] * scale)))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    variance = cv2.Laplacian(grey, cv2.CV_32F).var()
    sharp = variance / (variance + _HALF_SHARP)
    large = min(1.0, np.sqrt(box[2] * box[3]) / _FULL_SIDE)
    whole = _EDGE_FACTOR if boxes.touches_edge(box, image_size) else 1.0
    return float(sharp * large * whole * (1.0 - occlusion))


class BestCrops:
    """At most ``2 * n_crops`` crops of a growing track: the best of each of equal time spans, which grow with it."""

    def __init__(self, n_crops):
        self.n_crops, self.span_s, self.kept = n_crops, 0.0, {}  # index of the span: (quality, time_s, crop)

    def add(self, time_s, crop, quality):
        """Keep a (height, width, 3) uint8 crop if it is the best of its span; times must not descend."""
        if not self.kept:
            self.first_s = time_s
        self._keep(time_s, crop, quality)
        while len(self.kept) > 2 * self.n_crops:
            last_s = max(kept[1] for kept in self.kept.values())
            self.span_s = 2 * self.span_s or (last_s - self.first_s) / self.n_crops
            kept, self.kept = list(self.kept.values()), {}
            for quality, time_s, crop in kept:
                self._keep(time_s, crop, quality)

    def _keep(self, time_s, crop, quality):
        span = int((time_s - self.first_s) / self.span_s) if self.span_s else time_s
        if span not in self.kept or quality > self.kept[span][0]:
            self.kept[span] = (quality, time_s, crop)

    def select(self, until_s=np.inf):
        """The best of each of ``n_crops`` parts of the track up to a time, best first: list of (quality, time_s, crop); the first, if all are later."""
        kept = sorted(self.kept.values(), key=lambda item: item[1])
        kept = [item for item in kept if item[1] <= until_s] or kept[:1]
        parts = np.array_split(np.arange(len(kept)), min(self.n_crops, len(kept)))
        best = [max((kept[index] for index in part), key=lambda item: item[0]) for part in parts]
        return sorted(best, key=lambda item: (-item[0], item[1]))


def write(selected, folder, name):
    """Write the crops of ``BestCrops.select`` as JPEG to ``folder / name``, to which a number is added.

    Returns:
        list of (time_s, path, quality), the path relative to ``folder``.

    Raises:
        runtime.FullDiskError: if the disk is full.
    """
    import cv2

    rows = []
    for number, (quality, time_s, crop) in enumerate(selected, start=1):
        path = f"{name}_{number}.jpg"
        _, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        with runtime.replacing(Path(folder) / path) as temporary:
            temporary.write_bytes(data.tobytes())
        rows.append((time_s, path, quality))
    return rows
