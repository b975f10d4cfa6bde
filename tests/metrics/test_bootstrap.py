"""Bootstrap intervals over groups."""

import numpy as np
import pytest

from birdlib.metrics import bootstrap, classification


def test_intervals_by_groups_have_their_nominal_coverage():
    """The mean of 40 groups of five equal values: 90 % intervals by groups hold the true mean; by rows they do not."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    held = {"groups": 0, "rows": 0}
    for _ in range(100):
        values = np.repeat(rng.normal(size=40), 5)
        for name, by in (("groups", groups), ("rows", None)):
            _, low, high = bootstrap.interval(np.mean, values, groups=by, n=200, rng=rng)
            held[name] += low <= 0.0 <= high
    assert 80 <= held["groups"] <= 97
    assert held["rows"] < 70


def test_undefined_resamples_are_left_out():
    """One positive among twenty is missing in about a third of the resamples, which have no AUC."""
    truth = np.eye(20)[:, :1]
    scores = np.random.default_rng(0).random((20, 1))
    value, low, high = bootstrap.interval(classification.macro_roc_auc, truth, scores, n=200, rng=np.random.default_rng(1))
    assert low <= value <= high
    value, low, high = bootstrap.interval(np.mean, np.ones(5), groups=["a"] * 5, n=20, rng=np.random.default_rng(1))
    assert value == 1.0 and np.isnan([low, high]).all(), "there is only one group"


def test_equal_generators_give_equal_intervals():
    values = np.random.default_rng(2).normal(size=50)
    first, second = (bootstrap.interval(np.mean, values, n=50, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_paired_differences_are_narrower_than_unpaired_ones():
    """Two scores that share their noise: the interval of the gain excludes 0, though those of the two AUCs overlap."""
    rng = np.random.default_rng(0)
    truth = np.arange(200)[:, None] % 2
    noise = rng.normal(size=(200, 1))
    before, after = noise + 0.5 * truth, noise + 1.0 * truth
    first, second = (bootstrap.interval(classification.macro_roc_auc, truth, scores, n=200, rng=rng) for scores in (before, after))
    gain = bootstrap.interval(classification.macro_roc_auc_gain, truth, after, before, n=200, rng=rng)
    assert gain[0] == pytest.approx(second[0] - first[0]) and gain[1] > 0
    assert gain[2] - gain[1] < min(first[2] - first[1], second[2] - second[1])


def test_arrays_of_unequal_length_are_an_error():
    for arrays, groups in (((np.ones(3), np.ones(2)), None), ((np.ones(3),), [1, 2])):
        with pytest.raises(ValueError, match="not of equal length"):
            bootstrap.interval(lambda *_: 0.0, *arrays, groups=groups, rng=np.random.default_rng(0))


def test_interval_text():
    assert bootstrap.interval_text([0.51249, 0.4, 1]) == "0.512 [0.400, 1.000]"
    assert bootstrap.interval_text([np.nan] * 3) == "nan [nan, nan]"
