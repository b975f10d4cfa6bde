"""Losses that lay a sound and the pictures that belong to it together, and others apart, in ``keras.ops``.

``targets`` (batch, 3) are of pairs of a sound and a scene of pictures: 1 if they belong together, else 0; the category of the sound;
that of the pictures, both int below 2 ** 24. ``outputs`` (batch, 2 * dim + 1) are what ``scene_encoders.matcher`` says of them: see
``parts``. In the formulas y is the first target, a and v are the unit vectors, S their cosines, D = 1 - S in [0, 2], z the logit;
BCE(y, z) = -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)). Across a batch, all that is of one category belongs together.

Every loss but ``bce`` has mean BCE(y, z) added, so that the head learns as well; with ``matcher(joint=False)`` that does not train
the encoders, which then learn by the formula alone. ``losses.get`` gives a loss by its name.
"""

import math

NAMES = ("bce", "contrastive", "cosine", "cross_triplet", "info_nce", "cross_multi_similarity")
FURTHEST = 2.0  # cosine distance of opposite vectors


def parts(outputs):
    """What a matcher says, taken apart.

    Args:
        outputs: (batch, 2 * dim + 1), array or tensor: sound embedding, picture embedding, logit.

    Returns:
        (audio, video, logit): (batch, dim), (batch, dim), (batch,).
    """
    dim = (outputs.shape[-1] - 1) // 2
    return outputs[:, :dim], outputs[:, dim : 2 * dim], outputs[:, -1]


def pairs_within(labels):
    """Which samples of one batch are of one label, and which of different ones.

    Returns:
        (positives, negatives), (batch, batch) bool; nothing is its own positive.
    """
    from keras import ops

    labels = ops.reshape(labels, (-1,))
    same = labels[:, None] == labels[None]
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    return ops.logical_and(same, ops.logical_not(itself)), ops.logical_not(same)


def multi_similarity(cosines, positives, negatives, alpha, beta, base, epsilon):
    """What each anchor costs: log(1 + sum_p exp(-alpha (S_p - base))) / alpha + log(1 + sum_n exp(beta (S_n - base))) / beta.

    Of the negatives only those with S_n > min_p S_p - epsilon are taken, of the positives those with S_p < max_n S_n + epsilon.
    "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019).

    Args:
        cosines: (anchors, samples).
        positives, negatives: (anchors, samples) bool.

    Returns:
        (anchors,); 0 without a positive or a negative.
    """
    from keras import ops

    least_alike = ops.min(ops.where(positives, cosines, math.inf), axis=1, keepdims=True)
    most_alike = ops.max(ops.where(negatives, cosines, -math.inf), axis=1, keepdims=True)
    hard_positives = ops.logical_and(positives, cosines < most_alike + epsilon)
    hard_negatives = ops.logical_and(negatives, cosines > least_alike - epsilon)
    pull = _log_1_plus_sum(hard_positives, -alpha * (cosines - base)) / alpha
    push = _log_1_plus_sum(hard_negatives, beta * (cosines - base)) / beta
    return pull + push


def classes(base):
    """The classes of the losses, each with its formula.

    Args:
        base: a keras.losses.Loss that takes ``name``, ``reduction`` and the numbers of the loss, and keeps these as ``options``.

    Returns:
        dict, name → class.
    """
    import keras
    from keras import ops

    class MatchLoss(base):
        def call(self, targets, outputs):
            a, v, logit = parts(outputs)
            cost = self.of_vectors(targets, a, v) + ops.mean(bce(targets[:, 0], logit))
            return cost[None]  # (1,): Keras would not divide a scalar by the number of replicas

    @keras.saving.register_keras_serializable("birdlib")
    class Bce(MatchLoss):
        """Mean over pairs of BCE(y, z), nothing else; for ``matcher(joint=True)``, since nothing else trains the encoders."""

        def __init__(self, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction)

        def of_vectors(self, targets, a, v):
            return 0.0

    @keras.saving.register_keras_serializable("birdlib")
    class Contrastive(MatchLoss):
        """Mean over pairs of y D ** 2 / 2 + (1 - y) max(0, margin - D) ** 2 / 2.

        "Dimensionality Reduction by Learning an Invariant Mapping" (2006), there with the Euclidean distance.
        """

        def __init__(self, margin=1.0, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, margin=margin)

        def of_vectors(self, targets, a, v):
            y, distance = targets[:, 0], 1.0 - ops.sum(a * v, axis=1)  # (batch,)
            pull, push = ops.square(distance), ops.square(ops.relu(self.options["margin"] - distance))
            return ops.mean(y * pull + (1.0 - y) * push) / 2.0

    @keras.saving.register_keras_serializable("birdlib")
    class CosineBce(MatchLoss):
        """Mean over pairs of BCE(y, scale (S - bias)): a pair belongs together when its cosine is above the bias."""

        def __init__(self, scale=10.0, bias=0.5, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, scale=scale, bias=bias)

        def of_vectors(self, targets, a, v):
            return ops.mean(_cosine_bce(targets, a, v, self.options["scale"], self.options["bias"]))

    @keras.saving.register_keras_serializable("birdlib")
    class CrossTriplet(MatchLoss):
        """Mean over anchors of max(0, max_p D_p - min_n D_n + margin).

        Every sound is an anchor among the batch's pictures, and every picture among its sounds; p are of its category, n of others.
        An anchor without a positive or a negative does not count. "In Defense of the Triplet Loss for Person Re-Identification"
        (2017), across modalities.
        """

        def __init__(self, margin=0.2, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, margin=margin)

        def of_vectors(self, targets, a, v):
            distance, positives = _both_ways(1.0 - _cosines(a, v)), _both_ways(_across(targets))  # (2 * batch, batch)
            negatives = ops.logical_not(positives)
            to_positive = ops.max(ops.where(positives, distance, -1.0), axis=1)
            to_negative = ops.min(ops.where(negatives, distance, FURTHEST + 1.0), axis=1)
            counts = ops.logical_and(ops.any(positives, axis=1), ops.any(negatives, axis=1))
            return _mean_of(ops.relu(to_positive - to_negative + self.options["margin"]), counts)

    @keras.saving.register_keras_serializable("birdlib")
    class InfoNce(MatchLoss):
        """Mean over anchors of -mean_p log(exp(S_p / temperature) / sum_k exp(S_k / temperature)).

        Every sound is an anchor among the batch's pictures k, and every picture among its sounds; p are all of its category, and
        without one an anchor does not count. "Representation Learning with Contrastive Predictive Coding" (2018), both ways as in
        "Learning Transferable Visual Models From Natural Language Supervision" (2021), with several positives as L_out of
        "Supervised Contrastive Learning" (2020).
        """

        def __init__(self, temperature=0.1, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, temperature=temperature)

        def of_vectors(self, targets, a, v):
            logits = _both_ways(_cosines(a, v)) / self.options["temperature"]  # (2 * batch, batch)
            positives = ops.cast(_both_ways(_across(targets)), logits.dtype)
            n_positives = ops.sum(positives, axis=1)
            costs = -ops.sum(positives * ops.log_softmax(logits, axis=1), axis=1) / ops.maximum(n_positives, 1.0)
            return _mean_of(costs, n_positives > 0)

    @keras.saving.register_keras_serializable("birdlib")
    class CrossMultiSimilarity(MatchLoss):
        """Mean over pairs of BCE(y, scale (S - bias)), plus weight * (M_av + M_aa + M_vv) / 3.

        M is the mean over anchors of ``multi_similarity``: M_av with every sound among the batch's pictures and every picture among
        its sounds, M_aa with every sound among the other sounds, M_vv with every picture among the other pictures; positives are of
        its category. So what is of one category stays together within each modality and across them.
        """

        def __init__(
            self,
            scale=10.0,
            bias=0.5,
            weight=1.0,
            alpha=2.0,
            beta=50.0,
            base=0.5,
            epsilon=0.1,
            name=None,
            reduction="sum_over_batch_size",
        ):
            numbers = {"alpha": alpha, "beta": beta, "base": base, "epsilon": epsilon}
            super().__init__(name, reduction, scale=scale, bias=bias, weight=weight, **numbers)

        def of_vectors(self, targets, a, v):
            pair = ops.mean(_cosine_bce(targets, a, v, self.options["scale"], self.options["bias"]))
            across = _both_ways(_across(targets))
            terms = [
                self._relation(_both_ways(_cosines(a, v)), across, ops.logical_not(across)),
                self._relation(_cosines(a, a), *pairs_within(targets[:, 1])),
                self._relation(_cosines(v, v), *pairs_within(targets[:, 2])),
            ]
            return pair + self.options["weight"] * sum(terms) / 3.0

        def _relation(self, cosines, positives, negatives):
            numbers = {key: self.options[key] for key in ("alpha", "beta", "base", "epsilon")}
            return ops.mean(multi_similarity(cosines, positives, negatives, **numbers))

    return {
        "bce": Bce,
        "contrastive": Contrastive,
        "cosine": CosineBce,
        "cross_triplet": CrossTriplet,
        "info_nce": InfoNce,
        "cross_multi_similarity": CrossMultiSimilarity,
    }


def bce(truth, logits):
    """BCE(y, z), element by element, exact for logits of any size."""
    from keras import ops

    return ops.softplus(logits) - truth * logits


def _cosine_bce(targets, a, v, scale, bias):
    from keras import ops

    return bce(targets[:, 0], scale * (ops.sum(a * v, axis=1) - bias))


def _cosines(x, y):
    from keras import ops

    return ops.matmul(x, ops.transpose(y))


def _across(targets):
    """Whether sound (row) and pictures (column) are of one category, (batch, batch) bool."""
    return targets[:, 1][:, None] == targets[:, 2][None]


def _both_ways(table):
    """Sounds by pictures, below it pictures by sounds: (2 * batch, batch)."""
    from keras import ops

    return ops.concatenate([table, ops.transpose(table)], axis=0)


def _mean_of(costs, counts):
    """Of those that count; 0 if none does."""
    from keras import ops

    return ops.sum(ops.where(counts, costs, 0.0)) / ops.maximum(ops.sum(ops.cast(counts, costs.dtype)), 1.0)


def _log_1_plus_sum(chosen, exponents):
    from keras import ops

    one = ops.zeros_like(exponents[:, :1])  # exp(0)
    return ops.logsumexp(ops.concatenate([one, ops.where(chosen, exponents, -1e9)], axis=1), axis=1)
