import numpy as np
import pandas as pd
import pytest
from arrays import rng

from birdlib.metrics import classification
from birdlib.species import evaluation

THRESHOLDS = dict.fromkeys("ab", np.full(3, 0.5))


def scored(n=60):
    """Three species, twenty groups; every third row of test repeats a training recording and is correct."""
    splits = pd.DataFrame({"split": np.where(np.arange(n) % 6 == 0, "train", "test"), "group_id": np.arange(n) // 3})
    splits["is_repeated"] = (np.arange(n) % 3 == 1) & (splits["split"] == "test")
    labels = rng(3).integers(0, 3, n)
    truth = np.eye(3)[labels]
    scores = np.where(splits["is_repeated"].to_numpy()[:, None], truth, rng(4).random((n, 3)))
    return splits, truth, labels, scores


def figures_of(table):
    return table.drop(columns=["classifier", "rows", "n"])


def test_intervals_contain_their_values():
    splits, truth, labels, scores = scored()
    table = evaluation.scores_table({"a": scores, "b": truth * 1.0}, splits, truth, labels, THRESHOLDS, rng())
    assert len(table) == 4
    for value, low, high in figures_of(table).to_numpy().ravel():
        assert 0.0 <= low <= value <= high <= 1.0
    perfect = figures_of(table[table["classifier"] == "b"]).to_numpy().ravel()
    assert all(figure == [1.0, 1.0, 1.0] for figure in perfect)


def test_repeated_rows_are_left_out():
    splits, truth, labels, scores = scored()
    table = evaluation.scores_table({"a": scores}, splits, truth, labels, THRESHOLDS, rng()).set_index("rows")
    is_test, is_repeated = (splits["split"] == "test").to_numpy(), splits["is_repeated"].to_numpy()
    own = is_test & ~is_repeated
    assert table["n"].tolist() == [is_test.sum(), own.sum()]
    assert table.loc["test without repeated rows", "accuracy"][0] == classification.accuracy(labels[own], scores[own])
    assert table.loc["test", "accuracy"][0] > table.loc["test without repeated rows", "accuracy"][0]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_figures_without_any_own_row_are_nan():
    splits, truth, labels, scores = scored()
    splits = splits.assign(is_repeated=True)
    table = evaluation.scores_table({"a": scores}, splits, truth, labels, THRESHOLDS, rng())
    assert table["n"].tolist() == [50, 0]
    assert np.isnan(np.array(figures_of(table).iloc[1].tolist())).all()


def test_description_uses_rows_that_are_not_repeated():
    splits, truth, labels, scores = scored()
    table = evaluation.scores_table({"a": scores, "b": truth * 1.0}, splits, truth, labels, THRESHOLDS, rng())
    text = evaluation.describe(table)
    assert text.startswith("On the 30 test recordings that are not repeated, b has the best macro ROC-AUC (1.000") and "Repeated" not in text
    assert "Repeated rows would raise it" in evaluation.describe(table[table["classifier"] == "a"])
    nothing = evaluation.scores_table({"a": scores}, splits.assign(is_repeated=True), truth, labels, THRESHOLDS, rng())
    assert "no recording of its own" in evaluation.describe(nothing)


def test_description_of_species_lists_the_weakest_first():
    table = pd.DataFrame({"species": ["jay", "owl", "tit"], "n_positives": [3, 3, 0], "f1": [0.4, 0.1, np.nan]})
    assert evaluation.describe_species(table).startswith("F1 below 0.5: owl, jay.") and "without test recordings: 1 species." in evaluation.describe_species(table)
    assert evaluation.describe_species(table.assign(f1=0.9, n_positives=1)) == "No species has an F1 below 0.5."
