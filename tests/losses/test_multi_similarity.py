"""The multi-similarity loss is the formula of its paper."""

import math

import numpy as np
import pytest
from arrays import cost, crowd, multi_similarity_by_hand, unit

from birdlib.losses import metric_learning


@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity_is_the_papers_formula(seed):
    labels, embeddings = crowd(seed=seed)
    labels[-1] = 9  # alone of its species
    costs, n_dropped = multi_similarity_by_hand(embeddings, labels)
    assert n_dropped > 0
    assert cost(metric_learning.get("multi_similarity"), labels, embeddings) == pytest.approx(np.mean(costs), rel=1e-5)


def test_multi_similarity_of_collapsed_embeddings():
    """All cosines are 1: each of 4 birds has 1 positive and 2 negatives: log(1 + e^-1) / 2 + log(1 + 2 e^25) / 50."""
    expected = math.log(1 + math.exp(-1)) / 2 + math.log(1 + 2 * math.exp(25)) / 50
    assert cost(metric_learning.get("multi_similarity"), [0, 0, 1, 1], unit(np.ones((4, 3)))) == pytest.approx(
        expected, rel=1e-5
    )
