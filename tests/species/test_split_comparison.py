"""What a random split flatters: nothing where groups do not matter, much where the background is the group's."""

import types

import numpy as np
import pandas as pd
import pytest

from birdlib.species import classifiers, dataset, split_comparison, train_heads

CLASSES = ["wren", "robin"]


def data_of(n_groups=6, n_each=3):
    """Every group has recordings of both species."""
    rows = [(f"r{g}-{s}-{n}", CLASSES[s], f"g{g}") for g in range(n_groups) for s in range(2) for n in range(n_each)]
    table = pd.DataFrame(rows, columns=["recording_id", "species", "group_id"])
    paths = dict.fromkeys(["image_path", "video_path"], "")
    splits = table.assign(split="train", is_repeated=False, audio_path=table["recording_id"] + ".ogg", **paths)
    return dataset.TrainingData("", splits, np.eye(2)[table["species"].map(CLASSES.index)], CLASSES, None, None, "yamnet", "single")


@pytest.fixture
def nearest(monkeypatch):
    """A classifier by the nearest training recording; its features are those that a test puts here."""
    seen = types.SimpleNamespace(features=None, trained_on=[])

    def train_head(config, data, embedded, features, patch_pooling, rng, options):
        is_train = data.is_train
        seen.trained_on.append((set(data.splits["recording_id"][is_train]), set(data.splits["recording_id"][data.is_test])))
        return (features[is_train], data.truth[is_train]), None

    def predict(network, features):
        known, truth = network
        return truth[((features[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)]

    monkeypatch.setattr(train_heads, "pool_recordings", lambda embedded, data, patch_pooling: seen.features)
    monkeypatch.setattr(train_heads, "train_head", train_head)
    monkeypatch.setattr(classifiers, "predict", predict)
    return seen


def compare(data):
    return split_comparison.compare({"soundscapes": True}, data, None, None, None, np.random.default_rng(0))


def test_a_background_that_betrays_the_species_within_its_group_flatters(nearest):
    """Each group and species has a sound of its own: only those who had others of the group can know it."""
    data = data_of(n_each=8)
    cells = (data.splits["group_id"] + data.splits["species"]).factorize()[0]
    nearest.features = np.random.default_rng(1).normal(size=(cells.max() + 1, 8))[cells] + 1e-3 * np.arange(len(cells))[:, None]
    table = compare(data).set_index("figure")
    assert table["random"]["accuracy"][0] == 1.0 and table["grouped"]["accuracy"][0] < 0.8
    assert table["difference"]["accuracy"][1] > 0 and table["n"].tolist() == [96, 96]
    assert split_comparison.describe(compare(data)).startswith("The random split flatters macro ROC-AUC by 0.")


def test_nothing_is_flattered_where_only_the_species_counts(nearest):
    data = data_of()
    nearest.features = data.truth + 0.01 * np.random.default_rng(1).normal(size=data.truth.shape)
    table = compare(data)
    assert all(value == [0.0, 0.0, 0.0] for value in table["difference"])
    assert "Both intervals include 0" in split_comparison.describe(table)
    assert split_comparison.results(table) == {"random split flatters macro_auc": [0.0] * 3, "random split flatters accuracy": [0.0] * 3}


def test_every_recording_is_tested_once_by_networks_without_it_both_times(nearest):
    data = data_of()
    nearest.features = data.truth
    compare(data)
    assert len(nearest.trained_on) == 2 * split_comparison.N_FOLDS
    for half in (nearest.trained_on[:5], nearest.trained_on[5:]):
        assert sorted(name for _, tested in half for name in tested) == sorted(data.splits["recording_id"])
    assert all(not trained & tested for trained, tested in nearest.trained_on)
    groups = data.splits.set_index("recording_id")["group_id"]
    assert all(not set(groups[list(trained)]) & set(groups[list(tested)]) for trained, tested in nearest.trained_on[5:])


def test_too_few_groups_are_said(nearest):
    data = data_of(n_groups=2)
    nearest.features = data.truth
    assert not len(compare(data)) and "too few groups" in split_comparison.describe(compare(data))
    assert split_comparison.describe(None) == "Recordings were split by group: nothing to correct." and split_comparison.results(None) == {}
