"""Retrieval metrics: whether the nearest neighbours of a query in a gallery have its label.

``scores`` is (queries, gallery), higher for more similar; ``query_labels`` is (queries,), ``gallery_labels`` (gallery,). Queries and
gallery are different samples. The metrics are those of "A Metric Learning Reality Check" (2020) and agree with its authors'
AccuracyCalculator: queries whose label is not in the gallery are left out. Ties count as if broken at random, so a collapsed
encoder is no better than chance. An undefined metric is NaN; NaN scores are a ValueError.
"""

import numpy as np
import pandas as pd

from birdlib.metrics import bootstrap, identity

BLOCK_SIZE = 2_000_000  # scores ranked at once; bounds the memory


def recall_at_k(scores, query_labels, gallery_labels, k):
    """Share of queries with their label among the ``k`` nearest neighbours. float in [0, 1] or NaN."""
    return _mean(_per_query(scores, query_labels, gallery_labels, [k])[f"recall_at_{k}"].dropna())


def map_at_r(scores, query_labels, gallery_labels):
    """Mean average precision at R: R-precision with each hit weighted by the precision at its rank. float in [0, 1] or NaN."""
    return _mean(per_query(scores, query_labels, gallery_labels)["map_at_r"].dropna())


def mean_reciprocal_rank(scores, query_labels, gallery_labels):
    """Mean of 1 / rank of the first hit. float in (0, 1] or NaN."""
    return _mean(_per_query(scores, query_labels, gallery_labels, [])["reciprocal_rank"].dropna())


def cluster(embeddings, n_clusters, seed):
    """k-means clusters for ``summary``, (samples,) int; at most as many as there are samples."""
    from sklearn.cluster import KMeans

    return KMeans(min(n_clusters, len(embeddings)), n_init=10, random_state=seed).fit_predict(embeddings)


def describe_neighbours(points, labels):
    """A sentence about a map of embeddings: how often the nearest other point has the same label, and how often a random one has."""
    from sklearn.neighbors import NearestNeighbors

    points, labels = np.asarray(points), np.asarray(labels)
    if len(points) < 2:
        return "There are too few points for a map."
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]
    _, counts = np.unique(labels, return_counts=True)
    chance = (counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1))
    return f"The nearest neighbour on the map is of the same species for {np.mean(labels[nearest] == labels):.0%} of the points (random: {chance:.0%})."


def per_query(scores, query_labels, gallery_labels):
    """The metrics of each query.

    Returns:
        DataFrame, a row for each query: ``p_at_1, recall_at_5, recall_at_10, r_precision, map_at_r``, float64 in [0, 1]; NaN where
        the gallery does not have the label.

    Raises:
        ValueError: for shapes that do not match, or NaN scores.
    """
    table = _per_query(scores, query_labels, gallery_labels, [1, 5, 10]).rename(columns={"recall_at_1": "p_at_1"})
    return table.drop(columns="reciprocal_rank")


def summary(table, labels, clusters, groups, rng, n=300):
    """Mean metrics with 90 % intervals, bootstrapped over groups of queries.

    Args:
        table: from ``per_query``.
        labels, clusters: (queries,), for ``nmi``, which also counts queries without an answer; no ``nmi`` where ``clusters`` is None.
        groups: (queries,), as in ``bootstrap.interval``; None resamples queries.
        rng: for the resampling.
        n: number of resamples.

    Returns:
        dict metric -> [value, low, high]: the columns of the table, and ``nmi``. NaN where not defined. A resample repeats queries, which
        raises its NMI, so the interval of NMI is centred on the value.
    """
    labels = pd.factorize(np.asarray(labels))[0]
    groups = np.arange(len(table)) if groups is None else np.asarray(groups)
    kept = table.notna().all(axis=1).to_numpy()
    metrics = {
        name: bootstrap.interval(_mean, table.loc[kept, name], groups=groups[kept], n=n, rng=rng) for name in table
    }
    if clusters is None:
        bootstrap.samples(len, groups, groups=groups, n=n, rng=rng)  # so that rng goes on as it would with NMI
        return metrics
    value, low, high = bootstrap.interval(identity.nmi, labels, clusters, groups=groups, n=n, rng=rng)
    reach = (high - low) / 2
    metrics["nmi"] = [value, float(np.maximum(value - reach, 0.0)), float(np.minimum(value + reach, 1.0))]
    return metrics


def _per_query(scores, query_labels, gallery_labels, depths):
    scores, query_labels, gallery_labels = np.asarray(scores), np.asarray(query_labels), np.asarray(gallery_labels)
    if scores.shape != (len(query_labels), len(gallery_labels)):
        raise ValueError(
            f"scores {scores.shape} for {len(query_labels)} queries and a gallery of {len(gallery_labels)}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"scores are NaN, the first of query {np.isnan(scores).any(axis=1).argmax()}")
    columns = [*(f"recall_at_{k}" for k in depths), "r_precision", "map_at_r", "reciprocal_rank"]
    values = np.full((len(scores), len(columns)), np.nan)
    answerable = np.flatnonzero(np.isin(query_labels, gallery_labels))
    for rows in np.array_split(answerable, scores.size // BLOCK_SIZE + 1):
        if len(rows):
            values[rows] = _expected_metrics(scores[rows], query_labels[rows, None] == gallery_labels, depths)
    return pd.DataFrame(values, columns=columns)


def _expected_metrics(scores, is_same, depths):
    """Expected metrics over all orders of ties.

    Among ``n_tied`` equal scores with ``n_hits`` hits, each rank is a hit with probability n_hits / n_tied, and given that, so is
    each other one with probability (n_hits - 1) / (n_tied - 1). Without ties this is plain counting.

    Args:
        scores, is_same: (queries, gallery); every query has its label in the gallery.
    """
    order = np.argsort(-scores.astype(float), axis=1)
    scores, is_hit = np.take_along_axis(scores, order, axis=1), np.take_along_axis(is_same, order, axis=1)
    rank = np.arange(scores.shape[1])
    is_drop = scores[:, 1:] < scores[:, :-1]
    edge = np.ones((len(scores), 1), dtype=bool)
    start = np.maximum.accumulate(np.where(np.hstack([edge, is_drop]), rank, 0), axis=1)
    end = np.where(np.hstack([is_drop, edge]), rank + 1, len(rank))
    end = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]
    hits_above = np.pad(np.cumsum(is_hit, axis=1), [(0, 0), (1, 0)])
    n_before = np.take_along_axis(hits_above, start, axis=1)
    n_hits = np.take_along_axis(hits_above, end, axis=1) - n_before
    n_tied, nth = end - start, rank - start

    p_hit = n_hits / n_tied
    precision = (n_before + 1 + nth * (n_hits - 1) / np.maximum(n_tied - 1, 1)) / (rank + 1)  # at a hit
    all_missed = np.cumprod(np.maximum(n_tied - n_hits - nth, 0) / (n_tied - nth), axis=1)
    r = is_hit.sum(axis=1, keepdims=True)
    within_r = rank < r
    recalls = [1.0 - all_missed[:, min(k, len(rank)) - 1] for k in depths]
    at_r = [(value * within_r).sum(axis=1) / r[:, 0] for value in (p_hit, p_hit * precision)]
    first_hit = -np.diff(all_missed, axis=1, prepend=1.0)  # probability that it is at this rank
    return np.stack([*recalls, *at_r, (first_hit / (rank + 1)).sum(axis=1)], axis=1)


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
