import numpy as np
import pytest

from birdlib.metrics import class_fusion

N_CLASSES = 5


def modality(rng, labels, signal, sharpness=1.0):
    """Probabilities with independent errors: softmax of ``sharpness`` * (``signal`` for the true class + noise)."""
    logits = sharpness * (signal * np.eye(N_CLASSES)[labels] + rng.standard_normal((len(labels), N_CLASSES)))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def drawn(seed=0, n=2000, **signals):
    rng = np.random.default_rng(seed)
    labels = rng.integers(N_CLASSES, size=n)
    return np.eye(N_CLASSES)[labels], {name: modality(rng, labels, signal) for name, signal in signals.items()}


def calibrated(targets, by_modality):
    return {name: class_fusion.calibrate(scores, targets) for name, scores in by_modality.items()}


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_overconfidence(sharpness):
    """The true posterior of a class that adds s to logits with unit noise has logits s * x; here s = 1.5."""
    rng = np.random.default_rng(1)
    labels = rng.integers(N_CLASSES, size=4000)
    scores = modality(rng, labels, 1.5, sharpness=sharpness)
    found = class_fusion.calibrate(scores, np.eye(N_CLASSES)[labels])
    assert found.temperature == pytest.approx(sharpness / 1.5, rel=0.15)


def test_reliability_is_the_share_that_is_right():
    targets, scores = drawn(sound=1.5)
    calibration = class_fusion.calibrate(scores["sound"], targets)
    reliability = class_fusion.reliability(calibration, scores["sound"])
    is_right = scores["sound"].argmax(axis=1) == targets.argmax(axis=1)
    assert reliability.mean() == pytest.approx(is_right.mean(), abs=0.01)
    surest = reliability > np.quantile(reliability, 0.8)
    assert reliability[surest].mean() == pytest.approx(is_right[surest].mean(), abs=0.06) and calibration.gate_slope > 0


EQUAL = {"photo": 1.0, "sound": 1.0}


@pytest.mark.parametrize("is_gated", [False, True])
def test_two_independent_modalities_are_better_than_either(is_gated):
    targets, scores = drawn(sound=1.2, photo=1.2)
    calibrations = calibrated(targets, scores)
    test, fresh = drawn(seed=7, sound=1.2, photo=1.2)
    alone = [class_fusion.accuracy(test, fresh[name]) for name in fresh]
    assert class_fusion.accuracy(test, class_fusion.fuse(fresh, calibrations, class_fusion.Pool(EQUAL, is_gated))) > max(alone) + 0.1


def test_independent_modalities_get_weights_near_one():
    """The product of calibrated posteriors is the posterior of both, where the classes are equally common."""
    targets, scores = drawn(n=4000, sound=1.5, photo=0.8)
    pool, losses = class_fusion.fit_pool(scores, targets, calibrated(targets, scores))
    assert list(pool.weights.values()) == pytest.approx([1, 1], abs=0.2)
    assert losses["not gated"] < min(losses["sound"], losses["photo"]) - 0.05


@pytest.mark.parametrize("signal", [0.0, 3.0])
def test_fusion_is_never_worse_out_of_fold_than_the_better_modality(signal):
    """Photos of noise, and photos calibrated as good that name the wrong class of these pairs: their weight goes to 0."""
    targets, scores = drawn(sound=2.0, photo=signal)
    calibrations = calibrated(targets, scores)
    if signal:
        scores["photo"] = np.roll(scores["photo"], 1, axis=1)
    pool, losses = class_fusion.fit_pool(scores, targets, calibrations)
    assert losses["not gated"] <= losses["sound"] and losses["gated"] <= losses["sound"] + 0.05
    fused = class_fusion.fuse(scores, calibrations, pool)
    assert class_fusion.log_loss(targets, fused) <= losses["sound"]
    assert class_fusion.accuracy(targets, fused) >= class_fusion.accuracy(targets, scores["sound"]) - 0.005


@pytest.mark.parametrize("is_gated", [False, True])
def test_sample_without_one_modality_has_the_calibrated_probabilities_of_the_other(is_gated):
    targets, scores = drawn(sound=1.5, photo=1.5)
    calibrations = calibrated(targets, scores)
    scores["photo"][:3], scores["sound"][2] = np.nan, np.nan
    fused = class_fusion.fuse(scores, calibrations, class_fusion.Pool({"photo": 0.7, "sound": 0.4}, is_gated))
    assert np.allclose(fused[:2], class_fusion.apply(calibrations["sound"], scores["sound"])[:2])
    assert np.isnan(fused[2]).all() and np.allclose(fused[3:].sum(axis=1), 1)


def test_class_that_one_modality_excludes_can_still_win():
    """A probability of 0 counts as 1e-4, so that the other modality may outweigh it."""
    scores = {"photo": np.array([[0.0, 0.5, 0.5]]), "sound": np.array([[1.0, 0.0, 0.0]])}
    calibrations = dict.fromkeys(scores, class_fusion.Calibration(1.0, 0.0, 0.0))
    assert class_fusion.fuse(scores, calibrations, class_fusion.Pool(EQUAL, False))[0].argmax() == 0


@pytest.mark.parametrize("shift", [0, 1])
def test_gate_is_constant_where_all_or_none_are_right(shift):
    """Laplace's rule: of 9 right ones of 9 it is 10/11, of none 1/11."""
    targets = np.eye(3)[[0, 1, 2] * 3]
    scores = np.roll(0.8 * targets + 0.2 / 3, shift, axis=1)
    calibration = class_fusion.calibrate(scores, targets)
    assert np.allclose(class_fusion.reliability(calibration, scores), 1 / 11 if shift else 10 / 11)
