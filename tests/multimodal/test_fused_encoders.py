"""The published network, and the choice of a fusion by name."""

import keras
import numpy as np
import pytest
from made_encoders import with_presence
from models import aimed, gradients, outputs_in_another_process, run

from birdlib.multimodal import encoders, fused_encoders

PATCH_DIM, UNITS = 12, 5


def build(fusion="dense", vgg=None, patch_dim=PATCH_DIM, **options):
    keras.utils.set_random_seed(0)
    return fused_encoders.build(fusion, vgg, patch_dim, lstm_units=UNITS, **options)


def arrays_of(encoder, n=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {name: [n, *(6 if size is None else size for size in x.shape[1:])] for name, x in encoder.input.items()}
    arrays = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    return with_presence(arrays, 1, 1) if "presence" in arrays else arrays


def test_the_published_network_has_its_layers_in_their_order(vgg):
    """Average of the last maps → 512; BiLSTM's last state → 256; side by side → 256, batch normalization, 128, unit length."""
    encoder = build(vgg=vgg, train_from="block5_conv1", dropout=0.0)
    units = {layer.name: layer.units for layer in encoder.layers if isinstance(layer, keras.layers.Dense)}
    assert units == {"image_dense": 512, "audio_dense": 256, "fusion_dense": 256, "fused_dense": 128}
    relu = [layer.name for layer in encoder.layers if isinstance(layer, keras.layers.Dense) and layer.activation is keras.activations.relu]
    assert sorted(relu) == ["audio_dense", "fusion_dense", "image_dense"]
    lstm = encoder.get_layer("bilstm")
    assert lstm.forward_layer.units == UNITS and not lstm.forward_layer.return_sequences
    assert encoder.get_layer("fusion").output.shape == (None, 768) and encoder.output_shape == (None, 128)
    names = [layer.name for layer in encoder.layers]
    order = ["block5_pool", "image_average", "image_dense", "fusion", "fusion_dense", "fusion_normalization", "fused_dense", "fused_embedding"]
    assert sorted(order, key=names.index) == order
    embedded = run(encoder, arrays_of(encoder))
    assert np.allclose(np.linalg.norm(embedded, axis=1), 1.0, atol=1e-5)


def test_an_absent_modality_and_padding_have_no_influence(vgg):
    encoder = build(vgg=vgg)
    arrays, others = arrays_of(encoder), arrays_of(encoder, seed=7)
    for presence, names in (((0, 1), ["image_features"]), ((1, 0), ["embeddings", "weights"])):
        one = with_presence(arrays, *presence)
        assert np.allclose(run(encoder, one), run(encoder, one | {name: others[name] for name in names}), atol=1e-6)
        assert np.abs(run(encoder, one) - run(encoder, arrays)).max() > 1e-3
    padded = arrays | {
        "embeddings": np.concatenate([arrays["embeddings"], 9 * others["embeddings"]], axis=1),
        "weights": np.pad(arrays["weights"], [(0, 0), (0, 6)]),
    }
    assert np.allclose(run(encoder, arrays), run(encoder, padded), atol=1e-5)


def test_every_part_of_the_published_network_is_trained(vgg):
    encoder = build(vgg=vgg, train_from="block5_conv1", dropout=0.0)
    found = gradients(encoder, arrays_of(encoder), aimed)
    assert all(np.isfinite(slope).all() and np.abs(slope).max() > 0 for path, slope in found.items() if "bias" not in path)
    assert sum("block5" in path and "kernel" in path for path in found) == 3


def test_a_single_modality_goes_without_the_other(vgg):
    sounds, photos = build(), build(vgg=vgg, patch_dim=0)
    assert set(sounds.input) == {"embeddings", "weights"} and set(photos.input) == {"image_features"}
    for encoder in (sounds, photos):
        assert np.allclose(np.linalg.norm(run(encoder, arrays_of(encoder)), axis=1), 1.0, atol=1e-5)


def test_the_gate_is_the_suites_own_encoder(vgg):
    """The same layers in the same order, so that a seed gives the same weights."""
    encoder = build("gate", vgg, 1024)
    keras.utils.set_random_seed(0)
    image, audio = encoders.image_encoder(vgg, "", dropout=0.3), encoders.audio_encoder(1024, units=UNITS, dropout=0.3)
    expected = encoders.fused_encoder(image, audio)
    assert set(encoder.input) == set(expected.input)
    assert all(np.array_equal(one, other) for one, other in zip(encoder.get_weights(), expected.get_weights(), strict=True))


def test_what_cannot_be_built_is_refused(vgg):
    with pytest.raises(fused_encoders.FusionError, match="choose gate or dense"):
        build("sum", vgg)
    for fusion in fused_encoders.FUSIONS:
        with pytest.raises(encoders.EncoderError, match="photos or sounds"):
            build(fusion, patch_dim=0)


@pytest.mark.slow
def test_the_saved_published_network_predicts_the_same_in_another_process(vgg, tmp_path):
    whole = encoders.with_images(encoders.frozen_vgg16(vgg, "block5_conv1"), build(vgg=vgg, train_from="block5_conv1"))
    arrays = {"image": (255 * np.random.default_rng(0).random((2, 224, 224, 3))).astype(np.float32)}
    arrays |= {"embeddings": np.random.default_rng(1).random((2, 6, PATCH_DIM), dtype=np.float32), "weights": np.ones((2, 6), np.float32)}
    arrays["presence"] = np.array([[1, 1], [1, 0]], np.float32)
    (said,) = outputs_in_another_process(encoders, [whole], arrays, tmp_path)
    assert np.allclose(said, run(whole, arrays), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"fusion": "late"}, {"lstm_units": 0}, {"dropout": 1.0}, {"dropout": float("nan")}, {"n_patches": -3}])
def test_wrong_encoders_are_refused_by_the_parameter(wrong):
    with pytest.raises(fused_encoders.FusionError, match=f"{next(iter(wrong))} is "):
        fused_encoders.require(**{"fusion": "gate"} | wrong)
