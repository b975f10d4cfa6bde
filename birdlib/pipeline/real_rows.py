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
