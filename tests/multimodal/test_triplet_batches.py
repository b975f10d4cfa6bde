import types

import numpy as np
import pandas as pd
import pytest
from made_pairs import Shown, library

from birdlib.multimodal import pairs, triplet_training


def batches(whole, mined, seed=0, names=("image_features",), **options):
    train = pairs.rows(whole, "train")
    classes = sorted(set(train[0]["species"]) | set(train[1]["species"]))
    stand_in = types.SimpleNamespace(input=dict.fromkeys(names))
    return triplet_training.batches(stand_in, whole, train, classes, mined, seed=[seed], **options)


@pytest.mark.parametrize("n_replicas", [1, 2, 4])
def test_each_replica_gets_n_samples_of_n_species(n_replicas):
    """Features of species i are all i here, so that samples can be compared with labels."""
    whole = library(signal=0)
    whole.photo_features.features[:] = np.repeat(np.arange(6), 10)[:, None]
    data = batches(whole, "", n_species=4, n_samples=5, n_replicas=n_replicas)
    inputs, labels = data[0]
    assert (inputs["image_features"][:, 0] == labels).all()
    for part in np.split(labels, n_replicas):
        assert sorted(np.unique(part, return_counts=True)[1]) == [5, 5, 5, 5]


@pytest.mark.parametrize("n_replicas", [1, 2])
def test_every_mined_triplet_is_in_a_batch(monkeypatch, n_replicas):
    """42 anchors, 3 triplets a batch and replica: the last batch is filled up with the first triplets."""
    whole = library()
    monkeypatch.setattr(pairs, "embed", lambda encoder, library, table: np.eye(64, dtype=np.float32)[table["photo"] % 64])
    data = batches(whole, "hard", n_species=3, n_samples=3, n_replicas=n_replicas)
    labels = np.concatenate([data[i][1] for i in range(len(data))]).reshape(-1, 3)
    assert (labels[:, 0] == labels[:, 1]).all() and (labels[:, 0] != labels[:, 2]).all()
    assert all(len(data[i][1]) == 9 * n_replicas for i in range(len(data)))
    n_anchors = len(pairs.rows(whole, "train")[0])
    assert n_anchors <= len(labels) < n_anchors + 3 * n_replicas


def test_batches_differ_by_epoch_and_step_and_repeat_for_a_seed():
    first, again, other = (batches(library(), "", seed=seed, n_species=6) for seed in (1, 1, 2))
    draws = [first[0], first[1], other[0]]
    assert np.array_equal(first[0][0]["image_features"], again[0][0]["image_features"])
    first.on_epoch_end()
    draws.append(first[0])
    features = [inputs["image_features"] for inputs, _ in draws]
    assert not any(np.array_equal(a, b) for i, a in enumerate(features) for b in features[:i])


def test_batches_have_modality_dropout():
    """Photos and sounds of two species; of 400 pairs half lose one, 200 ± 4 * sqrt(400) / 2."""
    table = pd.DataFrame({"recording_id": list("abcd"), "species": ["wren", "wren", "crow", "crow"]})
    table = table.assign(individual_id="", group_id=table["recording_id"], split="train", is_repeated=False)
    sounds = table.assign(first=range(4), last=range(1, 5))
    embeddings = np.ones((4, 8), np.float32)
    whole = pairs.Library(table, sounds, Shown(np.ones((4, 3), np.float32)), embeddings, np.ones(4, np.float32), 1)
    names = ("image_features", "embeddings", "weights", "presence")
    inputs, _ = batches(whole, "", names=names, n_species=2, n_samples=200)[0]
    assert tuple(inputs) == names
    n_there = inputs["presence"].sum(axis=1)
    assert n_there.min() == 1 and (n_there == 1).sum() == pytest.approx(200, abs=40)
