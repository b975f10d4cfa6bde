"""Learning from triplets: an anchor, a positive of its species and a negative of another; and a guard against collapse.

A network that lays everything on one point pays exactly the margin, for ever: hard negatives too early do that. So the training is watched,
epoch by epoch: how far the embeddings are spread, how many triplets still cost something, whether the loss sits at the margin.
"""

import functools
import warnings

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import metric_learning, mining
from birdlib.metrics import retrieval
from birdlib.multimodal import pairs
from birdlib.multimodal.triplet_batches import TripletError, batches

OBJECTIVES = {  # name: (loss, how offline triplets are mined; "" where the batch itself is mined)
    "triplet_hard": ("triplet", "hard"),
    "triplet_semi_hard": ("triplet", "semi_hard"),
    "batch_hard": ("batch_hard", ""),
    "batch_semi_hard": ("batch_semi_hard", ""),
    "multi_similarity": ("multi_similarity", ""),
    "arcface": ("arcface", ""),
}
SOFTER = {"triplet_hard": "triplet_semi_hard", "batch_hard": "batch_semi_hard", "multi_similarity": "batch_semi_hard"}
_COST_THE_MARGIN = ("triplet_hard", "batch_hard")  # of embeddings that have collapsed
_MOST_WATCHED = 2000  # pairs that are embedded after an epoch, on either side


class CollapseWarning(UserWarning):
    """All embeddings come to lie on one point."""


def fit(encoder, library, train, validation, *, objective="multi_similarity", margin=0.2, n_species=8, n_samples=6, modality_dropout=0.5,
        epochs=60, patience=10, learning_rate=1e-3, weight_decay=1e-3, remine_every=3, least_spread=0.05, seed=0):  # fmt: skip
    """Train an encoder; keep the epoch with the best MAP@R on validation, meaned over photo, sound and both.

    Args:
        encoder: from ``encoders``.
        library: ``pairs.Library``.
        train, validation: (photos, sounds), rows of the library's tables; validation queries look for their like in train.
        objective: one of ``OBJECTIVES``.
        margin: of triplets, in cosine distance.
        n_species, n_samples: P × K of a batch, on each replica.
        modality_dropout: share of pairs that lose their photo or their sound, in halves.
        epochs: at most; one sees as many pairs as there are.
        patience: epochs without a better validation.
        learning_rate, weight_decay: of AdamW.
        remine_every: epochs after which offline triplets are mined anew.
        least_spread: see ``collapse_guard``; 0 leaves the training unguarded.
        seed: of batches.

    Returns:
        DataFrame, a row an epoch: ``epoch, mining, loss, spread, active_share, validation_map_at_r, is_kept``. No epoch is kept,
        and the encoder is as it was, where all were in collapse.

    Raises:
        TripletError: for an unknown objective, a number that is too small, or where there are not two species to tell apart.
    """
    if objective not in OBJECTIVES:
        raise TripletError(f"objective is {objective!r}: choose {', '.join(OBJECTIVES)}")
    least = {"epochs": 1, "patience": 1, "remine_every": 1, "n_species": 2, "n_samples": 2}
    for name, value in zip(least, (epochs, patience, remine_every, n_species, n_samples), strict=True):
        if value < least[name]:
            raise TripletError(f"{name} is {value}: it must be {least[name]} or more")
    rng = np.random.default_rng(seed)
    classes = sorted(set(train[0]["species"]) | set(train[1]["species"]))
    if len(classes) < 2:
        raise TripletError(f"only {len(classes)} species to train on: triplets need two")
    watched = _sample(pairs.pair(*train, rng), rng)
    labels = pd.Index(classes).get_indexer(watched["species"])
    guard = collapse_guard(
        lambda: (labels, pairs.embed(encoder, library, watched)), encoder, margin, objective, least_spread
    )
    best = _validation(encoder, library, watched, _sample(pairs.pair(*validation, rng), rng), guard, patience)
    options = {
        "n_species": min(n_species, len(classes)), "n_samples": n_samples, "modality_dropout": modality_dropout,
        "n_replicas": runtime.n_replicas(),
    }  # fmt: skip
    tables, done = [], 0
    while done < epochs and not best.is_over:
        model = compiled(encoder, objective, len(classes), margin, learning_rate, weight_decay)
        while done < epochs and not best.is_over and not guard.has_collapsed:
            mined = OBJECTIVES[guard.objective][1]
            data = batches(encoder, library, train, classes, mined, seed=[seed, done], **options)
            n = min(epochs - done, remine_every if mined else epochs)
            history = model.fit(data, epochs=n, callbacks=[guard, best], verbose=0).history
            tables.append(pd.DataFrame(history).assign(mining=guard.objective))
            done += len(tables[-1])
        if guard.has_collapsed and not guard.soften():
            break
        objective = guard.objective
    best.restore()
    table = pd.concat(tables, ignore_index=True)
    table["epoch"] = np.arange(1, len(table) + 1)
    table["is_kept"] = table["epoch"] == best.kept
    return table[["epoch", "mining", "loss", "spread", "active_share", "validation_map_at_r", "is_kept"]]


def collapse_guard(measure, encoder, margin, objective, least_spread=0.05, patience=2):
    """A Keras callback that sees a collapse coming, says so, goes back to healthy weights and stops, to go on with softer mining.

    It adds ``spread`` and ``active_share`` (of anchors with their hardest triplet) to the logs. Collapsed is who, ``patience`` epochs running, spreads less than
    ``least_spread`` and no more than before, or whose loss lies within a twentieth of the margin with nearly every triplet active.

    Args:
        measure: function without arguments → (labels, embeddings) of some training pairs.
        encoder: whose weights are kept while they are healthy.
        margin, objective: of the training.

    Returns:
        keras.callbacks.Callback with ``has_collapsed``, ``objective`` and ``soften()``, which moves on to softer mining and
        is False where there is none.
    """
    return _classes()["CollapseGuard"](measure, encoder, margin, objective, least_spread, patience)


def compiled(encoder, objective, n_classes, margin=0.2, learning_rate=1e-3, weight_decay=1e-3):
    """The model that is trained, which shares its weights with the encoder: for arcface it has class centres on top."""
    import keras

    name, _ = OBJECTIVES[objective]
    outputs = metric_learning.cosine_head(n_classes)(encoder.output) if name == "arcface" else encoder.output
    model = keras.Model(encoder.input, outputs)
    options = {"margin": margin} if name in ("triplet", "batch_hard", "batch_semi_hard") else {}
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, clipnorm=1.0)
    model.compile(optimizer, loss=metric_learning.get(name, **options))
    return model


def _sample(table, rng):
    return table if len(table) <= _MOST_WATCHED else table.sample(_MOST_WATCHED, random_state=rng).reset_index(drop=True)


def _validation(encoder, library, gallery, queries, guard, patience):
    """The callback that watches MAP@R: queries of validation, gallery of train, photo alone, sound alone and both."""
    sought, among = ([table, *(pairs.each(table, kind) for kind in pairs.KINDS)] for table in (queries, gallery))

    def map_at_r():
        vectors = pairs.embed(encoder, library, pd.concat([*sought, *among]))
        ends = np.cumsum([len(table) for table in (*sought, *among)])[:-1]
        found = np.split(vectors, ends)
        figures = [
            retrieval.map_at_r(a @ b.T, one["species"].to_numpy(), other["species"].to_numpy())
            for a, b, one, other in zip(found[: len(sought)], found[len(sought) :], sought, among, strict=True)
            if len(a) and len(b)
        ]
        return float(np.nanmean(figures)) if np.isfinite(figures).any() else np.nan

    return _classes()["BestEpoch"](encoder, map_at_r, guard, patience)


@functools.cache
def _classes():
    """Keras classes of this module, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class CollapseGuard(keras.callbacks.Callback):
        """See ``collapse_guard``."""

        def __init__(self, measure, encoder, margin, objective, least_spread, patience):
            super().__init__()
            self.measure, self.encoder, self.margin, self.objective = measure, encoder, margin, objective
            self.least_spread, self.patience = least_spread, patience
            self.healthy, self.has_collapsed, self.n_ill, self.spread = encoder.get_weights(), False, 0, np.inf

        def on_epoch_end(self, epoch, logs=None):
            labels, embeddings = self.measure()
            logs["spread"] = mining.spread(embeddings)
            logs["active_share"] = metric_learning.active_share(labels, embeddings, self.margin, "batch_hard")
            signs = self._signs(logs) if self.least_spread else []
            self.n_ill, self.spread = self.n_ill + 1 if signs else 0, logs["spread"]
            if not signs:
                self.healthy = self.encoder.get_weights()
            if self.n_ill >= self.patience:
                remedy = SOFTER.get(self.objective)
                told = (
                    f"going on from healthy weights with {remedy}"
                    if remedy
                    else "stopping with the last healthy weights"
                )
                warnings.warn(
                    f"the embeddings are collapsing ({' and '.join(signs)}): {told}", CollapseWarning, stacklevel=2
                )
                self.encoder.set_weights(self.healthy)
                self.has_collapsed = self.model.stop_training = True

        def soften(self):
            self.has_collapsed, self.n_ill, self.spread = False, 0, np.inf
            self.objective = SOFTER.get(self.objective, "")
            return bool(self.objective)

        def _signs(self, logs):
            signs = []
            if logs["spread"] < self.least_spread and logs["spread"] <= self.spread:
                signs.append(f"their spread is {logs['spread']:.3f}")
            is_at_margin = abs(logs["loss"] - self.margin) < 0.05 * self.margin
            if self.objective in _COST_THE_MARGIN and is_at_margin and logs["active_share"] > 0.95:
                signs.append(
                    f"the loss sits at the margin, {logs['loss']:.3f}, with {logs['active_share']:.0%} of triplets active"
                )
            return signs

    class BestEpoch(keras.callbacks.Callback):
        """Adds ``validation_map_at_r`` to the logs, keeps the best weights over several fits, and stops after ``patience`` epochs.

        An epoch that the guard finds ill is never the best: it may be so by chance.
        """

        def __init__(self, encoder, figure, guard, patience):
            super().__init__()
            self.encoder, self.figure, self.guard, self.patience = encoder, figure, guard, patience
            self.n_epochs, self.kept, self.best, self.weights = 0, 0, -np.inf, encoder.get_weights()

        def on_epoch_end(self, epoch, logs=None):
            self.n_epochs += 1
            logs["validation_map_at_r"] = value = self.figure()
            is_better = value > self.best or np.isnan(value)  # without validation, the last epoch
            if is_better and not self.guard.n_ill:
                self.best, self.kept, self.weights = value, self.n_epochs, self.encoder.get_weights()
            self.model.stop_training |= self.is_over

        @property
        def is_over(self):
            return self.n_epochs - self.kept >= self.patience

        def restore(self):
            self.encoder.set_weights(self.weights)

    return {"CollapseGuard": CollapseGuard, "BestEpoch": BestEpoch}
