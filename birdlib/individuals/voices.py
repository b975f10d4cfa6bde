"""Individuals by sound alone: sessions and days of recordings, and a space in which the embeddings of one bird are close.

A recording is one vector. Every evaluated recording is of another *session* than those that a space is fitted on; see ``sessions`` for
birds that were recorded once. ``birds`` is (recordings,), the ``individual_id`` of each.
"""

import dataclasses
import re
from pathlib import PurePath

import numpy as np
import pandas as pd

from birdlib import recording_names, runtime
from birdlib.individuals import clustering
from birdlib.models import pooling

_SHRINKAGE = 0.1  # of the within-bird covariance towards the identity
_SIX_DIGITS = re.compile(r"(?<![A-Za-z0-9])(\d\d)[-_. ]?(\d\d)[-_. ]?(\d\d)(?!\d)")
_MONTH_AND_DAY = re.compile(r"(?<![a-z])(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-_. ]?(\d{1,2})(?!\d)", re.IGNORECASE)


class VoicesError(runtime.BirdlibError):
    """Too few birds or recordings to identify birds by voice."""


def embed(waveform, embedder, view_dim=1024, statistics="mean"):
    """The vector of one waveform at the embedder's rate, (dim,), as in ``pooled``."""
    return pooled(*embedder.embed(waveform), view_dim, statistics)


def pooled(embeddings, bird_scores, view_dim=1024, statistics="mean"):
    """The vector of a recording, (dim,): the mean of its patches, weighted by their bird scores.

    Args:
        embeddings, bird_scores: (patches, dim) and (patches,), of an embedder.
        view_dim, statistics: as in ``pooling.build_pooling``. The spread of one or two patches is not informative.
    """
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
        DataFrame: ``fold`` (int), ``unit`` (int, the session or block), ``shares_background`` (bool) and ``day`` (str, of ``days``).

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
    columns = {"fold": _folds(units, birds, n_folds), "unit": units, "shares_background": n_groups == 1, "day": days(table)}
    return pd.DataFrame(columns, index=table.index)


def days(table):
    """The day of each recording, as far as it is known: (recordings,) str, to be compared with those of the same bird only.

    By the name of its file: a date with a year of four digits, six digits that can be a date in any order (``060531``, ``05-04-06``), or a
    month and a day (``feb_12``); the first that is there. Other sessions are days of their own.

    Args:
        table: with ``group_id``, and ``audio_path`` where there is one.
    """
    paths = table["audio_path"] if "audio_path" in table else [""] * len(table)
    return np.array([_day(path) or f"session {group}" for path, group in zip(paths, table["group_id"], strict=True)], dtype=object)


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
    axes = _principal_axes(vectors - mean)
    x = (vectors - mean) @ axes  # (recordings, axes)
    means = np.stack([x[number == bird].mean(axis=0) for bird in range(len(names))])
    within = x - means[number]
    covariance = within.T @ within / len(x)  # (axes, axes)
    variance = np.trace(covariance) / max(len(covariance), 1) or 1.0  # 0: every bird was recorded once
    lower = np.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance)))
    directions = axes @ np.linalg.inv(lower).T  # whitening, but for a rotation
    projected = _unit((vectors - mean) @ directions)
    return _Space(mean, directions, names, clustering.mean_embeddings(projected, number))


def _principal_axes(centred):
    """(dim, axes) orthonormal, without directions of no variance; of the smaller of the two matrices of products."""
    is_wide = len(centred) < centred.shape[1]
    values, axes = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    kept = values > 1e-6 * max(values[-1], 1e-24)
    return centred.T @ (axes[:, kept] / np.sqrt(values[kept])) if is_wide else axes[:, kept]


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


def _day(path):
    """The day that the name of a file tells, as text; ``""`` if it tells none."""
    stem = PurePath(path).stem
    if day := recording_names.moment(stem).day:
        return day.isoformat()
    for digits in _SIX_DIGITS.findall(stem):
        first, second, third = map(int, digits)
        if any(1 <= month <= 12 and 1 <= day <= 31 for month, day in ((first, second), (second, first), (second, third))):
            return "".join(digits)
    found = _MONTH_AND_DAY.search(stem)
    return f"{found[1].lower()} {int(found[2])}" if found else ""


def _unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
