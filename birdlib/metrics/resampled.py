"""Figures of many resamples at once, for ``bootstrap``: a resample is how often each row was drawn, so rows are ranked once, not once a resample.

Counts are (rows, resamples). Each figure equals that of the resampled rows; those that count rows and rank them are equal to the last bit.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from birdlib.metrics import classification


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A figure of row-aligned arrays that ``bootstrap`` computes for many resamples at once.

    Attributes:
        value: function of the arrays → float; NaN where it is not defined.
        prepare: function of the arrays → (function of counts (rows, resamples) → (resamples,) float64).
    """

    value: Callable
    prepare: Callable

    def __call__(self, *arrays):
        return self.value(*arrays)


# Ranks


class _Ranks:
    """Where the positives of each class rank, for any counts.

    The sum of the counts below a positive is a sum over the stretches of the ranking between positives: one product of a sparse matrix,
    with an entry for each row and class, by the counts.

    Args:
        truth: (rows, classes) of 0 and 1.
        scores: (rows, classes).
    """

    def __init__(self, truth, scores):
        from scipy import sparse

        truth, scores = classification.checked(truth, scores)
        n_rows, n_classes = truth.shape
        orders, starts, rows, lows, highs, own_lows = [], [], [], [], [], []
        n_stretches = n_positives = 0
        for column in range(n_classes):
            order = np.argsort(scores[:, column], kind="stable").astype(np.int32)
            ascending = scores[order, column]
            positives = order[truth[order, column] == 1]  # by score
            own = scores[positives, column]
            low, high = (np.searchsorted(ascending, own, side) for side in ("left", "right"))
            edges = np.unique(np.concatenate([[0], low, high[high < n_rows]]))  # where a stretch begins
            orders.append(order)
            starts.append(column * n_rows + edges)
            rows.append(positives)
            lows.append(n_stretches + np.searchsorted(edges, low))
            highs.append(n_stretches + np.searchsorted(edges, high))
            own_lows.append(n_positives + np.searchsorted(own, own, "left"))
            n_stretches, n_positives = n_stretches + len(edges), n_positives + len(positives)
        bounds = np.append(np.concatenate(starts), n_classes * n_rows)
        self.stretches = sparse.csr_array((np.ones(n_classes * n_rows), np.concatenate(orders), bounds), shape=(n_stretches, n_rows))
        self.rows, self.lows, self.highs, self.own_lows = map(np.concatenate, (rows, lows, highs, own_lows))
        self.columns = np.repeat(np.arange(n_classes), list(map(len, rows)))
        self.is_positive = sparse.csr_array(truth.T)  # (classes, rows)
        self.of_class = sparse.csr_array((np.ones(n_positives), (self.columns, np.arange(n_positives))), shape=(n_classes, n_positives))

    def totals(self, counts):
        """(rows (1, resamples), positives (classes, resamples))."""
        return counts.sum(axis=0, keepdims=True), self.is_positive @ counts

    def around(self, counts):
        """How many rows lie below each positive, and how many up to its ties, (positives, resamples) each."""
        ends = _cumulated(self.stretches @ counts)
        before = self.columns[:, None] * counts.sum(axis=0)  # of the classes before, each of which has all rows
        return ends[self.lows] - before, ends[self.highs] - before

    def positives_below(self, counts, positives):
        """How many positives of its class lie below each positive, (positives, resamples)."""
        ends = _cumulated(counts[self.rows])
        return ends[self.own_lows] - _cumulated(positives)[self.columns]


def _cumulated(counts):
    """(n + 1, resamples): sums of the first 0, 1, ... n."""
    ends = np.zeros((len(counts) + 1, counts.shape[1]))
    np.cumsum(counts, axis=0, out=ends[1:])
    return ends


def _mean_of_classes(values):
    """(classes, resamples) → (resamples,): the mean of the classes that are defined."""
    return np.array([classification.mean_defined(column) for column in np.ascontiguousarray(values.T)])


def _roc_aucs(truth, scores):
    ranks = _Ranks(truth, scores)

    def of_counts(counts):
        rows, positives = ranks.totals(counts)
        below, upto = ranks.around(counts)
        wins = ranks.of_class @ (counts[ranks.rows] * (below + upto)) / 2 - positives**2 / 2
        return _divide(wins, positives * (rows - positives))

    return of_counts


def _macro_roc_auc(truth, scores):
    aucs = _roc_aucs(truth, scores)
    return lambda counts: _mean_of_classes(aucs(counts))


def _macro_roc_auc_gain(truth, after, before):
    of_after, of_before = _macro_roc_auc(truth, after), _macro_roc_auc(truth, before)
    return lambda counts: of_after(counts) - of_before(counts)


def _cmap(truth, scores):
    ranks = _Ranks(truth, scores)

    def of_counts(counts):
        rows, positives = ranks.totals(counts)
        kept = rows - ranks.around(counts)[0]  # down to the ties of each positive
        hits = positives[ranks.columns] - ranks.positives_below(counts, positives)
        precision = np.divide(hits, kept, out=np.zeros(hits.shape), where=kept > 0)
        return _mean_of_classes(_divide(ranks.of_class @ (counts[ranks.rows] * precision), positives))

    return of_counts


# Predictions


def _accuracy(labels, scores):
    hits = classification.hit_shares(labels, scores)
    return lambda counts: hits @ counts / counts.sum(axis=0)


def _ratio(part, whole):
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return lambda counts: _divide(part @ counts, whole @ counts)


def _f1_macro(truth, predicted):
    from scipy import sparse

    hits, predicted, truth = (sparse.csr_array(array.T) for array in (truth * predicted, predicted.astype(np.float64), truth))

    def of_counts(counts):
        n_hits, n_predicted, n_true = (array @ counts for array in (hits, predicted, truth))  # (classes, resamples)
        f1 = 2 * n_hits / np.maximum(n_true + n_predicted, 1)
        return _mean_of_classes(np.where(n_true > 0, f1, np.nan))

    return of_counts


def f1(average, thresholds):
    """F1 as a Statistic of (truth, scores), see ``classification.f1``.

    Args:
        average: ``samples``, ``micro``, or ``macro``: the mean over the classes with positives, as a resample may lack some, which would count as 0.
        thresholds: (classes,).
    """

    def value(truth, scores):
        if average != "macro":
            return classification.f1(truth, scores, thresholds)[average]
        present = truth.any(axis=0)
        return classification.f1(truth[:, present], scores[:, present], thresholds[present])["macro"] if present.any() else np.nan

    def prepare(truth, scores):
        truth, scores = classification.checked(truth, scores)
        predicted = scores >= thresholds
        if average == "macro":
            return _f1_macro(truth, predicted)
        hits, decisions = (truth * predicted).sum(axis=1), truth.sum(axis=1) + predicted.sum(axis=1)  # (rows,)
        if average == "samples":
            of_rows = 2 * hits / np.maximum(decisions, 1)
            return lambda counts: of_rows @ counts / counts.sum(axis=0)
        return lambda counts: 2 * (hits @ counts) / np.maximum(decisions @ counts, 1)

    return Statistic(value, prepare)


def _sum_ratio(part, whole):
    total = np.sum(whole)
    return float(np.sum(part) / total) if total else np.nan


def _divide(above, below):
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


MACRO_ROC_AUC = Statistic(classification.macro_roc_auc, _macro_roc_auc)  # of (truth, scores)
MACRO_ROC_AUC_GAIN = Statistic(classification.macro_roc_auc_gain, _macro_roc_auc_gain)  # of (truth, after, before)
CMAP = Statistic(classification.cmap, _cmap)  # of (truth, scores)
ACCURACY = Statistic(classification.accuracy, _accuracy)  # of (labels, scores)
RATIO = Statistic(_sum_ratio, _ratio)  # of (part, whole): the sum of one over that of the other
