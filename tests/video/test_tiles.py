"""Tiles: a bird has one box, whatever the tiles."""

import numpy as np
import pytest

from birdlib.video import boxes as geometry
from birdlib.video import tiles

SIZES = [(1280, 720), (720, 1280), (640, 640), (3840, 2160), (1000, 90), (33, 21)]


def boxes(*rows):
    return np.float32(rows).reshape(-1, 5)


def merged(rows):
    return tiles.merge(boxes(*rows), np.zeros((len(rows), 4), bool))


def detected_in_tiles(birds, width, height, n_tiles, whole=True):
    """(boxes, truncated): each tile has of every bird the part inside it, from 5 pixels on."""
    found, cut = [], []
    for tile in tiles.layout(width, height, n_tiles)[0 if whole else 1 :]:
        x, y, tile_width, tile_height = tile
        here = geometry.clip(birds - np.float32([x, y, 0, 0, 0]), tile_width, tile_height)
        here = here[(here[:, 2:4] >= 5).all(axis=1)]
        found.append(here + np.float32([x, y, 0, 0, 0]))
        cut.append(tiles.truncated_by(here, tile, width, height))
    return np.concatenate(found), np.concatenate(cut)


@pytest.mark.parametrize("n_tiles", [1, 2, 3, 5])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_whole_image_comes_first_and_the_tiles_cover_it(width, height, n_tiles):
    whole, *parts = tiles.layout(width, height, n_tiles)
    assert whole == (0, 0, width, height) and (len(parts) == 0) == (n_tiles == 1)
    covered = np.zeros((height, width), bool)
    for x, y, w, h in parts:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        covered[y : y + h, x : x + w] = True
    assert covered.all() or not parts


def test_neighbouring_tiles_overlap_by_a_fifth():
    """In both directions of a wide picture: two across make one row, three make two."""
    _, left, right = tiles.layout(1800, 1000, 2)
    assert left[0] + left[2] - right[0] == pytest.approx(0.2 * left[2], abs=2)
    parts = tiles.layout(1800, 1000, 3)[1:]
    assert len(parts) == 6
    upper, lower = parts[0], parts[3]
    assert upper[1] + upper[3] - lower[1] == pytest.approx(0.2 * upper[3], abs=2)


@pytest.mark.parametrize("n_tiles", [2, 3, 4])
@pytest.mark.parametrize("whole", [True, False], ids=["with the whole image", "tiles only"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280)])
def test_a_bird_anywhere_gives_one_whole_box(width, height, n_tiles, whole):
    """Smaller than a tile, but across the edges of up to four; without the whole image its parts are joined."""
    rng = np.random.default_rng(n_tiles)
    for _ in range(100):
        size = rng.uniform(20, 100, 2)
        place = rng.uniform(0, np.array([width, height]) - size)
        bird = boxes([*place, *size, 0.8])
        found = tiles.merge(*detected_in_tiles(bird, width, height, n_tiles, whole))
        assert len(found) == 1 and np.allclose(found, bird, atol=0.02 * max(width, height))


def test_a_bird_larger_than_the_tiles_has_the_box_of_the_whole_image():
    bird = boxes([100, 60, 1000, 600, 0.5])
    found, cut = detected_in_tiles(bird, 1280, 720, 3)
    found[1:, 4] = 0.9  # the parts have higher scores
    assert np.allclose(tiles.merge(found, cut), bird)


def test_birds_side_by_side_keep_their_boxes():
    birds = boxes([600, 300, 90, 60, 0.9], [700, 300, 90, 60, 0.8], [600, 370, 90, 60, 0.7])
    assert np.allclose(tiles.merge(*detected_in_tiles(birds, 1280, 720, 3)), birds, atol=1e-3)


def test_the_box_with_the_highest_score_is_kept():
    assert np.allclose(merged([(10, 10, 40, 40, 0.6), (12, 11, 40, 40, 0.9)]), [[12, 11, 40, 40, 0.9]])


def test_a_box_inside_another_is_dropped():
    """Intersection over union would keep both: the head is a tenth of the bird."""
    bird, head = (100, 100, 100, 60, 0.7), (170, 100, 30, 20, 0.5)
    assert np.allclose(merged([bird, head]), [bird])


def test_a_partly_hidden_bird_is_kept():
    front, behind = (100, 100, 100, 60, 0.8), (160, 95, 100, 60, 0.6)
    assert len(merged([front, behind])) == 2


def test_merging_does_not_depend_on_the_order_of_boxes():
    rng = np.random.default_rng(0)
    birds = np.concatenate([rng.uniform(0, 300, (40, 2)), rng.uniform(20, 120, (40, 2)), rng.uniform(0, 1, (40, 1))], 1)
    birds = birds.astype(np.float32)
    found = merged(birds)
    assert 1 < len(found) < 40 and (np.diff(found[:, 4]) <= 0).all()
    for _ in range(5):
        assert np.array_equal(found, merged(rng.permutation(birds)))
    assert np.array_equal(found, merged(found))  # and once is enough


def test_merging_no_boxes_gives_none():
    found = tiles.merge(np.zeros((0, 5), np.float32), np.zeros((0, 4), bool))
    assert found.shape == (0, 5) and found.dtype == np.float32


def test_boxes_are_clipped_to_the_image():
    found = geometry.clip(boxes([-5, -5, 20, 20, 0.5], [90, 90, 20, 5, 0.4], [200, 10, 5, 5, 0.9]), 100, 100)
    assert np.allclose(found, [[0, 0, 15, 15, 0.5], [90, 90, 10, 5, 0.4]])
