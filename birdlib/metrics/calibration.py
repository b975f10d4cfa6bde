"""Calibration: maps scores to probabilities, so that of the windows with probability 0.8 eight of ten contain the species.

Scores are (n, classes) in [0, 1]; truth has the same shape, of 0 and 1. A calibration is fitted on validation and is a dict of plain
numbers, fit for JSON. Its curves are monotone, so rankings and ROC-AUC hardly change.
"""

import numpy as np
import pandas as pd

SCOPES = ("pooled", "class")  # one curve for all classes, or one for each class with enough positives and the pooled one for the others
MIN_POSITIVES = 10  # and as many negatives, for a curve of its own
_N_FOLDS = 5
_EPS = 1e-6  # scores are clipped to [_EPS, 1 - _EPS]
_Z_90 = 1.6449  # of a 90 % interval


def fit(scores, truth, method, scope="pooled"):
    """Fit a calibration.

    Args:
        method: ``none``; or
            ``platt``: p = sigmoid(a logit(score) + b), with a >= 0, on smoothed targets: "Probabilistic Outputs for Support Vector
            Machines" (1999); or
            ``isotonic``: a monotone step function, "Transforming Classifier Scores into Accurate Multiclass Probability
            Estimates" (2002).
        scope: one of ``SCOPES``.

    Returns:
        dict: ``method, scope, pooled`` (the curve of all classes) and ``classes`` ({column as text: curve}).

    Raises:
        ValueError: for another method or scope.
    """
    if method not in _METHODS or scope not in SCOPES:
        raise ValueError(f"calibration {method!r}, {scope!r} is unknown: use {', '.join(_METHODS)} and {', '.join(SCOPES)}")
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth)
    fit_curve, _ = _METHODS[method]
    columns = np.flatnonzero(_has_enough(truth)) if scope == "class" else []
    classes = {str(column): fit_curve(scores[:, column], truth[:, column]) for column in columns}
    return {"method": method, "scope": scope, "pooled": fit_curve(scores.ravel(), truth.ravel()), "classes": classes}


def apply(calibration, scores):
    """Scores (n, classes) → probabilities (n, classes) float32, by a calibration from ``fit`` or read from its JSON."""
    scores = np.asarray(scores, np.float64)
    _, apply_curve = _METHODS[calibration["method"]]
    probabilities = apply_curve(calibration["pooled"], scores)
    for column, curve in calibration["classes"].items():
        probabilities[:, int(column)] = apply_curve(curve, scores[:, int(column)])
    return probabilities.astype(np.float32)


def choose(scores, truth, groups, rng):
    """Choose method and scope by log loss in cross-validation over groups, then fit on everything.

    Args:
        groups: (n,); a group is never split between folds.
        rng: assigns groups to folds.

    Returns:
        (calibration, table): ``method, scope, log_loss, brier, is_chosen``, a row for each candidate. With fewer than two groups or no
        positives the method is ``none`` and the table empty.
    """
    scores, truth, groups = np.asarray(scores, np.float64), np.asarray(truth), np.asarray(groups)
    scopes = SCOPES if _has_enough(truth).any() else SCOPES[:1]
    candidates = [("none", "pooled"), *((method, scope) for scope in scopes for method in ("platt", "isotonic"))]
    names = np.unique(groups)
    if len(names) < 2 or not truth.any():
        return fit(scores, truth, "none"), pd.DataFrame(columns=["method", "scope", "log_loss", "brier", "is_chosen"])
    fold_of = dict(zip(rng.permutation(names), np.arange(len(names)) % _N_FOLDS, strict=True))
    folds, rows = np.array([fold_of[name] for name in groups]), []
    for method, scope in candidates:
        held_out = np.zeros_like(scores)
        for fold in np.unique(folds):
            is_test = folds == fold
            held_out[is_test] = apply(fit(scores[~is_test], truth[~is_test], method, scope), scores[is_test])
        rows.append((method, scope, log_loss(truth, held_out), brier(truth, held_out)))
    table = pd.DataFrame(rows, columns=["method", "scope", "log_loss", "brier"])
    best = table["log_loss"].idxmin()
    return fit(scores, truth, *candidates[best]), table.assign(is_chosen=table.index == best)


# Metrics of probabilities. scikit-learn's log loss and Brier score take one class; its calibration curve has no counts and intervals.


def log_loss(truth, probabilities):
    """Mean negative log-likelihood over all decisions; 0 is perfect, 0.693 chance."""
    p = np.clip(np.asarray(probabilities, np.float64), _EPS, 1.0 - _EPS)
    return float(-np.mean(np.where(np.asarray(truth) == 1, np.log(p), np.log1p(-p))))


def brier(truth, probabilities):
    """Mean squared error of probabilities: "Verification of Forecasts Expressed in Terms of Probability" (1950)."""
    return float(np.mean(np.square(np.asarray(probabilities, np.float64) - truth)))


def reliability(truth, probabilities, n_bins=10):
    """Reliability diagram: predicted probability and observed frequency in bins of equal width.

    Returns:
        DataFrame, a row for each bin that is not empty: ``low, high, n, predicted`` (mean probability), ``observed`` (share of positives),
        ``observed_low, observed_high``, its 90 % interval ("Probable Inference, the Law of Succession, and Statistical Inference",
        1927), as if decisions were independent.
    """
    p, y = np.ravel(np.asarray(probabilities, np.float64)), np.ravel(truth)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, n_bins - 1)
    rows = [(edges[i], edges[i + 1], *_observed(p, y, bins == i)) for i in np.unique(bins)]
    return pd.DataFrame(rows, columns=["low", "high", "n", "predicted", "observed", "observed_low", "observed_high"])


def expected_calibration_error(truth, probabilities, n_bins=10):
    """Mean distance of predicted and observed over bins, weighted by their counts.

    "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (2015).
    """
    table = reliability(truth, probabilities, n_bins)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["n"]))


def precision_table(truth, probabilities, thresholds=(0.1, 0.25, 0.5, 0.75, 0.9)):
    """Expected and observed precision of thresholds.

    Returns:
        DataFrame: ``threshold, n`` (decisions at or above it), ``expected_precision`` (their mean probability), ``precision`` and its 90 %
        interval ``precision_low, precision_high``; NaN where nothing is at or above the threshold.
    """
    p, y = np.ravel(np.asarray(probabilities, np.float64)), np.ravel(truth)
    rows = [(threshold, *_observed(p, y, p >= threshold)) for threshold in thresholds]
    return pd.DataFrame(
        rows, columns=["threshold", "n", "expected_precision", "precision", "precision_low", "precision_high"]
    )


def _observed(p, y, rows):
    """(n, mean probability, share of positives, low, high) of the chosen decisions; the interval is Wilson's."""
    n = int(rows.sum())
    if not n:
        return 0, *[np.nan] * 4
    share = float(y[rows].mean())
    centre, spread = share + _Z_90**2 / (2 * n), _Z_90 * np.sqrt(share * (1 - share) / n + _Z_90**2 / (4 * n**2))
    return n, float(p[rows].mean()), share, *(float(end / (1 + _Z_90**2 / n)) for end in (centre - spread, centre + spread))


def _has_enough(truth):
    n = truth.sum(axis=0)
    return np.minimum(n, len(truth) - n) >= MIN_POSITIVES


def _logit(scores):
    p = np.clip(scores, _EPS, 1.0 - _EPS)
    return np.log(p) - np.log1p(-p)


def _fit_platt(scores, truth):
    from sklearn.linear_model import LogisticRegression

    n_positives, n = int(truth.sum()), len(truth)
    target = np.where(truth == 1, (n_positives + 1) / (n_positives + 2), 1 / (n - n_positives + 2))
    rows, labels = np.tile(_logit(scores), 2)[:, None], np.repeat([1, 0], n)
    weights = np.concatenate([target, 1.0 - target])
    model = LogisticRegression(C=1e6, solver="newton-cholesky").fit(rows, labels, sample_weight=weights)
    a, b = float(model.coef_[0, 0]), float(model.intercept_[0])
    if a < 0:  # uninformative scores: all get the share of positives
        a, b = 0.0, float(_logit(target.mean()))
    return {"a": a, "b": b}


def _apply_platt(curve, scores):
    return 1.0 / (1.0 + np.exp(-(curve["a"] * _logit(scores) + curve["b"])))


def _fit_isotonic(scores, truth):
    from sklearn.isotonic import IsotonicRegression

    margin = 1.0 / (len(truth) + 2)  # nothing is certain after so few decisions
    model = IsotonicRegression(y_min=margin, y_max=1.0 - margin, out_of_bounds="clip").fit(scores, truth)
    return {"scores": model.X_thresholds_.tolist(), "probabilities": model.y_thresholds_.tolist()}


def _apply_isotonic(curve, scores):
    return np.interp(scores, curve["scores"], curve["probabilities"])


_METHODS = {  # name: (fit a curve, apply it)
    "none": (lambda *_: {}, lambda _, scores: scores.copy()),
    "platt": (_fit_platt, _apply_platt),
    "isotonic": (_fit_isotonic, _apply_isotonic),
}
