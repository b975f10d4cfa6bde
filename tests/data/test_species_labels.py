"""Labels that look alike are one label; cells with several labels are split as they were meant."""

import json
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdlib.data import species_labels

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=";"), max_size=10).map(species_labels.clean)
NAMES = NAMES.filter(lambda name: name and name[0] not in "[{('\"" and name[-1] not in "]})'\"")


@pytest.mark.parametrize(
    ("text", "spelling"),
    [("  Turdus \u00a0 merula ", "Turdus merula"), ("Tu\u0308rkentaube\u200b", "Türkentaube"), ("\ufeffrobin", "robin"), ("nan", ""),
     ("NaN", ""), ("None", "None"), ("NA", "NA"), ("007", "007"), ("1e5", "1e5"), ("尖尾雨燕", "尖尾雨燕"), ("\t", "")],
)  # fmt: skip
def test_the_spelling_of_a_label(text, spelling):
    assert species_labels.clean(text) == spelling


@given(st.text(max_size=12))
def test_cleaning_twice_changes_nothing(text):
    assert species_labels.clean(species_labels.clean(text)) == species_labels.clean(text)


def test_lookalikes_get_the_most_frequent_spelling_with_a_warning():
    labels = ["Crow", "crow", "Crow", unicodedata.normalize("NFD", "Möwe"), "Möwe\u200b", "Tit"]
    with pytest.warns(UserWarning, match=r"4 spellings .*'Mo\\u0308we' as 'Möwe'.*'crow' as 'Crow'"):
        spelling = species_labels.merge_lookalikes(labels, ["CROW "])
    assert [spelling[label] for label in labels] == ["Crow", "Crow", "Crow", "Möwe", "Möwe", "Tit"]
    assert spelling["CROW "] == "Crow"


def test_labels_of_a_taxonomy_are_never_merged_and_win(recwarn):
    assert species_labels.merge_lookalikes(["A1", "a1", "A1"], known=["A1", "a1"]) == {"A1": "A1", "a1": "a1"}
    assert not recwarn.list
    with pytest.warns(UserWarning, match="'CROW' as 'crow'"):
        assert species_labels.merge_lookalikes(["CROW", "CROW"], known=["crow"]) == {"CROW": "crow"}


@given(st.lists(st.sampled_from(["a", "A", "a ", "b", "B\u200b", "é", "e\u0301", "É"]), max_size=9))
def test_merging_does_not_depend_on_the_order_and_is_stable(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spelling = species_labels.merge_lookalikes(labels)
        assert spelling == species_labels.merge_lookalikes(labels[::-1])
        merged = [spelling[label] for label in labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(species_labels.merge_lookalikes(merged).items()) == {(label, label) for label in merged}


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("", []), ("nan", []), ("[]", []), ("['']", []), ("[nan]", []), ("()", []), (";", []),
        ("Turdus merula", ["Turdus merula"]), ("a; b ;;a", ["a", "b"]), ("['a', 'b']", ["a", "b"]), ('["a","b"]', ["a", "b"]),
        ("['a' 'b']", ["a", "b"]), ("['a'\n 'b']", ["a", "b"]), ("[a, b]", ["a", "b"]), ("[1139490, 1e5]", ["1139490", "1e5"]),
        ("['Turdus merula_Common Blackbird']", ["Turdus merula_Common Blackbird"]), ("{'a', 'b'}", ["a", "b"]), ("('a',)", ["a"]),
        ("""["Anna's Hummingbird", 'b']""", ["Anna's Hummingbird", "b"]), ("['Anna's Hummingbird', 'b']", ["Anna's Hummingbird", "b"]),
        ("[Anna's Hummingbird, b]", ["Anna's Hummingbird", "b"]), ('["Gr\\u00fcnspecht"]', ["Grünspecht"]),
        ("robin, tit", ["robin", "tit"]), ("robin|tit", ["robin", "tit"]), ("Robin, European", ["Robin, European"]),
        ("Rock Pigeon (+gulls)", ["Rock Pigeon (+gulls)"]), ("ROBIN,tit,", ["ROBIN", "tit"]),
    ],
)  # fmt: skip
def test_cells_with_several_labels(cell, labels):
    assert species_labels.split(cell, ["robin", "tit"]) == labels


@given(st.lists(NAMES, max_size=4, unique=True), st.sampled_from([str, json.dumps, ";".join, lambda names: str(np.array(names, dtype=object))]))
def test_lists_of_labels_are_read_back(names, write):
    assert species_labels.split(write(names)) == names


@given(st.text(st.sampled_from("ab,;|[](){}'\" \\"), max_size=14))
def test_splitting_what_was_split_changes_nothing(cell):
    once = species_labels.split(cell, ["a", "b"])
    assert species_labels.split(";".join(once), ["a", "b"]) == once
