"""The panel: who is asked about the soundscapes of a project, what each of them knows, and what nobody can teach."""

import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import windowing
from birdlib.data import birdclef, taxonomy
from birdlib.species import mel_models, mel_training, teachers

_VALIDATION_WINDOWS = 2  # of a recording, to choose an epoch of a detector on


def general(which, names, weights_dir="", window_s=birdclef.WINDOW_S, place=None):
    """The general teachers that can be had and know something.

    Args:
        which: names separated by ``,``, such as ``"birdnet,yamnet"``; empty for none. YAMNet knows no species, but engines and rain.
        names: from ``taxonomy.names``.
        place: as in ``teachers.load_general``.

    Returns:
        (asked, found, table): two lists of Teacher, of those that know something and of all that can be had; and DataFrame
        ``teacher, labels, note``, a row for each that was wanted: how many labels it knows. One that knows none is told and not asked.
    """
    wanted = runtime.names(which)
    found, notes = teachers.load_general(wanted, names, weights_dir, window_s, place)
    asked = [teacher for teacher in found if teacher.labels or teacher.name not in teachers.GENERAL]
    told = notes.groupby("teacher")["note"].agg("; ".join).to_dict()
    known = {teacher.name: len(teacher.labels) for teacher in found}
    for teacher in found:
        if teacher not in asked:
            told[teacher.name] = "knows no label of this project, so it is not asked"
        elif not teacher.labels:
            told[teacher.name] = "knows no species, but sounds that are none"
    rows = [(name, known.get(name, 0), told.get(name, "")) for name in wanted]
    return asked, found, pd.DataFrame(rows, columns=["teacher", "labels", "note"])


def unmatched(names, found, without_data=()):
    """What the general teachers do not know, and what no student can learn.

    Args:
        names: from ``taxonomy.names``.
        found: list of Teacher.
        without_data: labels of the taxonomy without a recording.

    Returns:
        DataFrame ``label, scientific_name, common_name, why``.
    """
    lost = [(teacher.name, taxonomy.unmatched(teacher.matched)) for teacher in found if teacher.name in teachers.GENERAL]
    tables = [names[names["label"].isin(labels)].assign(why=f"{name} does not know it") for name, labels in lost]
    here = names["label"].isin(list(without_data))
    tables.append(names[here].assign(why="no recording of it: it cannot be learnt"))
    return pd.concat(tables, ignore_index=True)


def rare_species(n, splits, known):
    """The ``n`` species of fewest training recordings, two at least, among those that no general teacher knows; rarest first."""
    counts = splits.loc[splits["split"] == "train", "species"].value_counts().sort_index()
    counts = counts[(counts > 1) & ~counts.index.isin(list(known))].sort_values(kind="stable")
    return counts.index[:n].tolist()


def detectors(labels, splits, clips, folder, checkpoints, *, steps, epochs, window_s=birdclef.WINDOW_S, rng):
    """Detectors of one rare species each, as one teacher; see ``mel_training.fit_detectors``.

    Args:
        labels: species.
        splits, clips: of stages 01 and 02.
        folder: of stage 02.
        checkpoints: folder for them.
        steps, epochs: of the training of each.

    Returns:
        (teacher, history): Teacher; and what ``mel_training.fit_detectors`` tells, with a column ``label``.
    """
    heard = splits[splits["recording_id"].isin(clips.loc[~clips["is_noise"], "recording_id"])]
    train, judged = (heard[heard["split"] == split].reset_index(drop=True) for split in ("train", "validation"))
    rate_hz = mel_models.SAMPLE_RATE_HZ
    how = {"rate_hz": rate_hz, "window_s": window_s}
    table, truth = windowing.parts(clips, train), _one_hot(train, labels)
    windows = windowing.windows(windowing.parts(clips, judged), folder, n_windows=_VALIDATION_WINDOWS, **how)

    def batches_of(column):
        own, shares = windowing.one_against_rest(truth, column)
        return windowing.draw_batches(table, folder, own, batch_size=16, n_steps=steps, rng=rng, shares=shares, **how)

    build = functools.partial(_new_detector, window_s)
    options = {"loss": "binary_crossentropy", "epochs": epochs, "patience": epochs, "folder": checkpoints}
    joined, history = mel_training.fit_detectors(
        range(len(labels)), build, batches_of, (windows, _one_hot(judged, labels)), key=list(labels), **options
    )
    digest = runtime.digest([[float(np.sum(weight)), float(np.sum(np.square(weight)))] for weight in joined.get_weights()])
    teacher = teachers.from_detectors(
        {label: functools.partial(_listen, joined, column) for column, label in enumerate(labels)},
        digest, sample_rate_hz=rate_hz, patch_s=window_s, hop_s=window_s, window_s=window_s,
    )  # fmt: skip
    return teacher, history.assign(label=history["column"].map(dict(enumerate(labels))))


def _new_detector(window_s):
    return mel_models.build(1, mode="multi", window_s=window_s)[0]


def _listen(joined, column, patches):
    return np.asarray(joined(patches, training=False))[:, column]


def _one_hot(rows, labels):
    return np.equal.outer(rows["species"].to_numpy(), np.array(labels, object)).astype(np.float32)
