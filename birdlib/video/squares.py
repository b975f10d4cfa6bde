"""Square pictures for networks. An image is (height, width, 3) uint8 RGB."""

import numpy as np


def as_square(image, size, colour=None):
    """An image scaled into the middle of a square, its proportions kept.

    Args:
        image: of any size.
        colour: of the rest of the square; None for the mean colour of the image.

    Returns:
        (size, size, 3) uint8.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(image, new, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    square = np.empty((size, size, 3), np.uint8)
    square[:] = np.round(image.reshape(-1, 3).mean(axis=0)) if colour is None else colour
    top, left = (size - scaled.shape[0]) // 2, (size - scaled.shape[1]) // 2
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def middle_square(image, size):
    """The middle square of an image of any size, scaled: (size, size, 3) uint8."""
    import cv2

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = image[top : top + side, left : left + side]  # cut first: a thin strip, scaled, would fill the memory
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def around(image, box, margin=0.1):
    """The square of an image around a box, shifted to lie inside the image; where the image is too small, its width or height limits it.

    Args:
        box: x, y, width, height in pixels.
        margin: share of the box's longer side that is added on each side.

    Returns:
        (height, width, 3) uint8, at least one pixel; a view of the image.
    """
    x, y, width, height = (float(value) for value in box[:4])
    side = max(1, round(max(width, height) * (1 + 2 * margin)))
    rows, columns = (
        _span(middle, side, limit) for middle, limit in ((y + height / 2, image.shape[0]), (x + width / 2, image.shape[1]))
    )
    return image[rows, columns]


def _span(middle, side, limit):
    side = min(side, limit)
    first = min(max(0, round(middle - side / 2)), limit - side)
    return slice(first, first + side)
