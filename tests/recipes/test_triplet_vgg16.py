"""The recipe triplet-vgg16: every number of its table is used by the layers, losses and functions of a run on tones and coloured pictures."""

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import spying
from models import narrow_vgg
from PIL import Image

from birdlib.losses import metric_learning
from birdlib.models import vgg16
from birdlib.multimodal import encoders, pairs
from birdlib.pipeline import recipes

RECIPE, EPOCHS, RATE_HZ = "triplet-vgg16", 4, 32_000
WATCHED = [
    "resampy.resample", "keras.Model.fit", "birdlib.audio.cleaning.clean_recording", "birdlib.checkpoints.BestEpoch",
    "birdlib.multimodal.triplet_batches.similar_triplets", "birdlib.multimodal.triplet_training.fit",
]  # fmt: skip
FROZEN = [f"block{block}_conv{conv}" for block, last in ((1, 2), (2, 2), (3, 3), (4, 3)) for conv in range(1, last + 1)]
TRAINED = ["block5_conv1", "block5_conv2", "block5_conv3"]


def make_manifest(folder, n_each=6):
    """Four synthetic species: trills of 7 s about a pitch, and noisy pictures with a square of a colour; species overlap."""
    rng, rows, time_s = np.random.default_rng(0), [], np.arange(7 * RATE_HZ) / RATE_HZ
    for number, name in enumerate(("crow", "gull", "jay", "wren")):
        for i in range(n_each):
            pitch_hz, trill_hz = 1_500 + 300 * number + rng.normal(0, 300), 3 + number + rng.normal(0, 1)
            song = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * (np.sin(2 * np.pi * trill_hz * time_s) > 0)
            soundfile.write(folder / f"{name}{i}.wav", song + rng.uniform(0.01, 0.1) * rng.standard_normal(len(time_s)), RATE_HZ)
            image = rng.integers(0, 200, (240, 320, 3), np.uint8)
            image[60:180, 20 * i : 100 + 20 * i, number % 3] = rng.integers(150, 255)
            Image.fromarray(image).save(folder / f"{name}{i}.png")
            rows.append({"recording_id": f"sound-{name}{i}", "species": name, "audio_path": f"{name}{i}.wav", "image_path": ""})
            rows.append({"recording_id": f"photo-{name}{i}", "species": name, "audio_path": "", "image_path": f"{name}{i}.png"})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, folder of stage 04) of the recipe, with a VGG16 of a sixteenth of the feature maps."""
    folder = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(vgg16, "load", lambda source: _copy(narrow_vgg()))
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        given = {"manifest": make_manifest(folder), "epochs": EPOCHS, "n_jobs": 1}
        receipts = spying.run(monkeypatch, RECIPE, folder / "outputs", **given)
    assert list(receipts) == ["01_split", "02_clean", "03_embed", "04_triplet"]
    return spy, folder / "outputs" / "04_triplet"


def _copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def trained(spy):
    """(model, config of the optimizer, loss) of the training."""
    [compiled] = [one for one in spy.compiled if one[0].output_shape == (None, 128)]
    return compiled


def first_batch(spy):
    """(batches, inputs, labels) of the training."""
    [(_, data)] = [arguments for arguments, _ in spy.calls["keras.Model.fit"]]
    return data, *data[0]


def test_the_frozen_layers_are_the_first_fifteen_of_keras():
    """``base_model.layers[:15]`` of the published code: the input, blocks 1 to 4 and their pools."""
    train_from = recipes.load(RECIPE).values("04_triplet")["train_from"]
    names = [layer.name for layer in narrow_vgg().layers]
    assert names.index(train_from) == 15
    assert [layer.name for layer in encoders.frozen_vgg16(narrow_vgg(), train_from).layers if "conv" in layer.name] == FROZEN


@pytest.mark.slow
def test_sounds_are_kept_whole_and_resampled_by_resampy(ran):
    spy, _ = ran
    cleaned = [options for _, options in spy.calls["birdlib.audio.cleaning.clean_recording"]]
    assert len(cleaned) == 24 and all(options["policy"] == "keep" and options["denoise"] == "none" for options in cleaned)
    resampled = [(arguments[1:], options) for arguments, options in spy.calls["resampy.resample"]]
    assert len(resampled) >= 24 and all(one == ((RATE_HZ, 16_000), {"filter": "kaiser_best"}) for one in resampled)


@pytest.mark.slow
def test_vgg16_is_trained_from_its_fifth_block_and_frozen_before(ran):
    spy, folder = ran
    model, _, _ = trained(spy)
    assert [layer.name for layer in model.layers if "conv" in layer.name] == TRAINED
    assert all(model.get_layer(name).trainable for name in TRAINED)
    saved = {layer.name: layer for part in encoders.load(folder / "fused_encoder.keras").layers for layer in getattr(part, "layers", [part])}
    for name in FROZEN + TRAINED:
        kernel, was = saved[name].get_weights()[0], narrow_vgg().get_layer(name).get_weights()[0]
        was = was[:, :, ::-1] if name == "block1_conv1" else was  # the saved encoder takes RGB
        assert np.array_equal(kernel, was) == (name in FROZEN), name


@pytest.mark.slow
def test_the_network_is_the_published_one(ran):
    spy, _ = ran
    model, _, _ = trained(spy)
    dense = {layer.name: (layer.units, layer.activation is keras.activations.relu) for layer in model.layers if isinstance(layer, keras.layers.Dense)}
    assert dense == {"image_dense": (512, True), "audio_dense": (256, True), "fusion_dense": (256, True), "fused_dense": (128, False)}
    lstms = [layer for layer in spy.of(keras.layers.LSTM) if layer.units]
    assert {layer.units for layer in lstms} == {128} and model.get_layer("bilstm").forward_layer.units == 128
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.0}
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == 1


@pytest.mark.slow
def test_batches_have_eight_triplets_of_other_samples_as_they_are(ran):
    """Ten patches of 1,024 numbers, the photo not mirrored, and nobody loses a photo or a sound."""
    spy, _ = ran
    data, inputs, labels = first_batch(spy)
    library = spy.calls["birdlib.multimodal.triplet_training.fit"][0][0][1]
    assert inputs["embeddings"].shape == (24, 10, 1024) and (inputs["weights"] > 0).all() and (inputs["presence"] == 1).all()
    anchor, positive, negative = labels[0::3], labels[1::3], labels[2::3]
    assert (anchor[:, 0] == positive[:, 0]).all() and (anchor[:, 0] != negative[:, 0]).all()
    assert (anchor[:, 1:] != positive[:, 1:]).all()
    again, _ = data[0]
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    as_it_is = [library.photo_features(row, 0) for row in range(len(library.photos))]
    assert all(any(np.array_equal(one, shown) for shown in as_it_is) for one in inputs["image_features"])
    assert not all(np.array_equal(library.photo_features(row, 1), shown) for row, shown in enumerate(as_it_is))


@pytest.mark.slow
def test_triplets_are_drawn_once_a_hundred_a_species_with_negatives_that_sound_alike(ran):
    """Three of four species are trained on; a triplet whose negative has a lower cosine than .6 is dropped."""
    spy, _ = ran
    [(arguments, _)] = spy.calls["birdlib.multimodal.triplet_batches.similar_triplets"]
    library, _, n_each, min_cosine, _ = arguments
    assert (n_each, min_cosine) == (100, 0.6)
    data, _, _ = first_batch(spy)
    assert 0 < len(data.triplets) <= 300 and spy.fits[0]["epochs"] == EPOCHS
    sounds = data.pool["sound"].to_numpy()[data.triplets]
    windows = [pairs.window(library.weights, first, last, 10) for first, last in zip(library.sounds["first"], library.sounds["last"], strict=True)]
    means = np.stack([library.embeddings[first:last].mean(axis=0) for first, last in windows])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", means[sounds[:, 0]], means[sounds[:, 2]]).min() >= 0.6


@pytest.mark.slow
def test_the_loss_and_the_optimizer_are_the_published_ones(ran):
    """Adam is AdamW without weight decay; a margin of .5 in squared Euclidean distance is one of .25 in cosine distance."""
    spy, _ = ran
    _, optimizer, loss = trained(spy)
    assert isinstance(loss, metric_learning.Triplet) and loss.options == {"margin": 0.25}
    assert optimizer["name"] == "adam_w" and optimizer["learning_rate"] == pytest.approx(1e-4)
    assert optimizer["weight_decay"] == 0 and not any(optimizer[name] for name in ("clipnorm", "clipvalue", "global_clipnorm"))
    [((_, patience), _)] = spy.calls["birdlib.checkpoints.BestEpoch"]
    assert patience == 10


@pytest.mark.slow
def test_the_history_has_the_metrics_of_the_training(ran):
    _, folder = ran
    history = pd.read_parquet(folder / "history.parquet")
    assert len(history) == EPOCHS and np.isfinite(history[["loss", "spread", "active_share", "validation_map_at_r"]]).all(axis=None)
    assert set(history["mining"]) == {"triplet_similar"} and (history["loss"] > 0).any()
