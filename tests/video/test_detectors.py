"""Detectors, with a network that finds red regions; tests of the real ones are slow."""

import struct
import threading
import warnings
import weakref

import numpy as np
import pytest
from films_made import film, steady
from PIL import Image

from birdlib.data.synthetic import drawing, films, world
from birdlib.models import weights
from birdlib.video import boxes as geometry
from birdlib.video import detectors
from birdlib.video import io as video_io

WIDTH, HEIGHT = 160, 120


def open_red(path):
    """A network that finds red regions; the score grows with their size."""
    import cv2

    def predict(image):
        red = ((image[..., 0] > 150) & (image[..., 1:].max(axis=2) < 100)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red)
        boxes = [(x, y, w, h, min(1.0, 0.3 + area / 4000)) for x, y, w, h, area in stats[1:] if area >= 4]
        return np.array(boxes, np.float32).reshape(-1, 5)

    return predict


@pytest.fixture
def red(monkeypatch):
    """Loads a detector of red things."""
    monkeypatch.setitem(detectors._NETWORKS, "efficientdet_lite2", open_red)

    def fetch(name, folder=""):
        return weights.Source(name, folder, "a test", "0" * 64, "CC0", "none")

    monkeypatch.setattr(weights, "fetch", fetch)
    return lambda **options: detectors.load("efficientdet_lite2", **options)


def scene(*places, width=WIDTH, height=HEIGHT, size=24):
    """Grey, with red birds at (x, y)."""
    image = np.full((height, width, 3), 90, np.uint8)
    for x, y in places:
        image[y : y + size, x : x + size] = (230, 30, 20)
    return image


def flight(path, n=20, **options):
    """One bird that crosses the picture, ten pictures a second."""
    return film(path, [scene((6 * k, 40)) for k in range(n)], range(0, 100 * n, 100), **options)


def near(boxes, expected, within=4):
    return len(boxes) == len(expected) and np.abs(boxes[:, :4] - expected).max(initial=0) <= within


def test_a_film_gives_times_images_and_boxes(red, tmp_path):
    path = flight(tmp_path / "a.mp4")
    found = list(red().detect_film(path, rate_hz=5))
    assert [time_s for time_s, _, _ in found] == pytest.approx(np.arange(10) / 5)
    for time_s, image, boxes in found:
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and near(boxes, [[60 * time_s, 40, 24, 24]])
        assert 0 <= boxes[:, 4].min() and boxes[:, 4].max() <= 1


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_tiles", [0, 1, 2])
def test_boxes_do_not_depend_on_threads_or_other_images(red, tmp_path, n_threads, n_tiles):
    path = flight(tmp_path / "a.mp4", 9)
    streamed = list(red(n_threads=n_threads, n_tiles=n_tiles).detect_film(path, rate_hz=10))
    assert len(streamed) == 9
    for _, image, boxes in streamed:
        [alone] = red(n_tiles=n_tiles).detect([image])
        assert np.array_equal(boxes, alone)


def test_images_may_differ_in_size(red):
    small, large = scene((10, 20)), scene((300, 100), (20, 30), width=640, height=200)
    first, second = red().detect([small, large])
    assert near(first, [[10, 20, 24, 24]]) and len(second) == 2
    assert red().detect([]) == []


def test_no_bird_gives_no_box(red, tmp_path):
    found = list(red().detect_film(steady(tmp_path / "a.mp4"), rate_hz=5))
    assert len(found) == 10 and all(boxes.shape == (0, 5) and boxes.dtype == np.float32 for _, _, boxes in found)


def test_a_part_of_a_film(red, tmp_path):
    found = list(red().detect_film(flight(tmp_path / "a.mp4"), 5, start_s=1.0, end_s=1.5))
    assert [time_s for time_s, _, _ in found] == pytest.approx([1.0, 1.2, 1.4])
    assert near(found[0][2], [[60, 40, 24, 24]])


def test_boxes_below_the_minimum_score_are_dropped(red):
    image = scene((10, 20), (100, 20))
    image[60:70, 60:70] = (230, 30, 20)  # of 100 pixels: .325
    assert len(red(min_score=0.3).detect([image])[0]) == 3
    assert len(red(min_score=0.4).detect([image])[0]) == 2


def test_films_are_streamed_in_constant_memory(red, monkeypatch):
    alive = weakref.WeakSet()

    class Picture(np.ndarray):
        """An image that can be counted."""

        __hash__ = object.__hash__

    def endless(path, rate_hz, start_s, end_s):
        k = 0
        while True:
            image = scene((k % 100, 40)).view(Picture)
            alive.add(image)
            yield k / rate_hz, image
            k += 1
            del image

    monkeypatch.setattr(video_io, "frames", endless)
    stream = red(n_threads=2).detect_film("endless.mp4", rate_hz=5)
    for _ in range(50):
        time_s, image, boxes = next(stream)
        assert near(boxes, [[round(5 * time_s) % 100, 40, 24, 24]], 0) and len(alive) <= 5
    stream.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


# Odd films


@pytest.mark.parametrize("name", ["robin.png", "robin.jpg", "robin.mp4"])
def test_a_photo_is_a_film_of_one_picture(red, tmp_path, name):
    Image.fromarray(scene((40, 50))).save(tmp_path / name, "PNG" if "png" in name else "JPEG", quality=95)
    [(time_s, _, boxes)] = red().detect_film(tmp_path / name)
    assert time_s == 0.0 and near(boxes, [[40, 50, 24, 24]])


def test_a_film_of_one_picture(red, tmp_path):
    [(_, _, boxes)] = red().detect_film(flight(tmp_path / "a.mp4", 1), rate_hz=5)
    assert near(boxes, [[0, 40, 24, 24]])


def test_boxes_are_upright_in_a_rotated_film(red, tmp_path):
    """The header has a rotation by 90 degrees (ISO 14496-12)."""
    upright = scene((30, 130), width=120, height=160)
    path = film(tmp_path / "a.mp4", [np.ascontiguousarray(np.rot90(upright))] * 3, (0, 100, 200))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    for _, image, boxes in red(n_tiles=2).detect_film(path, rate_hz=10):
        assert image.shape == (160, 120, 3) and near(boxes, [[30, 130, 24, 24]])


def test_boxes_in_4k_are_in_pixels_of_the_film(red, tmp_path):
    path = film(tmp_path / "a.mp4", [scene((3000, 1900), width=3840, height=2160)], (0,))
    for _, _, boxes in red(n_tiles=2).detect_film(path, rate_hz=10):
        assert near(boxes, [[3000, 1900, 24, 24]])


def test_damage_is_reported_and_the_rest_is_processed(red, tmp_path):
    rng = np.random.default_rng(0)
    images = [np.maximum(scene((6 * k, 40)), rng.integers(0, 60, (HEIGHT, WIDTH, 1), np.uint8)) for k in range(20)]
    path = film(tmp_path / "a.mp4", images, range(0, 2000, 100), g="5")
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.warns(video_io.VideoWarning, match="damaged"):
        found = list(red().detect_film(path, rate_hz=10))
    assert len(found) >= 18 and near(found[-1][2], [[114, 40, 24, 24]])


def test_a_truncated_film_is_processed_up_to_there(red, tmp_path):
    path = flight(tmp_path / "a.ts", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", video_io.VideoWarning)
        found = list(red().detect_film(path, rate_hz=10))
    assert 10 <= len(found) < 40
    assert near(found[5][2], [[30, 40, 24, 24]])


@pytest.mark.parametrize("name", ["efficientdet_lite2", "motion"])
@pytest.mark.parametrize("content", [None, b"", b"the quick brown fox"], ids=["missing", "empty", "no film"])
def test_unreadable_films_raise_an_error_with_their_name(red, tmp_path, name, content):
    path = tmp_path / "robin.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(video_io.VideoError, match="robin.mp4"):
        list(detectors.load(name).detect_film(path))


def test_a_film_without_its_index_raises_an_error(red, tmp_path):
    path = flight(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(video_io.VideoError, match="broken off before its index"):
        list(red().detect_film(path))


# Choice of a detector


def test_the_key_depends_on_everything_that_changes_boxes(red):
    keys = [detectors.load(name).key for name in detectors.NAMES]
    keys += [red(n_tiles=2).key, red(min_score=0.1).key, detectors.load("motion", min_score=0.1).key]
    assert len(set(keys)) == len(keys)
    assert red(n_threads=1).key == red(n_threads=4).key == detectors.load("auto").key


def test_weights_are_listed_for_the_receipt(red):
    assert red().weights == {"efficientdet_lite2": {"source": "a test", "sha256": "0" * 64, "licence": "CC0"}}
    assert detectors.load("motion").weights == {}


def test_auto_without_weights_falls_back_to_motion_with_a_warning(monkeypatch):
    def refuse(name, folder=""):
        raise weights.MissingWeightsError(f"the weights of {name} are not on this machine")

    monkeypatch.setattr(weights, "fetch", refuse)
    with pytest.warns(detectors.DetectorWarning, match="fixed camera.*efficientdet_lite2"):
        assert detectors.load("auto").name == "motion"
    with pytest.raises(weights.MissingWeightsError):
        detectors.load("efficientdet_lite2")


@pytest.mark.parametrize(("options", "reason"), [({"name": "yolo"}, "choose auto"), ({"n_tiles": -1}, "n_tiles is -1")])
def test_invalid_options_raise_an_error(options, reason):
    with pytest.raises(detectors.DetectorError, match=reason):
        detectors.load(**options)


def test_motion_does_not_support_photos():
    with pytest.raises(detectors.DetectorError, match="films only"):
        detectors.load("motion").detect([scene((10, 10))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_tiles", "min_recall"),
    [
        ("efficientdet_lite2", 1, 0.8),
        ("efficientdet_lite2", 2, 0.8),
        ("efficientdet_lite0", 1, 0.6),
        ("ssd_mobilenet_v2", 1, 0.3),
    ],
)
def test_the_networks_detect_drawn_birds(tmp_path, name, n_tiles, min_recall):
    """A share of at least ``min_recall`` has a box with IoU > 0.5."""
    detector = detectors.load(name, n_tiles=n_tiles)
    rng = np.random.default_rng(3)
    n_seen = n_birds = 0
    for label in ("grywag1", "redcha1", "ruflut1"):
        bird = world.individual(label, 0, seed=11)
        for _ in range(6):
            image = films.scenery("sky", width=640, height=480, rng=rng)
            pose = drawing.Pose(rng.uniform(120, 520), rng.uniform(100, 380), 160, lean_deg=25)
            drawn = drawing.draw(image, drawing.PLUMAGES[label], bird.marks, pose)
            [boxes] = detector.detect([np.ascontiguousarray(image[..., ::-1])])
            n_birds += 1
            n_seen += (geometry.iou(boxes, np.float32(drawn)) > 0.5).any()
    assert n_seen >= min_recall * n_birds


@pytest.mark.slow
def test_the_networks_detect_no_bird_in_an_empty_scene():
    rng = np.random.default_rng(0)
    images = [films.scenery(kind, width=640, height=480, rng=rng)[..., ::-1] for kind in films.SCENES]
    assert [len(boxes) for boxes in detectors.load("efficientdet_lite2").detect(images)] == [0] * 4
