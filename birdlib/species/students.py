"""Students: heads on pooled patches that learn from recordings and, with soft targets, from windows of soundscapes.

The noise of the noisy student is here that each recording is also heard with a soundscape's window mixed into it, on pooled features: both
are there, so both are true.
"""

import numpy as np
import pandas as pd

from birdlib.metrics import classification
from birdlib.species import classifiers, self_training

_MIXED = 0.5  # share of the window in a recording that it is mixed into
_AT_ONCE = 4096  # rows that are mixed, to keep memory small
_EXAMINED = 50  # windows at most, into which every validation recording is mixed


def lesson(recordings, windows, targets, *, share=_MIXED, rng):
    """What a student learns: the recordings, the windows, and each recording with a window mixed into it, drawn anew for each.

    Args:
        recordings: (features, truth, sample_weight), from ``classifiers.training_set``.
        windows: (windows, features); there may be none.
        targets: (windows, labels) in [0, 1].
        share: of the window in what is mixed; 0 mixes nothing.

    Returns:
        (features, truth, sample_weight), float32. A window weighs as much as a recording that is learnt whole does on the average.
    """
    features, truth, weight = recordings
    if not len(windows):
        return recordings
    parts = [recordings, (windows, targets, np.ones(len(windows)))]
    if share:
        drawn = rng.integers(len(windows), size=len(features))
        parts.append((*self_training.blend(features, truth, windows[drawn], targets[drawn], share), weight))
    return tuple(np.concatenate(each).astype(np.float32) for each in zip(*parts, strict=True))


def examine(head, validation, windows, share=_MIXED):
    """How well a head tells apart validation recordings, alone and mixed into soundscapes; both count alike.

    A recording alone says little about soundscapes, where the wind blows and another recorder stands. What else sings in a window is not
    known; but it is the same for all recordings that are mixed into this window, and only these are compared with each other: the head
    that hears the unknown bird as well is not worse for it.

    Args:
        validation: (features, truth).
        windows: (windows, features), each mixed into all the recordings; if there are none, the recordings alone count.

    Returns:
        the mean of two macro ROC-AUCs: of the recordings alone, and the mean over the windows; NaN where it is not defined.
    """
    features, truth = validation
    alone = classification.macro_roc_auc(truth, classifiers.predict(head, features))
    if not len(windows):
        return alone
    figures, n_at_once = [], max(1, _AT_ONCE // len(features))
    for first in range(0, len(windows), n_at_once):
        some = windows[first : first + n_at_once, None]
        mixed = (1.0 - share) * features + share * some  # (windows, recordings, numbers)
        scores = classifiers.predict(head, mixed.reshape(-1, features.shape[1]).astype(np.float32))
        figures += [classification.macro_roc_auc(truth, each) for each in scores.reshape(len(some), len(features), -1)]
    return (alone + float(np.mean(figures))) / 2


def trainer(first, recordings, windows, validation, fit, *, share=_MIXED, rng):
    """The ``train`` that ``noisy_student.run`` asks for.

    Args:
        first: the head of round 0, which learnt from the recordings alone.
        recordings: as of ``lesson``.
        windows: (windows, features) of all windows.
        validation: (features, truth) of recordings that no student learns from; for choosing an epoch, and for ``examine``.
        fit: function (lesson, validation) → a trained head.

    Returns:
        (train, heads): the function; and the list of heads, which grows by one a round.
    """
    heads, drawn = [], windows[rng.permutation(len(windows))[:_EXAMINED]]

    def train(targets, rows, number):
        heads.append(fit(lesson(recordings, windows[rows], targets, share=share, rng=rng), validation) if number else first)
        nothing = np.zeros((0, validation[1].shape[1]), np.float32)  # Keras predicts no empty batch
        scores = classifiers.predict(heads[-1], windows) if len(windows) else nothing
        if not np.isfinite(scores).all():
            return scores, np.nan  # who asked refuses them, by name
        return scores, examine(heads[-1], validation, drawn, share)

    return train, heads


def judge(heads, features, truth, groups, *, best, rng):
    """Each round on soundscapes that took no part in anything, and what the best round gained.

    Args:
        heads: of the rounds.
        features, truth, groups: (windows, ...) of these soundscapes; whole groups are drawn.
        best: number of the round chosen on validation.

    Returns:
        (rounds, gain): DataFrame ``held_out_auc, held_out_low, held_out_high``, a row a round; and (gain, low, high) of the best round
        over round 0, both heard in the same draws, which cancels what is easy or hard for both. 90 % intervals.
    """
    scores = [classifiers.predict(head, features) for head in heads]
    figures = [classification.bootstrap_interval(classification.macro_roc_auc, truth, each, groups=groups, n=300, rng=rng) for each in scores]
    gain = classification.bootstrap_interval(_gain, truth, scores[0], scores[best], groups=groups, n=300, rng=rng)
    return pd.DataFrame(figures, columns=["held_out_auc", "held_out_low", "held_out_high"]), gain


def _gain(truth, before, after):
    return classification.macro_roc_auc(truth, after) - classification.macro_roc_auc(truth, before)
