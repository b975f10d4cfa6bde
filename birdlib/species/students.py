"""Students of self-training: heads on pooled patches of recordings and, with soft targets, of soundscape windows."""

import functools

import numpy as np

from birdlib import runtime
from birdlib.data import manifest
from birdlib.data import splits as split_rules
from birdlib.metrics import classification
from birdlib.models import pooling
from birdlib.species import classifiers

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


def parse_units(text):
    """The units of dense layers of a parameter such as ``"512,256"``, a list of int; ``""`` has none.

    Raises:
        ParameterError: for units that are no positive whole numbers.
    """
    sizes = [size.strip() for size in text.split(",") if size.strip()]
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise runtime.ParameterError(f"hidden is {text!r}: give the units of each dense layer, whole numbers as in '512,256', or nothing")
    return [int(size) for size in sizes]


def head_trainer(n_classes, hidden, *, n_networks, epochs):
    """How students are trained: (training_set, validation) → head, the mean of several networks of dense layers.

    Args:
        hidden: units of the dense layers, see ``parse_units``.

    Raises:
        ParameterError: without a network or an epoch, or for wrong units.
    """
    from birdlib.species import fit_heads

    units = parse_units(hidden)
    for name, number in (("n_networks", n_networks), ("epochs", epochs)):
        if number < 1:
            raise runtime.ParameterError(f"{name} is {number}: choose 1 or more")
    options = {"loss": "bce", "epochs": epochs, "patience": 10, "learning_rate": 0.002, "weight_decay": 0.05, "batch_size": 128}

    def train_head(train, validation):
        build = functools.partial(classifiers.build_head, train[0].shape[1], n_classes, "multi", units, 0.5)
        return fit_heads.fit_networks(n_networks, build, train, validation, **options)[0]

    return train_head


def student_trainer(first, recordings, windows, validation, train_head, *, share=_MIXED_SHARE, rng):
    """The ``train`` argument of ``self_training.run``, for heads.

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
            return scores, np.nan  # ``self_training.run`` raises the error
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
