"""Metrics of multi-label and single-label classification.

``truth`` is (recordings, classes), 0 or 1; ``scores`` has the same shape, higher for more likely; ``labels`` is (recordings,), class
numbers. An undefined metric (no positives, say) is NaN, never an error; NaN scores are an error, because every ranking would be wrong.
AUC, average precision and F1 equal scikit-learn's but are computed for all classes at once: bootstraps call them hundreds of times.
"""

import numpy as np
import pandas as pd

_DEFAULT_THRESHOLD = 0.5


def roc_auc(truth, scores):
    """Area under the ROC curve of each class: how often a positive is ranked above a negative; ties count half.

    By ranks (Mann & Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger", 1947).

    Returns:
        (classes,) float64 in [0, 1]; NaN for a class without positives or without negatives.

    Raises:
        ValueError: for unequal shapes, truth other than 0 and 1, or NaN scores.
    """
    truth, scores = checked(truth, scores)
    ascending = np.sort(scores.T, axis=1)  # (classes, recordings)
    n_positives = truth.sum(axis=0)
    rank_sums = np.empty(len(ascending))
    for column, all_scores in enumerate(ascending):
        positives = scores[truth[:, column] == 1, column]
        below, upto = (np.searchsorted(all_scores, positives, side) for side in ("left", "right"))
        rank_sums[column] = (below + upto + 1).sum() / 2  # ranks from 1, ties by average
    wins = rank_sums - n_positives * (n_positives + 1) / 2
    return _divide(wins, n_positives * (len(truth) - n_positives))


def macro_roc_auc(truth, scores):
    """The BirdCLEF metric since 2024: the mean ROC-AUC over classes with positives.

    A class without negatives has no ROC curve and is left out as well.

    Returns:
        float in [0, 1]; NaN when no class is left.
    """
    return mean_defined(roc_auc(truth, scores))


def macro_roc_auc_gain(truth, after, before):
    """Macro ROC-AUC of the scores ``after`` minus that of ``before``; for paired bootstraps."""
    return macro_roc_auc(truth, after) - macro_roc_auc(truth, before)


def average_precision(truth, scores):
    """Average precision of each class: the sum over thresholds of (R_n - R_n-1) P_n.

    Returns:
        (classes,) float64 in [0, 1]; NaN for a class without positives.

    Raises:
        ValueError: as ``roc_auc``.
    """
    truth, scores = checked(truth, scores)
    n_kept, hits, _ = _cuts(truth, scores)
    new_hits = np.diff(hits, axis=0, prepend=0)
    return _divide((new_hits * hits / n_kept).sum(axis=0), truth.sum(axis=0))


def equal_error_rate(truth, scores):
    """The error rate at the threshold where misses (of positives) and false alarms (of negatives) are equally frequent.

    Args:
        truth: (n,), 0 or 1.
        scores: (n,).

    Returns:
        float in [0, 1], 0.5 at chance; NaN without positives or without negatives.

    Raises:
        ValueError: as ``roc_auc``.
    """
    truth, scores = checked(np.asarray(truth).reshape(-1, 1), np.asarray(scores).reshape(-1, 1))
    n_positives = truth.sum()
    if n_positives in (0, len(truth)):
        return float("nan")
    n_kept, hits, _ = _cuts(truth, scores)
    missed = 1.0 - np.append(0.0, hits[:, 0] / n_positives)  # from keeping nothing to keeping all
    passed = np.append(0.0, (n_kept - hits)[:, 0] / (len(truth) - n_positives))
    return at_equal_error(missed, passed, passed)[0]


def at_equal_error(missed, passed, *curves):
    """Values of curves where the falling error rate ``missed`` meets the rising ``passed``, all linear between cuts.

    Args:
        missed, passed, curves: (cuts,) each.

    Returns:
        list of float, one for each curve.
    """
    after = int(np.argmax(passed >= missed))
    gap_before, gap_after = (missed - passed)[after - 1], (passed - missed)[after]
    share = gap_before / (gap_before + gap_after)
    return [float(curve[after - 1] + share * (curve[after] - curve[after - 1])) for curve in curves]


def cmap(truth, scores, padding=0):
    """Class mean average precision.

    Args:
        padding: positive rows with the highest score that are added to each class, so that classes with few or no
            positives count but weigh little: 5 in BirdCLEF-2023. With 0, classes without positives are left out.

    Returns:
        float in [0, 1]; NaN when no class has positives.
    """
    truth, scores = checked(truth, scores)
    if padding:
        added = np.ones((padding, truth.shape[1]))
        truth = np.concatenate([truth, added])
        scores = np.concatenate([scores, np.maximum(scores.max(axis=0, initial=1.0), 1.0) * added])
    return mean_defined(average_precision(truth, scores))


def f1(truth, scores, thresholds=_DEFAULT_THRESHOLD):
    """F1 with three kinds of averaging; a class or recording without positives and predictions counts 0.

    Args:
        thresholds: one number or (classes,); a score at the threshold is a prediction.

    Returns:
        dict of float: ``samples`` (mean over recordings), ``micro`` (all decisions pooled),
        ``macro`` (mean over classes, those without positives included).
    """
    truth, scores = checked(truth, scores)
    predicted = scores >= thresholds
    return {
        "samples": float(np.mean(_f1(truth, predicted, axis=1))) if len(truth) else np.nan,
        "micro": float(_f1(truth, predicted, axis=None)),
        "macro": float(np.mean(_f1(truth, predicted, axis=0))),
    }


def accuracy(labels, scores, top_k=1):
    """How often the label is among the ``top_k`` highest scores; ties count as if broken at random.

    Args:
        labels: (recordings,) int, the true class.

    Returns:
        float in [0, 1]; NaN without recordings.
    """
    return mean_defined(hit_shares(labels, scores, top_k))


def hit_shares(labels, scores, top_k=1):
    """(recordings,) in [0, 1]: 1 where the label is among the ``top_k`` highest scores, a share where it is tied; see ``accuracy``."""
    labels, scores = np.asarray(labels, dtype=int), np.asarray(scores, dtype=np.float64)
    _check_not_nan(scores)
    true_score = scores[np.arange(len(scores)), labels][:, None]
    n_above, n_tied = (scores > true_score).sum(axis=1), (scores == true_score).sum(axis=1)
    return np.clip((top_k - n_above) / n_tied, 0.0, 1.0)


def per_species_table(truth, scores, classes, thresholds=_DEFAULT_THRESHOLD):
    """Metrics of each species.

    Args:
        classes: names, in column order.
        thresholds: as in ``f1``; for precision, recall and F1.

    Returns:
        DataFrame, one row a class: ``species, n_positives, roc_auc, average_precision, precision, recall, f1``;
        NaN where undefined.
    """
    truth, scores = checked(truth, scores, classes)
    predicted = scores >= thresholds
    hits, n_positives = (truth * predicted).sum(axis=0), truth.sum(axis=0)
    return pd.DataFrame(
        {
            "species": list(classes),
            "n_positives": n_positives.astype(int),
            "roc_auc": roc_auc(truth, scores),
            "average_precision": average_precision(truth, scores),
            "precision": _divide(hits, predicted.sum(axis=0)),
            "recall": _divide(hits, n_positives),
            "f1": np.where(n_positives > 0, _f1(truth, predicted, axis=0), np.nan),
        }
    )


def best_thresholds(truth, scores, fallback=None):
    """The threshold of each class that gives it the highest F1, halfway to the next lower score.

    Args:
        fallback: threshold for classes without positives; None takes the best one of all classes pooled.

    Returns:
        (classes,) float64.
    """
    truth, scores = checked(truth, scores)
    if fallback is None:
        pooled = _best_cut(truth.reshape(-1, 1), scores.reshape(-1, 1))[0]
        fallback = pooled if truth.any() else _DEFAULT_THRESHOLD
    if not truth.any():
        return np.full(truth.shape[1], float(fallback))
    return np.where(truth.any(axis=0), _best_cut(truth, scores), fallback)


def checked(truth, scores, classes=None):
    """Truth and scores as float64, (recordings, classes) each; ValueError where they are not what the head of this module says."""
    truth, scores = np.asarray(truth, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise ValueError(f"truth {truth.shape} and scores {scores.shape} are not the same (recordings, classes)")
    if classes is not None and len(classes) != truth.shape[1]:
        raise ValueError(f"{len(classes)} classes for {truth.shape[1]} columns")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("truth has values other than 0 and 1: binarise soft labels first")
    _check_not_nan(scores, classes)
    return truth, scores


def _check_not_nan(scores, classes=None):
    rows, columns = np.nonzero(np.isnan(scores))
    if len(rows):
        names = [f"{classes[column]!r}" if classes is not None else str(column) for column in np.unique(columns)]
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        raise ValueError(f"{len(rows)} scores are NaN, the first in row {rows[0]}; in the columns {shown}")


def _divide(above, below):
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


def mean_defined(values):
    """The mean of the values that are not NaN, float; NaN where there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _f1(truth, predicted, axis):
    hits = (truth * predicted).sum(axis=axis)
    return 2 * hits / np.maximum(truth.sum(axis=axis) + predicted.sum(axis=axis), 1)


def _cuts(truth, scores):
    """Every cut of the ranking of each class, best score first; a cut within ties is moved to their end.

    Returns:
        (n_kept, hits, scores), (recordings, classes) each: how many are above the cut, how many of those are positive,
        and the sorted scores.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    scores = np.take_along_axis(scores, order, axis=0)
    hits = np.cumsum(np.take_along_axis(truth, order, axis=0), axis=0)
    last = np.where(scores[:-1] > scores[1:], np.arange(len(scores) - 1)[:, None], len(scores) - 1)
    last = np.concatenate([last, np.full((1, scores.shape[1]), len(scores) - 1)])[: len(scores)]
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]  # (recordings, classes) index at which the ties end
    return last + 1, np.take_along_axis(hits, last, axis=0), scores


def _best_cut(truth, scores):
    n_kept, hits, scores = _cuts(truth, scores)
    best = (2 * hits / (n_kept + truth.sum(axis=0))).argmax(axis=0)
    column = np.arange(scores.shape[1])
    last = n_kept[best, column] - 1
    kept, below = scores[last, column], scores[np.minimum(last + 1, len(scores) - 1), column]
    middle = kept / 2 + below / 2
    return np.where(middle > below, middle, kept)
