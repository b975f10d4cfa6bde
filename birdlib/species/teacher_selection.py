"""Which teachers label the soundscapes of a project, what each of them knows, and which species have no teacher."""

import pandas as pd

from birdlib import runtime
from birdlib.data import birdclef, taxonomy
from birdlib.models import birdnet_location
from birdlib.species import teachers
from birdlib.species.waveform_networks import MEL


def select(which, classes, data_dir, weights_dir="", window_s=birdclef.WINDOW_S):
    """The general teachers of a project, and the species that they do not know.

    Args:
        which: as in ``general``.
        classes: labels with recordings.
        data_dir: the recordings' root, whose taxonomy and location count where it is a BirdCLEF folder.

    Returns:
        (usable, table, unmatched): as of ``general`` and ``unmatched``.
    """
    submitted = birdclef.submission_classes(data_dir) if birdclef.is_layout(data_dir) else []
    without_data = sorted(set(submitted) - set(classes))
    names = taxonomy.names(classes + without_data, data_dir)
    usable, found, table = general(which, names, weights_dir, window_s, birdnet_location.read_location(data_dir))
    return usable, table, unmatched(names, found, without_data)


def require(which):
    """Raise TeacherError for a name in the comma list ``which`` that is no teacher."""
    known = [*teachers.BUILDERS, *MEL]
    if unknown := [name for name in runtime.names(which) if name not in known]:
        raise teachers.TeacherError(f"there is no teacher called {', '.join(unknown)}: choose from {', '.join(known)}")


def general(which, names, weights_dir="", window_s=birdclef.WINDOW_S, location=None):
    """The general teachers that are installed and know something.

    Args:
        which: names separated by ``,``, such as ``"birdnet,yamnet"``; empty for none. YAMNet knows no species, but engines and rain. Mel models are
            skipped here: ``mel_teachers`` trains them.
        names: from ``taxonomy.names``.
        location: as in ``teachers.load_general``.

    Returns:
        (usable, found, table): two lists of Teacher, of those that know something and of all that were found; and DataFrame
        ``teacher, labels, note``, a row per requested teacher: how many labels it knows.
    """
    requested = [name for name in runtime.names(which) if name not in MEL]
    found, notes = teachers.load_general(requested, names, weights_dir, window_s, location)
    usable = [teacher for teacher in found if teacher.labels or teacher.name not in teachers.GENERAL]
    notes = notes.groupby("teacher")["note"].agg("; ".join).to_dict()
    n_labels = {teacher.name: len(teacher.labels) for teacher in found}
    for teacher in found:
        if teacher not in usable:
            notes[teacher.name] = "knows no label of this project, so it is not used"
        elif not teacher.labels:
            notes[teacher.name] = "knows no species, but sounds that are none"
    rows = [(name, n_labels.get(name, 0), notes.get(name, "")) for name in requested]
    return usable, found, pd.DataFrame(rows, columns=["teacher", "labels", "note"])


def unmatched(names, found, without_data=()):
    """Species that a general teacher does not know, and those that no student can be trained on.

    Args:
        names: from ``taxonomy.names``.
        found: list of Teacher.
        without_data: labels of the taxonomy without a recording.

    Returns:
        DataFrame ``label, scientific_name, common_name, why``.
    """
    unknown = [(teacher.name, taxonomy.unmatched(teacher.matched)) for teacher in found if teacher.name in teachers.GENERAL]
    tables = [names[names["label"].isin(labels)].assign(why=f"{name} does not know it") for name, labels in unknown]
    tables.append(names[names["label"].isin(list(without_data))].assign(why="no recordings: it cannot be trained"))
    return pd.concat(tables, ignore_index=True)


def describe_coverage(labels_of, classes):
    """A sentence about teacher coverage: how many species have a general teacher, and which have only the project's own."""
    covered = {label for name, labels in labels_of.items() if name in teachers.GENERAL for label in labels}
    alone = [label for label in classes if label not in covered]
    text = f"{len(classes) - len(alone)} of {len(classes)} species have a general teacher."
    if alone:
        listed = ", ".join(alone[:10]) + f" and {len(alone) - 10} more" * (len(alone) > 10)
        text += f" The others have only teachers trained on this project's recordings, so read their labels with care: {listed}."
    return text


def rare_species(n, splits, known):
    """The ``n`` species with the fewest training recordings, at least two, among those that no general teacher knows; rarest first."""
    counts = splits.loc[splits["split"] == "train", "species"].value_counts().sort_index()
    counts = counts[(counts > 1) & ~counts.index.isin(list(known))].sort_values(kind="stable")
    return counts.index[:n].tolist()
