import numpy as np
import pytest

from birdlib.data.synthetic import films
from birdlib.models import vgg16, weights

SHAPES = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]


@pytest.fixture(scope="module")
def real():
    return vgg16.load(weights.fetch("vgg16"))


def source(path, suffix):
    return weights.Source("vgg16", path, "here", "aa", "CC BY 4.0", suffix)


def convolutions(model):
    return [layer.get_weights() for layer in model.layers if layer.weights]


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


def test_an_onnx_network_is_read_as_onnxruntime_runs_it(tmp_path):
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
    for kernel, bias in vgg16.read_onnx(path):
        features = np.asarray(keras.ops.conv(features, kernel, padding="same") + bias)
    [expected] = onnxruntime.InferenceSession(str(path)).run(None, {"x": image.transpose(0, 3, 1, 2)})
    assert np.allclose(features, expected.transpose(0, 2, 3, 1), atol=1e-4)


def test_both_formats_put_the_same_numbers_into_the_same_places(tmp_path, monkeypatch):
    """The HDF5 file is laid out as Keras' own is, layers without weights among the others."""
    import h5py

    rng = np.random.default_rng(0)
    layers = [(rng.random((3, 3, *shape), np.float32), rng.random(shape[1], np.float32)) for shape in SHAPES]
    with h5py.File(tmp_path / "notop.h5", "w") as file:
        names = [f"block{b}_conv{c}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for c in range(1, n + 1)]
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *names, "block5_pool")]
        for name in ("input_1", "block5_pool"):
            file.create_group(name).attrs["weight_names"] = np.array([], "S1")
        for name, (kernel, bias) in zip(names, layers, strict=True):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"], group[f"{name}_b_1:0"] = kernel, bias
    monkeypatch.setattr(vgg16, "read_onnx", lambda path: layers)
    for suffix in ("h5", "onnx"):
        model = vgg16.load(source(tmp_path / "notop.h5", suffix))
        assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 7, 7, 512)
        for (kernel, bias), (expected_kernel, expected_bias) in zip(convolutions(model), layers, strict=True):
            assert np.array_equal(kernel, expected_kernel) and np.array_equal(bias, expected_bias)


@pytest.mark.slow
def test_the_weights_are_oxfords(real):
    """First number of each kernel and bias in Oxford's own release for MatConvNet, where red comes first; here it is last."""
    expected = [
        (0.4800154, 0.73429835),
        (0.16621928, -0.30912212),
        (-0.008902963, -0.04577766),
        (-0.0023012366, -0.06418542),
        (0.002486315, -0.074358866),
        (-0.0103266295, 0.019675018),
        (0.0024918285, 0.035415243),
        (-0.012453815, 0.013485669),
        (0.007116542, 0.023680462),
        (-0.0041355654, 0.03757768),
        (-0.0006068934, 0.09722325),
        (-0.0011261065, 0.21327873),
        (0.00040788297, 0.18837857),
    ]
    kernels, biases = zip(*convolutions(real), strict=True)
    first = [kernels[0][0, 0, 2, 0], *(kernel[0, 0, 0, 0] for kernel in kernels[1:])]
    found = list(zip(first, (bias[0] for bias in biases), strict=True))
    assert np.allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_features_are_those_of_the_onnx_network_itself(real):
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
    for layer in real.layers[1:]:
        features = layer(features)
    features = np.asarray(features)
    assert features.shape == (1, 7, 7, 512) and 0.02 < (features > 0).mean() < 0.5
    assert np.abs(features - expected.transpose(0, 2, 3, 1)).max() < 1e-3 * features.max()
