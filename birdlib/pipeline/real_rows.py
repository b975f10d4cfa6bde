"""Rows of ``bench real``: one figure of one method for one job, on real recordings, photos or films."""

import dataclasses

import numpy as np

from birdlib.metrics import bootstrap

PLAIN, SUITE = "plain reference", "suite"  # the two methods that every job has; others are named by what they are


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure with its 90 % interval, in the unit of the figure; ``n`` evaluated items; ``note``: what a reader must know."""

    job: str
    method: str
    figure: str
    value: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    note: str = ""


def of_metric(job, method, figure, metric, *columns, groups, rng, n=None, note=""):
    """Row of a metric with its bootstrap interval over groups.

    Args:
        metric: function of ``columns``, row-aligned arrays.
        groups: (rows,), resampled together.
        n: evaluated items; None counts the rows.
    """
    value, low, high = bootstrap.interval(metric, *columns, groups=groups, rng=rng)
    return Row(job, method, figure, value, low, high, len(groups) if n is None else n, note)


def of_methods(job, figure, metric, truth, scores, *, groups, rng, notes):
    """Rows of each method, and of the paired gain of the suite over the plain reference.

    Args:
        metric: function of ``truth`` and the scores of a method.
        truth: of each row, or a tuple of row-aligned arrays, which the metric gets one by one.
        scores: {method: row-aligned array}, with ``PLAIN`` and ``SUITE``.
        notes: {method: note}, of some of them.
    """
    given = truth if isinstance(truth, tuple) else (truth,)

    def gain(*columns):
        *known, after, before = columns
        return metric(*known, after) - metric(*known, before)

    found = [of_metric(job, method, figure, metric, *given, values, groups=groups, rng=rng, note=notes.get(method, "")) for method, values in scores.items()]
    return [*found, of_metric(job, f"{SUITE} - {PLAIN}", figure, gain, *given, scores[SUITE], scores[PLAIN], groups=groups, rng=rng)]
