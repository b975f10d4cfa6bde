"""Which teachers label the soundscapes of a project, what each of them knows, and which species have no teacher."""

import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import windowing
from birdlib.data import birdclef, taxonomy
from birdlib.models import birdnet_location
from birdlib.species import teachers

_VALIDATION_WINDOWS = 2  # of a recording, to choose an epoch of a detector


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


def general(which, names, weights_dir="", window_s=birdclef.WINDOW_S, location=None):
    """The general teachers that are installed and know something.

    Args:
        which: names separated by ``,``, such as ``"birdnet,yamnet"``; empty for none. YAMNet knows no species, but engines and rain.
        names: from ``taxonomy.names``.
        location: as in ``teachers.load_general``.

    Returns:
        (usable, found, table): two lists of Teacher, of those that know something and of all that were found; and DataFrame
        ``teacher, labels, note``, a row per requested teacher: how many labels it knows.
    """
    requested = runtime.names(which)
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


def train_detectors(labels, splits, clips, folder, checkpoints, *, steps, epochs, window_s=birdclef.WINDOW_S, rng):
    """Train a detector for each of some rare species, and make one teacher of them; see ``mel_training.fit_detectors``.

    Args:
        labels: species.
        splits, clips: of stages 01 and 02.
        folder: of stage 02.
        checkpoints: folder for them.
        steps, epochs: of the training of each.

    Returns:
        (teacher, history): Teacher; and the history of ``mel_training.fit_detectors`` with a column ``label``.
    """
    from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
    from birdlib.species import mel_models, mel_training

    clean = splits[splits["recording_id"].isin(clips.loc[~clips["is_noise"], "recording_id"])]
    train, validation = (clean[clean["split"] == split].reset_index(drop=True) for split in ("train", "validation"))
    rate_hz = mel_models.SAMPLE_RATE_HZ
    options = {"rate_hz": rate_hz, "window_s": window_s}
    table, truth = windowing.parts(clips, train), _one_hot(train, labels)
    windows = ConsecutiveWindows(windowing.parts(clips, validation), folder, n_windows=_VALIDATION_WINDOWS, **options)

    def batches_of(column):
        targets, shares = windowing.one_against_rest(truth, column)
        return RandomWindows(table, folder, targets, batch_size=16, n_steps=steps, rng=rng, shares=shares, **options)

    def build():
        return mel_models.build(1, mode="multi", window_s=window_s)[0]

    joined, history = mel_training.fit_detectors(
        range(len(labels)), build, batches_of, (windows, _one_hot(validation, labels)), key=list(labels),
        loss="binary_crossentropy", epochs=epochs, patience=epochs, folder=checkpoints,
    )  # fmt: skip
    digest = runtime.digest([[float(np.sum(weight)), float(np.sum(np.square(weight)))] for weight in joined.get_weights()])
    teacher = teachers.from_detectors(
        {label: functools.partial(_detect, joined, column) for column, label in enumerate(labels)},
        digest, sample_rate_hz=rate_hz, patch_s=window_s, hop_s=window_s, window_s=window_s,
    )  # fmt: skip
    return teacher, history.assign(label=history["column"].map(dict(enumerate(labels))))


def _detect(joined, column, patches):
    return np.asarray(joined(patches, training=False))[:, column]


def _one_hot(rows, labels):
    return np.equal.outer(rows["species"].to_numpy(), np.array(labels, object)).astype(np.float32)
