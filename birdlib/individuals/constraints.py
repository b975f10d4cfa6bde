"""Known relations of tracks: (tracks, tracks) int8, 1 the same bird, -1 different birds, 0 unknown."""

import numpy as np
import pandas as pd

from birdlib import runtime

_MIN_TRACKS = 8  # to train with; and so many pairs of different birds


class RelationError(runtime.BirdlibError):
    """Labels that contradict the films."""


def relations(must_not_link, individual_ids=None):
    """Relations from shared frames and labels: (tracks, tracks) int8.

    Args:
        must_not_link: (tracks, tracks) bool, as ``tracking.must_not_link``.
        individual_ids: (tracks,) str, "" where unknown; None for no labels.

    Raises:
        RelationError: if two tracks that share a frame are labelled as one bird.
    """
    must_not_link = np.asarray(must_not_link, bool)
    table = -must_not_link.astype(np.int8)
    if individual_ids is not None:
        names = pd.Series(individual_ids, dtype=object).fillna("").to_numpy()
        is_known = (names[:, None] != "") & (names[None] != "")
        is_same = names[:, None] == names[None]
        wrong = is_known & is_same & must_not_link
        if wrong.any():
            raise RelationError(f"two tracks in one frame are both labelled {names[np.argwhere(wrong)[0][0]]!r}: correct individual_id")
        table[is_known] = np.where(is_same, 1, -1)[is_known]
    np.fill_diagonal(table, 1)
    return table


def concatenate(*tables):
    """Relations of several sets of tracks that have no bird in common: (tracks, tracks) int8."""
    from scipy.linalg import block_diag

    set_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    whole = block_diag(*tables).astype(np.int8)
    whole[set_of[:, None] != set_of[None]] = -1
    return whole


def can_train(relations):
    """Whether there are enough tracks and pairs of different birds to train with, also after some are held out."""
    return len(relations) >= _MIN_TRACKS and (np.asarray(relations) == -1).sum() >= 2 * _MIN_TRACKS


def hold_out(relations, share, rng):
    """Tracks to keep out of training, whole birds at a time: tracks of one bird are never separated.

    Args:
        share: of the birds, at least one if it is above 0.

    Returns:
        (tracks,) bool.
    """
    from scipy.sparse.csgraph import connected_components

    n, bird = connected_components(np.asarray(relations) == 1, directed=False)
    n_out = min(n - 1, int(np.ceil(share * n))) if n else 0
    return np.isin(bird, rng.permutation(n)[:n_out])
