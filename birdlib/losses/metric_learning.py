"""Losses that lay birds of a kind together and others apart: metric learning in ``keras.ops``, for TensorFlow and JAX.

Embeddings are unit vectors (batch, dim), labels (batch,) int below 2 ** 24, since Keras hands them to a loss as float32. The
distance is the cosine distance 1 - cos in [0, 2]; for unit vectors it is half the squared Euclidean distance, so the margin 0.2
of "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015) is 0.1 here. All is computed in float32, whatever
comes in. Mining sees one batch (of one replica), and a batch in which nothing can be compared costs 0.
"""

import functools
import math

import numpy as np

from birdlib import runtime
from birdlib.losses import matching as matching_losses

NAMES = ("triplet", "batch_hard", "batch_semi_hard", "multi_similarity", "arcface")
MATCH_LOSSES = matching_losses.NAMES  # of pairs of sound and pictures
_LEAST_SQUARE = 1e-6  # of a sine: its root has an infinite slope at 0


class LossError(runtime.BirdlibError):
    """A loss that does not exist, or a batch that it cannot be computed on."""


def get(name, **options):
    """The loss of that name, to be called as ``loss(labels, embeddings)``; its class is then known to Keras, for loading.

    Args:
        name: one of ``NAMES``; or of ``MATCH_LOSSES``, called as ``loss(targets, outputs)``: see ``cross_losses``.
            ``triplet``: embeddings in rows anchor, positive, negative, anchor, ...; labels are not looked at.
            ``batch_hard``, ``batch_semi_hard``, ``multi_similarity``: triplets or pairs are found in the batch.
            ``arcface``: takes the cosines (batch, classes) of ``cosine_head`` for embeddings, and labels below ``classes``.
        options: ``margin=0.2`` for the first three; ``alpha=2.0, beta=50.0, base=0.5, epsilon=0.1`` for multi_similarity;
            ``margin=0.5`` (radians), ``scale=30.0`` for arcface. For ``MATCH_LOSSES``: ``margin=1.0`` for contrastive;
            ``scale=10.0, bias=0.5`` for cosine and cross_multi_similarity; ``margin=0.2`` for cross_triplet; ``temperature=0.1`` for
            info_nce; ``weight=1.0`` and those of multi_similarity for cross_multi_similarity. The formulas are in the docstrings of
            the classes.

    Returns:
        keras.losses.Loss.

    Raises:
        LossError: for another name; when called, for triplets in a number of rows that three does not divide.
    """
    if name not in (*NAMES, *MATCH_LOSSES):
        raise LossError(f"loss {name!r} is unknown: use one of {', '.join((*NAMES, *MATCH_LOSSES))}")
    return _classes()[name](**options)


def cosine_head(n_classes):
    """Unit embeddings to their cosines with learnt class centres of unit length, for arcface.

    Returns:
        keras layer, (batch, dim) → (batch, n_classes) in [-1, 1], float32 whatever the precision policy.
    """
    return _classes()["cosine_head"](n_classes, dtype="float32", name="class_centres")


def active_share(labels, embeddings, margin, mining):
    """How much of a batch there is still to learn from: the share whose loss is above 0, of all that count.

    Args:
        labels: (batch,) int.
        embeddings: (batch, dim) unit vectors; one batch, since semi-hard mining needs memory for batch ** 3 distances.
        margin: as of the loss.
        mining: ``triplet`` (share of triplets), ``batch_hard`` (of anchors) or ``batch_semi_hard`` (of pairs of anchor
            and positive).

    Returns:
        float in [0, 1]; NaN if there is nothing that counts.

    Raises:
        LossError: for another mining, or as the loss of that name.
    """
    if mining not in _MINING:
        raise LossError(f"mining {mining!r} is unknown: use one of {', '.join(_MINING)}")
    from keras import ops

    labels, embeddings = np.asarray(labels).reshape(-1), np.asarray(embeddings, np.float32)
    costs, counts = _MINING[mining](ops.convert_to_tensor(labels), ops.convert_to_tensor(embeddings), margin)
    counted = ops.convert_to_numpy(costs)[ops.convert_to_numpy(counts)]
    return float((counted > 0).mean()) if len(counted) else float("nan")


# Triplets: what each costs, and whether it counts


def _offline(labels, embeddings, margin):
    """Rows anchor, positive, negative, ...: (triplets,)."""
    from keras import ops

    n_rows = embeddings.shape[0]
    if n_rows is not None and n_rows % 3:
        raise LossError(
            f"a batch of {n_rows} rows is not whole triplets (anchor, positive, negative): take a multiple of 3"
        )
    triplets = ops.reshape(embeddings, (-1, 3, embeddings.shape[-1]))
    anchor, positive, negative = triplets[:, 0], triplets[:, 1], triplets[:, 2]
    to_positive = 1.0 - ops.sum(anchor * positive, axis=-1)
    to_negative = 1.0 - ops.sum(anchor * negative, axis=-1)
    costs = ops.relu(to_positive - to_negative + margin)
    return costs, ops.ones_like(costs, dtype="bool")


def _hardest(labels, embeddings, margin):
    """Each anchor with its furthest positive and its nearest negative: (batch,)."""
    from keras import ops

    distance = 1.0 - _cosines(embeddings)  # (batch, batch)
    positives, negatives = matching_losses.pairs_within(labels)
    to_positive = ops.max(ops.where(positives, distance, -1.0), axis=1)
    to_negative = ops.min(ops.where(negatives, distance, matching_losses.FURTHEST + 1.0), axis=1)
    counts = ops.logical_and(ops.any(positives, axis=1), ops.any(negatives, axis=1))
    return ops.relu(to_positive - to_negative + margin), counts


def _semi_hard(labels, embeddings, margin):
    """Each anchor and positive with the nearest negative beyond the positive, else the furthest negative: (batch, batch)."""
    from keras import ops

    distance = 1.0 - _cosines(embeddings)  # (anchor, positive or negative)
    positives, negatives = matching_losses.pairs_within(labels)
    is_beyond = ops.logical_and(
        negatives[:, None], distance[:, None] > distance[:, :, None]
    )  # (anchor, positive, negative)
    nearest_beyond = ops.min(ops.where(is_beyond, distance[:, None], matching_losses.FURTHEST + 1.0), axis=2)
    furthest = ops.max(ops.where(negatives, distance, -1.0), axis=1, keepdims=True)
    to_negative = ops.where(ops.any(is_beyond, axis=2), nearest_beyond, furthest)
    counts = ops.logical_and(positives, ops.any(negatives, axis=1, keepdims=True))
    return ops.relu(distance - to_negative + margin), counts


_MINING = {"triplet": _offline, "batch_hard": _hardest, "batch_semi_hard": _semi_hard}


def _cosines(embeddings):
    from keras import ops

    return ops.matmul(embeddings, ops.transpose(embeddings))


# The classes


@functools.cache
def _classes():
    """Name → Keras class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    class MetricLoss(keras.losses.Loss):
        """A loss that remembers its numbers (``options``), so that a compiled model can be saved."""

        def __init__(self, name, reduction, **options):
            super().__init__(name=name, reduction=reduction, dtype="float32")
            self.options = options

        def get_config(self):
            return super().get_config() | self.options

    class MinedTriplets(MetricLoss):
        def __init__(self, margin=0.2, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, margin=margin)

        def call(self, labels, embeddings):
            costs, counts = _MINING[self.mining](labels, embeddings, self.options["margin"])
            mean = ops.sum(ops.where(counts, costs, 0.0)) / ops.maximum(ops.sum(ops.cast(counts, "float32")), 1.0)
            return mean[None]  # (1,): Keras would not divide a scalar by the number of replicas

    @keras.saving.register_keras_serializable("birdlib")
    class Triplet(MinedTriplets):
        """Mean over given triplets of max(0, d(a, p) - d(a, n) + margin).

        "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015).
        """

        mining = "triplet"

    @keras.saving.register_keras_serializable("birdlib")
    class BatchHard(MinedTriplets):
        """Mean over anchors of max(0, max_p d(a, p) - min_n d(a, n) + margin); without a positive or negative none counts.

        "In Defense of the Triplet Loss for Person Re-Identification" (2017).
        """

        mining = "batch_hard"

    @keras.saving.register_keras_serializable("birdlib")
    class BatchSemiHard(MinedTriplets):
        """Mean over pairs of anchor and positive of max(0, d(a, p) - d(a, n) + margin).

        n is the nearest negative with d(a, n) > d(a, p); without one, the furthest negative, as in TensorFlow Addons.
        "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015). Memory grows with batch ** 3.
        """

        mining = "batch_semi_hard"

    @keras.saving.register_keras_serializable("birdlib")
    class MultiSimilarity(MetricLoss):
        """Mean over anchors of log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta.

        S are cosines. Mining leaves the negatives with S_an > min_p S_ap - epsilon and the positives with
        S_ap < max_n S_an + epsilon; without a positive or a negative, an anchor costs 0.
        "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019).
        """

        def __init__(self, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, alpha=alpha, beta=beta, base=base, epsilon=epsilon)

        def call(self, labels, embeddings):
            return matching_losses.multi_similarity(
                _cosines(embeddings), *matching_losses.pairs_within(labels), **self.options
            )  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class ArcFace(MetricLoss):
        """Softmax cross-entropy of scale * cosines, the own class's angle widened by the margin: cos(theta + margin).

        Beyond theta = pi - margin, where that would rise again, it is cos(theta) - margin sin(margin), as in the authors' code.
        "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (2019).
        """

        def __init__(self, margin=0.5, scale=30.0, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, margin=margin, scale=scale)

        def call(self, labels, cosines):
            margin, scale = self.options["margin"], self.options["scale"]
            labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
            sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), _LEAST_SQUARE))
            widened = cosines * math.cos(margin) - sines * math.sin(margin)
            widened = ops.where(cosines > -math.cos(margin), widened, cosines - margin * math.sin(margin))
            own = ops.arange(cosines.shape[-1])[None] == labels[:, None]
            logits = scale * ops.where(own, widened, cosines)  # (batch, classes)
            return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class CosineHead(keras.layers.Layer):
        """Embeddings (batch, dim) to cosines (batch, n_classes) with the columns of its kernel, whose length does not count."""

        def __init__(self, n_classes, **options):
            super().__init__(**options)
            self.n_classes = n_classes

        def build(self, shape):
            self.kernel = self.add_weight(
                shape=(shape[-1], self.n_classes), initializer="glorot_uniform", name="kernel"
            )

        def call(self, embeddings):
            lengths = ops.norm(self.kernel, axis=0, keepdims=True)  # (1, n_classes)
            return ops.matmul(embeddings, self.kernel / ops.maximum(lengths, 1e-6))

        def compute_output_shape(self, shape):
            return (shape[0], self.n_classes)

        def get_config(self):
            return super().get_config() | {"n_classes": self.n_classes}

    return {
        "triplet": Triplet,
        "batch_hard": BatchHard,
        "batch_semi_hard": BatchSemiHard,
        "multi_similarity": MultiSimilarity,
        "arcface": ArcFace,
        "cosine_head": CosineHead,
        **matching_losses.classes(MetricLoss),
    }
