"""Which tracks are birds, and which of them are one individual: identities with their bootstrap draws.

The bootstrap is that of Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979. Each draw resamples what identities rest on:
the threshold (``draw_thresholds``), the crops that a track's embedding is the mean of and the tracks themselves (``draw_identities``).
All tracks of all films are clustered jointly in every draw. Tracks of one film are first joined by time and place (``track_links``); where that leaves
doubt, the draws take turns with its rules of joining, so that an interval reaches from the birds that are there if all similar tracks are one to
those that are there if only evident ones are.

Identities are (tracks,) int as ``clustering`` returns them, row-aligned with the summary of the tracks, ``UNKNOWN`` where a track is not
counted; draws are (draws, tracks) of them.
"""

import numpy as np
import pandas as pd

from birdlib.individuals import clustering, track_links
from birdlib.metrics.identity import UNKNOWN

MIN_EXISTENCE_PROB = 0.5  # of a track that is counted
CONFIRMED_PROB = 0.95  # of a track that is in every draw
_MIN_DETECTIONS = 3  # of a bird


def existence(summary):
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
    return poisson.sf(_MIN_DETECTIONS - 1, expected)


def simultaneous_tracks(tracks, summary):
    """The tracks in the frame with the most birds of each film, which are surely that many birds.

    Args:
        tracks: one row a detection, with ``recording_id, track, time_s, score``.
        summary: one row a track, with ``recording_id, track, n_detections, score``.

    Returns:
        (tracks,) bool, row-aligned with the summary. Only tracks that exist with ``CONFIRMED_PROB`` count; of frames with equally many,
        the one with the highest scores.
    """
    confirmed = summary.loc[existence(summary) >= CONFIRMED_PROB, ["recording_id", "track"]]
    detections = tracks.merge(confirmed, on=["recording_id", "track"])
    frames = detections.groupby(["recording_id", "time_s"]).agg(n=("track", "nunique"), score=("score", "sum")).reset_index()
    fullest = frames.sort_values(["n", "score", "time_s"], ascending=[False, False, True]).drop_duplicates("recording_id")
    members = detections.merge(fullest[["recording_id", "time_s"]], on=["recording_id", "time_s"])
    keys = pd.MultiIndex.from_frame(summary[["recording_id", "track"]])
    return keys.isin(pd.MultiIndex.from_frame(members[["recording_id", "track"]]))


def is_counted(tracks, summary):
    """(tracks,) bool: tracks that are birds more likely than not, or are seen at once; arguments as of ``simultaneous_tracks``."""
    return (existence(summary) >= MIN_EXISTENCE_PROB) | simultaneous_tracks(tracks, summary)


def identify(embeddings, crop_tracks, must_not_link, threshold, exists, counting="clustering", links=None, joining="default"):
    """Group the tracks that exist into individuals.

    Args:
        embeddings: (crops, dim).
        crop_tracks: (crops,) int, the row of the track of each.
        must_not_link: (tracks, tracks) bool.
        threshold: as in ``clustering.cluster``.
        exists: (tracks,) bool, of ``is_counted``.
        counting: one of ``clustering.COUNTINGS``.
        links: of the tracks, from ``track_links.find``; None: time and place are not known. Greedy counting does not use them.
        joining: one of ``track_links.JOININGS``.

    Returns:
        (tracks,) int, identities; ``UNKNOWN`` for a track that does not exist or has no crops.
    """
    crop_tracks, exists = np.asarray(crop_tracks, dtype=int), np.asarray(exists, dtype=bool)
    rows = np.flatnonzero(exists & (np.bincount(crop_tracks, minlength=len(exists)) > 0))
    identities = np.full(len(exists), UNKNOWN)
    if len(rows):
        is_used = np.isin(crop_tracks, rows)
        used, of_row = np.asarray(embeddings)[is_used], np.searchsorted(rows, crop_tracks[is_used])
        apart = np.asarray(must_not_link)[np.ix_(rows, rows)]
        if links is None or counting != "clustering":
            identities[rows] = clustering.COUNTINGS[counting](clustering.mean_embeddings(used, of_row), apart, threshold)
        else:
            identities[rows] = _cluster_chains(used, of_row, apart, threshold, links.of(rows), joining)
    return identities


def _cluster_chains(embeddings, of_track, apart, threshold, links, joining):
    """(tracks,) int, identities: tracks are joined to chains, and chains are clustered."""
    means = clustering.mean_embeddings(embeddings, of_track)
    min_level = track_links.EVIDENT if joining == "evident" else track_links.PLAUSIBLE
    chain = track_links.chains(clustering.distances(means), apart, threshold, links, min_level)
    n = chain.max() + 1
    holds = np.zeros((n, len(chain)), np.int64)
    holds[chain, np.arange(len(chain))] = 1
    apart, same_film = (holds @ table.astype(np.int64) @ holds.T > 0 for table in (apart, links.same_film))
    np.fill_diagonal(same_film, False)
    if joining == "evident":
        apart = apart | same_film
    scale = np.where(same_film, links.factor if joining == "default" else 1.0, 1.0)
    return clustering.renumber(clustering.cluster(clustering.mean_embeddings(embeddings, chain[of_track]), apart, threshold, scale)[chain])


# The bootstrap


def draw_thresholds(halves, relations, half_tracks, threshold, rng, n=300):
    """Bootstrap the equal-error threshold over tracks, each with all its pairs: pairs of one track are not independent.

    Args:
        halves, relations, half_tracks: from ``clustering.validation_pairs``.
        threshold: the chosen one, for a draw that lacks one kind of pairs.

    Returns:
        (n,) float64.
    """
    distances, relations = clustering.distances(halves), np.asarray(relations)
    half_tracks = np.unique(half_tracks, return_inverse=True)[1]
    n_tracks = half_tracks.max(initial=-1) + 1
    above = np.triu_indices(len(distances), k=1)
    is_known = relations[above] != 0
    first, second = above[0][is_known], above[1][is_known]
    is_own = half_tracks[first] == half_tracks[second]
    pairs = distances[first, second], relations[first, second]
    thresholds = np.full(n, float(threshold))
    for draw in range(n if is_known.any() else 0):
        times = np.bincount(rng.integers(n_tracks, size=n_tracks), minlength=n_tracks)[half_tracks]
        weights = times[first] * np.where(is_own, 1, times[second])
        thresholds[draw] = clustering.choose_threshold(*pairs, weights, fallback=threshold)[0]
    return thresholds


def draw_identities(embeddings, crop_tracks, must_not_link, thresholds, exists, at_once, rng, counting="clustering", links=None):
    """Bootstrap the identities: each draw has its threshold, resamples each track's crops, and draws which tracks exist.

    Args:
        embeddings, crop_tracks, must_not_link: as in ``identify``.
        thresholds: (draws,) from ``draw_thresholds``.
        exists: (tracks,) from ``existence``.
        at_once: (tracks,) bool from ``simultaneous_tracks``: these exist in every draw.
        counting, links: as in ``identify``; the draws take turns with ``Links.joinings``.

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
    joinings = links.joinings() if links else ("default",)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # threads slow down many small products
        for index, threshold in enumerate(thresholds):
            crops = starts + rng.integers(sizes) if len(sizes) else starts
            drawn = rng.random(len(exists)) < exists
            draws[index] = identify(embeddings[crops], crop_tracks, must_not_link, threshold, drawn, counting, links, joinings[index % len(joinings)])
    return draws


def identify_with_draws(embeddings, crop_tracks, must_not_link, tracks, summary, threshold, thresholds, rng, counting="clustering", links=None):
    """Identities of tracks and their bootstrap draws.

    Args:
        embeddings, crop_tracks, must_not_link: as in ``identify``.
        tracks, summary: of ``tracking``.
        threshold: cosine distance; thresholds: (draws,) from ``draw_thresholds``.
        counting, links: as in ``identify``.

    Returns:
        (identities, draws, at_once): (tracks,) int; (draws, tracks) int; (tracks,) bool, of ``simultaneous_tracks``.
    """
    exists, at_once = existence(summary), simultaneous_tracks(tracks, summary)
    identities = identify(embeddings, crop_tracks, must_not_link, threshold, is_counted(tracks, summary), counting, links)
    return identities, draw_identities(embeddings, crop_tracks, must_not_link, thresholds, exists, at_once, rng, counting, links), at_once
