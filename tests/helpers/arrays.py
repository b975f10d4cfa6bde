"""What several tests need: made vectors and patches, and what a loss says of vectors."""

import math

import numpy as np
import pandas as pd
import pytest

DIM = 8
MINED = ["triplet", "batch_hard", "batch_semi_hard"]  # losses of triplets


def rng(seed=0):
    return np.random.default_rng(seed)


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def at_degrees(*degrees):
    """Unit vectors on a circle: cosines between them are those of differences of angles."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def cosine(degrees):
    return math.cos(math.radians(degrees))


def cosine_distance(degrees):
    return 1.0 - cosine(degrees)


def crowd(n_species=3, n_each=4, dim=4, seed=0):
    """(labels, embeddings) of species that overlap."""
    labels = np.repeat(np.arange(n_species), n_each)
    centres = rng(seed).normal(size=(n_species, dim))
    return labels, unit(centres[labels] + 0.8 * rng(seed + 1).normal(size=(len(labels), dim)))


def cost(loss, truth, vectors):
    import keras

    value = keras.ops.convert_to_numpy(loss(np.asarray(truth), vectors))
    assert value.shape == () and value.dtype == np.float32
    return float(value)


def gradient(loss, truth, vectors):
    """Slope of the loss for each number of the vectors."""
    import keras

    truth, vectors = np.asarray(truth), keras.ops.convert_to_tensor(vectors)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = loss(truth, vectors)
        return tape.gradient(value, vectors).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: loss(truth, x))(vectors))
    pytest.skip("gradients are taken with TensorFlow and JAX")


def from_config(loss):
    """The loss as it comes back from its configuration."""
    import keras

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    return again


def half_is_single(loss, truth, vectors):
    """``cost`` asks for float32; vectors rounded to half precision first cost what their float32 copies cost."""
    half = vectors.astype(np.float16)
    return cost(loss, truth, half) == cost(loss, truth, half.astype(np.float32)) > 0


def multi_similarity_by_hand(anchors, own, samples=None, others=None, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
    """The formulas (4), (5) and (6) of the paper one by one; without ``samples``, the other anchors are.

    Returns:
        (costs, n_dropped): cost of each anchor; pairs that mining dropped of anchors with positives and negatives.
    """
    is_within, costs, n_dropped = samples is None, [], 0
    samples, others = (anchors, own) if is_within else (samples, others)
    similarity = np.asarray(anchors, np.float64) @ np.asarray(samples, np.float64).T
    for i in range(len(anchors)):
        rest = [k for k in range(len(samples)) if not (is_within and k == i)]
        positives = [similarity[i, k] for k in rest if others[k] == own[i]]
        negatives = [similarity[i, k] for k in rest if others[k] != own[i]]
        hard_positives = [s for s in positives if s < max(negatives, default=-math.inf) + epsilon]
        hard_negatives = [s for s in negatives if s > min(positives, default=math.inf) - epsilon]
        pull = math.log(1.0 + sum(math.exp(-alpha * (s - base)) for s in hard_positives)) / alpha
        push = math.log(1.0 + sum(math.exp(beta * (s - base)) for s in hard_negatives)) / beta
        costs.append(pull + push)
        n_dropped += bool(positives and negatives) * (len(rest) - len(hard_positives) - len(hard_negatives))
    return costs, n_dropped


def heard(n_patches, seed=0, dim=DIM):
    """Embeddings (1, patches, dim) and weights (1, patches) of one recording."""
    return (
        rng(seed).random((1, n_patches, dim), dtype=np.float32),
        0.1 + rng(seed + 1).random((1, n_patches), dtype=np.float32),
    )


def patch_table(sizes):
    """The patch table of stage 03 for recordings of so many patches."""
    names = np.repeat([f"r{i}" for i in range(len(sizes))], sizes)
    return pd.DataFrame({"recording_id": names, "bird_score": rng().random(len(names), dtype=np.float32)})
