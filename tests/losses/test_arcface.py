"""ArcFace, and the layer of cosines to class centres that it takes."""

import math

import numpy as np
import pytest
from arrays import cost, crowd, gradient, rng

from birdlib.losses import metric_learning


def softmax_cross_entropy(labels, logits):
    logits = logits.astype(np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


def test_arcface_without_margin_is_softmax_cross_entropy_of_scaled_cosines():
    labels, cosines = np.array([0, 1, 2, 2]), rng().uniform(-1, 1, (4, 3)).astype(np.float32)
    found = cost(metric_learning.get("arcface", margin=0.0, scale=8.0), labels, cosines)
    assert found == pytest.approx(softmax_cross_entropy(labels, 8.0 * cosines), rel=1e-5)


def test_arcface_adds_the_margin_to_the_angle_of_the_true_class_only():
    """The own class at 60 degrees, the other at 90: with a margin of 0.5 the own cosine is cos(pi / 3 + 0.5)."""
    widened = np.array([[math.cos(math.pi / 3 + 0.5), 0.0]])
    found = cost(metric_learning.get("arcface", margin=0.5, scale=10.0), [0], np.array([[0.5, 0.0]], np.float32))
    assert found == pytest.approx(softmax_cross_entropy([0], 10.0 * widened), rel=1e-5)


def test_arcface_loss_rises_with_margin_and_angle():
    """Also near 180 degrees, where cos(theta + margin) itself would rise again."""
    own = np.linspace(1.0, -1.0, 61, dtype=np.float32)
    costs = {}
    for margin in (0.0, 0.5):
        loss = metric_learning.get("arcface", margin=margin, scale=5.0)
        costs[margin] = np.array([cost(loss, [0], np.array([[cosine, 0.3]], np.float32)) for cosine in own])
    assert (costs[0.5] > costs[0.0]).all()
    assert (np.diff(costs[0.5]) > 0).all()


def test_cosine_head_normalises_its_centres():
    import keras

    head, (_, embeddings) = metric_learning.cosine_head(5), crowd()
    cosines = keras.ops.convert_to_numpy(head(embeddings))
    assert cosines.shape == (len(embeddings), 5) and np.abs(cosines).max() <= 1.0 + 1e-6
    kernel = head.get_weights()[0]
    assert np.allclose(cosines, embeddings @ (kernel / np.linalg.norm(kernel, axis=0)), atol=1e-6)
    head.set_weights([kernel * np.array([1, 2, 3, 4, 50])])
    assert np.allclose(keras.ops.convert_to_numpy(head(embeddings)), cosines, atol=1e-6)


@pytest.mark.parametrize("beyond", [0.0, 1e-6], ids=["exact", "rounded up"])
def test_the_gradient_of_arcface_is_finite_at_cosines_of_1_and_of_minus_1(beyond):
    """Where arccos has an infinite slope; rounding may even give a cosine above 1."""
    cosines = (1.0 + beyond) * np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]], np.float32)
    gradients = gradient(metric_learning.get("arcface"), np.array([0, 0, 1, 1]), cosines)
    assert np.isfinite(gradients).all() and gradients[1, 0] < 0  # the bird that is furthest from its centre is still pulled
