"""Greedy counting beside clustering: the same tracks and draws, their counts, and their errors against known counts and identities.

A counting is (identities, draws), as of ``identification.identify_with_draws``. Differences are clustering less greedy, in the same draw.
"""

import copy

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import clustering, counts, identification
from birdlib.metrics import bootstrap
from birdlib.metrics import identity as identity_metrics
from birdlib.metrics.identity import UNKNOWN

_THRESHOLDS = np.arange(1, 41) / 40  # cosine distances
_SIDES = ("greedy", "clustering", "difference")
COLUMNS = ["figure", *(side + end for side in _SIDES for end in ("", "_low", "_high"))]


class KnownCountsError(runtime.FileError):
    """A table of known counts that cannot be used."""


def require(counting, thresholds=(), n_draws=1):
    """Raise ParameterError if there is no such counting, a threshold is no cosine distance, or nothing is drawn."""
    if not all(0 <= threshold <= 2 for threshold in thresholds):
        raise runtime.ParameterError(f"the thresholds of clustering and of greedy are {', '.join(f'{value:g}' for value in thresholds)}: choose cosine distances, 0 to 2")
    if n_draws < 1:
        raise runtime.ParameterError(f"n_draws is {n_draws}: choose 1 or more, such as 200")
    if counting not in clustering.COUNTINGS:
        raise runtime.ParameterError(f"counting is {counting!r}: choose {' or '.join(clustering.COUNTINGS)}")


def identify(embeddings, crop_tracks, must_not_link, tracks, summary, thresholds, rng, links=None):
    """Identities and draws of both countings, which resample the same crops and tracks.

    Args:
        embeddings, crop_tracks, must_not_link, tracks, summary: as in ``identification.identify_with_draws``.
        thresholds: {"greedy" and "clustering": (threshold, (draws,) thresholds)}.
        links: as in ``identification.identify``, of clustering.
        rng: of clustering; greedy counting has a copy, so that draws are paired.

    Returns:
        ({counting: (identities, draws)}, at_once).
    """
    given, found = (embeddings, crop_tracks, must_not_link, tracks, summary), {}
    for counting, own_rng in (("greedy", copy.deepcopy(rng)), ("clustering", rng)):
        identities, draws, at_once = identification.identify_with_draws(*given, *thresholds[counting], own_rng, counting, links)
        found[counting] = identities, draws
    return found, at_once


def read_known(path):
    """Known counts of films, by eye say: {recording_id: birds}.

    Args:
        path: of a CSV table with ``recording_id`` and ``individuals``; a row without a number is of a film that cannot be counted exactly.

    Raises:
        KnownCountsError: no such table, a column that is missing, or a number that is no count.
    """
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise KnownCountsError(path, f"cannot be read as a table ({error}): give a CSV file with recording_id and individuals") from error
    if missing := sorted({"recording_id", "individuals"} - set(table.columns)):
        raise KnownCountsError(path, f"has no column {' and '.join(missing)}: give recording_id and individuals")
    table = table.dropna(subset=["recording_id", "individuals"])
    numbers = pd.to_numeric(table["individuals"], errors="coerce")
    wrong = numbers.isna() | (numbers < 0) | (numbers % 1 != 0)
    if wrong.any():
        film, text = table.loc[wrong, ["recording_id", "individuals"]].iloc[0]
        raise KnownCountsError(path, f"has {text!r} individuals for {film}: give a whole number, or nothing where it is not known")
    return dict(zip(table["recording_id"], numbers.astype(int).tolist(), strict=True))


def known_figures(table, known):
    """The error of counts: ``counts.per_film`` with the known number of ``birds``, and figures for the receipt.

    Args:
        known: {recording_id: birds}, of some of the films.

    Returns:
        (figures, table): without figures and column where no film is known.
    """
    birds = table["recording_id"].map(known).astype("Int64")
    is_known = birds.notna()
    if not is_known.any():
        return {}, table
    n, birds_known = table["n"][is_known].to_numpy(), birds[is_known].to_numpy(int)
    figures = {
        "films counted right": f"{int((n == birds_known).sum())} of {len(n)}",
        "mean absolute error of counts": identity_metrics.count_mae(birds_known, n),
    }
    return figures, table.assign(birds=birds)


def compare(countings, summary, must_not_link, films, *, known, names=None, rng):
    """The two countings side by side.

    Args:
        countings: {"greedy" and "clustering": (identities, draws)}.
        summary: of the tracks.
        must_not_link: (tracks, tracks) bool.
        films: all recording_ids.
        known: {recording_id: birds}, of some of the films.
        names: (tracks,) str, the true individual of each, ``""`` for a track of none; None where no identity is known.
        rng: of the bootstrap over films.

    Returns:
        DataFrame of ``COLUMNS``: a row a film, named by it, with its count; then figures of all films together. 90 % intervals: of counts and
        F1 over the draws, of errors over the films that are known.
    """
    of_film = summary["recording_id"].to_numpy()
    rows = [_over_draws(film, lambda found, film=film: _n_birds(found[of_film == film]), countings) for film in films]
    rows.append(_over_draws("individuals in all films", _n_birds, countings))
    rows.append(_over_draws("individuals in several films", lambda found: _n_in_several(found, of_film), countings))
    rows.append(_over_draws("pairs of different birds with one number", lambda found: _n_merged(found, must_not_link), countings))
    if names is not None:
        for figure, groups in (("pairwise F1 of tracks", None), ("pairwise F1 across films", of_film)):
            rows.append(_over_draws(figure, lambda found, groups=groups: _pairwise_f1(found, names, groups), countings))
    if known_films := [film for film in films if film in known]:
        birds = np.array([known[film] for film in known_films])
        found = [np.array([_n_birds(countings[side][0][of_film == film]) for film in known_films]) for side in _SIDES[:2]]
        rows.append(_over_films("films counted right", lambda found, birds: float(np.sum(found == birds)), found, birds, rng))
        rows.append(_over_films("mean absolute error of counts", lambda found, birds: float(np.mean(np.abs(found - birds))), found, birds, rng))
    return pd.DataFrame(rows, columns=COLUMNS)


def over_thresholds(means, must_not_link, of_film, is_counted, known):
    """What each threshold would have given, in hindsight.

    Args:
        means: (tracks, dim) unit vectors.
        must_not_link: (tracks, tracks) bool.
        of_film: (tracks,) str.
        is_counted: (tracks,) bool.
        known: {recording_id: birds}, of some of the films.

    Returns:
        DataFrame ``counting, threshold, individuals, error``: of all films together; the mean absolute error over the films that are known,
        NaN without any.
    """
    means, must_not_link, of_film = means[is_counted], must_not_link[np.ix_(is_counted, is_counted)], of_film[is_counted]
    rows = []
    for counting, group in clustering.COUNTINGS.items():
        for threshold in _THRESHOLDS:
            found = group(means, must_not_link, threshold)
            errors = [abs(_n_birds(found[of_film == film]) - birds) for film, birds in known.items()]
            rows.append([counting, threshold, _n_birds(found), np.mean(errors) if errors else np.nan])
    return pd.DataFrame(rows, columns=["counting", "threshold", "individuals", "error"])


def describe_thresholds(table):
    """A sentence about ``over_thresholds``: at which thresholds the error is smallest; ``""`` where no count is known."""
    texts = []
    for counting, rows in table.dropna(subset=["error"]).groupby("counting", sort=False):
        best = rows.loc[rows["error"] == rows["error"].min(), "threshold"]
        texts.append(f"{counting} {rows['error'].min():.2f} at {len(best)} of {len(rows)} thresholds, {best.min():.3f} to {best.max():.3f}")
    return f"The smallest mean error, which only known counts tell: {'; '.join(texts)}." if texts else ""


def describe(table, thresholds):
    """A sentence about ``compare``; ``thresholds`` as in ``identify``."""
    row = table.set_index("figure").loc["individuals in all films"]
    texts = [
        f"{side} (threshold {thresholds[side][0]:.3f}) {row[side]:.0f} [{row[side + '_low']:.0f}, {row[side + '_high']:.0f}]" for side in _SIDES[:2]
    ]
    merged = table.set_index("figure").loc["pairs of different birds with one number", "greedy"]
    text = f"Individuals in all films: {texts[0]}, {texts[1]}."
    return text + (f" Greedy counting gives one number to {merged:.0f} pairs of tracks that are surely two birds." if merged else "")


def _over_draws(figure, statistic, countings):
    values = [np.array([statistic(found) for found in (identities, *draws)], float) for identities, draws in (countings[side] for side in _SIDES[:2])]
    columns = [counts.interval(value[0], value[1:]) for value in (*values, values[1] - values[0])]
    return [figure, *np.concatenate(columns)]


def _over_films(figure, statistic, found, birds, rng):
    statistics = (
        lambda greedy, clustered, birds: statistic(greedy, birds),
        lambda greedy, clustered, birds: statistic(clustered, birds),
        lambda greedy, clustered, birds: statistic(clustered, birds) - statistic(greedy, birds),
    )
    columns = [bootstrap.interval(side, *found, birds, level=counts.LEVEL, rng=copy.deepcopy(rng)) for side in statistics]
    return [figure, *np.concatenate(columns)]


def _n_birds(identities):
    return len(np.unique(identities[identities != UNKNOWN]))


def _n_in_several(identities, of_film):
    pairs = pd.DataFrame({"bird": identities, "film": of_film})[identities != UNKNOWN].drop_duplicates()
    return int((pairs.groupby("bird").size() > 1).sum())


def _n_merged(identities, must_not_link):
    same = (identities[:, None] == identities) & (identities != UNKNOWN)
    return int((same & must_not_link).sum() // 2)


def _pairwise_f1(identities, names, groups):
    is_scored = (identities != UNKNOWN) & (names != "")
    within = None if groups is None else groups[is_scored]
    return identity_metrics.pairwise_precision_recall_f1(names[is_scored], identities[is_scored], groups=within)["f1"]
