"""Scores of who is who, as pure functions: of counts, groupings, tracks, and of birds that are named or called new.

``truth`` and ``found`` are (items,) labels of any kind, numbers or text. A figure that is not defined is NaN.
"""

import numpy as np
import pandas as pd

NEW = -1  # what an item is called that is none of the known birds


def count_mae(truth, found):
    """The mean absolute error of counts, (films,) each."""
    truth, found = _aligned(truth, found)
    return float(np.mean(np.abs(truth - found))) if len(truth) else float("nan")


def ari(truth, found):
    """Adjusted Rand index (Hubert & Arabie, "Comparing partitions", 1985): 1 is the same grouping, 0 is by chance."""
    from sklearn.metrics import adjusted_rand_score

    truth, found = _aligned(truth, found)
    return float(adjusted_rand_score(truth, found)) if len(truth) else float("nan")


def nmi(truth, found):
    """Normalised mutual information, in [0, 1], over the arithmetic mean of both entropies, as scikit-learn's."""
    from sklearn.metrics import normalized_mutual_info_score

    truth, found = _aligned(truth, found)
    return float(normalized_mutual_info_score(truth, found)) if len(truth) else float("nan")


def pairwise_precision_recall_f1(truth, found, groups=None):
    """Precision, recall and F1 of the pairs of items that are said to be one bird.

    Args:
        groups: (items,) of films, say: only pairs across two of them are looked at; None takes all pairs.

    Returns:
        dict of float: ``precision, recall, f1``. Precision is NaN if no pair is said to be one bird, recall if none is;
        F1 is NaN only if both are.
    """
    truth, found = _aligned(truth, found)
    within = () if groups is None else _aligned(groups, truth)[:1]
    right, n_same, n_said = (
        _n_pairs(*alike) - (_n_pairs(*alike, *within) if within else 0) for alike in ((truth, found), (truth,), (found,))
    )
    return {
        "precision": _share(right, n_said),
        "recall": _share(right, n_same),
        "f1": _share(2 * right, n_same + n_said),
    }


def idf1(truth, found, iou=0.5):
    """F1 of the identities of tracks (Ristani et al., "Performance Measures and a Data Set for Multi-Target,
    Multi-Camera Tracking", 2016): every bird is given the one track that is on it in most pictures, one to one.

    Args:
        truth, found: DataFrames with ``time_s``, ``track`` (a name of any kind), ``x, y, width, height``, and
            ``recording_id`` if there are several films; one row a box. Times are the same if they are within a
            millisecond; truth has the pictures that were looked at and no others.
        iou: the least intersection over union of a track that is on a bird.

    Returns:
        dict of float: ``idf1``, ``precision`` and ``recall``; NaN where there is nothing to be right about.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array

    truth, found = (_with_codes(table) for table in (truth, found))
    both = truth.merge(found, on=["film", "millisecond"], suffixes=("", "_found"))
    first, last = {}, {}
    for end in ("", "_found"):
        first[end] = both[["x" + end, "y" + end]].to_numpy(np.float64)
        last[end] = first[end] + both[["width" + end, "height" + end]].to_numpy(np.float64)
    shared = np.prod(np.maximum(np.minimum(*last.values()) - np.maximum(*first.values()), 0.0), axis=1)
    areas = [np.prod(last[end] - first[end], axis=1) for end in first]
    is_on = (shared > 0) & (shared >= iou * (areas[0] + areas[1] - shared))
    rows, columns = both["bird"][is_on], both["bird_found"][is_on]
    n_together = coo_array((np.ones(len(rows), int), (rows, columns)), shape=(_n(truth), _n(found))).toarray()
    right = int(n_together[linear_sum_assignment(-n_together)].sum())
    return {
        "idf1": _share(2 * right, len(truth) + len(found)),
        "precision": _share(right, len(found)),
        "recall": _share(right, len(truth)),
    }


def accuracy(truth, found):
    """The share of items that are given their name."""
    truth, found = _aligned(truth, found)
    return _share(int((truth == found).sum()), len(truth))


def baks(truth, found, known):
    """Balanced accuracy on known samples: the mean over known birds of the share of a bird's items given its name.

    As in Adam et al., "WildlifeReID-10k: Wildlife re-identification dataset with 10k individual animals", 2024.

    Args:
        found: a name, or ``NEW``.
        known: names of the birds that could be found.
    """
    truth, found = _aligned(truth, found)
    return _balanced(truth, truth == found, np.isin(truth, _labels(known)))


def baus(truth, found, known, new=NEW):
    """Balanced accuracy on unknown samples: the mean over birds not known of the share of a bird's items called new.

    Args, source: as ``baks``.
    """
    truth, found = _aligned(truth, found)
    return _balanced(truth, found == new, ~np.isin(truth, _labels(known)))


def _n_pairs(*labels):
    """How many pairs of items are alike in each of these labels."""
    code = np.zeros(len(labels[0]), np.int64)
    for label in labels:
        number, names = pd.factorize(label)
        code = code * len(names) + number
    sizes = np.bincount(pd.factorize(code)[0])
    return int((sizes * (sizes - 1) // 2).sum())


def _aligned(one, other):
    one, other = _labels(one), _labels(other)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"labels of shapes {one.shape} and {other.shape} are not the same (items,)")
    return one, other


def _labels(values):
    """An array that does not make text of numbers beside text: -1 beside names stays -1."""
    values = list(values)
    return np.array(values) if len({type(value) for value in values}) < 2 else np.array(values, dtype=object)


def _balanced(truth, is_right, is_meant):
    shares = [is_right[is_meant & (truth == bird)].mean() for bird in pd.unique(pd.Series(truth[is_meant]))]
    return float(np.mean(shares)) if shares else float("nan")


def _with_codes(table):
    film = table["recording_id"] if "recording_id" in table else pd.Series("", index=table.index)
    bird = pd.MultiIndex.from_arrays([film, table["track"]])
    return pd.DataFrame({
        "film": film, "millisecond": np.round(1000 * table["time_s"]).astype(np.int64), "bird": pd.factorize(bird)[0],
        **{name: table[name] for name in ("x", "y", "width", "height")},
    })  # fmt: skip


def _n(table):
    return int(table["bird"].max()) + 1 if len(table) else 0


def _share(part, whole):
    return part / whole if whole else float("nan")
