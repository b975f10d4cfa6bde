import numpy as np
import pytest

from birdlib.species import detections

ROWS = ["S_1_5", "S_1_10", "S_2_5"]
SCORES = np.array([[0.9, 0.2], [0.6, 0.1], [0.7, 0.8]])
IDENTITY = {"method": "platt", "scope": "pooled", "pooled": {"a": 1.0, "b": 0.0}, "classes": {}}


def test_detections_above_the_threshold_are_sorted_by_probability():
    found = detections.find(ROWS, SCORES, ["tit", "owl"], [0.65, 0.15])
    assert found[["row_id", "species"]].to_numpy().tolist() == [["S_2_5", "owl"], ["S_1_5", "owl"], ["S_1_5", "tit"], ["S_2_5", "tit"]]
    assert found[["soundscape", "start_s", "end_s"]].to_numpy().tolist()[0] == ["S_2", 0.0, 5.0]
    assert found["probability"].isna().all() and found["expected_precision"].isna().all()


def test_expected_precision_is_the_mean_probability_down_to_here():
    """0.9, then (0.9 + 0.7) / 2, then (0.9 + 0.7 + 0.6) / 3."""
    found = detections.find(ROWS, SCORES[:, :1], ["tit"], None, IDENTITY)
    assert found["expected_precision"].tolist() == pytest.approx([0.9, 0.8, 2.2 / 3], abs=1e-5)
    assert found["probability"].tolist() == pytest.approx(found["score"].tolist(), abs=1e-5)
    [row] = detections.by_species(found).to_dict("records")
    assert row["detections"] == 3 and row["soundscapes"] == 2 and row["expected_correct"] == pytest.approx(2.2, abs=1e-4)


def test_no_detections_give_an_empty_table():
    found = detections.find(ROWS, 0 * SCORES, ["tit", "owl"], [0.5, 0.5], IDENTITY)
    assert list(found) == detections.COLUMNS and found.empty and detections.by_species(found).empty
    assert detections.find([], np.zeros((0, 2)), ["tit", "owl"], None).empty
