"""Names: the labels of this project beside the scientific names, common names and eBird codes by which others know them.

A label is whatever the manifest says: an eBird code, an iNaturalist number, a name. Names are compared without case, accents, hyphens,
apostrophes and subspecies, and gray is grey.
"""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.data import manifest

COLUMNS = ["label", "scientific_name", "common_name"]
UNMATCHED = -1


def names(classes, data_dir=""):
    """What the labels mean.

    Args:
        classes: labels.
        data_dir: a BirdCLEF folder, whose ``taxonomy.csv`` and ``train.csv`` are asked in this order; elsewhere, and for labels
            that neither has, a label counts as both its scientific and its common name.

    Returns:
        DataFrame: ``label, scientific_name, common_name``, all str, row by row with the classes.
    """
    known = {}
    for file in ("taxonomy.csv", "train.csv") if data_dir else ():
        if Path(data_dir, file).is_file():
            table = manifest.read(Path(data_dir, file))[0].reindex(columns=["primary_label", *COLUMNS[1:]], fill_value="")
            table = table.apply(lambda cells: cells.str.strip())
            for label, *its_names in table.drop_duplicates("primary_label").itertuples(index=False):
                if any(its_names):
                    known.setdefault(label, its_names)
    return pd.DataFrame([(label, *known.get(label, (label, label))) for label in classes], columns=COLUMNS, dtype=str)


def match(table, known):
    """Find each label among the classes of a teacher.

    Asked in this order: the label as an eBird code, the scientific name, the common name. A name that two classes bear says nothing.

    Args:
        table: from ``names``.
        known: one row a class; any of ``ebird``, ``species`` (the scientific name) and ``common_name``, "" where there is none.

    Returns:
        DataFrame: the table with ``column`` (of the class; -1: unmatched), ``matched_by`` ("ebird", "scientific", "common" or "")
        and ``matched_name``, as the teacher writes it.
    """
    ways = (("ebird", "label", "ebird"), ("scientific", "scientific_name", "species"), ("common", "common_name", "common_name"))
    matched = table.assign(column=UNMATCHED, matched_by="", matched_name="")
    for way, mine, theirs in ways:
        if theirs not in known:
            continue
        columns = _unique(known[theirs], _folded_scientific if way == "scientific" else _folded)
        for row in np.flatnonzero(matched["column"] == UNMATCHED):
            name = _folded_scientific(matched.at[row, mine]) if way == "scientific" else _folded(matched.at[row, mine])
            column = columns.get(name, UNMATCHED)
            if column != UNMATCHED:
                matched.loc[row, ["column", "matched_by", "matched_name"]] = column, way, known[theirs].iloc[column]
    return matched


def unmatched(matched):
    """The labels that were not found, in order."""
    return matched.loc[matched["column"] == UNMATCHED, "label"].tolist()


def coverage(labels_of, classes):
    """Who knows what: a table with a row a label and a column a teacher, True where the teacher knows it.

    Args:
        labels_of: {teacher: its labels}.
        classes: all labels; those of which no teacher knows are rows of False.
    """
    return pd.DataFrame({name: np.isin(list(classes), list(labels)) for name, labels in labels_of.items()}, index=list(classes))


def _unique(theirs, fold):
    """{folded name: column} of the names that one class only has."""
    folded = pd.Series([fold(name) for name in theirs])
    once = folded[~folded.duplicated(keep=False) & (folded != "")]
    return dict(zip(once, once.index, strict=True))


def _folded(name):
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"\bgray", "grey", plain.replace("'", "").replace("`", ""))
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def _folded_scientific(name):
    return " ".join(_folded(name).split()[:2])  # a third word is the subspecies
