"""Losses for matching sounds with images or films: pull pairs that belong together closer and push others apart.

``targets`` (batch, 3) of a sound and a scene of images: 1 if they match, else 0; the category of the sound; that of the images, both
int below 2 ** 24. ``outputs`` (batch, 2 * dim + 1) are those of ``scene_encoders.matcher``: see ``parts``. In the formulas y is the first
target, a and v are the unit vectors, S their cosines, D = 1 - S in [0, 2], z the logit; BCE(y, z) is ``base.bce``. Across a batch, all of
one category match.

Every loss but ``bce`` adds mean BCE(y, z), which trains the head; with ``matcher(joint=False)`` that does not train the encoders, which
then learn by the formula alone.
"""

import keras
from keras import ops

from birdlib.losses import base, metric_learning


def parts(outputs):
    """The parts of a matcher's outputs.

    Args:
        outputs: (batch, 2 * dim + 1), array or tensor: sound embedding, image embedding, logit.

    Returns:
        (audio, video, logit): (batch, dim), (batch, dim), (batch,).
    """
    dim = (outputs.shape[-1] - 1) // 2
    return outputs[:, :dim], outputs[:, dim : 2 * dim], outputs[:, -1]


class MatchLoss(base.OptionsLoss):
    """The loss of the vectors (``of_vectors``) plus the cross-entropy of the logit."""

    def call(self, targets, outputs):
        a, v, logit = parts(outputs)
        value = self.of_vectors(targets, a, v) + ops.mean(base.bce(targets[:, 0], logit))
        return value[None]  # (1,): Keras would not divide a scalar by the number of replicas


@keras.saving.register_keras_serializable("birdlib")
class Bce(MatchLoss):
    """Mean over pairs of BCE(y, z) only; for ``matcher(joint=True)``, since nothing else trains the encoders."""

    def of_vectors(self, targets, a, v):
        return 0.0


@keras.saving.register_keras_serializable("birdlib")
class Contrastive(MatchLoss):
    """Mean over pairs of y D ** 2 / 2 + (1 - y) max(0, margin - D) ** 2 / 2.

    "Dimensionality Reduction by Learning an Invariant Mapping" (2006), there with the Euclidean distance.
    """

    defaults = {"margin": 1.0}

    def of_vectors(self, targets, a, v):
        y, distance = targets[:, 0], 1.0 - ops.sum(a * v, axis=1)  # (batch,)
        pull, push = ops.square(distance), ops.square(ops.relu(self.options["margin"] - distance))
        return ops.mean(y * pull + (1.0 - y) * push) / 2.0


@keras.saving.register_keras_serializable("birdlib")
class CosineBce(MatchLoss):
    """Mean over pairs of BCE(y, scale (S - bias)): a pair matches when its cosine is above the bias."""

    defaults = {"scale": 10.0, "bias": 0.5}

    def of_vectors(self, targets, a, v):
        similarity = ops.sum(a * v, axis=1)  # (batch,)
        return ops.mean(base.bce(targets[:, 0], self.options["scale"] * (similarity - self.options["bias"])))


@keras.saving.register_keras_serializable("birdlib")
class CrossTriplet(MatchLoss):
    """Mean over anchors of max(0, max_p D_p - min_n D_n + margin).

    Every sound is an anchor among the batch's images, and every image among its sounds; p are of its category, n of others.
    Anchors without a positive or a negative are left out. "In Defense of the Triplet Loss for Person Re-Identification" (2017),
    across modalities.
    """

    defaults = {"margin": 0.2}

    def of_vectors(self, targets, a, v):
        distance, positives = (
            _both_ways(1.0 - metric_learning.cosines(a, v)),
            _both_ways(_across(targets)),
        )  # (2 * batch, batch)
        triplets = metric_learning.hardest_triplets(distance, positives, ops.logical_not(positives), **self.options)
        return metric_learning.mean_of_valid(*triplets)


@keras.saving.register_keras_serializable("birdlib")
class InfoNce(MatchLoss):
    """Mean over anchors of -mean_p log(exp(S_p / temperature) / sum_k exp(S_k / temperature)).

    Every sound is an anchor among the batch's images k, and every image among its sounds; p are all of its category; anchors
    without one are left out. "Representation Learning with Contrastive Predictive Coding" (2018), both ways as in
    "Learning Transferable Visual Models From Natural Language Supervision" (2021), with several positives as L_out of
    "Supervised Contrastive Learning" (2020).
    """

    defaults = {"temperature": 0.1}

    def of_vectors(self, targets, a, v):
        logits = _both_ways(metric_learning.cosines(a, v)) / self.options["temperature"]  # (2 * batch, batch)
        positives = ops.cast(_both_ways(_across(targets)), logits.dtype)
        n_positives = ops.sum(positives, axis=1)
        values = -ops.sum(positives * ops.log_softmax(logits, axis=1), axis=1) / ops.maximum(n_positives, 1.0)
        return metric_learning.mean_of_valid(values, n_positives > 0)


@keras.saving.register_keras_serializable("birdlib")
class CrossMultiSimilarity(CosineBce):
    """Mean over pairs of BCE(y, scale (S - bias)), plus weight * (M_av + M_aa + M_vv) / 3.

    M is the mean over anchors of ``metric_learning.multi_similarity``: M_av of sounds among the batch's images and of images among its
    sounds, M_aa of sounds among the other sounds, M_vv of images among the other images; positives are of the same category. So a
    category stays together within each modality and across them.
    """

    _relation_defaults = metric_learning.MultiSimilarity.defaults
    defaults = {**CosineBce.defaults, "weight": 1.0, **_relation_defaults}

    def of_vectors(self, targets, a, v):
        pair = super().of_vectors(targets, a, v)
        across, cosines = _both_ways(_across(targets)), metric_learning.cosines
        terms = [
            self._relation(_both_ways(cosines(a, v)), across, ops.logical_not(across)),
            self._relation(cosines(a, a), *metric_learning.pairs_within(targets[:, 1])),
            self._relation(cosines(v, v), *metric_learning.pairs_within(targets[:, 2])),
        ]
        return pair + self.options["weight"] * sum(terms) / 3.0

    def _relation(self, similarity, positives, negatives):
        options = {name: self.options[name] for name in self._relation_defaults}
        return ops.mean(metric_learning.multi_similarity(similarity, positives, negatives, **options))


LOSSES = {
    "bce": Bce,
    "contrastive": Contrastive,
    "cosine": CosineBce,
    "cross_triplet": CrossTriplet,
    "info_nce": InfoNce,
    "cross_multi_similarity": CrossMultiSimilarity,
}


def get(name, **options):
    """The loss of that name in ``LOSSES``, called as ``loss(targets, outputs)``; see ``base.build``."""
    return base.build(LOSSES, name, **options)


def _across(targets):
    """Whether sound (row) and images (column) are of one category, (batch, batch) bool."""
    return targets[:, 1][:, None] == targets[:, 2][None]


def _both_ways(table):
    """Sounds by images, below it images by sounds: (2 * batch, batch)."""
    return ops.concatenate([table, ops.transpose(table)], axis=0)
