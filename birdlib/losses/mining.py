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


def mine(embeddings, labels, mining, rng, media=None):
    """Offline triplets: every sample with another of its species is an anchor once, in random order.

    The positive is random among the samples of another photo and another recording; where there is none, among those that differ in one.

    Args:
        embeddings, labels: as in ``hardest_negatives``.
        mining: ``"hard"``: the hardest negative; ``"semi_hard"``: the hardest that is further than the positive.
        rng: samples the positives and the order.
        media: (n, 2) int, the photo and the recording of each sample, below 0 where it has none; None: no two share any.

    Returns:
        (triplets, 3) int, rows of the embeddings: anchor, positive, negative.
    """
    positives = _other_of_the_same(labels, rng, np.zeros((len(labels), 0), int) if media is None else media)
    has_positive = positives >= 0
    to_positive = np.einsum("ij,ij->i", embeddings, embeddings[positives]) if mining == "semi_hard" else None
    negatives = hardest_negatives(embeddings, labels, below=to_positive)
    triplets = np.stack([np.arange(len(labels)), positives, negatives], axis=1)[has_positive & (negatives >= 0)]
    return rng.permutation(triplets)


def _other_of_the_same(labels, rng, media):
    """(n,) a random other sample of the same label and, where there is one, of other media; -1 where there is none."""
    chosen = np.full(len(labels), -1)
    for rows in pd.Series(np.arange(len(labels))).groupby(np.asarray(labels)).indices.values():
        if len(rows) > 1:
            shuffled = rng.permutation(rows)
            partners = _partners(media[shuffled])
            chosen[shuffled] = np.where(partners >= 0, shuffled[partners], -1)
    return chosen


def _partners(media):
    """The nearest sample before each that shares no medium with it, else the nearest that is not the same in all; (n,) rows, or -1."""
    n, found = len(media), np.full(len(media), -1)
    if not media.shape[1]:
        return np.roll(np.arange(n), 1)
    n_same = _times(media)
    n_sharing = sum(np.where(column >= 0, _times(column[:, None]), 0) for column in media.T)
    n_sharing = n_sharing - n_same * ((media >= 0).all(axis=1))  # those that share both were counted twice
    for n_refused, is_refused in ((n_sharing, _shares), (n_same, _is_same)):
        for shift in range(1, n):
            waiting = np.flatnonzero((found < 0) & (n_refused < n))
            if not len(waiting):
                break
            candidates = (waiting - shift) % n
            is_good = ~is_refused(media[waiting], media[candidates])
            found[waiting[is_good]] = candidates[is_good]
    return found


def _times(rows):
    """(n,) how often each row of (n, columns) occurs."""
    _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return counts[inverse.reshape(-1)]


def _shares(media, others):
    return ((media == others) & (media >= 0)).any(axis=1)


def _is_same(media, others):
    return (media == others).all(axis=1)


def spread(embeddings):
    """Mean cosine distance between two random unit vectors, in [0, 1]; 0 for collapsed embeddings."""
    return float(1.0 - np.sum(np.mean(embeddings, axis=0, dtype=np.float64) ** 2))
