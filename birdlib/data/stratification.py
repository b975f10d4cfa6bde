"""Whole groups of recordings are shared out over train, validation and test, so that each stratum has its share in each.

Greedy iterative stratification, the groups of the rarest stratum first (Sechidis, Tsoumakas & Vlahavas, "On the
Stratification of Multi-label Data", 2011), then single moves while they improve the shares. For strata of few groups
groups count, not recordings, and no stratum is tested without training data.
"""

import numpy as np

_RARE_GROUPS = 4  # up to this number of independent groups the quotas below hold
_RARE_QUOTAS = {1: (1, 0, 0), 2: (1, 1, 0), 3: (1, 1, 1), 4: (2, 1, 1)}  # groups in train, validation, test
_MISSING_COST = np.array([1e6, 1.1e3, 1e3])  # of a split that a stratum needs and lacks; train matters most
_WHOLE_WEIGHT = 0.1  # of the shares of all recordings together, relative to those of each stratum
_N_SWEEPS = 10  # of improvement after the greedy pass; fewer if nothing moves


def assign_groups(group, stratum, shares, rng):
    """The split of each group.

    Args:
        group, stratum: (rows,) int, codes from 0 without gaps.
        shares: (3,) of train, validation and test, together 1; 0 omits a split, but not train.

    Returns:
        (groups,) int: 0 train, 1 validation, 2 test.
    """
    n_strata, n_groups = stratum.max() + 1, group.max() + 1
    cells, counts = np.unique(group * n_strata + stratum, return_counts=True)
    cell_group, cell_stratum = cells // n_strata, cells % n_strata
    bounds = np.searchsorted(cell_group, np.arange(n_groups + 1))
    groups_of = np.bincount(cell_stratum, minlength=n_strata)
    is_rare = groups_of <= _RARE_GROUPS
    required = np.minimum(groups_of, 3)[:, None] > np.arange(3)  # (strata, 3): one group can only be in train
    quota = np.array([_RARE_QUOTAS.get(n, (0, 0, 0)) for n in groups_of])
    if shares[1] == 0:
        quota, required = quota[:, [0, 2, 1]], required[:, [0, 2, 1]]
    quota[:, 0] += quota[:, shares == 0].sum(axis=1)
    quota[:, shares == 0], required[:, shares == 0] = 0, False
    target = np.bincount(stratum)[:, None] * shares  # (strata, 3) recordings
    options = np.flatnonzero(shares > 0)
    filled, n_in, n_rows = np.zeros((n_strata, 3)), np.zeros((n_strata, 3)), np.zeros(3)
    home = np.full(n_groups, -1)

    def cells_of(g):
        cells = slice(bounds[g], bounds[g + 1])
        return cell_stratum[cells], counts[cells]

    def put(g, split, sign):
        which, size = cells_of(g)
        filled[which, split] += sign * size
        n_in[which, split] += sign
        n_rows[split] += sign * size.sum()

    def costs(g, strict):
        """(options,) cost of each split for the strata of a group; ``strict``: common strata are needed everywhere."""
        which, size = cells_of(g)
        added = np.eye(3)[options][:, None, :]  # (options, 1, 3)
        rows, groups = filled[which] + added * size[:, None], n_in[which] + added  # (options, strata of g, 3)
        rare = is_rare[which]
        cost = ((rows - target[which]) ** 2).sum(axis=2) / target[which].sum(axis=1)
        cost = np.where(rare, 100 * ((groups - quota[which]) ** 2).sum(axis=2) + 0.01 * cost, cost)
        missing = required[which] & (groups == 0) & (strict | rare)[:, None]
        whole = n_rows + added[:, 0] * size.sum() - shares * len(stratum)
        balance = _WHOLE_WEIGHT * (whole**2).sum(axis=1) / len(stratum)
        return (cost + missing @ _MISSING_COST).sum(axis=1) + balance

    order = rng.permutation(n_groups)
    size_of = np.bincount(group)
    rarest = np.full(n_groups, n_strata + n_groups)
    np.minimum.at(rarest, cell_group, groups_of[cell_stratum])
    for g in order[np.lexsort([-size_of[order], rarest[order]])]:
        home[g] = options[costs(g, strict=False).argmin()]
        put(g, home[g], 1)
    for _ in range(_N_SWEEPS):
        n_moved = 0
        for g in rng.permutation(n_groups):
            put(g, home[g], -1)
            cost = costs(g, strict=True)
            if cost.min() < cost[options == home[g]][0] - 1e-9:
                home[g] = options[cost.argmin()]
                n_moved += 1
            put(g, home[g], 1)
        if not n_moved:
            break
    for lacking in np.flatnonzero(n_in[:, 0] == 0):  # no test of species without training data
        if n_in[lacking, 0] == 0:
            candidates = cell_group[cell_stratum == lacking]
            g = candidates[size_of[candidates].argmin()]
            put(g, home[g], -1)
            home[g] = 0
            put(g, 0, 1)
    return home
