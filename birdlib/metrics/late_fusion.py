"""Late fusion of the scores of several modalities, after calibration and weighted by their reliability for each query.

As in "WildFusion: Individual Animal Identification with Calibrated Similarity Fusion" (2024), the similarity of each modality is
calibrated to the probability that two samples have the same label; the mean of these probabilities is weighted by a gate, the
probability that the modality's nearest neighbour of this query is correct. ``scores`` is (queries, gallery), higher for more similar;
NaN where a sample lacks the modality.
"""

from typing import NamedTuple

import numpy as np

_MIN_SLOPE = 1e-3  # by standard deviation, of an uninformative modality: keeps its ranking where it is the only one


class Calibration(NamedTuple):
    """Two logistic curves: similarity → probability of the same label; gap → probability that the nearest is correct."""

    slope: float
    intercept: float
    gate_slope: float
    gate_intercept: float


def calibrate(scores, query_labels, gallery_labels):
    """Fit the calibration of one modality, on queries used neither for training nor for reported metrics.

    Queries without scores and those whose label is not in the gallery are left out. Pairs of same and of different labels have
    equal total weight, and all pairs of a query that of one sample, since they are not independent: few queries are regularised
    more. The gate is constant, the smoothed share of correct queries (Laplace's rule), where all or none were correct, where the
    gallery has one label, or where its slope would be negative.

    Args:
        scores: (queries, gallery).
        query_labels, gallery_labels: (queries,) and (gallery,).

    Returns:
        Calibration: ``slope`` is positive, ``gate_slope`` is not negative.
    """
    scores, gallery_labels = np.asarray(scores, float), np.asarray(gallery_labels)
    is_same = np.asarray(query_labels)[:, None] == gallery_labels
    kept = is_same.any(axis=1) & ~np.isnan(scores).all(axis=1)
    scores, is_same = scores[kept], is_same[kept]
    slope, intercept = _calibration(scores, is_same)
    nearest = np.nanargmax(scores, axis=1) if kept.any() else np.empty(0, int)
    is_correct = is_same[np.arange(len(scores)), nearest]
    gap = _gap(_probability(scores, slope, intercept), gallery_labels)
    return Calibration(slope, intercept, *_gate(gap, is_correct))


def fuse(scores_by_modality, gallery_labels, calibrations):
    """The mean of calibrated probabilities over modalities, weighted by each modality's gate for the query.

    Args:
        scores_by_modality: dict name -> (queries, gallery), NaN where a sample lacks the modality.
        gallery_labels: (gallery,), for the gap between the best and the second-best label.
        calibrations: dict name -> Calibration, of the same names or more.

    Returns:
        (queries, gallery) float64 in [0, 1]; NaN where all modalities are missing.
    """
    weighted, weights = 0.0, 0.0
    for name in sorted(scores_by_modality):  # float sums depend on the order
        scores, fitted = np.asarray(scores_by_modality[name], float), calibrations[name]
        probabilities = _probability(scores, fitted.slope, fitted.intercept)
        gates = _probability(_gap(probabilities, gallery_labels), fitted.gate_slope, fitted.gate_intercept)
        is_present = ~np.isnan(scores)
        weighted = weighted + np.where(is_present, gates[:, None] * probabilities, 0.0)
        weights = weights + np.where(is_present, gates[:, None], 0.0)
    return np.divide(weighted, weights, out=np.full(weights.shape, np.nan), where=weights > 0)


def _calibration(scores, is_same):
    is_present = ~np.isnan(scores)
    values, is_same = scores[is_present], is_same[is_present]
    n_same = is_same.sum()
    if not 0 < n_same < len(values):
        return _flat(values)
    slope, intercept = _logistic(values, is_same, len(scores) / 2 / np.where(is_same, n_same, len(values) - n_same))
    return (slope, intercept) if slope > 0 else _flat(values)


def _flat(values):
    """Probability one half everywhere, with the minimum slope."""
    if not len(values):
        return _MIN_SLOPE, 0.0
    slope = _MIN_SLOPE / (values.std() if np.ptp(values) else 1.0)
    return float(slope), float(-slope * values.mean())


def _gate(gap, is_correct):
    n_correct = is_correct.sum()
    if 0 < n_correct < len(is_correct):
        slope, intercept = _logistic(gap, is_correct, np.ones(len(gap)))
        if slope > 0:
            return slope, intercept
    return 0.0, float(np.log((n_correct + 1) / (len(is_correct) - n_correct + 1)))


def _logistic(values, truth, weight):
    """Slope and intercept; fitted on standardised values, so that the regularisation does not depend on units."""
    from sklearn.linear_model import LogisticRegression

    mean = np.average(values, weights=weight)
    deviation = np.sqrt(np.average((values - mean) ** 2, weights=weight)) if np.ptp(values) else 1.0
    fitted = LogisticRegression().fit(((values - mean) / deviation)[:, None], truth, sample_weight=weight)
    slope = float(fitted.coef_[0, 0] / deviation)
    return slope, float(fitted.intercept_[0] - slope * mean)


def _gap(probabilities, gallery_labels):
    """(queries,) best minus second-best label; 0 where there is only one label, or no scores."""
    labels, number = np.unique(gallery_labels, return_inverse=True)
    if len(labels) < 2:
        return np.zeros(len(probabilities))
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(labels)))
    best = np.maximum.reduceat(np.nan_to_num(probabilities)[:, order], starts, axis=1)  # (queries, labels)
    second, first = np.partition(best, -2, axis=1)[:, -2:].T
    return first - second


def _probability(values, slope, intercept):
    from scipy.special import expit

    return expit(slope * values + intercept)
