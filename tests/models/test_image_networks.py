import keras_files
import numpy as np
import pytest

from birdlib.models import image_networks, weights

pytestmark = pytest.mark.slow
NOISE = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)


def test_unknown_network_raises_with_the_known_names():
    with pytest.raises(image_networks.ImageNetworkError, match="vgg16, resnet50, mobilenetv2"):
        image_networks.load("lenet", is_trained=False)


@pytest.mark.parametrize(("name", "builder"), [("vgg16", "vgg16"), ("resnet50", "resnet"), ("mobilenetv2", "mobilenet_v2"), ("densenet121", "densenet"), ("efficientnetb0", "efficientnet")])
def test_network_takes_pixels_as_its_authors_scale_them(name, builder):
    """The map is that of the bare network, of pixels through Keras' own ``preprocess_input``."""
    import keras

    network, receipt = image_networks.load(name, is_trained=False, size=64)
    bare = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    scaled = getattr(keras.applications, builder).preprocess_input(NOISE.copy())
    found, expected = (np.asarray(model.predict(x, verbose=0)).squeeze() for model, x in ((network, NOISE), (bare, scaled)))
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4) and found.shape[-1] == network.output_shape[-1] and receipt == {}
    assert not network.trainable_weights


def test_layers_are_given_in_the_order_asked_for():
    network, _ = image_networks.load("vgg16", is_trained=False, size=64, layers=("block5_conv3", "block1_pool", ""))
    assert [x.shape[1:] for x in network.outputs] == [(4, 4, 512), (32, 32, 64), (2, 2, 512)]


def test_mobilenetv2_reads_the_published_file_with_its_top(tmp_path, monkeypatch):
    """All weights but those of the top, which is not built."""
    import keras

    with_top = keras.applications.MobileNetV2(weights=None)
    keras_files.randomise(with_top)
    keras_files.write(with_top, tmp_path / "mobilenet.h5")
    source = weights.Source("mobilenetv2", tmp_path / "mobilenet.h5", "made here", "ab12", "Apache-2.0", "h5")
    monkeypatch.setattr(weights, "fetch", lambda *_: source)
    network, receipt = image_networks.load("mobilenetv2", size=64)
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), with_top.get_weights()[:-2], strict=True))
    assert receipt == source.receipt()
