import warnings

import numpy as np
import pytest
from models import aimed, gradients, narrow_vgg, outputs_in_another_process, run

from birdlib.multimodal import encoders

PATCH_DIM, VIEW_DIM, UNITS, DIM = 12, 6, 4, 16
SIZE = encoders.IMAGE_SIZE
BLOCK_5 = ["block5_conv1", "block5_conv2", "block5_conv3"]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def vgg():
    """With its weights restored after each test."""
    weights = narrow_vgg().get_weights()
    yield narrow_vgg()
    narrow_vgg().set_weights(weights)


def audio_encoder(seed=1):
    import keras

    keras.utils.set_random_seed(seed)
    return encoders.audio_encoder(PATCH_DIM, DIM, VIEW_DIM, UNITS)


def image_encoder(vgg, train_from="", seed=2):
    import keras

    keras.utils.set_random_seed(seed)
    return encoders.image_encoder(vgg, train_from, DIM)


def fused_encoder(vgg, train_from=""):
    """With a gate of random weights; an untrained one weighs both alike."""
    encoder = encoders.fused_encoder(image_encoder(vgg, train_from), audio_encoder())
    gate = encoder.get_layer("fusion").gate
    kernel, bias = gate.get_weights()
    gate.set_weights([rng().normal(size=kernel.shape), rng(1).normal(size=bias.shape)])
    return encoder


def sounds(n=3, n_patches=5, seed=0):
    return {
        "embeddings": rng(seed).random((n, n_patches, PATCH_DIM), dtype=np.float32),
        "weights": 0.1 + rng(seed + 1).random((n, n_patches), dtype=np.float32),
    }


def samples(encoder, n=3, seed=0):
    """A photo and a sound each, as the encoder takes them."""
    features = rng(seed).random((n, *encoder.input["image_features"].shape[1:]), dtype=np.float32)
    return {"image_features": features, **sounds(n, seed=seed + 1), "presence": np.ones((n, 2), np.float32)}


def pictures(n=2, seed=0):
    return (255 * rng(seed).random((n, SIZE, SIZE, 3))).astype(np.float32)


def with_presence(arrays, *presence):
    return arrays | {"presence": np.array([presence] * len(arrays["presence"]), np.float32)}


def pad(arrays, n_patches):
    """Patches of weight 0, with something in them, to ``n_patches`` in all."""
    n = n_patches - arrays["weights"].shape[1]
    garbage = 50 * rng(9).normal(size=(len(arrays["weights"]), n, PATCH_DIM)).astype(np.float32)
    return arrays | {
        "embeddings": np.concatenate([arrays["embeddings"], garbage], axis=1),
        "weights": np.pad(arrays["weights"], [(0, 0), (0, n)]),
    }


def are_equal(weights, others):
    return all(np.array_equal(one, other) for one, other in zip(weights, others, strict=True))


# Sounds


@pytest.mark.parametrize("n_patches", [1, 5, 40])
def test_padding_does_not_change_an_embedding(n_patches):
    encoder, arrays = audio_encoder(), sounds(n_patches=n_patches)
    assert np.allclose(run(encoder, arrays), run(encoder, pad(arrays, 44)), atol=1e-5)


def test_order_of_patches_matters_to_the_lstm_and_not_to_the_pooling():
    """Without the dense weights of the LSTM's output, the order has no effect."""
    encoder, arrays = audio_encoder(), sounds()
    reversed_ = {name: array[:, ::-1] for name, array in arrays.items()}
    assert np.abs(run(encoder, arrays) - run(encoder, reversed_)).max() > 1e-3
    dense = encoder.get_layer("audio_dense")
    kernel, bias = dense.get_weights()
    kernel[: 2 * UNITS] = 0.0
    dense.set_weights([kernel, bias])
    assert np.allclose(run(encoder, arrays), run(encoder, reversed_), atol=1e-5)


def test_patch_weights_change_the_embedding():
    """A patch of a hundredth of the weight counts for less."""
    encoder, arrays = audio_encoder(), sounds()
    fainter = arrays | {"weights": arrays["weights"] * np.float32([0.01, 1, 1, 1, 1])}
    assert np.abs(run(encoder, arrays) - run(encoder, fainter)).max() > 1e-3


def test_encoder_of_sounds_only():
    audio = audio_encoder()
    encoder = encoders.fused_encoder(audio=audio)
    assert set(encoder.input) == {"embeddings", "weights"}
    assert np.allclose(np.linalg.norm(run(encoder, sounds()), axis=1), 1.0, atol=1e-5)


# Photos


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


# Both


def test_fused_encoder_needs_photos_or_sounds():
    with pytest.raises(encoders.EncoderError, match="photos or sounds"):
        encoders.fused_encoder()


def test_absent_modality_has_no_influence(vgg):
    encoder = fused_encoder(vgg)
    arrays, others = samples(encoder), samples(encoder, seed=7)
    no_photo, no_sound = with_presence(arrays, 0, 1), with_presence(arrays, 1, 0)
    photos_changed = no_photo | {"image_features": others["image_features"]}
    sounds_changed = no_sound | {name: others[name] for name in ("embeddings", "weights")}
    assert np.allclose(run(encoder, no_photo), run(encoder, photos_changed), atol=1e-6)
    assert np.allclose(run(encoder, no_sound), run(encoder, sounds_changed), atol=1e-6)


def test_single_modality_embeds_as_by_its_own_encoder(vgg):
    encoder, image, audio = fused_encoder(vgg), image_encoder(vgg), audio_encoder()
    arrays = samples(encoder)
    photo = run(image, {"image_features": arrays["image_features"]})
    sound = run(audio, {name: arrays[name] for name in audio.input})
    assert np.allclose(run(encoder, with_presence(arrays, 1, 0)), photo, atol=1e-5)
    assert np.allclose(run(encoder, with_presence(arrays, 0, 1)), sound, atol=1e-5)
    assert np.abs(run(encoder, arrays) - photo).max() > 1e-2
    assert np.abs(run(encoder, arrays) - sound).max() > 1e-2


def test_embedding_does_not_depend_on_the_batch(vgg):
    encoder = fused_encoder(vgg)
    arrays, others = samples(encoder), samples(encoder, seed=7)
    mixed = {name: np.concatenate([array[:1], others[name][1:]]) for name, array in arrays.items()}
    mixed["presence"][1:] = [[0, 1], [1, 0]]
    assert np.allclose(run(encoder, arrays)[0], run(encoder, mixed)[0], atol=1e-6)
    assert np.allclose(run(encoder, {name: array[:1] for name, array in arrays.items()}), run(encoder, mixed)[0])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"], indirect=True)
@pytest.mark.parametrize("train_from", ["", "block5_conv1"])
def test_embeddings_have_unit_length_in_float32_at_any_precision(precision, train_from):
    """Feature maps of hundreds, as VGG16 has them, have squares that float16 does not hold."""
    import keras

    keras.utils.set_random_seed(0)
    weights = narrow_vgg().get_weights()
    vgg = keras.models.clone_model(
        narrow_vgg(),
        clone_function=lambda layer: layer.__class__.from_config(layer.get_config() | {"dtype": precision}),
    )
    vgg.set_weights(weights)
    encoder = fused_encoder(vgg, train_from)
    arrays = samples(encoder)
    arrays["image_features"] *= 500
    for presence in [(1, 1), (1, 0), (0, 1)]:
        embedded = run(encoder, with_presence(arrays, *presence))
        assert embedded.dtype == np.float32
        assert np.allclose(np.linalg.norm(embedded, axis=1), 1.0, atol=1e-5)
    silent = with_presence(arrays, 1, 0) | {"embeddings": np.zeros_like(arrays["embeddings"])}
    assert all(np.isfinite(slope).all() for slope in gradients(encoder, silent, aimed).values())


@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_pooled_pictures_do_not_overflow_in_half_precision(vgg, precision):
    """The sum of squares of 512 maps of some hundreds is infinite in float16, and a picture over infinity is zero."""
    import keras

    maps = keras.Input((7, 7, 512))
    pooled = run(keras.Model(maps, encoders._pool_picture(maps)), np.full((1, 7, 7, 512), 300, np.float32))
    assert np.linalg.norm(pooled.astype(np.float32)) == pytest.approx(np.sqrt(2), abs=0.01)


@pytest.mark.parametrize("train_from", ["", "block5_conv1"])
@pytest.mark.parametrize("presence", [(1, 0), (0, 1), (1, 1)])
def test_gradients_are_finite_with_absent_modalities(vgg, train_from, presence):
    """An absent modality is zeros, and the length of a zero vector has no gradient of its own."""
    encoder = fused_encoder(vgg, train_from)
    for layer in vgg.layers:
        if layer.weights:
            layer.set_weights([layer.get_weights()[0], np.zeros(layer.filters)])
    arrays = with_presence(samples(encoder), *presence)
    if not presence[0]:
        arrays["image_features"][:] = 0.0
    if not presence[1]:
        arrays["embeddings"][:], arrays["weights"][:] = 0.0, [1, 0, 0, 0, 0]
    found = gradients(encoder, arrays, aimed).values()
    assert all(np.isfinite(slope).all() for slope in found)
    assert max(np.abs(slope).max() for slope in found) > 0


def test_absent_modality_gets_no_gradient(vgg):
    encoder = fused_encoder(vgg)
    found = gradients(encoder, with_presence(samples(encoder), 1, 0), aimed)
    of_sounds = [slope for path, slope in found.items() if "lstm" in path or "audio" in path]
    assert len(of_sounds) == 8 and not any(np.abs(slope).max() for slope in of_sounds)


def test_models_are_built_called_and_trained_without_a_warning(vgg):
    """Keras warns when a dict does not have the structure that it expects."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        encoder = fused_encoder(vgg, "block5_conv1")
        whole = encoders.with_images(encoders.frozen_vgg16(vgg, "block5_conv1"), encoder)
        arrays = samples(encoder, 4)
        run(encoder, arrays)
        encoder.compile("adam", loss="mse")
        before = encoder.get_weights()
        losses = encoder.fit(arrays, np.ones((4, DIM), np.float32), batch_size=2, epochs=2, verbose=0).history["loss"]
        arrays.pop("image_features")
        run(whole, arrays | {"image": pictures(4)})
    assert np.isfinite(losses).all()
    assert not are_equal(before, encoder.get_weights())


def test_saved_encoder_predicts_the_same_in_another_process(vgg, tmp_path):
    whole = encoders.with_images(encoders.frozen_vgg16(vgg), fused_encoder(vgg, "block5_conv1"))
    arrays = {"image": pictures(), **sounds(2), "presence": np.array([[1, 1], [1, 0]], np.float32)}
    (said,) = outputs_in_another_process(encoders, [whole], arrays, tmp_path)
    assert np.allclose(said, run(whole, arrays), atol=1e-5)
