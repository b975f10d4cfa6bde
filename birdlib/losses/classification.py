"""Losses of classifiers of any number of species.

``labels`` y (batch, classes) in [0, 1], also soft ones; ``outputs`` (batch, classes) are probabilities p of sigmoid or softmax, or
logits z with p = sigmoid(z). Probabilities are clipped to [1e-7, 1 - 1e-7], so no loss is infinite. All is computed in float32. A loss
is the mean over species and clips, so it does not grow with the number of species. ``keras.losses`` has binary cross-entropy, focal loss
and cross-entropy too, but their gradients differ in the last bits, which would change trainings.
"""

import keras
from keras import ops

from birdlib.losses import base

_EPS = 1e-7


class LabelLoss(base.OptionsLoss):
    """A loss of probabilities or logits."""

    def __init__(self, from_logits=False, name=None, reduction="sum_over_batch_size", **options):
        super().__init__(name, reduction, **options)
        self.from_logits = from_logits

    def get_config(self):
        return super().get_config() | {"from_logits": self.from_logits}

    def logits(self, outputs):
        """z with sigmoid(z) = p."""
        if self.from_logits:
            return outputs
        p = ops.clip(outputs, _EPS, 1.0 - _EPS)
        return ops.log(p) - ops.log1p(-p)


@keras.saving.register_keras_serializable("birdlib")
class AsymmetricLoss(LabelLoss):
    """Mean of -y (1 - p) ** positive_focus log p - (1 - y) q ** negative_focus log(1 - q), with q = max(0, p - clip).

    Easy negatives are down-weighted and cost nothing below ``clip``, which also tolerates missing labels. With focus 0 and clip 0
    it is ``bce``. The authors take sums instead of means. "Asymmetric Loss For Multi-Label Classification" (2020).

    The powers are weights: by default they are constants of the gradient, as in the trainings of the authors' code. With
    ``weights_have_gradient`` the formula is differentiated as a whole, which also pushes probabilities to where the weights are small.
    Scores below the clip are left where they are, so the last layer should begin at the prior, see ``classifiers.build_head``.
    """

    defaults = {"positive_focus": 0.0, "negative_focus": 5.0, "clip": 0.05, "weights_have_gradient": False}

    def call(self, labels, outputs):
        z, clip = self.logits(outputs), self.options["clip"]
        absence = ops.sigmoid(-z)  # 1 - p
        q = ops.relu(1.0 - absence - clip)
        present = -ops.softplus(-z)  # log p
        absent = ops.log(1.0 - q) if clip else -ops.softplus(z)  # log(1 - q)
        constant = (lambda x: x) if self.options["weights_have_gradient"] else ops.stop_gradient
        present = _focused(present, constant(absence), self.options["positive_focus"])
        absent = _focused(absent, constant(q), self.options["negative_focus"])
        return -ops.mean(labels * present + (1.0 - labels) * absent, axis=-1)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class BinaryLoss(LabelLoss):
    """Mean of -y log p - (1 - y) log(1 - p): an independent binary decision for each species."""

    def call(self, labels, outputs):
        return ops.mean(base.bce(labels, self.logits(outputs)), axis=-1)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class FocalLoss(LabelLoss):
    """Mean of -y (1 - p) ** focus log p - (1 - y) p ** focus log(1 - p); with focus 0 it is ``bce``.

    "Focal Loss for Dense Object Detection" (2017), without its class weights alpha.
    """

    defaults = {"focus": 2.0}

    def call(self, labels, outputs):
        z, focus = self.logits(outputs), self.options["focus"]
        present = _focused(-ops.softplus(-z), ops.sigmoid(-z), focus)
        absent = _focused(-ops.softplus(z), ops.sigmoid(z), focus)
        return -ops.mean(labels * present + (1.0 - labels) * absent, axis=-1)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class CrossEntropyLoss(LabelLoss):
    """-sum over species of t log s, with t = y / sum(y) and s = p / sum(p), or softmax(z) of logits.

    Species compete. For softmax outputs and one species per clip it is the usual cross-entropy. A clip without labels costs 0, unless
    there is a ``background``, one more class that the outputs do not list: its probability is 1 - sum(p), its logit 0, and its label
    max(0, 1 - sum(y)). Outputs with a background are those of ``classifiers.build_head``.
    """

    defaults = {"background": False}

    def call(self, labels, outputs):
        z = outputs if self.from_logits else ops.log(ops.clip(outputs, _EPS, 1.0))
        if self.options["background"]:
            rest = 1.0 - ops.sum(outputs, axis=-1, keepdims=True)  # (batch, 1)
            rest = ops.zeros_like(rest) if self.from_logits else ops.log(ops.clip(rest, _EPS, 1.0))
            z = ops.concatenate([z, rest], axis=-1)
            labels = ops.concatenate([labels, ops.relu(1.0 - ops.sum(labels, axis=-1, keepdims=True))], axis=-1)
        targets = labels / ops.maximum(ops.sum(labels, axis=-1, keepdims=True), _EPS)
        return -ops.sum(targets * ops.log_softmax(z, axis=-1), axis=-1)  # (batch,)


@keras.saving.register_keras_serializable("birdlib")
class SoftAucLoss(LabelLoss):
    """Mean over species of sum_ij w_ij log(1 + exp(-scale (z_i - z_j))) / sum_ij w_ij, with w_ij = max(0, y_i - y_j).

    Pairs of clips i, j of one batch: for hard labels a surrogate of 1 - ROC-AUC of each species, the BirdCLEF metric; a pair of soft
    labels is weighted by their difference. Species that all or no clips of the batch have are left out, and a batch without any
    costs 0, so batches should be large. Only the ranking within a species is learnt, so thresholds need calibration. Memory grows with
    batch ** 2 * classes. "Optimizing Classifier Performance via an Approximation to the Wilcoxon-Mann-Whitney Statistic" (2003), with
    the logistic cost of "Learning to Rank using Gradient Descent" (2005). Sample weights are not supported.
    """

    defaults = {"scale": 1.0}

    def call(self, labels, outputs):
        z = self.logits(outputs)
        weights = ops.relu(labels[:, None] - labels[None])  # (batch, batch, classes)
        costs = ops.softplus(-self.options["scale"] * (z[:, None] - z[None]))
        total = ops.sum(weights, axis=(0, 1))  # (classes,)
        mean = ops.sum(weights * costs, axis=(0, 1)) / ops.maximum(total, _EPS)
        n_counted = ops.sum(ops.cast(total > 0, "float32"))
        mean = ops.sum(mean) / ops.maximum(n_counted, 1.0)
        return mean[None]  # (1,): Keras would not divide a scalar by replicas


LOSSES = {
    "asymmetric": AsymmetricLoss,
    "bce": BinaryLoss,
    "focal": FocalLoss,
    "cross_entropy": CrossEntropyLoss,
    "soft_auc": SoftAucLoss,
}


def get(name, from_logits=False, **options):
    """The loss of that name in ``LOSSES``, called as ``loss(labels, outputs)``; see ``base.build``."""
    return base.build(LOSSES, name, from_logits=from_logits, **options)


def _focused(log_likelihood, error, focus):
    """Weighted by the error to the power of ``focus``; a power of 0 is skipped, since its slope at 0 is NaN."""
    return log_likelihood * ops.power(error, focus) if focus else log_likelihood
