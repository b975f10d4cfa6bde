"""Metrics agree with scikit-learn where it defines them, and are NaN or an error where it does not."""

import numpy as np
import pytest
from sklearn import metrics as reference

from birdlib.metrics import classification


def random_case(seed, n=60, n_classes=7):
    """Truth with empty and full columns, scores with many ties."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, n_classes)) < rng.uniform(0.02, 0.6, n_classes)).astype(float)
    truth[:, 0], truth[:, 1], truth[0, 2:] = 0, 1, 1
    scores = np.round(rng.random((n, n_classes)) + 0.2 * truth, int(rng.integers(1, 4)))
    return truth, scores


@pytest.mark.parametrize("seed", range(30))
def test_auc_agrees_with_scikit_learn(seed):
    truth, scores = random_case(seed)
    columns = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    expected = reference.roc_auc_score(truth[:, columns], scores[:, columns], average=None)
    found = classification.roc_auc(truth, scores)
    np.testing.assert_allclose(found[columns], expected, rtol=0, atol=1e-9)
    assert np.isnan(np.delete(found, columns)).all()
    assert abs(classification.macro_roc_auc(truth, scores) - np.mean(expected)) < 1e-9


@pytest.mark.parametrize("seed", range(30))
def test_average_precision_agrees_with_scikit_learn(seed):
    truth, scores = random_case(seed)
    expected = reference.average_precision_score(truth[:, 1:], scores[:, 1:], average=None)
    np.testing.assert_allclose(classification.average_precision(truth, scores)[1:], expected, rtol=0, atol=1e-9)
    assert abs(classification.cmap(truth, scores) - expected[truth[:, 1:].any(axis=0)].mean()) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_padded_cmap_is_that_of_birdclef_2023(seed):
    """The competition put five rows of ones below truth and submission and took scikit-learn's macro mean."""
    truth, scores = random_case(seed)
    scores = scores / 2
    ones = np.ones((5, truth.shape[1]))
    expected = reference.average_precision_score(np.vstack([truth, ones]), np.vstack([scores, ones]), average="macro")
    assert abs(classification.cmap(truth, scores, padding=5) - expected) < 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_f1_agrees_with_scikit_learn(seed):
    truth, scores = random_case(seed)
    thresholds = np.random.default_rng(seed).uniform(0.2, 0.8, truth.shape[1])
    for name, value in classification.f1(truth, scores, thresholds).items():
        expected = reference.f1_score(truth, scores >= thresholds, average=name, zero_division=0)
        assert abs(value - expected) < 1e-12, name


def test_perfect_reversed_and_constant_rankings():
    """AUC 1, 0 and one half."""
    truth = np.array([[0.0], [0.0], [1.0], [1.0]])
    scores = np.array([[0.1], [0.2], [0.3], [0.4]])
    assert classification.macro_roc_auc(truth, scores) == 1.0
    assert classification.macro_roc_auc(truth, -scores) == 0.0
    assert classification.macro_roc_auc(truth, np.zeros((4, 1))) == 0.5


def test_auc_is_invariant_to_monotone_transforms():
    truth, scores = random_case(1)
    np.testing.assert_array_equal(classification.roc_auc(truth, scores), classification.roc_auc(truth, np.exp(3 * scores)))


def test_metrics_without_positives_are_nan():
    truth = np.zeros((5, 2))
    assert np.isnan(classification.macro_roc_auc(truth, truth))
    assert np.isnan(classification.cmap(truth, truth))
    assert np.isnan(classification.macro_roc_auc(np.zeros((0, 2)), np.zeros((0, 2))))
    assert np.isnan(classification.cmap(np.zeros((0, 2)), np.zeros((0, 2))))


def test_nan_scores_are_an_error_that_names_row_and_columns():
    truth, scores = random_case(0, n_classes=3)
    scores[4, 2] = np.nan
    for function in (classification.macro_roc_auc, classification.cmap, classification.f1, classification.best_thresholds):
        with pytest.raises(ValueError, match="1 scores are NaN, the first in row 4; in the columns 2"):
            function(truth, scores)
    with pytest.raises(ValueError, match="in the columns 'wren'"):
        classification.per_species_table(truth, scores, ["crow", "robin", "wren"])
    with pytest.raises(ValueError, match="NaN"):
        classification.accuracy(np.zeros(len(scores), int), scores)


def test_soft_labels_and_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="other than 0 and 1"):
        classification.macro_roc_auc(np.full((3, 1), 0.5), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="not the same"):
        classification.macro_roc_auc(np.zeros((3, 1)), np.zeros((3, 2)))


def test_accuracy_counts_ties_as_if_broken_at_random():
    """Four equal scores: right one time in four, among the best two half the time."""
    scores = np.array([[0.7, 0.1, 0.1, 0.1], [0.25] * 4])
    assert classification.accuracy([0, 3], scores) == pytest.approx((1 + 0.25) / 2)
    assert classification.accuracy([0, 3], scores, top_k=2) == pytest.approx((1 + 0.5) / 2)
    assert classification.accuracy([0, 3], scores, top_k=4) == 1.0


def test_per_species_table():
    """Crow: two found of two, one false alarm. Wren: no positives, no predictions."""
    truth = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.6, 0.2], [0.7, 0.3], [0.2, 0.4]])
    crow, wren = classification.per_species_table(truth, scores, ["crow", "wren"]).itertuples(index=False)
    assert (crow.species, crow.n_positives, crow.roc_auc, crow.recall) == ("crow", 2, 0.75, 1.0)
    assert crow.precision == pytest.approx(2 / 3) and crow.f1 == pytest.approx(0.8)
    assert wren.n_positives == 0 and np.isnan([wren.roc_auc, wren.precision, wren.recall, wren.f1]).all()


@pytest.mark.parametrize("seed", range(10))
def test_best_thresholds_maximise_f1(seed):
    truth, scores = random_case(seed)
    columns = truth.any(axis=0)

    def f1_of(thresholds):
        """(thresholds, classes), each class at each threshold a column of one call."""
        predicted = [scores >= threshold for threshold in thresholds]
        columns_of = np.tile(truth, len(predicted)), np.concatenate(predicted, axis=1)
        return reference.f1_score(*columns_of, average=None, zero_division=0).reshape(len(predicted), -1)[:, columns]

    best = f1_of([classification.best_thresholds(truth, scores)])
    assert (best >= f1_of(np.unique(scores)) - 1e-12).all()


def test_thresholds_of_classes_without_positives_fall_back():
    """All decisions pooled, 0.6 divides yes from no (0.8 against 0.4)."""
    truth = np.array([[1.0, 0.0], [0.0, 0.0]])
    scores = np.array([[0.8, 0.3], [0.2, 0.4]])
    np.testing.assert_allclose(classification.best_thresholds(truth, scores), [0.5, 0.6])
    np.testing.assert_allclose(classification.best_thresholds(truth, scores, fallback=0.9), [0.5, 0.9])
    np.testing.assert_allclose(classification.best_thresholds(np.zeros((2, 2)), scores), [0.5, 0.5])


def test_equal_error_rate_is_where_misses_and_false_alarms_cross():
    """Positives .9 .8 .7 .3, negatives .6 .4 .2 .1: keeping down to .6 misses 1 of 4 and lets pass 1 of 4."""
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.3, 0.6, 0.4, 0.2, 0.1])
    assert classification.equal_error_rate(truth, scores) == pytest.approx(0.25)


def test_equal_error_rate_lies_between_two_thresholds_where_no_one_is_equal():
    """Positives .9 .5, negatives .7 .3 .1. Keeping one misses 1/2 and passes 0; keeping two misses 1/2 and passes 1/3; keeping three
    misses none and passes 1/3: from the second to the third misses fall from 1/2 to 0 at 1/3 passed, so they cross at 1/3."""
    truth, scores = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.5, 0.7, 0.3, 0.1])
    assert classification.equal_error_rate(truth, scores) == pytest.approx(1 / 3)


def test_equal_error_rate_of_perfect_reversed_and_constant_rankings():
    truth, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    assert classification.equal_error_rate(truth, scores) == 0.0
    assert classification.equal_error_rate(truth, -scores) == 1.0
    assert classification.equal_error_rate(truth, np.zeros(4)) == pytest.approx(0.5)
    assert np.isnan(classification.equal_error_rate(np.ones(4), scores))
    with pytest.raises(ValueError, match="NaN"):
        classification.equal_error_rate(truth, [0.1, np.nan, 0.3, 0.4])


@pytest.mark.parametrize("seed", range(10))
def test_equal_error_rate_is_that_of_scikit_learns_curve(seed):
    """Where the straight lines between its points cross 1 - x."""
    truth, scores = random_case(seed)
    false_alarms, found, _ = reference.roc_curve(truth[:, 3], scores[:, 3], drop_intermediate=False)
    sums = false_alarms + found  # rises along the curve
    point = np.interp(1.0, sums, false_alarms)
    assert classification.equal_error_rate(truth[:, 3], scores[:, 3]) == pytest.approx(point, abs=1e-9)
