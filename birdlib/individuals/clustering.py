"""Which sightings are of the same bird: clustering, matching, and the thresholds they need.

A sighting is a track of a film, a crop or a recording. Embeddings are (items, dim) unit vectors; the distance of two is 1 - cosine, in
[0, 2]. ``must_not_link`` is (items, items) bool, symmetric: True where two are surely different birds, because they were seen in one
frame. ``relations`` is (items, items) int8: 1 surely the same bird, -1 surely different, 0 not known. Identities are (items,) int, 0, 1, ...
in the order of the first appearance; ``NEW`` is a bird that is not among those that are known.
"""

import numpy as np

from birdlib import runtime

NEW = -1
FALLBACK = 0.3  # a threshold where nothing is known to choose it by
_FARTHEST = 2.0  # the largest distance there is


class IndividualsError(runtime.BirdlibError):
    """Too little is known to tell individuals apart."""


def distances(a, b=None):
    """1 - cosine of every item of ``a`` and every item of ``b`` (of ``a`` itself by default): (len(a), len(b)) float64 in [0, 2]."""
    a = _checked(a)
    return np.clip(1.0 - a @ (a if b is None else _checked(b)).T, 0.0, _FARTHEST)


def mean_embeddings(embeddings, groups):
    """The mean of each group, as a unit vector: a track's of its crops, an individual's of its tracks.

    Args:
        embeddings: (items, dim).
        groups: (items,) int, 0 to n - 1, none of which is without items.

    Returns:
        (n, dim) float32.

    Raises:
        ValueError: if a group has no item; it names the group.
    """
    embeddings, groups = _checked(embeddings), np.asarray(groups, dtype=int)
    sizes = np.bincount(groups)
    if not sizes.all():
        raise ValueError(f"group {int(np.argmin(sizes))} has no embedding")
    starts = np.cumsum(sizes) - sizes
    sums = np.add.reduceat(embeddings[np.argsort(groups, kind="stable")], starts) if len(sizes) else embeddings
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.maximum(lengths, 1e-12)).astype(np.float32)


def cluster(embeddings, must_not_link, threshold):
    """Put sightings of the same bird together: average linkage, cut where clusters are farther than the threshold.

    Birds that must not be linked are given a distance so large that the mean with any other distances is beyond the threshold, so they
    never come together, nor do those that were joined to them. What is found does not depend on the order of the items; only among items
    with exactly the same embedding, which of them joins which may.

    Args:
        embeddings: (items, dim).
        must_not_link: (items, items) bool, or None for no such knowledge.
        threshold: mean distance up to which two clusters are one bird.

    Returns:
        (items,) int, identities.

    Raises:
        ValueError: for a threshold that is no number, arrays that do not fit, or embeddings that are no unit vectors.
    """
    from scipy.cluster.hierarchy import fcluster

    if not np.isfinite(threshold):
        raise ValueError(f"threshold {threshold} is no distance: choose_threshold needs pairs of both kinds")
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), dtype=int)
    tree, order = _tree(embeddings, must_not_link)
    labels = np.empty(len(order), dtype=int)
    labels[order] = fcluster(tree, threshold, criterion="distance")
    return renumber(labels)


def clustered_order(embeddings, must_not_link):
    """The order in which like stands beside like: the leaves of the tree that ``cluster`` cuts. (items,) int, rows."""
    from scipy.cluster.hierarchy import leaves_list

    if len(embeddings) < 2:
        return np.arange(len(embeddings))
    tree, order = _tree(embeddings, must_not_link)
    return order[leaves_list(tree)]


def renumber(labels):
    """Number any labels 0, 1, ... in the order of their first appearance; ``NEW`` stays what it is. (items,) int."""
    labels = np.asarray(labels)
    _, first, places = np.unique(labels, return_index=True, return_inverse=True)
    is_bird = np.unique(labels) != NEW
    numbers = np.full(len(first), NEW)
    numbers[is_bird] = np.argsort(np.argsort(first[is_bird]))
    return numbers[places]


def assign(apart, threshold):
    """One-to-one pairs that are not farther apart than the threshold, chosen so that they save the most against it.

    Args:
        apart: (n, m) distances; infinite where a pair cannot be.

    Returns:
        (k, 2) int: rows and columns, ascending.
    """
    from scipy.optimize import linear_sum_assignment

    gain = np.maximum(threshold - apart, 0.0) + 1e-9 * (apart <= threshold)  # at the threshold is better than not at all
    rows, columns = linear_sum_assignment(gain, maximize=True)
    is_near = apart[rows, columns] <= threshold
    return np.column_stack([rows[is_near], columns[is_near]])


# Thresholds


def choose_threshold(distances, relations, weights=None, fallback=None):
    """The equal-error point: the distance at which as large a share of same pairs is missed as of different pairs is joined.

    Between same and different pairs that do not overlap it is the middle of the gap. The error rate is that of
    ``metrics.equal_error_rate``.

    Args:
        distances, relations: (pairs,), or (items, items), of which the part above the diagonal counts.
        weights: of the pairs, as ``distances``; None for all alike.
        fallback: what to take where there are not pairs of both kinds.

    Returns:
        (threshold, error_rate, n_pairs): error_rate is that share, NaN for the fallback; n_pairs is (same, different).

    Raises:
        IndividualsError: if there are not pairs of both kinds, and no fallback.
    """
    distances, relations, weights = _pairs(distances, relations, weights)
    n_pairs = int((relations == 1).sum()), int((relations == -1).sum())
    if not all(n_pairs):
        if fallback is None:
            raise IndividualsError(
                f"{n_pairs[0]} pairs are known to be the same bird and {n_pairs[1]} to be different ones, and a threshold needs both: add a "
                "film that shows two birds at once, fill in individual_id in the manifest, or set the threshold yourself"
            )
        return float(fallback), float("nan"), n_pairs
    order = np.argsort(distances, kind="stable")
    distances, relations, weights = distances[order], relations[order], weights[order]
    is_last = np.append(distances[1:] > distances[:-1], True)  # a cut does not part equal distances
    joined = [np.append(0.0, np.cumsum(weights * (relations == kind))[is_last]) for kind in (1, -1)]
    missed, passed = 1.0 - joined[0] / joined[0][-1], joined[1] / joined[1][-1]  # of the cuts, from joining nothing to joining all
    cuts = np.concatenate([distances[:1], distances[is_last], distances[-1:]])
    cuts = (cuts[:-1] + cuts[1:]) / 2  # a cut may be anywhere between two distances
    after = int(np.argmax(passed >= missed))
    gap_before, gap_after = (missed - passed)[after - 1], (passed - missed)[after]
    share = gap_before / (gap_before + gap_after)  # of the way from one cut to the next, the rates being taken to be linear
    threshold, error_rate = (x[after - 1] + share * (x[after] - x[after - 1]) for x in (cuts, passed))
    return float(threshold), float(error_rate), n_pairs


def validation_pairs(embeddings, tracks, times_s, must_not_link, labels=None):
    """What is surely the same and surely different without asking anybody: the halves of tracks and their relations.

    The first and the second half of a track's crops in time are the same bird; tracks that share a frame are different birds; labelled
    tracks are what their labels say. Where a label and a shared frame contradict each other, nothing is taken to be known.

    Args:
        embeddings: (crops, dim).
        tracks: (crops,) int, the row of the track of each.
        times_s: (crops,) in seconds, of any clock that a track's crops share.
        must_not_link: (tracks, tracks) bool.
        labels: (tracks,) str, the name of the individual, ``""`` where it is not known; None for none.

    Returns:
        (halves, relations, tracks): (items, dim) float32; (items, items) int8; (items,) int, the track of each. A track with one crop is
        one item.
    """
    tracks, times_s, must_not_link = np.asarray(tracks, dtype=int), np.asarray(times_s), np.asarray(must_not_link, dtype=bool)
    labels = np.full(len(must_not_link), "") if labels is None else np.asarray(labels, dtype=str)
    order = np.lexsort([times_s, tracks])
    sizes = np.bincount(tracks, minlength=len(must_not_link))
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its track
    is_late = 2 * place >= sizes[tracks[order]]
    items, of_item = np.unique(2 * tracks[order] + np.where(sizes[tracks[order]] > 1, is_late, 0), return_inverse=True)
    of_track = items // 2

    named = labels != ""
    told = named[:, None] & named
    same = np.where(told, labels[:, None] == labels, np.eye(len(labels), dtype=bool))
    different = must_not_link | (told & ~same)
    relations = same.astype(np.int8) - different.astype(np.int8)
    return mean_embeddings(np.asarray(embeddings)[order], of_item), relations[np.ix_(of_track, of_track)], of_track


def open_set_threshold(distances_to_others, false_accept):
    """The distance beyond which a bird is called new, so that few newcomers are taken for a known bird.

    A newcomer that is like the others is as likely to have any rank among them, so no larger a share than ``false_accept`` of newcomers
    comes as near as this (Vovk et al., "Algorithmic Learning in a Random World", 2005). With n others no rate below 1 / (n + 1) can be
    promised: asked for less, the threshold is just below the nearest of them.

    Args:
        distances_to_others: (n,) of birds that are surely not known: to the nearest of those that are.
        false_accept: share of newcomers, in (0, 1).

    Returns:
        float: a bird up to this distance is known; NaN without others.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < false_accept < 1:
        raise ValueError(f"false_accept {false_accept} is not a share between 0 and 1")
    ascending = np.sort(np.ravel(distances_to_others))
    if not len(ascending):
        return float("nan")
    rank = max(int(false_accept * (len(ascending) + 1) + 1e-9), 1)
    return float(np.nextafter(ascending[rank - 1], -np.inf))


# Helpers


def _checked(embeddings):
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings {embeddings.shape} are not (items, dim)")
    is_unit = np.abs(np.linalg.norm(embeddings, axis=1) - 1.0) < 1e-3  # false for NaN
    if not is_unit.all():
        raise ValueError(f"embedding {int(np.argmin(is_unit))} is no unit vector")
    return embeddings


def _tree(embeddings, must_not_link):
    """The tree of average linkage, and the order of the items that its leaves are numbered in.

    The items are put in an order of their own first: ties, and rounding, then fall the same way whatever order they came in.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    embeddings = _checked(embeddings)
    n = len(embeddings)
    forbidden = np.zeros((n, n), dtype=bool) if must_not_link is None else np.asarray(must_not_link, dtype=bool)
    if forbidden.shape != (n, n) or (forbidden != forbidden.T).any() or forbidden.diagonal().any():
        raise ValueError(f"must_not_link {forbidden.shape} is not symmetric with a False diagonal, for {n} items")
    contents = np.column_stack([embeddings + 0.0, forbidden.sum(axis=1)])  # + 0.0: there is a -0.0
    order = np.argsort(contents.view(np.dtype((np.void, contents[0].nbytes)))[:, 0], kind="stable")
    embeddings, forbidden = embeddings[order], forbidden[np.ix_(order, order)]
    apart = np.where(forbidden, _FARTHEST * n * n, distances(embeddings))  # the mean of n^2 / 4 pairs is beyond any threshold
    np.fill_diagonal(apart, 0.0)
    return linkage(squareform(apart, checks=False), method="average"), order


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
