"""VGG16 without its top, trained on ImageNet ("Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015).

Pictures in are (batch, 224, 224, 3) as ``keras.applications.vgg16.preprocess_input`` makes them, which is not part of the
model; features out, those of block5_pool, are (batch, 7, 7, 512). The weights are Keras' own HDF5 file, or the thirteen
convolutions of an ONNX network that was built on them. ONNX is Protocol Buffers, of which a few fields are read here.
"""

from pathlib import Path

import numpy as np

IMAGE_SIZE = 224
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER = 7, 1, 5  # field numbers of onnx.proto
_NODE_INPUT, _NODE_OP_TYPE = 1, 4
_TENSOR_DIMS, _TENSOR_DATA_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA = 1, 2, 8, 9
_FLOAT = 1


def load(source):
    """Build VGG16 with the weights that ``birdlib.models.weights`` found.

    Args:
        source: weights.Source of "vgg16".

    Returns:
        keras.Model, pictures (batch, 224, 224, 3) → features (batch, 7, 7, 512), under Keras' current dtype policy.
    """
    import keras

    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=shape)
    if source.format == "h5":
        model.load_weights(source.path)
        return model
    layers = [layer for layer in model.layers if layer.weights]
    for layer, weights in zip(layers, read_onnx(source.path), strict=True):
        layer.set_weights(weights)
    return model


def read_onnx(path):
    """Read the convolutions of an ONNX network that keeps its float32 weights as raw data, as tf2onnx writes it.

    Returns:
        list of (kernel, bias) in the order of the network; kernels (height, width, in, out) as Keras has them.
    """
    [graph] = _fields(memoryview(Path(path).read_bytes()))[_MODEL_GRAPH]
    graph = _fields(graph)
    tensors = dict(_tensor(_fields(tensor)) for tensor in graph[_GRAPH_INITIALIZER])
    convolutions = []
    for node in map(_fields, graph[_GRAPH_NODE]):
        if bytes(node[_NODE_OP_TYPE][0]) == b"Conv":
            _, kernel, bias = (tensors.get(bytes(name)) for name in node[_NODE_INPUT])
            convolutions.append((kernel.transpose(2, 3, 1, 0), bias))  # from (out, in, height, width)
    return convolutions


def _tensor(fields):
    """(name, array) of a TensorProto; the array is None when its numbers are not raw float32."""
    name = bytes(fields[_TENSOR_NAME][0])
    if fields[_TENSOR_DATA_TYPE] != [_FLOAT] or _TENSOR_RAW_DATA not in fields:
        return name, None
    values = np.frombuffer(fields[_TENSOR_RAW_DATA][0], "<f4")
    return name, values.reshape(fields[_TENSOR_DIMS])


def _fields(message):
    """The fields of a Protocol Buffers message: field number → list of int, or of memoryview for what has a length."""
    fields, at = {}, 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
        else:
            length, at = _varint(message, at) if wire_type == 2 else ({1: 8, 5: 4}[wire_type], at)
            value, at = message[at : at + length], at + length
        fields.setdefault(number, []).append(value)
    return fields


def _varint(message, at):
    """The integer that starts at ``at``, seven bits a byte, the least first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
