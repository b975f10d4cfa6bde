"""Images: (height, width, 3) uint8, RGB and upright. ``read_image`` is the only place with OpenCV's BGR.

Pillow tells whether a file is whole, OpenCV decodes it; kinds that OpenCV does not know or does not turn upright are decoded by Pillow.
"""

import contextlib
import functools
import io
import re
import struct
import warnings
import zlib

import numpy as np

from birdlib import runtime
from birdlib.audio import media_files

MAX_PIXELS = 120_000_000  # more than cameras for birds have; 360 MB as uint8
_MAX_BYTES = 2**31  # of a file: no picture has more
_ONLY_PILLOW = ("AVIF", "HEIF", "WEBP", "float")  # OpenCV ignores the rotation in the first two, and before 4.13 in WebP
_LENIENT = ("JPEG2000",)  # Pillow reads it although a part is missing
_MAX_JUNK = 65_536  # bytes before a JPEG
_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FRAMES = set(range(0xC0, 0xC4))  # markers of a JPEG that has Huffman codes
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_REMEDY = "save it again as JPEG or PNG"


class ImageError(runtime.FileError):
    """An image that cannot be used."""


def read_image(path):
    """Read an image as RGB: rotated by its EXIF orientation, grey and CMYK as RGB, 16 bits scaled to 8, floats by their range.

    Of an animation or a file of several pages it is the first image. Transparency is ignored: the colour that the file has there is kept.
    CMYK is read as Adobe writes it, inverted, with or without Adobe's marker, as browsers do. A JPEG without its end marker or with bytes
    before its beginning and a PNG with damaged texts are read, for their pixels are all there.

    Args:
        path: jpg, png, webp, heic, avif, tiff, bmp, gif, or another kind that Pillow reads; the suffix does not matter.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: the file is missing, empty, no image, truncated, or has more than ``MAX_PIXELS``. A JPEG, which has
            no checksum, may pass with bytes changed in its middle.
    """
    data = _bytes_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow: unusual tags, and sizes up to MAX_PIXELS
        try:
            image = _decode(path, data)
        except ImageError:
            raise
        except Exception as error:  # of the decoders: whatever damage makes them raise
            raise ImageError(path, f"cannot be decoded, truncated or damaged ({_text(error)}): {_REMEDY}") from error
    return np.ascontiguousarray(image)


def is_image(file):
    """Whether the content of an open file is that of a picture that Pillow knows."""
    from PIL import Image

    register_heif()
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(io.BytesIO(file.read(_MAX_JUNK)))
    except Image.DecompressionBombError:
        return True
    except Exception:  # of one of Pillow's many readers, which are tried in turn
        return False
    return True


def _bytes_of(path):
    with media_files.open_file(path, ImageError, "a picture") as file:
        try:
            if (n_bytes := file.seek(0, io.SEEK_END)) > _MAX_BYTES:
                raise ImageError(path, f"has {n_bytes / 1e9:.1f} GB, more than a picture has: {_REMEDY}")
            file.seek(0)
            return file.read()
        except (OSError, MemoryError) as error:
            raise ImageError(path, f"could not be read ({_text(error)}): copy it again") from error


def _decode(path, data):
    """(height, width, 3) uint8, of the file's bytes or of what is left of them without their flaws."""
    if (image := _rare_tiff(path, data)) is not None:
        return image
    first_error = None
    for candidate in _candidates(data):
        try:
            kind = _require_whole(path, candidate)
        except ImageError as error:
            first_error = first_error or error
            continue
        image = None if kind in _ONLY_PILLOW else _by_opencv(candidate)
        if image is None and kind in _LENIENT:
            raise ImageError(path, f"is truncated or damaged: copy it again, or {_REMEDY}")
        return _by_pillow(candidate) if image is None else image
    raise first_error


def _require_whole(path, data):
    """Pillow's name of the kind, or "float", checked with Pillow: OpenCV (4.10, say) fills with grey what a file lacks, and its messages name no file."""
    from PIL import Image, UnidentifiedImageError

    register_heif()
    too_large = f"more than {MAX_PIXELS:,} pixels: scale it down"
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(path, f"has {width} x {height}, {too_large}")
            image.draft("L", (1, 1))  # an eighth of a JPEG's width: it only matters that its end is reached
            image.load()
            return "float" if image.mode == "F" else image.format
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(path, f"is no picture, or of a kind that cannot be read: {_REMEDY}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"has {too_large}") from error
    except Exception as error:  # of one of Pillow's many readers
        raise ImageError(path, f"is truncated or damaged ({_text(error)}): copy it again, or {_REMEDY}") from error


def _by_opencv(data, flags=None):
    """(height, width, 3) uint8 RGB; None where OpenCV cannot decode it."""
    import cv2

    with contextlib.suppress(cv2.error):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if flags is None else flags)
        return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return None


def _by_pillow(data):
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        with contextlib.suppress(Exception):  # of damaged EXIF, without which the image is as good
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("F", "I")):
            values = np.asarray(image)
            return np.dstack([values.astype(np.uint16) // 257 if "16" in image.mode else _scaled(values)] * 3).astype(np.uint8)
        return np.asarray(image.convert("RGB"))


def _rare_tiff(path, data):
    """A TIFF of three floats a pixel, which Pillow does not know; else None."""
    from PIL import TiffImagePlugin

    if not data.startswith(_TIFF):
        return None
    import cv2

    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2] == 43 else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        width, height, is_float = tags[256], tags[257], tags.get(339, (1,))[0] == 3 and len(tags.get(258, ())) == 3
    except Exception:  # a damaged directory, which is reported with its reason later
        return None
    if not is_float or width * height > MAX_PIXELS:
        return None
    image = _by_opencv(data, cv2.IMREAD_UNCHANGED)
    return None if image is None or image.dtype.kind != "f" else _scaled(image)


def _scaled(values):
    """Numbers of any range as uint8, the least as 0 and the greatest as 255; NaN and infinite ones as 0."""
    values = values.astype(np.float64)
    is_finite = np.isfinite(values)
    low, high = (values[is_finite].min(), values[is_finite].max()) if is_finite.any() else (0.0, 0.0)
    scaled = np.where(is_finite, values - low, 0.0) * (255.0 / max(high - low, np.finfo(float).tiny * 1e3))
    return np.round(scaled).astype(np.uint8)


@functools.cache
def register_heif():
    """Let Pillow open HEIC, the photos of phones, where pillow-heif is installed."""
    with contextlib.suppress(ImportError):  # without it, HEIC is of a kind that cannot be read
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)


def _text(error):
    return str(error) or type(error).__name__


# Flaws that leave all pixels


def _candidates(data):
    """The bytes of a file, then what is left without each flaw that leaves all pixels."""
    yield data
    if data.startswith(_PNG):
        yield _without_texts(data)
        return
    start = data.find(b"\xff\xd8\xff", 0, _MAX_JUNK)
    if start > 0:
        yield data[start:]
    if start >= 0 and (ended := _with_end(data[start:])):
        yield ended


def _without_texts(data):
    """A PNG without the chunks that hold no pixels; transparency and orientation stay."""
    parts, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        chunk = data[at : at + 12 + length]
        is_sound = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if kind[:1].isupper() or (kind in (b"tRNS", b"eXIf") and is_sound):
            parts.append(chunk)
        at += 12 + length
    return b"".join(parts)


def _with_end(data):
    """A JPEG with the end marker it lacks; None where more is lacking.

    Where all pixels are there, neither the marker nor other bytes behind them change them.
    """
    data = data.removesuffix(b"\xff")
    if data.endswith(b"\xff\xd9") or not _has_all_scans(data):
        return None
    try:
        images = [_by_pillow(data + more + b"\xff\xd9") for more in (b"", b"\x5a" * 512, b"\xa5\x33" * 256, bytes(512))]
    except Exception:  # of Pillow: more than the marker is lacking
        return None
    return data + b"\xff\xd9" if all(np.array_equal(images[0], image) for image in images[1:]) else None


def _has_all_scans(data):
    """Whether a JPEG holds every coefficient of every component to its last bit: a progressive one may be cut between two scans."""
    at, n_components, done = 2, 0, set()
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker in _FRAMES and len(segment) > 5:
            n_components = segment[5]
        elif marker == 0xDA and len(segment) > 3:
            first, last, bits = segment[-3:]
            if not bits & 15:
                done |= {(component, k) for component in segment[1:-3:2] for k in range(first, last + 1)}
            after = _MARKER.search(data, at)
            at = after.start() if after else len(data)
    return n_components > 0 and len(done) == 64 * n_components
