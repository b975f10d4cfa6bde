"""How well a search works: of each query, whether its nearest neighbours in a gallery carry its label.

``scores`` is (queries, gallery), larger meaning more alike; ``query_labels`` is (queries,), ``gallery_labels`` (gallery,). Queries and
gallery are different samples. The figures are those of "A Metric Learning Reality Check" (2020) and agree with its authors'
AccuracyCalculator: a query whose label is not in the gallery cannot be answered and is left out. Ties count as if broken by lot, so that
an encoder that gives everything the same place is no better than chance. A figure that is not defined is NaN; NaN among the scores is a
ValueError.
"""

import numpy as np
import pandas as pd

from birdlib.metrics import classification

BLOCK_SIZE = 2_000_000  # scores ranked at once, which bounds the memory


def recall_at_k(scores, query_labels, gallery_labels, k):
    """How often one or more of the ``k`` nearest neighbours have the label of the query. float in [0, 1] or NaN."""
    return _mean(_per_query(scores, query_labels, gallery_labels, [k])[f"recall_at_{k}"].dropna())


def map_at_r(scores, query_labels, gallery_labels):
    """Mean average precision at R: as R-precision, but hits count by the precision down to them. float in [0, 1] or NaN."""
    return _mean(per_query(scores, query_labels, gallery_labels)["map_at_r"].dropna())


def mean_reciprocal_rank(scores, query_labels, gallery_labels):
    """Mean of 1 / the place of the first hit. float in (0, 1] or NaN."""
    return _mean(_per_query(scores, query_labels, gallery_labels, [])["reciprocal_rank"].dropna())


def nmi(labels, clusters):
    """Normalised mutual information of labels and clusters, normalised by the mean of their entropies.

    Args:
        labels, clusters: (samples,), a name or number each.

    Returns:
        float in [0, 1]; NaN where there are not two labels to tell apart.
    """
    from sklearn.metrics import normalized_mutual_info_score

    if len(np.unique(labels)) < 2:
        return float("nan")
    return min(float(normalized_mutual_info_score(labels, clusters)), 1.0)  # rounding may take it above


def cluster(embeddings, n_clusters, seed):
    """k-means, the clusters that ``nmi`` compares with the labels.

    Args:
        embeddings: (samples, dim), one or more.
        n_clusters: the number of labels, say; no more than there are samples are made.
        seed: int.

    Returns:
        (samples,) int, the cluster of each.
    """
    from sklearn.cluster import KMeans

    return KMeans(min(n_clusters, len(embeddings)), n_init=10, random_state=seed).fit_predict(embeddings)


def per_query(scores, query_labels, gallery_labels):
    """The figures of each query, whose means are the figures of the search.

    Returns:
        DataFrame, one row a query: ``p_at_1, recall_at_5, recall_at_10, r_precision, map_at_r``, float64 in [0, 1]; a row of NaN
        where the gallery does not have the label.

    Raises:
        ValueError: for shapes that do not match, or NaN scores.
    """
    table = _per_query(scores, query_labels, gallery_labels, [1, 5, 10]).rename(columns={"recall_at_1": "p_at_1"})
    return table.drop(columns="reciprocal_rank")


def summary(table, labels, clusters, groups, rng, n=300):
    """The figures of a search with 90 % intervals, bootstrapped over groups of queries.

    Args:
        table: from ``per_query``.
        labels, clusters: (queries,) of the same queries; for ``nmi``, which counts those left out of the other figures as well, and is
            left out where ``clusters`` is None.
        groups: (queries,) what is drawn together, as in ``metrics.bootstrap_interval``; None draws queries.
        rng: draws them.
        n: number of draws.

    Returns:
        dict figure -> [value, low, high]: the columns of the table, and ``nmi``. NaN where not defined. A draw repeats queries, which
        raises its NMI, so that the value may lie below all draws: the interval of NMI is moved to have the value in its middle.
    """
    labels = pd.factorize(np.asarray(labels))[0]
    groups = np.arange(len(table)) if groups is None else np.asarray(groups)
    kept = table.notna().all(axis=1).to_numpy()
    figures = {
        name: list(classification.bootstrap_interval(_mean, table.loc[kept, name], groups=groups[kept], n=n, rng=rng))
        for name in table
    }
    if clusters is None:
        n_groups = len(np.unique(groups))
        for _ in range(n if n_groups > 1 else 0):
            rng.integers(n_groups, size=n_groups)  # what follows is drawn alike with NMI and without
        return figures
    value, low, high = classification.bootstrap_interval(nmi, labels, clusters, groups=groups, n=n, rng=rng)
    reach = (high - low) / 2
    figures["nmi"] = [value, float(np.maximum(value - reach, 0.0)), float(np.minimum(value + reach, 1.0))]
    return figures


def _per_query(scores, query_labels, gallery_labels, depths):
    scores, query_labels, gallery_labels = np.asarray(scores), np.asarray(query_labels), np.asarray(gallery_labels)
    if scores.shape != (len(query_labels), len(gallery_labels)):
        raise ValueError(
            f"scores {scores.shape} for {len(query_labels)} queries and a gallery of {len(gallery_labels)}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"scores are NaN, the first of query {np.isnan(scores).any(axis=1).argmax()}")
    columns = [*(f"recall_at_{k}" for k in depths), "r_precision", "map_at_r", "reciprocal_rank"]
    figures = np.full((len(scores), len(columns)), np.nan)
    answerable = np.flatnonzero(np.isin(query_labels, gallery_labels))
    for rows in np.array_split(answerable, scores.size // BLOCK_SIZE + 1):
        if len(rows):
            figures[rows] = _expected_figures(scores[rows], query_labels[rows, None] == gallery_labels, depths)
    return pd.DataFrame(figures, columns=columns)


def _expected_figures(scores, is_same, depths):
    """Figures in expectation over the orders that ties can come in.

    Among ``n_tied`` equal scores, of which ``n_hits`` are hits, every place is a hit with chance n_hits / n_tied, and given that, so is
    each other one with chance (n_hits - 1) / (n_tied - 1). Without ties this is plain counting.

    Args:
        scores, is_same: (queries, gallery); every query has one or more of its label.
    """
    order = np.argsort(-scores.astype(float), axis=1)
    scores, is_hit = np.take_along_axis(scores, order, axis=1), np.take_along_axis(is_same, order, axis=1)
    place = np.arange(scores.shape[1])
    is_drop = scores[:, 1:] < scores[:, :-1]
    edge = np.ones((len(scores), 1), dtype=bool)
    start = np.maximum.accumulate(np.where(np.hstack([edge, is_drop]), place, 0), axis=1)
    end = np.where(np.hstack([is_drop, edge]), place + 1, len(place))
    end = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]
    hits_above = np.pad(np.cumsum(is_hit, axis=1), [(0, 0), (1, 0)])
    n_before = np.take_along_axis(hits_above, start, axis=1)
    n_hits = np.take_along_axis(hits_above, end, axis=1) - n_before
    n_tied, nth = end - start, place - start

    chance = n_hits / n_tied
    precision = (n_before + 1 + nth * (n_hits - 1) / np.maximum(n_tied - 1, 1)) / (place + 1)  # down to a hit
    all_missed = np.cumprod(np.maximum(n_tied - n_hits - nth, 0) / (n_tied - nth), axis=1)
    r = is_hit.sum(axis=1, keepdims=True)
    within_r = place < r
    recalls = [1.0 - all_missed[:, min(k, len(place)) - 1] for k in depths]
    at_r = [(value * within_r).sum(axis=1) / r[:, 0] for value in (chance, chance * precision)]
    first_hit = -np.diff(all_missed, axis=1, prepend=1.0)  # the chance that it is at this place
    return np.stack([*recalls, *at_r, (first_hit / (place + 1)).sum(axis=1)], axis=1)


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
