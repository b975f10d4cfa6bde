import itertools
import pickle
import re
import struct
import warnings

import av
import numpy as np
import pytest
from films_made import RATE_HZ, clicks, film, grey, levels, steady, times
from PIL import Image

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.video import images as video_images
from birdlib.video import io as video_io


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
def test_every_image_is_read_once_with_its_time(tmp_path, suffix):
    path = steady(tmp_path / f"pájaro 鸟 %d.{suffix}", 12)
    shown = list(video_io.frames(str(path)))
    assert levels(shown) == list(range(12))
    assert times(shown) == pytest.approx(np.arange(12) / 10, abs=0.002)
    assert {(image.shape, image.dtype.name, image.flags.c_contiguous) for _, image in shown} == {
        ((48, 64, 3), "uint8", True)
    }


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_without_times_is_read(tmp_path, codec):
    """FFmpeg guesses wrong times for H.264 with B-frames, but no image is lost."""
    path = film(tmp_path / "a.avi", grey(12), range(0, 1200, 100), codecs=(codec,), tick_ms=100, preset="medium")
    shown = list(video_io.frames(path))
    assert levels(shown) == list(range(12)) and (np.diff(times(shown)) > 0.05).all()
    if codec != "libx264":
        assert times(shown) == pytest.approx(np.arange(12) / 10)


def test_colours_are_rgb(tmp_path):
    orange = np.full((48, 64, 3), (250, 120, 20), np.uint8)
    [(_, image), *_] = video_io.frames(film(tmp_path / "a.mp4", [orange] * 2, (0, 100)))
    assert np.abs(image.astype(int) - orange).max() < 10


@pytest.mark.parametrize(("rate_hz", "expected"), [(5, range(0, 20, 2)), (10, range(20)), (1, (0, 10)), (0.3, (0,))])
def test_a_lower_rate_samples_the_images_shown_at_its_times(tmp_path, rate_hz, expected):
    shown = list(video_io.frames(steady(tmp_path / "a.mp4"), rate_hz))
    assert times(shown) == pytest.approx(np.arange(len(expected)) / rate_hz)
    assert levels(shown) == [k % 12 for k in expected]


def test_a_higher_rate_repeats_images_as_independent_copies(tmp_path):
    shown = []
    for time_s, image in video_io.frames(steady(tmp_path / "a.mp4", 3), rate_hz=20):
        shown.append((time_s, image.copy()))
        image[:] = 255
    assert levels(shown) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_varying_rate_is_sampled_by_the_last_image_shown(tmp_path, suffix):
    """Shown: 0 from 0 s, 1 from .25 s, 2 from .3 s, 3 from 1 s, 4 from 1.05 s on."""
    path = film(tmp_path / f"a.{suffix}", grey(5), (0, 250, 300, 1000, 1050))
    shown = list(video_io.frames(path, rate_hz=5))
    assert levels(shown)[:6] == [0, 0, 2, 2, 2, 3] and times(shown)[:6] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert times(video_io.frames(path)) == pytest.approx([0, 0.25, 0.3, 1, 1.05], abs=0.002)


def test_times_rounded_to_milliseconds_lose_no_image(tmp_path):
    """At 30 a second Matroska says 33, 67, 100 ... ms."""
    path = film(tmp_path / "a.mkv", grey(12), np.round(np.arange(12) * 1000 / 30).astype(int))
    assert levels(video_io.frames(path, rate_hz=30))[:12] == list(range(12))


@pytest.mark.parametrize("name", ["keys.mp4", "b-frames.mp4", "keys.ts", "b-frames.ts", "keys.mkv"])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.5, 1.2), (1.3, None), (1.95, 99), (0.0, 0.05)])
def test_a_part_equals_that_part_of_the_whole(tmp_path, name, start_s, end_s):
    """Key frames are half a second apart, or there is but the first."""
    encoder = {"g": "5"} if "keys" in name else {"preset": "medium", "bf": "3", "g": "250"}
    path = steady(tmp_path / name, **encoder)
    whole, part = list(video_io.frames(path)), list(video_io.frames(path, None, start_s, end_s))
    ends = [*times(whole)[1:], 2.0]
    expected = [s for s, end in zip(whole, ends, strict=True) if end > start_s + 0.001 and s[0] < (end_s or 99) - 0.001]
    assert times(part) == times(expected) and levels(part) == levels(expected)
    sampled = list(video_io.frames(path, 5, start_s, end_s))
    assert times(sampled) == pytest.approx(np.arange(start_s, min(2.0, end_s or 2.0), 0.2))
    assert levels(sampled) == [int(10 * time_s + 0.01) % 12 for time_s in times(sampled)]


@pytest.mark.parametrize(("start_s", "end_s"), [(2.5, None), (-1, None), (1, 1), (2, 1)])
def test_an_empty_part_raises_an_error(tmp_path, start_s, end_s):
    with pytest.raises(video_io.VideoError):
        list(video_io.frames(steady(tmp_path / "a.mp4"), 5, start_s, end_s))


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_rotated_films_are_upright(tmp_path, turn_deg):
    """ISO 14496-12: (p, q) of the file is shown at (a p + c q, b p + d q); here rotated clockwise. Red marks a corner."""
    upright = np.full((96, 48, 3), 128, np.uint8)
    upright[:24, :24] = (255, 0, 0)
    stored = np.ascontiguousarray(np.rot90(upright, turn_deg // 90))
    path = film(tmp_path / "a.mp4", [stored] * 3, (0, 100, 200))
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn_deg]
    data = bytearray(path.read_bytes())
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = matrix
    path.write_bytes(data)
    found = video_io.probe(path)
    assert (found.width, found.height) == (48, 96)
    for _, image in video_io.frames(path):
        assert image.shape == (96, 48, 3)
        assert np.abs(image[4:20, 4:20].astype(int) - (255, 0, 0)).mean() < 10 and abs(image[40:].mean() - 128) < 4


def test_probe_reads_size_rate_and_sound(tmp_path):
    path = steady(tmp_path / "a.mp4", sound=clicks(1.0), codecs=("libx264", "aac"))
    found = video_io.probe(path)
    assert found == video_io.Film(2.0, 64, 48, 10.0, 20, RATE_HZ) and found.has_sound
    silent = video_io.probe(steady(tmp_path / "b.mp4"))
    assert silent == video_io.Film(2.0, 64, 48, 10.0, 20, 0) and not silent.has_sound


def test_probe_measures_the_duration_if_the_header_has_none(tmp_path):
    """As browsers record it."""
    path = steady(tmp_path / "a.mkv", live="1")
    with av.open(str(path)) as container:
        assert container.duration is None
    found = video_io.probe(path)
    assert found.duration_s == pytest.approx(2.0, abs=0.1) and abs(found.n_frames - 20) <= 1
    assert len(list(video_io.frames(path))) == 20


def test_images_without_times_are_consecutive(tmp_path):
    """A bare H.264 stream."""
    path = steady(tmp_path / "a.h264")
    shown = list(video_io.frames(path))
    assert levels(shown) == [k % 12 for k in range(20)]
    assert (np.diff(times(shown)) > 0).all()
    assert levels(video_io.frames(path, None, start_s=times(shown)[10] + 0.001)) == levels(shown)[10:]


def test_4k(tmp_path):
    path = film(tmp_path / "a.mp4", grey(2, 3840, 2160), (0, 100))
    assert [image.shape for _, image in video_io.frames(path)] == [(2160, 3840, 3)] * 2


def test_a_film_of_one_picture(tmp_path):
    path = film(tmp_path / "a.mp4", grey(1), (0,))
    assert times(video_io.frames(path)) == times(video_io.frames(path, rate_hz=5)) == [0.0]
    assert video_io.probe(path).n_frames == 1


@pytest.mark.parametrize("name", ["robin.jpg", "robin.png", "robin.mp4"])
def test_a_photo_is_a_film_of_one_picture(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(np.full((48, 64, 3), (200, 100, 50), np.uint8)).save(path, "PNG" if "png" in name else "JPEG")
    [(time_s, image)] = video_io.frames(path, rate_hz=5)
    assert time_s == 0.0 and np.abs(image.astype(int) - video_images.read_image(path)).max() <= 4
    found = video_io.probe(path)
    assert (found.n_frames, found.width, found.height, found.has_sound) == (1, 64, 48, False)


# Damage


@pytest.mark.parametrize(
    "function", [video_io.probe, lambda path: list(video_io.soundtrack(path)), lambda path: list(video_io.frames(path))]
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>404</html>", "web page"),
        (b"the quick brown fox", "no film"),
        (bytes(9000), "no film"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "no film"),
    ],
)
def test_unreadable_files_raise_an_error_with_path_and_reason(tmp_path, content, reason, function, capfd):
    """The last is a list that would have FFmpeg open another file."""
    steady(tmp_path / "other.mp4", 3)
    path = tmp_path / "robin.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(video_io.VideoError, match=reason) as caught:
        function(path)
    error = caught.value
    assert isinstance(error, runtime.BirdlibError) and error.path == str(path) and str(error).startswith(str(path))
    assert pickle.loads(pickle.dumps(error)).reason == error.reason
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_sound_files_raise_an_error(tmp_path, name):
    audio_io.write(tmp_path / name, np.zeros(8000, np.float32), 8000)
    with pytest.raises(video_io.VideoError, match="sound file"):
        list(video_io.frames(tmp_path / name))


def test_too_large_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video_images, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(video_io.VideoError, match="64 x 48"):
        list(video_io.frames(steady(tmp_path / "a.mp4")))


def noisy(path, **options):
    """Forty images of random noise, with a key frame every ten."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    return film(path, images, range(0, 4000, 100), g="10", **options)


def test_a_film_truncated_before_its_index_raises_an_error(tmp_path, capfd):
    path = noisy(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(video_io.VideoError, match="broken off before its index"):
        list(video_io.frames(path))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {}), ("ts", {})])
def test_a_film_truncated_after_its_index_is_read_up_to_there(tmp_path, suffix, options, capfd):
    whole = noisy(tmp_path / f"whole.{suffix}", **options)
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    expected = list(itertools.islice(video_io.frames(whole), 17))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = list(video_io.frames(path))
    if suffix == "mp4":  # the others need no index
        assert re.search(r"half.mp4: .*it ends [12]\.\d s before its header says", str(caught[0].message))
    assert 17 <= len(shown) <= 22 and times(shown)[:17] == times(expected)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(shown, expected, strict=False))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rate_hz", [None, 5])
def test_damaged_images_are_skipped_and_counted(tmp_path, rate_hz, capfd):
    whole = noisy(tmp_path / "whole.mp4")
    data = bytearray(whole.read_bytes())
    middle = data.index(b"mdat") + round(0.4 * len(data))
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.warns(video_io.VideoWarning, match=r"damaged.mp4: pictures left out because damaged: \d"):
        shown = list(video_io.frames(path, rate_hz))
    expected = dict(video_io.frames(whole, rate_hz))
    assert times(shown) == list(expected) if rate_hz else 20 < len(shown) < 40
    for time_s, image in shown:
        if time_s < 1.0 or time_s >= 3.0:  # a key frame has come by then
            assert np.array_equal(image, expected[time_s])
    assert capfd.readouterr().err == ""


def test_a_film_without_undamaged_image_raises_an_error(tmp_path):
    path = noisy(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4
    data[at : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - at)
    path.write_bytes(data)
    with pytest.raises(video_io.VideoError, match="no picture that can be decoded"):
        video_io.probe(path)
    with (
        pytest.warns(video_io.VideoWarning),
        pytest.raises(video_io.VideoError, match="no picture that can be decoded"),
    ):
        list(video_io.frames(path))
