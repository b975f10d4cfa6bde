"""What happens in every epoch of a head: its rows are shuffled and mixed anew, and afterwards it is asked what it is worth."""

import functools

import numpy as np

from birdlib import runtime
from birdlib.audio import mixing
from birdlib.metrics import classification


def batches(features, truth, sample_weight, batch_size, alpha, rng):
    """Batches of rows, each mixed with another of its batch: "mixup: Beyond Empirical Risk Minimization" (2018), on features.

    Args:
        features, truth, sample_weight: (n, features), (n, classes) in [0, 1], (n,).
        alpha: of mixup, see ``mixing.mixup``.
        rng: gives the seed; a batch depends on seed, epoch and step only.

    Returns:
        keras.utils.PyDataset of (features, truth, sample_weight).
    """
    return _batches()(features, truth, sample_weight, batch_size, alpha, int(rng.integers(2**32)))


def watcher(features, truth):
    """A Keras callback that adds ``validation_macro_auc`` to the logs; it stands before EarlyStopping, which watches it.

    It raises BirdlibError after an epoch in which the network lost its numbers.
    """
    return _macro_auc()(features, truth)


@functools.cache
def _batches():
    """The class, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class MixedRows(keras.utils.PyDataset):
        """See ``batches``."""

        def __init__(self, features, truth, sample_weight, batch_size, alpha, seed):
            super().__init__()
            self.arrays, self.batch_size, self.alpha, self.seed = (features, truth, sample_weight), batch_size, alpha, seed
            self.epoch = -1
            self.on_epoch_end()

        def on_epoch_end(self):
            self.epoch += 1
            self.order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.arrays[0]))

        def __len__(self):
            return -(-len(self.order) // self.batch_size)

        def __getitem__(self, step):
            rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
            features, truth, sample_weight = (array[rows] for array in self.arrays)
            rng = np.random.default_rng([self.seed, self.epoch, step])
            return *mixing.mixup(features, truth, alpha=self.alpha, rng=rng), sample_weight

    return MixedRows


@functools.cache
def _macro_auc():
    """The class, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class MacroAuc(keras.callbacks.Callback):
        """See ``watcher``."""

        def __init__(self, features, truth):
            super().__init__()
            self.features, self.truth = features, truth

        def on_epoch_end(self, epoch, logs=None):
            scores = np.asarray(self.model(self.features, training=False))  # predict_on_batch repeats rows by replica
            if not np.isfinite(scores).all():
                raise runtime.BirdlibError(f"after epoch {epoch + 1} the network's scores are no numbers: lower the learning rate, or use float32")
            logs["validation_macro_auc"] = classification.macro_roc_auc(self.truth, scores)

    return MacroAuc
