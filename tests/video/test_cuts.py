"""Cuts: a new scene is seen by colours and layout together."""

import numpy as np
import pytest

from birdlib.video import cuts


def scene(seed, colour, size=(90, 160)):
    """Blocks of light and dark over a colour."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(-40, 40, (9, 16)), np.ones((size[0] // 9, size[1] // 16), int))
    return np.clip(np.array(colour) + blocks[..., None], 0, 255).astype(np.uint8)


MEADOW, BEACH = scene(0, (70, 140, 60)), scene(1, (190, 170, 130))


def scenes(*images):
    numbered = cuts.Cuts()
    return [numbered.add(image) for image in images]


def test_another_place_is_another_scene_and_a_return_a_third():
    assert scenes(MEADOW, MEADOW, BEACH, BEACH, MEADOW) == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("change", [lambda image: np.roll(image, 40, axis=1), lambda image: (0.6 * image).astype(np.uint8), lambda image: image[20:70, 40:120]])
def test_a_pan_a_cloud_and_a_zoom_are_no_cuts(change):
    assert scenes(MEADOW, change(MEADOW)) == [0, 0]


def test_a_bird_that_fills_a_third_of_the_image_is_no_cut():
    close = MEADOW.copy()
    close[:, 107:] = (40, 30, 30)
    assert scenes(MEADOW, close, MEADOW) == [0, 0, 0]


def test_images_without_any_layout_can_be_compared():
    black, grey = np.zeros((90, 160, 3), np.uint8), np.full((90, 160, 3), 200, np.uint8)
    assert scenes(black, black, grey) == [0, 0, 1]
