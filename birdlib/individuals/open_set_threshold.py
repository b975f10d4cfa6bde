"""The open-set threshold: up to which distance a bird is a known one.

Distances are those of items of birds that are surely unknown, each to the nearest known bird.
"""

import numpy as np

from birdlib import runtime


def choose(distances_to_others, false_accept, birds=None):
    """The distance beyond which a bird is new, so that few new birds are taken for a known one.

    A conformal p-value (Vovk et al., "Algorithmic Learning in a Random World", 2005): a new bird that is exchangeable with the others has
    any rank among them with equal probability. Items of one bird are not exchangeable with those of a new one, so each bird counts once, shared
    out over its items (Dunn, Wasserman & Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical Models", 2023). With n other
    birds no rate below 1 / (n + 1) can be guaranteed (``guaranteed_rate``): for a smaller ``false_accept`` the threshold is just below the smallest
    distance.

    Args:
        distances_to_others: (n,) of items of birds that are surely unknown: to the nearest known one.
        false_accept: share of new birds, in (0, 1).
        birds: (n,) the bird of each item; None if each is another.

    Returns:
        float: a bird up to this distance is known; NaN without others.

    Raises:
        ParameterError: if the share is not between 0 and 1.
    """
    if not 0 < false_accept < 1:
        raise runtime.ParameterError(f"false_accept {false_accept} is not a share between 0 and 1")
    distances = np.ravel(distances_to_others)
    if not len(distances):
        return float("nan")
    codes = np.arange(len(distances)) if birds is None else np.unique(birds, return_inverse=True)[1]
    sizes = np.bincount(codes)
    order = np.argsort(distances, kind="stable")
    n_within = np.cumsum(1.0 / sizes[codes[order]])  # birds up to each distance
    exceeds = n_within > false_accept * (len(sizes) + 1) - 1 + 1e-9
    return float(np.nextafter(distances[order[exceeds.argmax()]], -np.inf))


def guaranteed_rate(n_birds, false_accept):
    """The share of new birds that ``choose`` guarantees; NaN without other birds."""
    return max(false_accept, 1 / (n_birds + 1)) if n_birds else float("nan")
