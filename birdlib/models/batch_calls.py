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
    call = _compiled(model, batch_size) if _is_on_jax() else lambda rows: np.asarray(model(rows, training=False))
    return np.concatenate([call(_rows(inputs, start, start + batch_size)) for start in range(0, len(first), batch_size)])


def _is_on_jax():
    import keras

    return keras.backend.backend() == "jax"


def _compiled(model, batch_size):
    """On JAX, layer by layer takes four times as long as compiled. It compiles anew for each number of rows: they are padded to a power of two."""

    def call(rows):
        first = next(iter(rows.values())) if isinstance(rows, dict) else rows
        n = len(first)
        n_padded = min(batch_size, 1 << (n - 1).bit_length())
        if isinstance(rows, dict):
            padded = {name: _padded(array, n_padded) for name, array in rows.items()}
        else:
            padded = _padded(rows, n_padded)
        return np.asarray(model.predict_on_batch(padded))[:n]

    return call


def _padded(rows, n):
    return np.concatenate([rows, np.zeros((n - len(rows), *rows.shape[1:]), rows.dtype)]) if n > len(rows) else rows


def _rows(inputs, start, end):
    if isinstance(inputs, dict):
        return {name: array[start:end] for name, array in inputs.items()}
    return inputs[start:end]
