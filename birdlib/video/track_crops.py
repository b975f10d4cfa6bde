"""The best pictures of one bird while it is followed: few, spread over time, whatever the length of the film."""

from pathlib import Path

import numpy as np

from birdlib import runtime

_MARGIN = 0.1  # of the box's longer side, added on each side
_LONGEST_PX = 320  # of a crop's sides; networks look at 224
_SHARP_PX = 96  # to which a crop is scaled before its sharpness is measured: it must not depend on the size
_SHARP = 200.0  # variance of the Laplacian that counts half
_LARGE_PX = 224  # a crop as large as networks want it
_CUT_OFF = 0.5  # what a bird is worth that the edge of the picture cuts off


def crop(image, box, margin=_MARGIN, longest_px=_LONGEST_PX):
    """Cut a bird out of a picture.

    Args:
        image: (height, width, 3) uint8.
        box: x, y, width, height in pixels.
        margin: share of the box's longer side that is added on each side, as far as the picture goes.
        longest_px: a larger crop is scaled down to it.

    Returns:
        (height, width, 3) uint8, at least one pixel; a copy, which does not hold the picture in memory.
    """
    import cv2

    x, y, width, height = (float(value) for value in box[:4])
    border = margin * max(width, height)
    left, top = (int(max(0, np.floor(value - border))) for value in (x, y))
    left, top = min(left, image.shape[1] - 1), min(top, image.shape[0] - 1)
    right, bottom = int(np.ceil(x + width + border)), int(np.ceil(y + height + border))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = longest_px / max(part.shape[:2])
    if scale >= 1:
        return part.copy()
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)


def quality(cut, box, image_size, hidden=0.0):
    """How much a crop shows of a bird: sharp, large, whole, and by itself.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
    comparative study", 2000), taken at one size so that it does not stand for the size.

    Args:
        cut: (height, width, 3) uint8, the crop.
        box: x, y, width, height in pixels.
        image_size: (height, width) of the picture.
        hidden: share of the box that other boxes cover.

    Returns:
        float in [0, 1).
    """
    import cv2

    grey = cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)
    scale = _SHARP_PX / max(grey.shape)
    size = (max(3, round(grey.shape[1] * scale)), max(3, round(grey.shape[0] * scale)))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    variance = cv2.Laplacian(grey, cv2.CV_32F).var()
    sharp = variance / (variance + _SHARP)
    large = min(1.0, np.sqrt(box[2] * box[3]) / _LARGE_PX)
    whole = _CUT_OFF if touches_edge(box, image_size) else 1.0
    return float(sharp * large * whole * (1.0 - hidden))


def touches_edge(box, image_size, within=0.01):
    """Whether a box ends at the edge of the picture, or ``within`` this share of its size."""
    height, width = image_size
    x, y, box_width, box_height = box[:4]
    return bool(
        x <= within * width
        or y <= within * height
        or x + box_width >= (1 - within) * width
        or y + box_height >= (1 - within) * height
    )


class Best:
    """At most ``2 * n_crops`` crops of a track that goes on: the best of each of equal spans, which grow with it."""

    def __init__(self, n_crops):
        self.n_crops, self.span_s, self.kept = n_crops, 0.0, {}  # number of the span: (quality, time_s, crop)

    def offer(self, time_s, cut, worth):
        """Keep a crop if it is the best of its span.

        Args:
            time_s: not before the one offered last.
            cut: (height, width, 3) uint8.
            worth: its ``quality``.
        """
        if not self.kept:
            self.first_s = time_s
        self._keep(time_s, cut, worth)
        while len(self.kept) > 2 * self.n_crops:
            last_s = max(kept[1] for kept in self.kept.values())
            self.span_s = 2 * self.span_s or (last_s - self.first_s) / self.n_crops
            kept, self.kept = list(self.kept.values()), {}
            for worth, time_s, cut in kept:
                self._keep(time_s, cut, worth)

    def _keep(self, time_s, cut, worth):
        span = int((time_s - self.first_s) / self.span_s) if self.span_s else time_s
        if span not in self.kept or worth > self.kept[span][0]:
            self.kept[span] = (worth, time_s, cut)

    def chosen(self):
        """The best of each of ``n_crops`` parts of the track, best first: list of (quality, time_s, crop)."""
        kept = sorted(self.kept.values(), key=lambda one: one[1])
        parts = np.array_split(np.arange(len(kept)), min(self.n_crops, len(kept)))
        best = [max((kept[index] for index in part), key=lambda one: one[0]) for part in parts]
        return sorted(best, key=lambda one: (-one[0], one[1]))


def write(chosen, folder, name):
    """Write crops as JPEG.

    Args:
        chosen: list of (quality, time_s, crop), as ``Best.chosen`` gives it.
        folder: of the stage.
        name: of the track: a path below ``folder``, to which a number is added.

    Returns:
        list of (time_s, path, quality), the path relative to ``folder``.

    Raises:
        runtime.FullDiskError: if the disk is full.
    """
    import cv2

    rows = []
    for number, (worth, time_s, cut) in enumerate(chosen, start=1):
        path = f"{name}_{number}.jpg"
        _, data = cv2.imencode(".jpg", cut[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        with runtime.replacing(Path(folder) / path) as temporary:
            temporary.write_bytes(data.tobytes())
        rows.append((time_s, path, worth))
    return rows
