"""ResNet50 without its top, trained on ImageNet ("Deep Residual Learning for Image Recognition", 2016).

Pictures in are (batch, 224, 224, 3) as ``keras.applications.resnet.preprocess_input`` makes them (BGR, 0-255 less
``MEANS_RGB`` turned round), which is not part of the model; features out, averaged over the picture, are (batch, 2048).
The weights are Keras' own HDF5 file, or those of the same network converted for TensorFlow.js: their names and shapes in
a JSON file, their numbers one behind the other in a second.

The network for TensorFlow.js has the batch-norm epsilon of early Keras, 1e-3; here it is that of Keras today and of the
authors' Caffe network, 1e-5, whichever file is read. The features of a photo then differ by a cosine of 0.001.
"""

import json
import math
import re
from pathlib import Path

import numpy as np

IMAGE_SIZE = 224
FEATURES = 2048
MEANS_RGB = (123.68, 116.779, 103.939)  # of ImageNet


def load(source):
    """Build ResNet50 with the weights that ``birdlib.models.weights`` found.

    Args:
        source: weights.Source of "resnet50".

    Returns:
        keras.Model, pictures (batch, 224, 224, 3) → features (batch, 2048), under Keras' current dtype policy.
    """
    import keras

    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    model = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg", input_shape=shape)
    if source.format == "h5":
        model.load_weights(source.path)
        return model
    tensors = read_tfjs(*(Path(source.path) / f"resnet50_imagenet_tfjs.{suffix}" for suffix in ("json", "bin")))
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([tensors[f"{_caffe_name(layer.name)}/{weight.name}"] for weight in layer.weights])
    return model


def read_tfjs(layout_path, numbers_path):
    """Read the weights of a network for TensorFlow.js whose numbers are all float32.

    Args:
        layout_path: its model.json.
        numbers_path: its shards, joined.

    Returns:
        dict, name of the tensor → array, as Keras has them.
    """
    layout = json.loads(Path(layout_path).read_text())
    numbers = np.fromfile(numbers_path, "<f4")
    tensors, at = {}, 0
    for tensor in (tensor for group in layout["weightsManifest"] for tensor in group["weights"]):
        n = math.prod(tensor["shape"])
        tensors[tensor["name"]] = numbers[at : at + n].reshape(tensor["shape"])
        at += n
    return tensors


def _caffe_name(layer):
    """conv3_block2_1_bn is bn3b_branch2a: the second block of the third stage; branch 1 is the short cut, Keras' 0."""
    if layer in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[layer]
    stage, block, branch, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer).groups()
    kind = "res" if kind == "conv" else "bn"
    return f"{kind}{stage}{'abcdef'[int(block) - 1]}_branch{['1', '2a', '2b', '2c'][int(branch)]}"
