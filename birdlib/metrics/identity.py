"""Metrics of identification: of counts, clusterings, tracks, and of open-set re-identification.

``truth`` and ``found`` are (items,) labels of any kind, numbers or text. An undefined metric is NaN.
"""

import numpy as np
import pandas as pd

UNKNOWN = -1  # the identity of an item that is none of the known individuals, or that is not counted


def count_mae(truth, found):
    """Mean absolute error of counts, (films,) each."""
    truth, found = _aligned(truth, found)
    return float(np.mean(np.abs(truth - found))) if len(truth) else float("nan")


def ari(truth, found):
    """Adjusted Rand index (Hubert & Arabie, "Comparing partitions", 1985): 1 for the same clustering, 0 at chance."""
    from sklearn.metrics import adjusted_rand_score

    truth, found = _aligned(truth, found)
    return float(adjusted_rand_score(truth, found)) if len(truth) else float("nan")


def nmi(truth, found):
    """Normalised mutual information, in [0, 1], normalised by the mean of both entropies; NaN with fewer than two true labels."""
    from sklearn.metrics import normalized_mutual_info_score

    truth, found = _aligned(truth, found)
    if len(pd.unique(truth)) < 2:
        return float("nan")
    return min(float(normalized_mutual_info_score(truth, found)), 1.0)  # rounding may take it above


def pairwise_precision_recall_f1(truth, found, groups=None):
    """Precision, recall and F1 of the pairs of items that have the same label.

    Args:
        groups: (items,), films, say: only pairs across two of them count; None counts all pairs.

    Returns:
        dict of float: ``precision, recall, f1``. Precision is NaN without predicted pairs, recall without true pairs,
        F1 without both.
    """
    truth, found = _aligned(truth, found)
    within = () if groups is None else _aligned(groups, truth)[:1]
    correct, n_true, n_predicted = (
        _n_pairs(*labels) - (_n_pairs(*labels, *within) if within else 0)
        for labels in ((truth, found), (truth,), (found,))
    )
    return _precision_recall_f1("f1", correct, n_predicted, n_true)


def idf1(truth, found, iou=0.5):
    """F1 of the identities of tracks (Ristani et al., "Performance Measures and a Data Set for Multi-Target,
    Multi-Camera Tracking", 2016): birds and tracks are matched one to one, by the number of frames in which they overlap.

    Args:
        truth, found: DataFrames with ``time_s``, ``track`` (a name of any kind), ``x, y, width, height``, and
            ``recording_id`` if there are several films; one row a box. Times are equal if they are within a
            millisecond; truth has the analysed frames and no others.
        iou: minimum intersection over union of a match.

    Returns:
        dict of float: ``idf1``, ``precision`` and ``recall``; NaN where undefined.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array

    truth, found = (_with_codes(table) for table in (truth, found))
    both = truth.merge(found, on=["film", "millisecond"], suffixes=("", "_found"))
    first, last = {}, {}  # own overlap: metrics may not import video.boxes
    for end in ("", "_found"):
        first[end] = both[["x" + end, "y" + end]].to_numpy(np.float64)
        last[end] = first[end] + both[["width" + end, "height" + end]].to_numpy(np.float64)
    shared = np.prod(np.maximum(np.minimum(*last.values()) - np.maximum(*first.values()), 0.0), axis=1)
    areas = [np.prod(last[end] - first[end], axis=1) for end in first]
    is_on = (shared > 0) & (shared >= iou * (areas[0] + areas[1] - shared))
    rows, columns = both["bird"][is_on], both["bird_found"][is_on]
    n_together = coo_array((np.ones(len(rows), int), (rows, columns)), shape=(_n(truth), _n(found))).toarray()
    correct = int(n_together[linear_sum_assignment(-n_together)].sum())
    return _precision_recall_f1("idf1", correct, len(found), len(truth))


def accuracy(truth, found):
    """The share of items with the right label."""
    truth, found = _aligned(truth, found)
    return float((truth == found).mean()) if len(truth) else float("nan")


def baks(truth, found, known):
    """Balanced accuracy on known samples: the mean over known individuals of the share of items with the right label.

    As in Adam et al., "WildlifeReID-10k: Wildlife re-identification dataset with 10k individual animals", 2024.

    Args:
        found: a label, or ``UNKNOWN``.
        known: labels in the gallery.
    """
    truth, found = _aligned(truth, found)
    return _balanced(truth, truth == found, np.isin(truth, _labels(known)))


def baus(truth, found, known):
    """Balanced accuracy on unknown samples: the mean over unknown individuals of the share of items called new.

    Args, source: as ``baks``.
    """
    truth, found = _aligned(truth, found)
    return _balanced(truth, found == UNKNOWN, ~np.isin(truth, _labels(known)))


def _n_pairs(*labels):
    """Number of pairs of items that agree in all of these labels."""
    code = np.zeros(len(labels[0]), np.int64)
    for label in labels:
        number, names = pd.factorize(label)
        code = code * len(names) + number
    sizes = np.bincount(pd.factorize(code)[0])
    return int((sizes * (sizes - 1) // 2).sum())


def _aligned(first, second):
    first, second = _labels(first), _labels(second)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"labels of shapes {first.shape} and {second.shape} are not the same (items,)")
    return first, second


def _labels(values):
    """An array in which -1 beside names stays a number."""
    values = list(values)
    return np.array(values) if len({type(value) for value in values}) < 2 else np.array(values, dtype=object)


def _balanced(truth, is_correct, counts):
    shares = [is_correct[counts & (truth == bird)].mean() for bird in pd.unique(truth[counts])]
    return float(np.mean(shares)) if shares else float("nan")


def _with_codes(table):
    film = table["recording_id"] if "recording_id" in table else pd.Series("", index=table.index)
    bird = pd.DataFrame({"film": film, "track": table["track"]}).groupby(["film", "track"], sort=False, dropna=False).ngroup()
    return pd.DataFrame({
        "film": film, "millisecond": np.round(1000 * table["time_s"]).astype(np.int64), "bird": bird,
        **{name: table[name] for name in ("x", "y", "width", "height")},
    })  # fmt: skip


def _n(table):
    return int(table["bird"].max()) + 1 if len(table) else 0


def _precision_recall_f1(f1_name, correct, n_predicted, n_true):
    parts = {f1_name: (2 * correct, n_true + n_predicted), "precision": (correct, n_predicted), "recall": (correct, n_true)}
    return {name: part / whole if whole else float("nan") for name, (part, whole) in parts.items()}
