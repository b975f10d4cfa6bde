"""What the boxes of single frames add to the counts of tracks: flocks that cannot be tracked, and birds that no track holds.

Numbers of boxes are those that are reached in a tenth of the frames, after a median of three frames (``frame_counts.steady``). Where tracks hold
far fewer birds at once than there are boxes, the film is counted by density, else by tracks; then each faint track, of something that moves as birds
do and never scores as they do, may be one bird more.

Each count has a word for its certainty:

- ``certain``: no draw of the bootstrap and no frame gives another number, and so many birds are in one frame;
- ``likely``: the interval is at most one bird, or half of the count, wide;
- ``uncertain``: it is wider, or nothing was counted where boxes with low scores may be birds.
"""

import numpy as np

from birdlib.video import frame_counts

TRACKS, DENSITY = "tracks", "density"
CERTAIN, LIKELY, UNCERTAIN = "certain", "likely", "uncertain"
_SHARE, _MIN_SHARE, _MAX_SHARE = 0.1, 0.25, 0.05  # of the frames: of a number, and of the ends of its interval
_MIN_UNTRACKED, _MIN_RATIO = 3, 1.5  # boxes in a frame against birds in the frame with the most tracks, of a flock that cannot be tracked


def revise(table, frames, is_validated=False):
    """Counts with the evidence of frames.

    Args:
        table: from ``counts.per_film``.
        frames: DataFrame of ``frame_counts.COLUMNS``, of the same films.
        is_validated: whether the threshold of appearance is that of an encoder that was validated on individuals. Else all birds that are not in
            one frame may be one, and intervals reach down to the boxes of single frames.

    Returns:
        The table with ``n``, ``low`` and ``high`` of films that are counted by density replaced, the other intervals widened to what frames
        show, and the columns ``method`` and ``certainty``.
    """
    of_film = dict(list(frames.groupby("recording_id")))
    rows = [_revise(row, of_film.get(row.recording_id), is_validated) for row in table.itertuples()]
    n, low, high, method, certainty = zip(*rows, strict=True) if rows else [[]] * 5
    return table.assign(n=n, low=low, high=high, method=method, certainty=certainty).astype({"n": int, "low": int, "high": int, "method": object, "certainty": object})


def add_untracked(total, table, revised):
    """The total of all films (n, low, high) with the birds that are only counted by density.

    Args:
        total: of ``counts.overall``.
        table: before, revised: after ``revise``.
    """
    is_flock = (revised["method"] == DENSITY).to_numpy()
    n, low, high = (int(value + (revised[name] - table[name])[is_flock].clip(lower=0).sum()) for value, name in zip(total, ("n", "low", "high"), strict=True))
    return n, min(low, n), max(high, n)


def _revise(row, frames, is_validated):
    """(n, low, high, method, certainty)."""
    if frames is None or not len(frames):
        return row.n, row.low, row.high, TRACKS, _certainty(row, row.low, row.high)
    frames = frames.sort_values("time_s")
    firm, likely = (frame_counts.steady(frames[name], _SHARE) for name in ("n_firm", "n_likely"))
    if firm >= row.at_once + _MIN_UNTRACKED and firm >= _MIN_RATIO * row.at_once:
        n = max(firm, likely)
        low = min(n, frame_counts.steady(frames["n_firm"], _MIN_SHARE))
        high = max(n, frame_counts.steady(frames["n_possible"], _MAX_SHARE))
        return n, max(low, row.at_once), high, DENSITY, LIKELY if high - low <= n / 2 else UNCERTAIN
    low = row.low if is_validated else min(row.low, max(firm, min(row.n, 1)))
    high = max(row.high, likely, row.n + frames["n_faint"].sum())
    if not row.n:
        high = max(high, frame_counts.steady(frames["n_possible"], _MAX_SHARE))
    return row.n, low, high, TRACKS, _certainty(row, low, high)


def _certainty(row, low, high):
    if low == high and row.n == row.at_once:
        return CERTAIN
    return LIKELY if high - low <= np.maximum(1, row.n / 2) and (row.n or not high) else UNCERTAIN
