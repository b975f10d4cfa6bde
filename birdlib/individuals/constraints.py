"""What is known of tracks for certain: (tracks, tracks) int8, 1 surely the same bird, -1 surely different ones, 0 not known."""

import numpy as np
import pandas as pd

from birdlib import runtime

_LEAST_TRACKS = 8  # to learn from; and so many pairs of different birds


class RelationError(runtime.BirdlibError):
    """Labels that contradict what was seen."""


def relations(must_not_link, individual_ids=None):
    """What is known of tracks: (tracks, tracks) int8.

    Args:
        must_not_link: (tracks, tracks) bool, as ``tracks.must_not_link``.
        individual_ids: (tracks,) str, "" where nobody knows; None for nobody.

    Raises:
        RelationError: if two tracks that share a picture are labelled as one bird.
    """
    must_not_link = np.asarray(must_not_link, bool)
    known = -must_not_link.astype(np.int8)
    if individual_ids is not None:
        names = pd.Series(individual_ids, dtype=object).fillna("").to_numpy()
        is_known = (names[:, None] != "") & (names[None] != "")
        is_same = names[:, None] == names[None]
        wrong = is_known & is_same & must_not_link
        if wrong.any():
            raise RelationError(
                f"two tracks in one picture are both labelled {names[np.argwhere(wrong)[0][0]]!r}: correct individual_id"
            )
        known[is_known] = np.where(is_same, 1, -1)[is_known]
    np.fill_diagonal(known, 1)
    return known


def joined(*known):
    """Relations of several sets of tracks whose birds are surely others, one below the other: (tracks, tracks) int8."""
    from scipy.linalg import block_diag

    sizes = np.repeat(np.arange(len(known)), [len(one) for one in known])
    table = block_diag(*known).astype(np.int8)
    table[sizes[:, None] != sizes[None]] = -1
    return table


def can_learn(known):
    """Whether enough is known: more than a few tracks, some of them surely different birds, also when some are held out."""
    return len(known) >= _LEAST_TRACKS and (np.asarray(known) == -1).sum() >= 2 * _LEAST_TRACKS


def hold_out(known, share, rng):
    """Tracks kept out of training, whole birds at a time: what is known to be one bird is never cut.

    Args:
        known: ``relations``.
        share: of the birds, at least one if it is above 0.

    Returns:
        (tracks,) bool.
    """
    from scipy.sparse.csgraph import connected_components

    n, bird = connected_components(np.asarray(known) == 1, directed=False)
    n_out = min(n - 1, int(np.ceil(share * n))) if n else 0
    return np.isin(bird, rng.permutation(n)[:n_out])
