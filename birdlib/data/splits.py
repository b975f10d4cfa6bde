"""Train, validation and test splits. A group (recordist + place + date) is never divided between splits.

A *stratum* is a species in one kind of medium: recordings with sound, videos, and photos are split separately, so that
a species has sound for training and for the test. A species with too few independent groups is repeated in the splits
that lack it, and repeated rows are marked, so that scores can exclude them.
"""

import warnings

import numpy as np
import pandas as pd

from birdlib.data import stratification
from birdlib.runtime import BirdlibError

SPLITS = ("train", "validation", "test")
SPLIT_BY = ("group", "recording")  # what stays together; "recording" is a random split, whose figures are too high


class SplitError(BirdlibError):
    """A table that cannot be split with these parameters."""


def kinds(table):
    """(rows,) str: ``sound``, ``video`` or ``photo``; a row with several counts as the first of them."""
    return np.select([table["audio_path"] != "", table["video_path"] != ""], ["sound", "video"], "photo")


def strata(table):
    """(rows,) str, ``species/sound``, ``species/video`` or ``species/photo``."""
    return (table["species"].astype(str) + "/" + pd.Series(kinds(table), index=table.index)).to_numpy(dtype=object)


def assign(table, rng, validation_share=0.2, test_share=0.2, split_by="group"):
    """Assign recordings to train, validation and test, by whole groups and evenly by species.

    Groups are shared out by ``stratification``. Rows that name the same file count as one group. Strata with few
    independent groups: 4: two in train, one in validation, one in test; 3: one each; 2: train and validation, the
    latter repeated in test; 1: train, repeated in both others. Where a group of several species cannot serve all of
    them, the species that a split lacks are repeated there, too.

    Args:
        table: normalised manifest.
        validation_share, test_share: of the recordings of each common stratum, in [0, 1), their sum below 1. A share of
            0 omits that split.
        split_by: one of ``SPLIT_BY``; with ``"recording"`` every recording is a group of its own.

    Returns:
        DataFrame: the manifest's columns, ``split`` and ``is_repeated``, one row per recording and split, sorted by
        recording_id. Exactly one row of a recording is not repeated; the order of the input does not matter.

    Raises:
        SplitError: if the shares or ``split_by`` are invalid, or recording_ids are not unique.
    """
    shares = np.array([1.0 - validation_share - test_share, validation_share, test_share])
    if not (min(validation_share, test_share) >= 0 and shares[0] > 0):  # NaN is refused, too
        raise SplitError(f"shares of {validation_share} and {test_share} leave nothing to train on")
    if table["recording_id"].duplicated().any():
        raise SplitError("recording_ids are not unique: run manifest.normalise on the table first")
    table = table.sort_values("recording_id", kind="stable").reset_index(drop=True)
    if table.empty:
        return table.assign(split=pd.Series(dtype=object), is_repeated=pd.Series(dtype=bool))
    group, stratum = pd.factorize(units(table, split_by))[0], pd.factorize(strata(table))[0]
    home = stratification.assign_groups(group, stratum, shares, rng)[group]  # (rows,) index into SPLITS

    rows, split, is_repeated = [np.arange(len(table))], [home], [np.zeros(len(table), dtype=bool)]
    present = np.zeros((stratum.max() + 1, 3), dtype=bool)
    present[stratum, home] = True
    for lacking, missing in np.argwhere(~present & (shares > 0)):
        donor = 1 if missing == 2 and present[lacking, 1] else 0
        repeated = np.flatnonzero((stratum == lacking) & (home == donor))
        groups, counts = np.unique(group[repeated], return_counts=True)
        repeated = repeated[group[repeated] == groups[counts.argmin()]]  # one group is enough
        rows.append(repeated)
        split.append(np.full(repeated.size, missing))
        is_repeated.append(np.ones(repeated.size, dtype=bool))
    rows, split = np.concatenate(rows), np.concatenate(split)
    result = table.iloc[rows].assign(
        split=np.array(SPLITS, dtype=object)[split], is_repeated=np.concatenate(is_repeated)
    )
    return result.iloc[np.lexsort([split, rows])].reset_index(drop=True)


def own_rows(splits, split):
    """(rows,) bool: the rows of a split that are not repeated; all its rows if all are repeated."""
    is_in_split = (splits["split"] == split).to_numpy()
    own = is_in_split & ~splits["is_repeated"].to_numpy()
    return own if own.any() else is_in_split


def rows_of(tables, split, without=(), column="species"):
    """The rows of a split of each table, without repeated rows and without the values ``without`` of ``column``.

    Returns:
        tuple of DataFrames with their index kept.
    """
    return tuple(
        table[(table["split"] == split) & ~table["is_repeated"] & ~table[column].isin(without)] for table in tables
    )


def require(validation_share, test_share, split_by="group", n_folds=5):
    """Raise SplitError for shares, a unit or a number of folds that no split can have; it names them."""
    if not (validation_share >= 0 and test_share >= 0 and validation_share + test_share < 1):
        raise SplitError(f"validation_share is {validation_share:g} and test_share {test_share:g}: choose 0 or more, together below 1")
    _require_unit(split_by)
    if n_folds < 1:
        raise SplitError(f"n_folds is {n_folds}: choose 1 or more, such as 5")


def leave_out(tables, share, rng, column="species", min_left_out=1, min_kept=3):
    """Choose species that are left out of training, to evaluate on unseen species.

    Args:
        tables: of photos and of sounds, for example; a candidate has rows in train and test of each, not repeated.
        share: of the candidates; 0 leaves out none.
        min_left_out: minimum, if the share is above 0,
        min_kept: candidates that must be kept; if both are impossible, none is left out.

    Returns:
        sorted list of species.

    Raises:
        SplitError: if ``share`` is none.
    """
    if not 0 <= share <= 1:
        raise SplitError(f"the share of unseen species (unseen_share) is {share:g}: choose 0 to 1, such as 0.25")
    complete = [set(rows[column]) for split in ("train", "test") for rows in rows_of(tables, split, column=column)]
    candidates = sorted(set.intersection(*complete)) if complete else []
    n = min(max(min_left_out, round(share * len(candidates))), len(candidates) - min_kept)
    return sorted(rng.choice(candidates, n, replace=False).tolist()) if share > 0 and n >= min_left_out else []


def units(table, split_by="group"):
    """(rows,) int: number of the unit that must stay together: rows of a group_id (or recording_id), and rows of the same media file.

    Raises:
        SplitError: if ``split_by`` is not one of ``SPLIT_BY``.
    """
    _require_unit(split_by)
    keys = [table[f"{split_by}_id"]] + [table[name] for name in ("audio_path", "image_path", "video_path")]
    first = pd.factorize(keys[0])[0]
    pairs = []
    for values in keys[1:]:
        given = np.flatnonzero((values != "").to_numpy())
        codes, names = pd.factorize(values.iloc[given])
        owner = np.zeros(len(names), dtype=int)
        owner[codes] = first[given]
        pairs.append(np.stack([first[given], owner[codes]]))
    return connected_components(first.max() + 1, np.concatenate(pairs, axis=1))[first]


def folds(table, n_folds, rng, split_by="group"):
    """Folds for cross-validation: whole ``units``, strata as even as possible (scikit-learn's StratifiedGroupKFold).

    Returns:
        (rows,) int in [0, n_folds): the fold in which a row is held out. Independent of the order of the rows.

    Raises:
        SplitError: if there are fewer units than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    order = np.argsort(table["recording_id"].to_numpy(dtype=str), kind="stable")
    table = table.iloc[order]
    group = units(table, split_by)
    if n_folds == 1:
        return np.zeros(len(table), dtype=int)
    if not 2 <= n_folds <= len(set(group)):
        raise SplitError(f"{len(set(group))} independent groups cannot make {n_folds} folds")
    _, label, counts = np.unique(strata(table).astype(str), return_inverse=True, return_counts=True)
    if counts.max() < n_folds:  # scikit-learn refuses; there is nothing to stratify
        label = np.zeros(len(table), dtype=int)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    fold = np.empty(len(table), dtype=int)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for index, (_, held_out) in enumerate(splitter.split(label, label, group)):
            fold[order[held_out]] = index
    return fold


def leaks(splits, split_by="group"):
    """All violations of the rules of ``assign`` in a table, a list of str; empty if there are none.

    Rows that are not repeated share no group (unless split by recording), file or recording across splits; each recording has exactly one such row;
    train has no repeated rows; every species is in every split.
    """
    found = []
    present = [name for name in SPLITS if (splits["split"] == name).any()]
    unknown = sorted(set(splits["split"]) - set(SPLITS))
    if unknown:
        found.append(f"unknown splits: {', '.join(map(str, unknown))}")
    own = splits[~splits["is_repeated"]]
    for unit in ("recording_id", *(["group_id"] if split_by == "group" else []), "audio_path", "image_path", "video_path"):
        n_splits = own[own[unit] != ""].groupby(unit)["split"].nunique()
        found.extend(f"{unit} {name} lies in {n} splits" for name, n in n_splits[n_splits > 1].items())
    times = own["recording_id"].value_counts()
    found.extend(f"recording {name} is there {n} times, not marked as repeated" for name, n in times[times > 1].items())
    only_repeated = sorted(set(splits["recording_id"]) - set(times.index))
    found.extend(f"recording {name} has only repeated rows" for name in only_repeated)
    if (splits["is_repeated"] & (splits["split"] == "train")).any():
        found.append("train has rows marked as repeated")
    counts = pd.crosstab(strata(splits), splits["split"].to_numpy())
    for name in present:
        found.extend(f"{stratum} is not in {name}" for stratum in counts.index[counts[name] == 0])
    return found


def describe(splits, n_listed=8):
    """Sentences about a split: the shares of rows, and what would make its figures optimistic: groups on both sides, species without a test row."""
    if not len(splits):
        return "The table has no rows."
    shares = splits["split"].value_counts(normalize=True)
    text = "Rows: " + ", ".join(f"{shares.get(split, 0.0):.0%} {split}" for split in SPLITS) + "."
    if n_divided := len(divided_groups(splits)):
        text += f" {n_divided} of {splits['group_id'].nunique()} groups are on both sides of training and test: all figures are too high. Split by group for figures to trust."
    own = splits.loc[(splits["split"] == "test") & ~splits["is_repeated"], "species"]
    weak = sorted({*splits["species"]} - {*own, ""})
    if weak:
        listed = ", ".join(weak[:n_listed]) + (" and others" if len(weak) > n_listed else "")
        text += f" Species without a test row of their own: {listed}. Add recordings from other places."
    return text


def divided_groups(splits):
    """Groups with rows both in training and in another split, not counting repeated rows: sorted list, empty for a split by group."""
    train, others = (set(splits.loc[~splits["is_repeated"] & is_side, "group_id"]) for is_side in (splits["split"] == "train", splits["split"] != "train"))
    return sorted(train & others)


def connected_components(n, pairs):
    """(n,) int: the connected component of each node, given (2, edges) node numbers."""
    from scipy.sparse import coo_matrix, csgraph

    links = coo_matrix((np.ones(len(pairs[0])), (pairs[0], pairs[1])), shape=(n, n))
    return csgraph.connected_components(links, directed=False)[1]


def _require_unit(split_by):
    if split_by not in SPLIT_BY:
        raise SplitError(f"split_by is {split_by!r}: choose {' or '.join(SPLIT_BY)}")
