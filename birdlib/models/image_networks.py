"""Networks for photos, trained on ImageNet, frozen and without their tops: RGB pixels in [0, 255] in, maps of chosen layers out.

A new network is an entry of ``catalogue.MODELS`` and of ``NETWORKS``: how it is built, how its pixels are scaled, how its weights are read.
"""

import numpy as np

from birdlib import runtime
from birdlib.models import densenet121, efficientnetb0, resnet50, vgg16, weights

SIZE = 224  # pixels of a side of the images that they were trained on


class ImageNetworkError(runtime.BirdlibError):
    """A network for photos that does not exist."""


def require(name):
    """Raise ImageNetworkError if there is no such network."""
    if name not in NETWORKS:
        raise ImageNetworkError(f"there is no network for photos called {name!r}: choose {', '.join(NETWORKS)}")


def load(name, weights_dir="", is_trained=True, size=SIZE, layers=("",)):
    """A frozen network.

    Args:
        name: of ``NETWORKS``.
        weights_dir: as in ``weights.find``.
        is_trained: False keeps random weights, for tests.
        size: pixels of a side of the input, at least 32.
        layers: whose outputs are wanted, by their names in ``keras.applications``; ``""``: the last.

    Returns:
        (network, receipt): keras.Model, (batch, size, size, 3) RGB in [0, 255] → (batch, height, width, channels), a list of them for several
        layers; and the entry of the weights in the receipt, empty without them.

    Raises:
        ImageNetworkError: for another name.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    require(name)
    build, prepare, read = NETWORKS[name]
    network, receipt = getattr(keras.applications, build)(include_top=False, input_shape=(size, size, 3), weights=None), {}
    if is_trained:
        source = weights.fetch(name, weights_dir)
        network.set_weights(read(source))
        receipt = source.receipt()
    network.trainable = False
    inputs = keras.Input((size, size, 3), name="image")
    outputs = [network.get_layer(layer).output if layer else network.output for layer in layers]
    outputs = outputs if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, keras.Model(network.input, outputs)(prepare(inputs)), name=name), receipt


def _caffe_colours(images):
    import keras

    return keras.ops.flip(images - np.array(resnet50.MEANS_RGB, np.float32), axis=-1)


def _standard_colours(images):
    import keras

    return keras.applications.densenet.preprocess_input(images)


def _symmetric_colours(images):
    return images / 127.5 - 1.0


def _unscaled(images):
    return images


def _read_mobilenetv2(source):
    import keras

    return keras.applications.MobileNetV2(weights=str(source.path)).get_weights()[:-2]  # the file has the top too


NETWORKS = {  # name: (builder of keras.applications, function that scales pixels, function from the weights' source to the arrays)
    "vgg16": ("VGG16", _caffe_colours, lambda source: vgg16.load(source).get_weights()),
    "resnet50": ("ResNet50", _caffe_colours, lambda source: resnet50.load(source).get_weights()),
    "mobilenetv2": ("MobileNetV2", _symmetric_colours, _read_mobilenetv2),
    "densenet121": ("DenseNet121", _standard_colours, lambda source: densenet121.load(source).get_weights()),
    "efficientnetb0": ("EfficientNetB0", _unscaled, lambda source: efficientnetb0.load(source).get_weights()),
}
