"""Groups are shared out whole; ``test_splits`` has the rules for tables of recordings."""

import numpy as np
import pytest

from birdlib.data import stratification

SHARES = np.array([0.6, 0.2, 0.2])


def test_shares_of_common_strata_are_kept():
    rng = np.random.default_rng(3)
    stratum, group = rng.integers(0, 8, 2000), np.unique(rng.integers(0, 700, 2000), return_inverse=True)[1]
    home = stratification.assign_groups(group, stratum, SHARES, rng)[group]
    shares = np.stack([np.bincount(home[stratum == one], minlength=3) / (stratum == one).sum() for one in range(8)])
    assert np.abs(shares - SHARES).max() < 0.02


@pytest.mark.parametrize(("n_groups", "in_split"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1])])
def test_few_groups_of_a_stratum_are_counted_whatever_their_size(n_groups, in_split):
    """Beside a common stratum of 50 groups; the first of the rare groups holds most of its recordings."""
    group = np.concatenate([np.arange(50 + n_groups), np.full(20, 50)])
    home = stratification.assign_groups(group, (group >= 50).astype(int), SHARES, np.random.default_rng(0))
    assert np.bincount(home[50:], minlength=3).tolist() == in_split


@pytest.mark.parametrize("omitted", [1, 2])
def test_a_share_of_0_omits_the_split(omitted):
    shares = np.where(np.arange(3) == omitted, 0, [0.8, 0.2, 0.2])
    home = stratification.assign_groups(np.arange(40), np.arange(40) % 9, shares, np.random.default_rng(0))
    assert set(home) == {0, 3 - omitted}
