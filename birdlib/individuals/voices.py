"""Individuals by sound alone: who sings, is it a bird that is known, and how many sing where nobody is known.

A recording is one vector. Birds are told apart in a space that is fitted on recordings of known birds, and whatever is judged was
recorded in another *session* than what was learnt from; see ``sessions`` for birds that were recorded once. Tables here are row-aligned
with the recordings; ``birds`` is (recordings,), the ``individual_id`` of each.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import clustering
from birdlib.metrics import bootstrap
from birdlib.metrics import identity as identity_metrics
from birdlib.models import pooling

NEW = ""  # what a bird is called that is not known
_LEAST_UNLABELLED = 6  # birds, for some to be clustered by what the others teach
_SHRINKAGE = 0.1  # of the scatter within birds towards that of no direction in particular


class VoicesError(runtime.BirdlibError):
    """Too few birds or recordings to tell voices apart."""


def vectors(embeddings, patches, view_dim=1024, statistics="mean"):
    """One vector a recording: the mean of its patches, weighted by the score that a bird is heard.

    Args:
        embeddings, patches: of stage 03, or any like them.
        view_dim, statistics: as in ``pooling.build_pooling``. Songs of one or two patches have no spread worth knowing.

    Returns:
        (recording_ids, vectors): (recordings,) str and (recordings, dim) float32.
    """
    slices = pooling.recording_slices(patches)
    weights = pooling.patch_weights(patches["bird_score"].to_numpy())
    layer = pooling.build_pooling(view_dim, statistics)
    return slices["recording_id"].to_numpy(), pooling.pool(embeddings, weights, slices, layer)


def hear(waveform, listener, view_dim=1024, statistics="mean"):
    """The vector of one waveform at the listener's rate, (dim,), as ``vectors`` would give it."""
    embeddings, bird_scores = listener.embed(waveform)
    layer = pooling.build_pooling(view_dim, statistics)
    return np.asarray(layer(embeddings[None], pooling.patch_weights(bird_scores)[None]))[0]


def sessions(table, n_folds=4):
    """Which recordings may be judged by what was learnt from which: never those of one session.

    A session is a ``group_id``. A bird with several is judged in one by the others. Of a bird with one only, consecutive blocks of its
    recordings, in the order of the table, stand in for sessions: place, day and microphone are then the same in what was learnt and in
    what is judged, and may pass for the bird's voice.

    Args:
        table: manifest rows with ``individual_id`` and ``group_id``, all of them of birds that are known; best of one species.
        n_folds: so many parts; each is judged by the others.

    Returns:
        DataFrame: ``fold`` (int), ``unit`` (int, what was recorded together: a session or block) and ``shares_background`` (bool).

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
        for place, row in enumerate(rows):
            names[row] = f"block {bird} {place * n_folds // len(rows)}"
    units = pd.factorize(np.array(names, dtype=object))[0]
    found = pd.DataFrame({"fold": _folds(units, birds, n_folds), "unit": units, "shares_background": n_groups == 1})
    return found.set_index(table.index)


@dataclasses.dataclass(frozen=True)
class _Space:
    """Where recordings of one bird lie together: ``place`` takes vectors there, ``centroids`` are those of ``birds``."""

    mean: np.ndarray
    directions: np.ndarray
    birds: np.ndarray
    centroids: np.ndarray

    def place(self, vectors):
        """(recordings, dim) → (recordings, directions) float32 unit vectors."""
        return _unit((np.asarray(vectors, np.float64) - self.mean) @ self.directions).astype(np.float32)

    def nearest(self, vectors):
        """(birds, distances): the known bird whose centroid is nearest, and its distance 1 - cosine, (recordings,) each."""
        apart = clustering.distances(self.place(vectors), self.centroids)
        return self.birds[apart.argmin(axis=1)], apart.min(axis=1)


def fit_space(vectors, birds, shrinkage=_SHRINKAGE):
    """Fit the space: directions in which one bird's recordings differ count little.

    By within-class covariance normalisation ("Within-Class Covariance Normalization for SVM-based Speaker Recognition", 2006).

    Args:
        vectors: (recordings, dim).
        birds: (recordings,), two birds at least.
        shrinkage: share of the mean variance that is mixed in; 1 leaves the directions as they are.

    Returns:
        Space.

    Raises:
        VoicesError: of fewer than two birds.
    """
    vectors, birds = np.asarray(vectors, np.float64), np.asarray(birds)
    names, number = np.unique(birds, return_inverse=True)
    if len(names) < 2:
        raise VoicesError("a space for voices needs recordings of two birds at least")
    mean = vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    axes = axes[sizes > 1e-3 * max(sizes[0], 1e-12)]  # what no recording differs in tells nothing
    x = (vectors - mean) @ axes.T  # (recordings, axes)
    own_mean = np.stack([x[number == bird].mean(axis=0) for bird in range(len(names))])
    within = x - own_mean[number]
    covariance = within.T @ within / len(x)  # (axes, axes)
    variance = np.trace(covariance) / max(len(covariance), 1) or 1.0  # 0: every bird was recorded once
    values, turns = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance)))
    directions = axes.T @ (turns / np.sqrt(values))
    placed = _unit((vectors - mean) @ directions)
    return _Space(mean, directions, names, clustering.mean_embeddings(placed, number))


def closed_set(vectors, birds, sessions):
    """Which of the known birds? Each recording is judged by a space fitted on the other folds.

    Args:
        vectors: (recordings, dim).
        sessions: from ``sessions``.

    Returns:
        DataFrame: ``bird, said`` (the bird it was taken for), ``distance, is_right, unit``. A recording whose bird is in no other fold
        cannot be recognised and is left out.
    """
    vectors, birds = _compact(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    tables = []
    for fold in np.unique(folds):
        known, asked = folds != fold, (folds == fold) & np.isin(birds, birds[folds != fold])
        if asked.any() and len(np.unique(birds[known])) > 1:
            said, apart = fit_space(vectors[known], birds[known]).nearest(vectors[asked])
            tables.append(_answers(np.flatnonzero(asked), birds, said, apart, units))
    return _joined(tables, "no bird was recorded in two sessions or twice")


def open_set(vectors, birds, sessions, false_accept=0.1, n_rounds=4, *, rng):
    """Which of the known birds, or a new one? In each round some birds are kept unknown.

    The threshold is learnt without them: each known bird in turn plays the newcomer to the others (``individuals.open_set_threshold``).

    Args:
        vectors, birds, sessions: as in ``closed_set``.
        false_accept: share of newcomers' recordings that may be taken for a known bird.
        n_rounds: every bird is unknown in one of them.
        rng: draws who is unknown when.

    Returns:
        DataFrame as of ``closed_set``, with ``is_known`` and ``round``; ``said`` is ``NEW`` for a bird that was called new.

    Raises:
        VoicesError: if fewer than three birds would be known.
    """
    vectors, birds = _compact(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    names = np.unique(birds)
    n_rounds = min(n_rounds, len(names))
    if len(names) - -(-len(names) // n_rounds) < 3:
        raise VoicesError(f"{len(names)} birds: an open set needs at least three that are known and one that is not")
    turn = dict(zip(rng.permutation(names), np.arange(len(names)) % n_rounds, strict=True))
    turns, tables = np.array([turn[bird] for bird in birds]), []
    for number in range(n_rounds):
        for fold in np.unique(folds):
            known = (turns != number) & (folds != fold)
            can_be_known = np.isin(birds, birds[known])
            asked = (folds == fold) & (can_be_known | (turns == number))
            if not asked.any() or len(np.unique(birds[known])) < 3:
                continue
            said, apart = fit_space(vectors[known], birds[known]).nearest(vectors[asked])
            threshold = clustering.open_set_threshold(_newcomers(vectors[known], birds[known]), false_accept)
            said = np.where(apart <= threshold, said.astype(object), NEW)
            truth = np.where(can_be_known, birds.astype(object), NEW)
            table = _answers(np.flatnonzero(asked), birds, said, apart, units)
            is_right = said == truth[asked]
            tables.append(table.assign(is_right=is_right, is_known=can_be_known[asked], round=number))
    return _joined(tables, "in no fold are three birds known")


def unlabelled(vectors, birds, sessions, n_rounds=3, *, rng):
    """How many birds sing, and which recordings are of one, where none of them is known?

    In each round a part of the birds is clustered; half of the others make the space, the other half the threshold.

    Args:
        vectors, birds, sessions: as in ``closed_set``.
        n_rounds: every bird is clustered in one of them.
        rng: draws who is clustered when.

    Returns:
        DataFrame: ``bird, said`` (int, the same for recordings that are said to be of one bird), ``unit``; the index is the recording's
        row. None of fewer than ``_LEAST_UNLABELLED`` birds.
    """
    vectors, birds, units = _compact(vectors), np.asarray(birds), sessions["unit"].to_numpy()
    names = rng.permutation(np.unique(birds))
    tables = [pd.DataFrame({"bird": birds[:0], "said": np.zeros(0, int), "unit": units[:0]})]
    if len(names) < _LEAST_UNLABELLED:
        return tables[0]
    for number in range(n_rounds):
        asked, others = names[number::n_rounds], names[np.arange(len(names)) % n_rounds != number]
        for_space, for_threshold, judged = (np.isin(birds, some) for some in (others[::2], others[1::2], asked))
        space = fit_space(vectors[for_space], birds[for_space])
        placed = space.place(vectors[for_threshold])
        relations = np.where(birds[for_threshold][:, None] == birds[for_threshold], 1, -1)
        threshold, _, _ = clustering.choose_threshold(clustering.distances(placed), relations)
        said = clustering.cluster(space.place(vectors[judged]), None, threshold) + number * len(birds)
        tables.append(pd.DataFrame({"bird": birds[judged], "said": said, "unit": units[judged]}, index=np.flatnonzero(judged)))
    return pd.concat(tables[1:])


def figures(closed, opened, grouped, n_draws=1000, *, rng):
    """What ``closed_set``, ``open_set`` and ``unlabelled`` come to, with intervals over sessions.

    Returns:
        DataFrame: ``figure, value, low, high, n``: 90 % intervals; n recordings. Balanced is the mean over birds; of the open set these
        are BAKS and BAUS, see ``identity_metrics``. Of birds without names it is the F1 of pairs of recordings of two sessions; what was asked of
        nobody has no row.
    """
    known, unknown = opened[opened["is_known"]], opened[~opened["is_known"]]
    rows = []
    for name, table, statistic in (
        ("closed set, accuracy", closed, lambda bird, said, unit: identity_metrics.accuracy(bird, said)),
        ("closed set, balanced", closed, lambda bird, said, unit: identity_metrics.baks(bird, said, bird)),
        ("open set, BAKS", known, lambda bird, said, unit: identity_metrics.baks(bird, said, bird)),
        ("open set, BAUS", unknown, lambda bird, said, unit: identity_metrics.baus(bird, said, (), new=NEW)),
        ("open set, newcomers taken for a known bird", unknown, lambda bird, said, unit: np.mean(said != NEW)),
        ("no bird known, F1 of pairs", grouped, lambda *columns: identity_metrics.pairwise_precision_recall_f1(*columns)["f1"]),
    ):
        if len(table):
            columns = [table[column].to_numpy() for column in ("bird", "said", "unit")]
            rows.append((name, *bootstrap.interval(statistic, *columns, groups=columns[-1], n=n_draws, rng=rng), len(table)))
    return pd.DataFrame(rows, columns=["figure", "value", "low", "high", "n"])


# Helpers


def _folds(units, birds, n_folds):
    """(recordings,) the fold of each: that where its birds have fewest recordings yet, so that a bird's units are in different ones."""
    held = {bird: np.zeros(n_folds, dtype=int) for bird in birds}
    folds = np.empty(len(units), dtype=int)
    for unit in range(units.max() + 1):
        rows = np.flatnonzero(units == unit)
        fold = int(np.argmin(sum(held[bird] for bird in set(birds[rows]))))
        for bird in birds[rows]:
            held[bird][fold] += 1
        folds[rows] = fold
    return folds


def _newcomers(vectors, birds):
    """Distances of each recording to the nearest of the other birds, in a space that was fitted without its bird."""
    apart = np.empty(len(birds))
    for bird in np.unique(birds):
        own = birds == bird
        apart[own] = fit_space(vectors[~own], birds[~own]).nearest(vectors[own])[1]
    return apart


def _compact(vectors):
    """The same recordings in as many dimensions as there are recordings: turned, so that no distance or angle changes."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.shape[1] <= len(vectors):
        return vectors
    left, sizes, _ = np.linalg.svd(vectors, full_matrices=False)
    return left * sizes


def _answers(rows, birds, said, apart, units):
    found = pd.DataFrame({"bird": birds[rows], "said": said, "distance": apart, "unit": units[rows]}, index=rows)
    return found.assign(is_right=found["said"] == found["bird"])


def _joined(tables, reason):
    if not tables:
        raise VoicesError(f"{reason}: nothing can be judged")
    return pd.concat(tables).sort_index(kind="stable")


def _unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
