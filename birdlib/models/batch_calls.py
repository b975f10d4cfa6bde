"""Outputs of a small Keras model, a batch at a time, without the set-up of ``model.predict``, which takes longer than such a model itself."""

import numpy as np


def outputs(model, inputs, batch_size):
    """The outputs of a model for training=False.

    Args:
        model: keras.Model with one output.
        inputs: (n, ...), or {name: (n, ...)} of the model's inputs.
        batch_size: rows that are in memory at once.

    Returns:
        (n, ...) array of the output's type.
    """
    first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    if not len(first):
        return np.zeros((0, *model.output_shape[1:]), np.float32)
    found = [np.asarray(model(_rows(inputs, start, start + batch_size), training=False)) for start in range(0, len(first), batch_size)]
    return np.concatenate(found)


def _rows(inputs, start, end):
    if isinstance(inputs, dict):
        return {name: array[start:end] for name, array in inputs.items()}
    return inputs[start:end]
