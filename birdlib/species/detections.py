"""Detections: the windows in which a species is above its threshold, as a list to check by ear."""

import numpy as np
import pandas as pd

from birdlib.metrics import calibration

COLUMNS = ["row_id", "soundscape", "start_s", "end_s", "species", "score", "probability", "expected_precision"]


def find(row_ids, scores, classes, thresholds, curves=None, window_s=5.0):
    """The windows in which a species is above its threshold.

    Args:
        row_ids: (windows,) str, the soundscape's name, an underscore and the end second.
        scores: (windows, classes) of the ensemble, as thresholds and calibration were fitted on: not scaled by TopN.
        classes: labels of the columns.
        thresholds: (classes,); None: 0.5 for all.
        curves: a calibration of ``calibration.fit``; None or {}: there is none, and probabilities are NaN.

    Returns:
        DataFrame of ``COLUMNS``, the highest probability of each species first. ``expected_precision`` is the mean probability of this
        detection and all higher ones of its species: the share that is correct if one checks down to here, as far as the calibration
        holds for these recordings.
    """
    scores = np.asarray(scores, np.float32)
    limits = np.full(len(classes), 0.5) if thresholds is None else np.asarray(thresholds)
    probabilities = calibration.apply(curves, scores) if curves else np.full_like(scores, np.nan)
    windows, columns = np.nonzero(scores >= limits)
    names = np.array(row_ids, dtype=object)[windows]
    ends_s = np.array([float(name.rpartition("_")[2]) for name in names])
    table = pd.DataFrame(
        {
            "row_id": names,
            "soundscape": [name.rpartition("_")[0] for name in names],
            "start_s": ends_s - window_s,
            "end_s": ends_s,
            "species": np.array(classes, dtype=object)[columns],
            "score": scores[windows, columns],
            "probability": probabilities[windows, columns],
        }
    ).sort_values(["species", "probability", "score"], ascending=[True, False, False], kind="stable", ignore_index=True)
    grouped = table.groupby("species")["probability"]
    return table.assign(expected_precision=grouped.cumsum() / (grouped.cumcount() + 1))[COLUMNS]


def by_species(table):
    """A row per species: how many ``detections`` in how many ``soundscapes``, and how many of them are expected to be correct."""
    grouped = table.groupby("species")
    counts = grouped.agg(detections=("row_id", "size"), soundscapes=("soundscape", "nunique"), highest_score=("score", "max"))
    correct = grouped["probability"].sum(min_count=1).rename("expected_correct")
    return counts.join(correct).sort_values("detections", ascending=False).reset_index()
