"""Motion detection before a fixed camera."""

import numpy as np
import pytest

from birdlib.video import detectors, motion
from birdlib.video import io as video_io

WIDTH, HEIGHT, SIZE = 120, 90, 20


@pytest.fixture(scope="module")
def scenery():
    """Something to see, blurred as by a lens, that never moves."""
    import cv2

    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 3)


@pytest.fixture
def watch(monkeypatch):
    """Boxes (time_s, boxes) of a film that ``draw(time_s)`` shows from 0 to ``duration_s``."""

    def watch_film(draw, duration_s=12.0, rate_hz=5.0, start_s=0.0):
        rng = np.random.default_rng(1)

        def frames(path, rate_hz, start_s=0.0, end_s=None):
            for time_s in np.arange(start_s, duration_s, 1 / rate_hz):
                grain = rng.normal(0, 2, (HEIGHT, WIDTH, 1))
                yield time_s, np.clip(draw(time_s) + grain, 0, 255).astype(np.uint8)

        monkeypatch.setattr(video_io, "frames", frames)
        return [(t, boxes) for t, _, boxes in detectors.load("motion").detect_film("a.mp4", rate_hz, start_s)]

    return watch_film


def with_bird(image, x, y, width=SIZE, height=SIZE):
    image = image.copy()
    image[max(0, round(y)) : round(y) + height, max(0, round(x)) : round(x) + width] = (200, 60, 40)
    return image


def test_a_moving_bird_is_detected(watch, scenery):
    found = watch(lambda t: with_bird(scenery, 8 * t, 50))
    assert len(found) == 60
    for time_s, boxes in found:
        assert len(boxes) == 1 and np.abs(boxes[0, :4] - [8 * time_s, 50, SIZE, SIZE]).max() <= 4
        assert boxes[0, 4] > 0.5  # four times what the grain of the picture is allowed


def test_a_bird_that_rests_a_while_is_detected_meanwhile(watch, scenery):
    found = watch(lambda t: with_bird(scenery, 60, 50) if 3 <= t < 7 else scenery)
    assert [len(boxes) for _, boxes in found] == [int(3 <= time_s < 7) for time_s, _ in found]


def test_two_birds_give_two_boxes(watch, scenery):
    found = watch(lambda t: with_bird(with_bird(scenery, 8 * t, 8), 100 - 8 * t, 60))
    assert {len(boxes) for _, boxes in found} == {2}


@pytest.mark.parametrize(
    "change",
    [
        lambda image, t: image,
        lambda image, t: image * (0.6 + 0.03 * t) if t < 4 else image * 0.75,
        lambda image, t: np.roll(image, int(25 * t), axis=1),
        lambda image, t: with_bird(image, 80, 50 + 3 * np.sin(2.3 * t), 8, 8),
    ],
    ids=["nothing moves", "clouds", "the camera pans", "a leaf in the wind"],
)
def test_other_changes_give_no_box(watch, scenery, change):
    found = watch(lambda t: change(scenery, t))
    assert max(len(boxes) for _, boxes in found) == 0


def test_boxes_are_in_pixels_of_the_film_and_inside_it(watch):
    """Detection is at a smaller size; the box of a bird half outside ends at the edge of the image."""
    found = watch(lambda t: with_bird(np.full((HEIGHT, WIDTH, 3), 120), WIDTH - 8 if 5 < t < 7 else -99, 50))
    [boxes] = {tuple(np.round(boxes[0, :4])) for time_s, boxes in found if 5.1 < time_s < 6.9}
    x, y, width, height = boxes
    assert abs(x - (WIDTH - 8)) <= 2 and x + width == WIDTH and abs(y - 50) <= 2 and abs(height - SIZE) <= 3


def test_a_single_image_gives_no_box(watch, scenery):
    [(time_s, boxes)] = watch(lambda t: with_bird(scenery, 60, 50), duration_s=0.1)
    assert time_s == 0.0 and boxes.shape == (0, 5) and boxes.dtype == np.float32


def test_the_background_is_updated(watch, scenery):
    """A branch that falls at 40 s is background for most of the time that the window shows."""
    found = watch(lambda t: with_bird(scenery, 90, 20, 12, 60) if t >= 40 else scenery, 130, rate_hz=1)
    late = [len(boxes) for time_s, boxes in found if time_s >= 40 + motion.WINDOW_S / 2 + motion.REFRESH_S]
    assert len(late) >= 50 and max(late) == 0


def test_memory_does_not_grow_with_the_film(watch, scenery, monkeypatch):
    """The background is computed from one window, however long the film."""
    sizes = []
    background = motion._background
    monkeypatch.setattr(motion, "_background", lambda window: sizes.append(len(window)) or background(window))
    watch(lambda t: scenery, 150, rate_hz=0.2)
    assert len(sizes) > 10 and max(sizes) <= motion.WINDOW_S * motion.RATE_HZ
