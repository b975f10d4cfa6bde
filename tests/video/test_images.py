import os
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
    for path, reason in ((tmp_path / "no.jpg", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(images.ImageError, match=reason):
            images.read_image(path)


# Kinds and flaws of people's files


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


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "GIF", "JPEG2000"])
def test_truncated_files_of_rarer_kinds_raise_an_error(tmp_path, kind):
    images.register_heif()
    whole = save(tmp_path / "a", picture(), format=kind).read_bytes()
    for n_bytes in (20, len(whole) // 2, len(whole) - 20):
        (tmp_path / "a").write_bytes(whole[:n_bytes])
        with pytest.raises(images.ImageError, match="as JPEG or PNG"):
            images.read_image(tmp_path / "a")


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
    cv2.imwrite(str(tmp_path / "a.tif"), (low + (high - low) * levels[..., ::-1 if n_colours == 3 else 1] / 255.0).astype(np.float32))
    expected = np.broadcast_to(levels.reshape(32, 48, n_colours), (32, 48, 3))
    assert largest_difference(images.read_image(tmp_path / "a.tif"), expected) <= 1


def test_floats_without_a_range_are_read(tmp_path):
    values = np.full((4, 5), np.nan, np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert not images.read_image(tmp_path / "a.tif").any()
    values[0, 0], values[1, 1] = np.inf, 7.0
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert not images.read_image(tmp_path / "a.tif").any()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}])
@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_jpeg_without_its_end_marker_is_read(tmp_path, options, n_lost):
    path = save(tmp_path / "a.jpg", picture(), **options)
    whole = images.read_image(path)
    path.write_bytes(path.read_bytes()[:-n_lost])
    assert np.array_equal(images.read_image(path), whole)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_raises_an_error(tmp_path, progressive):
    """Wherever it is cut, between the scans of a progressive one too."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    whole = save(tmp_path / "a.jpg", noise, progressive=progressive).read_bytes()
    for n_bytes in [*range(len(whole) // 2, len(whole) - 5, 5), *(k for k in range(len(whole) - 4) if whole[k] == 0xFF)]:
        (tmp_path / "a.jpg").write_bytes(whole[:n_bytes])
        with pytest.raises(images.ImageError):
            images.read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("before", [b"\0\0\0\0", b"\r\n" * 100])
def test_bytes_before_or_behind_a_jpeg_are_ignored(tmp_path, before):
    path = save(tmp_path / "a.jpg", picture())
    whole = images.read_image(path)
    path.write_bytes(before + path.read_bytes() + bytes(3000))
    assert np.array_equal(images.read_image(path), whole)


def chunk(kind, content, checksum=None):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) if checksum is None else checksum)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", b"Comment\0hi", checksum=1),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"iCCP", b"x\0\0no zlib"),
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        chunk(b"tIME", b"", checksum=1),
    ],
)
def test_a_png_with_damaged_texts_is_read(tmp_path, extra):
    path = save(tmp_path / "a.png", picture())
    data = path.read_bytes()
    path.write_bytes(data[:33] + extra + data[33:])
    assert np.array_equal(images.read_image(path), picture())


@pytest.mark.parametrize("error", [TypeError, ValueError, UnicodeError, SyntaxError, MemoryError, RecursionError, ZeroDivisionError, cv2.error])
@pytest.mark.parametrize("decoder", ["_by_opencv", "_require_whole", "_by_pillow"])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error, decoder):
    path = save(tmp_path / "a.tga", picture())

    def fail(*_):
        raise error("at byte 7")

    monkeypatch.setattr(images, decoder, fail)
    if decoder == "_by_pillow":
        monkeypatch.setattr(images, "_by_opencv", lambda *_: None)
    with pytest.raises(images.ImageError, match=r"a.tga: .*JPEG or PNG"):
        images.read_image(path)


def test_names_that_are_not_utf_8_are_read(tmp_path):
    path = tmp_path / os.fsdecode(b"M\xfcller.jpg")
    try:
        save(tmp_path / "a.png", picture()).rename(path)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    assert np.array_equal(images.read_image(path), picture())
