"""Individuals by sound alone: closed-set and open-set identification, and clustering of unknown birds.

A recording is one vector. A linear space is fitted on recordings of known birds, and every evaluated recording is of another *session*
than those; see ``sessions`` for birds that were recorded once. Tables here are row-aligned with the recordings; ``birds`` is
(recordings,), the ``individual_id`` of each.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import clustering
from birdlib.metrics import bootstrap
from birdlib.metrics import identity as identity_metrics
from birdlib.metrics.identity import UNKNOWN
from birdlib.models import pooling

_MIN_CLUSTERED = 6  # birds, for some to be clustered with what is fitted on the others
_SHRINKAGE = 0.1  # of the within-bird covariance towards the identity


class VoicesError(runtime.BirdlibError):
    """Too few birds or recordings to identify birds by voice."""


def vectors(embeddings, patches, view_dim=1024, statistics="mean"):
    """One vector a recording: the mean of its patches, weighted by their bird scores.

    Args:
        embeddings, patches: of stage 03, or of the same form.
        view_dim, statistics: as in ``pooling.build_pooling``. The spread of one or two patches is not informative.

    Returns:
        (recording_ids, vectors): (recordings,) str and (recordings, dim) float32.
    """
    slices = pooling.recording_slices(patches)
    weights = pooling.patch_weights(patches["bird_score"].to_numpy())
    layer = pooling.build_pooling(view_dim, statistics)
    return slices["recording_id"].to_numpy(), pooling.pool(embeddings, weights, slices, layer)


def embed(waveform, embedder, view_dim=1024, statistics="mean"):
    """The vector of one waveform at the embedder's rate, (dim,), as in ``vectors``."""
    embeddings, bird_scores = embedder.embed(waveform)
    layer = pooling.build_pooling(view_dim, statistics)
    return np.asarray(layer(embeddings[None], pooling.patch_weights(bird_scores)[None]))[0]


def sessions(table, n_folds=4):
    """Folds for cross-validation that never separate the recordings of one session.

    A session is a ``group_id``. A bird with several is evaluated in one by the others. For a bird with only one, consecutive blocks of its
    recordings, in the order of the table, stand in for sessions: location, day and microphone are then the same in training and
    evaluation, and may be mistaken for the bird's voice.

    Args:
        table: manifest rows with ``individual_id`` and ``group_id``, all of known birds; best of one species.
        n_folds: each is evaluated by the others.

    Returns:
        DataFrame: ``fold`` (int), ``unit`` (int, the session or block) and ``shares_background`` (bool).

    Raises:
        VoicesError: if fewer than two birds have two recordings.
    """
    birds, groups = table["individual_id"].to_numpy(), table["group_id"].to_numpy()
    sizes = pd.Series(birds).value_counts()
    if (sizes > 1).sum() < 2:
        raise VoicesError("fewer than two birds have two recordings: fill in individual_id in the manifest, or add recordings")
    n_groups = pd.Series(groups).groupby(birds).transform("nunique").to_numpy()
    names = [f"session {group}" for group in groups]
    for bird in pd.unique(birds[n_groups == 1]):
        rows = np.flatnonzero(birds == bird)
        for rank, row in enumerate(rows):
            names[row] = f"block {bird} {rank * n_folds // len(rows)}"
    units = pd.factorize(np.array(names, dtype=object))[0]
    columns = {"fold": _folds(units, birds, n_folds), "unit": units, "shares_background": n_groups == 1}
    return pd.DataFrame(columns, index=table.index)


@dataclasses.dataclass(frozen=True)
class _Space:
    """A linear projection in which recordings of one bird are close, with the ``centroids`` of ``birds``."""

    mean: np.ndarray
    directions: np.ndarray
    birds: np.ndarray
    centroids: np.ndarray

    def project(self, vectors):
        """(recordings, dim) → (recordings, directions) float32 unit vectors."""
        return _unit((np.asarray(vectors, np.float64) - self.mean) @ self.directions).astype(np.float32)

    def nearest(self, vectors):
        """(birds, distances): the known bird with the nearest centroid, and its distance 1 - cosine, (recordings,) each."""
        distances = clustering.distances(self.project(vectors), self.centroids)
        return self.birds[distances.argmin(axis=1)], distances.min(axis=1)


def fit_space(vectors, birds, shrinkage=_SHRINKAGE):
    """Fit the space by within-class covariance normalisation: directions in which a bird's recordings vary get small weights.

    "Within-Class Covariance Normalization for SVM-based Speaker Recognition", 2006.

    Args:
        vectors: (recordings, dim).
        birds: (recordings,), two birds at least.
        shrinkage: share of the mean variance that is mixed in; 1 leaves the directions unweighted.

    Raises:
        VoicesError: for fewer than two birds.
    """
    vectors, birds = np.asarray(vectors, np.float64), np.asarray(birds)
    names, number = np.unique(birds, return_inverse=True)
    if len(names) < 2:
        raise VoicesError("a space for voices needs recordings of two birds at least")
    mean = vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    axes = axes[sizes > 1e-3 * max(sizes[0], 1e-12)]  # without directions of no variance
    x = (vectors - mean) @ axes.T  # (recordings, axes)
    means = np.stack([x[number == bird].mean(axis=0) for bird in range(len(names))])
    within = x - means[number]
    covariance = within.T @ within / len(x)  # (axes, axes)
    variance = np.trace(covariance) / max(len(covariance), 1) or 1.0  # 0: every bird was recorded once
    values, rotation = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance)))
    directions = axes.T @ (rotation / np.sqrt(values))
    projected = _unit((vectors - mean) @ directions)
    return _Space(mean, directions, names, clustering.mean_embeddings(projected, number))


def closed_set(vectors, birds, sessions):
    """Closed-set identification of each recording in a space fitted on the other folds.

    Args:
        vectors: (recordings, dim).
        sessions: from ``sessions``.

    Returns:
        DataFrame: ``bird, predicted, distance, is_right, unit``; a recording whose bird is in no other fold is left out.
    """
    vectors, birds = _compact(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    tables = []
    for fold in np.unique(folds):
        known, query = folds != fold, (folds == fold) & np.isin(birds, birds[folds != fold])
        if query.any() and len(np.unique(birds[known])) > 1:
            predicted, distances = fit_space(vectors[known], birds[known]).nearest(vectors[query])
            tables.append(_predictions(np.flatnonzero(query), birds, predicted, distances, units))
    return _concatenate(tables, "no bird was recorded in two sessions or twice")


def open_set(vectors, birds, sessions, false_accept=0.1, n_rounds=4, *, rng):
    """Open-set identification: a known bird, or a new one. In each round some birds are unknown.

    The threshold is estimated without them: each known bird in turn is treated as new to the others (``clustering.open_set_threshold``).

    Args:
        vectors, birds, sessions: as in ``closed_set``.
        false_accept: share of new birds' recordings that may be taken for a known bird.
        n_rounds: every bird is unknown in one of them.
        rng: assigns birds to rounds.

    Returns:
        DataFrame as of ``closed_set``, with ``is_known`` and ``round``; ``predicted`` is ``UNKNOWN`` for a new bird.

    Raises:
        VoicesError: if fewer than three birds would be known.
    """
    vectors, birds = _compact(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    names = np.unique(birds)
    n_rounds = min(n_rounds, len(names))
    if len(names) - -(-len(names) // n_rounds) < 3:
        raise VoicesError(f"{len(names)} birds: an open set needs at least three known and one unknown")
    round_of = dict(zip(rng.permutation(names), np.arange(len(names)) % n_rounds, strict=True))
    rounds, tables = np.array([round_of[bird] for bird in birds]), []
    for number in range(n_rounds):
        for fold in np.unique(folds):
            known = (rounds != number) & (folds != fold)
            can_be_known = np.isin(birds, birds[known])
            query = (folds == fold) & (can_be_known | (rounds == number))
            if not query.any() or len(np.unique(birds[known])) < 3:
                continue
            nearest, distances = fit_space(vectors[known], birds[known]).nearest(vectors[query])
            threshold = clustering.open_set_threshold(_distances_to_others(vectors[known], birds[known]), false_accept)
            predicted = np.where(distances <= threshold, nearest.astype(object), UNKNOWN)
            truth = np.where(can_be_known, birds.astype(object), UNKNOWN)[query]
            table = _predictions(np.flatnonzero(query), birds, predicted, distances, units)
            tables.append(table.assign(is_right=predicted == truth, is_known=can_be_known[query], round=number))
    return _concatenate(tables, "in no fold are three birds known")


def cluster_unknown(vectors, birds, sessions, n_rounds=3, *, rng):
    """Cluster recordings of unknown birds.

    In each round a part of the birds is clustered; half of the others fit the space, the other half the threshold.

    Args:
        vectors, birds, sessions: as in ``closed_set``.
        n_rounds: every bird is clustered in one of them.
        rng: assigns birds to rounds.

    Returns:
        DataFrame: ``bird, predicted`` (int, the cluster), ``unit``; the index is the recording's row. Empty for fewer than
        ``_MIN_CLUSTERED`` birds.
    """
    vectors, birds, units = _compact(vectors), np.asarray(birds), sessions["unit"].to_numpy()
    names = rng.permutation(np.unique(birds))
    if len(names) < _MIN_CLUSTERED:
        return pd.DataFrame({"bird": birds[:0], "predicted": np.zeros(0, int), "unit": units[:0]})
    tables = []
    for number in range(n_rounds):
        clustered, others = names[number::n_rounds], names[np.arange(len(names)) % n_rounds != number]
        for_space, for_threshold, query = (np.isin(birds, part) for part in (others[::2], others[1::2], clustered))
        space = fit_space(vectors[for_space], birds[for_space])
        projected = space.project(vectors[for_threshold])
        relations = np.where(birds[for_threshold][:, None] == birds[for_threshold], 1, -1)
        threshold, _, _ = clustering.choose_threshold(clustering.distances(projected), relations)
        predicted = clustering.cluster(space.project(vectors[query]), None, threshold) + number * len(birds)
        tables.append(pd.DataFrame({"bird": birds[query], "predicted": predicted, "unit": units[query]}, index=np.flatnonzero(query)))
    return pd.concat(tables)


def figures(closed, opened, clustered, n_draws=1000, *, rng):
    """Metrics of ``closed_set``, ``open_set`` and ``cluster_unknown``, with intervals over sessions.

    Returns:
        DataFrame: ``figure, value, low, high, n``: 90 % intervals; n recordings. Balanced is the mean over birds; of the open set these
        are BAKS and BAUS (``metrics.identity``), of unknown birds the F1 of pairs of recordings of two sessions. An empty table has no row.
    """
    known, unknown = opened[opened["is_known"]], opened[~opened["is_known"]]
    rows = []
    for name, table, metric in (
        ("closed set, accuracy", closed, lambda bird, predicted, unit: identity_metrics.accuracy(bird, predicted)),
        ("closed set, balanced", closed, lambda bird, predicted, unit: identity_metrics.baks(bird, predicted, bird)),
        ("open set, BAKS", known, lambda bird, predicted, unit: identity_metrics.baks(bird, predicted, bird)),
        ("open set, BAUS", unknown, lambda bird, predicted, unit: identity_metrics.baus(bird, predicted, ())),
        ("open set, unknown birds identified as a known bird", unknown, lambda bird, predicted, unit: np.mean(predicted != UNKNOWN)),
        ("no bird known, F1 of pairs", clustered, lambda *columns: identity_metrics.pairwise_precision_recall_f1(*columns)["f1"]),
    ):
        if len(table):
            columns = [table[column].to_numpy() for column in ("bird", "predicted", "unit")]
            rows.append((name, *bootstrap.interval(metric, *columns, groups=columns[-1], n=n_draws, rng=rng), len(table)))
    return pd.DataFrame(rows, columns=["figure", "value", "low", "high", "n"])


def _folds(units, birds, n_folds):
    """(recordings,) the fold of each unit: that with the fewest recordings of its birds so far, so that a bird's units are spread."""
    n_of = {bird: np.zeros(n_folds, dtype=int) for bird in birds}
    folds = np.empty(len(units), dtype=int)
    for unit in range(units.max() + 1):
        rows = np.flatnonzero(units == unit)
        fold = int(np.argmin(sum(n_of[bird] for bird in set(birds[rows]))))
        for bird in birds[rows]:
            n_of[bird][fold] += 1
        folds[rows] = fold
    return folds


def _distances_to_others(vectors, birds):
    """The distance of each recording to the nearest other bird, in a space that is fitted without its own bird."""
    distances = np.empty(len(birds))
    for bird in np.unique(birds):
        own = birds == bird
        distances[own] = fit_space(vectors[~own], birds[~own]).nearest(vectors[own])[1]
    return distances


def _compact(vectors):
    """Vectors rotated into at most as many dimensions as there are recordings: no distance or angle changes."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.shape[1] <= len(vectors):
        return vectors
    left, sizes, _ = np.linalg.svd(vectors, full_matrices=False)
    return left * sizes


def _predictions(rows, birds, predicted, distances, units):
    columns = {"bird": birds[rows], "predicted": predicted, "distance": distances, "is_right": predicted == birds[rows], "unit": units[rows]}
    return pd.DataFrame(columns, index=rows)


def _concatenate(tables, reason):
    if not tables:
        raise VoicesError(f"{reason}: nothing can be evaluated")
    return pd.concat(tables).sort_index(kind="stable")


def _unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
