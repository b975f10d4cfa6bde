"""The study of losses: which rows a head is trained, chosen and evaluated on, and what a configuration changes."""

import keras
import numpy as np
import pandas as pd
import pytest
from arrays import DIM, rng

from birdlib.species import classifiers, dataset, fit_heads, loss_study, train_heads

SPECIES, N_GROUPS = ["crow", "tit", "wren"], 12
N = 6 * N_GROUPS


@pytest.fixture
def study(monkeypatch):
    """72 recordings of 3 species by 12 recordists, 10 of whom are of training and validation; the last two recordings are repeated."""
    numbers = np.arange(N)
    group, species = numbers // 6, numbers % 3
    split = np.where(group >= 10, "test", np.where(group >= 8, "validation", "train"))
    splits = pd.DataFrame({"recording_id": [f"r{i:02}" for i in numbers], "species": np.array(SPECIES)[species], "split": split})
    splits = splits.assign(group_id=[f"g{i}" for i in group], is_repeated=numbers >= N - 2)
    truth = np.eye(3, dtype=np.float32)[species]
    patches = pd.DataFrame({"recording_id": np.repeat(splits["recording_id"], 2), "bird_score": 0.5}).reset_index(drop=True)
    embeddings = np.repeat(np.pad(3.0 * truth, ((0, 0), (0, DIM - 3))), 2, axis=0) + rng().standard_normal((2 * N, DIM))
    data = dataset.TrainingData(None, splits, truth, SPECIES, None, None, "birdnet", "single")
    embedded = train_heads.PatchEmbeddings(embeddings.astype(np.float32), patches, None, {"embedder": "birdnet"}, {})
    monkeypatch.setattr(dataset, "load", lambda *_: data)
    monkeypatch.setattr(train_heads, "load_embeddings", lambda *_: embedded)
    return loss_study._Study(data, embedded, embedded.pooling(), 1)


def test_folds_keep_groups_whole_and_leave_test_and_repeated_rows_out(study):
    folds, splits = loss_study._folds(study, 0), study.data.splits
    assert (folds[(splits["split"] == "test") | splits["is_repeated"]] == -1).all() and sorted(set(folds)) == [-1, 0, 1, 2, 3, 4]
    assert (splits.assign(fold=folds).groupby("group_id")["fold"].nunique() == 1).all()


def test_mixtures_are_means_with_the_labels_of_both_or_of_the_first():
    """Features are the truth itself, so they tell which two species a mixture has."""
    truth = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    mixed, labels, rows = loss_study._mixtures(truth, truth, 200, 0.0, rng())
    assert np.array_equal(labels, (mixed > 0).astype(np.float32)) and (labels.sum(axis=1) == 2).all() and (mixed.max(axis=1) == 0.5).all()
    mixed, labels, rows = loss_study._mixtures(truth, truth, 200, 0.7, rng())
    is_missing = labels.sum(axis=1) == 1
    assert 0.6 < is_missing.mean() < 0.8 and np.array_equal(labels[is_missing], truth[rows][is_missing])


def test_labels_are_missing_in_training_and_validation_only(study):
    masks = [(study.data.splits["split"] == name).to_numpy() for name in ("train", "validation", "test")]
    train, validation, test, rows = study.sets(*masks, "mixtures, labels missing", rng())
    assert len(train) == 3 and train[1].sum(axis=1).mean() < 1.5 and validation[1].sum(axis=1).mean() < 1.5
    assert (test[1].sum(axis=1) == 2).all() and set(study.data.splits["split"].iloc[rows]) == {"test"}


def test_a_configuration_reaches_the_head_its_loss_and_its_optimizer(study, monkeypatch):
    built = {}

    def record(n_networks, build, train, validation, **options):
        head = build()
        built.update(options, weight=train[2], bias=np.asarray(head.get_layer("probabilities").bias))
        return head, pd.DataFrame()

    monkeypatch.setattr(fit_heads, "fit_networks", record)
    train = np.ones((4, 2), np.float32), np.eye(4, 3, dtype=np.float32), np.ones(4, np.float32)
    study.fit(loss_study.CONFIGS["asymmetric, weights with gradient"], train, train[:2], 0)
    assert not built["bias"].any() and built["loss"].options["weights_have_gradient"] and built["learning_rate"] == 1e-3
    study.fit(loss_study.CONFIGS["asymmetric, three times the learning rate"], train, train[:2], 0)
    assert not built["loss"].options["weights_have_gradient"] and built["learning_rate"] == 3e-3
    study.fit(loss_study.CONFIGS["asymmetric, begins at the prior"], train, train[:2], 0)
    assert built["bias"] == pytest.approx(np.log(1 / 3))
    study.fit(loss_study.CONFIGS["asymmetric, summed over species"], train, train[:2], 0)
    assert built["weight"].tolist() == [3.0] * 4


@pytest.mark.slow
def test_tables_compare_every_loss_with_cross_entropy_and_score_test_once(study, monkeypatch):
    chosen = {name: loss_study.CONFIGS[name] for name in ("cross-entropy", "asymmetric")}
    monkeypatch.setattr(loss_study, "CONFIGS", chosen)
    monkeypatch.setattr(loss_study, "FINAL", tuple(chosen))
    monkeypatch.setattr(loss_study, "SETS", {"recordings": (1, 0.0)})
    scored, predict = [], classifiers.predict
    monkeypatch.setattr(classifiers, "predict", lambda head, features: scored.append(len(features)) or predict(head, features))
    keras.utils.set_random_seed(0)
    table, test = loss_study.run("outputs", epochs=3)
    assert sum(scored) == 2 * 60 + 2 * loss_study._N_STARTS * 10  # 60 recordings of training and validation, 10 of test that are not repeated
    assert table["loss"].tolist() == test["loss"].tolist() == list(chosen)
    assert table["difference"][0] == [0.0, 0.0, 0.0] and table["macro_auc"].str[0].between(0.5, 1.0).all()
    assert "[" in loss_study.as_text(table)["macro_auc"][0]


def test_the_same_offset_of_all_species_is_measured():
    """Logits of two recordings that differ by 2 for every species: their means deviate by 1; a difference between species does not count."""
    logits = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert loss_study._offset(1.0 / (1.0 + np.exp(-logits)), np.zeros(2)) == pytest.approx(1.0)
    assert loss_study._offset(1.0 / (1.0 + np.exp(-logits[:, ::-1] * [[1, 1], [0, 0]] - [[0, 0], [0, 1]])), np.zeros(2)) == pytest.approx(0.0)
