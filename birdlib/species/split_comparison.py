"""What a random split flatters: the same network trained and tested in cross-validation with divided groups, and with whole ones.

Both times every recording is tested once, by networks that did not have it; only what else they had of its group differs.
``duplicates.random_split_bias`` estimates the same before any training, with a simple classifier on fingerprints.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.data import splits as split_rules
from birdlib.metrics import bootstrap, resampled
from birdlib.species import classifiers, train_heads

N_FOLDS = 5
_MIN_FOLDS = 3  # test, validation and training
_COLUMNS = ["figure", "n", "random", "grouped", "difference"]
_FIGURES = ("macro_auc", "accuracy")


def compare(config, data, embedded, patch_pooling, options, rng, n_folds=N_FOLDS):
    """Cross-validate a network twice, with folds of recordings and with folds of groups.

    Each fold is tested once; the next one is the validation that chooses the epoch. Recordings count if both times their species was in
    training.

    Args:
        config, data, embedded, patch_pooling, options: as of ``train_heads.train_head``; soundscapes are left out.
        rng: of folds, training and bootstrap.

    Returns:
        DataFrame: ``figure`` (macro_auc, accuracy), ``n`` recordings, ``random, grouped, difference``, each [value, low, high], 90 %, by group;
        no rows where groups are too few.
    """
    own = ~data.splits["is_repeated"].to_numpy() & ~data.splits["recording_id"].duplicated().to_numpy()
    data = dataclasses.replace(data, splits=data.splits[own].reset_index(drop=True), truth=data.truth[own])
    features = train_heads.pool_recordings(embedded, data, patch_pooling)
    n_folds = min(n_folds, data.splits["group_id"].nunique())
    if n_folds < _MIN_FOLDS:
        return pd.DataFrame(columns=_COLUMNS)
    found = {kind: _cross_validate(config, data, embedded, features, patch_pooling, options, n_folds, kind, rng) for kind in ("recording", "group")}
    is_tested = np.isfinite(found["recording"]).all(axis=1) & np.isfinite(found["group"]).all(axis=1)
    truth, groups = data.truth[is_tested], data.splits["group_id"].to_numpy()[is_tested]
    random, grouped = found["recording"][is_tested], found["group"][is_tested]
    of_random, of_grouped = ((truth.argmax(axis=1) == scores.argmax(axis=1)).astype(float) for scores in (random, grouped))
    all_rows = np.ones(len(truth))
    statistics = {  # of random, of grouped, of their difference
        _FIGURES[0]: [(resampled.MACRO_ROC_AUC, truth, random), (resampled.MACRO_ROC_AUC, truth, grouped), (resampled.MACRO_ROC_AUC_GAIN, truth, random, grouped)],
        _FIGURES[1]: [(resampled.RATIO, hits, all_rows) for hits in (of_random, of_grouped, of_random - of_grouped)],
    }
    rows = [(name, int(is_tested.sum()), *(bootstrap.interval(*of, groups=groups, rng=rng) for of in three)) for name, three in statistics.items()]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _cross_validate(config, data, embedded, features, patch_pooling, options, n_folds, split_by, rng):
    """(recordings, classes): the scores of each recording by the network that did not have it; NaN if its species was not in training."""
    fold = split_rules.folds(data.splits, n_folds, rng, split_by)
    scores = np.full(data.truth.shape, np.nan, np.float32)
    for number in range(n_folds):
        is_test, is_validation = fold == number, fold == (number + 1) % n_folds
        parts = data.splits.assign(split=np.select([is_test, is_validation], ["test", "validation"], "train"), is_repeated=False)
        part = dataclasses.replace(data, splits=parts)
        is_known = part.truth[part.is_train].any(axis=0)[part.labels]
        network, _ = train_heads.train_head(config | {"soundscapes": False}, part, embedded, features, patch_pooling, rng, options)
        rows = is_test & is_known & np.isfinite(features[:, 0])
        if rows.any():
            scores[rows] = classifiers.predict(network, features[rows])
    return scores


def describe(table):
    """Sentences about ``compare``; None is a split by group."""
    if table is None:
        return "Recordings were split by group: nothing to correct."
    if not len(table):
        return "Recordings were split at random, and there are too few groups to measure what that flatters: do not trust the figures."
    auc, accuracy = (table.set_index("figure")["difference"][name] for name in _FIGURES)
    text = f"The random split flatters macro ROC-AUC by {bootstrap.interval_text(auc)} and accuracy by {bootstrap.interval_text(accuracy)}."
    unclear = " Both intervals include 0: groups are nearly single recordings, or test recordings too few." if all(low <= 0 <= high for _, low, high in (auc, accuracy)) else ""
    return text + unclear


def results(table):
    """Rows for the receipt: {"random split flatters macro_auc": [value, low, high], ...}; none for a split by group."""
    return {} if table is None else {f"random split flatters {row.figure}": row.difference for row in table.itertuples()}
