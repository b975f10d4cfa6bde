"""The encoder of photos and sounds together."""

import warnings

import numpy as np
import pytest
from made_encoders import (
    DIM,
    are_equal,
    audio_encoder,
    fused_encoder,
    image_encoder,
    pictures,
    samples,
    sounds,
    with_presence,
)
from models import aimed, gradients, narrow_vgg, outputs_in_another_process, run

from birdlib.multimodal import encoders


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
