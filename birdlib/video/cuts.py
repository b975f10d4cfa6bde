"""Cuts: where a film goes on with another scene, so that positions and tracks before and after have nothing in common.

The colours of an image differ from those of the one before (Zhang, Kankanhalli & Smoliar, "Automatic partitioning of full-motion video",
1993), and so does its layout, nearly everywhere: a pan changes only the layout, a cloud only the colours, a bird close by only a part.
"""

import numpy as np

_SIZE = (32, 18)  # pixels to which images are scaled down
_MIN_COLOUR_DISTANCE = 0.3  # Bhattacharyya distance of the colours of two scenes
_MAX_CORRELATION = 0.4  # of the grey levels of two scenes, place by place
_MIN_CHANGED, _MIN_DIFFERENCE = 0.6, 15  # share of the places with another colour, by so many levels of 256


class Cuts:
    """Numbers the scenes of consecutive images from 0."""

    def __init__(self):
        self._scene, self._before = 0, None

    def add(self, image):
        """The scene of the next (height, width, 3) uint8 RGB image."""
        after = _signature(image)
        if self._before is not None and _is_cut(self._before, after):
            self._scene += 1
        self._before = after
        return self._scene


def _signature(image):
    """((8, 8, 8) share of each CIELAB colour, (height, width, 3) float32 CIELAB)."""
    import cv2

    small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 8, 8], [0, 256, 0, 256, 0, 256])
    return counts / counts.sum(), lab.astype(np.float32)


def _is_cut(before, after):
    import cv2

    (colours, lab), (other_colours, other_lab) = before, after
    if cv2.compareHist(colours, other_colours, cv2.HISTCMP_BHATTACHARYYA) <= _MIN_COLOUR_DISTANCE:
        return False
    changed = np.abs(lab - other_lab).max(axis=2) > _MIN_DIFFERENCE
    grey, other_grey = (part[..., 0] - part[..., 0].mean() for part in (lab, other_lab))
    scale = np.linalg.norm(grey) * np.linalg.norm(other_grey)
    correlation = float((grey * other_grey).sum() / scale) if scale else 0.0
    return bool(changed.mean() >= _MIN_CHANGED and correlation < _MAX_CORRELATION)
