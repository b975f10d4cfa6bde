import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from birdlib import runtime
from birdlib.video import images


def picture(width=48, height=32):
    """Smooth colours, red rising from left to right, green from top to bottom."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([red, green, 255 - red]).astype(np.uint8)


def save(path, image, mode="RGB", **options):
    Image.fromarray(image).convert(mode).save(path, **options)
    return path


def largest_difference(image, expected):
    assert image.shape == expected.shape and image.dtype == np.uint8
    return np.abs(image.astype(int) - expected).max()


@pytest.mark.parametrize(
    ("name", "mode", "options", "tolerance"),
    [
        ("a.png", "RGB", {}, 0),
        ("a.bmp", "RGB", {}, 0),
        ("a.tiff", "RGB", {"compression": "tiff_lzw"}, 0),
        ("a.webp", "RGB", {"lossless": True}, 0),
        ("a.jpg", "RGB", {"quality": 95, "subsampling": 0}, 6),
        ("progressive.jpg", "RGB", {"quality": 95, "subsampling": 0, "progressive": True}, 6),
        ("inks.jpg", "CMYK", {"quality": 95, "subsampling": 0}, 8),
        ("pájaro 鸟.PNG", "RGB", {}, 0),
        ("misnamed.txt", "RGB", {"format": "PNG"}, 0),
    ],
)
def test_colours_are_rgb(tmp_path, name, mode, options, tolerance):
    path = save(tmp_path / name, picture(), mode, **options)
    assert largest_difference(images.read_image(str(path)), picture()) <= tolerance


def test_cmyk_is_inverted_with_or_without_adobes_marker(tmp_path):
    """Pillow writes CMYK as Adobe does: a marker APP14, and 255 for no ink."""
    path = save(tmp_path / "inks.jpg", picture(), "CMYK", quality=95, subsampling=0)
    data = path.read_bytes()
    at = data.index(b"\xff\xee")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    assert data[at + 4 : at + 9] == b"Adobe"
    path.write_bytes(data[:at] + data[at + 2 + length :])
    assert largest_difference(images.read_image(path), picture()) <= 8


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_grey_has_three_equal_channels(tmp_path, name):
    grey = picture()[..., 0]
    image = images.read_image(save(tmp_path / name, grey, "L"))
    assert largest_difference(image, np.dstack([grey] * 3)) <= (0 if name == "a.png" else 4)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [(0,), (0, 1, 2)])
def test_16_bits_are_scaled_to_8(tmp_path, suffix, channels):
    """65,535 = 257 * 255, so the levels 0, 257, 514 ... 65,535 are 0, 1, 2 ... 255."""
    image = picture()[..., channels]
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), image[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(images.read_image(path), np.broadcast_to(image, (32, 48, 3)))


def test_transparency_is_ignored(tmp_path):
    transparent = np.dstack([picture(), np.zeros((32, 48), np.uint8)])
    assert np.array_equal(images.read_image(save(tmp_path / "a.png", transparent, "RGBA")), picture())


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, name, orientation):
    """The orientation is the side of the first row and column of the file: 6 is right and top."""
    upright = picture()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(
        tmp_path / name, np.ascontiguousarray(stored), exif=exif, **({"quality": 95} if name == "a.jpg" else {})
    )
    assert largest_difference(images.read_image(path), upright) <= (0 if name == "a.png" else 24)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {}), ("a.jpg", {"progressive": True}), ("a.png", {}), ("a.webp", {}), ("a.tiff", {}), ("a.bmp", {})],
)
def test_truncated_files_raise_an_error(tmp_path, name, options):
    whole = save(tmp_path / name, picture(), **options).read_bytes()
    path = tmp_path / "half"
    for n_bytes in [*range(1, len(whole), 41), len(whole) - 20]:
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(images.ImageError):
            images.read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\r\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"the quick brown fox", "no picture"),
        (bytes(4096), "no picture"),
    ],
)
def test_unreadable_files_raise_an_error_with_path_and_reason(tmp_path, content, reason, capfd):
    path = tmp_path / "robin.jpg"
    path.write_bytes(content)
    with pytest.raises(images.ImageError, match=reason) as caught:
        images.read_image(path)
    import pickle

    error = caught.value
    assert isinstance(error, runtime.BirdlibError) and error.path == str(path) and str(error).startswith(str(path))
    assert pickle.loads(pickle.dumps(error)).reason == error.reason
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("name", "share"), [("a.jpg", 0.5), ("a.jpg", 0.95), ("a.png", 0.3), ("a.png", 0.6)])
def test_truncated_downloads_print_nothing(tmp_path, name, share, capfd):
    path = save(tmp_path / name, picture())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(images.ImageError, match="truncated"):
        images.read_image(path)
    assert capfd.readouterr().err == ""


def test_a_changed_byte_in_a_png_raises_an_error(tmp_path):
    path = save(tmp_path / "a.png", picture())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(images.ImageError):
        images.read_image(path)


@pytest.mark.parametrize("size", [(11_000, 11_000), (40_000, 40_000)])
def test_too_large_images_are_refused_before_decoding(tmp_path, size):
    """A file of some hundred bytes may claim gigabytes."""
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    )
    with pytest.raises(images.ImageError, match="more than 120,000,000 pixels"):
        images.read_image(path)


def test_missing_files_and_folders_raise_an_error(tmp_path):
    for path in (tmp_path / "no.jpg", tmp_path):
        with pytest.raises(images.ImageError, match="could not be opened"):
            images.read_image(path)
