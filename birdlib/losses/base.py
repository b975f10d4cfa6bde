"""What all losses share: options that are saved with a compiled model, and the choice by name."""

import keras
from keras import ops

from birdlib import runtime


class LossError(runtime.BirdlibError):
    """A loss that does not exist, or a batch that it cannot be computed on."""


class OptionsLoss(keras.losses.Loss):
    """A loss computed in float32, with numbers (``options``) that go into its config; ``defaults`` names them."""

    defaults = {}

    def __init__(self, name=None, reduction="sum_over_batch_size", **options):
        if unknown := options.keys() - self.defaults:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}")
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.options = {**self.defaults, **options}

    def get_config(self):
        return super().get_config() | self.options


def build(losses, name, **options):
    """The loss of that name.

    Args:
        losses: dict of builders.
        options: those of the class that differ from its ``defaults``.

    Raises:
        LossError: for an unknown name.
    """
    if name not in losses:
        raise LossError(f"loss {name!r} is unknown: use one of {', '.join(losses)}")
    return losses[name](**options)


def bce(truth, logits):
    """-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)), elementwise; exact for logits of any size.

    The gradients of Keras' own differ in the last bits, which would change trainings.
    """
    return ops.softplus(logits) - truth * logits
