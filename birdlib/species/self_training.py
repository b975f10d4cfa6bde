"""The noisy student: a model labels the soundscapes, a new model learns from these labels and noise, and labels them again.

"Self-training with Noisy Student improves ImageNet classification" (2020). BirdCLEF+ 2025 was won by several such rounds over
soundscapes, with recordings and soundscape windows mixed into each other as the noise, and the labels raised to a power between rounds.
How a model is trained is handed in; here is what happens between.
"""

import math

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.species import pseudolabels

_HISTORY = ["round", "figure", "windows", "confidence", "changed", "is_best", "note"]
UNJUDGED = "validation has no positives to rank, so no round has a figure: round 0, recordings alone, is taken"


class StudentError(runtime.BirdlibError):
    """Rounds that cannot be run as asked."""


def power_transform(scores, power):
    """scores ** power: above 1, doubts shrink faster than certainties, so that the doubts of one round do not pile up in the next.

    0 and 1 stay, the order stays, and 1 changes nothing.

    Raises:
        StudentError: if the power is not above 0.
    """
    if not power > 0:
        raise StudentError(f"power is {power}: it must be above 0, and is above 1 where doubts shall shrink")
    return np.asarray(scores) ** power


def n_drawn(n_recordings, n_windows, mix_ratio):
    """How many soundscape windows make ``mix_ratio`` of all that is learnt, beside all recordings; never more than there are."""
    if not 0 <= mix_ratio < 1:
        raise StudentError(f"mix_ratio is {mix_ratio}: it is the share of soundscape windows, at least 0 and below 1")
    return min(n_windows, round(n_recordings * mix_ratio / (1 - mix_ratio)))


def draw(confidences, n, rng):
    """Draw different windows, a surer one likelier.

    Args:
        confidences: (windows,) in [0, 1]; windows of 0 are never drawn.
        n: how many; all are taken where there are not more.
        rng: np.random.Generator.

    Returns:
        (at most n,) int, ascending.
    """
    confidences = np.asarray(confidences, float)
    there = np.flatnonzero(confidences > 0)
    if len(there) > n:
        there = rng.choice(there, n, replace=False, p=confidences[there] / confidences[there].sum())
    return np.sort(there)


def blend(inputs, targets, other_inputs, other_targets, share=0.5):
    """Mix windows into recordings, row by row: both are heard, so both are true.

    Args:
        inputs, other_inputs: (n, ...), of one shape: waveforms or spectrograms.
        targets, other_targets: (n, labels).
        share: of the others, in [0, 1].

    Returns:
        (inputs, targets): (1 - share) * inputs + share * other_inputs, and the larger target of the two.
    """
    if not 0 <= share <= 1:
        raise StudentError(f"share is {share}: it is in [0, 1]")
    mixed = (1.0 - share) * np.asarray(inputs) + share * np.asarray(other_inputs)
    return mixed.astype(np.asarray(inputs).dtype), np.maximum(targets, other_targets)


def settle(scores, settled):
    """Scores with what is settled in their place.

    Args:
        scores: (windows, labels).
        settled: (windows, labels), NaN where nothing is settled, see ``pseudolabels.as_settled``.
    """
    return np.where(np.isnan(settled), scores, settled).astype(np.float32)


def is_over(figures, *, least_gain=0.0, patience=1):
    """The stop rule: whether the last ``patience`` rounds did not better what was best before by more than ``least_gain``.

    Args:
        figures: of all rounds so far, larger is better; NaN is no gain.
    """
    if len(figures) <= patience:
        return False
    best_before = max((figure for figure in figures[:-patience] if not math.isnan(figure)), default=-math.inf)
    return not any(figure > best_before + least_gain for figure in figures[-patience:])


def best_round(figures):
    """The round with the best figure, the earliest of equals; 0 if every figure is NaN."""
    known = [number for number, figure in enumerate(figures) if not math.isnan(figure)]
    return max(known, key=lambda number: (figures[number], -number), default=0)


def run(train, row_ids, labels, *, n_recordings, n_rounds, power, mix_ratio, rng, confidence=pseudolabels.CONFIDENCE, settled=None, least_gain=0.0, patience=1):  # fmt: skip
    """Teach students in rounds until they no longer get better, and keep the best.

    Round 0 learns from the recordings alone. In each further round the scores of the student before it, raised to the power, are the
    targets of the windows in which it was sure, ``mix_ratio`` of what is learnt being such windows.

    Args:
        train: function (targets, rows, number) → (scores, figure): trains a new student on all recordings and on the windows ``rows``
            with ``targets`` (len(rows), labels); gives its scores of all windows, (windows, labels) in [0, 1], and its figure on
            validation, larger is better, from recordings and soundscapes that neither taught it nor will judge the result.
        row_ids, labels: of the windows and the labels.
        n_recordings: rows of the recordings that ``train`` learns from.
        n_rounds: beyond round 0, at most.
        power: one number, or one a round.
        settled: table of ``pseudolabels.COLUMNS`` that no student may change: what people said, negative windows, hard labels of
            better teachers. Its windows are drawn as those of which a student is surest.
        least_gain, patience: of ``is_over``.

    Returns:
        (table, history, number): the labels of windows that the best student learnt from, none where recordings alone were best, as of
        ``pseudolabels.merge``; DataFrame of ``_HISTORY``, one row a round: ``windows`` learnt from, their mean ``confidence``, the share
        of labels above the confidence that ``changed`` since the round before, ``note``, ``UNJUDGED`` where no round has a figure; and the number of
        the best round, 0 there.

    Raises:
        ScoreError: if a student gives NaN or other scores outside [0, 1]; it names round, window and label.
        StudentError: for numbers that cannot be.
    """
    powers = [float(power)] * n_rounds if np.isscalar(power) else list(power)
    if len(powers) < n_rounds:
        raise StudentError(f"there are {len(powers)} powers for {n_rounds} rounds")
    settled = pseudolabels.merge([]) if settled is None else settled
    fixed = pseudolabels.as_settled(settled, row_ids, labels)
    nothing = np.zeros((0, len(labels)), np.float32)
    taught_by, tables, figures, history = None, [], [], []
    for number in range(n_rounds + 1):
        rows, targets, surety, table = np.zeros(0, int), nothing, np.nan, None
        if number:
            known = settle(taught_by, fixed)
            sure = known.max(axis=1, initial=0.0) * pseudolabels.is_kept(known, confidence)
            sure = np.where(np.isnan(fixed).all(axis=1), sure, 1.0)
            rows = draw(sure, n_drawn(n_recordings, len(row_ids), mix_ratio), rng)
            targets = power_transform(known, powers[number - 1])[rows].astype(np.float32)
            surety = float(sure[rows].mean()) if len(rows) else np.nan
            table = _provenance(known, settled, rows, row_ids, labels, number, powers[number - 1])
        scores, figure = train(targets, rows, number)
        pseudolabels.require_scores(scores, row_ids, labels, f"the student of round {number}")
        changed = np.nan if taught_by is None else _changed(taught_by, scores, confidence)
        history.append((number, float(figure), len(rows), surety, changed))
        figures.append(float(figure))
        tables.append(table)
        taught_by = np.asarray(scores, np.float32)
        if is_over(figures, least_gain=least_gain, patience=patience):
            break
    best = best_round(figures)
    table = pd.DataFrame(history, columns=_HISTORY[:-2]).assign(is_best=lambda rounds: rounds["round"] == best)
    table["note"] = UNJUDGED if np.isnan(figures).all() else ""
    return (pseudolabels.merge([]) if tables[best] is None else tables[best]), table, best


def _provenance(known, settled, rows, row_ids, labels, number, power):
    """What the student of this round learnt from the windows, as a table."""
    drawn = [row_ids[row] for row in rows]
    options = {"teacher": f"student {number - 1}", "origin": "student", "round": number, "power": power}
    soft = pseudolabels.soft(known[rows], drawn, labels, confidence=0.0, **options)  # drawn is drawn
    settled = settled[settled["row_id"].isin(drawn)]
    keys = ["row_id", "label"]
    own = ~pd.MultiIndex.from_frame(soft[keys]).isin(pd.MultiIndex.from_frame(settled[keys]))
    return pseudolabels.merge([soft[own], settled])


def _changed(before, after, confidence):
    """Of the labels that one of two rounds is sure of, the share that the other is not; 0 where neither is of any."""
    one, other = np.asarray(before) > confidence, np.asarray(after) > confidence
    return float((one != other).sum() / max(1, (one | other).sum()))
