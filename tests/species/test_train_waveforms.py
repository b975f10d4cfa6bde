"""Trainings of networks on waveforms of tones, see ``tone_recordings``."""

import os

import numpy as np
import pandas as pd
import pytest
import tone_recordings
from tiny_mae import SIZE
from tone_recordings import RATE_HZ

from birdlib import runtime
from birdlib.audio import augment
from birdlib.losses import classification as losses
from birdlib.models import mae, weights
from birdlib.species import (
    ablation,
    classifiers,
    dataset,
    experiments,
    inference,
    mae_pretraining,
    mel_training,
    train_waveforms,
)

PLAIN = {"encoder": "mel_cnn", "loss": "cross_entropy", "soundscapes": False, "mixup": False}
OPTIONS = {"seed": 0, "mel_epochs": 2, "mel_steps": 2, "mel_batch": 4, "augmentation": "none"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return dataset.load(tone_recordings.make(tmp_path_factory.mktemp("outputs")), "single")


def test_heads_of_mel_models_and_bird_mae_are_parsed_and_others_refused():
    assert train_waveforms.parse_heads(" sed, linear") == {"mel_head": "sed", "mae_head": "linear"}
    for text in ("sed", "mlp,pooled", "sed,mlp,linear", "used,mlp", ""):
        with pytest.raises(train_waveforms.WaveTrainingError, match="of mel models one of pooled, sed.*, then one of linear, mlp, attentive, prototypical"):
            train_waveforms.parse_heads(text)


class Stop(Exception):
    """Ends a training in a test."""


def begun(monkeypatch, data, folder, change=(), **options):
    """A training up to its first epoch: the model, its batches, and the arguments of ``mel_training.fit``."""
    caught = {}

    def fit(model, batches, *_, **arguments):
        caught.update(model=model, batches=batches, **arguments)
        raise Stop

    monkeypatch.setattr(mel_training, "fit", fit)
    monkeypatch.setattr(mae_pretraining, "pretrain", lambda *_, **__: mae.build_encoder(SIZE))
    with pytest.raises(Stop):
        experiments.run(PLAIN | dict(change), data, folder, {}, **OPTIONS | options)
    return caught


def preprocessing_of(monkeypatch, data, folder, change=(), **options):
    """What is saved about the input of a model that was trained for no epoch."""
    monkeypatch.setattr(mel_training, "fit", lambda *_, **__: pd.DataFrame({"epoch": [1]}))
    monkeypatch.setattr(mae_pretraining, "pretrain", lambda *_, **__: mae.build_encoder(SIZE))
    experiments.run(PLAIN | dict(change), data, folder, {}, **OPTIONS | options)
    return runtime.read_json(folder / "preprocessing.json")


# Augmentation


def test_what_was_applied_is_saved_with_the_model(data, tmp_path, monkeypatch):
    """The spectrogram of a mel model is the same at any level, that of Bird-MAE is not."""
    options = {"augmentation": "volume=0.4,spec_augment,cutmix", "masks": "1x20,2x10%"}
    with pytest.warns(UserWarning, match="volume is left out: the spectrogram of this network is relative to its loudest point"):
        saved = preprocessing_of(monkeypatch, data, tmp_path / "mel", **options)
    assert saved["augmentation"] == {"spec_augment": 1.0} and saved["masks"] == augment.parse_masks("1x20,2x10%")
    assert set(saved["left_out"]) == {"volume", "cutmix"}
    saved = preprocessing_of(monkeypatch, data, tmp_path / "mae", {"encoder": "mae", "mixup": True}, **options)
    assert saved["augmentation"] == {"volume": 0.4, "cutmix": 0.2, "spec_augment": 1.0} and saved["left_out"] == {}
    saved = preprocessing_of(monkeypatch, data, tmp_path / "none")
    assert saved["augmentation"] == {} and "masks" not in saved


# Losses and encoders


@pytest.mark.parametrize("encoder", ["mel_cnn", "mae"])
def test_the_loss_of_a_configuration_trains_networks_on_waveforms(data, tmp_path, monkeypatch, encoder):
    caught = begun(monkeypatch, data, tmp_path, {"encoder": encoder, "loss": "asymmetric"})
    assert isinstance(caught["loss"], losses.AsymmetricLoss)
    assert caught["loss"].options | {"positive_focus": 0.0, "negative_focus": 5.0, "clip": 0.05} == caught["loss"].options
    assert (caught["model"].predict(np.zeros((1, 160_000), np.float32), verbose=0) < 1).all()  # sigmoid: species do not compete


def test_without_published_weights_a_tiny_bird_mae_is_pretrained_and_noted(data, tmp_path, monkeypatch):
    def fetch(name, folder):
        raise weights.MissingWeightsError(f"{name} cannot be had")

    monkeypatch.setattr(weights, "fetch", fetch)
    change, options = {"encoder": "mae_base"}, {"precision": "float32"} | OPTIONS
    assert experiments.key(PLAIN | change, data, {}, **options) != experiments.key(PLAIN | {"encoder": "mae"}, data, {}, **options)
    saved = preprocessing_of(monkeypatch, data, tmp_path, change)
    record = runtime.read_json(tmp_path / "training.json")
    assert saved["note"] == record["note"] == "the weights bird_mae cannot be had: a tiny encoder was pretrained on these recordings instead"
    assert record["weights"] == {} and "note" not in preprocessing_of(monkeypatch, data, tmp_path / "mae", {"encoder": "mae"})
    scape = str(data.outputs_dir / "recordings" / "train_soundscapes" / "scape.flac")
    assert train_waveforms.background_segments(PLAIN | change, data, "none")["path"].tolist() == [scape]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"augmentation": "echo"}, "echo is unknown"), ({"masks": "20"}, "masks are '20'"), ({"mae_training": "freeze"}, "choose one of auto, probe, finetune"),
     ({"mel_steps": 0}, "mel_steps is 0"), ({"distillation": float("nan")}, "not negative"), ({"hidden": "abc"}, "hidden is 'abc'")],
)
def test_wrong_options_are_refused_before_the_first_training(data, tmp_path, wrong, message):
    rows = [ablation.Row("encoder", "yamnet", PLAIN | {"encoder": "yamnet"})]
    with pytest.raises(runtime.BirdlibError, match=message):
        experiments.run_rows(rows, data=data, folder=tmp_path, inputs={}, precision="float32", **OPTIONS | wrong)
    assert not list(tmp_path.iterdir())


def test_key_changes_with_masks_and_the_training_of_bird_mae(data):
    options = {"precision": "float32"} | OPTIONS
    keys = [experiments.key(PLAIN | {"encoder": "mae"}, data, {}, **options | more) for more in ({}, {"masks": "1x20,1x20"}, {"mae_training": "probe"})]
    assert len(set(keys)) == 3


def test_key_changes_with_the_background_files(data):
    scape = data.outputs_dir / "recordings" / "train_soundscapes" / "scape.flac"

    def keys():
        cases = [("mel_cnn", "none"), ("mel_cnn", "background"), ("mae", "none")]
        options = {"precision": "float32"} | OPTIONS
        return [experiments.key(PLAIN | {"encoder": name}, data, {}, **options | {"augmentation": switch}) for name, switch in cases]

    before, time_ns = keys(), scape.stat().st_mtime_ns
    os.utime(scape, ns=(time_ns, time_ns + 1_000_000))
    after = keys()
    assert before[0] == after[0] and before[1] != after[1] and before[2] != after[2]


def test_bird_mae_pretraining_is_bounded_and_resumes_with_the_same_random_numbers(data, tmp_path, monkeypatch):
    """Killed in pretraining, and then in training."""
    pretrained, trained = [], []

    def pretrain(_, spectrograms, *, rng, **__):
        pretrained.append((len(spectrograms), int(rng.integers(1000))))
        if len(pretrained) == 1:
            raise Stop

    def fit(_, batches, *__, **___):
        trained.append(batches.seed)
        raise Stop

    monkeypatch.setattr(mae_pretraining, "fit", pretrain)
    monkeypatch.setattr(mae_pretraining, "_save_reconstructions", lambda *_: None)
    monkeypatch.setattr(mel_training, "fit", fit)
    for _ in range(3):
        with pytest.raises(Stop):
            experiments.run(PLAIN | {"encoder": "mae"}, data, tmp_path / "training", {}, **OPTIONS, mae_clips=3)
    assert pretrained[0] == pretrained[1] and pretrained[0][0] == 3 and len(pretrained) == 2
    assert trained[0] == trained[1]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"encoder": "mel_cnn", "soundscapes": True, "mixup": True}, {"encoder": "mae", "loss": "asymmetric"}])
def test_waveform_network_is_saved_as_a_member_that_predicts(data, tmp_path, change):
    folder = tmp_path / "training"
    experiments.run(PLAIN | change, data, folder, {}, **OPTIONS | {"augmentation": "all,by_rarity", "mel_head": "sed"}, mae_epochs=1)
    (tmp_path / "members").mkdir()
    result = ablation.Result(ablation.Row("encoder", change["encoder"], PLAIN | change), folder, np.load(folder / "scores.npy"))
    for file in classifiers.FILES:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    settings = {"rule": "mean", "kept": {}, "thresholds": [0.5, 0.5], "prior": [0.5, 0.5], "calibration": {}, "validation": {change["encoder"]: 0.5}}
    written = experiments.save_ensemble(tmp_path, "yamnet", [change["encoder"]], {change["encoder"]: result}, settings)
    [member] = inference.load(tmp_path)
    assert written["members"] == [member.member_id] == [f"members/{change['encoder']}"]
    opened = member.open(data.outputs_dir / "02_clean" / "audio" / "r0.flac")
    kept = np.load(folder / "scores.npy")[:1]
    assert np.allclose(opened.predict([(0.0, member.preprocessing["window_s"])]), kept, atol=1e-4)  # a second of song, of which windows are longer
    assert not (folder / "checkpoint").exists()
    if change["encoder"] == "mel_cnn":
        waveform, moments, frame_s = train_waveforms.predict_frames(folder, data.outputs_dir / "02_clean" / "audio" / "r0.flac")
        assert len(waveform) == RATE_HZ and moments.shape[1] == 2 and len(moments) * frame_s == pytest.approx(5.0)
    if change["encoder"] == "mae":
        truth, shown, filled = np.load(folder / mae_pretraining.RECONSTRUCTIONS)
        assert np.isnan(shown).mean() == 0.75 and np.array_equal(filled[~np.isnan(shown)], truth[~np.isnan(shown)])
