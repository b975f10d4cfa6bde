"""Teachers: models that label the windows of soundscapes with the project's labels.

Every teacher, be it BirdNET, Perch, a saved classifier or detectors of single species, has the same interface: a sound file in; for each
window a score in [0, 1] for every label that the teacher knows, and the score of the likeliest sound that is none of the labels.
Labels that a teacher does not know have no column; they are never 0.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import recording_names, runtime, streaming
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, taxonomy
from birdlib.models import base as embedder_base
from birdlib.models import birdnet, birdnet_location, embedders, perch, weights, yamnet
from birdlib.species import classifiers, inference, soundscape_windows

GENERAL = ("birdnet", *perch.VERSIONS)  # trained on far more recordings than this project has
_BATCH = 16  # patches that a network scores at once


class TeacherError(runtime.BirdlibError):
    """Teachers that do not exist or do not fit together."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A model that scores windows of soundscapes.

    Attributes:
        name: of the teacher.
        labels: what it knows, the columns of its scores, in the order of the project's classes.
        predict: path of a sound file → (scores, other_scores): (windows, labels) and (windows,) float32.
        window_s: of the windows, which are those of ``birdclef.windows``.
        key: digest of everything that changes its scores.
        weights: of pretrained networks, for the receipt.
        matched: how its labels were matched, see ``taxonomy.match``; None for teachers trained on the project's labels.
    """

    name: str
    labels: list
    predict: Callable
    window_s: float
    key: str
    weights: dict = dataclasses.field(default_factory=dict)
    matched: pd.DataFrame | None = None


# General teachers, by name


def _birdnet(names, weights_dir, window_s, location):
    embedder = embedders.load("birdnet", weights_dir, octave_down=False)
    expect, note = None, ""
    if location is not None:
        try:
            expect = birdnet_location.load(weights.fetch("birdnet_location", weights_dir))
        except weights.WeightsError as error:
            note = f"without its location model, every species is possible everywhere: {_first_line(error)}"
    return from_embedder(embedder, names, window_s, expect, location), note


def _embedder(name, names, weights_dir, window_s, location):
    return from_embedder(embedders.load(name, weights_dir, octave_down=False), names, window_s), ""


# another teacher is another entry: a function (names, weights_dir, window_s, location) → (Teacher, note for people)
BUILDERS = {"birdnet": _birdnet} | {name: functools.partial(_embedder, name) for name in (*perch.VERSIONS, "yamnet")}


def load_general(which, names, weights_dir="", window_s=birdclef.WINDOW_S, location=None):
    """Load general teachers; those whose weights are missing are reported and left out.

    Args:
        which: names in ``BUILDERS``, such as ("birdnet", "perch").
        names: from ``taxonomy.names``.
        location: (latitude, longitude), for BirdNET; its location model is then loaded as well.

    Returns:
        (teachers, notes): list of Teacher, and DataFrame ``teacher, note``, with a row for each that is missing, that does not know
        all labels, or that lacks its location model.

    Raises:
        TeacherError: for an unknown name.
    """
    teachers, notes = [], []
    for name in which:
        if name not in BUILDERS:
            raise TeacherError(f"there is no teacher called {name!r}: choose from {', '.join(BUILDERS)}")
        try:
            teacher, note = BUILDERS[name](names, weights_dir, window_s, location)
        except (weights.WeightsError, perch.PerchError, birdnet.BirdnetError) as error:
            notes.append((name, f"missing, so its labels are absent: {_first_line(error)}"))
            continue
        teachers.append(teacher)
        if note:
            notes.append((name, note))
        if lost := taxonomy.unmatched(teacher.matched) if name in GENERAL else []:
            known = f"knows {len(teacher.labels)} of {len(names)} labels, not"
            notes.append((name, f"{known} {', '.join(lost[:10])}" + f" and {len(lost) - 10} more" * (len(lost) > 10)))
    return teachers, pd.DataFrame(notes, columns=["teacher", "note"])


def _first_line(error):
    return str(error).splitlines()[0].rstrip(":")


# Teachers from models


def from_embedder(embedder, names, window_s=birdclef.WINDOW_S, expect=None, location=None):
    """A teacher from an embedder with a classification head: BirdNET or Perch; or YAMNet, which knows no species, but other sounds.

    A window's score is the highest of the patches whose centres lie in it, or that of the nearest patch if there are none. Species not
    expected at the location in the week of the file's name (all year, where the name has no date) get 0.

    Args:
        embedder: from ``embedders.load``.
        names: the project's labels, from ``taxonomy.names``.
        expect, location: from ``birdnet_location.load`` and (latitude, longitude), for BirdNET; None allows every species everywhere.
    """
    if hasattr(embedder, "species"):
        matched = taxonomy.match(names, embedder.species)
        is_other = ~np.isin(np.arange(len(embedder.species)), matched["column"])
    else:
        matched = taxonomy.match(names, pd.DataFrame(index=range(len(embedder.class_names))))
        is_other = np.isin(embedder.class_names, yamnet.OTHER_SOUNDS)
    found = matched[matched["column"] != taxonomy.UNMATCHED]
    columns, labels = found["column"].to_numpy(), found["label"].tolist()

    def possible_classes(path):
        """(classes,) of 0 and 1."""
        if expect is None or location is None:
            return np.ones(len(is_other), np.float32)
        day = recording_names.parse(path).moment.day
        expected = expect(*location, birdnet_location.week_of(day) if day else birdnet_location.ALL_YEAR).to_numpy()
        is_wild = embedder.species["is_wild"].to_numpy()  # the location model does not cover engines and people
        return np.where(is_wild, expected >= birdnet_location.MIN_OCCURRENCE, True).astype(np.float32)

    def score_patches(blocks, path):
        is_possible = possible_classes(path)
        for scores in embedder.scores_stream(blocks):
            scores = scores * is_possible
            others = scores[:, is_other].max(axis=1, initial=0.0)
            yield np.column_stack([scores[:, columns], others])

    parts = {"embedder": embedder.key, "labels": labels, "columns": columns.tolist(), "place": location if expect else None}
    key = runtime.digest({**parts, "window_s": window_s, "others": np.flatnonzero(is_other).tolist(), "recipe": 1})
    predict = _window_scorer(score_patches, embedder.sample_rate_hz, embedder.patch_s, embedder.hop_s, window_s)
    return Teacher(embedder.name, labels, predict, window_s, key, embedder.weights, matched)


def from_classifier(folder, embedder, store, window_s=birdclef.WINDOW_S, name="classifier"):
    """A saved classifier as a teacher: it knows the classes that it was trained on, and no other sound.

    Args:
        folder: with the files of ``classifiers.save``.
        embedder: that the classifier was trained on.
        store: its ``EmbeddingStore``, from which soundscapes are taken, and into which new ones are put.

    Raises:
        ClassifierError: if the folder has no classifier, or that of another embedder.
    """
    member = inference.load_classifier(folder, soundscape_windows.StoredEmbedder(embedder, store))

    def predict(path):
        file = member.open(path)
        scores = file.predict(birdclef.windows(file.duration_s, window_s))
        return scores, np.zeros(len(scores), np.float32)

    digests = {file: runtime.digest_file(f"{folder}/{file}") for file in classifiers.FILES}
    key = runtime.digest({"files": digests, "embedder": embedder.key, "window_s": window_s, "recipe": 1})
    return Teacher(name, list(member.classes), predict, window_s, key, embedder.weights)


def from_network(score, labels, key, *, sample_rate_hz, patch_s, hop_s, window_s=birdclef.WINDOW_S, name, pretrained=None):
    """A network on waveforms as a teacher that knows no other sound: a species model, or detectors of single species.

    Args:
        score: function, (patches, samples) float32 waveforms → (patches, labels) scores in [0, 1].
        labels: its columns.
        key: digest of the network.
        sample_rate_hz, patch_s, hop_s: of its waveforms.
        pretrained: for ``Teacher.weights``.
    """
    patch, hop = round(patch_s * sample_rate_hz), round(hop_s * sample_rate_hz)

    def score_patches(blocks, path):
        frames = streaming.frames(blocks, patch, hop)
        while batch := list(itertools.islice(frames, _BATCH)):
            scores = np.asarray(score(np.stack(batch)), np.float32)
            yield np.column_stack([scores, np.zeros(len(scores), np.float32)])

    parts = {"network": key, "labels": list(labels), "patch_s": patch_s, "hop_s": hop_s, "window_s": window_s, "recipe": 1}
    predict = _window_scorer(score_patches, sample_rate_hz, patch_s, hop_s, window_s)
    return Teacher(name, list(labels), predict, window_s, runtime.digest(parts), pretrained or {})


def _window_scorer(score_patches, sample_rate_hz, patch_s, hop_s, window_s):
    """``Teacher.predict`` from a function (blocks, path) that yields the scores of consecutive patches, (patches, columns)."""

    def predict(path):
        n_samples = 0

        def counted():
            nonlocal n_samples
            for block in audio_io.stream(path, sample_rate_hz=sample_rate_hz):
                n_samples += len(block)
                yield block

        scores = np.concatenate(list(score_patches(counted(), path)))
        windows = birdclef.windows(n_samples / sample_rate_hz, window_s)
        highest = max_in_windows(scores, np.arange(len(scores)) * hop_s + patch_s / 2, windows)
        return highest[:, :-1], highest[:, -1]

    return predict


def max_in_windows(scores, centres_s, windows):
    """The highest score of the patches of each window, see ``base.patches_of``: (windows, columns) float32.

    Args:
        scores: (patches, columns).
        centres_s: (patches,), ascending.
        windows: list of (start_s, end_s).
    """
    highest = np.empty((len(windows), scores.shape[1]), np.float32)
    for row, (start_s, end_s) in enumerate(windows):
        first, last = embedder_base.patches_of(centres_s, start_s, end_s)
        highest[row] = scores[first:last].max(axis=0)
    return highest
