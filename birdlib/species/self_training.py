"""Self-training: a model labels the soundscapes, a new model is trained on these labels with noise, and labels them again.

"Self-training with Noisy Student improves ImageNet classification" (2020). BirdCLEF+ 2025 was won by several such rounds over
soundscapes, with recordings and soundscape windows mixed as the noise, and the labels raised to a power between rounds. The
models are those of ``students``.
"""

import functools
import math

import numpy as np
import pandas as pd

from birdlib.metrics import bootstrap, resampled
from birdlib.species import classifiers, pseudolabels
from birdlib.species.students import StudentError

NOT_EVALUATED = "validation has no positives to rank, so no round has a figure: round 0, recordings alone, is taken"
_HISTORY = ["round", "figure", "windows", "confidence", "changed"]
_HELD_OUT = ["held_out_auc", "held_out_low", "held_out_high"]


# Rounds


def power_transform(scores, power):
    """scores ** power: above 1, low scores shrink more than high ones, so that errors do not accumulate over rounds.

    Raises:
        StudentError: if the power is not above 0.
    """
    if not power > 0:
        raise StudentError(f"power is {power}: it must be above 0, and above 1 to shrink low scores")
    return np.asarray(scores) ** power


def n_sampled(n_recordings, n_windows, mix_ratio):
    """How many soundscape windows are ``mix_ratio`` of the training set, beside all recordings; never more than there are."""
    if not 0 <= mix_ratio < 1:
        raise StudentError(f"mix_ratio is {mix_ratio}: it is the share of soundscape windows, at least 0 and below 1")
    return min(n_windows, round(n_recordings * mix_ratio / (1 - mix_ratio)))


def sample_windows(confidences, n, rng):
    """Sample different windows with probability proportional to confidence: (at most n,) int, ascending.

    Args:
        confidences: (windows,) in [0, 1]; windows of 0 are never sampled.
        n: how many; all are taken where there are no more.
    """
    confidences = np.asarray(confidences, float)
    rows = np.flatnonzero(confidences > 0)
    if len(rows) > n:
        rows = rng.choice(rows, n, replace=False, p=confidences[rows] / confidences[rows].sum())
    return np.sort(rows)


def is_over(figures, *, min_gain=0.0, patience=1):
    """The stop rule: whether the last ``patience`` rounds did not exceed the best before them by more than ``min_gain``.

    Args:
        figures: of all rounds so far, larger is better; NaN is no gain.
    """
    if len(figures) <= patience:
        return False
    best_before = max((figure for figure in figures[:-patience] if not math.isnan(figure)), default=-math.inf)
    return not any(figure > best_before + min_gain for figure in figures[-patience:])


def run(
    train, row_ids, labels, *, n_recordings, n_rounds, power, mix_ratio, rng,
    confidence=pseudolabels.CONFIDENCE, fixed=None, min_gain=0.0, patience=1,
):  # fmt: skip
    """Train students in rounds until they no longer improve, and keep the best.

    Round 0 is trained on the recordings alone. In each further round the scores of the student before it, raised to the power, are
    the targets of the windows in which it was confident; ``mix_ratio`` of the training set are such windows.

    Args:
        train: function (targets, rows, number) → (scores, figure): trains a new student on all recordings and on the windows ``rows``
            with ``targets`` (len(rows), labels); returns its scores of all windows, (windows, labels) in [0, 1], and its figure on
            validation, larger is better, from recordings and soundscapes that are used neither for training nor for the final test.
        row_ids, labels: of the windows and the labels.
        n_recordings: rows of recordings in the training set.
        n_rounds: at most, beyond round 0.
        power: one number, or one a round.
        fixed: table of ``pseudolabels.COLUMNS`` that no student may change: human labels, negative windows, hard labels of better
            teachers. Its windows have confidence 1.
        min_gain, patience: of ``is_over``.

    Returns:
        (table, history, number): labels of the windows in the best student's training set (none where recordings alone were best), as
        of ``pseudolabels.merge``; DataFrame with a row per round: ``round, figure, windows`` (in the training set), their mean
        ``confidence``, ``changed`` (share of the labels above the confidence that changed since the round before), ``is_best`` and
        ``note``, ``NOT_EVALUATED`` where no round has a figure; and the number of the best round, 0 there.

    Raises:
        ScoreError: if a student gives NaN or other scores outside [0, 1]; it names round, window and label.
        StudentError: for parameters out of range.
    """
    powers = [float(power)] * n_rounds if np.isscalar(power) else list(power)
    if len(powers) < n_rounds:
        raise StudentError(f"there are {len(powers)} powers for {n_rounds} rounds")
    fixed = pseudolabels.merge([]) if fixed is None else fixed
    fixed_targets = pseudolabels.as_targets(fixed, row_ids, labels)
    scores_before, tables, figures, history = None, [], [], []
    for number in range(n_rounds + 1):
        rows, targets, mean_confidence, table = np.zeros(0, int), np.zeros((0, len(labels)), np.float32), np.nan, fixed[:0]
        if number:
            known = np.where(np.isnan(fixed_targets), scores_before, fixed_targets).astype(np.float32)
            confidences = known.max(axis=1, initial=0.0) * pseudolabels.is_kept(known, confidence)
            confidences = np.where(np.isnan(fixed_targets).all(axis=1), confidences, 1.0)
            rows = sample_windows(confidences, n_sampled(n_recordings, len(row_ids), mix_ratio), rng)
            targets = power_transform(known, powers[number - 1])[rows].astype(np.float32)
            mean_confidence = float(confidences[rows].mean()) if len(rows) else np.nan
            table = _provenance(known, fixed, rows, row_ids, labels, number, powers[number - 1])
        scores, figure = train(targets, rows, number)
        pseudolabels.require_scores(scores, row_ids, labels, f"the student of round {number}")
        changed = np.nan if scores_before is None else _changed(scores_before, scores, confidence)
        history.append((number, float(figure), len(rows), mean_confidence, changed))
        figures.append(float(figure))
        tables.append(table)
        scores_before = np.asarray(scores, np.float32)
        if is_over(figures, min_gain=min_gain, patience=patience):
            break
    best = _best_round(figures)
    history = pd.DataFrame(history, columns=_HISTORY).assign(is_best=lambda rounds: rounds["round"] == best)
    return tables[best], history.assign(note=NOT_EVALUATED if np.isnan(figures).all() else ""), best


def _best_round(figures):
    """The round with the best figure, the earliest of equals; 0 if every figure is NaN."""
    known = [number for number, figure in enumerate(figures) if not math.isnan(figure)]
    return max(known, key=lambda number: (figures[number], -number), default=0)


def _provenance(known, fixed, rows, row_ids, labels, number, power):
    """The window labels in the training set of this round, as a table."""
    ids = [row_ids[row] for row in rows]
    options = {"teacher": f"student {number - 1}", "origin": "student", "round": number, "power": power}
    soft = pseudolabels.soft(known[rows], ids, labels, confidence=0.0, **options)  # sampling has applied the confidence
    fixed = fixed[fixed["row_id"].isin(ids)]
    keys = ["row_id", "label"]
    own = ~pd.MultiIndex.from_frame(soft[keys]).isin(pd.MultiIndex.from_frame(fixed[keys]))
    return pseudolabels.merge([soft[own], fixed])


def _changed(before, after, confidence):
    """Of the labels above the confidence in one of two rounds, the share that is not in the other; 0 where there are none."""
    before, after = np.asarray(before) > confidence, np.asarray(after) > confidence
    return float((before != after).sum() / max(1, (before | after).sum()))


# Results


def evaluate_rounds(rounds, heads, held_out, *, best, rng):
    """Evaluate each round on held-out soundscapes, and the gain of the best round over round 0.

    Args:
        rounds, best: from ``run``.
        heads: of the rounds.
        held_out: (features, truth, groups) of windows used in no training and no choice, whose groups are resampled whole; None
            where the truth is not known.

    Returns:
        (rounds, gain): with ``held_out_auc, held_out_low, held_out_high``, NaN without held-out soundscapes; and (gain, low, high), from
        the same bootstrap draws for both rounds, or None. 90 % intervals.
    """
    if held_out is None:
        return rounds.assign(**dict.fromkeys(_HELD_OUT, np.nan)), None
    features, truth, groups = held_out
    interval = functools.partial(bootstrap.interval, groups=groups, n=300, rng=rng)
    scores = [classifiers.predict(head, features) for head in heads]
    figures = [interval(resampled.MACRO_ROC_AUC, truth, of_round) for of_round in scores]
    rounds = rounds.assign(**dict(zip(_HELD_OUT, np.array(figures).T, strict=True)))
    return rounds, interval(resampled.MACRO_ROC_AUC_GAIN, truth, scores[best], scores[0])


def describe(rounds, best, gain):
    """What the rounds show, in sentences."""
    if rounds["note"].iloc[0]:
        return rounds["note"].iloc[0] + "."
    first, chosen = (rounds["figure"].iloc[number] for number in (0, best))
    if len(rounds) == 1:
        return f"No round of self-training was asked for. Recordings alone: {first:.3f} on validation."
    text = f"Round {best} is best on validation: {chosen:.3f}, round 0 {first:.3f}."
    if not best:
        text = f"No student exceeds round 0 on validation ({first:.3f}), so stage 07 is trained on recordings alone."
    if gain is not None and best:
        value, low, high = gain
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "makes no clear difference: the interval includes 0"
        text += f" On held-out soundscapes it gains {value:+.3f} [{low:+.3f}, {high:+.3f}] over round 0: self-training {verdict}."
    return text
