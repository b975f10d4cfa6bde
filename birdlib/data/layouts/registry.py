"""Which layouts there are, which of them a folder has, and their rows as one manifest.

Several layouts may lie in one tree: a file belongs to the layout whose folder is nearest above it. Files of no data set's layout are read as species
folders, or as films.
"""

import dataclasses
import os
import posixpath
import warnings
from collections import defaultdict
from pathlib import Path

import pandas as pd

from birdlib import runtime
from birdlib.data import csv_tables, manifest, recording_ids, species_labels
from birdlib.data.layouts import (
    annotations,
    birdclef_folder,
    cub,
    films,
    groups,
    inaturalist,
    inaturalist_competition,
    macaulay,
    rows,
    species_folders,
    ssw60,
    xeno_canto,
)
from birdlib.data.layouts.tree import LayoutError, Tree

DATA_SETS = {  # the first wins where two have the same folder
    "birdclef": birdclef_folder,
    "ssw60": ssw60,
    "cub": cub,
    "inaturalist-competition": inaturalist_competition,
    "inaturalist": inaturalist,
    "xeno-canto": xeno_canto,
    "macaulay": macaulay,
    "annotations": annotations,
}
GENERAL = {"species-folders": species_folders, "films": films}
LAYOUTS = DATA_SETS | GENERAL
_REASONS_SHOWN = 3


@dataclasses.dataclass
class Reading:
    """A folder read as a manifest.

    Attributes:
        root: folder that the paths of ``table`` are relative to.
        table: normalised manifest with ``group_by`` (how its group was found) and those of ``rows.EXTRA_COLUMNS`` that are known.
        unplaced: DataFrame of ``path`` and ``reason``.
        layouts: DataFrame of ``layout``, ``folder``, ``why`` and ``rows``.
        notes: what was changed or assumed, a list of str.
    """

    root: Path
    table: pd.DataFrame
    unplaced: pd.DataFrame
    layouts: pd.DataFrame
    notes: list


def read(folder, layout="", names="scientific", species_level=0, species=""):
    """Read a folder as a manifest; its layout is guessed.

    Args:
        layout: a name of ``LAYOUTS`` to read it as; empty: guess.
        names: ``"scientific"`` or ``"common"``: which name is the label, where a layout has both.
        species_level: number of the folder below ``folder`` that names the species, from 1; 0: guess.
        species: label of files that no folder or table names.

    Returns:
        Reading.

    Raises:
        LayoutError: if there is no such folder, the layout is unknown or not that of the folder, or no file can be placed.
    """
    _require(folder, layout, names)
    tree = Tree(folder)
    options = {"species-folders": {"level": species_level, "species": species}, "films": {"species": species}, "annotations": {"is_asked": bool(layout)}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", csv_tables.TableWarning)
        found, unplaced, layouts, notes = _read_all(tree, layout, options)
    notes += dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, csv_tables.TableWarning))
    notes += [f"{path} is a manifest already, and was not read: run --manifest {path} uses it" for path in _manifests(tree)]
    table = _labelled(rows.table(found), names, species, notes)
    has_label = (table["species"] != "") | (table["media"] == "film")
    unplaced += [(path, "its species has no name") for path in table.loc[~has_label, "path"]]
    table = table[has_label].reset_index(drop=True)
    unplaced = pd.DataFrame(sorted(dict(tree.unplaced + unplaced).items()), columns=["path", "reason"], dtype=str)
    if table.empty:
        other = "; or read the names of its folders as species, by --layout species-folders" if set(layouts["layout"]) - set(GENERAL) else ""
        raise LayoutError(f"no file below {folder} can be placed: {reasons_text(unplaced)}{other}")
    return Reading(tree.root, _manifest(groups.guess(table, tree.root), notes), unplaced, layouts, notes)


def write(reading, path):
    """Write the manifest of a reading, its paths relative to the file, and what is unplaced as ``NAME.unplaced.csv`` beside it.

    Returns:
        path of the unplaced table, or None if everything was placed; one of an earlier run is then removed.

    Raises:
        LayoutError: if the files cannot be written relative to the manifest, as on another drive.
        ManifestError: if the manifest has faults.
    """
    path = Path(path)
    here, root = os.path.realpath(path.parent), os.path.realpath(reading.root)
    try:
        prefix = Path(os.path.relpath(root, here)).as_posix()
    except ValueError as error:
        raise LayoutError(f"{path} and {reading.root} are on different drives: write the manifest beside the recordings, by --output") from error
    table = reading.table.copy()
    for name in manifest.PATH_COLUMNS:
        table[name] = [posixpath.normpath(posixpath.join(prefix, media)) if media else "" for media in table[name]]
    unplaced = unplaced_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # paths through a folder that is missing lead nowhere
        manifest.check(table, here)
        runtime.write_table(table, path)
        if reading.unplaced.empty:
            unplaced.unlink(missing_ok=True)
            return None
        runtime.write_table(reading.unplaced, unplaced)
    except OSError as error:
        raise LayoutError(f"{path} cannot be written ({error.strerror}): give another --output") from error
    return unplaced


def unplaced_path(path):
    """``manifest.unplaced.csv`` beside ``manifest.csv``."""
    return Path(path).with_name(f"{Path(path).stem}.unplaced.csv")


def reasons_text(unplaced):
    """The most frequent reasons, with their counts and a path each, as text."""
    reasons = unplaced.groupby("reason", sort=False)["path"].agg(["size", "first"]).sort_values("size", ascending=False, kind="stable")
    shown = [f"{reason} ({f'{n}, such as ' if n > 1 else ''}{path})" for reason, n, path in reasons.head(_REASONS_SHOWN).itertuples()]
    n_more = reasons["size"].iloc[_REASONS_SHOWN:].sum()
    return "; ".join(shown) + (f"; and {n_more} more" if n_more else "")


def _require(folder, layout, names):
    folder = Path(folder)
    if folder.is_file():
        raise LayoutError(f"{folder} is a file: {'unpack it and ' if folder.suffix.lower() in ('.zip', '.gz', '.tar', '.tgz') else ''}give the folder of the recordings")
    if not folder.is_dir():
        raise LayoutError(f"there is no folder {folder.absolute()}: give the folder of the recordings")
    if layout and layout not in LAYOUTS:
        known = "\n".join(f"- {name}: {module.NEEDS}" for name, module in LAYOUTS.items())
        raise LayoutError(f"layout {layout!r} is unknown; the known ones are\n{known}")
    if names not in rows.NAMES:
        raise LayoutError(f"names {names!r} are unknown: use {' or '.join(rows.NAMES)}")


def _why_empty(tree):
    packed = [path for path, reason in tree.unplaced if "packed" in reason]
    if packed:
        return f"{tree.root} has {len(packed)} archives, such as {packed[0]}, and no sounds, photos or films: unpack them and run again"
    others = f"; it has {len(tree.unplaced)} other files, such as {tree.unplaced[0][0]}" if tree.unplaced else ""
    return f"{tree.root} has no sounds, photos or films{others}: give the folder of the recordings"


def _matches(tree, layout):
    """[(layout, folder, why)] of the data sets that are found, or of the layout that is asked for."""
    if layout in GENERAL and tree.media:
        return [(layout, "", "given by --layout")]
    found = []
    for name, module in DATA_SETS.items():
        if layout not in ("", name):
            continue
        places = module.find(tree, is_asked=True) if name == layout == "annotations" else module.find(tree)
        found += [(name, folder, why) for folder, why in sorted(places.items())]
    if layout in DATA_SETS and not found:
        needs = f"is not laid out as {layout}, which needs {LAYOUTS[layout].NEEDS}"
        raise LayoutError(f"{tree.root} {needs}: leave out --layout, or give the folder that has them")
    if not (found or tree.media):
        raise LayoutError(_why_empty(tree))
    return found


def _manifests(tree):
    """Tables that have a manifest's columns already, written by people or by an earlier run."""
    needed, paths = {"recording_id", "species"}, set(manifest.PATH_COLUMNS)
    tables = [path for path in tree.with_suffix(".csv") if needed <= set(tree.header(path)) and paths & set(tree.header(path))]
    return [tree.root / path for path in tables]


def _owned(tree, matches):
    """({(layout, folder): files}, files of none): a file belongs to the match whose folder is nearest above it."""
    by_folder = defaultdict(list)
    for name, folder, _ in matches:
        by_folder[folder].append(name)
    owned, rest = defaultdict(list), []
    for path, media in tree.media.items():
        folder = path
        while folder:
            folder = posixpath.dirname(folder)
            name = next((name for name in by_folder.get(folder, ()) if media in LAYOUTS[name].MEDIA), None)
            if name:
                owned[name, folder].append(path)
                break
        else:
            rest.append(path)
    return owned, rest


def _general_layout(files, tree):
    is_films = all(tree.media[path] == "film" for path in files)
    return "films" if is_films and not species_folders.has_candidates(files) else "species-folders"


def _read_all(tree, layout, options):
    """The rows of all layouts, what is unplaced, the table ``layouts`` of a Reading, and notes."""
    matches = _matches(tree, layout)
    owned, rest = _owned(tree, matches)
    found, unplaced, layouts, notes = [], [], [], []

    def add(name, folder, why, part, reasons):
        found.extend(part)
        unplaced.extend((path, reason) for path, reason in reasons if reason)
        layouts.append((name, folder or ".", why, len(part)))

    for name, folder, why in matches:
        mine = owned[name, folder]
        part, reasons = _read(name, tree, folder, mine, options)
        rest += [path for path, reason in reasons if not reason]
        if name == "annotations":
            names = set(mine)
            kept = [row for row in part if row["path"] in names]
            if len(kept) < len(part):
                n = len(part) - len(kept)
                notes.append(f"{n} labels with times are of files that another layout lists, and were not used: --layout annotations uses them")
            part = kept
        add(name, folder, why, part, reasons)
    if rest and layout:
        unplaced += [(path, f"is no part of the layout {layout}") for path in rest]
    elif rest:
        name = _general_layout(rest, tree)
        part, reasons = _read(name, tree, "", rest, options)
        add(name, "", _why_general(name, part, options[name]["species"]), part, reasons)
    layouts = pd.DataFrame(layouts, columns=["layout", "folder", "why", "rows"])
    return found, unplaced, layouts[(layouts["rows"] > 0) | (layouts["layout"] != "annotations")].reset_index(drop=True), notes


def _read(name, tree, folder, files, options):
    """(rows, unplaced) of one layout."""
    try:
        return LAYOUTS[name].read(tree, folder, sorted(files), **options.get(name, {}))
    except csv_tables.TableError as error:
        raise LayoutError(str(error)) from error


def _why_general(name, found, species):
    if name == "films":
        return "it has films only"
    labels = species_folders.examples([row for row in found if not species or row["species"] != species])
    given = f"no folder names a species, which --species gives as {species!r}" if species else "no folder names a species"
    return f"species are names of folders, such as {labels}" if labels else given


def _labelled(table, names, species, notes):
    """The table with ``species`` filled in; names that one table translates are translated in all."""
    for column in ("species", "scientific_name", "common_name"):
        table[column] = table[column].map(species_labels.clean)
    wanted, other = ("scientific_name", "common_name") if names == "scientific" else ("common_name", "scientific_name")
    both = table[(table[wanted] != "") & (table[other] != "")].drop_duplicates([wanted, other])
    translated = {row[other].casefold(): row[wanted] for row in both.to_dict("records")}
    labels = [label or rows.label(scientific, common, names) for label, scientific, common in table[["species", "scientific_name", "common_name"]].itertuples(index=False)]
    new = [translated.get(label.casefold(), label) for label in labels]
    renamed = {old: label for old, label in zip(labels, new, strict=True) if old != label}
    if renamed:
        old, label = next(iter(renamed.items()))
        notes.append(f"{len(renamed)} labels were translated by the names of other tables, such as {old!r} to {label!r}")
    table["species"] = [label.replace(";", ",") or species for label in new]
    table["secondary_species"] = [
        ";".join(translated.get(name.casefold(), name) for name in cell.split(";")) if cell and not cell.startswith("[") else cell
        for cell in table["secondary_species"]
    ]
    return table


def _manifest(table, notes):
    """The normalised manifest of labelled and grouped rows."""
    for media, column in rows.MEDIA_COLUMNS.items():
        table[column] = table["path"].where(table["media"] == media, "")
    parts = table["start_s"] + " " + table["end_s"]
    table["recording_id"] = recording_ids.unique(table["recording_id"], table["path"], parts)
    table["group_id"] = table["group_id"].where(table["group_id"] != "", table["recording_id"])
    known = [name for name in rows.EXTRA_COLUMNS if name not in ("recordist", "place") and (table[name] != "").any()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        full = manifest.normalise(table[[*manifest.COLUMNS, "group_by", *known]])
    notes += dict.fromkeys(str(warning.message) for warning in caught)
    return full
