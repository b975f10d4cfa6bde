"""The share of triplets from which there is still something to learn."""

import math

import numpy as np
import pytest
from arrays import MINED, at_degrees, unit

from birdlib.losses import base, metric_learning


def test_active_share_counts_triplets_with_a_loss():
    """Species 0 at 0 and 10 degrees, species 1 at 90 and 180, margin 0.2.

    Anchors (furthest positive, nearest negative): (10, 90), (10, 80), (90, 80), (90, 170): only the third costs (1 - 0.83 + 0.2).
    Semi-hard: every anchor has one positive; the third (90) has negatives at 90 and 80, none beyond: the furthest, 90, costs 0.2.
    Triplets (0, 10, 90) and (90, 180, 0): 0.02 - 1 + 0.2 costs nothing, 1 - 1 + 0.2 costs.
    """
    labels, embeddings = np.array([0, 0, 1, 1]), at_degrees(0, 10, 90, 180)
    assert metric_learning.active_share(labels, embeddings, 0.2, "batch_hard") == 0.25
    assert metric_learning.active_share(labels, embeddings, 0.2, "batch_semi_hard") == 0.25
    assert metric_learning.active_share(labels, at_degrees(0, 10, 90, 90, 180, 0), 0.2, "triplet") == 0.5


@pytest.mark.parametrize("mining", MINED)
def test_active_share_is_1_of_a_collapsed_batch_and_0_of_a_separated_one(mining):
    labels = np.array([0, 0, 1, 1, 1, 0])
    assert metric_learning.active_share(labels, unit(np.ones((6, 4))).astype(np.float16), 0.2, mining) == 1.0
    assert metric_learning.active_share(labels, at_degrees(0, 0, 90, 90, 90, 0), 0.2, mining) == 0.0


def test_active_share_leaves_out_anchors_without_a_positive_or_negative():
    """The bird of species 1 is alone and does not count; the other two cost."""
    assert metric_learning.active_share([0, 0, 1], at_degrees(0, 30, 15), 0.2, "batch_hard") == 1.0
    assert math.isnan(metric_learning.active_share([0, 1, 2], at_degrees(0, 30, 15), 0.2, "batch_hard"))


def test_active_share_of_an_unknown_mining_is_an_error():
    with pytest.raises(base.LossError, match="'multi_similarity' is unknown"):
        metric_learning.active_share([0, 0], at_degrees(0, 1), 0.2, "multi_similarity")
