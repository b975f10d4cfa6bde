"""Triplets: given as rows, or mined within a batch."""

import numpy as np
import pytest
from arrays import MINED, at_degrees, cosine_distance, cost, crowd, unit

from birdlib.losses import base, metric_learning


@pytest.mark.parametrize("name", MINED)
def test_collapsed_embeddings_cost_exactly_the_margin(name):
    """All distances are equal, so d(a, p) - d(a, n) + margin = margin for every triplet."""
    labels, embeddings = [0, 0, 1, 1, 2, 2], unit(np.ones((6, 4)))
    assert cost(metric_learning.get(name, margin=0.3), labels, embeddings) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("name", MINED)
def test_species_further_apart_than_the_margin_have_no_loss(name):
    """d(a, p) = 0 and d(a, n) = 1: 0 - 1 + 0.2 is below 0. In rows of three: two of one species, one of another."""
    labels, embeddings = [0, 0, 1, 1, 1, 0], at_degrees(0, 0, 90, 90, 90, 0)
    assert cost(metric_learning.get(name, margin=0.2), labels, embeddings) == 0.0


def test_positives_share_neither_photo_nor_recording_wherever_the_batch_has_such_ones():
    """Species 0: samples a (photo 1, recording 1), b (1, 2), c (2, 3), and d with the sound of c alone; species 1: e and f of one photo, g like e.

    a and b share a photo, c and d a recording: of each the other two are positives. e has f, which differs in the recording, not g.
    """
    labels = np.array([[0, 1, 1], [0, 1, 2], [0, 2, 3], [0, -1, 3], [1, 5, 8], [1, 5, 9], [1, 5, 8], [2, -1, 4]])
    positives, negatives = (np.asarray(side) for side in metric_learning.pairs_within(labels))
    assert [np.flatnonzero(row).tolist() for row in positives] == [[2, 3], [2, 3], [0, 1], [0, 1], [5], [4, 6], [5], []]
    assert np.array_equal(negatives, labels[:, None, 0] != labels[None, :, 0])


def test_offline_triplets_ignore_labels():
    """Rows at 0, 60, 90 degrees: 0.5 - 1 + 0.7 = 0.2. Rows at 0, 90, 60: 1 - 0.5 + 0.7 = 1.2. Their mean is 0.7."""
    embeddings = at_degrees(0, 60, 90, 0, 90, 60)
    assert cost(metric_learning.get("triplet", margin=0.7), [7] * 6, embeddings) == pytest.approx(0.7, abs=1e-6)


def test_incomplete_offline_triplets_are_an_error():
    with pytest.raises(base.LossError, match="4 rows"):
        metric_learning.get("triplet")([0, 0, 1, 1], at_degrees(0, 1, 2, 3))


def test_batch_hard_takes_the_furthest_positive_and_the_nearest_negative():
    """Species 0 at 0, 30 and 80 degrees, species 1 at 100 and 120.

    Furthest positives of the five: 80, 50, 80, 20, 20 degrees; nearest negatives: 100, 70, 20, 20, 40.
    """
    furthest, nearest = [80, 50, 80, 20, 20], [100, 70, 20, 20, 40]
    costs = [max(0.0, cosine_distance(p) - cosine_distance(n) + 0.2) for p, n in zip(furthest, nearest, strict=True)]
    found = cost(metric_learning.get("batch_hard", margin=0.2), [0, 0, 0, 1, 1], at_degrees(0, 30, 80, 100, 120))
    assert found == pytest.approx(np.mean(costs), abs=1e-6)


def test_batch_hard_leaves_out_anchors_without_a_positive():
    """Species 0 at 0 and 60 degrees, one of species 1 at 90: (0.5 - 1 + 0.2, 0.5 - d(30) + 0.2) are averaged over two."""
    expected = (0.0 + 0.7 - cosine_distance(30)) / 2
    assert cost(metric_learning.get("batch_hard", margin=0.2), [0, 0, 1], at_degrees(0, 60, 90)) == pytest.approx(
        expected, abs=1e-6
    )


def test_semi_hard_takes_the_nearest_negative_beyond_the_positive():
    """Species 0 at 0 and 40 degrees, species 1 at -20, 50 and -70, margin 0.5.

    Anchor 0: its positive is 40 away, negatives 20, 50 and 70: 50 is the nearest beyond. Anchor 40: negatives 60, 10, 110: 60.
    The anchors of species 1 have two positives each: -20: positives 70 and 50 away, negatives 20 and 60: beyond 70 is none, so
    the furthest (60); beyond 50: 60. 50: positives 70 and 120, negatives 50 and 10: none beyond, furthest 50, twice.
    -70: positives 50 and 120, negatives 70 and 110: beyond 50: 70; beyond 120 none, furthest 110.
    """
    pairs = [(40, 50), (40, 60), (70, 60), (50, 60), (70, 50), (120, 50), (50, 70), (120, 110)]
    costs = [max(0.0, cosine_distance(p) - cosine_distance(n) + 0.5) for p, n in pairs]
    found = cost(metric_learning.get("batch_semi_hard", margin=0.5), [0, 0, 1, 1, 1], at_degrees(0, 40, -20, 50, -70))
    assert found == pytest.approx(np.mean(costs), abs=1e-6)


def test_batch_hard_is_never_below_semi_hard():
    """For one positive each: the nearest negative costs at least what any other negative costs."""
    labels, embeddings = crowd(n_species=5, n_each=2)
    hard, semi_hard = (cost(metric_learning.get(name), labels, embeddings) for name in ("batch_hard", "batch_semi_hard"))
    assert hard >= semi_hard > 0


def test_a_larger_margin_activates_more_triplets():
    labels, embeddings = [0, 0, 1, 1], at_degrees(0, 0, 40, 40)  # negatives are 0.234 away
    costs = [cost(metric_learning.get("batch_hard", margin=margin), labels, embeddings) for margin in (0.2, 0.3)]
    assert costs == pytest.approx([0.0, 0.3 - cosine_distance(40)], abs=1e-6)
