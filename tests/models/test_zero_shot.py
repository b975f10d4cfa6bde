"""What a pretrained network knows of species: its last layer on patches, and its scores combined with a head's."""

import keras
import numpy as np
import pandas as pd
import pytest

from birdlib.models import zero_shot, zero_shot_layers
from birdlib.species import classifiers

DIM = 6


def last_layer(seed=0):
    rng = np.random.default_rng(seed)
    species = pd.DataFrame({"species": ["Pica pica", "Turdus merula", "Parus major"], "common_name": ""})
    return zero_shot.LastLayer(rng.normal(size=(DIM, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32), species)


def patches(n=5, seed=1):
    return np.random.default_rng(seed).normal(size=(1, n, DIM)).astype(np.float32)


def test_one_patch_has_the_sigmoid_of_the_networks_own_logits():
    known = last_layer()
    [one] = patches(1)
    expected = 1 / (1 + np.exp(-(one @ known.kernel + known.bias)))
    found = known.columns([2, 0])(one[None], np.ones((1, 1), np.float32))
    assert np.asarray(found) == pytest.approx(expected[:, [2, 0]], abs=1e-5)


def test_unknown_classes_score_half_and_padding_changes_nothing():
    layer = last_layer().columns([1, -1])
    alone = np.asarray(layer(patches(), np.full((1, 5), 0.3, np.float32)))
    padded = np.concatenate([patches(), 9.0 * np.ones((1, 2, DIM), np.float32)], axis=1)
    assert np.asarray(layer(padded, np.array([[0.3] * 5 + [0.0] * 2], np.float32))) == pytest.approx(alone, abs=1e-6)
    assert alone[0, 1] == pytest.approx(0.5) and abs(alone[0, 0] - 0.5) > 1e-3


def test_pooling_over_patches_lies_between_mean_and_maximum_of_the_logits():
    known = last_layer()
    logits = patches()[0] @ known.kernel + known.bias
    pooled = np.asarray(known.columns([0, 1, 2])(patches(), np.ones((1, 5), np.float32)))[0]
    logit = np.log(pooled) - np.log1p(-pooled)
    assert (logit > logits.mean(axis=0)).all() and (logit < logits.max(axis=0)).all()


def combine(probabilities, scores, weight, is_known, mode="single"):
    return np.asarray(zero_shot_layers.log_linear(np.float32(probabilities), np.float32(scores), weight, is_known, mode))


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_weight_0_is_the_head_and_weight_1_the_network(mode):
    head, scores = [[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]
    assert combine(head, scores, 0.0, [True] * 3, mode) == pytest.approx(np.array(head), abs=1e-5)
    assert combine(head, scores, 1.0, [True] * 3, mode) == pytest.approx(np.array(scores), abs=1e-5)


def test_unknown_species_keep_the_heads_rank_among_themselves_and_the_sum_is_the_heads():
    """0.1 of the head is background, which stays."""
    found = combine([[0.4, 0.3, 0.2]], [[0.9, 0.01, 0.01]], 0.5, [True, False, False])
    assert found.sum() == pytest.approx(0.9, abs=1e-5) and found[0, 1] / found[0, 2] == pytest.approx(1.5, rel=1e-4)
    multi = combine([[0.4, 0.3, 0.2]], [[0.9, 0.01, 0.01]], 0.5, [True, False, False], "multi")
    assert multi[0, 1:] == pytest.approx([0.3, 0.2], abs=1e-5) and multi[0, 0] > 0.4


def test_a_saved_classifier_with_these_layers_takes_embeddings_and_weights_only(tmp_path):
    from birdlib.models import pooling

    keras.utils.set_random_seed(0)
    head = classifiers.build_head(2 * DIM, 3, "single", [4], 0.0)
    combined = last_layer().columns([0, 1, -1]), zero_shot_layers.LogLinear(0.5, [True, True, False], "single")
    model = classifiers.join(pooling.build_pooling(DIM), head, DIM, combined)
    classifiers.save(tmp_path, model, ["a", "b", "c"], {})
    again, _, _ = classifiers.load(tmp_path)
    inputs = {"embeddings": patches(), "weights": np.full((1, 5), 0.5, np.float32)}
    assert set(again.input) == {"embeddings", "weights"}
    assert again.predict(inputs, verbose=0) == pytest.approx(model.predict(inputs, verbose=0), abs=1e-6)


def test_an_embedder_that_knows_no_species_has_none():
    assert zero_shot.load("yamnet") is None
