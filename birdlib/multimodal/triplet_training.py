"""Training with triplets: an anchor, a positive of its species and a negative of another; and a guard against collapse.

A network that maps every sample to one point has a loss of exactly the margin and no gradient; hard negatives too early cause
that. So each epoch is monitored: the spread of the embeddings, the share of active triplets, and whether the loss equals the margin.
"""

import warnings

import keras
import numpy as np
import pandas as pd

from birdlib import checkpoints, runtime, stages
from birdlib.losses import metric_learning, mining
from birdlib.metrics import retrieval
from birdlib.multimodal import pairs

OBJECTIVES = {  # name: (loss, how offline triplets are mined or "" where the batch itself is mined, softer objective or "")
    "triplet_hard": ("triplet", "hard", "triplet_semi_hard"),
    "triplet_semi_hard": ("triplet", "semi_hard", ""),
    "batch_hard": ("batch_hard", "", "batch_semi_hard"),
    "batch_semi_hard": ("batch_semi_hard", "", ""),
    "multi_similarity": ("multi_similarity", "", "batch_semi_hard"),
    "arcface": ("arcface", "", ""),
}
_MARGIN_AT_COLLAPSE = ("triplet_hard", "batch_hard")  # their loss of collapsed embeddings is the margin
_MAX_MONITORED = 2000  # pairs of either side that are embedded after an epoch


class TripletError(runtime.BirdlibError):
    """A training that cannot be done as configured."""


class CollapseWarning(UserWarning):
    """The embeddings collapse onto one point."""


def fit(encoder, library, train, validation, *, objective="multi_similarity", margin=0.2, n_species=8, n_samples=6, modality_dropout=0.5,
        epochs=60, patience=10, learning_rate=1e-3, weight_decay=1e-3, remine_every=3, min_spread=0.05, seed=0):  # fmt: skip
    """Train an encoder; keep the epoch with the best MAP@R on validation, averaged over photo, sound and both.

    Args:
        encoder: from ``encoders``.
        library: ``pairs.Library``.
        train, validation: (photos, sounds), rows of the library's tables; the gallery of validation queries is train.
        objective: one of ``OBJECTIVES``.
        margin: of triplets, in cosine distance.
        n_species, n_samples: P × K of a batch, on each replica.
        modality_dropout: share of pairs that lose their photo or their sound, half of them each.
        epochs: at most; an epoch has as many pairs as there are.
        patience: epochs without a better validation.
        remine_every: epochs after which offline triplets are mined anew.
        min_spread: see ``CollapseGuard``; 0 leaves the training unguarded.

    Returns:
        DataFrame, a row an epoch: ``epoch, mining, loss, spread, active_share, validation_map_at_r, is_kept``. No epoch is kept,
        and the encoder is as it was, where all were in collapse.

    Raises:
        TripletError: for an unknown objective or a number that is too small.
        NothingToDoError: for fewer than two species.
    """
    if objective not in OBJECTIVES:
        raise TripletError(f"objective is {objective!r}: choose {', '.join(OBJECTIVES)}")
    minima = {"epochs": 1, "patience": 1, "remine_every": 1, "n_species": 2, "n_samples": 2}
    for name, value in zip(minima, (epochs, patience, remine_every, n_species, n_samples), strict=True):
        if value < minima[name]:
            raise TripletError(f"{name} is {value}: it must be {minima[name]} or more")
    rng = np.random.default_rng(seed)
    classes = sorted(set(train[0]["species"]) | set(train[1]["species"]))
    if len(classes) < 2:
        raise stages.NothingToDoError(f"only {len(classes)} species to train on: triplets need two")
    gallery = _sample(pairs.pair(*train, rng), rng)
    labels = pd.Index(classes).get_indexer(gallery["species"])
    guard = CollapseGuard(lambda: (labels, pairs.embed(encoder, library, gallery)), encoder, margin, objective, min_spread)
    best = checkpoints.BestEpoch(encoder, patience)
    queries = _sample(pairs.pair(*validation, rng), rng)
    validate = _Validation(lambda: _map_at_r(encoder, library, queries, gallery), guard, best)
    options = {
        "n_species": min(n_species, len(classes)), "n_samples": n_samples, "modality_dropout": modality_dropout,
        "n_replicas": runtime.n_replicas(),
    }  # fmt: skip
    tables, n_done = [], 0
    while n_done < epochs and not best.is_over:
        model = compiled(encoder, objective, len(classes), margin, learning_rate, weight_decay)
        while n_done < epochs and not best.is_over and not guard.has_collapsed:
            mined = OBJECTIVES[guard.objective][1]
            data = batches(encoder, library, train, classes, mined, seed=[seed, n_done], **options)
            n = min(epochs - n_done, remine_every if mined else epochs)
            history = model.fit(data, epochs=n, callbacks=[guard, validate], verbose=0).history
            tables.append(pd.DataFrame(history).assign(mining=guard.objective))
            n_done += len(tables[-1])
        if guard.has_collapsed and not guard.soften():
            break
        objective = guard.objective
    best.restore()
    table = pd.concat(tables, ignore_index=True)
    table["epoch"] = np.arange(1, len(table) + 1)
    table["is_kept"] = table["epoch"] == best.kept
    return table[["epoch", "mining", "loss", "spread", "active_share", "validation_map_at_r", "is_kept"]]


def describe(history):
    """Sentences about the history of ``fit``: the kept epoch, changes of the mining, and signs of trouble."""
    kept, first = history[history["is_kept"]], history.iloc[0]
    if not len(kept):
        return "No epoch is kept, as validation has no figure: the encoder has the weights of the last epoch."
    epoch, value = int(kept["epoch"].iloc[0]), kept["validation_map_at_r"].iloc[0]
    text = f"Epoch {epoch} of {len(history)} is kept: validation MAP@R {value:.2f}, {first['validation_map_at_r']:.2f} after the first epoch."
    if epoch == len(history):
        text += " It was still improving: raise `epochs`."
    if history["mining"].nunique() > 1:
        text += f" Mining was changed to {history['mining'].iloc[-1]} as the embeddings were about to collapse: lower `learning_rate`."
    return text


def compiled(encoder, objective, n_classes, margin=0.2, learning_rate=1e-3, weight_decay=1e-3):
    """The model that is trained, which shares its weights with the encoder: for arcface it has class centres on top."""
    loss = OBJECTIVES[objective][0]
    outputs = metric_learning.cosine_head(n_classes)(encoder.output) if loss == "arcface" else encoder.output
    model = keras.Model(encoder.input, outputs)
    options = {"margin": margin} if loss in ("triplet", "batch_hard", "batch_semi_hard") else {}
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, clipnorm=1.0)
    model.compile(optimizer, loss=metric_learning.get(loss, **options))
    return model


def _sample(table, rng):
    return table if len(table) <= _MAX_MONITORED else table.sample(_MAX_MONITORED, random_state=rng).reset_index(drop=True)


def _map_at_r(encoder, library, queries, gallery):
    """MAP@R, averaged over photo alone, sound alone and both."""
    queries, gallery = ([table, *(pairs.each(table, kind) for kind in pairs.KINDS)] for table in (queries, gallery))
    vectors = pairs.embed(encoder, library, pd.concat([*queries, *gallery]))
    ends = np.cumsum([len(table) for table in (*queries, *gallery)])[:-1]
    vectors = np.split(vectors, ends)
    values = [
        retrieval.map_at_r(a @ b.T, query["species"].to_numpy(), candidates["species"].to_numpy())
        for a, b, query, candidates in zip(vectors[: len(queries)], vectors[len(queries) :], queries, gallery, strict=True)
        if len(a) and len(b)
    ]
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


class CollapseGuard(keras.callbacks.Callback):
    """Detects a collapse, warns, restores the last healthy weights and stops, to go on with softer mining.

    It adds ``spread`` and ``active_share`` (of anchors with their hardest triplet) to the logs. A training has collapsed if, for
    ``patience`` epochs in a row, the spread is below ``min_spread`` and not growing, or the loss is within a twentieth of the margin
    with nearly every triplet active.

    Args:
        measure: function without arguments → (labels, embeddings) of some training pairs.
        encoder: whose weights are kept while they are healthy.
    """

    def __init__(self, measure, encoder, margin, objective, min_spread=0.05, patience=2):
        super().__init__()
        self.measure, self.encoder, self.margin, self.objective = measure, encoder, margin, objective
        self.min_spread, self.patience = min_spread, patience
        self.healthy, self.has_collapsed, self.n_ill, self.spread = encoder.get_weights(), False, 0, np.inf

    def on_epoch_end(self, epoch, logs=None):
        labels, embeddings = self.measure()
        logs["spread"] = mining.spread(embeddings)
        logs["active_share"] = metric_learning.active_share(labels, embeddings, self.margin, "batch_hard")
        signs = self._signs(logs) if self.min_spread else []
        self.n_ill, self.spread = self.n_ill + 1 if signs else 0, logs["spread"]
        if not signs:
            self.healthy = self.encoder.get_weights()
        if self.n_ill >= self.patience:
            softer = OBJECTIVES[self.objective][2]
            remedy = f"going on from healthy weights with {softer}" if softer else "stopping with the last healthy weights"
            warnings.warn(f"the embeddings are collapsing ({' and '.join(signs)}): {remedy}", CollapseWarning, stacklevel=2)
            self.encoder.set_weights(self.healthy)
            self.has_collapsed = self.model.stop_training = True

    def soften(self):
        """Move on to the softer objective; False where there is none."""
        self.has_collapsed, self.n_ill, self.spread = False, 0, np.inf
        self.objective = OBJECTIVES[self.objective][2]
        return bool(self.objective)

    def _signs(self, logs):
        signs = []
        if logs["spread"] < self.min_spread and logs["spread"] <= self.spread:
            signs.append(f"their spread is {logs['spread']:.3f}")
        is_at_margin = abs(logs["loss"] - self.margin) < 0.05 * self.margin
        if self.objective in _MARGIN_AT_COLLAPSE and is_at_margin and logs["active_share"] > 0.95:
            signs.append(f"the loss is at the margin, {logs['loss']:.3f}, with {logs['active_share']:.0%} of triplets active")
        return signs


class _Validation(keras.callbacks.Callback):
    """Adds ``validation_map_at_r`` to the logs and keeps the best weights over several fits; an ill epoch may score well by chance."""

    def __init__(self, measure, guard, best):
        super().__init__()
        self.measure, self.guard, self.best = measure, guard, best

    def on_epoch_end(self, epoch, logs=None):
        logs["validation_map_at_r"] = value = self.measure()
        self.model.stop_training |= self.best.update(value, is_valid=not self.guard.n_ill)


# Batches


def batches(encoder, library, train, classes, mined, *, n_species=8, n_samples=6, modality_dropout=0.5, n_replicas=1, seed):
    """The training batches: P × K samples, or triplets mined offline.

    Args:
        encoder, library, train, n_species, n_samples, modality_dropout: as in ``fit``.
        classes: species, in the order of the labels.
        mined: how triplets are mined beforehand, ``"hard"`` or ``"semi_hard"``; ``""`` for P × K batches.
        n_replicas: parts of equal size that the strategy will cut a batch into, each of them P × K.
        seed: list of int.

    Returns:
        keras.utils.PyDataset of (inputs, labels).

    Raises:
        TripletError: if there is nothing to mine.
    """
    names = list(encoder.input)
    if not mined:
        return _SpeciesBatches(library, train, classes, names, n_species, n_samples, modality_dropout, n_replicas, seed)
    rng = np.random.default_rng(seed)
    pool = pairs.drop_modalities(pairs.pair(*train, rng), modality_dropout, rng)
    labels = pd.Index(classes).get_indexer(pool["species"])
    triplets = mining.mine(pairs.embed(encoder, library, pool), labels, mined, rng)
    if not len(triplets):
        raise stages.NothingToDoError("no species has two samples to make a triplet of")
    n_triplets = n_replicas * max(1, n_species * n_samples // 3)
    return _TripletBatches(library, pool, labels, names, triplets, n_triplets, seed)


class _SpeciesBatches(keras.utils.PyDataset):
    """P × K batches: n_species species, n_samples pairs of each, paired anew for each batch."""

    def __init__(self, library, train, classes, names, n_species, n_samples, modality_dropout, n_replicas, seed):
        super().__init__()
        self.library, self.classes, self.names, self.seed = library, classes, names, seed
        self.n_species, self.n_samples, self.n_replicas = n_species, n_samples, n_replicas
        self.modality_dropout, self.epoch = modality_dropout, 0
        self.members = [[table[table["species"] == label] for table in train] for label in classes]
        self.n_steps = max(4, max(map(len, train)) // (n_species * n_samples * n_replicas))

    def __len__(self):
        return self.n_steps

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, step):
        rng = np.random.default_rng([*self.seed, self.epoch, step])
        species = [rng.choice(len(self.classes), self.n_species, replace=False) for _ in range(self.n_replicas)]
        species = np.concatenate(species)
        sampled = [self._sample(self.members[label], rng) for label in species]
        batch = pairs.drop_modalities(pd.concat(sampled, ignore_index=True), self.modality_dropout, rng)
        arrays = pairs.inputs(self.library, batch, rng)
        return {name: arrays[name] for name in self.names}, np.repeat(species, self.n_samples)

    def _sample(self, members, rng):
        sampled = [pairs.pair(*members, rng)]
        while sum(map(len, sampled)) < self.n_samples:
            sampled.append(pairs.pair(*members, rng))
        sampled = pd.concat(sampled, ignore_index=True)
        return sampled.iloc[rng.permutation(len(sampled))[: self.n_samples]]


class _TripletBatches(keras.utils.PyDataset):
    """Mined triplets, each three rows of a batch: anchor, positive, negative."""

    def __init__(self, library, pool, labels, names, triplets, n_triplets, seed):
        super().__init__()
        self.library, self.pool, self.labels, self.names, self.seed = library, pool, labels, names, seed
        self.triplets = np.resize(triplets, (-(-len(triplets) // n_triplets) * n_triplets, 3))  # whole batches
        self.n_triplets = n_triplets

    def __len__(self):
        return len(self.triplets) // self.n_triplets

    def __getitem__(self, step):
        rows = self.triplets[step * self.n_triplets : (step + 1) * self.n_triplets].reshape(-1)
        arrays = pairs.inputs(self.library, self.pool.iloc[rows], np.random.default_rng([*self.seed, step]))
        return {name: arrays[name] for name in self.names}, self.labels[rows]
