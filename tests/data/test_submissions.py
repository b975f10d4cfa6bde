"""The submission file and each of its faults."""

import numpy as np
import pandas as pd
import pytest

from birdlib.data import submissions


def test_a_submission_has_the_required_labels(tmp_path):
    """The classifier knows a label that is not wanted (owl) and lacks one that is (10)."""
    scores = np.array([[0.1, 0.2], [0.3, 0.4]])
    table = submissions.table(["s_5", "s_10"], scores, ["owl", "crow"], ["crow", "10"], 0.01)
    assert list(table.columns) == ["row_id", "10", "crow"]
    assert list(table["crow"]) == [0.2, 0.4] and list(table["10"]) == [0.01, 0.01]
    table.to_csv(tmp_path / "submission.csv", index=False)
    written = pd.read_csv(tmp_path / "submission.csv")
    assert submissions.find_faults(written, ["crow", "10"], ["s_5", "s_10"]) == []
    submissions.require_valid(written, ["crow", "10"], ["s_5", "s_10"])


def test_a_submission_without_rows_is_valid():
    table = submissions.table([], np.zeros((0, 2)), ["b", "a"])
    assert submissions.find_faults(table, ["a", "b"], []) == []


def test_every_fault_of_a_submission_is_reported():
    table = pd.DataFrame(
        {
            "row_id": ["s_5", "s_10", "s_10", "x_5"],
            "a": [0.1, np.nan, 0.2, 0.3],
            "b": [1.5, -0.1, 0.2, 0.3],
            "d": ["high", "0.1", "0.2", "0.3"],
            "z": [0.1, 0.1, 0.1, np.inf],
        }
    )
    assert submissions.find_faults(table, ["a", "b", "c", "d"], ["s_5", "s_10", "s_15"]) == [
        "1 columns are missing: c",
        "1 columns are not wanted: z",
        "1 rows are missing: s_15",
        "1 rows are not wanted: x_5",
        "1 rows are there twice: s_10",
        "1 scores are empty (NaN): s_10/a",
        "1 scores are not numbers: s_5/d",
        "1 scores are below 0: s_10/b",
        "2 scores are above 1: s_5/b, x_5/z",
    ]
    with pytest.raises(submissions.SubmissionError, match="(?s)columns are missing: c.*above 1"):
        submissions.require_valid(table, ["a", "b", "c", "d"], ["s_5", "s_10", "s_15"])


def test_column_order_and_duplicates_are_faults():
    table = pd.DataFrame([["s_5", 0.1, 0.2]], columns=["row_id", "b", "a"])
    assert submissions.find_faults(table, ["a", "b"], ["s_5"]) == ["columns are out of order: column 2 is b, not a"]
    table.columns = ["row_id", "a", "a"]
    faults = submissions.find_faults(table, ["a", "b"], ["s_5"])
    assert faults == ["1 columns are missing: b", "1 columns are there twice: a"]
    assert "1 columns are missing: row_id" in submissions.find_faults(table[["a"]], ["a"], ["s_5"])


def test_a_sample_submission_of_other_species_is_refused():
    assert submissions.require_shared_species(["crow", "tit"], ["owl", "tit"]) == (["owl"], ["crow"])
    with pytest.raises(submissions.SubmissionError, match="(?s)1 columns are missing: owl.*2 columns are not wanted: crow, tit"):
        submissions.require_shared_species(["crow", "tit"], ["owl"])
