"""Choosing the classifier of stage 07 on made-up embeddings."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime
from birdlib.models import probe_fits, probes, zero_shot
from birdlib.species import (
    classifier_choice,
    classifier_inputs,
    classifiers,
    dataset,
    train_heads,
)

N, DIM, CLASSES = 48, 8, ["jay", "owl", "tit"]
CONFIG = {"encoder": "birdnet", "loss": "cross_entropy", "soundscapes": False, "mixup": False}
FEW = (probe_fits.Probe(probe_fits.PROTOTYPES, 10.0), probe_fits.Probe(probe_fits.UNIT, 30.0))


@pytest.fixture(autouse=True)
def few_probes(monkeypatch):
    monkeypatch.setattr(probes, "PROBES", FEW)


def inputs_of(tmp_path, embedder="birdnet", noise=1.0, seed=0, mode="single", dim=DIM):
    """48 recordings of three patches, a quarter each of validation and test, two to a group; species differ in one number each."""
    rng, species = np.random.default_rng(seed), np.arange(N) // 2 % 3
    splits = pd.DataFrame({
        "recording_id": [f"r{i}" for i in range(N)], "species": np.array(CLASSES)[species], "is_repeated": False,
        "split": np.array(["train", "train", "validation", "test"])[np.arange(N) // 12], "group_id": np.arange(N) // 2,
    })  # fmt: skip
    truth = np.eye(3)[species]
    data = dataset.TrainingData(tmp_path, splits, truth, CLASSES, pd.DataFrame(), None, embedder, mode)
    embeddings = np.repeat(np.pad(2.0 * truth, ((0, 0), (0, dim - 3))), 3, axis=0) + noise * rng.normal(size=(3 * N, dim))
    patches = pd.DataFrame({"recording_id": np.repeat(splits["recording_id"], 3), "bird_score": 0.5}).reset_index(drop=True)
    embedded = train_heads.PatchEmbeddings(embeddings.astype(np.float32), patches, None, {"embedder": embedder}, {})
    patch_pooling = embedded.pooling("mean")
    features = train_heads.pool_recordings(embedded, data, patch_pooling)
    options = train_heads.Options(window_patches=0, hidden="8", n_networks=1, epochs=3, patience=2)
    return classifier_inputs.Inputs(CONFIG, data, embedded, features, patch_pooling, options)


@pytest.fixture
def no_network(monkeypatch):
    """Without the time that networks of the folds take: their scores are all alike."""
    monkeypatch.setattr(classifier_choice, "_network_scores", lambda inputs, rows, folds, rng: (np.full((1, len(rows), 3), 1 / 3, np.float32), [2]))


@pytest.fixture
def unknowing(monkeypatch):
    monkeypatch.setattr(zero_shot, "LAST_LAYERS", {})


def predict(model, inputs):
    patches = inputs.embedded.embeddings.reshape(N, 3, DIM)
    return model.predict({"embeddings": patches, "weights": np.full((N, 3), 0.5, np.float32)}, verbose=0)


def test_the_choice_is_made_without_test_recordings_and_never_below_the_plain_probe(tmp_path, unknowing):
    inputs = inputs_of(tmp_path)
    selection = classifier_choice.select(inputs, runtime.set_seed(0))
    table = selection.table.set_index("candidate")
    assert table.loc[selection.name, "quality"] >= table.loc[str(probes.PLAIN), "quality"] and classifier_choice.NETWORK in table.index
    assert np.isfinite(selection.scores[inputs.is_used]).all() and np.isnan(selection.scores[inputs.data.is_test]).all()
    changed = inputs.data.truth.copy()
    changed[inputs.data.is_test] = changed[inputs.data.is_test][:, ::-1]
    again = classifier_choice.select(dataclasses.replace(inputs, data=dataclasses.replace(inputs.data, truth=changed)), runtime.set_seed(0))
    assert again.name == selection.name and np.allclose(again.scores, selection.scores, equal_nan=True, atol=1e-5)
    assert f"Chosen by cross-validation over groups of training and validation recordings: {selection.name}; " in classifier_choice.describe(selection)


@pytest.mark.parametrize(
    "candidate",
    [
        classifier_choice.Candidate("birdnet", {FEW[0]: 0.5, FEW[1]: 0.5}),
        classifier_choice.Candidate("birdnet", {}, 1.0),
        classifier_choice.Candidate("birdnet", {FEW[1]: 0.75}, 0.25, 0.5),
        classifier_choice.Candidate("birdnet", {FEW[1]: 1.0}, 0.0, 1.0),
    ],
    ids=["blend", "network", "network, probe and zero-shot", "zero-shot"],
)
def test_the_fitted_model_takes_patches_and_gives_the_scores(candidate, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    known = zero_shot.LastLayer(rng.normal(size=(DIM, 2)).astype(np.float32), np.zeros(2, np.float32), pd.DataFrame({"species": ["owl", "jay"]}))
    monkeypatch.setattr(zero_shot, "LAST_LAYERS", {"birdnet": lambda weights_dir: known})
    inputs = inputs_of(tmp_path)
    selection = classifier_choice.Selection("x", candidate, pd.DataFrame(), 2, np.full((N, 3), np.nan), True)
    model, scores = classifier_choice.fit(selection, inputs, runtime.set_seed(0))
    classifiers.save(tmp_path, model, CLASSES, {})
    again, _, _ = classifiers.load(tmp_path)
    assert predict(again, inputs) == pytest.approx(scores, abs=1e-4) and scores.sum(axis=1) == pytest.approx(1.0, abs=1e-3)


def test_an_embedder_that_knows_the_species_is_believed_where_training_recordings_are_noise(tmp_path, monkeypatch, no_network):
    """Species differ in one number of 200; the last layer takes just these, which 36 recordings cannot find."""
    kernel = np.zeros((200, 3), np.float32)
    kernel[[0, 1, 2], [0, 1, 2]] = 4.0
    known = zero_shot.LastLayer(kernel, np.full(3, -4.0, np.float32), pd.DataFrame({"species": CLASSES}))
    monkeypatch.setattr(zero_shot, "LAST_LAYERS", {"birdnet": lambda weights_dir: known})
    inputs = inputs_of(tmp_path, dim=200)
    selection = classifier_choice.select(inputs, runtime.set_seed(0))
    table = selection.table.set_index("candidate")
    alone = [name for name in table.index if name.startswith(f"{classifier_choice.ZERO_SHOT}, weight 1")]
    assert table.loc[alone, "quality"].max() > table.loc[str(probes.PLAIN), "quality"] and selection.candidate.zero_shot > 0


def test_codes_of_the_recordings_taxonomy_are_matched_with_what_the_embedder_knows(tmp_path, monkeypatch):
    known = zero_shot.LastLayer(np.ones((DIM, 2), np.float32), np.zeros(2, np.float32), pd.DataFrame({"species": ["Parus major", "Strix aluco"]}))
    monkeypatch.setattr(zero_shot, "LAST_LAYERS", {"birdnet": lambda weights_dir: known})
    assert inputs_of(tmp_path).zero_shot is None
    rows = [{"primary_label": "owl", "scientific_name": "Strix aluco", "common_name": "Tawny Owl"}]
    pd.DataFrame(rows).to_csv(tmp_path / "taxonomy.csv", index=False)
    monkeypatch.setattr(classifier_inputs.stages, "recordings_root", lambda outputs_dir: tmp_path)
    assert inputs_of(tmp_path).zero_shot[1].tolist() == [False, True, False]


def test_features_that_separate_better_are_taken(tmp_path, unknowing, no_network):
    inputs, other = inputs_of(tmp_path, noise=4.0), inputs_of(tmp_path, "inner", noise=0.3, seed=1)
    selection = classifier_choice.select(inputs, runtime.set_seed(0), others=[other])
    assert selection.candidate.embedder == "inner" and selection.name.startswith("inner: ")
    assert classifier_choice.select(inputs, runtime.set_seed(0), others=[]).candidate.embedder == "birdnet"


def test_many_recordings_are_judged_on_validation_by_the_network_that_there_is(tmp_path, unknowing, monkeypatch):
    monkeypatch.setattr(classifier_inputs, "MAX_ROWS", 10)
    inputs = inputs_of(tmp_path)
    runtime.set_seed(0)
    network = classifiers.build_head(DIM, 3, "single", [4], 0.0)
    selection = classifier_choice.select(inputs, np.random.default_rng(0), network)
    is_scored = np.isfinite(selection.scores).all(axis=1)
    assert not selection.is_cross_validated and (is_scored == inputs.data.is_validation).all()
    assert "Chosen by validation" in classifier_choice.describe(selection) and not classifier_inputs.alternatives(inputs, tmp_path)[0]
    as_network = dataclasses.replace(selection, candidate=classifier_choice.Candidate("birdnet", {}, 1.0))
    assert classifier_choice.fit(as_network, inputs, np.random.default_rng(0), network)[1] == pytest.approx(classifiers.predict(network, inputs.features), abs=1e-5)


def test_several_species_a_recording(tmp_path, unknowing, no_network):
    inputs = inputs_of(tmp_path, mode="multi")
    both = np.maximum(inputs.data.truth, np.roll(inputs.data.truth, 1, axis=1) * (np.arange(N) % 4 < 2)[:, None])
    config = CONFIG | {"loss": "bce"}
    inputs = dataclasses.replace(inputs, config=config, data=dataclasses.replace(inputs.data, truth=both))
    selection = classifier_choice.select(inputs, runtime.set_seed(0))
    _, scores = classifier_choice.fit(selection, inputs, np.random.default_rng(0))
    assert scores.shape == (N, 3) and scores.sum(axis=1).max() > 1.05
