"""Submissions to BirdCLEF: the table of scores, and every fault for which the competition would reject it.

A row is named by its window (``birdclef.row_id``); columns are ``row_id`` and the labels in string order; scores are in [0, 1].
"""

import numpy as np
import pandas as pd

from birdlib.runtime import BirdlibError


class SubmissionError(BirdlibError):
    """A submission that the competition would reject."""


def table(row_ids, probabilities, classes, columns=None, fill=0.0):
    """Predictions as a submission table: ``row_id``, then the labels in string order.

    Args:
        row_ids: (windows,) str.
        probabilities: (windows, classes) in [0, 1].
        classes: labels of the probabilities' columns.
        columns: required labels (``birdclef.submission_classes``), None for the classes. Other classes are left out.
        fill: score of required labels that are not among the classes.
    """
    scores = pd.DataFrame(np.asarray(probabilities).reshape(len(row_ids), len(classes)), columns=list(classes))
    scores = scores.reindex(columns=sorted(classes if columns is None else columns), fill_value=fill)
    scores.insert(0, "row_id", list(row_ids))
    return scores


def require_shared_species(classes, columns):
    """Columns that are missing in the classes, and classes that are not among the columns: two sorted lists.

    Raises:
        SubmissionError: if they have no species in common.
    """
    missing, extra = sorted(set(columns) - set(classes)), sorted(set(classes) - set(columns))
    if not set(classes) & set(columns):
        raise SubmissionError(
            "the classifier and the sample submission have no species in common: give the data that it was trained on\n"
            f"- {_fault('columns are missing', missing)}\n- {_fault('columns are not wanted', extra)}"
        )
    return missing, extra


def find_faults(table, classes, expected_row_ids):
    """All faults of a submission, a list of str; empty if it is valid.

    Args:
        table: the submission, best as read back from its file.
        classes, expected_row_ids: required labels and rows, in any order.
    """
    wanted, columns = ["row_id", *sorted(classes)], [str(column) for column in table.columns]
    faults = [
        _fault("columns are missing", [name for name in wanted if name not in set(columns)]),
        _fault("columns are not wanted", [name for name in columns if name not in set(wanted)]),
        _fault("columns are there twice", sorted({name for name in columns if columns.count(name) > 1})),
    ]
    if not any(faults) and columns != wanted:
        i = next(i for i, name in enumerate(columns) if name != wanted[i])
        faults.append(f"columns are out of order: column {i + 1} is {columns[i]}, not {wanted[i]}")
    if "row_id" in columns:
        ids = pd.Series([str(cell) for cell in table.loc[:, [name == "row_id" for name in columns]].iloc[:, 0]], dtype=str)
        expected = set(map(str, expected_row_ids))
        faults += [
            _fault("rows are missing", sorted(expected - set(ids))),
            _fault("rows are not wanted", sorted(set(ids) - expected)),
            _fault("rows are there twice", sorted(set(ids[ids.duplicated()]))),
        ]
        scores = table.loc[:, [name != "row_id" for name in columns]]
    else:
        ids, scores = pd.Series(range(len(table))).astype(str), table
    values = scores.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float).reshape(scores.shape)
    empty = scores.isna().to_numpy(dtype=bool)
    problems = {"scores are empty (NaN)": empty, "scores are not numbers": np.isnan(values) & ~empty}
    problems |= {"scores are below 0": values < 0, "scores are above 1": values > 1}
    for problem, is_bad in problems.items():
        faults.append(_fault(problem, [f"{ids[row]}/{scores.columns[column]}" for row, column in np.argwhere(is_bad)]))
    return [fault for fault in faults if fault]


def require_valid(table, classes, expected_row_ids):
    """Raise SubmissionError with all faults of ``find_faults``, if there are any."""
    faults = find_faults(table, classes, expected_row_ids)
    if faults:
        raise SubmissionError("the submission is not valid:\n" + "\n".join(f"- {fault}" for fault in faults))


def _fault(problem, names, shown=5):
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {problem}: {', '.join(map(str, names[:shown]))}{more}" if names else ""
