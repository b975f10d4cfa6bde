"""Teachers: what others hear in the windows of a soundscape, said in the labels of this project.

Whatever a teacher is, a BirdNET, a Perch, the classifier of stage 07 or a few detectors of one species each, it is asked the same way:
a sound file in; for each of its windows a score in [0, 1] for every label that the teacher knows, and the score of the likeliest
sound that is none of the labels. Labels that a teacher does not know are absent from its answer, never 0.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import runtime, stages, streaming
from birdlib import store as embedding_store
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, taxonomy
from birdlib.models import base as embedder_base
from birdlib.models import birdnet, birdnet_location, embedders, perch, weights, yamnet
from birdlib.species import classifiers, inference, pseudolabels

GENERAL = ("birdnet", *perch.VERSIONS)  # they learnt from far more recordings than this project has


class TeacherError(runtime.BirdlibError):
    """A teacher that cannot be asked as wanted."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Somebody to ask.

    Attributes:
        name: of the teacher.
        labels: what it knows, the columns of its scores, in the order of the project's classes.
        hear: path of a sound file → (scores, others): (windows, labels) and (windows,) float32.
        window_s: of the windows, which are those of ``birdclef.windows``.
        key: digest of everything that changes its scores.
        weights: of pretrained networks, for the receipt.
        matched: where its labels were found, see ``taxonomy.match``; None for those that speak in the project's labels.
    """

    name: str
    labels: list
    hear: Callable
    window_s: float
    key: str
    weights: dict = dataclasses.field(default_factory=dict)
    matched: pd.DataFrame | None = None


# Who can be asked


def from_embedder(embedder, names, window_s=birdclef.WINDOW_S, expect=None, place=None):
    """A teacher out of an embedder that knows species by itself: BirdNET or Perch; or YAMNet, which knows none, but other sounds.

    A window's score is the highest of the patches whose centres lie in it, or that of the nearest patch if there are none. Species
    that nobody reports at the place in the week of the file's name (all year, where the name has no date) get 0.

    Args:
        embedder: from ``embedders.load``.
        names: the project's labels, from ``taxonomy.names``.
        expect, place: from ``occurrence.load`` and (latitude, longitude), for a BirdNET; None hears every species everywhere.
    """
    if hasattr(embedder, "species"):
        matched = taxonomy.match(names, embedder.species)
        is_other = ~np.isin(np.arange(len(embedder.species)), matched["column"])
    else:
        matched = taxonomy.match(names, pd.DataFrame(index=range(len(embedder.class_names))))
        is_other = np.isin(embedder.class_names, yamnet.OTHER_SOUNDS)
    found = matched[matched["column"] != taxonomy.UNMATCHED]
    columns, labels = found["column"].to_numpy(), found["label"].tolist()

    def there(path):
        """(classes,) of 0 and 1."""
        if expect is None or place is None:
            return np.ones(len(is_other), np.float32)
        day = birdnet_location.day_in_name(path)
        expected = expect(*place, birdnet_location.week_of(day) if day else birdnet_location.ALL_YEAR).to_numpy()
        is_wild = embedder.species["is_wild"].to_numpy()  # of engines and people the model knows nothing
        return np.where(is_wild, expected >= birdnet_location.LEAST, True).astype(np.float32)

    def listen(blocks, path):
        possible = there(path)
        for scores in embedder.scores_stream(blocks):
            scores = scores * possible
            others = scores[:, is_other].max(axis=1, initial=0.0)
            yield np.column_stack([scores[:, columns], others])

    parts = {"embedder": embedder.key, "labels": labels, "columns": columns.tolist(), "place": place if expect else None}
    return Teacher(
        embedder.name,
        labels,
        _patchwise(listen, embedder.sample_rate_hz, embedder.patch_s, embedder.hop_s, window_s),
        window_s,
        runtime.digest({**parts, "window_s": window_s, "others": np.flatnonzero(is_other).tolist(), "recipe": 1}),
        embedder.weights,
        matched,
    )


def from_classifier(folder, listener, window_s=birdclef.WINDOW_S, name="classifier"):
    """The classifier of stage 07 as a teacher: it knows every class that it learnt, and no other sound.

    Args:
        folder: of the stage.
        listener: the embedder that the classifier was trained on.

    Raises:
        ClassifierError: if the folder has no classifier, or that of another embedder.
    """
    member = inference.through(folder, listener)

    def hear(path):
        heard = member.listen(path)
        scores = heard.scores(birdclef.windows(heard.duration_s, window_s))
        return scores, np.zeros(len(scores), np.float32)

    digests = {file: runtime.digest_file(f"{folder}/{file}") for file in classifiers.FILES}
    key = runtime.digest({"files": digests, "embedder": listener.key, "window_s": window_s, "recipe": 1})
    return Teacher(name, list(member.classes), hear, window_s, key, listener.weights)


def from_detectors(detectors, key, *, sample_rate_hz, patch_s, hop_s, window_s=birdclef.WINDOW_S, name="detectors"):
    """Detectors of one species each as one teacher, for rare birds that the others do not know.

    Args:
        detectors: {label: function}, (patches, samples) float32 waveforms → (patches,) scores in [0, 1]: such as
            ``lambda patches: model.predict(patches, verbose=0)[:, 0]``.
        key: digest of the detectors.
        sample_rate_hz, patch_s, hop_s: of the waveforms they want.
    """
    labels = list(detectors)
    patch, hop = round(patch_s * sample_rate_hz), round(hop_s * sample_rate_hz)

    def listen(blocks, path):
        for waveform in streaming.frames(blocks, patch, hop):
            scores = [np.asarray(detect(waveform[None])).reshape(1) for detect in detectors.values()]
            yield np.column_stack([*scores, np.zeros(1)]).astype(np.float32)

    parts = {"detectors": key, "labels": labels, "patch_s": patch_s, "hop_s": hop_s, "window_s": window_s, "recipe": 1}
    hear = _patchwise(listen, sample_rate_hz, patch_s, hop_s, window_s)
    return Teacher(name, labels, hear, window_s, runtime.digest(parts))


def load_general(which, names, weights_dir="", window_s=birdclef.WINDOW_S, place=None):
    """Load those of BirdNET, Perch and YAMNet that can be had; one that is missing is told, and no reason to stop.

    Args:
        which: names, such as ("birdnet", "perch").
        names: from ``taxonomy.names``.
        place: (latitude, longitude), for BirdNET; its location model is then loaded as well.

    Returns:
        (teachers, notes): list of Teacher, and DataFrame ``teacher, note``, a row for each that is missing, that knows no label, or
        that has to do without its location model.
    """
    teachers, notes = [], []
    for name in which:
        expect = None
        try:
            embedder = embedders.load(name, weights_dir, octave_down=False)
        except (weights.WeightsError, perch.PerchError, birdnet.BirdnetError) as error:
            notes.append((name, f"missing, so its labels are absent: {_first_line(error)}"))
            continue
        if name == "birdnet" and place is not None:
            try:
                expect = birdnet_location.load(weights.fetch("birdnet_location", weights_dir))
            except weights.WeightsError as error:
                notes.append((name, f"hears every species everywhere: {_first_line(error)}"))
        teacher = from_embedder(embedder, names, window_s, expect, place)
        teachers.append(teacher)
        if lost := taxonomy.unmatched(teacher.matched) if name in GENERAL else []:
            known = f"knows {len(teacher.labels)} of {len(names)} labels, not"
            notes.append((name, f"{known} {', '.join(lost[:10])}" + f" and {len(lost) - 10} more" * (len(lost) > 10)))
    return teachers, pd.DataFrame(notes, columns=["teacher", "note"])


def _first_line(error):
    return str(error).splitlines()[0].rstrip(":")


# What they hear


def hear_all(paths, teachers, folder):
    """Ask every teacher about every soundscape. What was heard is kept in the folder, so a run that was killed goes on.

    Args:
        paths: of soundscapes, one a stem, since windows are named by it.
        teachers: list of Teacher.
        folder: where the scores are kept, a store a teacher.

    Returns:
        (windows, scores, others, skipped): DataFrame ``row_id, soundscape, start_s, end_s``; {teacher: (windows, its labels)};
        {teacher: (windows,)}, both float32; and the skipped table. A file that one teacher cannot read is left out of all.

    Raises:
        TeacherError: if there is no teacher, or their windows differ.
        ScoreError: if a teacher gives scores that are no numbers in [0, 1]; it names teacher, window and label.
    """
    if len({teacher.window_s for teacher in teachers}) != 1:
        raise TeacherError("the teachers must be some, and all have the same window_s")
    heard, skipped = {}, {}
    for teacher in teachers:
        with embedding_store.EmbeddingStore(folder, teacher.key) as store:
            for path in runtime.progress([path for path in paths if path not in skipped], desc=f"{teacher.name} listens"):
                try:
                    heard[path, teacher.name] = _hear(teacher, path, store)
                except audio_io.AudioError as error:
                    skipped[path] = error.reason
    good = [path for path in paths if path not in skipped]
    # where two sampling rates round a duration to either side of a window's end, the last window is left out
    n_windows = {path: min(len(heard[path, teacher.name]) for teacher in teachers) for path in good}
    window_s = teachers[0].window_s
    spans = [(path, i * window_s, (i + 1) * window_s) for path in good for i in range(n_windows[path])]
    rows = [(birdclef.row_id(path, end_s), path.stem, start_s, end_s) for path, start_s, end_s in spans]
    windows = pd.DataFrame(rows, columns=["row_id", "soundscape", "start_s", "end_s"])
    scores, others = {}, {}
    for teacher in teachers:
        nothing = np.zeros((0, len(teacher.labels) + 1), np.float32)
        both = np.concatenate([nothing, *(heard[path, teacher.name][: n_windows[path]] for path in good)])
        scores[teacher.name], others[teacher.name] = both[:, :-1], both[:, -1]
    return windows, scores, others, stages.skipped_table([(path.name, why) for path, why in skipped.items()], "06_pseudolabel")


def _hear(teacher, path, store):
    """(windows, labels + 1) of one soundscape, from the store if it is there."""
    key = runtime.digest([runtime.digest_file(path) if path.is_file() else "", path.stem])  # the name may tell the week
    if (kept := store.get(key)) is None:
        scores, others = teacher.hear(path)
        row_ids = [birdclef.row_id(path, (i + 1) * teacher.window_s) for i in range(len(scores))]
        pseudolabels.require_scores(scores, row_ids, teacher.labels, teacher.name)
        pseudolabels.require_scores(np.reshape(others, (-1, 1)), row_ids, ["(other sounds)"], teacher.name)
        store.put(key, scores, others)
        kept = scores, others
    return np.column_stack(kept).astype(np.float32)


def _patchwise(listen, sample_rate_hz, patch_s, hop_s, window_s):
    """``Teacher.hear`` from a function (blocks, path) that yields the scores of consecutive patches, (patches, columns)."""

    def hear(path):
        n_samples = 0

        def counted():
            nonlocal n_samples
            for block in audio_io.stream(path, sample_rate_hz=sample_rate_hz):
                n_samples += len(block)
                yield block

        scores = np.concatenate(list(listen(counted(), path)))
        windows = birdclef.windows(n_samples / sample_rate_hz, window_s)
        centres_s = np.arange(len(scores)) * hop_s + patch_s / 2
        best = in_windows(scores, centres_s, windows)
        return best[:, :-1], best[:, -1]

    return hear


def in_windows(scores, centres_s, windows):
    """The highest score of the patches of each window, see ``patchwise.patches_of``.

    Args:
        scores: (patches, columns).
        centres_s: (patches,), ascending.
        windows: list of (start_s, end_s).

    Returns:
        (windows, columns) float32.
    """
    best = np.empty((len(windows), scores.shape[1]), np.float32)
    for row, (start_s, end_s) in enumerate(windows):
        first, last = embedder_base.patches_of(centres_s, start_s, end_s)
        best[row] = scores[first:last].max(axis=0)
    return best
