"""Images: (height, width, 3) uint8, RGB and upright. ``read_image`` is the only place with OpenCV's BGR."""

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np

from birdlib import runtime

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}  # of files that are taken for photos
MAX_PIXELS = 120_000_000  # more than cameras for birds have; 360 MB as uint8


class ImageError(runtime.FileError):
    """An image that cannot be used."""


def read_image(path):
    """Read an image as RGB: rotated by its EXIF orientation, grey and CMYK as RGB, 16 bits scaled to 8.

    Transparency is ignored: the colour that the file has there is kept. CMYK is read as Adobe writes it, inverted, with
    or without Adobe's marker, as browsers do.

    Args:
        path: jpg, png, webp, tiff, bmp, or another kind that both Pillow and OpenCV read.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: the file is missing, empty, no image, truncated, or has more than ``MAX_PIXELS``. A JPEG, which has
            no checksum, may pass with bytes changed in its middle.
    """
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(path, f"could not be opened ({error.strerror})") from error
    _require_whole(path, data)
    image = None
    with contextlib.suppress(cv2.error):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        reason = "OpenCV cannot decode it, truncated, damaged or of a rare kind: save it again as JPEG or PNG"
        raise ImageError(path, reason)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def is_web_page(head):
    """Whether the first bytes of a file are those of HTML or XML, as of a failed download."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def _require_whole(path, data):
    """Check with Pillow first: OpenCV (4.10, say) fills with grey what a file lacks, and its messages name no file."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(path, "is empty (0 bytes)")
    if is_web_page(data[:256]):
        raise ImageError(path, "is a web page, not a picture (a failed download?)")
    too_large = f"more than {MAX_PIXELS:,} pixels: scale it down"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual tags, and of sizes up to MAX_PIXELS
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(path, f"has {width} x {height}, {too_large}")
                image.draft("L", (1, 1))  # an eighth of a JPEG's width: it only matters that its end is reached
                image.load()
    except UnidentifiedImageError as error:
        raise ImageError(path, "is no picture, or of a kind that cannot be read: save it as JPEG or PNG") from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"has {too_large}") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:  # of Pillow
        raise ImageError(path, f"is truncated or damaged ({error})") from error
