"""Which teacher labels which species where several are at hand, and the pseudo-labels that all of them give together."""

import numpy as np
import pandas as pd

from birdlib.species import pseudolabels

RULES = ("confidence", "quartile", "negatives")  # of ``label``


def assign(labels_of, classes, general):
    """Which teachers label which species: general teachers those that they know, the project's own teachers the rest.

    Args:
        labels_of: {teacher: its labels}.
        classes: the project's labels.
        general: names of teachers trained on far more recordings than this project has, see ``teachers.GENERAL``.

    Returns:
        DataFrame, ``label`` and ``teachers``: names joined by ``+``; "" where no teacher knows the label.
    """
    rows = []
    for label in classes:
        knowing = [name for name, labels in labels_of.items() if label in labels]
        rows.append((label, "+".join([name for name in knowing if name in general] or knowing)))
    return pd.DataFrame(rows, columns=["label", "teachers"])


def label(windows, scores, other_scores, labels_of, assignment, *, confidence=pseudolabels.CONFIDENCE, quiet=0.1, round=0, rules=RULES):
    """Hard labels of every teacher for the labels assigned to it, and negative windows, merged.

    A window is negative only if no teacher scores a label assigned to it above ``quiet``.

    Args:
        windows: with ``row_id``.
        scores, other_scores: {teacher: (windows, its labels)} and {teacher: (windows,)}, from ``teacher_scores.predict_all``.
        labels_of: {teacher: its labels}.
        assignment: from ``assign``.
        rules: of ``RULES``; without ``quartile`` all scores above the confidence are labels, without ``negatives`` no window is one.

    Returns:
        table of ``pseudolabels.COLUMNS``, as of ``pseudolabels.merge``.
    """
    row_ids = windows["row_id"].tolist()
    assigned = {row.label: row.teachers.split("+") for row in assignment.itertuples()}
    options = {"round": round, "confidence": confidence}
    tables, highest = [], np.zeros(len(row_ids))
    for name, labels in labels_of.items():
        columns = [column for column, label in enumerate(labels) if name in assigned.get(label, ())]
        own = scores[name][:, columns]
        quartiles = None if "quartile" in rules else np.zeros(len(columns))
        tables.append(pseudolabels.hard(own, row_ids, [labels[column] for column in columns], teacher=name, quartiles=quartiles, **options))
        highest = np.maximum(highest, own.max(axis=1, initial=0.0))
    known = [label for label, names in assigned.items() if names != [""]]
    highest = np.repeat(highest[:, None], len(known), axis=1)
    for name in labels_of if "negatives" in rules else ():
        tables.append(pseudolabels.negatives(highest, other_scores[name], row_ids, known, teacher=name, quiet=quiet, **options))
    return pseudolabels.merge(tables)
