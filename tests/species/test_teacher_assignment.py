import numpy as np
import pandas as pd

from birdlib.species import pseudolabels, teacher_assignment

LABELS_OF = {"birdnet": ["robin"], "perch": ["robin", "tit"], "classifier": ["robin", "tit", "frog"], "detectors": ["cricket"]}


def test_the_projects_own_teachers_label_what_general_ones_do_not_know():
    table = teacher_assignment.assign(LABELS_OF, ["robin", "tit", "frog", "cricket", "moth"], ("birdnet", "perch"))
    assert dict(zip(table["label"], table["teachers"], strict=True)) == {
        "robin": "birdnet+perch", "tit": "perch", "frog": "classifier", "cricket": "detectors", "moth": ""
    }  # fmt: skip


def test_without_general_teachers_the_projects_own_label_everything():
    table = teacher_assignment.assign({"classifier": ["robin"], "detectors": ["robin"]}, ["robin"], ("birdnet",))
    assert table["teachers"].tolist() == ["classifier+detectors"]


def test_labels_of_all_teachers_are_combined():
    """The robin is assigned to BirdNET, so the classifier labels only the frog, in the robin's window; the engine is a negative."""
    windows = pd.DataFrame({"row_id": ["S_5", "S_10", "S_15"]})
    labels_of = {"birdnet": ["robin"], "classifier": ["robin", "frog"]}
    scores = {"birdnet": np.array([[0.9], [0.0], [0.0]]), "classifier": np.array([[0.0, 0.8], [0.95, 0.05], [0.0, 0.0]])}
    others = {"birdnet": np.array([0.0, 0.0, 0.9]), "classifier": np.zeros(3)}
    assignment = teacher_assignment.assign(labels_of, ["robin", "frog", "moth"], ("birdnet",))
    table = teacher_assignment.label(windows, scores, others, labels_of, assignment)
    assert {(row.row_id, row.label): row.target for row in table.itertuples()} == {("S_5", "robin"): 1, ("S_5", "frog"): 1, ("S_15", "robin"): 0, ("S_15", "frog"): 0}
    assert table.set_index(["row_id", "label"])["teacher"]["S_5"].to_dict() == {"robin": "birdnet", "frog": "classifier"}
    counted = pseudolabels.summary(table)
    assert counted["windows"].sum() == len(table) and set(counted["kind"]) == {"hard", "negative"}
