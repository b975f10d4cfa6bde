"""Scores of teachers: each scores each soundscape once. Scores are kept on disk, so that memory does not grow with the number of soundscapes."""

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib import store as embedding_store
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.species import pseudolabels, soundscape_windows
from birdlib.species.teachers import TeacherError


def predict_all(paths, teachers, folder):
    """Every teacher's scores of every soundscape. Scores are kept in the folder, so an interrupted run continues.

    Args:
        paths: of soundscapes, one a stem, since windows are named by it.
        teachers: list of Teacher.
        folder: for the scores, a store a teacher.

    Returns:
        (windows, scores, other_scores, skipped): DataFrame ``row_id, soundscape, start_s, end_s``; {teacher: (windows, its labels)};
        {teacher: (windows,)}, both float32 and memory-mapped; and the skipped table. A file that one teacher cannot read is left out for all.

    Raises:
        TeacherError: if there is no teacher, or their windows differ.
        ScoreError: if scores are not in [0, 1]; it names teacher, window and label.
    """
    if len({teacher.window_s for teacher in teachers}) != 1:
        raise TeacherError("there must be teachers, all of the same window_s")
    n_windows, skipped = dict.fromkeys(paths, np.inf), {}
    for teacher in teachers:
        with embedding_store.EmbeddingStore(folder, teacher.key) as store:
            for path in runtime.progress([path for path in paths if path not in skipped], desc=f"scores of {teacher.name}"):
                try:
                    # where two sampling rates round a duration to either side of a window's end, the last window is dropped
                    n_windows[path] = min(n_windows[path], _predict(teacher, path, store))
                except audio_io.AudioError as error:
                    skipped[path] = error.reason
    readable = [path for path in paths if path not in skipped]
    window_s = teachers[0].window_s
    spans = [(path, i * window_s, (i + 1) * window_s) for path in readable for i in range(n_windows[path])]
    rows = [(birdclef.row_id(path, end_s), birdclef.stem(path), start_s, end_s) for path, start_s, end_s in spans]
    windows = pd.DataFrame(rows, columns=["row_id", "soundscape", "start_s", "end_s"])
    scores, other_scores = {}, {}
    for teacher in teachers:
        both = _together(teacher, {path: n_windows[path] for path in readable}, folder)
        scores[teacher.name], other_scores[teacher.name] = both[:, :-1], both[:, -1]
    return windows, scores, other_scores, stages.skipped_table([(path.name, reason) for path, reason in skipped.items()], soundscape_windows.STAGE)


def _key(path):
    return runtime.digest([soundscape_windows.digest(path), birdclef.stem(path)])  # the name may contain the date


def _predict(teacher, path, store):
    """Store the scores of one soundscape, (windows, labels) and (windows,), unless they are there; returns the number of windows."""
    key = _key(path)
    if key not in store:
        scores, others = teacher.predict(path)
        row_ids = [birdclef.row_id(path, (i + 1) * teacher.window_s) for i in range(len(scores))]
        pseudolabels.require_scores(scores, row_ids, teacher.labels, teacher.name)
        pseudolabels.require_scores(np.reshape(others, (-1, 1)), row_ids, ["(other sounds)"], teacher.name)
        store.put(key, scores, others)
    first, last = store.span(key)
    return last - first


def _together(teacher, n_windows, folder):
    """The scores of some windows of each soundscape, {path: windows}, as one array, (windows, labels + 1) float32, memory-mapped."""
    array = embedding_store.temporary_array(folder, (sum(n_windows.values()), len(teacher.labels) + 1))
    store, end = embedding_store.EmbeddingStore(folder, teacher.key), 0
    rows = store.rows()
    for path, n in n_windows.items():
        first, _ = store.span(_key(path))
        array[end : end + n] = rows[first : first + n]
        end += n
    return array
