"""Pseudo-labels: the rules by which teachers' scores become training labels, as functions on arrays.

Scores are (windows, labels) in [0, 1]. Labels travel as a table with the columns of ``COLUMNS``, one row per window and label:
``target`` is the training target (1, 0 or between), ``kind`` names the rule, and the other four are the label's provenance:
``origin`` is human, teacher or student. Every rule raises ScoreError for scores that ``require_scores`` rejects.
"""

import numpy as np
import pandas as pd

from birdlib import runtime

CONFIDENCE = 0.6  # above it, a window is kept and a label accepted
COLUMNS = ["row_id", "label", "target", "kind", "origin", "teacher", "round", "confidence"]
KINDS = ("human", "hard", "soft", "negative")  # by priority
HAND_OVER = ("best_round", "teachers")  # which labels stage 07 is given


class ScoreError(runtime.BirdlibError):
    """Scores that cannot become labels; the message names teacher, window and label."""


def require_scores(scores, row_ids, labels, teacher):
    """Raise ScoreError for scores that are NaN, infinite or outside [0, 1]: a comparison with a threshold would silently drop them."""
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


def require_numbers(parameters):
    """Raise ParameterError, which names them, for parameters of stage 06, {name: value}, that are out of range."""
    number = parameters.get
    wrong = [(name, "choose 0 to 1") for name in ("confidence", "quiet", "mixed_share") if not 0 <= number(name, 0) <= 1]
    wrong += [("mix_ratio", "choose 0 or more, below 1")] * (not 0 <= number("mix_ratio", 0) < 1)
    wrong += [(name, "choose a number above 0") for name in ("power", "window_s") if not 0 < number(name, 1) < np.inf]
    wrong += [(name, "choose 0 or more") for name in ("prior_strength", "n_soundscapes", "n_rounds") if not 0 <= number(name, 0) < np.inf]
    counted = ("teacher_steps", "teacher_epochs", "detector_steps", "detector_epochs", "n_networks", "epochs")
    wrong += [(name, "choose 1 or more") for name in counted if number(name, 1) < 1]
    if wrong:
        raise runtime.ParameterError("; ".join(f"{name} is {parameters[name]:g}: {remedy}" for name, remedy in wrong))


def require_hand_over(name):
    """The name, if it is one of ``HAND_OVER``."""
    if name not in HAND_OVER:
        raise runtime.ParameterError(f"hand_over is {name!r}: choose {' or '.join(HAND_OVER)}")
    return name


# Rules


def is_kept(scores, confidence=CONFIDENCE):
    """Which windows are kept: those with a score above the confidence; (windows,) bool."""
    return np.asarray(scores).max(axis=1, initial=0.0) > confidence


def lower_quartiles(scores, is_counted, min_scores=4):
    """The lower quartile of each label's counted scores.

    Args:
        scores: (windows, labels).
        is_counted: (windows, labels) bool, such as scores above the confidence, or those of recordings of known species.
        min_scores: labels with fewer counted scores have the quartile 0.

    Returns:
        (labels,) float64.
    """
    columns = zip(np.asarray(scores, float).T, np.asarray(is_counted, bool).T, strict=True)
    return np.array([np.quantile(column[rows], 0.25) if rows.sum() >= min_scores else 0.0 for column, rows in columns])


def hard(scores, row_ids, labels, *, teacher, round=0, origin="teacher", confidence=CONFIDENCE, quartiles=None):
    """Hard labels: scores above the confidence and not in the lower quartile of their species.

    Teachers are not equally confident about all species; the quarter of a species' windows with the lowest scores holds most of the
    mistakes, whatever the level.

    Args:
        scores: (windows, labels).
        quartiles: (labels,), from ``lower_quartiles``; None takes those of the scores above the confidence.

    Returns:
        table of ``COLUMNS`` with target 1.
    """
    require_scores(scores, row_ids, labels, teacher)
    scores = np.asarray(scores, float)
    is_confident = scores > confidence
    quartiles = lower_quartiles(scores, is_confident) if quartiles is None else np.asarray(quartiles)
    chosen = is_confident & (scores >= quartiles)
    return _table(chosen, np.ones_like(scores), scores, row_ids, labels, "hard", origin, teacher, round)


def soft(scores, row_ids, labels, *, teacher, round=0, origin="teacher", confidence=CONFIDENCE, min_target=0.01, power=1.0):
    """Soft labels: in the windows that are kept, every score is its own target.

    Args:
        min_target: lower targets are dropped, which makes them 0.
        power: see ``self_training.power_transform``; the confidence applies before it.

    Returns:
        table of ``COLUMNS``.
    """
    require_scores(scores, row_ids, labels, teacher)
    scores = np.asarray(scores, float)
    targets = scores**power
    chosen = is_kept(scores, confidence)[:, None] & (targets >= min_target)
    return _table(chosen, targets, scores, row_ids, labels, "soft", origin, teacher, round)


def negatives(scores, other_scores, row_ids, labels, *, teacher, round=0, confidence=CONFIDENCE, quiet=0.1):
    """Negative labels: windows with a confident sound that is none of the labels, in which every label is unlikely.

    They are examples of engines, rain or dogs without birds, which recordings of single birds do not contain.

    Args:
        scores: (windows, labels).
        other_scores: (windows,) score of the likeliest sound that is none of the labels.
        quiet: highest score that a label may have.

    Returns:
        table of ``COLUMNS`` with target 0, a row for each label of such a window; its confidence is that of the other sound.
    """
    require_scores(scores, row_ids, labels, teacher)
    require_scores(np.reshape(other_scores, (-1, 1)), row_ids, ["(other sounds)"], teacher)
    other_scores = np.asarray(other_scores, float)
    is_negative = (other_scores > confidence) & (np.asarray(scores).max(axis=1, initial=0.0) <= quiet)
    chosen = np.repeat(is_negative[:, None], len(labels), axis=1)
    confidences = np.broadcast_to(other_scores[:, None], chosen.shape)
    return _table(chosen, np.zeros(chosen.shape), confidences, row_ids, labels, "negative", "teacher", teacher, round)


def from_annotations(truth, row_ids, labels):
    """Labels of human annotators: confidence 1 for both presence (target 1) and absence (target 0).

    Args:
        truth: (windows, labels) of 1 and 0; NaN where nothing was annotated.
    """
    truth = np.asarray(truth, float)
    return _table(~np.isnan(truth), truth, np.ones_like(truth), row_ids, labels, "human", "human", "", 0)


def merge(tables):
    """Merge tables of labels into one row per window and label.

    Human labels win over hard labels, these over soft ones, these over negatives; within a kind the highest confidence wins. Where
    several teachers gave a label of the winning kind, all are named, joined by ``+``.

    Args:
        tables: list of tables of ``COLUMNS``.

    Returns:
        table of ``COLUMNS``, sorted by window and label.
    """
    tables = [table for table in tables if len(table)]
    if not tables:
        return _empty()
    together = pd.concat(tables, ignore_index=True)
    together = together.assign(rank=together["kind"].map(KINDS.index)).sort_values(["rank", "confidence"], ascending=[True, False])
    keys = ["row_id", "label"]
    best = together.drop_duplicates(keys)
    agreeing = together.merge(best[[*keys, "kind"]], on=[*keys, "kind"])
    agreeing = agreeing[agreeing["teacher"] != ""]
    teachers = agreeing.groupby(keys)["teacher"].agg(lambda names: "+".join(dict.fromkeys(names)))
    best = best.set_index(keys)
    best["teacher"] = teachers.reindex(best.index).fillna("")
    return best.reset_index()[COLUMNS].sort_values(keys, kind="stable").reset_index(drop=True)


# Labels as arrays


def as_arrays(table, row_ids, labels):
    """Labels as training arrays. In a labelled window, a label without a row has target 0.

    Args:
        table: of ``COLUMNS``, one row per window and label.
        row_ids: of the windows wanted; rows of other windows and labels are ignored.

    Returns:
        (targets, confidences, is_labelled): (windows, labels) float32; (windows,) float32, the highest of the window; and (windows,)
        bool, whether the window has any label.
    """
    targets = as_targets(table, row_ids, labels)
    rows = pd.Index(row_ids).get_indexer(table["row_id"])
    confidences = np.zeros(len(row_ids), np.float32)
    np.maximum.at(confidences, rows[rows >= 0], table["confidence"].to_numpy(np.float32)[rows >= 0])
    return np.nan_to_num(targets), confidences, ~np.isnan(targets).all(axis=1)


def as_targets(table, row_ids, labels):
    """The targets of a table, (windows, labels) float32, NaN where it has no row."""
    targets = np.full((len(row_ids), len(labels)), np.nan, np.float32)
    rows, columns = pd.Index(row_ids).get_indexer(table["row_id"]), pd.Index(labels).get_indexer(table["label"])
    is_wanted = (rows >= 0) & (columns >= 0)
    targets[rows[is_wanted], columns[is_wanted]] = table["target"].to_numpy(np.float32)[is_wanted]
    return targets


# Summaries


def confident(table, min_target=0.5):
    """The rows that say whether a species is present: targets of a half and more, and negatives."""
    return table[(table["target"] >= min_target) | (table["kind"] == "negative")]


def summary(table):
    """Labelled windows by species and provenance: ``label, kind, origin, teacher, round, windows, confidence`` (the mean)."""
    keys = ["label", "kind", "origin", "teacher", "round"]
    return table.groupby(keys, as_index=False).agg(windows=("row_id", "nunique"), confidence=("confidence", "mean"))


def describe(table, classes):
    """A sentence about labels: how many windows have one, and which species have no positive label."""
    present = set(table.loc[table["target"] >= 0.5, "label"])
    missing = [label for label in classes if label not in present]
    listed = ", ".join(missing[:10]) + f" and {len(missing) - 10} more" * (len(missing) > 10)
    text = f"{table['row_id'].nunique()} windows have labels; {len(classes) - len(missing)} of {len(classes)} species are labelled as present"
    return text + (f", not {listed}: soundscapes add nothing to these." if missing else ".")


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
