"""Averages of a network's weights over a training, which are validated and kept in place of the last ones.

``swa``: the mean of the weights after each epoch from ``SWA_START`` on, of statistics of batch normalisation too: "Averaging Weights Leads
to Wider Optima and Better Generalization" (2018). ``ema``: the exponential moving average over steps that Keras' optimizers keep, as the
teacher of "Mean teachers are better role models" (2017).
"""

import contextlib

from birdlib import runtime

KINDS = ("none", "swa", "ema")
SWA_START = 0.55  # share of the epochs, as in the second place of BirdCLEF+ 2026: 11 of 20
_EMA_SHARE = 0.1  # of the steps of a training: the average covers about so many


class AveragingError(runtime.BirdlibError):
    """An average that does not exist."""


def optimizer_options(kind, n_steps):
    """What an optimizer needs for an average: {} or ``use_ema`` and ``ema_momentum``, of a training of ``n_steps``.

    The momentum is .999 for 10,000 steps. With it, a short training would end on the average of its first weights.

    Raises:
        AveragingError: for an unknown kind.
    """
    if kind not in KINDS:
        raise AveragingError(f"averaging is {kind!r}: choose {', '.join(KINDS)}")
    return {"use_ema": True, "ema_momentum": max(0.0, 1.0 - 1.0 / (_EMA_SHARE * n_steps))} if kind == "ema" else {}


class WeightAverage:
    """The average of a model's weights so far.

    Attributes: ``arrays``, the mean of ``swa`` and the ``n_averaged`` epochs in it, for a checkpoint; [] of other kinds.

    Args:
        kind: one of ``KINDS``.
        model: compiled with ``optimizer_options``.
        epochs: of the training.
    """

    def __init__(self, kind, model, epochs):
        self.kind, self.model, self.first_epoch = kind, model, int(SWA_START * epochs) + 1
        self.arrays, self.n_averaged = _copies(model) if kind == "swa" else [], 0

    def update(self, epoch):
        """Count the weights after an epoch, numbered from 1."""
        if self.kind != "swa" or epoch < self.first_epoch:
            return
        self.n_averaged += 1
        pairs = zip(self.arrays, _copies(self.model), strict=True)
        self.arrays = [mean + (now - mean) / self.n_averaged if mean.dtype.kind == "f" else now for mean, now in pairs]

    @contextlib.contextmanager
    def applied(self):
        """The model has the averaged weights inside of a ``with`` block, and its own after it."""
        if self.kind == "none" or (self.kind == "swa" and not self.n_averaged):
            yield
            return
        own = _copies(self.model)
        if self.kind == "swa":
            self.model.set_weights(self.arrays)
        else:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
            self.model.set_weights(_copies(self.model))  # on JAX they would share memory with the average, which its next step overwrites
        yield
        self.model.set_weights(own)


def _copies(model):
    return [weights.copy() for weights in model.get_weights()]
