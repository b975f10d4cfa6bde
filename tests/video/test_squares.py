import numpy as np
import pytest

from birdlib.video import squares

WHITE = 255


def photo(box, width=200, height=100):
    """Black, with a white box: x, y, width, height."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y, box_width, box_height = box
    image[y : y + box_height, x : x + box_width] = WHITE
    return image


def test_square_around_a_box_has_the_margin_on_each_side():
    """A box of 20 x 10 with a margin of a tenth of 20 makes a square of 24, the box in its middle."""
    box = (100, 40, 20, 10)
    found = squares.around(photo(box), box, margin=0.1)
    assert found.shape == (24, 24, 3)
    rows, columns = np.nonzero(found[..., 0])
    assert (rows.min(), rows.max() + 1) == (7, 17) and (columns.min(), columns.max() + 1) == (2, 22)


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (170, 70, 30, 30), (0, 70, 30, 30)])
def test_square_at_the_edge_is_shifted_into_the_image(box):
    found = squares.around(photo(box), box, margin=0.5)
    assert found.shape == (60, 60, 3) and (found == WHITE).all(axis=2).sum() == 900


def test_bird_that_fills_a_wide_photo_is_limited_by_its_height():
    box = (10, 10, 180, 80)
    found = squares.around(photo(box), box)
    assert found.shape == (100, 200, 3)


def test_box_of_no_size_gives_a_pixel():
    assert squares.around(photo((0, 0, 1, 1)), (5.0, 5.0, 0.0, 0.0)).shape == (1, 1, 3)
