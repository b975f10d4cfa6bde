"""A picture of smooth colours, and files of it."""

import numpy as np
from PIL import Image


def picture(width=48, height=32):
    """Smooth colours, red rising from left to right, green from top to bottom."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([red, green, 255 - red]).astype(np.uint8)


def save(path, image, mode="RGB", **options):
    Image.fromarray(image).convert(mode).save(path, **options)
    return path
