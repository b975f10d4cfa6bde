"""Trainings on tones: two species at 1 and 4 kHz, and windows of soundscapes with both."""

import dataclasses
import os
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

import birdlib
from birdlib import runtime, stages
from birdlib.audio import augment
from birdlib.metrics import classification
from birdlib.models import pooling
from birdlib.species import (
    ablation,
    classifiers,
    dataset,
    experiments,
    inference,
    mae_pretraining,
    mel_training,
    train_heads,
    train_waveforms,
)

RATE_HZ, N = 32_000, 24
VOICE_HZ, WIND_HZ = 200, 500
SPEAKERS = ["r0", "r8", "r16"]  # of train, validation and test
PLAIN = {"encoder": "yamnet", "loss": "cross_entropy", "soundscapes": False, "mixup": False}
OPTIONS = {"seed": 0, "hidden": "8", "epochs": 8, "mel_epochs": 2, "mel_steps": 2, "mel_batch": 4, "augmentation": "none"}


def table_of_patches(names, species, rng, folder):
    """Two patches a name, with a large value in the dimension of their species; (patches, 1024) like YAMNet's."""
    embeddings = rng.normal(size=(2 * len(names), 1024)).astype(np.float32)
    embeddings[np.arange(2 * len(names)), np.repeat(species, 2)] += 300.0
    np.save(folder / "embeddings.npy", embeddings)
    columns = {"recording_id": np.repeat(names, 2), "clip_id": np.repeat(names, 2), "patch": [0, 1] * len(names), "start_s": 0.0, "end_s": 0.96}
    runtime.write_table(pd.DataFrame({**columns, "bird_score": 0.5}), folder / "patches.parquet")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Finished stages 01, 02, 03 and 06 of 24 recordings."""
    outputs, rng = tmp_path_factory.mktemp("outputs"), np.random.default_rng(0)
    root = outputs / "recordings"
    names, species = np.array([f"r{i}" for i in range(N)]), np.arange(N) % 2
    stage = stages.start("01_split", outputs)
    split = np.repeat(["train", "validation", "test"], N // 3)
    rows = {"recording_id": names, "species": np.array(["low", "high"])[species], "secondary_species": "", "split": split}
    rows |= {"audio_path": [f"{name}.flac" for name in names], "start_s": np.nan}
    runtime.write_table(pd.DataFrame({**rows, "is_repeated": False, "group_id": names}), stage.folder / "splits.parquet")
    runtime.write_json(["low", "high"], stage.folder / "classes.json")
    stages.finish(stage, {"root": "recordings"})
    stage = stages.start("02_clean", outputs, denoise="none")
    for folder in (root / "train_soundscapes", root / "test_soundscapes", stage.folder / "audio"):
        folder.mkdir(parents=True)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    for i, name in enumerate(names):
        song = 0.3 * np.sin(2 * np.pi * (1000, 4000)[species[i]] * time_s) + 0.01 * rng.standard_normal(RATE_HZ)
        soundfile.write(stage.folder / "audio" / f"{name}.flac", song, RATE_HZ)
    for name in SPEAKERS:
        soundfile.write(root / f"{name}.flac", 0.3 * np.sin(2 * np.pi * VOICE_HZ * time_s), RATE_HZ)
    speech = pd.DataFrame({"recording_id": SPEAKERS, "start_s": 0.1, "end_s": 0.9, "policy": "remove"})
    runtime.write_table(speech, stage.folder / "segments.parquet")
    wind = 0.3 * np.sin(2 * np.pi * WIND_HZ * np.arange(4 * RATE_HZ) / RATE_HZ)
    soundfile.write(root / "train_soundscapes" / "scape.flac", wind, RATE_HZ)
    soundfile.write(root / "test_soundscapes" / "hidden.flac", wind, RATE_HZ)
    clips = {"clip_id": names, "recording_id": names, "audio_path": [f"audio/{name}.flac" for name in names], "digest": names}
    runtime.write_table(pd.DataFrame({**clips, "start_s": 0.0, "end_s": 1.0, "is_noise": False}), stage.folder / "clips.parquet")
    stages.finish(stage, {})
    stage = stages.start("03_embed", outputs, embedder="yamnet", octave_down=False)
    table_of_patches(names, species, rng, stage.folder)
    stages.finish(stage, {"key": "k"})
    stage = stages.start("06_pseudolabel", outputs)
    ids = ["scape_1", "scape_2"]
    table_of_patches(ids, [0, 2], rng, stage.folder)  # the second is of neither species
    windows = {"row_id": ids, "soundscape": "scape", "audio_path": "train_soundscapes/scape.flac", "start_s": [0.0, 1.0], "end_s": [1.0, 2.0]}
    runtime.write_table(pd.DataFrame(windows), stage.folder / "windows.parquet")
    labels = {"row_id": ["scape_1", "scape_1", "scape_2"], "label": ["low", "high", "stranger"], "target": np.float32([0.9, 0.4, 1.0])}
    provenance = {"kind": "soft", "origin": "student", "teacher": "", "round": 1, "confidence": np.float32([0.9, 0.4, 1.0])}
    runtime.write_table(pd.DataFrame({**labels, **provenance}), stage.folder / "labels.parquet")
    stages.finish(stage, {})
    return outputs


@pytest.fixture(scope="module")
def data(outputs):
    return dataset.load(outputs, "single")


def test_windows_keep_soft_labels_of_known_species_only(data):
    assert np.allclose(data.windows.targets[0], [0.9, 0.4]) and data.windows.confidences[0] == pytest.approx(0.9)
    assert not data.windows.targets[1:].any()


def test_without_a_current_stage_06_there_are_no_windows(outputs, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("01_split", "02_clean", "03_embed"):
        (tmp_path / "out" / name).symlink_to(outputs / name)
    assert dataset.load(tmp_path / "out", "single").windows is None


@pytest.mark.parametrize("change", [{}, {"soundscapes": True, "mixup": True, "loss": "bce"}])
def test_trained_head_is_saved_as_a_member(data, tmp_path, change):
    config = PLAIN | change
    record = experiments.run(config, data, tmp_path, {"03_embed": "a", "06_pseudolabel": "b"}, **(OPTIONS | {"epochs": 40}))
    scores = np.load(tmp_path / "scores.npy")
    assert classification.macro_roc_auc(data.truth[16:], scores[16:]) > 0.9
    assert ("06_pseudolabel" in record["inputs"]) == config["soundscapes"]
    model, classes, preprocessing = classifiers.load(tmp_path)
    embedded = train_heads.load_embeddings("yamnet", data, tmp_path, False)
    weights = pooling.patch_weights(embedded.patches["bird_score"].to_numpy())
    again = model.predict({"embeddings": embedded.embeddings[None, :2], "weights": weights[None, :2]}, verbose=0)
    assert np.allclose(again, scores[:1], atol=1e-5) and classes == ["low", "high"] and preprocessing["key"] == "k"


def drop_embeddings(names, monkeypatch):
    """Make the embedder slow, and let it skip some recordings."""
    load = train_heads.load_embeddings

    def load_fewer(*args):
        time.sleep(0.3)
        embedded = load(*args)
        keep = ~embedded.patches["recording_id"].isin(names).to_numpy()
        return dataclasses.replace(embedded, embeddings=embedded.embeddings[keep], patches=embedded.patches[keep].reset_index(drop=True))

    monkeypatch.setattr(train_heads, "load_embeddings", load_fewer)


def test_recordings_without_embeddings_get_the_prior_and_are_counted(data, tmp_path, monkeypatch):
    """r9 is of validation, where it chooses no epoch, and r20 of test."""
    drop_embeddings(["r9", "r20"], monkeypatch)
    started_s = time.monotonic()
    record = experiments.run(PLAIN, data, tmp_path, {}, **OPTIONS)
    assert record["embedding_s"] >= 0.3 and record["training_s"] + record["embedding_s"] <= time.monotonic() - started_s  # no second is counted twice
    scores = np.load(tmp_path / "scores.npy")
    assert np.allclose(scores[[9, 20]], data.prior) and not np.isclose(np.delete(scores, [9, 20], axis=0), data.prior).any()
    assert "2 of 24" in record["note"]


def test_embedder_without_embeddings_gives_a_row_with_a_note(data, tmp_path, monkeypatch):
    drop_embeddings(data.splits["recording_id"], monkeypatch)
    train = lambda config, folder: experiments.run(config, data, folder, {}, **OPTIONS)  # noqa: E731
    [result] = ablation.run([ablation.Row("encoder", "yamnet", PLAIN)], train, lambda config: "digest", tmp_path, False)
    assert result.scores is None and "yamnet embedded none of the training recordings" in result.note


def test_key_changes_with_relevant_options_only(data, monkeypatch):
    key = lambda config=PLAIN, scapes="b", **more: experiments.key(  # noqa: E731
        config, data, {"03_embed": "a", "06_pseudolabel": scapes}, precision="float32", **OPTIONS | more
    )
    assert key() == key(scapes="c", mel_steps=99)
    assert len({key(), key(hidden="9"), key(seed=1), key(PLAIN | {"loss": "focal"}), key(PLAIN | {"soundscapes": True})}) == 5
    assert key(PLAIN | {"soundscapes": True}) != key(PLAIN | {"soundscapes": True}, scapes="c")
    with pytest.raises(experiments.TrainingError, match="vgg.*yamnet"):
        key(PLAIN | {"encoder": "vgg"})
    now = key()
    assert birdlib.__version__ in experiments.CODE
    monkeypatch.setattr(experiments, "CODE", "recipe 0 of birdlib 0.0.9")
    assert key() != now


def test_heads_of_mel_models_and_bird_mae_are_parsed_and_others_refused():
    assert train_waveforms.parse_heads(" sed, linear") == {"mel_head": "sed", "mae_head": "linear"}
    for text in ("sed", "mlp,pooled", "sed,mlp,linear", "used,mlp", ""):
        with pytest.raises(train_waveforms.WaveTrainingError, match="of mel models one of pooled, sed, then one of linear, mlp, attentive, prototypical"):
            train_waveforms.parse_heads(text)


# Background sounds


def test_background_is_unlabelled_and_voices_are_of_training_recordings(data):
    """The first of the 4 s of the one training soundscape has a label; r8 and r16, of validation and test, have speech too."""
    assert train_waveforms.background_tables(data, "shift,volume,spec_augment") == {}
    found = train_waveforms.background_tables(data, "all")
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
    for name in ("voice", "background"):
        monkeypatch.setitem(augment.PROBABILITIES, name, 1.0)
    voice, wind = background_shares(data, tmp_path, monkeypatch, "voice,background")
    assert min(voice, wind) > 3e-4
    mute = dataclasses.replace(data, splits=data.splits.assign(split=data.splits["split"].mask(data.splits["recording_id"] == "r0", "test")))
    with pytest.warns(UserWarning, match="voice is left out: 02_clean found no speech"):
        voice, wind = background_shares(mute, tmp_path, monkeypatch, "voice,background")
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
