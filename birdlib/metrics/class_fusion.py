"""Late fusion of class probabilities of several modalities, calibrated and weighted by how reliable each is for a sample.

The probabilities of a modality are sharpened or softened by a temperature ("On Calibration of Modern Neural Networks", 2017). Its gate is the
probability that its highest class is right, by the margin of that class over the second. Fused probabilities are proportional to the product of
the modalities' probabilities, which are independent given the class ("On Combining Classifiers", 1998), each to the power of its weight.
Everything is fitted on scores out of fold. Probabilities are (n, classes); rows of NaN where a sample lacks the modality.
"""

from typing import NamedTuple

import numpy as np

from birdlib.metrics import classification

TEMPERATURES = np.geomspace(0.2, 5.0, 41)
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


def fuse(by_modality, calibrations, rule="gated"):
    """Fused probabilities, (n, classes).

    Args:
        by_modality: dict name -> probabilities, of the same classes.
        calibrations: dict name -> Calibration, of the same names or more.
        rule: ``gated``: weights proportional to the reliability, their mean over the modalities of a sample 1; ``product``: all weights 1; or the
            name of a modality, which is taken alone.
    """
    names = sorted(by_modality) if rule in ("gated", "product") else [rule]  # float sums depend on the order
    logs = np.stack([np.log(apply(calibrations[name], by_modality[name])) for name in names])  # (modalities, n, classes)
    is_present = ~np.isnan(logs).any(axis=2)  # (modalities, n)
    weights = is_present.astype(float)
    if rule == "gated":
        gates = np.stack([reliability(calibrations[name], by_modality[name]) for name in names])
        gates = np.where(is_present, gates, 0.0)
        weights = gates * is_present.sum(axis=0) / np.maximum(gates.sum(axis=0), 1e-12)
    logs = (weights[..., None] * np.nan_to_num(logs)).sum(axis=0)
    return np.where(is_present.any(axis=0)[:, None], _normalised(logs), np.nan)


def choose_rule(by_modality, targets, calibrations):
    """The rule of ``fuse`` for pairs out of fold: both modalities only where that is better than either.

    Args:
        by_modality: dict name -> probabilities out of fold of paired samples.
        targets: (n, classes) of the pairs.

    Returns:
        (rule, {rule: mean of accuracy and macro ROC-AUC}): the best; of equal ones the product, then the gate.
    """
    qualities = {rule: quality(targets, fuse(by_modality, calibrations, rule)) for rule in ("product", "gated", *sorted(by_modality))}
    return max(qualities, key=lambda rule: np.nan_to_num(qualities[rule], nan=-1.0)), qualities


def quality(targets, probabilities):
    """Mean of accuracy and macro ROC-AUC; of one of them where the other is not defined."""
    return float(np.nanmean([accuracy(targets, probabilities), classification.macro_roc_auc(targets, probabilities)]))


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
