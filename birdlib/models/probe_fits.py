"""Fitting of one probe: a linear classifier on features of a frozen network, as arrays and as a Keras model, see ``probes``."""

import dataclasses

import numpy as np

from birdlib import runtime

MODES = ("single", "multi")  # one class a row (softmax), or any number of them (a sigmoid a class)
STANDARDISED, UNIT, PROTOTYPES = "standardised logistic regression", "unit-length logistic regression", "prototypes"
UNSCALED = "logistic regression"  # on the features as they are
KINDS = (STANDARDISED, UNIT, PROTOTYPES, UNSCALED)
_ABSENT_BIAS = -1e9  # of a class without training rows: its probability is 0
_MIN_NORM, _MIN_DEVIATION = 1e-6, 1e-6
_MIN_SHARE = 1e-12  # of the variance of the largest direction: smaller ones are rounding errors
_MAX_ITERATIONS = 2000


class ProbeError(runtime.BirdlibError):
    """A probe that cannot be fitted."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """``kind``: one of ``KINDS``; ``strength``: scikit-learn's C of logistic regression, 1 / temperature of prototypes."""

    kind: str
    strength: float

    def __str__(self):
        return f"{self.kind}, {'1/T' if self.kind == PROTOTYPES else 'C'} = {self.strength:g}"


@dataclasses.dataclass(frozen=True)
class Linear:
    """A fitted probe: features, scaled to unit length if ``is_unit`` and then, of prototypes, around ``centre``, times ``kernel`` plus ``bias``.

    ``kernel`` is (features, outputs), ``bias`` (outputs,); outputs are the classes, in mode ``single`` maybe with a background behind them.
    """

    kernel: np.ndarray
    bias: np.ndarray
    mode: str
    n_classes: int
    is_unit: bool = False
    centre: np.ndarray | None = None

    def predict(self, features):
        """(n, features) → (n, classes) probabilities."""
        from scipy.special import expit

        scaled = _unit(features) if self.is_unit else features
        scaled = scaled if self.centre is None else _unit(scaled - self.centre)
        logits = scaled @ self.kernel + self.bias
        if self.mode == "multi":
            return expit(logits)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True))[:, : self.n_classes]

    def as_keras(self):
        """The same as a Keras model, with its scaling: (batch, features) → (batch, classes)."""
        import keras

        from birdlib.models import layers, probe_layers

        features = keras.Input((len(self.kernel),), name="features")
        if self.centre is not None:
            block = probe_layers.BlockFeatures([[0, len(self.kernel)]])
            scaled = block(features)
            block.set_weights([self.centre, np.ones_like(self.centre)])
        else:
            scaled = layers.UnitVector()(features) if self.is_unit else features
        activation = "softmax" if self.mode == "single" else "sigmoid"
        dense = keras.layers.Dense(len(self.bias), activation=activation, dtype="float32", name="probabilities")
        head = keras.Model(features, without_background(dense(scaled), self.n_classes))
        dense.set_weights([self.kernel, self.bias])
        return head


def fit_linear(probe, features, targets, mode):
    """Fit a probe: the one of ``fit_linears``."""
    return next(fit_linears([probe], features, targets, mode))


def fit_linears(probes, features, targets, mode):
    """Fit several probes to the same rows; those of one kind share the scaling, and its decomposition.

    Args:
        features: (n, features).
        targets: (n, classes) of 0 and 1; a class without rows gets probability 0. In ``single`` a row without any class is background.

    Yields:
        Linear, in the order of the probes.

    Raises:
        ProbeError: for an unknown kind or mode, or if rows are of one class only.
    """
    for probe in probes:
        if probe.kind not in KINDS or mode not in MODES:
            raise ProbeError(f"there is no probe {probe.kind!r} of mode {mode!r}: choose {', '.join(KINDS)}, and {' or '.join(MODES)}")
    if (targets.any(axis=0)).sum() < 2:
        raise ProbeError("the rows are of one class only: a probe needs two")
    features, scaled = np.asarray(features, np.float64), {}
    for probe in probes:
        if probe.kind == PROTOTYPES:
            yield _fit_prototypes(probe.strength, features, targets, mode)
            continue
        if probe.kind not in scaled:
            scaled[probe.kind] = _scale(probe.kind, features)
        rotated, directions, mean, deviation = scaled[probe.kind]
        kernel, bias = _fit_logistic(rotated, targets, probe.strength, mode)
        kernel = (kernel if directions is None else directions @ kernel) / deviation[:, None]
        yield Linear(*_float32(kernel, bias - mean @ kernel), mode, targets.shape[1], probe.kind == UNIT)


def _scale(kind, features):
    """(rows, directions, mean, deviation): rows in the span of the scaled features, where these are fewer than the features, else ``directions`` is None.

    The solution of logistic regression lies in the span of the rows, so nothing is lost.
    """
    scaled = _unit(features) if kind == UNIT else features
    mean, deviation = scaled.mean(axis=0) * (kind != UNSCALED), scaled.std(axis=0)
    deviation = np.where((deviation > _MIN_DEVIATION) & (kind == STANDARDISED), deviation, 1.0)
    rows = (scaled - mean) / deviation
    if len(rows) >= rows.shape[1]:
        return rows, None, mean, deviation
    squares, axes = np.linalg.eigh(rows @ rows.T)  # much faster than a decomposition of the rows themselves
    kept = squares > _MIN_SHARE * max(squares[-1], _MIN_NORM)
    rotated = axes[:, kept] * np.sqrt(squares[kept])  # (rows, kept)
    return rotated, rows.T @ (axes[:, kept] / np.sqrt(squares[kept])), mean, deviation


def _fit_logistic(features, targets, strength, mode):
    """(kernel, bias)."""
    from sklearn.linear_model import LogisticRegression

    options = {"C": strength, "max_iter": _MAX_ITERATIONS}
    if mode == "single":
        model = LogisticRegression(**options).fit(features, _labels(targets))
        return _of_sklearn(model, features.shape[1], targets.shape[1] + (not targets.any(axis=1).all()))
    kernel, bias = np.zeros((features.shape[1], targets.shape[1])), np.empty(targets.shape[1])
    for column, truth in enumerate(targets.T > 0):
        if truth.any() and not truth.all():
            model = LogisticRegression(**options).fit(features, truth)
            kernel[:, column], bias[column] = model.coef_[0], model.intercept_[0]
        else:
            bias[column] = -_ABSENT_BIAS if truth.any() else _ABSENT_BIAS
    return kernel, bias


def _of_sklearn(model, n_features, n_outputs):
    """(kernel, bias) of a fitted multinomial LogisticRegression, with columns for classes without rows."""
    coefficients, intercepts = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one column, for the second
        coefficients, intercepts = np.hstack([-coefficients, coefficients]) / 2, np.append(-intercepts, intercepts) / 2
    kernel, bias = np.zeros((n_features, n_outputs)), np.full(n_outputs, _ABSENT_BIAS)
    kernel[:, model.classes_], bias[model.classes_] = coefficients, intercepts
    return kernel, bias


def _fit_prototypes(strength, features, targets, mode):
    """Cosines to the unit mean of each class, around the mean of all rows; of ``multi``, with the prior of the class as bias."""
    unit = _unit(features)
    centre = unit.mean(axis=0)
    unit = _unit(unit - centre)
    columns = targets
    if mode == "single" and not targets.any(axis=1).all():
        columns = np.column_stack([targets, ~targets.any(axis=1)])
    counts = columns.sum(axis=0)
    means = _unit((columns.T @ unit) / np.maximum(counts, 1)[:, None])  # (outputs, features)
    prior = np.clip(counts / len(columns), 1e-3, 1.0 - 1e-3)
    bias = np.where(counts > 0, np.log(prior) - np.log1p(-prior) if mode == "multi" else 0.0, _ABSENT_BIAS)
    kernel, centre, bias = _float32(strength * means.T, centre, bias)
    return Linear(kernel, bias, mode, targets.shape[1], True, centre)


def without_background(probabilities, n_classes):
    """The first ``n_classes`` columns of a Keras tensor, (batch, n_classes); by layers that any Keras loads."""
    import keras

    n_outputs = probabilities.shape[-1]
    if n_outputs == n_classes:
        return probabilities
    columns = keras.layers.Reshape((n_outputs, 1), dtype="float32")(probabilities)
    columns = keras.layers.Cropping1D((0, n_outputs - n_classes), dtype="float32")(columns)
    return keras.layers.Reshape((n_classes,), dtype="float32", name="species")(columns)


def average(heads, weights):
    """One Keras model that gives the weighted mean of the probabilities of several."""
    import keras

    features = keras.Input(heads[0].input_shape[1:], name="features")
    weighted = [
        keras.layers.Rescaling(weight / sum(weights), dtype="float32")(head(features))
        for head, weight in zip(heads, weights, strict=True)
    ]
    mean = keras.layers.Add(dtype="float32")(weighted) if len(weighted) > 1 else weighted[0]
    return keras.Model(features, mean)


def _labels(targets):
    """(n,) the class of each row; a row without any has the number of classes."""
    return np.where(targets.any(axis=1), targets.argmax(axis=1), targets.shape[1])


def _unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _MIN_NORM)


def _float32(*arrays):
    return tuple(np.asarray(array, np.float32) for array in arrays)
