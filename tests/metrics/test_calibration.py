"""Calibration: probabilities are observed frequencies."""

import json

import numpy as np
import pytest

from birdlib.metrics import calibration, classification

N = 400


@pytest.fixture(scope="module")
def overconfident():
    """(scores, truth): logits are doubled."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.0, 1.5, (N, 3))
    truth = (rng.random((N, 3)) < 1 / (1 + np.exp(-logits))).astype(int)
    return 1 / (1 + np.exp(-2 * logits)), truth


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("scope", calibration.SCOPES)
def test_calibration_improves_overconfident_scores(overconfident, method, scope):
    scores, truth = overconfident
    fitted = json.loads(json.dumps(calibration.fit(scores[::2], truth[::2], method, scope)))
    calibrated = calibration.apply(fitted, scores[1::2])
    for figure in (calibration.log_loss, calibration.brier, calibration.expected_calibration_error):
        assert figure(truth[1::2], calibrated) < figure(truth[1::2], scores[1::2])


def test_platt_recovers_the_slope_of_doubled_logits(overconfident):
    """The slope that undoes it is a half."""
    curve = calibration.fit(*overconfident, "platt")["pooled"]
    assert curve["a"] == pytest.approx(0.5, abs=0.05) and curve["b"] == pytest.approx(0.0, abs=0.15)


def test_platt_keeps_rankings(overconfident):
    scores, truth = overconfident
    calibrated = calibration.apply(calibration.fit(scores, truth, "platt", "class"), scores)
    assert np.allclose(classification.roc_auc(truth, calibrated), classification.roc_auc(truth, scores), atol=1e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_uninformative_scores_become_the_base_rate(method):
    truth = np.arange(200).reshape(-1, 1) % 4 == 0
    scores = np.where(truth, 0.3, 0.7)  # the wrong way round
    assert calibration.apply(calibration.fit(scores, truth.astype(int), method), scores) == pytest.approx(0.25, abs=0.02)


def test_calibrated_probabilities_are_never_0_or_1():
    """Ten of ten say little about the eleventh."""
    scores, truth = np.linspace(0.1, 0.9, 20)[:, None], (np.arange(20) >= 10).astype(int)[:, None]
    for method in ("platt", "isotonic"):
        p = calibration.apply(calibration.fit(scores, truth, method), scores[[0, -1]])
        assert 0 < p[0, 0] < 0.15 and 0.85 < p[1, 0] < 1


def test_a_class_with_few_positives_has_no_curve_of_its_own(overconfident):
    scores, truth = overconfident[0], overconfident[1].copy()
    truth[calibration.MIN_POSITIVES :, 2] = 0
    truth[: calibration.MIN_POSITIVES - 1, 2] = 1
    truth[calibration.MIN_POSITIVES - 1, 2] = 0
    assert set(calibration.fit(scores, truth, "platt", "class")["classes"]) == {"0", "1"}


def test_choose_takes_the_lowest_log_loss_and_leaves_calibrated_scores(overconfident):
    rng, groups = np.random.default_rng(1), np.arange(N) // 4
    fitted, table = calibration.choose(*overconfident, groups, rng)
    assert fitted["method"] != "none" and table["is_chosen"].sum() == 1
    assert table["log_loss"].min() == table.loc[table["is_chosen"], "log_loss"].item()
    calibrated = calibration.apply(fitted, overconfident[0])  # of the very same decisions
    again = calibration.choose(calibrated, overconfident[1], groups, rng)[1].set_index(["method", "scope"])["log_loss"]
    assert again["none", "pooled"] - again.min() < 0.01


def test_without_positives_or_groups_scores_stay_as_they_are():
    scores = np.full((4, 2), 0.3)
    for truth, groups in ((np.zeros((4, 2)), np.arange(4)), (np.eye(4)[:, :2], np.zeros(4))):
        fitted, table = calibration.choose(scores, truth, groups, np.random.default_rng(0))
        assert table.empty and np.array_equal(calibration.apply(fitted, scores), np.float32(scores))


def test_reliability_compares_predicted_and_observed():
    """Eight of ten at 0.8, none of ten at 0.05: on the diagonal, but for 0.05."""
    p, truth = np.repeat([[0.05], [0.8]], 10, axis=0), np.array([0] * 10 + [1] * 8 + [0] * 2)[:, None]
    table = calibration.reliability(truth, p)
    assert table["observed"].tolist() == [0.0, 0.8] and table["n"].tolist() == [10, 10]
    assert ((table["observed_low"] <= table["observed"]) & (table["observed"] <= table["observed_high"])).all()
    assert calibration.expected_calibration_error(truth, p) == pytest.approx(0.025)


def test_expected_precision_is_the_mean_probability_above_the_threshold():
    p, truth = np.array([[0.2, 0.6, 0.8]]), np.array([[0, 1, 1]])
    table = calibration.precision_table(truth, p, (0.5, 0.9)).set_index("threshold")
    assert table.loc[0.5, "expected_precision"] == pytest.approx(0.7) and table.loc[0.5, "precision"] == 1.0
    assert table.loc[0.9, "n"] == 0 and np.isnan(table.loc[0.9, "precision"])
