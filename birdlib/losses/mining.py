"""Offline triplet mining with NumPy. Embeddings are unit vectors; similarity is the cosine."""

import numpy as np
import pandas as pd


def hardest_negatives(embeddings, labels, below=None, block=1024):
    """The most similar sample of another species for each anchor; exact, without an n × n matrix.

    Args:
        embeddings: (n, dim) unit vectors.
        labels: (n,).
        below: (n,), only negatives with a smaller cosine count (semi-hard, "FaceNet", 2015); if there are none, the least similar.
        block: anchors at a time.

    Returns:
        (n,) int, -1 where there is no other species.
    """
    order = np.argsort(labels, kind="stable")
    sorted_labels, vectors = np.asarray(labels)[order], np.asarray(embeddings, np.float32)[order]
    if not len(order) or sorted_labels[0] == sorted_labels[-1]:
        return np.full(len(order), -1)
    first, last = (np.searchsorted(sorted_labels, sorted_labels, side) for side in ("left", "right"))
    found = np.empty(len(order), int)
    for start in range(0, len(order), block):
        cosines = vectors[start : start + block] @ vectors.T  # (block, n)
        for row, (own_first, own_last) in enumerate(zip(first[start:], last[start : start + block], strict=False)):
            cosines[row, own_first:own_last] = -np.inf
        if below is not None:
            limit = np.asarray(below)[order[start : start + block], None]
            is_too_near = cosines >= limit
            has_none = (is_too_near | np.isneginf(cosines)).all(axis=1)
            cosines[has_none] = np.where(np.isneginf(cosines[has_none]), -np.inf, -cosines[has_none])
            cosines[is_too_near & ~has_none[:, None]] = -np.inf
        found[start : start + block] = cosines.argmax(axis=1)
    negatives = np.empty_like(found)
    negatives[order] = order[found]
    return negatives


def mine(embeddings, labels, mining, rng):
    """Offline triplets: every sample with another of its species is an anchor once, in random order.

    Args:
        embeddings, labels: as in ``hardest_negatives``.
        mining: ``"hard"``: the hardest negative; ``"semi_hard"``: the hardest that is further than the positive.
        rng: samples the positives and the order.

    Returns:
        (triplets, 3) int, rows of the embeddings: anchor, positive, negative.
    """
    positives = _other_of_the_same(labels, rng)
    has_positive = positives >= 0
    to_positive = np.einsum("ij,ij->i", embeddings, embeddings[positives]) if mining == "semi_hard" else None
    negatives = hardest_negatives(embeddings, labels, below=to_positive)
    triplets = np.stack([np.arange(len(labels)), positives, negatives], axis=1)[has_positive & (negatives >= 0)]
    return rng.permutation(triplets)


def _other_of_the_same(labels, rng):
    """(n,) a random other sample of the same label; -1 where there is none."""
    chosen = np.full(len(labels), -1)
    for rows in pd.Series(np.arange(len(labels))).groupby(np.asarray(labels)).indices.values():
        if len(rows) > 1:
            shuffled = rng.permutation(rows)
            chosen[shuffled] = np.roll(shuffled, 1)
    return chosen


def spread(embeddings):
    """Mean cosine distance between two random unit vectors, in [0, 1]; 0 for collapsed embeddings."""
    return float(1.0 - np.sum(np.mean(embeddings, axis=0, dtype=np.float64) ** 2))
