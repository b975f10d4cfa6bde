"""Self-training: a model labels the soundscapes, a new model is trained on these labels with noise, and labels them again.

"Self-training with Noisy Student improves ImageNet classification" (2020). BirdCLEF+ 2025 was won by several such rounds over
soundscapes, with recordings and soundscape windows mixed as the noise, and the labels raised to a power between rounds. Students
are heads on pooled patches of recordings and, with soft targets, of soundscape windows.
"""

import functools
import math

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import manifest
from birdlib.data import splits as split_rules
from birdlib.metrics import bootstrap, classification
from birdlib.models import pooling
from birdlib.species import classifiers, pseudolabels

NOT_EVALUATED = "validation has no positives to rank, so no round has a figure: round 0, recordings alone, is taken"
_HISTORY = ["round", "figure", "windows", "confidence", "changed"]
_HELD_OUT = ["held_out_auc", "held_out_low", "held_out_high"]
_MIXED_SHARE = 0.5  # of a window in the recording that it is mixed into
_MAX_MIXED_ROWS = 4096  # evaluated at once, to keep memory small
_MAX_EVALUATION_WINDOWS = 50  # into which every validation recording is mixed


class StudentError(runtime.BirdlibError):
    """Self-training with parameters that are out of range."""


# Training data


def recording_sets(embeddings, patches, splits, classes, patch_pooling, rng):
    """Pooled recordings for students: whole ones and windows of ten patches for training, whole ones for validation.

    Args:
        embeddings, patches: of stage 03.
        splits: of stage 01, rows with patches.

    Returns:
        (training_set, validation): (features, truth, sample_weight) and (features, truth).
    """
    from birdlib.species import fit_heads

    is_train, is_validation = (splits["split"] == "train").to_numpy(), split_rules.own_rows(splits, "validation")
    truth = manifest.multi_hot(splits, classes, secondary_weight=1.0)
    train = fit_heads.training_set(embeddings, patches, patch_pooling, splits[is_train], truth[is_train], 10, 0.5, rng)
    slices = pooling.recording_slices(patches).set_index("recording_id").loc[splits.loc[is_validation, "recording_id"]]
    weights = pooling.patch_weights(patches["bird_score"].to_numpy())
    return train, (pooling.pool(embeddings, weights, slices.reset_index(), patch_pooling), truth[is_validation])


def training_set(recordings, windows, targets, *, share=_MIXED_SHARE, rng):
    """The training set of a student: the recordings, the windows, and each recording mixed with a random window.

    Args:
        recordings: (features, truth, sample_weight), from ``fit_heads.training_set``.
        windows: (windows, features); may be empty.
        targets: (windows, labels) in [0, 1].
        share: of the window in a mixture; 0 mixes nothing.

    Returns:
        (features, truth, sample_weight), float32. A window has weight 1, that of a whole recording on average.
    """
    features, truth, weight = recordings
    if not len(windows):
        return recordings
    parts = [recordings, (windows, targets, np.ones(len(windows)))]
    if share:
        rows = rng.integers(len(windows), size=len(features))
        parts.append((*mix(features, truth, windows[rows], targets[rows], share), weight))
    return tuple(np.concatenate(arrays).astype(np.float32) for arrays in zip(*parts, strict=True))


def mix(inputs, targets, other_inputs, other_targets, share=0.5):
    """Mix windows into recordings, row by row. Both are audible, so the targets are the larger of the two.

    Args:
        inputs, other_inputs: (n, ...), of one shape: features, waveforms or spectrograms.
        targets, other_targets: (n, labels).
        share: of the others, in [0, 1].

    Returns:
        (inputs, targets): (1 - share) * inputs + share * other_inputs, and the larger targets.
    """
    if not 0 <= share <= 1:
        raise StudentError(f"share is {share}: it must be in [0, 1]")
    mixed = (1.0 - share) * np.asarray(inputs) + share * np.asarray(other_inputs)
    return mixed.astype(np.asarray(inputs).dtype), np.maximum(targets, other_targets)


# Students


def head_trainer(n_classes, hidden, *, n_networks, epochs):
    """How students are trained: (training_set, validation) → head, the mean of several networks of dense layers.

    Args:
        hidden: units of the dense layers, separated by ``,``.
    """
    from birdlib.species import fit_heads

    units = [int(size) for size in hidden.split(",") if size]
    options = {"loss": "bce", "epochs": epochs, "patience": 10, "learning_rate": 0.002, "weight_decay": 0.05, "batch_size": 128}

    def train_head(train, validation):
        build = functools.partial(classifiers.build_head, train[0].shape[1], n_classes, "multi", units, 0.5)
        return fit_heads.fit_networks(n_networks, build, train, validation, **options)[0]

    return train_head


def student_trainer(first, recordings, windows, validation, train_head, *, share=_MIXED_SHARE, rng):
    """The ``train`` argument of ``run``, for heads.

    Args:
        first: the head of round 0, trained on the recordings alone.
        recordings: as of ``training_set``.
        windows: (windows, features) of all windows.
        validation: (features, truth) of recordings that no student is trained on; to choose an epoch, and for ``evaluate_head``.
        train_head: from ``head_trainer``.

    Returns:
        (train, heads): the function; and the list of heads, to which each round appends one.
    """
    heads, mixed_in = [], windows[rng.permutation(len(windows))[:_MAX_EVALUATION_WINDOWS]]

    def train(targets, rows, number):
        train_set = training_set(recordings, windows[rows], targets, share=share, rng=rng) if number else None
        heads.append(train_head(train_set, validation) if number else first)
        empty = np.zeros((0, validation[1].shape[1]), np.float32)  # Keras predicts no empty batch
        scores = classifiers.predict(heads[-1], windows) if len(windows) else empty
        if not np.isfinite(scores).all():
            return scores, np.nan  # ``run`` raises the error
        return scores, evaluate_head(heads[-1], validation, mixed_in, share)

    return train, heads


def evaluate_head(head, validation, windows, share=_MIXED_SHARE):
    """Macro ROC-AUC of a head on validation recordings, alone and mixed into soundscapes, with equal weight.

    Recordings alone lack the noise and the recorder of soundscapes. Which species are in a window is unknown, but recordings are
    compared only with others that are mixed into the same window, so predicting the window's species does not lower the figure.

    Args:
        validation: (features, truth).
        windows: (windows, features), each mixed into all recordings; if empty, the recordings alone count.

    Returns:
        the mean of two macro ROC-AUCs: of recordings alone, and the mean over windows; NaN where undefined.
    """
    features, truth = validation
    alone = classification.macro_roc_auc(truth, classifiers.predict(head, features))
    if not len(windows):
        return alone
    figures, n_at_once = [], max(1, _MAX_MIXED_ROWS // len(features))
    for first in range(0, len(windows), n_at_once):
        batch = windows[first : first + n_at_once, None]
        mixed = (1.0 - share) * features + share * batch  # (windows, recordings, features)
        scores = classifiers.predict(head, mixed.reshape(-1, features.shape[1]).astype(np.float32))
        scores = scores.reshape(len(batch), len(features), -1)
        figures += [classification.macro_roc_auc(truth, of_window) for of_window in scores]
    return (alone + float(np.mean(figures))) / 2


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
    figures = [interval(classification.macro_roc_auc, truth, of_round) for of_round in scores]
    rounds = rounds.assign(**dict(zip(_HELD_OUT, np.array(figures).T, strict=True)))
    return rounds, interval(classification.macro_roc_auc_gain, truth, scores[best], scores[0])


def describe(rounds, best, gain):
    """What the rounds show, in sentences."""
    if rounds["note"].iloc[0]:
        return rounds["note"].iloc[0] + "."
    first, chosen = (rounds["figure"].iloc[number] for number in (0, best))
    text = f"Round {best} is best on validation: {chosen:.3f}, round 0 {first:.3f}."
    if not best:
        text = f"No student exceeds round 0 on validation ({first:.3f}), so stage 07 is trained on recordings alone."
    if gain is not None and best:
        value, low, high = gain
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "makes no clear difference: the interval includes 0"
        text += f" On held-out soundscapes it gains {value:+.3f} [{low:+.3f}, {high:+.3f}] over round 0: self-training {verdict}."
    return text
