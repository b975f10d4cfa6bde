"""Trainings of networks on waveforms of tones, see ``tone_recordings``."""

import dataclasses
import os

import numpy as np
import pytest
import tone_recordings
from tone_recordings import RATE_HZ, VOICE_HZ, WIND_HZ

from birdlib.species import (
    ablation,
    classifiers,
    dataset,
    experiments,
    inference,
    mae_pretraining,
    mel_training,
    train_waveforms,
    waveform_batches,
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


# Background sounds


def test_background_is_unlabelled_and_voices_are_of_training_recordings(data):
    """The first of the 4 s of the one training soundscape has a label; r8 and r16, of validation and test, have speech too."""
    assert waveform_batches.background_tables(data, "shift,volume,spec_augment") == {}
    found = waveform_batches.background_tables(data, "all")
    segments = {name: [(path.split("/")[-1], start_s, end_s) for path, start_s, end_s in table.to_numpy()] for name, table in found.items()}
    assert segments == {"background": [("scape.flac", 1.0, 4.0)], "voice": [("r0.flac", 0.1, 0.9)]}


class Stop(Exception):
    """Ends a training in a test."""


def background_shares(data, folder, monkeypatch, augmentation):
    """The share of power at (VOICE_HZ, WIND_HZ) in 5 s of a bird at 4 kHz, after the augmentation of a training's batches."""
    caught = []

    def fit(model, batches, *_, **__):
        caught.append(batches)
        raise Stop

    monkeypatch.setattr(mel_training, "fit", fit)
    with pytest.raises(Stop):
        experiments.run(PLAIN | {"encoder": "mel_cnn"}, data, folder, {}, **OPTIONS | {"augmentation": augmentation})
    bird = 0.3 * np.sin(2 * np.pi * 4000 * np.arange(5 * RATE_HZ) / RATE_HZ)
    songs, _ = caught[0].augment_batch(np.float32(bird[None]), np.float32([[0, 1]]), rng=np.random.default_rng(0))
    power = np.abs(np.fft.rfft(songs[0])) ** 2
    return [power[5 * hz - 5 : 5 * hz + 6].sum() / power.sum() for hz in (VOICE_HZ, WIND_HZ)]


def test_background_and_voice_are_mixed_in_where_sounds_exist(data, tmp_path, monkeypatch):
    """At most 30 dB below the bird."""
    always = "voice=1,background=1"
    voice, wind = background_shares(data, tmp_path, monkeypatch, always)
    assert min(voice, wind) > 3e-4
    mute = dataclasses.replace(data, splits=data.splits.assign(split=data.splits["split"].mask(data.splits["recording_id"] == "r0", "test")))
    with pytest.warns(UserWarning, match="voice is left out: 02_clean found no speech"):
        voice, wind = background_shares(mute, tmp_path, monkeypatch, always)
    assert voice < 1e-6 and wind > 3e-4


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
            experiments.run(PLAIN | {"encoder": "mae"}, data, tmp_path, {}, **OPTIONS, mae_clips=3)
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
