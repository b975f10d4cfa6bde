"""Calibration: from scores to probabilities, so that of the windows that are said to hold a bird with 0.8, eight of ten do.

Scores are (n, classes) in [0, 1]; truth has the same shape, of 0 and 1. A calibration is learnt on validation and is a dict of plain
numbers, fit for JSON. It turns the scores of a class by a curve that never falls, so it hardly changes a ranking, and thus no ROC-AUC.
"""

import numpy as np
import pandas as pd

_METHODS = ("none", "platt", "isotonic")  # the simplest first
SCOPES = ("pooled", "class")  # one curve for all, or one for each class that has enough positives and the pooled one for the others
ENOUGH = 10  # positives, and as many negatives, for a curve of one's own
_N_FOLDS = 5
_NEAREST = 1e-6  # of a score to 0 and 1
_Z_90 = 1.6449  # of a 90 % interval


def fit(scores, truth, method, scope="pooled"):
    """Learn a calibration.

    Args:
        method: one of ``_METHODS``.
            ``platt``: p = sigmoid(a logit(score) + b), with a >= 0, towards targets that leave room for doubt: "Probabilistic Outputs
            for Support Vector Machines" (1999).
            ``isotonic``: steps that never fall, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates" (2002).
        scope: one of ``SCOPES``.

    Returns:
        dict: ``method, scope, pooled``, the curve of all, and ``classes``, {column as text: curve}.

    Raises:
        ValueError: for another method or scope.
    """
    if method not in _METHODS or scope not in SCOPES:
        raise ValueError(f"calibration {method!r}, {scope!r} is unknown: choose of {', '.join(_METHODS)} and {', '.join(SCOPES)}")
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth)
    learn = {"none": lambda *_: {}, "platt": _platt, "isotonic": _isotonic}[method]
    own = np.flatnonzero(_has_enough(truth)) if scope == "class" else []
    classes = {str(column): learn(scores[:, column], truth[:, column]) for column in own}
    return {"method": method, "scope": scope, "pooled": learn(scores.ravel(), truth.ravel()), "classes": classes}


def apply(calibration, scores):
    """Scores (n, classes) → probabilities (n, classes) float32, by a calibration from ``fit`` or read from its JSON."""
    scores = np.asarray(scores, np.float64)
    if calibration["method"] == "none":
        return scores.astype(np.float32)
    bend = {"platt": _bend_platt, "isotonic": _bend_isotonic}[calibration["method"]]
    probabilities = bend(calibration["pooled"], scores)
    for column, curve in calibration["classes"].items():
        probabilities[:, int(column)] = bend(curve, scores[:, int(column)])
    return probabilities.astype(np.float32)


def choose(scores, truth, groups, rng):
    """Choose method and scope by log loss in cross-validation over groups, and learn it on everything.

    Args:
        groups: (n,) what must not lie on both sides.
        rng: shares the groups out.

    Returns:
        (calibration, table): the table has a row for each way, ``method, scope, log_loss, brier, is_chosen``. With fewer than two groups or no
        positive, scores stay as they are.
    """
    scores, truth, groups = np.asarray(scores, np.float64), np.asarray(truth), np.asarray(groups)
    ways = [("none", "pooled"), *[(method, scope) for scope in SCOPES for method in _METHODS[1:] if scope == "pooled" or _has_enough(truth).any()]]
    names = np.unique(groups)
    if len(names) < 2 or not truth.any():
        return fit(scores, truth, "none"), pd.DataFrame(columns=["method", "scope", "log_loss", "brier", "is_chosen"])
    fold = dict(zip(rng.permutation(names), np.arange(len(names)) % _N_FOLDS, strict=True))
    fold, rows = np.array([fold[name] for name in groups]), []
    for method, scope in ways:
        held_out = np.zeros_like(scores)
        for one in np.unique(fold):
            held_out[fold == one] = apply(fit(scores[fold != one], truth[fold != one], method, scope), scores[fold == one])
        rows.append((method, scope, log_loss(truth, held_out), brier(truth, held_out)))
    table = pd.DataFrame(rows, columns=["method", "scope", "log_loss", "brier"])
    best = table["log_loss"].idxmin()
    return fit(scores, truth, *ways[best]), table.assign(is_chosen=table.index == best)


# How good probabilities are


def log_loss(truth, probabilities):
    """Mean of -log of what was said of the truth, over all decisions; 0 is perfect, 0.693 a coin."""
    p = np.clip(np.asarray(probabilities, np.float64), _NEAREST, 1.0 - _NEAREST)
    return float(-np.mean(np.where(np.asarray(truth) == 1, np.log(p), np.log1p(-p))))


def brier(truth, probabilities):
    """Mean square error of probabilities: "Verification of Forecasts Expressed in Terms of Probability" (1950)."""
    return float(np.mean(np.square(np.asarray(probabilities, np.float64) - truth)))


def reliability(truth, probabilities, n_bins=10):
    """What became of what was said: for each stretch of probabilities, how often it was so.

    Returns:
        DataFrame, a row for each stretch that is not empty: ``low, high, n, said`` (the mean probability), ``was`` (the share of positives), and
        ``was_low, was_high``, its 90 % interval ("Probable Inference, the Law of Succession, and Statistical Inference", 1927), as if
        decisions were independent.
    """
    p, y = np.ravel(np.asarray(probabilities, np.float64)), np.ravel(truth)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, n_bins - 1)
    rows = []
    for one in np.unique(place):
        here = place == one
        share = float(y[here].mean())
        rows.append((edges[one], edges[one + 1], int(here.sum()), float(p[here].mean()), share, *_wilson(share, here.sum())))
    return pd.DataFrame(rows, columns=["low", "high", "n", "said", "was", "was_low", "was_high"])


def expected_calibration_error(truth, probabilities, n_bins=10):
    """Mean distance of what was said and what was, each stretch counting as often as it was said.

    "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (2015).
    """
    table = reliability(truth, probabilities, n_bins)
    return float(np.average((table["said"] - table["was"]).abs(), weights=table["n"]))


def precision_table(truth, probabilities, thresholds=(0.1, 0.25, 0.5, 0.75, 0.9)):
    """What to expect of a threshold: of all that is said at or above it, so much is right.

    Returns:
        DataFrame: ``threshold, n`` (decisions at or above it), ``expected_precision`` (their mean probability), and ``precision`` with ``precision_low,
        precision_high``, what it was; NaN where nothing is at or above it.
    """
    p, y = np.ravel(np.asarray(probabilities, np.float64)), np.ravel(truth)
    rows = []
    for threshold in thresholds:
        said = p >= threshold
        n, share = int(said.sum()), float(y[said].mean()) if said.any() else np.nan
        rows.append((threshold, n, float(p[said].mean()) if n else np.nan, share, *(_wilson(share, n) if n else (np.nan, np.nan))))
    return pd.DataFrame(rows, columns=["threshold", "n", "expected_precision", "precision", "precision_low", "precision_high"])


def _has_enough(truth):
    n = truth.sum(axis=0)
    return np.minimum(n, len(truth) - n) >= ENOUGH


def _logit(scores):
    p = np.clip(scores, _NEAREST, 1.0 - _NEAREST)
    return np.log(p) - np.log1p(-p)


def _platt(scores, truth):
    from sklearn.linear_model import LogisticRegression

    n_positives, n = int(truth.sum()), len(truth)
    target = np.where(truth == 1, (n_positives + 1) / (n_positives + 2), 1 / (n - n_positives + 2))
    rows, sides = np.tile(_logit(scores), 2)[:, None], np.repeat([1, 0], n)
    model = LogisticRegression(C=1e6, solver="newton-cholesky").fit(rows, sides, sample_weight=np.concatenate([target, 1.0 - target]))
    a, b = float(model.coef_[0, 0]), float(model.intercept_[0])
    if a < 0:  # the scores know nothing: all get the share of positives
        a, b = 0.0, float(_logit(target.mean()))
    return {"a": a, "b": b}


def _bend_platt(curve, scores):
    return 1.0 / (1.0 + np.exp(-(curve["a"] * _logit(scores) + curve["b"])))


def _isotonic(scores, truth):
    from sklearn.isotonic import IsotonicRegression

    room = 1.0 / (len(truth) + 2)  # nothing is certain after so many looks
    model = IsotonicRegression(y_min=room, y_max=1.0 - room, out_of_bounds="clip").fit(scores, truth)
    return {"scores": model.X_thresholds_.tolist(), "probabilities": model.y_thresholds_.tolist()}


def _bend_isotonic(curve, scores):
    return np.interp(scores, curve["scores"], curve["probabilities"])


def _wilson(share, n):
    centre, spread = share + _Z_90**2 / (2 * n), _Z_90 * np.sqrt(share * (1 - share) / n + _Z_90**2 / (4 * n**2))
    return float((centre - spread) / (1 + _Z_90**2 / n)), float((centre + spread) / (1 + _Z_90**2 / n))
