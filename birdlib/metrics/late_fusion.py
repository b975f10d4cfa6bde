"""Late fusion: scores of several modalities made comparable, and each trusted as far as it is reliable for a query.

As "WildFusion: Individual Animal Identification with Calibrated Similarity Fusion" (2024) does, the similarity of each modality is
calibrated to the chance that two samples carry the same label; the mean of these chances is then weighted by a gate, the
chance that the modality's nearest neighbour of this query is right. ``scores`` is (queries, gallery), larger meaning more alike;
a sample that lacks a modality has NaN there.
"""

from typing import NamedTuple

import numpy as np

_TRACE = (
    1e-3  # slope, by standard deviation, of a modality that knows nothing: where it stands alone its ranking is kept
)


class Calibration(NamedTuple):
    """Two logistic curves: of the similarity, the chance of the same label; of the gap, that of the nearest being right."""

    slope: float
    intercept: float
    gate_slope: float
    gate_intercept: float


def calibrate(scores, query_labels, gallery_labels):
    """Fit the calibration of one modality, on queries that neither the encoder nor a figure to be reported has seen.

    Queries without scores and those whose label is not in the gallery are left out. Pairs of same and of different labels weigh
    the same together, and all pairs of a query as much as one sample, since they are not independent: the fewer the queries,
    the nearer to knowing nothing. The gate is a constant, the share of queries that were right (one more right and one
    more wrong, Laplace's rule), where all or none were, where the gallery has one label, or where a wider gap was not a better sign.

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
    is_right = is_same[np.arange(len(scores)), nearest]
    gap = _gap(_probability(scores, slope, intercept), gallery_labels)
    return Calibration(slope, intercept, *_gate(gap, is_right))


def fuse(scores_by_modality, gallery_labels, calibrations):
    """Fuse scores: the mean of calibrated chances over modalities, weighted by each modality's gate for the query.

    Args:
        scores_by_modality: dict name -> (queries, gallery), NaN where a sample lacks the modality: its weight there is 0.
        gallery_labels: (gallery,), for the gap between the best and the second-best label.
        calibrations: dict name -> Calibration, of the same names or more.

    Returns:
        (queries, gallery) float64 in [0, 1]; NaN where all modalities are lacking. The order of the modalities does not matter.
    """
    above, weights = 0.0, 0.0
    for name in sorted(scores_by_modality):
        scores, fitted = np.asarray(scores_by_modality[name], float), calibrations[name]
        chances = _probability(scores, fitted.slope, fitted.intercept)
        gates = _probability(_gap(chances, gallery_labels), fitted.gate_slope, fitted.gate_intercept)
        is_there = ~np.isnan(scores)
        above = above + np.where(is_there, gates[:, None] * chances, 0.0)
        weights = weights + np.where(is_there, gates[:, None], 0.0)
    return np.divide(above, weights, out=np.full(weights.shape, np.nan), where=weights > 0)


def _calibration(scores, is_same):
    is_there = ~np.isnan(scores)
    values, is_same = scores[is_there], is_same[is_there]
    n_same = is_same.sum()
    if not 0 < n_same < len(values):
        return _flat(values)
    slope, intercept = _logistic(values, is_same, len(scores) / 2 / np.where(is_same, n_same, len(values) - n_same))
    return (slope, intercept) if slope > 0 else _flat(values)


def _flat(values):
    """One half everywhere, but for a trace of the ranking."""
    if not len(values):
        return _TRACE, 0.0
    slope = _TRACE / (values.std() if np.ptp(values) else 1.0)
    return float(slope), float(-slope * values.mean())


def _gate(gap, is_right):
    n_right = is_right.sum()
    if 0 < n_right < len(is_right):
        slope, intercept = _logistic(gap, is_right, np.ones(len(gap)))
        if slope > 0:
            return slope, intercept
    return 0.0, float(np.log((n_right + 1) / (len(is_right) - n_right + 1)))


def _logistic(values, truth, weight):
    """Slope and intercept; fitted on scaled values, so that the regression's shrinking knows no unit."""
    from sklearn.linear_model import LogisticRegression

    mean = np.average(values, weights=weight)
    deviation = np.sqrt(np.average((values - mean) ** 2, weights=weight)) if np.ptp(values) else 1.0
    fitted = LogisticRegression().fit(((values - mean) / deviation)[:, None], truth, sample_weight=weight)
    slope = float(fitted.coef_[0, 0] / deviation)
    return slope, float(fitted.intercept_[0] - slope * mean)


def _gap(chances, gallery_labels):
    """(queries,) how far the best label is above the second best; 0 where there is but one label, or no scores."""
    labels, number = np.unique(gallery_labels, return_inverse=True)
    if len(labels) < 2:
        return np.zeros(len(chances))
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(labels)))
    best = np.maximum.reduceat(np.nan_to_num(chances)[:, order], starts, axis=1)  # (queries, labels)
    second, first = np.partition(best, -2, axis=1)[:, -2:].T
    return first - second


def _probability(values, slope, intercept):
    from scipy.special import expit

    return expit(slope * values + intercept)
