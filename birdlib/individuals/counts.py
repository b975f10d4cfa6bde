"""How many birds: a count with a bootstrap interval (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

Each draw resamples what the count rests on: the threshold (``draw_thresholds``), the crops that a track's embedding is the mean of and
the tracks themselves (``draw_identities``). All tracks of all films are clustered jointly in every draw, so that |A| + |B| - shared =
total holds in each. The interval is a quantile range of the draws, widened to hold the count itself (``_with_interval``).

Identities are (tracks,) int as ``clustering`` returns them, row-aligned with the summary of the tracks, ``UNKNOWN`` where a track is not
counted; draws are (draws, tracks) of them.
"""

import itertools

import numpy as np
import pandas as pd

from birdlib.individuals import clustering
from birdlib.metrics.identity import UNKNOWN

MIN_EXISTENCE_PROB = 0.5  # of a track that is counted
CONFIRMED_PROB = 0.95  # of a track that is in every draw
LEVEL = 0.9  # share of the draws in an interval
_MIN_DETECTIONS = 3  # of a bird
FILM_COLUMNS = ["recording_id", "n", "low", "high", "at_once", "only_here", "only_here_low", "only_here_high"]
_PAIR_COLUMNS = ["a", "b", "n_a", "n_b", "shared", "shared_low", "shared_high", "total", "total_low", "total_high"]


def existence(summary, min_detections=_MIN_DETECTIONS):
    """The probability that a track is a bird.

    A detection with the score s is a bird with probability s, and occurs a Poisson number of times, once in the mean (the Poisson
    bootstrap: Hanley & MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006). So a long track always
    exists, and one of three detections in about half of the draws.

    Args:
        summary: of the tracks, with ``n_detections`` and ``score``, their mean.

    Returns:
        (tracks,) float64 in [0, 1].
    """
    from scipy.stats import poisson

    expected = summary["n_detections"].to_numpy(float) * summary["score"].to_numpy(float)
    return poisson.sf(min_detections - 1, expected)


def simultaneous_tracks(tracks, summary, min_detections=_MIN_DETECTIONS):
    """The tracks in the frame with the most birds of each film, which are surely that many birds.

    Args:
        tracks: one row a detection, with ``recording_id, track, time_s, score``.
        summary: one row a track, with ``recording_id, track, n_detections, score``.

    Returns:
        (tracks,) bool, row-aligned with the summary. Only tracks that exist with ``CONFIRMED_PROB`` count; of frames with equally many,
        the one with the highest scores.
    """
    confirmed = summary.loc[existence(summary, min_detections) >= CONFIRMED_PROB, ["recording_id", "track"]]
    detections = tracks.merge(confirmed, on=["recording_id", "track"])
    frames = detections.groupby(["recording_id", "time_s"]).agg(n=("track", "nunique"), score=("score", "sum")).reset_index()
    fullest = frames.sort_values(["n", "score", "time_s"], ascending=[False, False, True]).drop_duplicates("recording_id")
    members = detections.merge(fullest[["recording_id", "time_s"]], on=["recording_id", "time_s"])
    keys = pd.MultiIndex.from_frame(summary[["recording_id", "track"]])
    return keys.isin(pd.MultiIndex.from_frame(members[["recording_id", "track"]]))


def identify(embeddings, crop_tracks, must_not_link, threshold, exists, counting="clustering"):
    """Group the tracks that exist into individuals.

    Args:
        embeddings: (crops, dim).
        crop_tracks: (crops,) int, the row of the track of each.
        must_not_link: (tracks, tracks) bool.
        threshold: as in ``clustering.cluster``.
        exists: (tracks,) bool, ``existence(summary) >= MIN_EXISTENCE_PROB``, say.
        counting: one of ``clustering.COUNTINGS``.

    Returns:
        (tracks,) int, identities; ``UNKNOWN`` for a track that does not exist or has no crops.
    """
    crop_tracks, exists = np.asarray(crop_tracks, dtype=int), np.asarray(exists, dtype=bool)
    rows = np.flatnonzero(exists & (np.bincount(crop_tracks, minlength=len(exists)) > 0))
    identities = np.full(len(exists), UNKNOWN)
    if len(rows):
        is_used = np.isin(crop_tracks, rows)
        means = clustering.mean_embeddings(np.asarray(embeddings)[is_used], np.searchsorted(rows, crop_tracks[is_used]))
        identities[rows] = clustering.COUNTINGS[counting](means, np.asarray(must_not_link)[np.ix_(rows, rows)], threshold)
    return identities


# The bootstrap


def draw_thresholds(halves, relations, half_tracks, threshold, rng, n=300):
    """Bootstrap the equal-error threshold over tracks, each with all its pairs: pairs of one track are not independent.

    Args:
        halves, relations, half_tracks: from ``clustering.validation_pairs``.
        threshold: the chosen one, for a draw that lacks one kind of pairs.

    Returns:
        (n,) float64.
    """
    distances = clustering.distances(halves)
    half_tracks = np.unique(half_tracks, return_inverse=True)[1]
    n_tracks = half_tracks.max(initial=-1) + 1
    above = np.triu_indices(len(distances), k=1)
    is_known = np.asarray(relations)[above] != 0
    first, second = above[0][is_known], above[1][is_known]
    is_own = half_tracks[first] == half_tracks[second]
    pairs = distances[first, second], np.asarray(relations)[first, second]
    thresholds = np.full(n, float(threshold))
    for draw in range(n if is_known.any() else 0):
        times = np.bincount(rng.integers(n_tracks, size=n_tracks), minlength=n_tracks)[half_tracks]
        weights = times[first] * np.where(is_own, 1, times[second])
        thresholds[draw] = clustering.choose_threshold(*pairs, weights, fallback=threshold)[0]
    return thresholds


def draw_identities(embeddings, crop_tracks, must_not_link, thresholds, exists, at_once, rng, counting="clustering"):
    """Bootstrap the identities: each draw has its threshold, resamples each track's crops, and draws which tracks exist.

    Args:
        embeddings, crop_tracks, must_not_link: as in ``identify``.
        thresholds: (draws,) from ``draw_thresholds``.
        exists: (tracks,) from ``existence``.
        at_once: (tracks,) bool from ``simultaneous_tracks``: these exist in every draw.
        counting: as in ``identify``.

    Returns:
        (draws, tracks) int, identities.
    """
    import threadpoolctl  # comes with scikit-learn

    crop_tracks, exists = np.asarray(crop_tracks, dtype=int), np.where(at_once, 1.0, exists)
    order = np.argsort(crop_tracks, kind="stable")
    embeddings, crop_tracks = np.asarray(embeddings)[order], crop_tracks[order]
    sizes = np.bincount(crop_tracks, minlength=len(exists))[crop_tracks]  # (crops,) of the track of each
    starts = np.searchsorted(crop_tracks, crop_tracks)
    draws = np.empty((len(thresholds), len(exists)), dtype=int)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # threads slow down many small products
        for index, threshold in enumerate(thresholds):
            crops = starts + rng.integers(sizes) if len(sizes) else starts
            drawn = rng.random(len(exists)) < exists
            draws[index] = identify(embeddings[crops], crop_tracks, must_not_link, threshold, drawn, counting)
    return draws


def identify_with_draws(embeddings, crop_tracks, must_not_link, tracks, summary, threshold, thresholds, rng, counting="clustering"):
    """Identities of tracks and their bootstrap draws.

    Args:
        embeddings, crop_tracks, must_not_link: as in ``identify``.
        tracks, summary: of ``tracking``.
        threshold: cosine distance; thresholds: (draws,) from ``draw_thresholds``.
        counting: as in ``identify``.

    Returns:
        (identities, draws, at_once): (tracks,) int; (draws, tracks) int; (tracks,) bool, of ``simultaneous_tracks``.
    """
    exists, at_once = existence(summary), simultaneous_tracks(tracks, summary)
    identities = identify(embeddings, crop_tracks, must_not_link, threshold, (exists >= MIN_EXISTENCE_PROB) | at_once, counting)
    return identities, draw_identities(embeddings, crop_tracks, must_not_link, thresholds, exists, at_once, rng, counting), at_once


# Tables


def per_film(identities, draws, recording_ids, at_once, films, level=LEVEL):
    """How many birds each film shows, and how many of them no other film does.

    Args:
        identities, draws: (tracks,) and (draws, tracks).
        recording_ids: (tracks,) str, the film of each.
        at_once: (tracks,) bool from ``simultaneous_tracks``.
        films: all recording_ids; one without tracks has no bird.
        level: share of the draws in the interval.

    Returns:
        DataFrame with ``FILM_COLUMNS``, one row a film, in their order: n and its interval, the largest number in one frame, and the number
        seen only here. All int.
    """
    n = _with_interval(lambda presence: presence.sum(axis=1), identities, draws, recording_ids, films, level)
    only_here = _with_interval(_n_only_here, identities, draws, recording_ids, films, level)
    n_at_once = [int(np.sum(np.asarray(at_once) & (np.asarray(recording_ids) == film))) for film in films]
    rows = [[film, *n[i], n_at_once[i], *only_here[i]] for i, film in enumerate(films)]
    return pd.DataFrame(rows, columns=FILM_COLUMNS).astype(dict.fromkeys(FILM_COLUMNS[1:], int))


def per_film_pair(identities, draws, recording_ids, films, level=LEVEL):
    """How many birds two films share: n_a + n_b - shared = total, in the table and in every draw.

    Returns:
        DataFrame with ``_PAIR_COLUMNS``, one row a pair of films, in the order of the films.
    """
    pairs = list(itertools.combinations(range(len(films)), 2))
    a, b = np.array(pairs, dtype=int).reshape(-1, 2).T
    given = identities, draws, recording_ids, films, level
    n = _with_interval(lambda presence: presence.sum(axis=1), *given)[:, 0]
    shared = _with_interval(lambda presence: (presence[a] & presence[b]).sum(axis=1), *given)
    total = _with_interval(lambda presence: (presence[a] | presence[b]).sum(axis=1), *given)
    rows = [[films[a], films[b], n[a], n[b], *shared[i], *total[i]] for i, (a, b) in enumerate(pairs)]
    return pd.DataFrame(rows, columns=_PAIR_COLUMNS).astype(dict.fromkeys(_PAIR_COLUMNS[2:], int))


def overall(identities, draws, recording_ids, level=LEVEL):
    """The number of birds in all films together, and of those in two films or more.

    Returns:
        dict figure -> (n, low, high), int: ``total`` and ``in_several_films``.
    """
    films = list(dict.fromkeys(recording_ids))
    figures = _with_interval(_n_in_all, identities, draws, recording_ids, films, level)
    return {name: tuple(map(int, figure)) for name, figure in zip(("total", "in_several_films"), figures, strict=True)}


def describe(table, total):
    """Sentences about the counts: all individuals, those in several films, and films whose count is uncertain.

    Args:
        table: from ``per_film``; total: from ``overall``.
    """
    text = "{} individuals in all films [{}, {}], {} of them in several films [{}, {}].".format(*total["total"], *total["in_several_films"])
    uncertain = table.loc[table["high"] - table["low"] > np.maximum(1, table["n"] / 2), "recording_id"].tolist()
    return text + (f" Uncertain: {', '.join(uncertain)}; check these films with their numbered boxes." if uncertain else "")


def matches(identities, draws, summary):
    """Tracks of different films that are the same bird.

    Args:
        summary: of the tracks, with ``recording_id`` and ``track``.

    Returns:
        DataFrame, one row a pair of tracks: ``identity, recording_id_a, track_a, recording_id_b, track_b, share``, the last being that of
        the draws in which they are the same bird; by identity, the largest share first.
    """
    shares = _same_share(draws)
    films, numbers = summary["recording_id"].to_numpy(), summary["track"].to_numpy()
    a, b = np.nonzero(np.triu((identities[:, None] == identities) & (identities != UNKNOWN) & (films[:, None] != films)))
    table = pd.DataFrame({
        "identity": identities[a], "recording_id_a": films[a], "track_a": numbers[a],
        "recording_id_b": films[b], "track_b": numbers[b], "share": shares[a, b],
    })  # fmt: skip
    return table.sort_values(["identity", "share"], ascending=[True, False], kind="stable").reset_index(drop=True)


def _same_share(draws):
    """(tracks, tracks) float64: of the draws in which both tracks exist, the share in which they are one bird; NaN without such draws."""
    both, same = np.zeros((2, draws.shape[1], draws.shape[1]))
    for identities in draws:
        exist = (identities != UNKNOWN)[:, None] & (identities != UNKNOWN)
        both += exist
        same += exist & (identities[:, None] == identities)
    return np.divide(same, both, out=np.full(same.shape, np.nan), where=both > 0)


def _n_only_here(presence):
    return presence[:, presence.sum(axis=0) == 1].sum(axis=1)


def _n_in_all(presence):
    n_films = presence.sum(axis=0)
    return np.array([np.sum(n_films >= 1), np.sum(n_films >= 2)])


def _with_interval(figures, identities, draws, recording_ids, films, level):
    """Figures of the identities with their intervals: quantiles of the draws, widened to hold the figure itself.

    Args:
        figures: function of presence, (films, individuals) bool, to (n,) int.

    Returns:
        (n, 3) int: value, low, high.
    """
    row_of = {film: i for i, film in enumerate(films)}
    of_track = np.array([row_of[film] for film in recording_ids], dtype=int)
    value, *drawn = (figures(_presence(rows, of_track, len(films))) for rows in (identities, *draws))
    return interval(value, drawn, level).astype(int)


def interval(value, drawn, level=LEVEL):
    """The quantile range of draws, widened to hold the value itself.

    Args:
        value: (n,) or a number; drawn: (draws, n) or (draws,), NaN where it is not defined.

    Returns:
        (n, 3) float: value, low, high; (3,) for a number.
    """
    value = np.asarray(value, dtype=float)
    if not len(drawn) or np.isnan(drawn).all():
        return np.stack([value, value, value], axis=-1)
    low = np.nanquantile(drawn, (1 - level) / 2, axis=0, method="lower")
    high = np.nanquantile(drawn, (1 + level) / 2, axis=0, method="higher")
    return np.stack([value, np.fmin(low, value), np.fmax(high, value)], axis=-1)


def _presence(identities, of_track, n_films):
    presence = np.zeros((n_films, identities.max(initial=UNKNOWN) + 1), dtype=bool)
    exists = identities != UNKNOWN
    presence[of_track[exists], identities[exists]] = True
    return presence
