"""How many birds: counts of identities in films, with a bootstrap interval, as tables and figures.

Identities and their draws are those of ``identification``. As all films are clustered jointly, |A| + |B| - shared = total holds in every draw. The
interval is a quantile range of the draws, widened to hold the count itself (``interval``).
"""

import itertools

import numpy as np
import pandas as pd

from birdlib.metrics.identity import UNKNOWN

LEVEL = 0.9  # share of the draws in an interval
FILM_COLUMNS = ["recording_id", "n", "low", "high", "at_once", "only_here", "only_here_low", "only_here_high"]
_PAIR_COLUMNS = ["a", "b", "n_a", "n_b", "shared", "shared_low", "shared_high", "total", "total_low", "total_high"]


def per_film(identities, draws, recording_ids, at_once, films, level=LEVEL):
    """How many birds each film shows, and how many of them no other film does.

    Args:
        identities, draws: (tracks,) and (draws, tracks).
        recording_ids: (tracks,) str, the film of each.
        at_once: (tracks,) bool from ``identification.simultaneous_tracks``.
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
        table: from ``per_film``, after ``frame_evidence.revise`` too; total: from ``overall``.
    """
    text = "{} individuals in all films [{}, {}], {} of them in several films [{}, {}].".format(*total["total"], *total["in_several_films"])
    is_uncertain = table["certainty"] == "uncertain" if "certainty" in table else table["high"] - table["low"] > np.maximum(1, table["n"] / 2)
    uncertain = table.loc[is_uncertain, "recording_id"].tolist()
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
