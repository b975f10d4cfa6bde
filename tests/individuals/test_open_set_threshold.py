"""The share of new birds that are taken for a known one is at most what was asked for."""

import numpy as np
import pytest

from birdlib.individuals import open_set_threshold


def test_threshold_keeps_the_false_accept_rate():
    """Over many samples of 40 others, the share of new birds of the same distribution within the threshold."""
    numbers = np.random.default_rng(0)
    for false_accept in (0.05, 0.1, 0.3):
        taken = []
        for _ in range(400):
            threshold = open_set_threshold.choose(numbers.beta(4, 2, 40), false_accept)
            taken.append((numbers.beta(4, 2, 50) <= threshold).mean())
        assert np.mean(taken) < false_accept * 1.1 and np.mean(taken) > 0.5 * false_accept


def test_threshold_counts_each_bird_once():
    """Recordings of one bird are alike: with 15 known birds of 20, counting recordings takes twice as many new birds as asked, counting birds does not."""
    numbers, taken = np.random.default_rng(0), {"birds": [], "recordings": []}
    for _ in range(400):
        own = numbers.normal(0, 1, 16)
        distances = own[:, None] + numbers.normal(0, 0.2, (16, 20))
        birds = np.repeat(np.arange(15), 20)
        for name, groups in (("birds", birds), ("recordings", None)):
            threshold = open_set_threshold.choose(distances[:15].ravel(), 0.08, groups)
            taken[name].append((distances[15] <= threshold).mean())
    assert np.mean(taken["birds"]) < 0.08 + 0.02  # 0.08, and twice the standard error
    assert np.mean(taken["recordings"]) > np.mean(taken["birds"])


def test_threshold_of_birds_with_one_item_each_is_that_of_items():
    distances = np.random.default_rng(0).random(30)
    for false_accept in (0.01, 0.1, 0.5, 0.99):
        assert open_set_threshold.choose(distances, false_accept, np.arange(30)) == open_set_threshold.choose(distances, false_accept)


@pytest.mark.parametrize(("n_birds", "false_accept", "rate"), [(9, 0.05, 0.1), (9, 0.2, 0.2), (1, 0.1, 0.5)])
def test_few_birds_guarantee_one_in_their_number(n_birds, false_accept, rate):
    assert open_set_threshold.guaranteed_rate(n_birds, false_accept) == pytest.approx(rate)
    assert np.isnan(open_set_threshold.guaranteed_rate(0, 0.1))


def test_threshold_of_few_birds_is_below_all_distances():
    """With three others none is within the threshold; without others it is NaN."""
    threshold = open_set_threshold.choose([0.7, 0.5, 0.9], 0.01)
    assert threshold < 0.5 and threshold == pytest.approx(0.5)
    assert np.isnan(open_set_threshold.choose([], 0.05))
    with pytest.raises(ValueError, match="share"):
        open_set_threshold.choose([0.5], 5)
