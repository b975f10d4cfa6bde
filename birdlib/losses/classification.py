"""Losses of a classifier of any number of species: what it said against the labels of a clip, in ``keras.ops``, for TensorFlow and JAX.

``labels`` y (batch, classes) in [0, 1], soft ones too; ``outputs`` (batch, classes) are probabilities p, of sigmoid or softmax, or
logits z with p = sigmoid(z). Probabilities are taken as if they lay within 1e-7 of 0 and 1, so no loss is infinite. All is computed in
float32. A loss is the mean over species and clips, so that costs do not grow with the number of species.
"""

import functools

from birdlib import runtime
from birdlib.losses import matching as matching_losses

NAMES = ("asymmetric", "bce", "focal", "cross_entropy", "soft_auc")
_NEAREST = 1e-7  # of a probability to 0 and 1


class LabelLossError(runtime.BirdlibError):
    """A loss that does not exist."""


def get(name, from_logits=False, **options):
    """The loss of that name, to be called as ``loss(labels, outputs)``; its class is then known to Keras, for loading.

    Args:
        name: one of ``NAMES``; the formulas are in the docstrings of the classes.
        from_logits: whether the outputs are logits.
        options: ``positive_focus=0.0, negative_focus=5.0, clip=0.05`` for asymmetric; ``focus=2.0`` for focal; ``scale=1.0`` for
            soft_auc.

    Returns:
        keras.losses.Loss.

    Raises:
        LabelLossError: for another name.
    """
    if name not in NAMES:
        raise LabelLossError(f"loss {name!r} is unknown: use one of {', '.join(NAMES)}")
    return _classes()[name](from_logits=from_logits, **options)


@functools.cache
def _classes():
    """Name → Keras class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    class LabelLoss(keras.losses.Loss):
        """A loss that remembers its numbers (``options``), so that a compiled model can be saved."""

        def __init__(self, name, reduction, from_logits, **options):
            super().__init__(name=name, reduction=reduction, dtype="float32")
            self.from_logits, self.options = from_logits, options

        def get_config(self):
            return super().get_config() | {"from_logits": self.from_logits} | self.options

        def logits(self, outputs):
            """z with sigmoid(z) = p."""
            if self.from_logits:
                return outputs
            p = ops.clip(outputs, _NEAREST, 1.0 - _NEAREST)
            return ops.log(p) - ops.log1p(-p)

    @keras.saving.register_keras_serializable("birdlib")
    class AsymmetricLoss(LabelLoss):
        """Mean of -y (1 - p) ** positive_focus log p - (1 - y) q ** negative_focus log(1 - q), with q = max(0, p - clip).

        Species that are not there, almost all of them, count only where they are taken for present; below ``clip`` they cost nothing,
        which also forgives a label that was forgotten. With focus 0 and clip 0 it is ``bce``. The authors sum where this takes means.
        "Asymmetric Loss For Multi-Label Classification" (2020).
        """

        def __init__(
            self,
            positive_focus=0.0,
            negative_focus=5.0,
            clip=0.05,
            from_logits=False,
            name=None,
            reduction="sum_over_batch_size",
        ):
            numbers = {"positive_focus": positive_focus, "negative_focus": negative_focus, "clip": clip}
            super().__init__(name, reduction, from_logits, **numbers)

        def call(self, labels, outputs):
            z, clip = self.logits(outputs), self.options["clip"]
            absence = ops.sigmoid(-z)  # 1 - p
            q = ops.relu(1.0 - absence - clip)
            present = -ops.softplus(-z)  # log p
            absent = ops.log(1.0 - q) if clip else -ops.softplus(z)  # log(1 - q)
            present = _focused(present, absence, self.options["positive_focus"])
            absent = _focused(absent, q, self.options["negative_focus"])
            return -ops.mean(labels * present + (1.0 - labels) * absent, axis=-1)  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class BinaryLoss(LabelLoss):
        """Mean of -y log p - (1 - y) log(1 - p): each species is a question of its own, answered with yes or no."""

        def __init__(self, from_logits=False, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, from_logits)

        def call(self, labels, outputs):
            return ops.mean(matching_losses.bce(labels, self.logits(outputs)), axis=-1)  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class FocalLoss(LabelLoss):
        """Mean of -y (1 - p) ** focus log p - (1 - y) p ** focus log(1 - p): what is easy counts little. With focus 0 it is ``bce``.

        "Focal Loss for Dense Object Detection" (2017), without its class weights alpha.
        """

        def __init__(self, focus=2.0, from_logits=False, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, from_logits, focus=focus)

        def call(self, labels, outputs):
            z, focus = self.logits(outputs), self.options["focus"]
            present = _focused(-ops.softplus(-z), ops.sigmoid(-z), focus)
            absent = _focused(-ops.softplus(z), ops.sigmoid(z), focus)
            return -ops.mean(labels * present + (1.0 - labels) * absent, axis=-1)  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class CrossEntropyLoss(LabelLoss):
        """-sum over species of t log s, with t = y / sum(y) and s = p / sum(p), or softmax(z) of logits.

        The species compete: one can only be more likely when the others are less. A clip in which no species is labelled costs 0, so
        this loss does not learn silence. For outputs of softmax and one species a clip it is what classifiers are usually trained with.
        """

        def __init__(self, from_logits=False, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, from_logits)

        def call(self, labels, outputs):
            z = outputs if self.from_logits else ops.log(ops.clip(outputs, _NEAREST, 1.0))
            targets = labels / ops.maximum(ops.sum(labels, axis=-1, keepdims=True), _NEAREST)
            return -ops.sum(targets * ops.log_softmax(z, axis=-1), axis=-1)  # (batch,)

    @keras.saving.register_keras_serializable("birdlib")
    class SoftAucLoss(LabelLoss):
        """Mean over species of sum_ij w_ij log(1 + exp(-scale (z_i - z_j))) / sum_ij w_ij, with w_ij = max(0, y_i - y_j).

        Pairs of clips i, j of one batch: what has the bird should be above what has it not. For hard labels this stands in for
        1 - ROC-AUC of each species, the figure that BirdCLEF is judged by; a pair of soft labels counts by their difference. A species
        that all or none of the batch have does not count, and a batch without any costs 0, so batches should be large. Only the order
        within a species is learnt: a threshold of 0.5 means nothing before calibration. Memory grows with batch ** 2 * classes.
        "Optimizing Classifier Performance via an Approximation to the Wilcoxon-Mann-Whitney Statistic" (2003), with the logistic cost
        of "Learning to Rank using Gradient Descent" (2005). It has no place for sample weights.
        """

        def __init__(self, scale=1.0, from_logits=False, name=None, reduction="sum_over_batch_size"):
            super().__init__(name, reduction, from_logits, scale=scale)

        def call(self, labels, outputs):
            z = self.logits(outputs)
            weights = ops.relu(labels[:, None] - labels[None])  # (batch, batch, classes)
            costs = ops.softplus(-self.options["scale"] * (z[:, None] - z[None]))
            total = ops.sum(weights, axis=(0, 1))  # (classes,)
            mean = ops.sum(weights * costs, axis=(0, 1)) / ops.maximum(total, _NEAREST)
            n_counted = ops.sum(ops.cast(total > 0, "float32"))
            mean = ops.sum(mean) / ops.maximum(n_counted, 1.0)
            return mean[None]  # (1,): Keras would not divide a scalar by replicas

    return {
        "asymmetric": AsymmetricLoss,
        "bce": BinaryLoss,
        "focal": FocalLoss,
        "cross_entropy": CrossEntropyLoss,
        "soft_auc": SoftAucLoss,
    }


def _focused(log_likelihood, mistake, focus):
    """Weighted by how wrong it is; a power of 0 is left out, since its slope at 0 is not a number."""
    from keras import ops

    return log_likelihood * ops.power(mistake, focus) if focus else log_likelihood
