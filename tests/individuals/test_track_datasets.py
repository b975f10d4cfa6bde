import dataclasses

import made_tracks
import numpy as np
import pytest
from made_tracks import DIM, MAP, set_of, silence, tables, together

from birdlib.individuals import clustering, track_datasets, track_encoder
from birdlib.individuals import training as identity_training


def test_crops_are_sorted_by_track_and_time_from_any_order():
    summary, crops = tables(4)
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(12, DIM)), rng.normal(size=(12, *MAP))
    rest = together(4), np.array([""] * 4)
    sounds = silence(np.repeat(np.arange(4), 3))
    one = track_datasets.from_films(summary, crops, seen, sounds, *rest)
    order = rng.permutation(12)
    again = track_datasets.from_films(summary, crops.iloc[order], tuple(array[order] for array in seen), sounds.take(order), *rest)
    assert all(np.array_equal(a, b) for a, b in zip(one.crop_features, again.crop_features, strict=True))
    assert np.array_equal(one.sounds.of_crop, one.of_track) and np.array_equal(again.sounds.of_crop, one.of_track)
    assert np.array_equal(one.of_track, again.of_track) and np.array_equal(one.times_s, again.times_s)
    assert (np.diff(one.of_track) >= 0).all() and (np.diff(one.times_s)[np.diff(one.of_track) == 0] >= 0).all()
    row = np.flatnonzero((crops["track"] == 3) & (crops["time_s"] == 30.4))[0]
    assert np.array_equal(one.crop_features[0][(one.of_track == 2) & (one.times_s == 30.4)], seen[0][[row]])


def test_a_concatenated_set_holds_its_parts_in_order():
    parts = [set_of(["a", "a"], together(2)), set_of(["", "", ""], together(3, (0, 2)), seed=1)]
    whole = track_datasets.concatenate(parts)
    assert whole.names.tolist() == ["a", "a", "", "", ""]
    for first, part in zip((0, 2), parts, strict=True):
        rows, own = whole.of_track >= first, slice(first, first + len(part.names))
        rows &= whole.of_track < first + len(part.names)
        assert np.array_equal(whole.of_track[rows] - first, part.of_track)
        assert all(np.array_equal(a[rows], b) for a, b in zip(whole.crop_features, part.crop_features, strict=True))
        assert np.array_equal(whole.must_not_link[own, own], part.must_not_link)
    assert whole.must_not_link.sum() == 2, "birds of two sets were never in one picture"


def test_pairs_of_chosen_tracks_equal_those_of_a_set_of_these_tracks():
    whole = track_datasets.concatenate([set_of(["a", "b", ""], together(3, (0, 1), (1, 2))), set_of(["c"], together(1), seed=1)])
    vectors = whole.crop_features[0] / np.linalg.norm(whole.crop_features[0], axis=1, keepdims=True)
    few = track_datasets.validation_pairs(vectors, whole, np.array([False, True, True, True]))
    rows = whole.of_track > 0
    names, apart = ["b", "", "c"], together(3, (0, 1))
    alone = clustering.validation_pairs(vectors[rows], whole.of_track[rows] - 1, whole.times_s[rows], apart, names)
    assert all(np.array_equal(a, b) for a, b in zip(few, alone, strict=True))
    table = track_datasets.pair_table(*few[:2])
    assert table["is_same"].sum() == 3 and len(table) == 3 + 2 * 4  # halves; of b to the other two, named or not


def test_bird_pairs_are_of_one_species_and_two_films():
    """Two wrens in film a, one of them in b again, where a tit is too; a wren without a name."""
    one = set_of(["anna", "berta", "anna", "clara", ""], together(5, (0, 1), (2, 3)))
    one = dataclasses.replace(one, species=np.array(["wren", "wren", "wren", "tit", "wren"]))
    vectors = one.crop_features[0] / np.linalg.norm(one.crop_features[0], axis=1, keepdims=True)
    means, known, _ = track_datasets.bird_pairs(vectors, one, np.ones(5, bool))
    assert np.allclose(means, clustering.mean_embeddings(vectors, one.of_track))
    pairs = {(a, b): known[a, b] for a in range(5) for b in range(a) if known[a, b]}
    assert pairs == {(2, 0): 1, (2, 1): -1}
    few = track_datasets.bird_pairs(vectors, one, np.array([True, False, True, True, True]))
    assert few[1].sum() == 2 + 4 and len(few[0]) == 4  # anna twice, and everyone is himself


def test_a_subset_of_tracks_keeps_their_crops():
    summary, crops = tables(4)
    of_crops, order = np.arange(12.0)[:, None], np.random.default_rng(0).permutation(12)
    chosen = np.array([False, True, False, True])
    apart = together(4, (1, 3), (0, 1))
    few, vectors, of_track, few_apart = track_datasets.subset(chosen, summary, crops.iloc[order], of_crops[order], apart)
    assert few["track"].tolist() == [2, 4] and few_apart.tolist() == together(2, (0, 1)).tolist()
    assert set(vectors[of_track == 0, 0]) == {3, 4, 5} and set(vectors[of_track == 1, 0]) == {9, 10, 11}
    none, vectors, of_track, _ = track_datasets.subset(np.zeros(4, bool), summary, crops, of_crops, apart)
    assert len(none) == len(vectors) == len(of_track) == 0


def test_training_separates_held_out_birds_by_their_rings():
    """24 birds in two tracks each: average precision of the held-out ones improves."""
    import keras

    keras.utils.set_random_seed(0)
    one = set_of([f"bird {k // 2}" for k in range(48)], together(48), made_tracks.backbone())
    encoder = track_encoder.encoder(DIM, MAP, out_dim=16, has_sound=False)
    track_encoder.standardise(encoder, one.crop_features)
    unlearnt = track_datasets.embed(encoder, one)
    options = {"n_steps": 8, "epochs": 6, "learning_rate": 1e-2, "n_tracks": 12, "rng": np.random.default_rng(0)}
    history, held_out = track_datasets.train(encoder, one, [one.relations], **options)
    rows = held_out[one.of_track]
    before = identity_training.average_precision(unlearnt[rows], one.of_track[rows], one.relations)
    assert history["validation"].max() > before + 0.1


@pytest.mark.parametrize("names", [[""] * 9, ["anna"] * 5 + ["berta"] * 5], ids=["one beside all others", "two named birds"])
def test_holding_out_leaves_pairs_of_different_birds(untrained, names):
    """One bird is in a frame with each of eight others, or there are two named birds: without it no pair of different birds is left."""
    apart = together(9, *((0, k) for k in range(1, 9))) if names[0] == "" else together(10)
    for seed in range(8):
        one = set_of(names, apart, n_crops=2)
        track_datasets.train(None, one, [one.relations], rng=np.random.default_rng(seed))
    assert len(untrained) == 8 and all((known[~out][:, ~out] == -1).any() for known, out in untrained)
