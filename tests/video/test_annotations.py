"""Annotated films: boxes, labels, sound, and that a browser plays them."""

import itertools

import av
import numpy as np
import pandas as pd
import pytest
from films_made import clicks, film, read_sound

from birdlib import runtime
from birdlib.video import annotations, writer
from birdlib.video import io as video_io

BOX = ["x", "y", "width", "height"]


def dark(n=20, width=160, height=120):
    return [np.full((height, width, 3), 40, np.uint8)] * n


def tracks(*rows):
    return pd.DataFrame(rows, columns=["track", "time_s", *BOX])


def edge_colours(image, x, y, width, height):
    """Mean colour along the left, right and lower edge of a box; its label stands on the upper one."""
    strips = image[y + 4 : y + height, x], image[y + 4 : y + height, x + width], image[y + height, x : x + width]
    return [strip.astype(float).mean(axis=0) for strip in strips]


def test_a_box_is_drawn_in_its_colour_on_a_copy_of_the_image():
    image = dark()[0]
    drawn = annotations._draw(image, [(50, 40, 60, 30)], [3])
    for colour in edge_colours(drawn, 50, 40, 60, 30):
        assert np.array_equal(colour, annotations.colour(3))
    assert (drawn[45:69, 55:105] == 40).all() and (image == 40).all()


def test_colours_are_constant_and_differ_between_a_dozen_individuals():
    colours = {number: annotations.colour(number) for number in [*range(12), annotations.UNKNOWN]}
    assert all(annotations.colour(number) == colours[number] for number in reversed(range(12)))
    for a, b in itertools.combinations(colours.values(), 2):
        assert np.abs(np.subtract(a, b)).max() > 40
    assert annotations.colour("Fred") == annotations.colour("Fred") != annotations.colour("Ginger")


def test_labels_stay_inside_the_image():
    first, second = (annotations._draw(dark()[0], [(150, 0, 9, 9)], [label]) for label in (1, 12))
    assert first.shape == second.shape and not np.array_equal(first != 40, second != 40)
    assert len(np.unique(second[:, 130:])) > 2  # ink on colour on grey


def test_boxes_are_interpolated_between_detections_and_nowhere_else():
    times_s, boxes = np.array([1.0, 1.4, 5.0]), np.array([[0, 0, 10, 10], [40, 20, 10, 20], [80, 0, 10, 10.0]])
    assert np.allclose(annotations._box_at(1.1, times_s, boxes), [10, 5, 10, 12.5])
    assert np.allclose(annotations._box_at(1.4, times_s, boxes), boxes[1])
    for time_s in (0.5, 0.97, 3.0, 4.9, 5.1):
        assert annotations._box_at(time_s, times_s, boxes, tolerance_s=0.02) is None
    assert np.allclose(annotations._box_at(4.98, times_s, boxes, tolerance_s=0.03), boxes[2])


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Two seconds with a click at 0.5 and at 1.5 s; a bird moves from left to right in the second one."""
    folder = tmp_path_factory.mktemp("annotated")
    sound = {"sound": clicks(0.5, 1.5), "codecs": ("libx264", "pcm_s16le")}
    source = film(folder / "a.mkv", dark(), range(0, 2000, 100), **sound)
    rows = tracks(*[(7, 1 + k / 5, 20 * k, 60, 30, 40) for k in range(5)], (8, 1.0, 5, 5, 20, 20))
    annotations.annotate_film(source, folder / "b.mp4", rows, {7: 2}, rate_hz=10)
    return folder / "b.mp4"


def test_a_browser_plays_it(annotated):
    """H.264 and AAC in the one form that all can show, the index before the pictures."""
    with av.open(str(annotated)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, picture.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac" and sound.codec_context.sample_rate == annotations.SAMPLE_RATE_HZ
    data = annotated.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_boxes_follow_the_tracks_that_have_a_label(annotated):
    shown = list(video_io.frames(annotated))
    assert len(shown) == 20
    for time_s, image in shown:
        there = 0.95 < time_s < 1.85
        assert (np.abs(image.astype(int) - 40).max() > 60) == there
        if there:  # compression changes colours
            left, right, below = edge_colours(image, round(100 * (time_s - 1)), 60, 30, 40)
            assert np.dot(below - below.mean(), np.subtract(annotations.colour(2), 128)) > 0
            assert below.max() - below.min() > 60


def test_sound_stays_synchronous(annotated):
    waveform, rate_hz = read_sound(annotated)
    for time_s in (0.5, 1.5):
        near = slice(round((time_s - 0.2) * rate_hz), round((time_s + 0.2) * rate_hz))
        assert (near.start + np.abs(waveform[near]).argmax()) / rate_hz == pytest.approx(time_s, abs=0.002)


@pytest.mark.parametrize(("width", "height"), [(161, 121), (90, 160), (3840, 2160), (401, 4001)])
def test_any_size_is_scaled_to_a_playable_one(tmp_path, width, height):
    """Even, and at most 1280; the box is scaled along."""
    image = np.full((height, width, 3), 40, np.uint8)
    box = (0.3 * width, 0.3 * height, 0.4 * width, 0.4 * height)
    annotations._write_film(tmp_path / "a.mp4", [(image, [box], [1])] * 2, 10)
    found = video_io.probe(tmp_path / "a.mp4")
    assert found.width % 2 == found.height % 2 == 0 and max(found.width, found.height) <= annotations._MAX_SIDE
    assert found.width / found.height == pytest.approx(width / height, rel=0.1) and not found.has_sound
    [(_, shown), _] = video_io.frames(tmp_path / "a.mp4")
    lit = np.abs(shown.astype(int) - 40).max(axis=2) > 50
    assert lit[round(0.7 * found.height) - 2 : round(0.7 * found.height) + 3, found.width // 2].any()
    assert not lit[:, : found.width // 8].any() and not lit[round(0.8 * found.height) :].any()


def test_a_film_without_birds_or_sound_is_written(tmp_path):
    source = film(tmp_path / "a.mp4", dark(5), range(0, 500, 100))
    annotations.annotate_film(source, tmp_path / "b.mp4", tracks(), {}, rate_hz=10)
    assert [image.mean() for _, image in video_io.frames(tmp_path / "b.mp4")] == pytest.approx([40] * 5, abs=2)
    assert not video_io.probe(tmp_path / "b.mp4").has_sound


def test_errors_keep_the_old_film_and_leave_no_partial_file(tmp_path):
    path = tmp_path / "b.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(video_io.VideoError, match="a.mp4"):
        annotations.annotate_film(tmp_path / "a.mp4", path, tracks(), {})

    def breaks():
        yield from [(image, [], []) for image in dark(30)]
        raise video_io.VideoError("a.mp4", "is torn")

    with pytest.raises(video_io.VideoError, match="torn"):
        annotations._write_film(path, breaks(), 10)
    with pytest.raises(runtime.BirdlibError, match="b.mp4: there is no image"):
        annotations._write_film(path, [], 10)
    assert [file.name for file in tmp_path.iterdir()] == ["b.mp4"] and path.read_bytes() == b"the old one"


def test_writing_is_deterministic(tmp_path):
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 255, (30, 48, 64, 3), np.uint8))
    sound = [rng.normal(0, 0.1, 48_000).astype(np.float32)]
    for name in ("a.mp4", "b.mp4"):
        writer.write(tmp_path / name, images, rate_hz=12.5, sound=sound)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_images_and_sound_are_interleaved(tmp_path):
    """So a long film can be streamed, and written in constant memory."""
    n_taken = {"pictures": 0, "sound": 0}

    def counted(items, name):
        for item in items:
            n_taken[name] += 1
            yield item
            assert abs(n_taken["pictures"] / 2 - n_taken["sound"]) <= 2  # seconds

    images = counted(dark(60, 64, 48), "pictures")
    sound = counted([np.zeros(8000, np.float32)] * 30, "sound")
    writer.write(tmp_path / "a.mp4", images, rate_hz=2, sound=sound, sample_rate_hz=8000)
    found = video_io.probe(tmp_path / "a.mp4")
    assert found.duration_s == pytest.approx(30, abs=0.2) and found.sample_rate_hz == 8000
