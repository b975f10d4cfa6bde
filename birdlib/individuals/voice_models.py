"""Which known bird sings, or is it a new one: songs compared sound by sound, fused with a space of embeddings.

Two features tell how well a recording fits a bird. ``songs``: the largest similarity of the song to a recording of the bird
(``songs.similarities``), less the mean over birds, as a faint song is less similar to all ("Score Normalization for Text-Independent Speaker
Verification Systems", 2000). ``embedding``: the cosine of the isolated song to the bird's centroid in a space (``voices.fit_space``) that is
fitted on recordings as they are and over other birds' backgrounds. Their weights are those of a logistic regression on held-out recordings:
over another background, where the bird was recorded in one session and its background would be mistaken for it.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import open_set_threshold, voices
from birdlib.metrics.identity import UNKNOWN

FEATURES = {"auto": ("songs", "embedding"), "songs": ("songs",), "embedding": ("embedding",)}
_N_INNER = 4  # folds that the weights are estimated on


@dataclasses.dataclass(frozen=True)
class View:
    """Recordings under one condition, row-aligned.

    Attributes:
        vectors: (recordings, dim), as of ``voices.embed``, of the isolated song.
        similarities: (recordings, recordings) of the songs under this condition, rows, to the songs as recorded.
        hosts: (recordings,) str, the bird of the background; ``""`` where a recording is not present under this condition.
    """

    vectors: np.ndarray
    similarities: np.ndarray
    hosts: np.ndarray

    @property
    def is_present(self):
        return self.hosts != ""


@dataclasses.dataclass(frozen=True)
class Voices:
    """Recordings of named birds.

    Attributes:
        birds: (recordings,) str.
        sessions: of ``voices.sessions``.
        recorded: View as recorded.
        swapped: View over other birds' backgrounds, or None.
        features: of ``FEATURES``.
    """

    birds: np.ndarray
    sessions: pd.DataFrame
    recorded: View
    swapped: View | None = None
    features: tuple = FEATURES["auto"]


def resolve_features(name):
    """The features of a parameter ``voice_features``. ParameterError for an unknown one."""
    if name not in FEATURES:
        raise runtime.ParameterError(f"voice_features is {name!r}: choose one of {', '.join(FEATURES)}")
    return FEATURES[name]


@dataclasses.dataclass(frozen=True)
class _Model:
    """Scores of ``names``; ``weights`` is (features,), of ``voices.features``."""

    data: Voices
    known: np.ndarray
    names: np.ndarray
    space: object
    weights: np.ndarray

    def features(self, view, rows):
        """(features, rows, birds) float64 of recordings under a condition; none of them may be known."""
        found = []
        for name in self.data.features:
            if name == "songs":
                references = np.flatnonzero(self.known)
                table = view.similarities[np.ix_(rows, references)]
                birds = self.data.birds[references]
                best = np.stack([table[:, birds == bird].max(axis=1) for bird in self.names], axis=1).astype(np.float64)
                found.append(best - best.mean(axis=1, keepdims=True))
            else:
                found.append(self.space.project(view.vectors[rows]).astype(np.float64) @ self.space.centroids.T)
        return np.stack(found)

    def scores(self, view, rows):
        """(rows, birds): log odds of a bird against another, but for a constant."""
        return np.tensordot(self.weights, self.features(view, np.asarray(rows)), axes=1)


def fit(data, known):
    """Fit a model of the known birds.

    Args:
        data: Voices.
        known: (recordings,) bool, of two birds at least.
    """
    weights = np.ones(1) if len(data.features) == 1 else _fusion_weights(data, known)
    return _fit(data, known, weights)


def closed_set(data, views=None):
    """Closed-set identification of each recording by a model of the other folds.

    Args:
        data: Voices.
        views: {kind: View}, conditions under which the recordings are identified; None: as recorded.

    Returns:
        DataFrame: ``kind, bird, host, predicted, score, is_right, unit, condition`` (see ``conditions``); the index is the recording's row. A recording
        whose bird is in no other fold, or that is not present in the view, is left out.
    """
    folds, tables = data.sessions["fold"].to_numpy(), []
    for fold in np.unique(folds):
        known = folds != fold
        if len(np.unique(data.birds[known])) < 2:
            continue
        model = fit(data, known)
        for kind, view in (views or {"as recorded": data.recorded}).items():
            rows = np.flatnonzero(~known & np.isin(data.birds, model.names) & view.is_present)
            if len(rows):
                scores = model.scores(view, rows)
                table = _predictions(data, rows, model.names[scores.argmax(axis=1)], scores.max(axis=1))
                tables.append(table.assign(kind=kind, host=view.hosts[rows], condition=conditions(data, known, rows)))
    return _concatenate(tables, "no bird was recorded in two sessions or twice")


def open_set(data, false_accept=0.1, n_rounds=4, n_folds=None, views=None, *, rng):
    """Open-set identification: a known bird, or a new one. In each round some birds are unknown.

    The threshold is estimated without them: each known bird in turn is treated as new to the others. New birds are exchangeable with the known
    birds, but not recordings of one bird with each other, so each bird counts once (``open_set_threshold.choose``).

    Args:
        data: Voices.
        false_accept: share of new birds' recordings that may be taken for a known bird.
        n_rounds: every bird is unknown in one of them.
        n_folds: how many folds are evaluated in each round, sampled at random; None: all.
        views: as in ``closed_set``.
        rng: assigns birds to rounds.

    Returns:
        DataFrame: ``kind, bird, predicted, score, is_right, unit`` as of ``closed_set``, and ``is_known``, ``round`` and ``margin``, the score less the
        threshold; ``predicted`` is ``UNKNOWN`` for a new bird.

    Raises:
        VoicesError: if fewer than three birds would be known.
    """
    folds, names = data.sessions["fold"].to_numpy(), np.unique(data.birds)
    n_rounds = min(n_rounds, len(names))
    if len(names) - -(-len(names) // n_rounds) < 3:
        raise voices.VoicesError(f"{len(names)} birds: an open set needs at least three known and one unknown")
    round_of = dict(zip(rng.permutation(names), np.arange(len(names)) % n_rounds, strict=True))
    rounds, tables = np.array([round_of[bird] for bird in data.birds]), []
    for number in range(n_rounds):
        for fold in rng.permutation(np.unique(folds))[:n_folds]:
            known = (rounds != number) & (folds != fold)
            if len(np.unique(data.birds[known])) < 3:
                continue
            model = fit(data, known)
            threshold = -open_set_threshold.choose(-_scores_of_new_birds(model), false_accept, data.birds[known])
            can_be_known = np.isin(data.birds, model.names)
            for kind, view in (views or {"as recorded": data.recorded}).items():
                rows = np.flatnonzero((folds == fold) & view.is_present & (can_be_known | (rounds == number)))
                scores = model.scores(view, rows)
                margin = scores.max(axis=1) - threshold
                predicted = np.where(margin >= 0, model.names[scores.argmax(axis=1)].astype(object), UNKNOWN)
                table = _predictions(data, rows, predicted, scores.max(axis=1))
                truth = np.where(can_be_known, data.birds.astype(object), UNKNOWN)[rows]
                known_or_new = {"is_right": predicted == truth, "is_known": can_be_known[rows], "margin": margin}
                tables.append(table.assign(**known_or_new, kind=kind, round=number))
    return _concatenate(tables, "in no fold are three birds known")


def conditions(data, known, rows):
    """What separates recordings from those of their bird that are known: ``another day``, ``another session`` or ``same session``.

    Returns:
        (rows,) str.
    """
    days, shared, found = data.sessions["day"].to_numpy(), data.sessions["shares_background"].to_numpy(), []
    for row in rows:
        of_bird = known & (data.birds == data.birds[row])
        found.append("same session" if shared[row] else "another session" if days[row] in days[of_bird] else "another day")
    return np.array(found, dtype=object)


def _fit(data, known, weights):
    names, space = np.unique(data.birds[known]), None
    if "embedding" in data.features:
        vectors, birds = data.recorded.vectors[known], data.birds[known]
        if data.swapped is not None:
            added = known & np.isin(data.swapped.hosts, names)  # not over the background of a bird that is unknown
            vectors, birds = np.concatenate([vectors, data.swapped.vectors[added]]), np.concatenate([birds, data.birds[added]])
        space = voices.fit_space(vectors, birds)
    return _Model(data, known, names, space, weights)


def _fusion_weights(data, known):
    """(features,) weights, 0 or more, by logistic regression on differences between the bird and each other bird; each bird counts once.

    Held-out recordings are over another background where all known recordings of the bird are of one session.
    """
    from sklearn.linear_model import LogisticRegression

    differences, owners = [], []
    rows, folds = np.flatnonzero(known), _inner_folds(data, known)
    is_swapped = _in_one_session(data, known) & (data.swapped is not None and np.isin(data.swapped.hosts, data.birds[known]))
    for fold in np.unique(folds):
        inner = known.copy()
        inner[rows[folds == fold]] = False
        if len(np.unique(data.birds[inner])) < 2:
            continue
        model = _fit(data, inner, None)
        for view, used in ((data.recorded, ~is_swapped), (data.swapped, is_swapped)):
            queries = rows[(folds == fold) & used[rows] & np.isin(data.birds[rows], model.names)]
            if len(queries):
                own = model.names == data.birds[queries][:, None]  # (queries, birds)
                features = model.features(view, queries)
                gaps = (features[:, own][:, :, None] - features)[:, ~own]  # (features, queries * (birds - 1))
                differences.append(gaps.T)
                owners.append(np.repeat(data.birds[queries], len(model.names) - 1))
    if not differences:
        return np.ones(len(data.features))
    gaps, owners = np.concatenate(differences), np.concatenate(owners)
    scale = np.maximum(gaps.std(axis=0), 1e-9)
    balance = 1.0 / pd.Series(owners).map(pd.Series(owners).value_counts()).to_numpy()
    balance *= len(balance) / balance.sum()
    kept = np.ones(len(scale), bool)
    while kept.any():
        x = (gaps / scale)[:, kept]
        fitted = LogisticRegression(fit_intercept=False).fit(
            np.concatenate([x, -x]), np.repeat([1, 0], len(x)), np.concatenate([balance, balance])
        ).coef_[0]  # fmt: skip
        if (fitted >= 0).all():
            weights = np.zeros(len(scale))
            weights[kept] = fitted / scale[kept]
            return weights
        kept[np.flatnonzero(kept)[fitted.argmin()]] = False  # a feature that points to other birds is not used
    return np.ones(len(scale)) / scale


def _in_one_session(data, known):
    """(recordings,) bool: whether all known recordings of the bird are of one session."""
    table = data.sessions[["unit", "shares_background"]].assign(bird=data.birds)[known]
    n_sessions = table.groupby("bird")["unit"].nunique().where(~table.groupby("bird")["shares_background"].any(), 1)
    return np.isin(data.birds, n_sessions.index[n_sessions == 1])


def _inner_folds(data, known):
    """(known recordings,) folds of whole sessions; of a bird with one session, of single recordings, so that its song types recur."""
    units = data.sessions["unit"].to_numpy()[known]
    groups = np.where(_in_one_session(data, known)[known], -1 - np.arange(len(units)), units)
    try:
        return voices.sessions(pd.DataFrame({"individual_id": data.birds[known], "group_id": groups}), _N_INNER)["fold"].to_numpy()
    except voices.VoicesError:  # hardly any bird has two recordings
        return np.zeros(len(units), int)


def _scores_of_new_birds(model):
    """(known recordings,) the largest score of each, by a model without its own bird."""
    data, birds = model.data, model.data.birds
    rows = np.flatnonzero(model.known)
    scores = np.empty(len(rows))
    for bird in model.names:
        own = birds[rows] == bird
        others = _fit(data, model.known & (birds != bird), model.weights)
        scores[own] = others.scores(data.recorded, rows[own]).max(axis=1)
    return scores


def _predictions(data, rows, predicted, scores):
    birds, units = data.birds[rows], data.sessions["unit"].to_numpy()[rows]
    return pd.DataFrame({"bird": birds, "predicted": predicted, "score": scores, "is_right": predicted == birds, "unit": units}, index=rows)


def _concatenate(tables, reason):
    if not tables:
        raise voices.VoicesError(f"{reason}: nothing can be evaluated")
    return pd.concat(tables).sort_index(kind="stable")
