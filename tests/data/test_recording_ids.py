"""Ids are valid and unique, whatever was written, and do not depend on the order of the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdlib.data import recording_ids

ROWS = st.tuples(st.sampled_from(["", "a", "a-1", "a b", "a_b", "ä", "尾", "1.2E+11", "a-ogg"]) | st.text(max_size=4),
                 st.sampled_from(["a.ogg", "a.mp3", "b/a.ogg", "尾.jpg", ""]), st.sampled_from(["", "0-5"]))  # fmt: skip


def unique(*rows):
    return recording_ids.unique(*zip(*rows, strict=True)) if rows else []


def test_valid_ids_stay():
    assert unique(("a", "x.ogg", ""), ("B-2_", "x.ogg", ""), ("007", "", "")) == ["a", "B-2_", "007"]


def test_other_characters_are_replaced_and_an_empty_id_is_the_files_stem():
    rows = [("Grünspecht 1.2", "x.ogg", ""), ("", "sub/Wald 3.ogg", ""), ("", "", "")]
    assert unique(*rows) == ["Grunspecht_1_2", "Wald_3", "recording"]


def test_the_files_suffix_tells_two_formats_apart():
    assert unique(("p1", "p1.jpg", ""), ("p1", "p1.PNG", ""), ("p2", "p2.jpg", "")) == ["p1-jpg", "p1-png", "p2"]


def test_rounded_numbers_get_a_digest_of_their_file():
    first, second = unique(("1.2E+11", "a.ogg", ""), ("1.2E+11", "b.ogg", ""))
    assert first.startswith("1_2E_11-") and second.startswith("1_2E_11-") and first != second
    with pytest.warns(UserWarning, match=r"2 recording_ids .*'1.2E\+11' to '1_2E_11-.*format the column as text"):
        assert recording_ids.repair(["1.2E+11"] * 2, ["a.ogg", "b.ogg"], ["", ""]) == [first, second]


@given(st.lists(ROWS, max_size=7))
def test_any_ids_become_valid_unique_and_stable(rows):
    ids = unique(*rows)
    assert len(set(ids)) == len(ids) and all(map(recording_ids.is_valid, ids))
    assert unique(*((name, *row[1:]) for name, row in zip(ids, rows, strict=True))) == ids


@given(st.lists(ROWS, max_size=7, unique=True), st.randoms())
def test_the_order_of_different_rows_does_not_matter(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    ids = unique(*rows)
    assert unique(*(rows[index] for index in order)) == [ids[index] for index in order]


def test_many_rows_are_quick():
    names = [f"r{index // 2}" for index in range(20_000)]
    assert len(np.unique(recording_ids.unique(names, [f"{index}.ogg" for index in range(20_000)], names))) == 20_000
