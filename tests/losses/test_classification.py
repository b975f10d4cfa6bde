import math

import numpy as np
import pytest
from arrays import cost, from_config, gradient, half_is_single, rng

from birdlib import runtime
from birdlib.losses import base
from birdlib.losses import classification as classification_losses
from birdlib.metrics import classification

OF_A_SPECIES = ["asymmetric", "bce", "focal"]  # each species by itself
OPTIONS = {
    "cross_entropy": {"background": True},
    "asymmetric": {"positive_focus": 1.0, "negative_focus": 3.0, "clip": 0.1},
    "focal": {"focus": 1.0},
    "soft_auc": {"scale": 3.0},
}
SURE = 30.0  # a logit: e ** -30 is nothing


def dawn(n=24, n_species=5, seed=0):
    """(labels, logits) of clips with no, one or several species; logits are mostly correct."""
    labels = (rng(seed).random((n, n_species)) < 0.3).astype(np.float32)
    return labels, (rng(seed + 1).normal(size=labels.shape) + 1.5 * labels).astype(np.float32)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-np.asarray(z, np.float64)))


# Asymmetric


def test_asymmetric_loss_is_the_papers_formula():
    labels, logits = dawn()
    p = sigmoid(logits)
    q = np.maximum(p - 0.05, 0.0)
    expected = -np.mean(labels * np.log(p) + (1 - labels) * q**5 * np.log(1 - q))
    assert cost(classification_losses.get("asymmetric"), labels, p.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_asymmetric_loss_of_one_positive_and_one_negative():
    """p = 0.5 for both: log 2 for the one that is there; for the other q = 0.45: -0.45 ** 5 log 0.55 = 0.01103. Their mean."""
    expected = (math.log(2) - 0.45**5 * math.log(0.55)) / 2
    found = cost(classification_losses.get("asymmetric"), [[1.0, 0.0]], np.array([[0.5, 0.5]], np.float32))
    assert found == pytest.approx(expected, rel=1e-5)


def test_asymmetric_loss_of_negatives_below_clip_is_zero_without_gradient():
    """Below the clip of 0.05: a label that was forgotten is forgiven as well."""
    unlikely = np.array([[0.01, 0.03, 0.049]], np.float32)
    assert cost(classification_losses.get("asymmetric"), np.zeros((1, 3)), unlikely) == 0.0
    assert (gradient(classification_losses.get("asymmetric"), np.zeros((1, 3), np.float32), unlikely) == 0.0).all()
    assert cost(classification_losses.get("asymmetric", clip=0.0), np.zeros((1, 3)), unlikely) > 0.0


def test_asymmetric_weights_are_constants_of_the_gradient():
    """A negative of p = 0.5: d/dp of -0.45 ** 5 log(1.05 - p) is 0.45 ** 5 / 0.55; with the weight's own slope, 5 * 0.45 ** 4 * -log 0.55 more.

    The authors' training code takes the weights as constants.
    """
    negative, constant = np.array([[0.5]], np.float32), 0.45**5 / 0.55
    for has_gradient, slope in ((False, constant), (True, constant - 5 * 0.45**4 * math.log(0.55))):
        loss = classification_losses.get("asymmetric", weights_have_gradient=has_gradient)
        assert gradient(loss, np.zeros((1, 1), np.float32), negative)[0, 0] == pytest.approx(slope, rel=1e-4)
        assert cost(loss, [[0.0]], negative) == pytest.approx(-(0.45**5) * math.log(0.55), rel=1e-4)


def test_asymmetric_loss_down_weights_negatives_only():
    """Equally wrong, p = 0.3 for a bird that is there and 0.7 for one that is not: bce treats them alike."""
    missed, imagined = ([[1.0]], np.array([[0.3]], np.float32)), ([[0.0]], np.array([[0.7]], np.float32))
    assert cost(classification_losses.get("bce"), *missed) == pytest.approx(cost(classification_losses.get("bce"), *imagined))
    asymmetric = classification_losses.get("asymmetric")
    assert cost(asymmetric, *missed) == pytest.approx(cost(classification_losses.get("bce"), *missed), rel=1e-5)
    assert cost(asymmetric, *missed) > 5 * cost(asymmetric, *imagined)


@pytest.mark.parametrize("from_logits", [False, True])
def test_asymmetric_and_focal_without_focus_and_clip_are_bce(from_logits):
    labels, logits = dawn()
    outputs = logits if from_logits else sigmoid(logits).astype(np.float32)
    plain = classification_losses.get("asymmetric", from_logits, positive_focus=0.0, negative_focus=0.0, clip=0.0)
    expected = cost(classification_losses.get("bce", from_logits), labels, outputs)
    assert cost(plain, labels, outputs) == pytest.approx(expected, rel=1e-6)
    assert cost(classification_losses.get("focal", from_logits, focus=0.0), labels, outputs) == pytest.approx(expected, rel=1e-6)


# Those that Keras has too


def test_bce_focal_and_cross_entropy_agree_with_keras():
    import keras

    labels, logits = dawn()
    ours = {name: cost(classification_losses.get(name, True), labels, logits) for name in ("bce", "focal")}
    assert ours["bce"] == pytest.approx(
        cost(keras.losses.BinaryCrossentropy(from_logits=True), labels, logits), rel=1e-5
    )
    focal = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    assert ours["focal"] == pytest.approx(cost(focal, labels, logits), rel=1e-5)
    one_bird = np.eye(5, dtype=np.float32)[rng().integers(5, size=len(logits))]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for loss, outputs in (
        (classification_losses.get("cross_entropy", True), logits),
        (classification_losses.get("cross_entropy"), softmax),
    ):
        expected = cost(keras.losses.CategoricalCrossentropy(), one_bird, softmax)
        assert cost(loss, one_bird, outputs) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_an_easy_positive_is_a_hundredth_of_bce():
    """(1 - 0.9) ** 2 = 0.01."""
    said = np.array([[0.9]], np.float32)
    focal, bce = (cost(classification_losses.get(name), [[1.0]], said) for name in ("focal", "bce"))
    assert focal == pytest.approx(0.01 * bce, rel=1e-4)


def test_cross_entropy_of_two_labels_is_lowest_for_equal_probabilities():
    """Least at one half each: log 2. A clip without labels has no loss."""
    loss, both = classification_losses.get("cross_entropy"), np.array([[1.0, 1.0, 0.0]])
    halves, lopsided = np.array([[[0.5, 0.5, 0.0]], [[0.8, 0.2, 0.0]]], np.float32)
    assert cost(loss, both, halves) == pytest.approx(math.log(2), rel=1e-5)
    assert cost(loss, both, lopsided) > cost(loss, both, halves)
    assert cost(loss, np.zeros((1, 3)), lopsided) == 0.0


def test_background_learns_from_clips_without_labels():
    """Outputs that sum to .6 leave .4 to the background: a clip without labels costs -log .4, one of the second species -log .2."""
    loss, p = classification_losses.get("cross_entropy", background=True), np.array([[0.1, 0.2, 0.3]], np.float32)
    assert cost(loss, np.zeros((1, 3)), p) == pytest.approx(-math.log(0.4), rel=1e-5)
    assert cost(loss, [[0.0, 1.0, 0.0]], p) == pytest.approx(-math.log(0.2), rel=1e-5)
    assert cost(loss, [[0.0, 0.5, 0.0]], p) == pytest.approx(-(math.log(0.2) + math.log(0.4)) / 2, rel=1e-5)  # half of a mixture
    assert (gradient(loss, np.zeros((1, 3), np.float32), p) > 0).all()  # every species is too likely
    logits = np.log(p / 0.4)  # of softmax with a background of logit 0
    assert cost(classification_losses.get("cross_entropy", True, background=True), [[0.0, 1.0, 0.0]], logits) == pytest.approx(-math.log(0.2), rel=1e-5)


# Soft AUC


def test_soft_auc_of_one_positive_and_two_negative_clips():
    """Logits 2 (has it), 1 and 3: (log(1 + e^-1) + log(1 + e^1)) / 2."""
    logits = np.array([[2.0], [1.0], [3.0]], np.float32)
    expected = (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(1.0))) / 2
    assert cost(classification_losses.get("soft_auc", True), [[1.0], [0.0], [0.0]], logits) == pytest.approx(expected, rel=1e-5)


def test_soft_auc_weighs_species_equally_and_leaves_out_those_without_pairs():
    """Species 1 is in no clip, species 2 in all; both are left out."""
    labels = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
    logits = np.array([[0.5, 9, -9], [0.5, -9, 9]], np.float32)
    loss = classification_losses.get("soft_auc", True)
    assert cost(loss, labels, logits) == pytest.approx(math.log(2), rel=1e-5)  # species 0: a tie
    assert cost(loss, labels[:1], logits[:1]) == 0.0
    assert (gradient(loss, labels[:1], logits[:1]) == 0.0).all()


@pytest.mark.parametrize("seed", range(5))
def test_soft_auc_bounds_the_share_of_misordered_pairs(seed):
    """log(1 + exp(-d)) is at least log 2 where d <= 0; with a large scale and no pair wrong, it vanishes."""
    labels, logits = dawn(seed=seed)
    found = cost(classification_losses.get("soft_auc", True, scale=4.0), labels, logits)
    assert found > math.log(2) * (1.0 - classification.macro_roc_auc(labels, logits))
    assert cost(classification_losses.get("soft_auc", True), labels, SURE * (2 * labels - 1)) < 1e-6


def test_soft_auc_ignores_offsets_of_a_species():
    """Only the order of clips counts, as in ROC-AUC."""
    labels, logits = dawn()
    loss, louder = classification_losses.get("soft_auc", True), logits + np.array([3, -2, 0, 1, 5], np.float32)
    assert cost(loss, labels, louder) == pytest.approx(cost(loss, labels, logits), rel=1e-5)


def test_soft_auc_weights_soft_labels_by_their_difference():
    """Labels 0.9 and 0.4: the pair counts half, which alone changes nothing; equal doubts are no pair."""
    logits = np.array([[1.0], [2.0]], np.float32)
    loss = classification_losses.get("soft_auc", True)
    assert cost(loss, [[0.9], [0.4]], logits) == pytest.approx(cost(loss, [[1.0], [0.0]], logits), rel=1e-6)
    assert cost(loss, [[0.6], [0.6]], logits) == 0.0


# All of them


@pytest.mark.parametrize("name", OF_A_SPECIES)
def test_confident_correct_outputs_have_no_loss_and_hesitant_ones_more(name):
    labels, _ = dawn()
    sure = (SURE * (2 * labels - 1)).astype(np.float32)
    assert cost(classification_losses.get(name, True), labels, sure) == pytest.approx(0.0, abs=1e-6)
    assert cost(classification_losses.get(name, True), labels, sure / 30) > 0.01


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_probabilities_and_their_logits_have_equal_losses(name):
    labels, logits = dawn()
    if name == "cross_entropy":
        outputs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    else:
        outputs = sigmoid(logits)
    expected = cost(classification_losses.get(name, from_logits=True), labels, logits)
    assert cost(classification_losses.get(name), labels, outputs.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", classification_losses.LOSSES)
@pytest.mark.parametrize("said", [0.0, 1.0, 0.5])
def test_losses_and_gradients_of_wrong_probabilities_are_finite(name, said):
    labels, _ = dawn()
    outputs = np.full(labels.shape, said, np.float32)
    assert math.isfinite(cost(classification_losses.get(name), labels, outputs))
    assert np.isfinite(gradient(classification_losses.get(name), labels, outputs)).all()


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_huge_logits_do_not_overflow_and_have_gradients(name):
    labels, _ = dawn()
    wrong = (200.0 * (1 - 2 * labels)).astype(np.float32)
    loss = classification_losses.get(name, from_logits=True)
    assert math.isfinite(cost(loss, labels, wrong))
    gradients = gradient(loss, labels, wrong)
    assert np.isfinite(gradients).all() and (gradients[labels == 1] <= 0).all() and gradients[labels == 1].min() < 0


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_a_gradient_step_lowers_the_loss(name):
    labels, logits = dawn()
    loss = classification_losses.get(name, from_logits=True)
    assert cost(loss, labels, logits - gradient(loss, labels, logits)) < cost(loss, labels, logits)


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_losses_ignore_the_order_of_clips_and_species(name):
    labels, logits = dawn()
    rows, columns = rng().permutation(len(labels)), rng().permutation(labels.shape[1])
    loss = classification_losses.get(name, from_logits=True)
    moved = cost(loss, labels[rows][:, columns], logits[rows][:, columns])
    assert moved == pytest.approx(cost(loss, labels, logits), rel=1e-5)


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_half_precision_inputs_are_computed_in_float32(name):
    assert half_is_single(classification_losses.get(name, from_logits=True), *dawn())


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_config_round_trip(name):
    labels, logits = dawn()
    loss = classification_losses.get(name, from_logits=True, **OPTIONS.get(name, {}))
    found = cost(from_config(loss), labels, logits)
    assert found == cost(loss, labels, logits)
    if name in OPTIONS:
        assert found != cost(classification_losses.get(name, from_logits=True), labels, logits)


@pytest.mark.parametrize("name", classification_losses.LOSSES)
def test_a_network_trains_and_is_saved_compiled(name, tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    labels, features = dawn()
    inputs = keras.Input((features.shape[1],))
    outputs = keras.layers.Dense(labels.shape[1], activation="softmax" if name == "cross_entropy" else "sigmoid")(
        inputs
    )
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.05), loss=classification_losses.get(name))
    history = model.fit(features, labels, batch_size=24, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    costs = [one.evaluate(features, labels, batch_size=24, verbose=0) for one in (model, again)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


def test_an_unknown_loss_is_an_error_that_lists_the_names():
    with pytest.raises(base.LossError, match="'assymmetric' is unknown: use one of asymmetric, bce"):
        classification_losses.get("assymmetric")
    assert issubclass(base.LossError, runtime.BirdlibError)
