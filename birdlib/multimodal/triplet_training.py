"""Training with triplets: an anchor, a positive of its species and a negative of another; and a guard against collapse.

A network that maps every sample to one point has a loss of exactly the margin and no gradient; hard negatives too early cause
that. So each epoch is monitored: the spread of the embeddings, the share of active triplets, and whether the loss equals the margin.
"""

import dataclasses
import warnings

import keras
import numpy as np
import pandas as pd

from birdlib import checkpoints, devices, read_ahead, runtime, stages
from birdlib.losses import metric_learning, mining
from birdlib.metrics import retrieval
from birdlib.multimodal import pairs, triplet_batches

OBJECTIVES = {  # name: (loss, how offline triplets are mined or "" where the batch itself is mined, softer objective or "")
    "triplet_hard": ("triplet", "hard", "triplet_semi_hard"),
    "triplet_semi_hard": ("triplet", "semi_hard", ""),
    "triplet_similar": ("triplet", "similar", "triplet_semi_hard"),
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


@dataclasses.dataclass(frozen=True)
class Options:
    """How an encoder is trained.

    Attributes:
        objective: one of ``OBJECTIVES``.
        margin: of triplets, in cosine distance: half of a margin in squared Euclidean distance.
        n_species, n_samples: P × K of a batch, on each replica; of offline triplets a batch has a third as many.
        modality_dropout: share of pairs that lose their photo or their sound, half of them each.
        augment: whether windows of sounds and the mirroring of photos are random in training.
        epochs: at most; an epoch has as many pairs as there are, or all triplets.
        patience: epochs without a better validation.
        learning_rate, weight_decay: of AdamW, which without weight decay is Adam.
        clip_norm: largest norm of a variable's gradient; 0: any.
        remine_every: epochs after which offline triplets are mined anew.
        triplets_per_species, min_cosine: of ``triplet_similar``, see ``triplet_batches.similar_triplets``.
        min_spread: see ``CollapseGuard``; 0 leaves the training unguarded.
        seed: of pairs and triplets.

    Raises:
        TripletError: for an unknown objective or a number that is too small.
    """

    objective: str = "multi_similarity"
    margin: float = 0.2
    n_species: int = 8
    n_samples: int = 6
    modality_dropout: float = 0.5
    augment: bool = True
    epochs: int = 60
    patience: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    remine_every: int = 3
    triplets_per_species: int = 100
    min_cosine: float = 0.6
    min_spread: float = 0.05
    seed: int = 0

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise TripletError(f"objective is {self.objective!r}: choose {', '.join(OBJECTIVES)}")
        for name, value in {"epochs": 1, "patience": 1, "remine_every": 1, "n_species": 2, "n_samples": 2, "triplets_per_species": 1}.items():
            if getattr(self, name) < value:
                raise TripletError(f"{name} is {getattr(self, name)}: it must be {value} or more")
        ranges = {"margin": (0, 2), "modality_dropout": (0, 1), "min_cosine": (-1, 1), "weight_decay": (0, 1e6), "clip_norm": (0, 1e6), "learning_rate": (0, 1e3)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise TripletError(f"{name} is {getattr(self, name):g}: it must be {low:g} to {high:g}")


def fit(encoder, library, train, validation, options):
    """Train an encoder; keep the epoch with the best MAP@R on validation, averaged over photo, sound and both.

    Args:
        encoder: from ``fused_encoders``.
        library: ``pairs.Library``.
        train, validation: (photos, sounds), rows of the library's tables; the gallery of validation queries is train.
        options: Options.

    Returns:
        DataFrame, a row an epoch: ``epoch, mining, loss, spread, active_share, validation_map_at_r, is_kept``. No epoch is kept,
        and the encoder is as it was, where all were in collapse.

    Raises:
        NothingToDoError: for fewer than two species, or if there are no triplets.
    """
    rng = np.random.default_rng(options.seed)
    classes = sorted(set(train[0]["species"]) | set(train[1]["species"]))
    if len(classes) < 2:
        raise stages.NothingToDoError(f"only {len(classes)} species to train on: triplets need two")
    gallery = _sample(pairs.pair(*train, rng), rng)
    labels = pd.Index(classes).get_indexer(gallery["species"])
    guard = CollapseGuard(lambda: (labels, pairs.embed(encoder, library, gallery)), encoder, options.margin, options.objective, options.min_spread)
    best = checkpoints.BestEpoch(encoder, options.patience)
    queries = _sample(pairs.pair(*validation, rng), rng)
    validate = _Validation(lambda: _map_at_r(encoder, library, queries, gallery), guard, best)
    tables, n_done = [], 0
    while n_done < options.epochs and not best.is_over:
        model = compiled(encoder, len(classes), dataclasses.replace(options, objective=guard.objective))
        while n_done < options.epochs and not best.is_over and not guard.has_collapsed:
            mined = OBJECTIVES[guard.objective][1]
            n_replicas, data_seed = devices.n_replicas(), [options.seed, n_done]
            data = triplet_batches.batches(encoder, library, train, classes, mined, options, n_replicas=n_replicas, seed=data_seed)
            n = min(options.epochs - n_done, options.remine_every if mined else options.epochs)
            history = model.fit(read_ahead.on_jax(data), epochs=n, callbacks=[guard, validate], verbose=0).history
            tables.append(pd.DataFrame(history).assign(mining=guard.objective))
            n_done += len(tables[-1])
        if guard.has_collapsed and not guard.soften():
            break
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


def compiled(encoder, n_classes, options):
    """The model that is trained, which shares its weights with the encoder: for arcface it has class centres on top."""
    loss = OBJECTIVES[options.objective][0]
    outputs = metric_learning.cosine_head(n_classes)(encoder.output) if loss == "arcface" else encoder.output
    model = keras.Model(encoder.input, outputs)
    with_margin = {"margin": options.margin} if loss in ("triplet", "batch_hard", "batch_semi_hard") else {}
    optimizer = keras.optimizers.AdamW(options.learning_rate, weight_decay=options.weight_decay, clipnorm=options.clip_norm or None)
    model.compile(optimizer, loss=metric_learning.get(loss, **with_margin))
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
