"""Batches of a model without ``model.predict``: the same outputs, for arrays and for named inputs."""

import keras
import numpy as np

from birdlib.models import batch_calls


def test_outputs_are_those_of_predict():
    """Dropout is off, the last batch is smaller, and no rows give no rows."""
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    joined = keras.layers.Dropout(0.5)(keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
    model = keras.Model(inputs, keras.layers.Dense(4)(joined))
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((7, 3)).astype(np.float32), "b": rng.standard_normal((7, 2)).astype(np.float32)}
    found = batch_calls.outputs(model, arrays, 3)
    assert found.dtype == np.float32 and np.allclose(found, model.predict(arrays, verbose=0), atol=1e-6)
    assert batch_calls.outputs(model, {name: array[:0] for name, array in arrays.items()}, 3).shape == (0, 4)
    head = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert np.allclose(batch_calls.outputs(head, arrays["a"], 2), head.predict(arrays["a"], verbose=0), atol=1e-6)
