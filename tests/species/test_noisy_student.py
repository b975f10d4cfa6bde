"""Self-distillation of mel models, and distillation in a whole training, on the tones of ``tone_recordings``."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tone_recordings

from birdlib import runtime
from birdlib.species import (
    classifiers,
    dataset,
    distillation,
    experiments,
    mel_models,
    mel_training,
    noisy_student,
    train_waveforms,
    waveform_batches,
)

PLAIN = {"encoder": "mel_cnn", "loss": "bce", "soundscapes": False, "mixup": False}
OPTIONS = {"seed": 0, "mel_epochs": 2, "mel_steps": 2, "mel_batch": 4, "augmentation": "none"}
WINDOW = {"rate_hz": 32_000, "window_s": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return dataset.load(tone_recordings.make(tmp_path_factory.mktemp("outputs")), "single")


def test_labels_are_blended_with_raised_scores():
    """.7 min(1, s + s ** 2) + .3 label for s above .3, below it .7 s ** 2 + .3 label."""
    labels, scores = np.float32([1, 0, 0, 1]), np.float32([0.5, 0.2, 0.9, 0.0])
    assert np.allclose(noisy_student.blend(labels, scores), [0.7 * 0.75 + 0.3, 0.7 * 0.04, 0.7, 0.3])


def scoring(monkeypatch):
    """A network whose scores of consecutive windows are .6 for the first species and .2 for the second, without computing them."""

    def predict_windows(model, windows):
        return np.tile(np.float32([[0.6, 0.2]]), (len(windows.table), 1)), np.ones(len(windows.table), bool)

    monkeypatch.setattr(mel_training, "predict_windows", predict_windows)


@pytest.mark.parametrize("soundscapes", [False, True])
def test_next_student_learns_from_scores_of_recordings_and_soundscapes(data, monkeypatch, soundscapes):
    """The soundscape of 4 s has 4 windows of a second; stage 06 has labelled 2, and keeps them where they are used."""
    scoring(monkeypatch)
    options = train_waveforms.Options(power=2.0, soundscape_share=0.4)
    first = waveform_batches.training_parts(PLAIN | {"soundscapes": soundscapes}, data, options)
    parts = noisy_student.next_parts(first, None, data, WINDOW, options, np.random.default_rng(0))
    n = int(data.is_train.sum())
    labelled = {"scape_1", "scape_2"} if soundscapes else set()
    names = set(parts.table["recording_id"][parts.table["row"] >= n])
    assert names == {f"scape_{second}" for second in (1, 2, 3, 4)}
    new = ~parts.table["recording_id"].isin({*data.splits["recording_id"], *labelled})
    assert np.allclose(parts.truth[parts.table.loc[new, "row"]], [[0.36, 0.04]])
    assert np.array_equal(parts.truth[: len(first.truth)], first.truth)
    assert parts.shares[:n].sum() == pytest.approx(0.6) and parts.shares.sum() == pytest.approx(1.0)
    relabelled = parts.relabel(np.float32([0, 1]), data.splits["recording_id"][data.is_train].iloc[0], 0.0, 1.0)
    assert np.allclose(relabelled, noisy_student.blend(np.float32([0, 1]), np.float32([0.6, 0.2])))
    assert parts.relabel("as it is", "scape_3", 2.0, 3.0) == "as it is"


def test_crops_are_drawn_with_their_new_labels(data, monkeypatch):
    scoring(monkeypatch)
    options = train_waveforms.Options(mel_batch=64, soundscape_share=0.5)
    first = waveform_batches.training_parts(PLAIN, data, options)
    parts = noisy_student.next_parts(first, None, data, WINDOW, options, np.random.default_rng(0))
    augmentation = waveform_batches.Augmentation({}, {}, {})
    batches = waveform_batches.training_batches(
        parts, data, WINDOW, lambda sounds, training: sounds[..., None], augmentation, np.random.default_rng(0), options
    )  # fmt: skip
    _, truth, _ = batches[0]
    blended = noisy_student.blend(np.eye(2, dtype=np.float32), np.float32([0.6, 0.2]))
    kinds = [np.isclose(truth, row).all(axis=1) for row in (*blended, np.float32([0.6, 0.2]))]
    assert np.any(kinds, axis=0).all() and np.mean(kinds[2]) == pytest.approx(0.5, abs=0.2)


def test_best_round_is_kept_and_said(data, tmp_path, monkeypatch):
    """Three rounds whose figures on validation are .6, .8 and .7."""
    scoring(monkeypatch)
    figures, seen = iter([0.6, 0.8, 0.7]), []

    def fit(model, batches, *_, folder, **__):
        seen.append((folder.name, len(batches.truth)))
        return pd.DataFrame({"epoch": [1], "validation_loss": 1.0, "validation_macro_auc": next(figures), "is_kept": True})

    monkeypatch.setattr(mel_training, "fit", fit)
    n = int(data.is_train.sum())
    record = experiments.run(PLAIN, data, tmp_path, {}, **OPTIONS | {"self_distillation": 2, "power": 1.5})
    assert seen == [("checkpoint", n), ("round_1", n + 1), ("round_2", n + 1)]  # a window of 5 s is the whole soundscape, and 06 is not used
    assert [row["round"] for row in record["history"]] == [1]
    assert runtime.read_json(tmp_path / "preprocessing.json")["self_distillation"] == {"rounds": 2, "kept": 1, "power": 1.5}


@pytest.fixture
def teacher(monkeypatch):
    """A teacher that knows the tones: unit vectors of 6 numbers, and nothing of soundscapes."""

    def load(names, data, folder, with_windows):
        patches = pd.DataFrame({"recording_id": data.splits["recording_id"], "start_s": 0.0, "end_s": 1.0})
        vectors = np.eye(6, dtype=np.float32)[data.labels]
        return distillation.Teacher("birdnet", [(vectors, patches)]), {"birdnet": {"source": "made", "sha256": "s", "licence": "CC BY-NC-SA 4.0"}}

    monkeypatch.setattr(distillation, "load", load)


def test_whole_recipe_trains_and_is_described(data, tmp_path, teacher):
    options = {"mel_head": "sed_gem", "frame_share": 0.5, "distillation": 0.1, "averaging": "swa", "self_distillation": 1}
    options |= {"augmentation": "wave_mixup,filter_augment"}
    record = experiments.run(PLAIN | {"mixup": True, "soundscapes": True}, data, tmp_path, {"06_pseudolabel": "b"}, **OPTIONS | options)
    model, _, preprocessing = classifiers.load(tmp_path)
    assert model.output_shape == (None, 2) and mel_models.with_frames(model).output["frames"].shape[2] == 2
    assert preprocessing["distillation"] == {"teacher": "birdnet", "dim": 6, "weight": 0.1, "licence": "CC BY-NC-SA 4.0"}
    assert preprocessing["frame_share"] == 0.5 and preprocessing["averaging"] == "swa"
    assert record["weights"]["birdnet"]["licence"] == "CC BY-NC-SA 4.0"
    assert np.isfinite(np.load(tmp_path / "scores.npy")).all()


def test_embeddings_are_mixed_with_their_clips_before_they_are_compared(data, tmp_path, teacher, monkeypatch):
    caught = {}

    def fit(model, batches, *_, objective, **__):
        batches.outputs = ("clip", "teacher")
        caught.update(batch=batches[0], objective=objective)
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(mel_training, "fit", fit)
    options = {"mel_batch": 32, "distillation": 0.1, "augmentation": "wave_mixup=1"}
    experiments.run(PLAIN | {"mixup": True}, data, tmp_path, {}, **OPTIONS | options)
    _, truth, _ = caught["batch"]
    assert dataclasses.asdict(caught["objective"]) == {"frame_share": 0.0, "distillation": 0.1, "teacher_dim": 6}
    assert (truth["clip"] == 1).all()  # both species
    assert np.allclose(truth["teacher"].sum(axis=1), 1.0) and (truth["teacher"].max(axis=1) >= 0.5 - 1e-6).all()
    assert (truth["teacher"].max(axis=1) < 1).any() and not truth["teacher"][:, 2:].any()


def test_impossible_options_are_refused_before_training():
    for options in ({"frame_share": 0.5}, {"frame_share": 1.0, "mel_head": "sed"}):
        with pytest.raises(train_waveforms.WaveTrainingError, match="sed or sed_gem"):
            train_waveforms.Options(**options)
    for options in ({"power": 0.0}, {"distillation": -1.0}, {"soundscape_share": 1.0}, {"self_distillation": -1}):
        with pytest.raises(train_waveforms.WaveTrainingError, match="power above 0"):
            train_waveforms.Options(**options)
