"""Late fusion of class probabilities of several modalities, calibrated and weighted by how reliable each is for a sample.

The probabilities of a modality are sharpened or softened by a temperature ("On Calibration of Modern Neural Networks", 2017). Its gate is the
probability that its highest class is right, by the margin of that class over the second. Fused probabilities are a logarithmic opinion pool
("Combining Probability Distributions: A Critique and an Annotated Bibliography", 1986): proportional to the product of the modalities'
probabilities, each to the power of its weight. Everything is fitted on scores out of fold. Probabilities are (n, classes); rows of NaN where a
sample lacks the modality.
"""

from typing import NamedTuple

import numpy as np

from birdlib.metrics import classification

TEMPERATURES = np.geomspace(0.2, 5.0, 41)
_MAX_WEIGHT = 3.0
_MIN_GAIN = 0.005  # of the log loss, for which gates are used
_FLOOR = 1e-4  # of a probability: one modality cannot rule a class out alone


class Calibration(NamedTuple):
    """``temperature``; ``gate_slope`` and ``gate_intercept`` of a logistic curve, margin → probability that the highest class is right."""

    temperature: float
    gate_slope: float
    gate_intercept: float


def calibrate(probabilities, targets):
    """Fit the calibration of one modality.

    Args:
        probabilities: out of fold.
        targets: (n, classes) of 0 and 1, one class a row.

    Returns:
        Calibration: the temperature with the highest likelihood of ``TEMPERATURES``; a gate that rises with the margin, or is constant where none
        or all rows are right, or where it would fall.
    """
    labels = np.argmax(targets, axis=1)
    likelihoods = [np.log(_softened(probabilities, temperature)[np.arange(len(labels)), labels]).sum() for temperature in TEMPERATURES]
    temperature = float(TEMPERATURES[int(np.argmax(likelihoods))])
    softened = _softened(probabilities, temperature)
    return Calibration(temperature, *_gate(_margin(softened), softened.argmax(axis=1) == labels))


def apply(calibration, probabilities):
    """Calibrated probabilities."""
    return _softened(probabilities, calibration.temperature)


def reliability(calibration, probabilities):
    """(n,) the probability that the highest class of each row is right."""
    from scipy.special import expit

    margin = _margin(_softened(probabilities, calibration.temperature))
    return expit(calibration.gate_slope * margin + calibration.gate_intercept)


class Pool(NamedTuple):
    """``weights``: {modality: weight}; ``is_gated``: whether they are multiplied by the reliability for each sample."""

    weights: dict
    is_gated: bool


def fit_pool(by_modality, targets, calibrations):
    """Fit the weights of a pool by maximum likelihood, with and without gates.

    A modality may get the weight 0, and the others their calibrated probabilities: on these pairs the likelihood is not below that of any alone.

    Args:
        by_modality: dict name -> probabilities out of fold of samples that have all modalities.
        targets: (n, classes) of these samples.
        calibrations: dict name -> Calibration.

    Returns:
        (pool, log_losses): the better Pool, and {"gated", "not gated", name of a modality alone: mean of -log of the true class's probability}.
    """
    from scipy.optimize import minimize

    names, found = sorted(by_modality), {}  # float sums depend on the order
    for is_gated in (False, True):

        def loss(weights, is_gated=is_gated):
            return log_loss(targets, fuse(by_modality, calibrations, Pool(dict(zip(names, weights, strict=True)), is_gated)))

        corners = [np.ones(len(names)), *np.eye(len(names))]
        start = min(corners, key=loss)
        fitted = minimize(loss, start, bounds=[(0.0, _MAX_WEIGHT)] * len(names))
        best = min((start, fitted.x), key=loss)
        found[is_gated] = loss(best), Pool(dict(zip(names, best.tolist(), strict=True)), is_gated)
    alone = {name: log_loss(targets, apply(calibrations[name], by_modality[name])) for name in names}
    (plain, _), (gated, _) = found[False], found[True]
    return found[gated < plain - _MIN_GAIN][1], {"not gated": plain, "gated": gated, **alone}


def fuse(by_modality, calibrations, pool):
    """Fused probabilities, (n, classes): of a sample that lacks modalities, those of the others.

    Args:
        by_modality: dict name -> probabilities, of the same classes.
        calibrations: dict name -> Calibration, of the same names or more.
        pool: of ``fit_pool``. Of a sample with one modality alone, its calibrated probabilities are taken as they are.
    """
    names = sorted(by_modality)
    logs = np.stack([np.log(apply(calibrations[name], by_modality[name])) for name in names])  # (modalities, n, classes)
    is_present = ~np.isnan(logs).any(axis=2)  # (modalities, n)
    weights = is_present * np.array([pool.weights[name] for name in names])[:, None]
    if pool.is_gated:
        gates = np.stack([reliability(calibrations[name], by_modality[name]) for name in names])
        gates = np.where(is_present, gates, 0.0)
        weights = weights * gates * is_present.sum(axis=0) / np.maximum(gates.sum(axis=0), 1e-12)
    weights = np.where(is_present.sum(axis=0) == 1, is_present, weights)
    fused = _normalised((weights[..., None] * np.nan_to_num(logs)).sum(axis=0))
    return np.where(is_present.any(axis=0)[:, None], fused, np.nan)


def log_loss(targets, probabilities):
    """Mean of -log of the probability of the true class."""
    true = probabilities[np.arange(len(targets)), targets.argmax(axis=1)]
    return float(-np.mean(np.log(np.maximum(true, 1e-12))))


def accuracy(targets, probabilities):
    """Share of rows whose highest class is right, see ``classification.accuracy``."""
    return classification.accuracy(targets.argmax(axis=1), probabilities)


def _softened(probabilities, temperature):
    return _normalised(np.log(np.maximum(np.asarray(probabilities, float), _FLOOR)) / temperature)


def _normalised(logs):
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _margin(probabilities):
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return first - second


def _gate(margin, is_right):
    """(slope, intercept)."""
    from sklearn.linear_model import LogisticRegression

    n_right = is_right.sum()
    if 0 < n_right < len(is_right):
        fitted = LogisticRegression().fit(margin[:, None], is_right)
        if fitted.coef_[0, 0] > 0:
            return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return 0.0, float(np.log((n_right + 1) / (len(is_right) - n_right + 1)))
