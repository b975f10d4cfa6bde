import numpy as np
import pytest

from birdlib.models import vgg16, weights

SHAPES = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]


@pytest.fixture(scope="module")
def real():
    return vgg16.load(weights.fetch("vgg16"))


def source(path, suffix):
    return weights.Source("vgg16", path, "here", "aa", "CC BY 4.0", suffix)


def convolutions(model):
    return [layer.get_weights() for layer in model.layers if layer.weights]


def test_hdf5_and_onnx_give_the_same_weights(tmp_path, monkeypatch):
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
    monkeypatch.setattr(vgg16.mirrors, "read_onnx", lambda path: layers)
    for suffix in ("h5", "onnx"):
        model = vgg16.load(source(tmp_path / "notop.h5", suffix))
        assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 7, 7, 512)
        for (kernel, bias), (expected_kernel, expected_bias) in zip(convolutions(model), layers, strict=True):
            assert np.array_equal(kernel, expected_kernel) and np.array_equal(bias, expected_bias)


@pytest.mark.slow
def test_the_weights_equal_oxfords_release(real):
    """First number of each kernel and bias in Oxford's own release for MatConvNet, where red comes first; here it is last."""
    expected = [
        (0.4800154, 0.73429835), (0.16621928, -0.30912212), (-0.008902963, -0.04577766), (-0.0023012366, -0.06418542),
        (0.002486315, -0.074358866), (-0.0103266295, 0.019675018), (0.0024918285, 0.035415243), (-0.012453815, 0.013485669),
        (0.007116542, 0.023680462), (-0.0041355654, 0.03757768), (-0.0006068934, 0.09722325), (-0.0011261065, 0.21327873),
        (0.00040788297, 0.18837857),
    ]  # fmt: skip
    kernels, biases = zip(*convolutions(real), strict=True)
    first = [kernels[0][0, 0, 2, 0], *(kernel[0, 0, 0, 0] for kernel in kernels[1:])]
    found = list(zip(first, (bias[0] for bias in biases), strict=True))
    assert np.allclose(found, expected, rtol=1e-6)
