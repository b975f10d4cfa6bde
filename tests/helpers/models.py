"""For tests of networks: outputs of a model, its gradients, outputs of a saved copy in another process, and a narrow VGG16."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

from birdlib import runtime

LOAD = """
import importlib, sys
import keras, numpy as np

module = importlib.import_module(sys.argv[1])
load = getattr(module, "load", None) or keras.saving.load_model
keras.utils.set_random_seed(99)
with np.load(sys.argv[2]) as arrays:
    for model, path in zip(sys.argv[3::2], sys.argv[4::2]):
        model = load(model)
        np.save(path, keras.ops.convert_to_numpy(model({name: arrays[name] for name in model.input}, training=False)))
"""


@functools.cache
def narrow_vgg():
    """VGG16 with random weights and a sixteenth of its feature maps; layers, names and picture size are VGG16's own."""
    import keras

    from birdlib.models import vgg16

    def narrow(layer):
        config = layer.get_config()
        if "filters" in config:
            config |= {"filters": config["filters"] // 16, "bias_initializer": "random_normal"}
        return layer.__class__.from_config(config)

    keras.utils.set_random_seed(0)
    whole = keras.applications.VGG16(weights=None, include_top=False, input_shape=(vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE, 3))
    return keras.models.clone_model(whole, clone_function=narrow)


def run(model, arrays):
    """As ``model.predict`` would, without the time of a trace."""
    import keras

    arrays = {name: arrays[name] for name in model.input} if isinstance(arrays, dict) else arrays
    return keras.ops.convert_to_numpy(model(arrays, training=False))


def gradients(model, arrays, value, unconnected="none"):
    """Path of each trainable variable → gradient of ``value(outputs)``; "zero" lets it depend on some variables only."""
    import keras

    arrays = {name: keras.ops.convert_to_tensor(arrays[name], "float32") for name in model.input}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            cost = value(model(arrays, training=False))
        variables = [variable.value for variable in model.trainable_variables]
        found = tape.gradient(cost, variables, unconnected_gradients=unconnected)
    elif keras.backend.backend() == "jax":
        import jax

        def of(trainable, fixed):
            return value(model.stateless_call(trainable, fixed, arrays, training=False)[0])

        found = jax.grad(of)(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
        )
    else:
        pytest.skip("gradients are taken on TensorFlow and JAX only")
    paths = [variable.path for variable in model.trainable_variables]
    return {path: keras.ops.convert_to_numpy(gradient) for path, gradient in zip(paths, found, strict=True)}


def aimed(vectors):
    """A loss that some of the vectors' numbers raise and others lower."""
    import keras

    aim = np.random.default_rng(5).normal(size=vectors.shape[-1]).astype(np.float32)
    return keras.ops.sum(vectors * aim)


def outputs_in_another_process(module, models, arrays, folder):
    """Outputs of copies of the models that are saved into ``folder`` and loaded by the module's ``load``, or by Keras' own, where only this module is imported."""
    import keras

    arguments = [module.__name__, str(folder / "arrays.npz")]
    np.savez(arguments[1], **arrays)
    for n, model in enumerate(models):
        model.save(folder / f"{n}.keras")
        arguments += [str(folder / f"{n}.keras"), str(folder / f"{n}.npy")]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *arguments],
        cwd=runtime.repository(),
        env=os.environ | {"KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [np.load(path) for path in arguments[3::2]]
