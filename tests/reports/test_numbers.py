"""Numbers as people read them."""

import numpy as np
import pytest

from birdlib.reports import numbers


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.8734, 0.8312, 0.9101), "0.87 [0.83, 0.91]"),
        ((0.9732, 0.9576, 1.0), "0.97 [0.96, 1.00]"),
        ((0.5, 0.2, 0.8), "0.5 [0.2, 0.8]"),
        ((0.5123, np.nan, np.nan), "0.51"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((12.4, 8.0, 17.0), "12 [8, 17]"),
        ((-0.0047, -0.014, 0.004), "−0.005 [−0.014, 0.004]"),
    ],
)
def test_an_interval_decides_the_decimals(interval, text):
    assert numbers.with_interval(interval) == text


def test_counts_show_an_interval_that_holds_more_than_the_count():
    assert numbers.count_with_interval(10, 10, 14) == "10 [10, 14]"
    assert numbers.count_with_interval(3, 3, 3) == "3"


def test_missing_numbers_are_a_dash():
    assert [numbers.number(value) for value in (None, np.nan, np.inf)] == ["–"] * 3
    assert numbers.duration(np.nan) == numbers.megabytes(None) == "–"


def test_units_and_thousands():
    assert numbers.number(1234567, 0) == "1\u202f234\u202f567"
    assert numbers.number(0.125, 2, "%") == "12\u202f%"
    assert numbers.number(31.25, 1, "dB") == "31.2\u202fdB"
    assert [numbers.duration(seconds) for seconds in (0.37, 42, 125, 12000)] == ["0.4 s", "42 s", "2 min 05 s", "3 h 20 min"]
    assert [numbers.megabytes(size) for size in (4e5, 2.6e7, 1.84e9)] == ["0.4 MB", "26 MB", "1.8 GB"]


def test_lists_are_cut():
    assert numbers.listing(["a"]) == "a"
    assert numbers.listing("abc") == "a, b and c"
    assert numbers.listing("abcdefg", 3) == "a, b and 5 more"
    assert numbers.counted(1, "recording") == "1 recording"
    assert numbers.counted(2, "species", "species") == "2 species"
