"""Pseudo-labels: the rules by which what teachers hear becomes labels to learn from, as functions on arrays.

Scores are (windows, labels) in [0, 1]. Labels travel as a table with the columns of ``COLUMNS``, one row for a label of a window:
``target`` is what a student shall say (1, 0 or between), ``kind`` says by which rule, and the other four where it comes from:
``origin`` is human, teacher or student.
"""

import numpy as np
import pandas as pd

from birdlib import runtime

CONFIDENCE = 0.6  # above it, a window is kept and a label believed
COLUMNS = ["row_id", "label", "target", "kind", "origin", "teacher", "round", "confidence"]
KINDS = ("human", "hard", "soft", "negative")


class ScoreError(runtime.BirdlibError):
    """Scores that nothing can be learnt from; it names teacher, window and label."""


def require_scores(scores, row_ids, labels, teacher):
    """Refuse scores that are NaN, infinite or outside [0, 1]: compared with a threshold, they would vanish in silence.

    Raises:
        ScoreError: with their number and the first of them.
    """
    scores = np.asarray(scores)
    if scores.shape != (len(row_ids), len(labels)):
        raise ScoreError(f"{teacher}: scores are {scores.shape}, not {len(row_ids)} windows by {len(labels)} labels")
    with np.errstate(invalid="ignore"):
        bad = ~((scores >= 0.0) & (scores <= 1.0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        others = f" and {bad.sum() - 1} more" if bad.sum() > 1 else ""
        raise ScoreError(
            f"{teacher}: the score of {labels[column]} in {row_ids[row]} is {scores[row, column]}{others}: not in [0, 1]; "
            "run this teacher again, or leave it out"
        )


# The rules


def is_kept(scores, confidence=CONFIDENCE):
    """Which windows are kept: those in which some label is surer than the confidence; (windows,) bool."""
    return np.asarray(scores).max(axis=1, initial=0.0) > confidence


def lower_quartiles(scores, counts, least=4):
    """For each label, the score that three of four of the scores that count reach or exceed.

    Args:
        scores: (windows, labels).
        counts: (windows, labels) bool: scores above the confidence, say; or those of recordings whose species is known.
        least: with fewer scores than this the quartile says nothing; it is 0 then.

    Returns:
        (labels,) float64.
    """
    columns = zip(np.asarray(scores, float).T, np.asarray(counts, bool).T, strict=True)
    return np.array([np.quantile(column[which], 0.25) if which.sum() >= least else 0.0 for column, which in columns])


def hard(scores, row_ids, labels, *, teacher, round=0, origin="teacher", confidence=CONFIDENCE, quartiles=None):
    """Hard labels: what is above the confidence and not in the lower quartile of its species.

    Teachers are sure of some species and shy about others; the quarter of a species' windows of which its teacher is least sure holds
    most of its mistakes, whatever the level.

    Args:
        scores: (windows, labels).
        quartiles: (labels,), from ``lower_quartiles``; None takes those of the scores above the confidence.

    Returns:
        table of ``COLUMNS`` with target 1.

    Raises:
        ScoreError: as ``require_scores``.
    """
    require_scores(scores, row_ids, labels, teacher)
    scores = np.asarray(scores, float)
    is_sure = scores > confidence
    quartiles = lower_quartiles(scores, is_sure) if quartiles is None else np.asarray(quartiles)
    chosen = is_sure & (scores >= quartiles)
    return _table(chosen, np.ones_like(scores), scores, row_ids, labels, "hard", origin, teacher, round)


def soft(scores, row_ids, labels, *, teacher, round=0, origin="teacher", confidence=CONFIDENCE, least=0.01, power=1.0):
    """Soft labels: in the windows that are kept, every score is its own target.

    Args:
        least: targets below it are left away: they are 0.
        power: see ``noisy_student.power_transform``; the confidence is that before it.

    Returns:
        table of ``COLUMNS``.

    Raises:
        ScoreError: as ``require_scores``.
    """
    require_scores(scores, row_ids, labels, teacher)
    scores = np.asarray(scores, float)
    targets = scores**power
    chosen = is_kept(scores, confidence)[:, None] & (targets >= least)
    return _table(chosen, targets, scores, row_ids, labels, "soft", origin, teacher, round)


def negatives(scores, others, row_ids, labels, *, teacher, round=0, confidence=CONFIDENCE, quiet=0.1):
    """Negative windows: a sound that is none of the labels is heard for sure, and every label is unlikely.

    They teach that an engine, rain or a neighbour's dog is no bird, which recordings of single birds never say.

    Args:
        scores: (windows, labels).
        others: (windows,) score of the likeliest sound that is none of the labels.
        quiet: no label may score higher.

    Returns:
        table of ``COLUMNS`` with target 0, a row for each label of such a window; its confidence is that of the other sound.

    Raises:
        ScoreError: as ``require_scores``.
    """
    require_scores(scores, row_ids, labels, teacher)
    require_scores(np.reshape(others, (-1, 1)), row_ids, ["(other sounds)"], teacher)
    others = np.asarray(others, float)
    is_negative = (others > confidence) & (np.asarray(scores).max(axis=1, initial=0.0) <= quiet)
    chosen = np.repeat(is_negative[:, None], len(labels), axis=1)
    surety = np.broadcast_to(others[:, None], chosen.shape)
    return _table(chosen, np.zeros(chosen.shape), surety, row_ids, labels, "negative", "teacher", teacher, round)


def from_people(truth, row_ids, labels):
    """What people wrote down, as a table: confidence 1, of both presence (target 1) and absence (target 0).

    Args:
        truth: (windows, labels) of 1 and 0; NaN where nobody said.
    """
    truth = np.asarray(truth, float)
    sure = np.ones_like(truth)
    return _table(~np.isnan(truth), truth, sure, row_ids, labels, "human", "human", "", 0)


def merge(tables):
    """Put labels from everywhere together, one row for a label of a window.

    People are believed before teachers, whoever says that a bird is there before who says that none is, hard labels before soft ones,
    and then who is surer. Where several agree on it, all are named, joined by ``+``. Labels of rare species, which only one teacher
    knows, come to those that others gave the same window.

    Args:
        tables: list of tables of ``COLUMNS``.

    Returns:
        table of ``COLUMNS``, sorted by window and label.
    """
    tables = [table for table in tables if len(table)]
    if not tables:
        return _empty()
    together = pd.concat(tables, ignore_index=True)
    rank = together["kind"].map({kind: place for place, kind in enumerate(KINDS)})
    order = pd.DataFrame({"rank": rank, "surety": -together["confidence"]}).sort_values(["rank", "surety"], kind="stable").index
    together = together.loc[order]
    keys = ["row_id", "label"]
    best = together.drop_duplicates(keys)
    agreeing = together.merge(best[[*keys, "kind"]], on=[*keys, "kind"])
    agreeing = agreeing[agreeing["teacher"] != ""]
    named = agreeing.groupby(keys)["teacher"].agg(lambda names: "+".join(dict.fromkeys(names)))
    best = best.set_index(keys)
    best["teacher"] = named.reindex(best.index).fillna("")
    return best.reset_index()[COLUMNS].sort_values(keys, kind="stable").reset_index(drop=True)


def as_arrays(table, row_ids, labels):
    """Labels as a student learns them.

    A kept window is known whole: a label that nobody gave it has target 0.

    Args:
        table: of ``COLUMNS``, one row for a label of a window.
        row_ids: of the windows wanted; windows and labels outside are left out.

    Returns:
        (targets, confidences, is_known): (windows, labels) float32; (windows,) float32, the highest of the window; and (windows,) bool,
        whether somebody said anything about it.
    """
    settled = as_settled(table, row_ids, labels)
    rows = pd.Index(row_ids).get_indexer(table["row_id"])
    confidences = np.zeros(len(row_ids), np.float32)
    np.maximum.at(confidences, rows[rows >= 0], table["confidence"].to_numpy(np.float32)[rows >= 0])
    return np.nan_to_num(settled), confidences, ~np.isnan(settled).all(axis=1)


def as_settled(table, row_ids, labels):
    """The targets of a table, (windows, labels) float32, NaN where it says nothing."""
    settled = np.full((len(row_ids), len(labels)), np.nan, np.float32)
    rows, columns = pd.Index(row_ids).get_indexer(table["row_id"]), pd.Index(labels).get_indexer(table["label"])
    there = (rows >= 0) & (columns >= 0)
    settled[rows[there], columns[there]] = table["target"].to_numpy(np.float32)[there]
    return settled


def duties(labels_of, classes, general):
    """Who answers for which label: the general teachers for all that they know, the project's own for the rest.

    Args:
        labels_of: {teacher: its labels}.
        classes: the project's labels.
        general: teachers that learnt from far more recordings than this project has, see ``teachers.GENERAL``.

    Returns:
        DataFrame, ``label`` and ``teachers``: the names of those who answer, joined by ``+``; "" where nobody knows the label.
    """
    rows = []
    for label in classes:
        knowing = [name for name, labels in labels_of.items() if label in labels]
        rows.append((label, "+".join([name for name in knowing if name in general] or knowing)))
    return pd.DataFrame(rows, columns=["label", "teachers"])


def from_teachers(windows, scores, others, labels_of, duties, *, confidence=CONFIDENCE, quiet=0.1, round=0):
    """All rules at once: hard labels of every teacher for the labels that it answers for, and negative windows.

    A window is negative only if no teacher hears a label in it for which it answers.

    Args:
        windows: with ``row_id``.
        scores, others: {teacher: (windows, its labels)} and {teacher: (windows,)}, from ``teachers.hear_all``.
        labels_of: {teacher: its labels}.
        duties: from ``duties``.

    Returns:
        table of ``COLUMNS``, as of ``merge``.

    Raises:
        ScoreError: as ``require_scores``.
    """
    row_ids = windows["row_id"].tolist()
    answering = {row.label: row.teachers.split("+") for row in duties.itertuples()}
    tables, heard = [], np.zeros(len(row_ids))
    for name, labels in labels_of.items():
        mine = [column for column, label in enumerate(labels) if name in answering.get(label, ())]
        named = [labels[column] for column in mine]
        tables.append(hard(scores[name][:, mine], row_ids, named, teacher=name, round=round, confidence=confidence))
        heard = np.maximum(heard, scores[name][:, mine].max(axis=1, initial=0.0))
    answered = [label for label, names in answering.items() if names != [""]]
    most_heard = np.repeat(heard[:, None], len(answered), axis=1)
    for name in labels_of:
        tables.append(
            negatives(most_heard, others[name], row_ids, answered, teacher=name, round=round, confidence=confidence, quiet=quiet)
        )
    return merge(tables)


def summary(table):
    """How many labels each species got, from whom: ``label, kind, origin, teacher, round, windows, confidence`` (the mean)."""
    keys = ["label", "kind", "origin", "teacher", "round"]
    return table.groupby(keys, as_index=False).agg(windows=("row_id", "nunique"), confidence=("confidence", "mean"))


def _table(chosen, targets, confidences, row_ids, labels, kind, origin, teacher, round):
    rows, columns = np.nonzero(chosen)
    if not len(rows):
        return _empty()
    return pd.DataFrame(
        {
            "row_id": np.asarray(row_ids, object)[rows],
            "label": np.asarray(labels, object)[columns],
            "target": np.asarray(targets, np.float32)[rows, columns],
            "kind": kind,
            "origin": origin,
            "teacher": teacher,
            "round": round,
            "confidence": np.asarray(confidences, np.float32)[rows, columns],
        }
    )


def _empty():
    numbers = {"target": np.float32, "confidence": np.float32, "round": np.int64}
    return pd.DataFrame({name: pd.Series(dtype=numbers.get(name, object)) for name in COLUMNS})
