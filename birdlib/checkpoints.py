"""The best epoch of a training, and checkpoints from which an interrupted training resumes.

A checkpoint is one file for each training, replaced atomically after each epoch.
"""

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np

from birdlib import runtime


class BestEpoch:
    """Keeps the weights of the best epoch, over one or several calls of ``fit``, and says when to stop.

    Attributes: ``n_epochs`` so far; ``kept``, number of the best one (from 1; 0 before any); ``best``, its value; ``weights``.

    Args:
        model: the Keras model whose weights are kept.
        patience: number of epochs without a better value after which the training is over.
    """

    def __init__(self, model, patience):
        self.model, self.patience = model, patience
        self.n_epochs, self.kept, self.best, self.weights = 0, 0, -np.inf, model.get_weights()

    def update(self, value, is_valid=True):
        """Count an epoch and keep its weights if it is the best so far.

        Args:
            value: of validation, higher is better; NaN (there is no validation) keeps the latest epoch.
            is_valid: False never keeps the epoch.

        Returns:
            bool: whether the training is over.
        """
        self.n_epochs += 1
        if is_valid and (value > self.best or np.isnan(value)):
            self.best, self.kept, self.weights = value, self.n_epochs, self.model.get_weights()
        return self.is_over

    @property
    def is_over(self):
        return self.n_epochs - self.kept >= self.patience

    def restore(self):
        """Give the model the weights of the best epoch."""
        self.model.set_weights(self.weights)


def write(path, key, state, variables, best=()):
    """Write a checkpoint.

    Args:
        key: digest of all that changes the training.
        state: JSON-able dict, such as the history.
        variables: of model and optimizer, including the states of random number generators of dropout.
        best: further arrays, such as the best weights so far.

    Raises:
        runtime.FullDiskError: if it cannot be written; the one before is kept.
    """
    import keras

    arrays = {f"now_{i}": keras.ops.convert_to_numpy(variable.value) for i, variable in enumerate(variables)}
    arrays |= {f"best_{i}": array for i, array in enumerate(best)}
    with runtime.replacing(path) as temporary:
        np.savez(temporary, told=json.dumps({**state, "key": key}), **arrays)


def restore(path, key, variables, n_best=0):
    """Set variables to the checkpoint of this training.

    Returns:
        (state, best) as of ``write``; None if there is no checkpoint of this training. A damaged one gives a warning.
    """
    if not path or not Path(path).is_file():
        return None
    try:
        with np.load(path) as file:
            state = json.loads(str(file["told"]))
            if state.pop("key") != key:
                return None
            now = [file[f"now_{i}"] for i in range(len(variables))]
            best = [file[f"best_{i}"] for i in range(n_best)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}): the training starts from the beginning", stacklevel=3)
        return None
    for variable, array in zip(variables, now, strict=True):
        variable.assign(array)
    return state, best
