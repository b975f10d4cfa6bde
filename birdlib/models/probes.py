"""Probes: small classifiers on features of a frozen network, of sound or of photos, chosen by repeated cross-validation over groups.

A probe is logistic regression on standardised features or on features of unit length, or the cosine to the mean of each class (prototypes), or a
blend of two of these. Features are (n, features), targets (n, classes) of 0 and 1; ``mode`` is ``single`` (one class a row: softmax) or ``multi``
(any number: a sigmoid a class). In ``single`` a row without any class is background, whose probability is not among the outputs.
Scores out of fold are (repeats, n, classes): in each repeat, a row is scored by a probe that was fitted without its group.
"""

import dataclasses
import functools
import warnings

import numpy as np
import pandas as pd

from birdlib.metrics import bootstrap, classification, resampled
from birdlib.models import probe_fits
from birdlib.models.probe_fits import PROTOTYPES, STANDARDISED, UNIT, Probe

N_FOLDS, N_REPEATS = 5, 2
BLEND_WEIGHTS = (0.25, 0.5, 0.75)  # of the second part
PLAIN = Probe(STANDARDISED, 1.0)  # the baseline: what a few lines of scikit-learn give
PROBES = (
    Probe(PROTOTYPES, 10.0),
    *(Probe(STANDARDISED, strength) for strength in (0.001, 0.01, 0.1, 1.0)),
    *(Probe(UNIT, strength) for strength in (30.0, 300.0, 3000.0)),
)
N_COMPARED = 8  # best candidates whose differences are bootstrapped over groups, beside the best of each level
_N_DRAWS = 200


@dataclasses.dataclass(frozen=True)
class Choice:
    """What cross-validation chose.

    Attributes:
        name: of the candidate.
        parts: {Probe: its weight in the mean of probabilities}; one, or two of a blend.
        mode: ``single`` or ``multi``.
        table: of ``compare``; without rows where there are too few groups for cross-validation, so that ``PLAIN`` is taken.
        scores: (n, classes) out of fold, the mean over repeats; None without cross-validation.
    """

    name: str
    parts: dict
    mode: str
    table: pd.DataFrame
    scores: np.ndarray | None


def choose(features, targets, groups, *, mode="single", rng, probes=PROBES, n_folds=N_FOLDS, n_repeats=N_REPEATS):
    """Choose a probe, or a blend of the best of two kinds, by cross-validation over groups; nothing that is worse there than ``PLAIN``.

    Args:
        features, targets, mode: see above.
        groups: (n,) rows of one group are never on both sides of a fold.
        rng: of folds and bootstrap.
        probes: candidates; ``PLAIN`` is added.

    Returns:
        Choice.

    Raises:
        ProbeError: for an unknown mode, or rows of one class only.
    """
    probe_fits.fit_linear(PLAIN, features, targets, mode)  # refuses what cannot be fitted
    folds = assign_folds(targets, groups, rng, n_folds, n_repeats)
    if folds is None:
        return Choice(str(PLAIN), {PLAIN: 1.0}, mode, compare({}, targets, folds, groups, rng=rng)[1], None)
    scores, parts = cross_validate(list(dict.fromkeys([*probes, PLAIN])), features, targets, folds, mode)
    levels = {name: len(of_candidate) - 1 for name, of_candidate in parts.items()}
    name, table = compare(scores, targets, folds, groups, levels=levels, baseline=str(PLAIN), rng=rng)
    return Choice(name, parts[name], mode, table, scores[name].mean(axis=0))


def fit(choice, features, targets):
    """Fit what was chosen to all rows.

    Returns:
        keras.Model, (batch, features) → (batch, classes) probabilities; it contains the scaling of the features.
    """
    heads = [probe_fits.fit_linear(probe, features, targets, choice.mode).as_keras() for probe in choice.parts]
    return heads[0] if len(heads) == 1 else probe_fits.average(heads, list(choice.parts.values()))


# Cross-validation


def assign_folds(targets, groups, rng, n_folds=N_FOLDS, n_repeats=N_REPEATS):
    """(repeats, n) fold numbers: whole groups, stratified by the first class of a row; None where there are too few groups.

    There are fewer folds where there are fewer groups, or no class has as many rows.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.where(targets.any(axis=1), targets.argmax(axis=1), targets.shape[1])
    numbers = pd.factorize(np.asarray(groups))[0]
    n_folds = min(n_folds, len(set(numbers)), np.bincount(labels, minlength=1).max())
    if n_folds < 2:
        return None
    folds = np.full((n_repeats, len(labels)), -1)
    for repeat in folds:
        folder = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes of fewer rows than folds are common
            for number, (_, rows) in enumerate(folder.split(labels, labels, numbers)):
                repeat[rows] = number
    return folds


def out_of_fold(predict, folds):
    """Scores out of fold, (repeats, n, classes) float32.

    Args:
        predict: function (rows to fit, rows to score), each (n,) bool → (rows to score, classes).
        folds: of ``assign_folds``; rows of a negative number are never scored.
    """
    scores = None
    for repeat, numbers in enumerate(folds):
        for number in np.unique(numbers[numbers >= 0]):
            found = predict(numbers != number, numbers == number)
            if scores is None:
                scores = np.zeros((*folds.shape, found.shape[1]), np.float32)
            scores[repeat, numbers == number] = found
    return scores


def cross_validate(probes, features, targets, folds, mode, background=None):
    """Scores out of fold of probes, and of blends of the best of each kind.

    Args:
        background: (m, features) of rows without any class that every fold is fitted with; None: none.

    Returns:
        (scores, parts): {candidate: (repeats, n, classes)} and {candidate: {Probe: weight}}, probes first.
    """
    n_classes = targets.shape[1]

    def predict(is_fitted, is_scored):
        rows, truth = with_background(features[is_fitted], targets[is_fitted], background)
        if truth.any(axis=0).sum() < 2:
            return np.full((is_scored.sum(), len(probes) * n_classes), np.tile(truth.any(axis=0), len(probes)), np.float32)
        return np.concatenate([fitted.predict(features[is_scored]) for fitted in probe_fits.fit_linears(probes, rows, truth, mode)], axis=1)

    of_probes = np.split(out_of_fold(predict, folds), len(probes), axis=2)
    scores = {str(probe): of_probe for probe, of_probe in zip(probes, of_probes, strict=True)}
    parts = {str(probe): {probe: 1.0} for probe in probes}
    best = {}
    for probe in probes:
        before = best.get(probe.kind)
        if before is None or quality(scores[str(probe)], targets, folds) > quality(scores[str(before)], targets, folds):
            best[probe.kind] = probe
    kinds = list(best.values())
    for first, second in ((a, b) for i, a in enumerate(kinds) for b in kinds[i + 1 :]):
        for weight in BLEND_WEIGHTS:
            name = f"{1 - weight:g} {first} + {weight:g} {second}"
            scores[name] = (1.0 - weight) * scores[str(first)] + weight * scores[str(second)]
            parts[name] = {first: 1.0 - weight, second: weight}
    return scores, parts


def with_background(features, targets, background):
    """(features, targets) with rows without any class behind them, if there are any."""
    if background is None or not len(background):
        return features, targets
    return np.concatenate([features, background]), np.concatenate([targets, np.zeros((len(background), targets.shape[1]), targets.dtype)])


# Comparing


def compare(scores, targets, folds, groups, *, levels=None, baseline=None, rng):
    """Choose among candidates by their scores out of fold: the simplest that is not significantly worse than the best, nor worse than the baseline.

    The figure is ``quality``. The best of each level of complexity is compared with the best of all: the simplest is taken whose loss is at most one
    standard error of that loss over groups (the rule of "Classification and Regression Trees", 1984), and whose figure is not below the baseline's.

    Args:
        scores: {candidate: (repeats, n, classes)}.
        levels: {candidate: int}, 0 the simplest; None: in their order.
        targets: (n, classes) of 0 and 1.
        folds: of ``assign_folds``.
        groups: (n,) resampled whole.
        baseline: a candidate; None: none.
        rng: of the bootstrap.

    Returns:
        (name, table): DataFrame ``candidate, quality, macro_auc, macro_auc_se, accuracy, accuracy_se`` (means and standard errors over folds),
        ``share_best`` (of resamples over groups in which it is the best; 0 for those that are not compared), ``is_chosen``, the best first.
    """
    rows = []
    for name, of_candidate in scores.items():
        (auc, auc_error), (accuracy, accuracy_error) = (_mean(values) for values in _fold_figures(of_candidate, targets, folds).T)
        rows.append((name, _mean([auc, accuracy])[0], auc, auc_error, accuracy, accuracy_error))
    table = pd.DataFrame(rows, columns=["candidate", "quality", "macro_auc", "macro_auc_se", "accuracy", "accuracy_se"])
    if not rows:
        return None, table.assign(share_best=[], is_chosen=[])
    levels = levels or {name: number for number, name in enumerate(scores)}
    ranked = table.set_index("candidate")["quality"].sort_values(ascending=False, kind="stable")
    firsts = pd.Series(ranked.index).groupby(pd.Series(ranked.index).map(levels)).first()  # the best of each level, the simplest first
    compared = [*dict.fromkeys([*ranked.index[:N_COMPARED], *firsts])]
    is_scored = (folds >= 0).any(axis=0)
    means = [scores[name].mean(axis=0)[is_scored] for name in compared]
    draws = _draws(means, targets[is_scored], np.asarray(groups)[is_scored], rng)  # (draws, compared)
    losses = dict(zip(compared, (draws[:, :1] - draws).T, strict=True))
    wins = np.bincount(draws.argmax(axis=1), minlength=len(compared)) / len(draws) if len(draws) else np.zeros(len(compared))
    best, floor = ranked.index[0], ranked[baseline] if baseline else -np.inf
    name = next(name for name in firsts if name == best or _is_as_good(ranked, name, losses[name], floor))
    share = table["candidate"].map(dict(zip(compared, wins, strict=True))).fillna(0.0)
    table = table.assign(share_best=share, is_chosen=table["candidate"] == name)
    return name, table.sort_values("quality", ascending=False, kind="stable", ignore_index=True)


def _is_as_good(ranked, name, losses, floor):
    error = losses.std() if len(losses) else 0.0
    return ranked.iloc[0] - ranked[name] <= error and ranked[name] >= floor


def quality(scores, targets, folds):
    """The figure that candidates are chosen by: the mean over folds of macro ROC-AUC and of accuracy, averaged.

    Macro ROC-AUC alone hardly distinguishes good classifiers, and accuracy alone does not see the scores of rare classes.
    """
    return _mean([_mean(values)[0] for values in _fold_figures(scores, targets, folds).T])[0]


def figures(targets, scores):
    """(macro ROC-AUC, accuracy) of rows: accuracy is the share whose highest score is a class of the row."""
    has_class = targets.any(axis=1)
    highest = scores.argmax(axis=1)[has_class]
    accuracy = float(np.mean(targets[has_class][np.arange(len(highest)), highest] > 0)) if len(highest) else np.nan
    return classification.macro_roc_auc(targets, scores), accuracy


def _fold_figures(scores, targets, folds):
    """(repeats * folds, 2): ``figures`` of each fold."""
    parts = [(of_repeat, numbers == number) for of_repeat, numbers in zip(scores, folds, strict=True) for number in np.unique(numbers[numbers >= 0])]
    return np.array([figures(targets[rows], of_repeat[rows]) for of_repeat, rows in parts])


def _mean(values):
    """(mean, standard error) of the values that are defined."""
    defined = np.asarray(values)[np.isfinite(values)]
    return (float(defined.mean()), float(defined.std() / np.sqrt(len(defined)))) if len(defined) else (np.nan, np.nan)


def _draws(candidates, targets, groups, rng):
    """(draws, candidates): mean of ``figures`` in resamples of groups, the same for all candidates; draws without a figure are left out."""
    batches = list(bootstrap.resample_counts(groups, _N_DRAWS, rng))
    of_candidates = map(functools.partial(_figure, targets), candidates)
    draws = [np.concatenate([of_counts(counts) for counts in batches]) for of_counts in of_candidates] if batches else []
    draws = np.reshape(draws, (len(candidates), -1)).T
    return draws[np.isfinite(draws).all(axis=1)]


def _figure(targets, scores):
    """The mean of ``figures`` that are defined, as a function of counts (rows, resamples)."""
    auc = resampled.MACRO_ROC_AUC.prepare(targets, scores)
    has_class = targets.any(axis=1)
    is_hit = has_class & (targets[np.arange(len(scores)), scores.argmax(axis=1)] > 0)
    accuracy = resampled.RATIO.prepare(is_hit, has_class)
    return lambda counts: np.array([_mean(pair)[0] for pair in zip(auc(counts), accuracy(counts), strict=True)])
