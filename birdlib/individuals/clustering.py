"""Which sightings are of the same bird: clustering, matching, and the threshold of the distance.

A sighting is a track of a film, a crop or a recording. Embeddings are (items, dim) unit vectors; the distance of two is 1 - cosine, in
[0, 2]. ``must_not_link`` is (items, items) bool, symmetric: True where two are surely different birds, because they are in one frame.
``relations`` is (items, items) int8: 1 the same bird, -1 different birds, 0 unknown. Identities are (items,) int, 0, 1, ... in the order
of the first appearance; ``UNKNOWN`` is a bird that is none of the known ones, or a track that is not counted.
"""

import numpy as np

from birdlib import runtime
from birdlib.metrics import classification
from birdlib.metrics.identity import UNKNOWN

FALLBACK_THRESHOLD = 0.3  # where there are no pairs to choose it by
_MAX_DISTANCE = 2.0


class IndividualsError(runtime.BirdlibError):
    """Too few known pairs to tell individuals apart."""


def distances(a, b=None):
    """1 - cosine of every item of ``a`` and every item of ``b`` (of ``a`` itself by default): (len(a), len(b)) float64 in [0, 2].

    Not scikit-learn's ``cosine_distances``: inputs must be unit vectors, and are checked instead of normalised again.
    """
    a = _checked(a)
    return np.clip(1.0 - a @ (a if b is None else _checked(b)).T, 0.0, _MAX_DISTANCE)


def mean_embeddings(embeddings, groups):
    """The mean of each group, as a unit vector: of a track's crops, or of an individual's tracks.

    Args:
        embeddings: (items, dim).
        groups: (items,) int, 0 to n - 1, none of them empty.

    Returns:
        (n, dim) float32.

    Raises:
        ValueError: if a group has no item.
    """
    embeddings, groups = _checked(embeddings), np.asarray(groups, dtype=int)
    sizes = np.bincount(groups)
    if not sizes.all():
        raise ValueError(f"group {int(np.argmin(sizes))} has no embedding")
    starts = np.cumsum(sizes) - sizes
    sums = np.add.reduceat(embeddings[np.argsort(groups, kind="stable")], starts) if len(sizes) else embeddings
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.maximum(lengths, 1e-12)).astype(np.float32)


def cluster(embeddings, must_not_link, threshold, scale=None):
    """Group sightings of the same bird: average linkage, cut at the threshold.

    Pairs that must not be linked get a distance so large that any mean with it exceeds the threshold, so neither they nor clusters
    that hold them are ever merged. The result does not depend on the order of the items, except among items with identical embeddings.

    Args:
        embeddings: (items, dim).
        must_not_link: (items, items) bool, or None.
        threshold: largest mean distance of two clusters that are merged.
        scale: (items, items), symmetric, at least 1: by which distances are multiplied; None for 1.

    Returns:
        (items,) int, identities.

    Raises:
        ValueError: for a threshold that is not finite, arrays that do not fit, or embeddings that are no unit vectors.
    """
    from scipy.cluster.hierarchy import fcluster

    if not np.isfinite(threshold):
        raise ValueError(f"threshold {threshold} is no distance: choose_threshold needs pairs of both kinds")
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), dtype=int)
    tree, order = _tree(embeddings, must_not_link, scale)
    labels = np.empty(len(order), dtype=int)
    labels[order] = fcluster(tree, threshold, criterion="distance")
    return renumber(labels)


def greedy(embeddings, must_not_link, threshold):
    """Number sightings one after another: the nearest individual so far that is closer than the threshold, else a new one.

    The leader algorithm (Hartigan, "Clustering Algorithms", 1975), as many published counters use it: an individual is its first
    sighting. The result depends on the order of the items, and two birds in one frame may get one number: ``must_not_link`` is not used.

    Args:
        embeddings: (items, dim), in the order of time.
        must_not_link: as in ``cluster``, for one way to call both.
        threshold: distance.

    Returns:
        (items,) int, identities.
    """
    table, identities, firsts = distances(embeddings), [], []
    for item, to_others in enumerate(table):
        nearest = int(np.argmin(to_others[firsts])) if firsts else 0
        if firsts and to_others[firsts[nearest]] < threshold:
            identities.append(nearest)
        else:
            identities.append(len(firsts))
            firsts.append(item)
    return np.array(identities, dtype=int)


def clustered_order(embeddings, must_not_link):
    """The order in which similar items are neighbours: the leaves of the tree that ``cluster`` cuts. (items,) int, rows."""
    from scipy.cluster.hierarchy import leaves_list

    if len(embeddings) < 2:
        return np.arange(len(embeddings))
    tree, order = _tree(embeddings, must_not_link)
    return order[leaves_list(tree)]


def renumber(labels):
    """Number any labels 0, 1, ... in the order of their first appearance; ``UNKNOWN`` stays. (items,) int."""
    labels = np.asarray(labels)
    values, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    is_bird = values != UNKNOWN
    numbers = np.full(len(first), UNKNOWN)
    numbers[is_bird] = np.argsort(np.argsort(first[is_bird]))
    return numbers[codes]


def assign(distances, threshold):
    """One-to-one pairs with distances up to the threshold, chosen to maximise the sum of (threshold - distance).

    Args:
        distances: (n, m); infinite where a pair is impossible.

    Returns:
        (k, 2) int: rows and columns, ascending.
    """
    from scipy.optimize import linear_sum_assignment

    gain = np.maximum(threshold - distances, 0.0) + 1e-9 * (distances <= threshold)  # a pair at the threshold is better than none
    rows, columns = linear_sum_assignment(gain, maximize=True)
    is_near = distances[rows, columns] <= threshold
    return np.column_stack([rows[is_near], columns[is_near]])


COUNTINGS = {"clustering": cluster, "greedy": greedy}


# Thresholds


def choose_threshold(distances, relations, weights=None, fallback=None):
    """The equal-error threshold: the share of same pairs beyond it equals the share of different pairs within it.

    Where same and different pairs do not overlap, it is the middle of the gap. The error rate is ``classification.equal_error_rate``.

    Args:
        distances, relations: (pairs,), or (items, items), of which the part above the diagonal counts.
        weights: of the pairs, as ``distances``; None for equal weights.
        fallback: threshold to return if one kind of pairs is missing.

    Returns:
        (threshold, error_rate, n_pairs): error_rate is NaN for the fallback; n_pairs is (same, different).

    Raises:
        IndividualsError: if one kind of pairs is missing and there is no fallback.
    """
    distances, relations, weights = _pairs(distances, relations, weights)
    n_pairs = int((relations == 1).sum()), int((relations == -1).sum())
    if not all(n_pairs):
        if fallback is None:
            raise IndividualsError(
                f"{n_pairs[0]} pairs are known to be the same bird and {n_pairs[1]} to be different birds, and a threshold needs both: add a "
                "film with two birds at once, fill in individual_id in the manifest, or set the threshold yourself"
            )
        return float(fallback), float("nan"), n_pairs
    order = np.argsort(distances, kind="stable")
    distances, relations, weights = distances[order], relations[order], weights[order]
    is_last = np.append(distances[1:] > distances[:-1], True)  # equal distances are on one side of any cut
    linked = [np.append(0.0, np.cumsum(weights * (relations == kind))[is_last]) for kind in (1, -1)]
    missed, passed = 1.0 - linked[0] / linked[0][-1], linked[1] / linked[1][-1]  # (cuts,), from linking nothing to linking all
    cuts = np.concatenate([distances[:1], distances[is_last], distances[-1:]])
    cuts = (cuts[:-1] + cuts[1:]) / 2  # in the middle between two distances
    return *classification.at_equal_error(missed, passed, cuts, passed), n_pairs


def describe_threshold(threshold, error, n_pairs):
    """Sentences about ``choose_threshold``: how well same and different birds are separated, and what to do where they are not."""
    if np.isnan(error):
        return (
            f"Threshold {threshold:.3f}, a default, as {n_pairs[0]} same and {n_pairs[1]} different pairs are known and both are needed: "
            "name birds in the manifest, or set `threshold`."
        )
    text = f"Threshold {threshold:.3f}; equal error {error:.3f} of {n_pairs[0]} same and {n_pairs[1]} different pairs."
    return text + (" The distributions overlap: expect wrong identities, and check the contact sheet." if error > 0.1 else "")


def validation_pairs(embeddings, tracks, times_s, must_not_link, labels=None):
    """Pairs that are known without annotation: the halves of tracks and their relations.

    The first and the second half of a track's crops in time are the same bird; tracks that share a frame are different birds; labelled
    tracks are what their labels say. Where a label contradicts a shared frame, the relation is unknown.

    Args:
        embeddings: (crops, dim).
        tracks: (crops,) int, the row of the track of each.
        times_s: (crops,) in seconds, of any clock that a track's crops share.
        must_not_link: (tracks, tracks) bool.
        labels: (tracks,) str, the individual, ``""`` where unknown; None for no labels.

    Returns:
        (halves, relations, tracks): (items, dim) float32; (items, items) int8; (items,) int, the track of each. A track with one crop is
        one item.
    """
    tracks, times_s, must_not_link = np.asarray(tracks, dtype=int), np.asarray(times_s), np.asarray(must_not_link, dtype=bool)
    labels = np.full(len(must_not_link), "") if labels is None else np.asarray(labels, dtype=str)
    order = np.lexsort([times_s, tracks])
    sizes = np.bincount(tracks, minlength=len(must_not_link))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its track
    is_late = 2 * rank >= sizes[tracks[order]]
    items, item_of = np.unique(2 * tracks[order] + np.where(sizes[tracks[order]] > 1, is_late, 0), return_inverse=True)
    track_of = items // 2

    is_named = labels != ""
    both_named = is_named[:, None] & is_named
    same = np.where(both_named, labels[:, None] == labels, np.eye(len(labels), dtype=bool))
    different = must_not_link | (both_named & ~same)
    relations = same.astype(np.int8) - different.astype(np.int8)
    return mean_embeddings(np.asarray(embeddings)[order], item_of), relations[np.ix_(track_of, track_of)], track_of


def _checked(embeddings):
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings {embeddings.shape} are not (items, dim)")
    is_unit = np.abs(np.linalg.norm(embeddings, axis=1) - 1.0) < 1e-3  # false for NaN
    if not is_unit.all():
        raise ValueError(f"embedding {int(np.argmin(is_unit))} is no unit vector")
    return embeddings


def _tree(embeddings, must_not_link, scale=None):
    """The tree of average linkage, and the order of the items that its leaves are numbered in.

    Items are sorted by content first, so that ties and rounding do not depend on their order.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    embeddings = _checked(embeddings)
    n = len(embeddings)
    forbidden = np.zeros((n, n), dtype=bool) if must_not_link is None else np.asarray(must_not_link, dtype=bool)
    if forbidden.shape != (n, n) or (forbidden != forbidden.T).any() or forbidden.diagonal().any():
        raise ValueError(f"must_not_link {forbidden.shape} is not symmetric with a False diagonal, for {n} items")
    contents = np.column_stack([embeddings + 0.0, forbidden.sum(axis=1)])  # + 0.0 turns -0.0 into 0.0
    order = np.argsort(contents.view(np.dtype((np.void, contents[0].nbytes)))[:, 0], kind="stable")
    embeddings, forbidden = embeddings[order], forbidden[np.ix_(order, order)]
    table = distances(embeddings) * (1.0 if scale is None else np.asarray(scale)[np.ix_(order, order)])
    table = np.where(forbidden, table.max() * n * n + _MAX_DISTANCE * n * n, table)  # a mean of up to n^2 / 4 pairs exceeds any threshold
    np.fill_diagonal(table, 0.0)
    return linkage(squareform(table, checks=False), method="average"), order


def _pairs(distances, relations, weights):
    distances, relations = np.asarray(distances, dtype=np.float64), np.asarray(relations)
    weights = np.ones(distances.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if not distances.shape == relations.shape == weights.shape:
        raise ValueError(f"distances {distances.shape}, relations {relations.shape} and weights {weights.shape} do not fit")
    if distances.ndim == 2:
        above = np.triu_indices(len(distances), k=1)
        distances, relations, weights = distances[above], relations[above], weights[above]
    if np.isnan(distances).any():
        raise ValueError("distances are NaN")
    is_known = (relations != 0) & (weights > 0)
    return distances[is_known], relations[is_known], weights[is_known]
