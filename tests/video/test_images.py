"""Images of every kind that people have are read as RGB, upright, with 8 bits."""

import os

import cv2
import numpy as np
import pytest
from made_pictures import picture, save
from PIL import Image

from birdlib.video import images


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


def upright_and_turned(path, **options):
    """A picture with a mark at its upper left, stored a quarter turn anticlockwise with the orientation that says so."""
    upright = np.full((32, 48, 3), 128, np.uint8)
    upright[:12, :12] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, np.ascontiguousarray(np.rot90(upright)), exif=exif.tobytes(), **options)
    return upright


@pytest.mark.parametrize(("name", "kind"), [("a.heic", "HEIF"), ("a.avif", "AVIF"), ("heic named.jpg", "HEIF"), ("a.webp", "WEBP")])
def test_photos_of_phones_are_read_upright(tmp_path, name, kind):
    images.register_heif()
    upright = upright_and_turned(tmp_path / name, format=kind, quality=95)
    image = images.read_image(tmp_path / name)
    assert image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("name", ["a.tga", "a.ppm", "a.jp2", "a.gif", "a.mpo"])
def test_rarer_kinds_are_read(tmp_path, name):
    image = images.read_image(save(tmp_path / name, picture(), "P" if name == "a.gif" else "RGB"))
    assert image.shape == (32, 48, 3) and np.abs(image.astype(int) - picture()).mean() < 20


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_image_of_an_animation_is_read(tmp_path, name):
    first, second = (Image.new("RGB", (48, 32), colour) for colour in ("red", "blue"))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert largest_difference(images.read_image(tmp_path / name), np.full((32, 48, 3), (255, 0, 0))) <= 4


@pytest.mark.parametrize(("mode", "name"), [("LA", "a.png"), ("1", "a.png"), ("P", "a.png"), ("CMYK", "a.tif"), ("LAB", "a.tif"), ("I", "a.tif")])
def test_every_mode_becomes_rgb(tmp_path, mode, name):
    image = Image.fromarray(picture())
    (image.convert("L") if mode == "I" else image).convert(mode).save(tmp_path / name)
    found = images.read_image(tmp_path / name)
    assert found.shape == (32, 48, 3) and found.dtype == np.uint8 and found.max() > 200


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 12_000.0), (1e-6, 2e-6)])
@pytest.mark.parametrize("n_colours", [1, 3])
def test_floats_are_scaled_by_their_range(tmp_path, low, high, n_colours):
    """Levels k / 255 of the way from the least to the greatest are k."""
    levels = picture()[..., :n_colours].squeeze()
    values = (low + (high - low) * levels[..., ::-1 if n_colours == 3 else 1] / 255.0).astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.tif"), values, [cv2.IMWRITE_TIFF_COMPRESSION, 1])  # none: OpenCV before 4.13 writes LogLuv otherwise
    expected = np.broadcast_to(levels.reshape(32, 48, n_colours), (32, 48, 3))
    assert largest_difference(images.read_image(tmp_path / "a.tif"), expected) <= 1


def test_floats_without_a_range_are_read(tmp_path):
    values = np.full((4, 5), np.nan, np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert not images.read_image(tmp_path / "a.tif").any()
    values[0, 0], values[1, 1] = np.inf, 7.0
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert not images.read_image(tmp_path / "a.tif").any()


def test_names_that_are_not_utf_8_are_read(tmp_path):
    path = tmp_path / os.fsdecode(b"M\xfcller.jpg")
    try:
        save(tmp_path / "a.png", picture()).rename(path)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    assert np.array_equal(images.read_image(path), picture())
