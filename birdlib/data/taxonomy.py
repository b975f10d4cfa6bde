"""Taxonomy: labels with their scientific and common names, and their classes in a teacher.

A label is that of the manifest: an eBird code, an iNaturalist number, a name. Names are compared without case, accents,
hyphens, apostrophes and subspecies, and gray is grey.
"""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.data import birdclef, csv_tables

COLUMNS = ["label", "scientific_name", "common_name"]
UNMATCHED = -1


def names(classes, data_dir=""):
    """The scientific and the common name of each label.

    Args:
        classes: labels.
        data_dir: a BirdCLEF folder, of which ``taxonomy.csv``, then the training table is read. A label in neither of them
            is its own scientific and common name.

    Returns:
        DataFrame: ``label, scientific_name, common_name``, all str, row-aligned with the classes.
    """
    known = {}
    for path in (Path(data_dir, "taxonomy.csv"), birdclef.train_table(data_dir)) if data_dir else ():
        if path and path.is_file():
            table = csv_tables.read(path, ["primary_label", *COLUMNS[1:]])
            table = table.reindex(columns=["primary_label", *COLUMNS[1:]], fill_value="")
            for label, *label_names in table.drop_duplicates("primary_label").itertuples(index=False):
                if any(label_names):
                    known.setdefault(label, label_names)
    return pd.DataFrame([(label, *known.get(label, (label, label))) for label in classes], columns=COLUMNS, dtype=str)


def match(table, known):
    """Find each label among the classes of a teacher: as an eBird code, then by scientific, then by common name.

    Names that two classes share are ignored.

    Args:
        table: from ``names``.
        known: one row per class; any of ``ebird``, ``species`` (the scientific name) and ``common_name``, or "".

    Returns:
        DataFrame: the table with ``column`` (of the class; -1: unmatched), ``matched_by`` ("ebird", "scientific",
        "common" or "") and ``matched_name``, in the teacher's spelling.
    """
    matched = table.assign(column=UNMATCHED, matched_by="", matched_name="")
    for matched_by, own, others, fold in (
        ("ebird", "label", "ebird", _folded),
        ("scientific", "scientific_name", "species", _folded_scientific),
        ("common", "common_name", "common_name", _folded),
    ):
        columns = _unique(known[others], fold) if others in known else {}
        for row in np.flatnonzero(matched["column"] == UNMATCHED):
            column = columns.get(fold(matched.at[row, own]), UNMATCHED)
            if column != UNMATCHED:
                found = column, matched_by, known[others].iloc[column]
                matched.loc[row, ["column", "matched_by", "matched_name"]] = found
    return matched


def unmatched(matched):
    """The labels without a class, in order."""
    return matched.loc[matched["column"] == UNMATCHED, "label"].tolist()


def coverage(labels_of, classes):
    """Teacher coverage: a table of bool with a row per label and a column per teacher.

    Args:
        labels_of: {teacher: its labels}.
        classes: all labels.
    """
    classes = list(classes)
    return pd.DataFrame({name: np.isin(classes, list(labels)) for name, labels in labels_of.items()}, index=classes)


def _unique(names, fold):
    """{folded name: column} of the names of exactly one class."""
    folded = pd.Series([fold(name) for name in names])
    unique = folded[~folded.duplicated(keep=False) & (folded != "")]
    return dict(zip(unique, unique.index, strict=True))


def _folded(name):
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"\bgray", "grey", plain.replace("'", "").replace("`", ""))
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def _folded_scientific(name):
    return " ".join(_folded(name).split()[:2])  # a third word is the subspecies
