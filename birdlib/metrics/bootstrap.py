"""Bootstrap intervals: whole groups are resampled, because recordings of one group are not independent.

Paired differences need no function of their own: give both sets of scores as arrays and a statistic that subtracts.
"""

import itertools

import numpy as np
import pandas as pd

from birdlib.metrics import resampled

_MAX_CELLS = 2_000_000  # rows x resamples at a time


def interval(statistic, *arrays, groups=None, n=1000, level=0.9, rng):
    """A percentile interval (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

    Args:
        statistic: function of the arrays, returns a float; NaN where it is not defined. One of ``resampled`` is computed for many resamples
            at once: the same values, many times faster where rows and classes are many.
        arrays: row-aligned.
        groups: (rows,) the group of each row; None resamples rows.
        n: number of resamples.
        level: share of the resamples inside the interval.

    Returns:
        [value, low, high]: the statistic of the arrays themselves, and the ends, which are NaN if there is only one group or
        fewer than half the resamples are defined.
    """
    values = samples(statistic, *arrays, groups=groups, n=n, rng=rng)
    value = float(statistic(*map(np.asarray, arrays)))
    if not len(values) or 2 * len(values) < n:
        return [value, np.nan, np.nan]
    return [value, *np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()]


def samples(statistic, *arrays, groups=None, n=1000, rng):
    """The statistic of each resample in which it is defined, (at most n,); empty if there is only one group. See ``interval``."""
    arrays = [np.asarray(array) for array in arrays]
    n_rows = len(arrays[0])
    if any(len(array) != n_rows for array in arrays) or (groups is not None and len(groups) != n_rows):
        raise ValueError("arrays and groups are not of equal length")
    groups = np.arange(n_rows) if groups is None else groups
    if isinstance(statistic, resampled.Statistic):
        values = _of_counts(statistic, arrays, resample_counts(groups, n, rng))
    else:
        values = [statistic(*(array[rows] for array in arrays)) for rows in resamples(groups, n, rng)]
    values = np.asarray(values, np.float64)
    return values[~np.isnan(values)]


def _of_counts(statistic, arrays, batches):
    values, of_counts = [], None
    for counts in batches:
        of_counts = of_counts or statistic.prepare(*arrays)
        values.extend(of_counts(counts))
    return values


def resamples(groups, n, rng):
    """Yields ``n`` resamples of whole groups, each as numbers of rows; none if there is only one group.

    Args:
        groups: (rows,) the group of each row.
    """
    number = pd.factorize(np.asarray(groups))[0]
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    for drawn in _draws(len(members), n, rng):
        yield np.concatenate([members[group] for group in drawn])


def resample_counts(groups, n, rng):
    """Yields the resamples of ``resamples`` as how often each row was drawn, (rows, at most so many that they fit in little memory) float64."""
    number = pd.factorize(np.asarray(groups))[0]
    n_groups = number.max(initial=-1) + 1
    draws = _draws(n_groups, n, rng)
    while batch := list(itertools.islice(draws, max(1, _MAX_CELLS // max(1, len(number))))):
        yield np.stack([np.bincount(drawn, minlength=n_groups) for drawn in batch], axis=1)[number].astype(np.float64)


def _draws(n_groups, n, rng):
    """Yields the groups of each resample; nothing for a single group."""
    for _ in range(n if n_groups > 1 else 0):
        yield rng.integers(n_groups, size=n_groups)


def interval_text(interval):
    """A value with its interval, (value, low, high), as text: ``0.512 [0.401, 0.622]``."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*interval)
