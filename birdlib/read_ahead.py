"""Batches that are prepared on another thread while the device computes the step before."""

from concurrent.futures import ThreadPoolExecutor

import keras

N_AHEAD = 2  # batches


def on_jax(batches):
    """The data set with its next batches prepared ahead, where Keras runs on JAX; TensorFlow prefetches by itself.

    Args:
        batches: keras.utils.PyDataset whose batches depend on their number and its ``epoch`` only.
    """
    return ReadAhead(batches) if keras.backend.backend() == "jax" else batches


class ReadAhead(keras.utils.PyDataset):
    """The batches of another data set, in its order, of which the next ``N_AHEAD`` are prepared on a thread of its own.

    Keras' own workers start before the first epoch and hand on what they prepared then: a resumed training would begin with batches of epoch 0.
    Here a batch belongs to the ``epoch`` that the data set had when it was asked for, and those of another epoch are dropped.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches, self.epoch, self.prepared = batches, None, {}
        self.thread = ThreadPoolExecutor(1)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, step):
        epoch = getattr(self.batches, "epoch", 0)
        if epoch != self.epoch:
            for future in self.prepared.values():  # a batch is not prepared while the epoch changes
                future.cancel() or future.exception()
            self.epoch, self.prepared = epoch, {}
        for later in range(step, min(step + 1 + N_AHEAD, len(self))):
            if later not in self.prepared:
                self.prepared[later] = self.thread.submit(self.batches.__getitem__, later)
        return self.prepared.pop(step).result()

    def on_epoch_end(self):
        self.prepared = {}
        self.batches.on_epoch_end()
