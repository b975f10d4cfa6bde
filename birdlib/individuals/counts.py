"""How many birds: a count is an interval.

Three things could have come out otherwise, and are drawn again and again: the crops that a track's embedding is the mean of, the tracks
themselves, and the threshold (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979). In every draw all tracks of all films are
clustered jointly, so that |A| + |B| - shared = total holds in each. Identities are (tracks,) int as ``individuals`` gives them, row-aligned
with the summary of the tracks, ``ABSENT`` where a track is not counted; draws are (draws, tracks) of them.
"""

import itertools

import numpy as np
import pandas as pd

from birdlib.individuals import clustering

ABSENT = clustering.NEW  # of a track that is not there in a draw
_LEVEL = 0.9
_MIN_DETECTIONS = 3  # a bird is seen so often, at least
CREDIBLE, SURE = 0.5, 0.95  # how probable it is that a track is a bird: it is counted, it is there in every draw
FILM_COLUMNS = ["recording_id", "n", "low", "high", "at_once", "only_here", "only_here_low", "only_here_high"]
_PAIR_COLUMNS = ["a", "b", "n_a", "n_b", "shared", "shared_low", "shared_high", "total", "total_low", "total_high"]


def existence(summary, min_detections=_MIN_DETECTIONS):
    """How probable it is that a track is a bird, were the film seen again.

    A detection with the score s is a bird with probability s, and each may come any number of times, once in the mean (the Poisson
    bootstrap: Hanley & MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006). So a bird that was seen long
    is never lost by chance, and one that was seen three times is about as likely to be none.

    Args:
        summary: of the tracks, with ``n_detections`` and ``score``, their mean.

    Returns:
        (tracks,) float64 in [0, 1].
    """
    from scipy.stats import poisson

    expected = summary["n_detections"].to_numpy(float) * summary["score"].to_numpy(float)
    return poisson.sf(min_detections - 1, expected)


def seen_at_once(tracks, summary, min_detections=_MIN_DETECTIONS):
    """The tracks of the fullest moment of each film, which are surely that many birds.

    Args:
        tracks: one row a detection, with ``recording_id, track, time_s, score``.
        summary: one row a track, with ``recording_id, track, n_detections, score``.

    Returns:
        (tracks,) bool, row-aligned with the summary. Only tracks that are ``SURE`` to be a bird count, lest a leaf be one of them for good;
        of moments that are as full, the one with the highest scores.
    """
    sure = summary.loc[existence(summary, min_detections) >= SURE, ["recording_id", "track"]]
    seen = tracks.merge(sure, on=["recording_id", "track"])
    moments = seen.groupby(["recording_id", "time_s"]).agg(n=("track", "nunique"), score=("score", "sum")).reset_index()
    fullest = moments.sort_values(["n", "score", "time_s"], ascending=[False, False, True]).drop_duplicates("recording_id")
    members = seen.merge(fullest[["recording_id", "time_s"]], on=["recording_id", "time_s"])
    keys = pd.MultiIndex.from_frame(summary[["recording_id", "track"]])
    return keys.isin(pd.MultiIndex.from_frame(members[["recording_id", "track"]]))


def identify(embeddings, crop_tracks, must_not_link, threshold, exists):
    """Who is who among the tracks that count.

    Args:
        embeddings: (crops, dim).
        crop_tracks: (crops,) int, the row of the track of each.
        must_not_link: (tracks, tracks) bool.
        threshold: as of ``individuals.cluster``.
        exists: (tracks,) bool, ``existence(summary) >= CREDIBLE``, say. A track without crops does not count either.

    Returns:
        (tracks,) int, identities; ``ABSENT`` for a track that does not count.
    """
    crop_tracks, exists = np.asarray(crop_tracks, dtype=int), np.asarray(exists, dtype=bool)
    rows = np.flatnonzero(exists & (np.bincount(crop_tracks, minlength=len(exists)) > 0))
    identities = np.full(len(exists), ABSENT)
    if len(rows):
        is_used = np.isin(crop_tracks, rows)
        means = clustering.mean_embeddings(np.asarray(embeddings)[is_used], np.searchsorted(rows, crop_tracks[is_used]))
        identities[rows] = clustering.cluster(means, np.asarray(must_not_link)[np.ix_(rows, rows)], threshold)
    return identities


def draw_thresholds(halves, relations, half_tracks, threshold, rng, n=300):
    """The threshold as it would have come out with other tracks to choose it by.

    Tracks are drawn, with all their pairs, for pairs of one track are not independent.

    Args:
        halves, relations, half_tracks: from ``individuals.validation_pairs``.
        threshold: what was chosen; a draw without pairs of both kinds has this one.

    Returns:
        (n,) float64.
    """
    apart = clustering.distances(halves)
    half_tracks = np.unique(half_tracks, return_inverse=True)[1]
    n_tracks = half_tracks.max(initial=-1) + 1
    above = np.triu_indices(len(apart), k=1)
    is_known = np.asarray(relations)[above] != 0
    first, second = above[0][is_known], above[1][is_known]
    is_own = half_tracks[first] == half_tracks[second]
    thresholds = np.full(n, float(threshold))
    for draw in range(n if is_known.any() else 0):
        times = np.bincount(rng.integers(n_tracks, size=n_tracks), minlength=n_tracks)[half_tracks]
        weights = times[first] * np.where(is_own, 1, times[second])
        thresholds[draw] = clustering.choose_threshold(
            apart[first, second], np.asarray(relations)[first, second], weights, fallback=threshold
        )[0]
    return thresholds


def draw_identities(embeddings, crop_tracks, must_not_link, thresholds, exists, at_once, rng):
    """Who is who, again and again: crops, tracks and the threshold as they might have been.

    Args:
        embeddings, crop_tracks, must_not_link: as of ``identify``.
        thresholds: (draws,) from ``draw_thresholds``.
        exists: (tracks,) from ``existence``.
        at_once: (tracks,) bool from ``seen_at_once``: these are there in every draw.

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
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # many small products: threads would wait for each other
        for index, threshold in enumerate(thresholds):
            crops = starts + rng.integers(sizes) if len(sizes) else starts
            draws[index] = identify(
                embeddings[crops], crop_tracks, must_not_link, threshold, rng.random(len(exists)) < exists
            )
    return draws


# Tables


def of_films(identities, draws, recording_ids, at_once, films, level=_LEVEL):
    """How many birds each film shows, and how many of them no other film does.

    Args:
        identities, draws: (tracks,) and (draws, tracks).
        recording_ids: (tracks,) str, the film of each.
        at_once: (tracks,) bool from ``seen_at_once``.
        films: all recording_ids; one without tracks has no bird.
        level: share of the draws in the interval.

    Returns:
        DataFrame with ``FILM_COLUMNS``, one row a film, in their order: n and its interval, the largest number seen at one time, and how many
        are seen only here. All int.
    """
    n = _with_interval(lambda presence: presence.sum(axis=1), identities, draws, recording_ids, films, level)
    only_here = _with_interval(_n_only_here, identities, draws, recording_ids, films, level)
    most = [int(np.sum(np.asarray(at_once) & (np.asarray(recording_ids) == film))) for film in films]
    rows = [[film, *n[i], most[i], *only_here[i]] for i, film in enumerate(films)]
    return pd.DataFrame(rows, columns=FILM_COLUMNS).astype(dict.fromkeys(FILM_COLUMNS[1:], int))


def of_pairs(identities, draws, recording_ids, films, level=_LEVEL):
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


def overall(identities, draws, recording_ids, level=_LEVEL):
    """How many birds there are in all films together, and how many of them are in two films or more.

    Returns:
        dict figure -> (n, low, high), int: ``total`` and ``in_several_films``.
    """
    films = list(dict.fromkeys(recording_ids))
    figures = _with_interval(_n_in_all, identities, draws, recording_ids, films, level)
    return {name: tuple(map(int, figure)) for name, figure in zip(("total", "in_several_films"), figures, strict=True)}


def same_share(draws):
    """How often two tracks are the same bird, of the draws in which both are there: (tracks, tracks) float64, NaN where none is."""
    both, same = np.zeros((2, draws.shape[1], draws.shape[1]))
    for identities in draws:
        is_there = identities != ABSENT
        there = is_there[:, None] & is_there
        both += there
        same += there & (identities[:, None] == identities)
    return np.divide(same, both, out=np.full(same.shape, np.nan), where=both > 0)


def matches(identities, draws, summary):
    """Tracks of different films that are the same bird, and how sure that is.

    Args:
        summary: of the tracks, with ``recording_id`` and ``track``.

    Returns:
        DataFrame, one row a pair of tracks: ``identity, recording_id_a, track_a, recording_id_b, track_b, share``, the last being that of
        the draws in which they are the same; by identity, the surest first.
    """
    shares = same_share(draws)
    films, numbers = summary["recording_id"].to_numpy(), summary["track"].to_numpy()
    a, b = np.nonzero(np.triu((identities[:, None] == identities) & (identities != ABSENT) & (films[:, None] != films)))
    table = pd.DataFrame({
        "identity": identities[a], "recording_id_a": films[a], "track_a": numbers[a],
        "recording_id_b": films[b], "track_b": numbers[b], "share": shares[a, b],
    })  # fmt: skip
    return table.sort_values(["identity", "share"], ascending=[True, False], kind="stable").reset_index(drop=True)


def _n_only_here(presence):
    return presence[:, presence.sum(axis=0) == 1].sum(axis=1)


def _n_in_all(presence):
    n_films = presence.sum(axis=0)
    return np.array([np.sum(n_films >= 1), np.sum(n_films >= 2)])


def _with_interval(figures, identities, draws, recording_ids, films, level):
    """Figures of who is where, and the ends of their intervals over the draws, which have the figure itself in them.

    Args:
        figures: function of (films, individuals) bool, giving (n,) int.

    Returns:
        (n, 3) int.
    """
    place = {film: i for i, film in enumerate(films)}
    of_track = np.array([place[film] for film in recording_ids], dtype=int)
    value, *drawn = (figures(_presence(one, of_track, len(films))) for one in (identities, *draws))
    if not drawn:
        return np.column_stack([value, value, value])
    low = np.quantile(drawn, (1 - level) / 2, axis=0, method="lower")
    high = np.quantile(drawn, (1 + level) / 2, axis=0, method="higher")
    return np.column_stack([value, np.minimum(low, value), np.maximum(high, value)]).astype(int)


def _presence(identities, of_track, n_films):
    presence = np.zeros((n_films, identities.max(initial=ABSENT) + 1), dtype=bool)
    is_there = identities != ABSENT
    presence[of_track[is_there], identities[is_there]] = True
    return presence
