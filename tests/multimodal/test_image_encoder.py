"""The encoder of photos: VGG16, its frozen part and its trained part."""

import numpy as np
import pytest
from made_encoders import DIM, are_equal, fused_encoder, image_encoder, pictures, samples
from models import narrow_vgg, run

from birdlib.multimodal import encoders

BLOCK_5 = ["block5_conv1", "block5_conv2", "block5_conv3"]


@pytest.mark.parametrize("train_from", ["", "block5_conv1", "block1_conv2", "block1_conv1"])
def test_frozen_vgg16_equals_keras_vgg16(vgg, train_from):
    """Keras' own preprocessing, in BGR, and network; what is trained is left out, or all is pooled by mean and maximum."""
    import keras

    images = pictures()
    computed = run(encoders.frozen_vgg16(vgg, train_from), images)
    names = [layer.name for layer in vgg.layers]
    last = vgg.layers[names.index(train_from) - 1 if train_from else -1]  # of block1_conv1: the input
    blue_first = keras.applications.vgg16.preprocess_input(images.copy())
    expected = run(keras.Model(vgg.input, last.output), blue_first)
    if not train_from:
        pools = [expected.mean(axis=(1, 2)), expected.max(axis=(1, 2))]
        expected = np.concatenate([pool / np.linalg.norm(pool, axis=1, keepdims=True) for pool in pools], axis=1)
        assert computed.shape == (2, 2 * 512 // 16)
    assert np.abs(expected).max() > 0
    assert np.allclose(computed, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_colour_channels_are_not_interchangeable(vgg):
    frozen, images = encoders.frozen_vgg16(vgg, "block1_conv2"), pictures()
    assert not np.allclose(run(frozen, images), run(frozen, images[..., ::-1]), rtol=0.01)


def test_training_from_block_5_changes_its_three_convolutions_only(vgg):
    """The stored features of a photo stay valid: the layers that computed them are unchanged."""
    import keras

    frozen, encoder = encoders.frozen_vgg16(vgg), image_encoder(vgg, "block5_conv1")
    trainable = [layer.name for layer in encoder.layers if layer.trainable_variables]
    assert trainable == [*BLOCK_5, "image_dense"] and not frozen.trainable_variables
    model = keras.Model(encoder.input, encoder.output)
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    before = {layer.name: layer.get_weights() for layer in vgg.layers}, frozen.get_weights()
    features = run(frozen, pictures(4))
    model.fit({"image_features": features}, np.ones((4, DIM), np.float32), epochs=1, verbose=0)
    moved = [layer.name for layer in vgg.layers if not are_equal(layer.get_weights(), before[0][layer.name])]
    assert moved == BLOCK_5
    assert are_equal(frozen.get_weights(), before[1])


CONVOLUTIONS = [layer.name for layer in narrow_vgg().layers if "conv" in layer.name]


@pytest.mark.parametrize(
    "train_from", [pytest.param(name, marks=[pytest.mark.slow] * (name != "block3_conv1")) for name in CONVOLUTIONS]
)
def test_training_may_begin_at_any_convolution_and_the_encoder_is_saved_as_it_is(vgg, train_from, tmp_path):
    """Those before are as they were, all from there on are trained; pictures embed as their stored features, also when loaded again."""
    import keras

    frozen, encoder = encoders.frozen_vgg16(vgg, train_from), fused_encoder(vgg, train_from)
    before, frozen_before = {name: vgg.get_layer(name).get_weights() for name in CONVOLUTIONS}, frozen.get_weights()
    arrays, images = samples(encoder, 2), pictures()
    arrays["image_features"] = run(frozen, images)
    encoder.compile(keras.optimizers.SGD(0.1), loss="mse")
    encoder.fit(arrays, np.ones((2, DIM), np.float32), epochs=1, verbose=0)
    moved = [name for name in CONVOLUTIONS if not are_equal(vgg.get_layer(name).get_weights(), before[name])]
    assert moved == CONVOLUTIONS[CONVOLUTIONS.index(train_from) :] and are_equal(frozen.get_weights(), frozen_before)
    kept, of_pictures = run(encoder, arrays), {**arrays, "image": images}
    whole = encoders.with_images(frozen, encoder)
    whole.save(tmp_path / "whole.keras")
    for model in (whole, encoders.load(tmp_path / "whole.keras")):
        assert np.allclose(run(model, {name: of_pictures[name] for name in model.input}), kept, atol=1e-5)


def test_with_vgg16_frozen_only_the_dense_layer_trains(vgg):
    encoder = image_encoder(vgg)
    assert [variable.path.split("/")[-2] for variable in encoder.trainable_variables] == ["image_dense"] * 2


@pytest.mark.parametrize("train_from", ["", "block5_conv1", "block4_conv2"])
def test_pictures_embed_as_their_stored_features(vgg, train_from):
    frozen, encoder = encoders.frozen_vgg16(vgg, train_from), fused_encoder(vgg, train_from)
    images = pictures()
    arrays = samples(encoder, 2)
    kept = run(encoder, arrays | {"image_features": run(frozen, images)})
    arrays.pop("image_features")
    assert np.allclose(run(encoders.with_images(frozen, encoder), arrays | {"image": images}), kept, atol=1e-5)


def test_encoder_of_photos_only(vgg):
    encoder = encoders.fused_encoder(image_encoder(vgg))
    whole = encoders.with_images(encoders.frozen_vgg16(vgg, ""), encoder)
    assert set(encoder.input) == {"image_features"} and set(whole.input) == {"image"}
    assert np.allclose(np.linalg.norm(run(whole, {"image": pictures()}), axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("train_from", ["block9", "block5_pool", "image_features"])
def test_invalid_train_from_is_refused_with_the_choices(vgg, train_from):
    for build in (encoders.frozen_vgg16, encoders.image_encoder):
        with pytest.raises(encoders.EncoderError, match=r"'' \(nothing\) or one of block1_conv1, .*block5_conv3"):
            build(vgg, train_from)


@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_pooled_pictures_do_not_overflow_in_half_precision(vgg, precision):
    """The sum of squares of 512 maps of some hundreds is infinite in float16, and a picture over infinity is zero."""
    import keras

    maps = keras.Input((7, 7, 512))
    pooled = run(keras.Model(maps, encoders._pool_picture(maps)), np.full((1, 7, 7, 512), 300, np.float32))
    assert np.linalg.norm(pooled.astype(np.float32)) == pytest.approx(np.sqrt(2), abs=0.01)
