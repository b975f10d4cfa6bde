import pandas as pd
import pytest

from birdlib.data import taxonomy
from birdlib.species import teacher_selection, teachers

NAMES = pd.DataFrame({"label": ["wren", "crow", "roc"], "scientific_name": ["A a", "B b", "R r"], "common_name": ["Wren", "Crow", "Roc"]})


def teacher(name, labels):
    known = pd.DataFrame({"species": NAMES.loc[NAMES["label"].isin(labels), "scientific_name"].tolist()})
    return teachers.Teacher(name, labels, None, 5.0, name, {}, taxonomy.match(NAMES, known))


@pytest.fixture
def found(monkeypatch):
    """BirdNET knows two birds, Perch none, YAMNet no species; a second Perch is missing."""
    available = {"birdnet": teacher("birdnet", ["wren", "crow"]), "perch": teacher("perch", []), "yamnet": teacher("yamnet", [])}

    def load_general(which, names, *options):
        notes = [("perch_v2", "missing, so its labels are absent: no such file")] if "perch_v2" in which else []
        return [available[name] for name in which if name in available], pd.DataFrame(notes, columns=["teacher", "note"])

    monkeypatch.setattr(teachers, "load_general", load_general)


def test_teachers_without_labels_or_weights_are_reported_and_not_used(found):
    used, everything, table = teacher_selection.general("birdnet, perch,perch_v2,yamnet", NAMES)
    assert [teacher.name for teacher in used] == ["birdnet", "yamnet"] and [teacher.name for teacher in everything] == ["birdnet", "perch", "yamnet"]
    table = table.set_index("teacher")
    assert table["labels"].to_dict() == {"birdnet": 2, "perch": 0, "perch_v2": 0, "yamnet": 0}
    assert "not used" in table["note"]["perch"] and "missing" in table["note"]["perch_v2"] and "sounds that are none" in table["note"]["yamnet"]
    assert teacher_selection.general("", NAMES)[0] == []


def test_mel_models_are_trained_and_no_general_teachers(found):
    used, _, table = teacher_selection.general("birdnet,mobilenetv2", NAMES)
    assert [teacher.name for teacher in used] == ["birdnet"] and table["teacher"].tolist() == ["birdnet"]


def test_unmatched_species_are_listed_with_the_reason(found):
    """The roc is in the taxonomy, but there is no recording of it."""
    _, everything, _ = teacher_selection.general("birdnet,perch,yamnet", NAMES)
    table = teacher_selection.unmatched(NAMES, everything, ["roc"])
    assert table.groupby("label")["why"].apply(list).to_dict() == {
        "wren": ["perch does not know it"],
        "crow": ["perch does not know it"],
        "roc": ["birdnet does not know it", "perch does not know it", "no recordings: it cannot be trained"],
    }
    assert teacher_selection.unmatched(NAMES, [], []).empty


def test_teachers_are_selected_for_the_species_of_a_project(found, tmp_path):
    """A folder that is no BirdCLEF folder has no further species; names are matched by the teachers."""
    used, table, unmatched = teacher_selection.select("birdnet,yamnet", ["wren", "crow", "roc"], tmp_path)
    assert [teacher.name for teacher in used] == ["birdnet", "yamnet"] and table["labels"].tolist() == [2, 0]
    assert unmatched[["label", "why"]].to_numpy().tolist() == [["roc", "birdnet does not know it"]]


def test_teacher_coverage_is_described():
    labels_of = {"birdnet": ["wren"], "classifier": ["wren", "roc"]}
    assert teacher_selection.describe_coverage(labels_of, ["wren"]) == "1 of 1 species have a general teacher."
    assert teacher_selection.describe_coverage(labels_of, ["wren", "roc"]).endswith("read their labels with care: roc.")


def test_the_rarest_unknown_species_get_detectors():
    """One recording is too few to train on, and species of general teachers need no detector."""
    species = ["wren"] * 9 + ["crow"] * 2 + ["owl"] * 3 + ["roc"] + ["gull"] * 2
    splits = pd.DataFrame({"species": species, "split": "train"})
    assert teacher_selection.rare_species(2, splits, {"crow"}) == ["gull", "owl"]
    assert teacher_selection.rare_species(9, splits, set()) == ["crow", "gull", "owl", "wren"] and teacher_selection.rare_species(0, splits, set()) == []


def test_a_misspelt_teacher_is_refused_and_all_are_named():
    teacher_selection.require("birdnet, mobilenetv2, yamnet")
    with pytest.raises(teachers.TeacherError, match="called mobilnetv2: choose from .*mobilenetv2"):
        teacher_selection.require("birdnet,mobilnetv2")
