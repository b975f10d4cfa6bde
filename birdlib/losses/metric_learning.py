"""Metric learning losses: pull embeddings of a species together and push others apart.

Embeddings are unit vectors (batch, dim), labels (batch,) int below 2 ** 24, since Keras hands them to a loss as float32. The
distance is the cosine distance 1 - cos in [0, 2]; for unit vectors it is half the squared Euclidean distance, so the margin 0.2
of "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015) is 0.1 here. All is computed in float32. Mining sees one
batch (of one replica), and a batch without comparable pairs costs 0.

Labels may also be (batch, 1 + media): the species, and the numbers of the photo and the recording that a sample is made of, below 0 where
it has none. Samples that share one are then no evidence that a species is alike: see ``pairs_within``.
"""

import math

import keras
import numpy as np
from keras import ops

from birdlib.losses import base

_MAX_DISTANCE = 2.0  # of opposite vectors
_MIN_SQUARED_SINE = 1e-6  # the root has an infinite slope at 0


def cosines(x, y):
    """(rows of x, rows of y) cosines of unit vectors."""
    return ops.matmul(x, ops.transpose(y))


def pairs_within(labels):
    """(positives, negatives) of a batch, (batch, batch) bool each, a row for each anchor; nothing is its own positive.

    With media, a positive is of another photo and another recording. An anchor without such a one in the batch has positives that differ in
    one of both; samples of the same photo and the same recording are never positives.
    """
    columns = ops.reshape(labels, (-1, 1)) if len(labels.shape) < 2 else labels
    species, media = columns[:, 0], columns[:, 1:]
    same = species[:, None] == species[None]
    others = ops.logical_and(same, ops.logical_not(ops.eye(ops.shape(species)[0], dtype="bool")))
    if not media.shape[1]:
        return others, ops.logical_not(same)
    equal = media[:, None] == media[None]  # (batch, batch, media)
    is_shared = ops.any(ops.logical_and(equal, media[:, None] >= 0), axis=-1)
    unrelated = ops.logical_and(others, ops.logical_not(is_shared))
    different = ops.logical_and(others, ops.logical_not(ops.all(equal, axis=-1)))
    positives = ops.where(ops.any(unrelated, axis=1, keepdims=True), unrelated, different)
    return positives, ops.logical_not(same)


def multi_similarity(cosines, positives, negatives, alpha, beta, base, epsilon):
    """Loss of each anchor: log(1 + sum_p exp(-alpha (S_p - base))) / alpha + log(1 + sum_n exp(beta (S_n - base))) / beta.

    Of the negatives only those with S_n > min_p S_p - epsilon are taken, of the positives those with S_p < max_n S_n + epsilon.
    "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019).

    Args:
        cosines: (anchors, samples).
        positives, negatives: (anchors, samples) bool.

    Returns:
        (anchors,); 0 without a positive or a negative.
    """
    least_alike = ops.min(ops.where(positives, cosines, math.inf), axis=1, keepdims=True)
    most_alike = ops.max(ops.where(negatives, cosines, -math.inf), axis=1, keepdims=True)
    hard_positives = ops.logical_and(positives, cosines < most_alike + epsilon)
    hard_negatives = ops.logical_and(negatives, cosines > least_alike - epsilon)
    pull = _log_1_plus_sum(hard_positives, -alpha * (cosines - base)) / alpha
    push = _log_1_plus_sum(hard_negatives, beta * (cosines - base)) / beta
    return pull + push


def _log_1_plus_sum(chosen, exponents):
    one = ops.zeros_like(exponents[:, :1])  # exp(0)
    return ops.logsumexp(ops.concatenate([one, ops.where(chosen, exponents, -1e9)], axis=1), axis=1)


def hardest_triplets(distance, positives, negatives, margin):
    """Losses of anchors (rows) with their furthest positive and nearest negative, and whether they have both: (anchors,) each."""
    to_positive = ops.max(ops.where(positives, distance, -1.0), axis=1)
    to_negative = ops.min(ops.where(negatives, distance, _MAX_DISTANCE + 1.0), axis=1)
    is_valid = ops.logical_and(ops.any(positives, axis=1), ops.any(negatives, axis=1))
    return ops.relu(to_positive - to_negative + margin), is_valid


def mean_of_valid(values, is_valid):
    """The mean over valid entries; 0 if there are none."""
    n_valid = ops.sum(ops.cast(is_valid, "float32"))
    return ops.sum(ops.where(is_valid, values, 0.0)) / ops.maximum(n_valid, 1.0)


def active_share(labels, embeddings, margin, mining):
    """Share of triplets of a batch that still have a loss above 0.

    Args:
        labels: (batch,) int, or with media.
        embeddings: (batch, dim) unit vectors; one batch, since semi-hard mining needs memory for batch ** 3 distances.
        margin: as of the loss.
        mining: ``triplet`` (share of triplets), ``batch_hard`` (of anchors) or ``batch_semi_hard`` (of pairs of anchor
            and positive).

    Returns:
        float in [0, 1]; NaN without valid triplets.

    Raises:
        LossError: for another mining, or as the loss of that name.
    """
    if mining not in _MINING:
        raise base.LossError(f"mining {mining!r} is unknown: use one of {', '.join(_MINING)}")
    labels, embeddings = np.asarray(labels), np.asarray(embeddings, np.float32)
    values, is_valid = _MINING[mining](ops.convert_to_tensor(labels), ops.convert_to_tensor(embeddings), margin)
    values = ops.convert_to_numpy(values)[ops.convert_to_numpy(is_valid)]
    return float((values > 0).mean()) if len(values) else float("nan")


# Mining: losses of triplets, and whether they are valid


def _offline(labels, embeddings, margin):
    """Rows anchor, positive, negative, ...: (triplets,)."""
    n_rows = embeddings.shape[0]
    if n_rows is not None and n_rows % 3:
        raise base.LossError(
            f"a batch of {n_rows} rows is not whole triplets (anchor, positive, negative): take a multiple of 3"
        )
    triplets = ops.reshape(embeddings, (-1, 3, embeddings.shape[-1]))
    anchor, positive, negative = triplets[:, 0], triplets[:, 1], triplets[:, 2]
    to_positive = 1.0 - ops.sum(anchor * positive, axis=-1)
    to_negative = 1.0 - ops.sum(anchor * negative, axis=-1)
    values = ops.relu(to_positive - to_negative + margin)
    return values, ops.ones_like(values, dtype="bool")


def _batch_hard(labels, embeddings, margin):
    """Each anchor with its furthest positive and its nearest negative: (batch,)."""
    return hardest_triplets(1.0 - cosines(embeddings, embeddings), *pairs_within(labels), margin)


def _semi_hard(labels, embeddings, margin):
    """Each anchor and positive with the nearest negative beyond the positive, else the furthest negative: (batch, batch)."""
    distance = 1.0 - cosines(embeddings, embeddings)  # (anchor, positive or negative)
    positives, negatives = pairs_within(labels)
    is_further = distance[:, None] > distance[:, :, None]  # (anchor, positive, negative)
    is_beyond = ops.logical_and(negatives[:, None], is_further)
    nearest_beyond = ops.min(ops.where(is_beyond, distance[:, None], _MAX_DISTANCE + 1.0), axis=2)
    furthest = ops.max(ops.where(negatives, distance, -1.0), axis=1, keepdims=True)
    to_negative = ops.where(ops.any(is_beyond, axis=2), nearest_beyond, furthest)
    is_valid = ops.logical_and(positives, ops.any(negatives, axis=1, keepdims=True))
    return ops.relu(distance - to_negative + margin), is_valid


_MINING = {"triplet": _offline, "batch_hard": _batch_hard, "batch_semi_hard": _semi_hard}


class MinedTriplets(base.OptionsLoss):
    """The mean loss of the triplets that ``mining`` finds in a batch."""

    defaults = {"margin": 0.2}

    def call(self, labels, embeddings):
        values, is_valid = _MINING[self.mining](labels, embeddings, self.options["margin"])
        return mean_of_valid(values, is_valid)[None]  # (1,): Keras would not divide a scalar by the number of replicas


@keras.saving.register_keras_serializable("birdlib")
class Triplet(MinedTriplets):
    """Mean over given triplets of max(0, d(a, p) - d(a, n) + margin).

    "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015).
    """

    mining = "triplet"


@keras.saving.register_keras_serializable("birdlib")
class BatchHard(MinedTriplets):
    """Mean over anchors with a positive and a negative of max(0, max_p d(a, p) - min_n d(a, n) + margin).

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
class MultiSimilarity(base.OptionsLoss):
    """Mean over anchors of log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta.

    S are cosines. Mining keeps the negatives with S_an > min_p S_ap - epsilon and the positives with
    S_ap < max_n S_an + epsilon; without a positive or a negative, an anchor costs 0.
    "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019).
    """

    defaults = {"alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": 0.1}

    def call(self, labels, embeddings):
        similarity = cosines(embeddings, embeddings)
        return multi_similarity(similarity, *pairs_within(labels), **self.options)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class ArcFace(base.OptionsLoss):
    """Softmax cross-entropy of scale * cosines, with the margin (radians) added to the angle of the true class: cos(theta + margin).

    Beyond theta = pi - margin, where that would rise again, it is cos(theta) - margin sin(margin), as in the authors' code.
    "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (2019).
    """

    defaults = {"margin": 0.5, "scale": 30.0}

    def call(self, labels, outputs):
        margin, scale = self.options["margin"], self.options["scale"]
        labels = ops.cast(labels if len(labels.shape) < 2 else labels[:, 0], "int32")
        sines = ops.sqrt(ops.maximum(1.0 - ops.square(outputs), _MIN_SQUARED_SINE))
        widened = outputs * math.cos(margin) - sines * math.sin(margin)
        widened = ops.where(outputs > -math.cos(margin), widened, outputs - margin * math.sin(margin))
        is_true = ops.arange(outputs.shape[-1])[None] == labels[:, None]
        logits = scale * ops.where(is_true, widened, outputs)  # (batch, classes)
        return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class CosineHead(keras.layers.Layer):
    """Unit vectors (batch, dim) → cosines (batch, n_classes) with class centres, the normalised columns of its kernel."""

    def __init__(self, n_classes, **options):
        super().__init__(**options)
        self.n_classes = n_classes

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.n_classes), "glorot_uniform", name="kernel")

    def call(self, embeddings):
        lengths = ops.norm(self.kernel, axis=0, keepdims=True)  # (1, n_classes)
        return ops.matmul(embeddings, self.kernel / ops.maximum(lengths, 1e-6))

    def compute_output_shape(self, shape):
        return (shape[0], self.n_classes)

    def get_config(self):
        return super().get_config() | {"n_classes": self.n_classes}


LOSSES = {
    "triplet": Triplet,
    "batch_hard": BatchHard,
    "batch_semi_hard": BatchSemiHard,
    "multi_similarity": MultiSimilarity,
    "arcface": ArcFace,
}


def get(name, **options):
    """The loss of that name in ``LOSSES``, called as ``loss(labels, embeddings)``; see ``base.build``.

    ``triplet`` takes embeddings in rows anchor, positive, negative, anchor, ... and ignores labels; ``arcface`` takes the outputs of
    ``cosine_head`` instead of embeddings; the others mine triplets or pairs in the batch.
    """
    return base.build(LOSSES, name, **options)


def cosine_head(n_classes):
    """The layer before ``arcface``; float32 whatever the precision policy."""
    return CosineHead(n_classes, dtype="float32", name="class_centres")
