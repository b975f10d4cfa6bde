"""Networks on waveforms for the recordings of tones, see ``tone_recordings``."""

import numpy as np
import pytest
import tone_recordings
from tiny_mae import SIZE

from birdlib.audio import spec_augment
from birdlib.models import mae, mae_checkpoints, weights
from birdlib.species import dataset, experiments, mae_pretraining, train_waveforms, waveform_networks

PLAIN = {"encoder": "mel_cnn", "loss": "cross_entropy", "soundscapes": False, "mixup": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return dataset.load(tone_recordings.make(tmp_path_factory.mktemp("outputs")), "single")


def built(data, folder, encoder, **options):
    folder.mkdir(exist_ok=True)
    options = train_waveforms.Options(**{"augmentation": "none"} | options)
    return waveform_networks.build(PLAIN | {"encoder": encoder}, data, folder, np.random.default_rng(0), options)


def masks_of(model):
    return [layer.numbers for layer in model.get_layer("body").layers if isinstance(layer, spec_augment.SpecAugment)]


@pytest.mark.parametrize("encoder", ["mel_cnn", "mae"])
def test_masks_are_in_the_network_where_they_are_named(data, tmp_path, monkeypatch, encoder):
    monkeypatch.setattr(mae_pretraining, "pretrain", lambda *_, **__: mae.build_encoder(SIZE))
    [numbers] = masks_of(built(data, tmp_path, encoder, augmentation="spec_augment=0.8", masks="1x20,1x16").model)
    assert numbers | {"n_time_masks": 1, "longest_frames": 20, "n_band_masks": 1, "widest_bands": 16, "probability": 0.8} == numbers
    assert not masks_of(built(data, tmp_path, encoder, augmentation="shift").model)


@pytest.mark.parametrize(
    ("training", "is_published", "is_frozen", "rate"),
    [("auto", True, True, 2e-3), ("auto", False, False, 2e-3), ("probe", False, True, 2e-3), ("finetune", True, False, 3e-4)],
)
def test_bird_mae_is_probed_or_fine_tuned(data, tmp_path, monkeypatch, training, is_published, is_frozen, rate):
    source = weights.Source("bird_mae", tmp_path / "model.safetensors", "made", "abc", "none", "safetensors")
    monkeypatch.setattr(waveform_networks, "published_weights", lambda *_: source if is_published else None)
    monkeypatch.setattr(mae_checkpoints, "load", lambda _: mae.build_encoder(SIZE))
    monkeypatch.setattr(mae_pretraining, "pretrain", lambda *_, **__: mae.build_encoder(SIZE))
    network = built(data, tmp_path, "mae_base" if is_published else "mae", mae_training=training)
    encoder = network.model.get_layer("body").get_layer("mae_encoder")
    assert encoder.trainable != is_frozen and bool(encoder.trainable_variables) != is_frozen
    assert network.learning_rate == pytest.approx(rate)


def test_trainings_share_a_pretrained_encoder_and_start_alike(data, tmp_path, monkeypatch):
    """With other numbers of pretraining there is another; what is left of them is removed with stale trainings."""
    pretrained = []
    monkeypatch.setattr(mae, "build_encoder", lambda _, build=mae.build_encoder: build(SIZE))
    monkeypatch.setattr(mae, "build_pretrainer", lambda encoder, _, build=mae.build_pretrainer: build(encoder, SIZE))
    monkeypatch.setattr(mae_pretraining, "fit", lambda *_, **__: pretrained.append("pretraining"))
    monkeypatch.setattr(mae_pretraining, "_save_reconstructions", lambda _, __, path, ___: path.write_bytes(b"made"))
    found = []
    for name, epochs, n_pretrained in (("a", 1, 1), ("b", 1, 1), ("c", 2, 2)):
        found.append(built(data, tmp_path / name, "mae", mae_clips=3, mae_epochs=epochs).model.get_weights())
        assert len(pretrained) == n_pretrained and (tmp_path / name / mae_pretraining.RECONSTRUCTIONS).read_bytes() == b"made"
    assert all(np.array_equal(x, y) for x, y in zip(found[0], found[1], strict=True))
    experiments.remove_stale(tmp_path, {})
    assert not list(tmp_path.glob("pretraining_*"))
