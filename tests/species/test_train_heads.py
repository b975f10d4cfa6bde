"""Trainings of heads: what a configuration and its data make of network, loss and weights. A spy looks at what Keras was given."""

import types

import keras
import numpy as np
import pandas as pd
import pytest
import spying
from arrays import DIM, rng

from birdlib import runtime
from birdlib.losses import classification as losses
from birdlib.species import classifiers, dataset, train_heads

SPECIES = ["crow", "wren"]
COUNTS = [12, 4]  # recordings of training
OPTIONS = train_heads.Options(window_patches=0, hidden="16", epochs=30, patience=30, learning_rate=0.02, batch_size=4)
PLAIN = {"encoder": "birdnet", "loss": "cross_entropy", "soundscapes": False, "mixup": False}


def near(direction, n, seed):
    """(n, DIM) embeddings around an axis."""
    return (3.0 * np.eye(DIM)[direction] + rng(seed).standard_normal((n, DIM)) * 0.7).astype(np.float32)


def patches_of(names):
    return pd.DataFrame({"recording_id": names, "bird_score": 0.5})


def made(n_engines=0):
    """Recordings of crows along axis 0 and of wrens along axis 1; soundscape windows of engines along axis 2, labelled as negatives, and of a wren."""
    species = np.repeat([0, 1, 0, 1], [*COUNTS, 6, 6])
    split = np.repeat(["train", "validation"], [sum(COUNTS), 12])
    names = [f"r{i}" for i in range(len(species))]
    splits = pd.DataFrame({"recording_id": names, "species": np.array(SPECIES)[species], "split": split, "group_id": names, "is_repeated": False})
    windows = [f"w{i}" for i in range(n_engines + 1)]
    targets = np.concatenate([np.zeros((n_engines, 2)), [[0, 1]]]).astype(np.float32)
    labelled = types.SimpleNamespace(table=pd.DataFrame({"row_id": windows}), targets=targets)
    data = dataset.TrainingData(None, splits, np.eye(2, dtype=np.float32)[species], SPECIES, None, labelled, "birdnet", "single")
    embeddings = np.concatenate([near(kind, 1, i) for i, kind in enumerate(species)])
    soundscapes = np.concatenate([near(2, n_engines, 100), near(1, 1, 101)]), patches_of(windows)
    return data, train_heads.PatchEmbeddings(embeddings, patches_of(names), soundscapes, {"embedder": "birdnet"}, {})


def train(change, n_engines=0, monkeypatch=None, options=OPTIONS):
    """(head, features of a patch, spy)."""
    data, embedded = made(n_engines)
    layer, spy = embedded.pooling(), spying.Spy(monkeypatch) if monkeypatch else None
    keras.utils.set_random_seed(0)
    features = train_heads.pool_recordings(embedded, data, layer)
    head, _ = train_heads.train_head(PLAIN | change, data, embedded, features, layer, np.random.default_rng(0), options)
    return head, lambda patches: np.asarray(layer(patches[:, None], np.ones((len(patches), 1), np.float32))), spy


@pytest.mark.slow
@pytest.mark.parametrize("mixup", [False, True])
def test_engine_noise_scores_low_where_negative_windows_were_trained_on(mixup):
    """Other engines than those of training; birds keep scores above them. Without negatives, the two scores of an engine sum to 1."""
    engines, wrens = near(2, 40, 200), near(1, 40, 201)
    scores = {}
    for n_engines in (0, 30):
        head, pooled, _ = train({"soundscapes": True, "mixup": mixup}, n_engines)
        scores[n_engines] = classifiers.predict(head, pooled(engines))
        of_wrens = classifiers.predict(head, pooled(wrens))[:, 1].mean()
    assert scores[30].max(axis=1).mean() < 0.25 and of_wrens > 1.2 * scores[30][:, 1].mean()
    assert scores[0].sum(axis=1) == pytest.approx(1.0, abs=1e-5) and scores[0].max(axis=1).mean() > 0.5


def test_negative_windows_teach_a_background_only_where_there_are_some(monkeypatch):
    once = train_heads.Options(window_patches=0, hidden="16", epochs=1)
    _, _, spy = train({"soundscapes": True}, 5, monkeypatch, once)
    assert [layer.units for layer in spy.of(keras.layers.Dense)] == [16, 3] and spy.compiled[0][2].options == {"background": True}
    _, _, spy = train({"soundscapes": True}, 0, monkeypatch, once)
    assert [layer.units for layer in spy.of(keras.layers.Dense)] == [16, 2] and spy.compiled[0][2].options == {"background": False}


def test_the_loss_and_its_options_reach_keras(monkeypatch):
    _, _, spy = train({"loss": "asymmetric"}, 0, monkeypatch, train_heads.Options(window_patches=0, hidden="16", epochs=1))
    [(model, _, loss)] = spy.compiled
    assert isinstance(loss, losses.AsymmetricLoss) and loss.options == losses.AsymmetricLoss.defaults
    assert model.get_layer("probabilities").activation.__name__ == "sigmoid"


@pytest.mark.parametrize(("balance", "ratio"), [(0.0, 1.0), (0.5, 3**0.5), (1.0, 3.0)])
def test_class_weights_reach_keras(monkeypatch, balance, ratio):
    _, _, spy = train({}, 0, monkeypatch, train_heads.Options(window_patches=0, hidden="16", epochs=1, balance=balance))
    weight, wren = spy.fits[0]["sample_weight"], spy.fits[0]["y"][:, 1] == 1
    assert weight[wren] == pytest.approx(ratio * weight[~wren][0], rel=1e-5)


def test_class_weights_reach_keras_through_mixtures(monkeypatch):
    """A wren weighs three times as much as a crow, and so does its share of a mixture."""
    _, _, spy = train({"mixup": True}, 0, monkeypatch, train_heads.Options(window_patches=0, hidden="16", epochs=1, balance=1.0))
    [_, truth, weight] = (np.concatenate(arrays) for arrays in zip(*(spy.fits[0]["x"][i] for i in range(len(spy.fits[0]["x"]))), strict=True))
    assert ((truth > 0) & (truth < 1)).any() and len(truth) == sum(COUNTS)
    assert weight.min() >= 16 / 24 - 1e-5 and weight.max() <= 3 * 16 / 24 + 1e-5 and len(np.unique(weight.round(4))) > 2


@pytest.mark.parametrize(
    "wrong", [{"hidden": "abc"}, {"hidden": "64,0"}, {"dropout": 1.0}, {"balance": -1.0}, {"n_networks": 0}, {"epochs": 0}, {"window_patches": -1}]
)
def test_wrong_options_are_refused_by_their_name(wrong):
    with pytest.raises(runtime.ParameterError, match=f"{next(iter(wrong))} is "):
        train_heads.Options(**wrong)
