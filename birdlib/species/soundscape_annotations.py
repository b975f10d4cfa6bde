"""What is known of the species in windows of soundscapes: the labels of annotators, and the truth of composed and synthetic ones.

Both are read for ``row_ids`` as a matrix (rows, classes); see ``soundscape_windows`` for the windows themselves.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import birdclef, csv_tables, species_labels
from birdlib.species import pseudolabels

ANNOTATIONS = "train_soundscapes_labels.csv"  # of BirdCLEF+ 2026
_COLUMNS = ["filename", "start", "end", "primary_label"]  # of that file


class AnnotationError(runtime.BirdlibError):
    """Annotations of soundscapes that cannot be read."""


# Truth


def truth_path(root):
    """The path of the truth below the recordings' root; only composed and synthetic soundscapes have the file."""
    return Path(root, "truth", "soundscape_labels.csv")


def read_truth(path, row_ids, classes):
    """The truth of synthetic soundscapes.

    Args:
        path: CSV with ``row_id`` and ``birds``, labels separated by ``;``.

    Returns:
        (rows, classes) of 0 and 1; labels outside the classes are dropped, and windows without a row are empty.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    birds = {row.row_id: set(row.birds.split(";")) for row in table.itertuples()}
    truth = [[label in birds.get(row_id, ()) for label in classes] for row_id in row_ids]
    return np.array(truth, dtype=np.float32).reshape(len(row_ids), len(classes))


def train_truth(root, row_ids, classes):
    """The truth of the unlabelled soundscapes, as of ``read_truth``, where it is known; None where it is not."""
    path = truth_path(root)
    if not path.is_file() or not pd.read_csv(path, dtype=str)["row_id"].isin(row_ids).any():
        return None
    return read_truth(path, row_ids, classes)


# Annotations


def human_labels(path, row_ids, classes, window_s=birdclef.WINDOW_S):
    """The labels of annotators as a table of ``pseudolabels.COLUMNS``, empty where the file is missing; see ``read_annotations``."""
    if not Path(path).is_file():
        return pseudolabels.merge([])
    return pseudolabels.from_annotations(read_annotations(path, row_ids, classes, window_s), row_ids, classes)


def annotations_path(root, name):
    """The path of the annotations ``name`` in the data's folder ``root``.

    Raises:
        AnnotationError: if there is no such file; the one of BirdCLEF's name may be missing, and so may one without a name.
    """
    path = Path(root) / (name or "-")
    if name not in ("", ANNOTATIONS) and not path.is_file():
        raise AnnotationError(f"human_labels is {name!r}, and there is no {path}: give the name of a table in that folder, or nothing")
    return path


def annotated_stems(path):
    """The names of the soundscapes that a table of annotations names, a set; empty where the file is missing."""
    return {birdclef.stem(name) for name in _annotations(path)["filename"]} if Path(path).is_file() else set()


def read_annotations(path, row_ids, classes, window_s=birdclef.WINDOW_S):
    """Annotations of windows in the form of ``train_soundscapes_labels.csv`` of BirdCLEF+ 2026.

    Args:
        path: CSV with ``filename``, ``start`` and ``end`` (seconds, or hh:mm:ss) and ``primary_label``, labels separated by ``;``. A
            longer interval applies to every window that lies in it, rows for the same window are joined, and labels outside the classes are dropped
            with a warning.

    Returns:
        (rows, classes) float32 of 1 and 0; NaN in windows without annotation.

    Raises:
        AnnotationError: if columns are missing, or a time cannot be parsed.
    """
    table = _annotations(path)
    rows, columns = pd.Index(row_ids), pd.Index(classes)
    truth, unknown = np.full((len(rows), len(columns)), np.nan, np.float32), set()
    for row in table.itertuples():
        start_s, end_s = (_seconds(text, path, row.Index + 2) for text in (row.start, row.end))
        first, last = int(np.ceil(start_s / window_s - 1e-6)), int(np.floor(end_s / window_s + 1e-6))
        ids = [birdclef.row_id(row.filename, (index + 1) * window_s) for index in range(first, last)]
        windows = [index for index in rows.get_indexer(ids) if index >= 0]
        labels = species_labels.split(row.primary_label, classes)
        unknown |= set(labels) - set(classes)
        present = [index for index in columns.get_indexer(labels) if index >= 0]
        truth[windows] = np.nan_to_num(truth[windows])
        truth[np.ix_(windows, present)] = 1.0
    if unknown:
        listed = ", ".join(sorted(unknown)[:10]) + f" and {len(unknown) - 10} more" * (len(unknown) > 10)
        warnings.warn(f"{path}: {len(unknown)} labels are no species of the recordings and are dropped: {listed}", stacklevel=2)
    return truth


def _annotations(path):
    try:
        table = csv_tables.read(path, _COLUMNS)
    except csv_tables.TableError as error:
        raise AnnotationError(str(error)) from error
    if missing := [name for name in _COLUMNS if name not in table]:
        raise AnnotationError(f"{path} has no column {', '.join(missing)}: it needs {', '.join(_COLUMNS)}")
    return table


def _seconds(text, path, line):
    seconds = csv_tables.seconds(text)
    if np.isnan(seconds):
        raise AnnotationError(f"{path}, line {line}: {text!r} is no time: give seconds or hh:mm:ss")
    return seconds
