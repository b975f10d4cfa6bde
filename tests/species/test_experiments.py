"""Trainings on tones, see ``tone_recordings``; those of waveforms are in ``test_train_waveforms``."""

import dataclasses
import time

import numpy as np
import pytest
import tone_recordings

import birdlib
from birdlib import runtime
from birdlib.metrics import classification
from birdlib.models import pooling
from birdlib.species import ablation, classifiers, dataset, experiments, train_heads

PLAIN = {"encoder": "yamnet", "loss": "cross_entropy", "soundscapes": False, "mixup": False}
OPTIONS = {"seed": 0, "hidden": "8", "epochs": 8}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tone_recordings.make(tmp_path_factory.mktemp("outputs"))


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


@pytest.mark.parametrize("wrong", [{"components": "foo"}, {"losses": "bce,foo"}, {"encoders": "foo"}, {"members": "yamnet,foo"}])
def test_wrong_names_are_refused_before_the_first_training(wrong):
    right = {"components": "auto", "losses": "", "encoders": "mel_cnn", "members": "yamnet,mel_cnn", "own": "yamnet"}
    experiments.require_names(**right)
    with pytest.raises(runtime.BirdlibError, match="foo"):
        experiments.require_names(**right | wrong)
