"""Smoothing of submissions: which spans of a soundscape are predicted, how their scores become those of its windows, and what is done with these.

Windows and spans are lists of (start_s, end_s); scores are (spans, classes) or (windows, classes) of one soundscape, in the order of
time, so no soundscape influences another.
"""

import dataclasses

import numpy as np

from birdlib import runtime
from birdlib.species import site_hour

SMOOTHING = (0.2, 0.6, 0.2)


@dataclasses.dataclass(frozen=True)
class Postprocessing:
    """What is done with the scores of windows: the prior by site and hour, smoothing, scaling by the highest windows, in this order.

    Attributes:
        smoothing: weights of ``smooth``; empty: none.
        n_top, top_power: of ``top_n``; 0 windows: none.
        prior: ``site_hour.SiteHourPrior`` or None.
        prior_weight: by which it counts; 0: none.

    Raises:
        ParameterError: for weights that ``smooth`` refuses, a negative number of windows or a negative power.
    """

    smoothing: tuple = ()
    n_top: int = 0
    top_power: float = 1.0
    prior: site_hour.SiteHourPrior | None = None
    prior_weight: float = 0.0

    def __post_init__(self):
        if len(self.smoothing):
            _require_weights(self.smoothing)
        if self.n_top < 0 or not 0 <= self.top_power < np.inf:
            raise runtime.ParameterError(f"n_top is {self.n_top} and top_power {self.top_power:g}: choose 0 or more of both")

    def apply(self, scores, groups):
        """(windows, classes) float32 of scores (windows, classes); ``groups`` (windows,) names the soundscape of each, whose windows lie together."""
        if self.prior is not None:
            scores = site_hour.apply(self.prior, scores, groups, self.prior_weight)
        return postprocess(scores, groups, self.smoothing, self.n_top, self.top_power)

    def without_scaling(self):
        """The same without scaling by the highest windows, whose results are no probabilities."""
        return dataclasses.replace(self, n_top=0)


def numbers(text):
    """The numbers of a parameter such as ``"-1.25,1.25"``, a tuple of float; ``""`` has none.

    Raises:
        ParameterError: if one is no finite number; it shows the text.
    """
    try:
        found = tuple(float(number) for number in text.split(",") if number.strip())
    except ValueError:
        found = (np.nan,)
    if not np.isfinite(found).all():
        raise runtime.ParameterError(f"{text!r} is not a list of numbers such as '-1.25,1.25'")
    return found


def spans(windows, hop_s=0.0, shifts_s=()):
    """The spans to predict for the scores of windows: the windows, spans that overlap them, and all these shifted in time.

    Spans are as long as a window and begin every ``hop_s``. A window's score is the mean of the spans that overlap it, weighted by the
    seconds of overlap: with a hop of half a window, 1/4, 1/2, 1/4. Shifted spans ("test-time augmentation") have the same weight as
    those in place; they are clipped to begin between the first window's start and the last one's.

    Args:
        windows: of one soundscape, side by side, from ``birdclef.windows``.
        hop_s: from one span to the next, at most a window; 0: a window, so that spans do not overlap.
        shifts_s: seconds, e.g. (-1.25, 1.25).

    Returns:
        (spans, weights): list of (start_s, end_s), ascending, each once; sparse (windows, spans), whose rows sum to 1: the windows'
        scores are ``weights @ scores of the spans``.

    Raises:
        ParameterError: if the hop is longer than a window, or negative.
    """
    import scipy.sparse

    begins_s = np.array([start_s for start_s, _ in windows])
    window_s = windows[0][1] - windows[0][0]
    if not 0.0 <= hop_s <= window_s:
        raise runtime.ParameterError(f"hop_s is {hop_s:g}: choose one of 0 to {window_s:g} s, the length of a window")
    hop_s = hop_s or window_s
    starts_s = np.arange(0.0, begins_s[-1] + 1e-6, hop_s)
    reach = int(np.ceil(window_s / hop_s))
    near = np.round(begins_s / hop_s).astype(int)[:, None] + np.arange(-reach, reach + 1)  # (windows, candidates)
    overlap_s = np.maximum(0.0, window_s - np.abs(begins_s[:, None] - near * hop_s)) * ((near >= 0) & (near < len(starts_s)))
    shifted_s = [np.clip(starts_s + shift_s, 0.0, begins_s[-1]) for shift_s in (0.0, *shifts_s)]
    all_s, column_of = np.unique(np.round(np.concatenate(shifted_s), 6), return_inverse=True)
    weights = overlap_s / overlap_s.sum(axis=1, keepdims=True) / len(shifted_s)
    rows, candidates = np.nonzero(weights)
    columns = [column_of[shift * len(starts_s) + near[rows, candidates]] for shift in range(len(shifted_s))]
    values = np.tile(weights[rows, candidates], len(shifted_s))
    cells = (np.tile(rows, len(shifted_s)), np.concatenate(columns))
    weights = scipy.sparse.csr_array((values, cells), (len(windows), len(all_s)))  # adds up cells that occur twice
    return [(float(start_s), float(start_s + window_s)) for start_s in all_s], weights


def smooth(scores, weights=SMOOTHING):
    """Weighted mean of each window and its neighbours: a bird that sings now is likely to sing in the next five seconds.

    Args:
        scores: (windows, classes) of one soundscape.
        weights: an odd number of them, of the windows before, of the window itself and of those after. At the ends those of missing
            neighbours are left out, and the others sum to 1.

    Returns:
        (windows, classes) float32; constant scores stay as they are.

    Raises:
        ParameterError: if the number of weights is even, one is negative, or that in the middle is not above 0.
    """
    weights = _require_weights(weights)
    middle = len(weights) // 2
    scores = np.asarray(scores)
    total, weight = np.zeros(scores.shape), np.zeros((len(scores), 1))
    for offset in range(-middle, middle + 1):  # of the neighbour
        rows = slice(max(0, -offset), max(0, len(scores) - max(0, offset)))
        neighbours = slice(max(0, offset), max(0, len(scores) - max(0, -offset)))
        total[rows] += weights[offset + middle] * scores[neighbours]
        weight[rows] += weights[offset + middle]
    return (total / weight).astype(np.float32)


def _require_weights(weights):
    """(neighbours,) float64; ParameterError for weights that ``smooth`` cannot use."""
    weights = np.asarray(weights, np.float64)
    if len(weights) % 2 == 0 or not (weights >= 0).all() or not 0 < weights[len(weights) // 2] < np.inf:
        raise runtime.ParameterError(f"smoothing weights {weights.tolist()} must be odd in number, not negative, and above 0 in the middle")
    return weights


def top_n(scores, n=1, power=1.0):
    """Scale each species by its highest windows: p'[w, c] = p[w, c] * (mean of the n highest p[., c] of the soundscape) ** power.

    A species that is certain somewhere in a soundscape is likelier in its other windows too. After "Tackling Domain Shift in Bird Audio
    Classification via Transfer Learning and Semi-Supervised Distillation: A Case Study on BirdCLEF+ 2025" (2025), second there, with
    n = 1 and power 1. Ranks of windows within a soundscape stay; ranks across soundscapes change. The results are no probabilities.

    Args:
        scores: (windows, classes) of one soundscape, in [0, 1].
        n: windows; all of them where there are fewer.
        power: 0 leaves the scores as they are; between 0 and 1 scales them less.

    Returns:
        (windows, classes) float32 in [0, 1], nowhere higher than before.

    Raises:
        ParameterError: for a negative power.
    """
    if power < 0:
        raise runtime.ParameterError(f"top_power is {power:g}: choose 0 or more; 1 scales by the mean itself")
    if not len(scores):
        return np.asarray(scores, np.float32)
    return (scores * np.sort(scores, axis=0)[-n:].mean(axis=0) ** power).astype(np.float32)


def postprocess(scores, groups, smoothing=(), n_top=0, top_power=1.0):
    """Smooth, then scale the scores of many soundscapes, each on its own.

    Args:
        scores: (windows, classes).
        groups: (windows,) the soundscape of each, whose windows lie together and in order.
        smoothing: weights of ``smooth``; empty: none.
        n_top, top_power: of ``top_n``; 0 windows: none.
    """
    finished = np.array(scores, np.float32)
    groups = np.asarray(groups)
    for group in dict.fromkeys(groups.tolist()):
        rows = groups == group
        if smoothing:
            finished[rows] = smooth(finished[rows], smoothing)
        if n_top:
            finished[rows] = top_n(finished[rows], n_top, top_power)
    return finished
