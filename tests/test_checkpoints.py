"""The best epoch of a training. A model here is its weights: a list with one number."""

import math

import pytest

from birdlib import checkpoints


class Model:
    def __init__(self):
        self.weights = [0]

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)


@pytest.mark.parametrize(
    ("values", "patience", "kept", "n_epochs"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 2, 2, 4),  # two epochs without a better one end it before the 0.9
        ([0.5, 0.5, 0.5], 3, 1, 3),  # an equal value is not better
        ([math.nan] * 4, 2, 4, 4),  # without validation, the last epoch
        ([0.1, 0.2, 0.3], 1, 3, 3),
    ],
)
def test_best_epoch_is_kept_and_patience_ends_the_training(values, patience, kept, n_epochs):
    model = Model()
    best = checkpoints.BestEpoch(model, patience)
    for epoch, value in enumerate(values, start=1):
        model.weights = [epoch]
        if best.update(value):
            break
    best.restore()
    assert (best.kept, best.n_epochs, model.weights) == (kept, n_epochs, [kept])


def test_invalid_epochs_count_but_are_never_kept():
    model = Model()
    best = checkpoints.BestEpoch(model, patience=2)
    model.weights = [1]
    assert not best.update(0.9, is_valid=False) and best.kept == 0
    assert best.update(0.8, is_valid=False)
    best.restore()
    assert model.weights == [0], "those from before the training"
