"""Damaged files of images: those whose picture is whole are read, of the others the reason is given."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from made_pictures import picture, save

from birdlib import runtime
from birdlib.video import images


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


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "GIF", "JPEG2000"])
def test_truncated_files_of_rarer_kinds_raise_an_error(tmp_path, kind):
    images.register_heif()
    whole = save(tmp_path / "a", picture(), format=kind).read_bytes()
    for n_bytes in (20, len(whole) // 2, len(whole) - 20):
        (tmp_path / "a").write_bytes(whole[:n_bytes])
        with pytest.raises(images.ImageError, match="as JPEG or PNG"):
            images.read_image(tmp_path / "a")


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
