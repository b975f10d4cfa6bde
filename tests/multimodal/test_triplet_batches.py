import types

import numpy as np
import pandas as pd
import pytest
from made_pairs import Shown, library

from birdlib import stages
from birdlib.losses import metric_learning
from birdlib.multimodal import pairs, triplet_batches, triplet_training

PHOTO_AND_SOUND = ("image_features", "embeddings", "weights", "presence")


def batches(whole, mined, seed=0, names=("image_features",), n_replicas=1, **options):
    train = pairs.rows(whole, "train")
    classes = sorted(set(train[0]["species"]) | set(train[1]["species"]))
    stand_in = types.SimpleNamespace(input=dict.fromkeys(names))
    options = triplet_training.Options(**options)
    return triplet_batches.batches(stand_in, whole, train, classes, mined, options, n_replicas=n_replicas, seed=[seed])


def media(counts):
    """Photos or sounds: {species: how many}."""
    species = np.repeat(list(counts), list(counts.values()))
    table = pd.DataFrame({"recording_id": [f"r{i}" for i in range(len(species))], "species": species})
    return table.assign(individual_id="", group_id=table["recording_id"], split="train", is_repeated=False)


def birds(photos, sounds, dim=8):
    """A library whose photos have their row as features; a sound is one patch, all the same but for a little noise."""
    photos, sounds = media(photos), media(sounds)
    embeddings = 1 + 0.1 * np.random.default_rng(0).random((len(sounds), dim)).astype(np.float32)
    sounds = sounds.assign(first=range(len(sounds)), last=range(1, len(sounds) + 1))
    features = np.repeat(np.arange(len(photos), dtype=np.float32)[:, None], 3, axis=1)
    return pairs.Library(photos, sounds, Shown(features), embeddings, np.ones(len(sounds), np.float32), 1)


# Labels are (batch, 3): species, photo, recording


@pytest.mark.parametrize("n_replicas", [1, 2, 4])
def test_each_replica_gets_n_samples_of_n_species(n_replicas):
    """Features of species i are all i here, so that samples can be compared with labels."""
    whole = library(signal=0)
    whole.photo_features.features[:] = np.repeat(np.arange(6), 10)[:, None]
    data = batches(whole, "", n_species=4, n_samples=5, n_replicas=n_replicas)
    inputs, labels = data[0]
    assert (inputs["image_features"][:, 0] == labels[:, 0]).all()
    for part in np.split(labels[:, 0], n_replicas):
        assert sorted(np.unique(part, return_counts=True)[1]) == [5, 5, 5, 5]


@pytest.mark.parametrize("n_replicas", [1, 2])
def test_every_mined_triplet_is_in_a_batch(monkeypatch, n_replicas):
    """42 anchors, 3 triplets a batch and replica: the last batch is filled up with the first triplets."""
    whole = library()
    monkeypatch.setattr(pairs, "embed", lambda encoder, library, table: np.eye(64, dtype=np.float32)[table["photo"] % 64])
    data = batches(whole, "hard", n_species=3, n_samples=3, n_replicas=n_replicas)
    labels = np.concatenate([data[i][1][:, 0] for i in range(len(data))]).reshape(-1, 3)
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


# Positives are of other photos and recordings

COUNTS = {"wren": (5, 8), "crow": (2, 2), "owl": (1, 1), "jay": (1, 7), "finch": (0, 6), "gull": (9, 0)}


def counted(which):
    return {name: counts[which] for name, counts in COUNTS.items() if counts[which]}


@pytest.mark.parametrize("dropout", [0.0, 0.5, 1.0])
def test_positives_in_a_batch_have_another_photo_and_another_recording_wherever_the_batch_has_one(dropout):
    """Six samples of each species; samples of the same photo and recording are never positives."""
    whole = birds(counted(0), counted(1))
    data, n_positives = batches(whole, "", names=PHOTO_AND_SOUND, n_species=6, n_samples=6, modality_dropout=dropout), 0
    for step in range(len(data)):
        labels = data[step][1]
        positives = np.asarray(metric_learning.pairs_within(labels)[0])
        for row, (species, *own) in zip(positives, labels, strict=True):
            others = labels[labels[:, 0] == species][:, 1:]
            unrelated = [one for one in others.tolist() if not any(a == b >= 0 for a, b in zip(one, own, strict=True))]
            for found in labels[row]:
                assert found[0] == species and found[1:].tolist() != own
                assert not unrelated or found[1:].tolist() in unrelated
            n_positives += row.sum()
    assert n_positives > 100


def test_a_sample_of_a_species_shares_no_photo_and_no_recording_while_there_are_enough():
    """Of 5 photos and 8 recordings: 5 pairs and 3 recordings alone are 8 samples; 2 and 2 are drawn again from the third sample on."""
    whole, rng = birds(counted(0), counted(1)), np.random.default_rng(0)

    def drawn(name, n):
        return pairs.sample(*(table[table["species"] == name] for table in pairs.rows(whole, "train")), n, rng)

    for _ in range(20):
        rows = drawn("wren", 6)
        n_with = [(rows[kind] != pairs.ABSENT).sum() for kind in pairs.KINDS]
        assert n_with == [5, 6] and all(rows.loc[rows[kind] != pairs.ABSENT, kind].is_unique for kind in pairs.KINDS)
        rows = drawn("crow", 6)
        assert all(sorted(rows[kind].value_counts()) == [3, 3] for kind in pairs.KINDS)
        assert len(drawn("owl", 6)) == len(drawn("finch", 6)) == len(drawn("gull", 6)) == 6


@pytest.mark.parametrize("mined", ["hard", "semi_hard"])
def test_mined_positives_have_another_photo_and_another_recording_wherever_there_is_one(monkeypatch, mined):
    whole = birds(counted(0), counted(1))
    vectors = np.random.default_rng(0).standard_normal((99, 8)).astype(np.float32)
    monkeypatch.setattr(pairs, "embed", lambda encoder, library, table: vectors[: len(table)])
    for seed in range(10):
        data = batches(whole, mined, seed, PHOTO_AND_SOUND)
        pool = data.labels
        assert len(data.triplets) > 20 and len(set(data.triplets[:, 0])) == len(data.triplets)
        for anchor, positive, negative in data.triplets:
            same = pool[(pool[:, 0] == pool[anchor, 0])]
            shares = ((same[:, 1:] == pool[anchor, 1:]) & (same[:, 1:] >= 0)).any(axis=1)
            found = (pool[positive, 1:] == pool[anchor, 1:]) & (pool[anchor, 1:] >= 0)
            assert not found.any() or shares.all()
            assert (pool[positive, 1:] != pool[anchor, 1:]).any()
            assert pool[positive, 0] == pool[anchor, 0] != pool[negative, 0]


def test_the_same_picture_under_two_names_is_one_photo():
    whole = birds({"wren": 3}, {"wren": 3})
    whole.photos["digest"] = ["a", "b", "a"]
    numbers = pairs.media(whole, pd.DataFrame({"photo": [0, 1, 2, pairs.ABSENT], "sound": [0, pairs.ABSENT, 2, 1]}))
    assert numbers[0, 0] == numbers[2, 0] != numbers[1, 0] and numbers[3, 0] < 0 and numbers[1, 1] < 0
    assert len(set(numbers[[0, 2, 3], 1])) == 3


# Triplets by similar sound


def test_similar_triplets_have_other_samples_and_a_negative_that_sounds_alike():
    """Two of three species sound alike (cosine 1), the third is at right angles: only those two are negatives of each other."""
    whole = birds({"wren": 3, "crow": 3, "owl": 3}, {"wren": 4, "crow": 4, "owl": 4})
    whole.embeddings[:] = np.repeat(np.eye(8)[[0, 0, 1]], 4, axis=0)
    pool = triplet_batches.similar_triplets(whole, pairs.rows(whole, "train"), 200, 0.6, np.random.default_rng(0))
    anchor, positive, negative = (pool.iloc[i::3].reset_index(drop=True) for i in range(3))
    assert (anchor["species"] == positive["species"]).all() and (anchor["species"] != negative["species"]).all()
    assert set(pool["species"]) == {"wren", "crow"} and 60 < len(anchor) / 2 < 140  # half of 200 negatives of each are owls
    assert (anchor["photo"] != positive["photo"]).all() and (anchor["sound"] != positive["sound"]).all()
    for kind, table in (("photo", whole.photos), ("sound", whole.sounds)):
        assert (table["species"].to_numpy()[pool[kind]] == pool["species"]).all()
        assert set(anchor[kind]) == set(positive[kind]) == set(table.index[table["species"] != "owl"])


def test_similar_triplets_without_photos_and_where_there_are_none():
    whole = birds({}, {"wren": 2, "crow": 1})
    pool = triplet_batches.similar_triplets(whole, pairs.rows(whole, "train"), 5, 0.6, np.random.default_rng(0))
    assert pool["species"].tolist() == ["wren", "wren", "crow"] * 5 and (pool["photo"] == pairs.ABSENT).all()
    for wrong, cosine, remedy in ((whole, 1.0, "lower min_cosine"), (birds({"wren": 3, "crow": 2}, {}), 0.6, "use triplet_hard"), (birds({}, {"wren": 9}), 0.6, "another species")):
        with pytest.raises(stages.NothingToDoError, match=remedy):
            triplet_batches.similar_triplets(wrong, pairs.rows(wrong, "train"), 5, cosine, np.random.default_rng(0))


def test_triplets_come_in_another_order_each_epoch_and_all_of_them():
    whole = birds({"wren": 5, "crow": 5}, {"wren": 5, "crow": 5})
    data = batches(whole, "similar", names=PHOTO_AND_SOUND, n_species=4, n_samples=3, triplets_per_species=10, modality_dropout=0)
    assert len(data) == 5  # 20 triplets, 4 in a batch
    epochs = []
    for _ in range(2):
        epochs.append(np.concatenate([data[step][1] for step in range(5)]).reshape(20, 9))
        data.on_epoch_end()
    assert not np.array_equal(*epochs) and np.array_equal(*(np.sort(epoch.view([("", epoch.dtype)] * 9), axis=0) for epoch in epochs))


def test_without_augmentation_a_sample_is_the_same_each_time():
    whole = birds({"wren": 2, "crow": 2}, {"wren": 2, "crow": 2})
    object.__setattr__(whole, "photo_features", Views())
    plain, random = (batches(whole, "", names=PHOTO_AND_SOUND, n_species=2, n_samples=8, augment=augment)[0][0] for augment in (False, True))
    assert set(np.unique(plain["image_features"])) == {0.0} and set(np.unique(random["image_features"])) == {0.0, 1.0}


class Views:
    """The features of a photo are the number of the view."""

    shape = (3,)

    def __call__(self, row, view):
        return np.full(3, view, np.float32)
