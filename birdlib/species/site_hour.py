"""Priors by site and hour: which species to expect at a recorder at an hour of the day, learnt from labelled windows of soundscapes.

Site and hour are those in the names of the files (``recording_names``), the hour as it is written there. A species' share of the labelled windows
of a site, an hour, or both is smoothed towards its share of all labelled windows, so that where nothing is known the prior says nothing.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import recording_names, runtime
from birdlib.metrics import bootstrap, resampled

FILE = "site_hour.json"
STRENGTH = 8.0  # windows without label that each share is smoothed with: two thirds of a minute
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the prior in log-odds, to choose from; 0 is no prior
MIN_SOUNDSCAPES = 4  # with labels; fewer teach no prior
_N_FOLDS = 5  # of soundscapes
_N_DRAWS = 300
_EPS = 1e-6  # of scores and shares, whose log-odds must be finite


class PriorError(runtime.BirdlibError):
    """Priors by site and hour that are asked for and not there, or not of these species."""


@dataclasses.dataclass(frozen=True)
class SiteHourPrior:
    """Counts of labelled windows.

    Attributes:
        classes: labels of the columns of ``n_present``.
        cells: DataFrame, a row for each site and hour with labelled windows: ``site`` ("" is unknown), ``hour`` (-1 is unknown), ``n_windows``.
        n_present: (cells, classes) in how many of these windows each species was labelled.
        strength: see ``STRENGTH``.
        weight: of ``choose_weight``, by which the prior counts.
    """

    classes: list
    cells: pd.DataFrame
    n_present: np.ndarray
    strength: float = STRENGTH
    weight: float = 0.0

    def shift(self, soundscapes):
        """What site and hour add to the log-odds of each species.

        Args:
            soundscapes: names of soundscapes, with repeats.

        Returns:
            (soundscapes, classes) float64; 0 where neither site nor hour has labelled windows.
        """
        names, index = np.unique(np.asarray(soundscapes, dtype=str), return_inverse=True)
        rows = [self._shift(*site_and_hour(name)) for name in names]
        return np.reshape(rows, (len(names), len(self.classes)))[index]

    def _shift(self, site, hour):
        """Site and hour are first taken as independent; the windows of both together correct that as far as there are any."""
        everywhere = (self.n_present.sum(axis=0) + 0.5) / (self.cells["n_windows"].sum() + 1.0)  # Jeffreys' prior
        is_site = (self.cells["site"] == site).to_numpy() & (site != "")
        is_hour = (self.cells["hour"] == hour).to_numpy() & (hour >= 0)
        base = _log_odds(everywhere)
        independent = _log_odds(self._share(is_site, everywhere)) + _log_odds(self._share(is_hour, everywhere)) - base
        together = self._share(is_site & is_hour, _probability(independent))
        return _log_odds(together) - base

    def _share(self, is_cell, expected):
        """Share of windows with each species in some cells, smoothed with ``strength`` windows that are as expected."""
        n_windows = self.cells["n_windows"].to_numpy()[is_cell].sum()
        return (self.n_present[is_cell].sum(axis=0) + self.strength * expected) / (n_windows + self.strength)


def site_and_hour(soundscape):
    """(site, hour) in the name of a soundscape: ``""`` and -1 where it does not say."""
    name = recording_names.parse(soundscape)
    return name.site, name.moment.time.hour if name.moment.time else -1


def fit(soundscapes, truth, classes, strength=STRENGTH):
    """Count labelled windows.

    Args:
        soundscapes: (windows,) names.
        truth: (windows, classes) of 1 and 0; rows with NaN were not annotated and do not count.
        classes: labels.
        strength: above 0, see ``STRENGTH``.

    Returns:
        SiteHourPrior.

    Raises:
        ParameterError: for a strength that is not above 0.
    """
    if not strength > 0:
        raise runtime.ParameterError(f"the strength of the prior by site and hour is {strength:g}: choose one above 0, such as {STRENGTH:g} windows")
    truth = np.asarray(truth, float).reshape(len(soundscapes), len(classes))
    is_labelled = ~np.isnan(truth).any(axis=1)
    names = np.asarray(soundscapes, dtype=object)[is_labelled]
    table = pd.DataFrame([site_and_hour(name) for name in names], columns=["site", "hour"])
    cells = table.groupby(["site", "hour"]).size().rename("n_windows").reset_index()
    of_row = pd.MultiIndex.from_frame(cells[["site", "hour"]]).get_indexer(pd.MultiIndex.from_frame(table))
    n_present = np.zeros((len(cells), len(classes)))
    np.add.at(n_present, of_row, truth[is_labelled])
    return SiteHourPrior(list(classes), cells, n_present, float(strength))


def apply(prior, scores, soundscapes, weight):
    """Scores in the light of site and hour: log-odds(score) + weight * shift, as a probability again.

    Args:
        prior: SiteHourPrior.
        scores: (windows, classes) in [0, 1].
        soundscapes: (windows,) names.
        weight: 0 leaves the scores as they are.

    Returns:
        (windows, classes) float32.
    """
    scores = np.asarray(scores)
    if not weight or not len(scores):
        return scores.astype(np.float32)
    return _probability(_log_odds(scores.astype(np.float64)) + weight * prior.shift(soundscapes)).astype(np.float32)


def choose_weight(scores, soundscapes, truth, classes, rng, strength=STRENGTH, weights=WEIGHTS):
    """Cross-validate the weight of the prior over soundscapes: each is predicted with the prior of those in the other folds.

    Args:
        scores: (windows, classes) of a classifier that was not trained on these soundscapes.
        soundscapes, truth, classes, strength: as in ``fit``.
        rng: of folds and bootstrap.
        weights: to choose from, ascending.

    Returns:
        (weight, table): that with the highest macro ROC-AUC, the smallest of equals; DataFrame ``weight, macro_auc, change`` from no prior, the last two
        [value, low, high] over soundscapes.

    Raises:
        PriorError: if fewer than ``MIN_SOUNDSCAPES`` are labelled.
    """
    truth, names = np.asarray(truth, float), np.asarray(soundscapes, dtype=object)
    rows = ~np.isnan(truth).any(axis=1)
    truth, names, scores = truth[rows], names[rows], np.asarray(scores)[rows]
    labelled = pd.unique(names)
    if len(labelled) < MIN_SOUNDSCAPES:
        raise PriorError(f"{len(labelled)} soundscapes have labels: a prior by site and hour needs {MIN_SOUNDSCAPES}")
    folds = pd.Series(rng.permutation(len(labelled)) % _N_FOLDS, index=labelled).loc[names].to_numpy()
    found = {weight: np.empty(scores.shape, np.float32) for weight in weights}
    for fold in np.unique(folds):
        own = folds == fold
        prior = fit(names[~own], truth[~own], classes, strength)
        for weight in weights:
            found[weight][own] = apply(prior, scores[own], names[own], weight)
    options = {"groups": names, "n": _N_DRAWS, "rng": rng}
    table = [
        (
            weight,
            bootstrap.interval(resampled.MACRO_ROC_AUC, truth, found[weight], **options),
            bootstrap.interval(resampled.MACRO_ROC_AUC_GAIN, truth, found[weight], scores, **options),
        )
        for weight in weights
    ]
    table = pd.DataFrame(table, columns=["weight", "macro_auc", "change"])
    aucs = [figure[0] for figure in table["macro_auc"]]
    return weights[int(np.nanargmax(aucs))] if np.isfinite(aucs).any() else 0.0, table


def learn(scores, soundscapes, truth, classes, rng, strength=STRENGTH):
    """The prior of annotated soundscapes with its cross-validated weight, for stage 06.

    Args:
        scores, soundscapes, truth, classes, rng: as in ``choose_weight``.
        strength: 0 learns none.

    Returns:
        (prior, table): as of ``fit`` and ``choose_weight``; (None, an empty table) without strength, or with too few labelled soundscapes.
    """
    truth, names = np.asarray(truth, float), np.asarray(soundscapes, dtype=object)
    labelled = pd.unique(names[~np.isnan(truth).any(axis=1)]) if len(truth) else ()
    if not strength or len(labelled) < MIN_SOUNDSCAPES:
        return None, pd.DataFrame(columns=["weight", "macro_auc", "change"])
    weight, table = choose_weight(scores, names, truth, classes, rng, strength)
    return dataclasses.replace(fit(names, truth, classes, strength), weight=float(weight)), table


def describe(prior, table):
    """A sentence about ``learn``."""
    if prior is None:
        return "No prior by site and hour: it is off, or too few soundscapes are annotated."
    where = f"{prior.cells['n_windows'].sum()} annotated windows, {prior.cells['site'].nunique()} sites and {prior.cells['hour'].nunique()} hours"
    change = table.loc[table["weight"] == prior.weight, "change"].iloc[0]
    return f"Prior by site and hour from {where}; weight {prior.weight:g} by cross-validation, macro ROC-AUC {bootstrap.interval_text(change)} against none."


# Files


def save(prior, folder):
    """Write a prior as ``site_hour.json`` into a folder; None removes that of an earlier run."""
    path = Path(folder) / FILE
    if prior is None:
        path.unlink(missing_ok=True)
        return
    cells = [
        {"site": cell.site, "hour": int(cell.hour), "n_windows": int(cell.n_windows), "present": {prior.classes[i]: int(row[i]) for i in np.flatnonzero(row)}}
        for cell, row in zip(prior.cells.itertuples(), prior.n_present, strict=True)
    ]
    runtime.write_json({"classes": prior.classes, "strength": prior.strength, "weight": prior.weight, "cells": cells}, path)


def load(folder, classes):
    """The prior in a folder, for these classes; None if the folder has none.

    Raises:
        PriorError: if it is of other classes.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    written = runtime.read_json(path)
    if list(classes) != written["classes"]:
        raise PriorError(f"{path} is of other species than the classifier: run notebooks/06_pseudolabel.ipynb and 07_classify.ipynb again")
    column = {label: number for number, label in enumerate(classes)}
    n_present = np.zeros((len(written["cells"]), len(classes)))
    for row, cell in enumerate(written["cells"]):
        for label, n in cell["present"].items():
            n_present[row, column[label]] = n
    cells = pd.DataFrame([(cell["site"], cell["hour"], cell["n_windows"]) for cell in written["cells"]], columns=["site", "hour", "n_windows"])
    return SiteHourPrior(list(classes), cells, n_present, written["strength"], written["weight"])


def parse_weight(text, prior):
    """The weight of the parameter ``prior_weight`` of notebook 08: 0 for ``""``, the cross-validated one for ``auto``, or the number.

    Args:
        prior: SiteHourPrior, or None.

    Raises:
        ParameterError: for other text, or a number below 0.
        PriorError: if a number is given and there is no prior; ``auto`` is 0 then.
    """
    if text in ("", "auto"):
        return prior.weight if text and prior else 0.0
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0.0 <= weight < np.inf:
        raise runtime.ParameterError(f"prior_weight is {text!r}: give a number such as 0.5, auto, or nothing")
    if prior is None and weight:
        raise PriorError(f"there is no {FILE} beside the classifier: annotate soundscapes in train_soundscapes_labels.csv and run 06 and 07, or leave prior_weight empty")
    return weight


def _log_odds(probabilities):
    probabilities = np.clip(probabilities, _EPS, 1.0 - _EPS)
    return np.log(probabilities) - np.log1p(-probabilities)


def _probability(log_odds):
    return 1.0 / (1.0 + np.exp(-log_odds))
