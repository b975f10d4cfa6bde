import numpy as np
import pandas as pd
import pytest

from birdlib.models import pooling
from birdlib.species import classifiers, fit_heads, pseudolabels, self_training, students


def test_mixtures_have_the_targets_of_both():
    inputs, targets = students.mix(
        np.ones((1, 4), np.float32), np.array([[1.0, 0.0]]), np.full((1, 4), 3.0, np.float32), np.array([[0.2, 0.7]]), share=0.25
    )
    assert inputs.tolist() == [[1.5] * 4] and targets.tolist() == [[1.0, 0.7]] and inputs.dtype == np.float32


def test_a_share_of_0_mixes_nothing():
    sounds = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    inputs, targets = students.mix(sounds, np.eye(2), sounds[::-1], np.zeros((2, 2)), share=0.0)
    assert np.array_equal(inputs, sounds) and np.array_equal(targets, np.eye(2))


def test_recordings_become_training_and_validation_sets():
    """Recordings of 12 patches are in training whole and as windows of ten patches, in validation whole; a repeated one is in neither evaluation."""
    rng = np.random.default_rng(0)
    splits = pd.DataFrame({"recording_id": list("abcd"), "species": ["tit", "owl", "tit", "owl"], "secondary_species": ["owl", "", "", ""]})
    splits = splits.assign(split=["train", "train", "validation", "validation"], is_repeated=[False, False, False, True])
    patches = pd.DataFrame({"recording_id": np.repeat(list("abcd"), 12), "bird_score": 1.0})
    embeddings, layer = rng.normal(size=(48, 2)).astype(np.float32), pooling.build_pooling(2, "mean")
    train, (features, truth) = students.recording_sets(embeddings, patches, splits, ["owl", "tit"], layer, np.random.default_rng(1))
    expected = fit_heads.training_set(embeddings, patches, layer, splits[:2], np.array([[1.0, 1.0], [1.0, 0.0]], np.float32), 10, 0.5, np.random.default_rng(1))
    assert all(np.array_equal(*arrays) for arrays in zip(train, expected, strict=True)) and len(train[0]) == 6
    assert truth.tolist() == [[0, 1]] and features[0] == pytest.approx(embeddings[24:36].mean(axis=0) / np.linalg.norm(embeddings[24:36].mean(axis=0)), abs=1e-5)


def test_the_head_trainer_trains_networks_with_an_output_per_species():
    features, truth = sounds(30, 0.0, 0)
    train_head = students.head_trainer(3, "8,", n_networks=2, epochs=2)
    head = train_head((features, truth, np.ones(30, np.float32)), (features, truth))
    assert classifiers.predict(head, features).shape == (30, 3)


CENTRES = np.eye(3, 6, dtype=np.float32)


def sounds(n, shift, seed, spread=0.25):
    """Recordings of three species; ``shift`` is the effect of the soundscapes' recorder."""
    rng = np.random.default_rng(seed)
    birds = np.arange(n) % 3
    features = CENTRES[birds] + shift + spread * rng.normal(size=(n, 6)).astype(np.float32)
    return features.astype(np.float32), np.eye(3, dtype=np.float32)[birds]


class Head:
    """In place of a network: the distance to the mean of each species' rows."""

    def __init__(self, training_set):
        features, truth, weight = training_set
        mass = truth * weight[:, None]
        self.centres = (mass.T @ features) / mass.sum(axis=0)[:, None]

    def __call__(self, features, training):
        distance = np.linalg.norm(features[:, None] - self.centres, axis=2)
        scores = np.exp(-4 * distance)
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def run_heads(**options):
    """Rounds on recordings without wind and windows with it: the results, the heads, the windows and the shift by wind."""
    features, truth = sounds(30, 0.0, 0)
    recordings = features, truth, np.ones(30, np.float32)
    wind = np.array([0, 0, 0, 0.5, 0.5, -0.5], np.float32)
    windows, _ = sounds(90, wind, 1)
    validation = sounds(30, 0.0, 2)
    train, heads = students.student_trainer(
        Head(recordings), recordings, windows, validation, lambda train_set, _: Head(train_set), share=0.5, rng=np.random.default_rng(0)
    )
    names = [f"S_{n}" for n in range(90)]
    options = {"n_rounds": 2, "power": 1.0, "mix_ratio": 0.5, "confidence": 0.5, "patience": 2, "rng": np.random.default_rng(0)} | options
    return self_training.run(train, names, list("abc"), n_recordings=30, **options), heads, windows, wind


def test_students_adapt_to_the_wind_of_soundscapes():
    """The centres of students are nearer to the species' in wind than those of the head trained on recordings alone."""
    (_, history, _), heads, _, wind = run_heads()
    assert len(heads) == len(history) == 3 and history["windows"].tolist()[0] == 0 and history["windows"].iloc[1] > 10
    far = [np.linalg.norm(head.centres - (CENTRES + wind)) for head in heads]
    assert far[1] < far[0] and far[2] < far[0]


def test_round_0_is_the_first_classifier_itself():
    (table, history, _), heads, windows, _ = run_heads(n_rounds=0)
    assert len(heads) == 1 and len(history) == 1 and not len(table)
    assert 0.8 < history["figure"][0] <= 1.0


def test_species_in_the_mixed_window_do_not_change_the_evaluation():
    """Two heads differ only in their score of the window's species, which is in all rows that are compared."""

    class Rows:
        def __init__(self, gain):
            self.gain = gain

        def __call__(self, features, training):
            return features[:, :3] + self.gain * features[:, 3:]

    recordings, truth = np.pad(np.eye(3, dtype=np.float32), ((0, 0), (0, 3))), np.eye(3, dtype=np.float32)
    windows = np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 3, 0]], np.float32)
    assert students.evaluate_head(Rows(0.0), (recordings, truth), windows) == students.evaluate_head(Rows(9.0), (recordings, truth), windows) == 1.0
    backwards = recordings[[1, 2, 0]], truth
    assert students.evaluate_head(Rows(9.0), backwards, windows) < 0.5 and students.evaluate_head(Rows(0.0), (recordings, truth), windows[:0]) == 1.0


def test_without_soundscapes_round_0_is_best():
    features, truth = sounds(6, 0.0, 0)
    recordings = features, truth, np.ones(6, np.float32)
    train, heads = students.student_trainer(Head(recordings), recordings, features[:0], (features, truth), lambda train_set, _: Head(train_set), rng=np.random.default_rng(0))
    table, _, best = self_training.run(train, [], list("abc"), n_recordings=6, n_rounds=2, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))
    assert best == 0 and table.empty and len(heads) == 2


def test_the_training_set_has_recordings_windows_and_mixtures():
    recordings = np.zeros((2, 3), np.float32), np.array([[1, 0], [0, 1]], np.float32), np.array([2.0, 1.0], np.float32)
    features, truth, weight = students.training_set(recordings, np.ones((1, 3)), np.array([[0.0, 0.8]]), share=0.25, rng=np.random.default_rng(0))
    assert features[:, 0].tolist() == [0, 0, 1, 0.25, 0.25] and weight.tolist() == [2, 1, 1, 2, 1]
    assert truth[3:] == pytest.approx(np.array([[1, 0.8], [0, 1]]))
    assert len(students.training_set(recordings, np.ones((1, 3)), np.zeros((1, 2)), share=0.0, rng=np.random.default_rng(0))[0]) == 3
    assert students.training_set(recordings, np.ones((0, 3)), np.zeros((0, 2)), rng=np.random.default_rng(0)) is recordings


def test_nan_scores_of_a_head_are_rejected_with_round_window_and_label():
    class Broken(Head):
        def __call__(self, features, training):
            return super().__call__(features, training) * np.where(np.arange(3) == 1, np.nan, 1).astype(np.float32)

    features, truth = sounds(6, 0.0, 0)
    recordings = features, truth, np.ones(6, np.float32)
    train, _ = students.student_trainer(Head(recordings), recordings, features, (features, truth), lambda train_set, _: Broken(train_set), rng=np.random.default_rng(0))
    names = [f"S_{n}" for n in range(6)]
    with pytest.raises(pseudolabels.ScoreError, match="student of round 1: the score of b in S_0 is nan"):
        self_training.run(train, names, list("abc"), n_recordings=6, n_rounds=1, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))


def test_the_gain_is_measured_on_the_same_bootstrap_draws():
    """The same head gains exactly 0, however wide its interval is; a better one gains the difference."""
    features, truth = sounds(60, 0.0, 5, spread=1.2)
    groups = np.repeat(np.arange(6), 10)
    good, bad = (Head((CENTRES[order], np.eye(3), np.ones(3))) for order in ([0, 1, 2], [1, 0, 2]))
    table, held_out = pd.DataFrame({"round": [0, 1]}), (features, truth, groups)
    rounds, gain = self_training.evaluate_rounds(table, [bad, good], held_out, best=1, rng=np.random.default_rng(0))
    assert gain[0] == pytest.approx(rounds["held_out_auc"][1] - rounds["held_out_auc"][0]) and gain[1] > 0
    assert (rounds["held_out_high"] - rounds["held_out_low"] > 0.02).all()
    assert self_training.evaluate_rounds(table, [bad, good], held_out, best=0, rng=np.random.default_rng(0))[1] == [0, 0, 0]
    rounds, gain = self_training.evaluate_rounds(table, [bad, good], None, best=1, rng=np.random.default_rng(0))
    assert gain is None and rounds[["held_out_auc", "held_out_low", "held_out_high"]].isna().all(axis=None)
    assert classifiers.predict(good, features).shape == (60, 3)
