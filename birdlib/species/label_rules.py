"""The rules of pseudo-labels on soundscapes whose truth is known: precision and recall of each, and what it gives a student.

The truth of the unlabelled soundscapes is known where they were composed or are synthetic. It is used for these figures only, never for a label or a choice.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import bootstrap, resampled
from birdlib.species import classifiers, pseudolabels, students, teacher_assignment

ALL = "all"  # teachers together
NAMES = {"confidence": "score above the confidence", "quartile": "+ not in the lower quartile", "negatives": "+ negative windows"}
ANNOTATED = "+ annotators"
COLUMNS = ["teacher", "rule", "labels", "precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high"]
GAIN_COLUMNS = ["held_out_auc", "held_out_low", "held_out_high", "gain", "gain_low", "gain_high"]
_N_DRAWS = 300


@dataclasses.dataclass(frozen=True)
class StudentData:
    """What students of the rules are trained and evaluated on.

    ``first``: head of the recordings alone. ``recordings``, ``validation``: as of ``students.recording_sets``. ``windows``: (windows, features) of the
    unlabelled soundscapes. ``held_out``: as of ``soundscape_windows.held_out_set``, None where there is none. ``train_head``: of ``students.head_trainer``.
    ``share``: of a window in a mixture.
    """

    first: object
    recordings: tuple
    validation: tuple
    windows: np.ndarray
    held_out: tuple | None
    train_head: Callable
    share: float


def apply(windows, scores, other_scores, labels_of, assignment, *, confidence, quiet, annotated=None):
    """The labels that the rules give, one added after the other, for each teacher and for all together.

    Args:
        windows, scores, other_scores, labels_of, assignment, confidence, quiet: as in ``teacher_assignment.label``.
        annotated: labels of annotators, which are the last rule of all teachers together; None or an empty table for none.

    Returns:
        {(teacher, rule): table of ``pseudolabels.COLUMNS``}; a rule that changes nothing for a teacher is left out.
    """
    found = {}
    alone = {name: {name: labels} for name, labels in labels_of.items()} if len(labels_of) > 1 else {}
    for teacher, known in {**alone, ALL: dict(labels_of)}.items():
        for number, rule in enumerate(teacher_assignment.RULES):
            rules = teacher_assignment.RULES[: number + 1]
            table = teacher_assignment.label(windows, scores, other_scores, known, assignment, confidence=confidence, quiet=quiet, rules=rules)
            if len(table) and (rule != "negatives" or (table["kind"] == "negative").any()):
                found[teacher, NAMES[rule]] = table
    if annotated is not None and len(annotated):
        of_teachers = [table for (teacher, _), table in found.items() if teacher == ALL]
        found[ALL, ANNOTATED] = pseudolabels.merge([annotated, *of_teachers[-1:]])
    return found


def evaluate(rules, truth, windows, classes, assignment, rng):
    """Precision and recall of each rule, with 90 % intervals over soundscapes.

    Of species: precision is the share of right labels; recall is the share of the true pairs of window and species that are labelled, of the
    species assigned to the teacher. Of negative windows: the share that has no species, and the share of windows without species that is found.

    Args:
        rules: of ``apply``.
        truth: (windows, classes) of 1 and 0.
        windows: DataFrame ``row_id, soundscape``, row-aligned with the truth.
        assignment: of ``teacher_assignment.assign``.

    Returns:
        DataFrame of ``COLUMNS``, a row a rule.
    """
    rows, row_ids = [], windows["row_id"].tolist()
    assigned = {row.label: row.teachers.split("+") for row in assignment.itertuples()}
    for (teacher, rule), table in rules.items():
        if rule == NAMES["negatives"]:
            is_labelled = np.isin(row_ids, table.loc[table["kind"] == "negative", "row_id"])[:, None]
            is_true = ~truth.any(axis=1, keepdims=True)
        else:
            columns = [teacher == ALL or teacher in assigned[label] for label in classes]
            is_labelled = (pseudolabels.as_targets(table, row_ids, classes) >= 0.5)[:, columns]
            is_true = truth[:, columns] > 0
        right, labelled, true = (values.sum(axis=1) for values in (is_labelled & is_true, is_labelled, is_true))
        figures = [bootstrap.interval(resampled.RATIO, right, of, groups=windows["soundscape"], n=_N_DRAWS, rng=rng) for of in (labelled, true)]
        rows.append((teacher, rule, int(labelled.sum()), *figures[0], *figures[1]))
    return pd.DataFrame(rows, columns=COLUMNS)


def student_gains(rules, data, row_ids, classes, seed):
    """What each rule of all teachers together gives a student: macro ROC-AUC on held-out soundscapes, and its gain over the rule before.

    Each student is trained on the recordings and on all windows that the rule labels, from the same random start; the first row is recordings alone.

    Args:
        rules: of ``apply``.
        data: StudentData.

    Returns:
        DataFrame ``teacher, rule`` and ``GAIN_COLUMNS``, 90 % intervals over soundscapes from the same draws for both rules; empty without held-out soundscapes.
    """
    if data.held_out is None:
        return pd.DataFrame(columns=["teacher", "rule", *GAIN_COLUMNS])
    features, truth, groups = data.held_out
    rows, before = [], None
    for name, table in {(ALL, "recordings alone"): None, **{name: table for name, table in rules.items() if name[0] == ALL}}.items():
        after = classifiers.predict(data.first if table is None else _student(table, data, row_ids, classes, seed), features)
        options = {"groups": groups, "n": _N_DRAWS, "rng": np.random.default_rng(seed)}
        figure = bootstrap.interval(resampled.MACRO_ROC_AUC, truth, after, **options)
        gain = [np.nan] * 3 if before is None else bootstrap.interval(resampled.MACRO_ROC_AUC_GAIN, truth, after, before, **options)
        rows.append((*name, *figure, *gain))
        before = after
    return pd.DataFrame(rows, columns=["teacher", "rule", *GAIN_COLUMNS])


def as_text(table):
    """The table for people: figures with their intervals."""
    shown = table[["teacher", "rule", "labels"]].assign(labels=table["labels"].map(lambda value: "" if pd.isna(value) else f"{value:.0f}"))
    for name, low, high in (("precision",) * 3, ("recall",) * 3, ("held_out_auc", "held_out", "held_out"), ("gain",) * 3):
        triples = zip(table[name], table[f"{low}_low"], table[f"{high}_high"], strict=True)
        shown[name] = ["" if np.isnan(value) else bootstrap.interval_text((value, *ends)) for value, *ends in triples]
    return shown.set_index(["teacher", "rule"])


def describe(table):
    """Which rule helps a student, and which makes no clear difference, in sentences."""
    known = table[table["gain"].notna()]
    if known.empty:
        return "The truth of the held-out soundscapes is unknown, or no rule labels a window, so no gain is known."
    texts = []
    for row in known.itertuples():
        verdict = "helps" if row.gain_low > 0 else "hurts" if row.gain_high < 0 else "makes no clear difference"
        texts.append(f"{row.rule.removeprefix('+ ')} {verdict} ({row.gain:+.3f} [{row.gain_low:+.3f}, {row.gain_high:+.3f}])")
    return "On held-out soundscapes: " + "; ".join(texts) + "."


def table(rules, truth, windows, classes, assignment, data, seed):
    """``evaluate`` and ``student_gains`` as one table of ``COLUMNS`` and ``GAIN_COLUMNS``; empty where the truth is unknown (None)."""
    if truth is None or not len(windows):
        return pd.DataFrame(columns=[*COLUMNS, *GAIN_COLUMNS])
    figures = evaluate(rules, truth, windows, classes, assignment, np.random.default_rng(seed))
    gains = student_gains(rules, data, windows["row_id"].tolist(), classes, seed)
    return pd.concat([gains.loc[:0, ["teacher", "rule"]], figures], ignore_index=True).merge(gains, on=["teacher", "rule"], how="left")


def _student(table, data, row_ids, classes, seed):
    rng = runtime.set_seed(seed)
    targets, _, is_labelled = pseudolabels.as_arrays(table, row_ids, classes)
    training_set = students.training_set(data.recordings, data.windows[is_labelled], targets[is_labelled], share=data.share, rng=rng)
    return data.train_head(training_set, data.validation)
