"""Windows of soundscapes: which there are, what people wrote about them, and the patches of each, as those of recordings.

A window is named by its ``row_id``, file stem and end second, so of several files with one stem the first is taken. A windows table has
``row_id, soundscape, start_s, end_s``; a soundscape is embedded once, and its patches are kept in the embedding store.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import clips
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.models import base as embedder_base
from birdlib.models import pooling

_PATCH_NUMBERS = {"patch": np.int64, "start_s": np.float64, "end_s": np.float64, "bird_score": np.float32}
COLUMNS = ["row_id", "soundscape", "start_s", "end_s"]
_LABEL_COLUMNS = ["filename", "start", "end", "primary_label"]  # as BirdCLEF+ 2026 has what people wrote about soundscapes


class WindowError(runtime.BirdlibError):
    """Labels of windows that cannot be read."""


def draw(paths, n, rng):
    """At most ``n`` soundscapes, one a stem, in their old order."""
    paths = birdclef.one_a_stem(paths)
    chosen = rng.choice(len(paths), min(n, len(paths)), replace=False)
    return [paths[index] for index in sorted(chosen)]


def cut(paths, window_s=birdclef.WINDOW_S):
    """The windows of soundscapes, as long as their headers say.

    Returns:
        (windows, skipped): the windows table, and the skipped table.
    """
    rows, skipped = [], []
    for path in paths:
        try:
            spans = birdclef.windows(audio_io.describe(path)["duration_s"], window_s)
        except audio_io.AudioError as error:
            skipped.append((path.name, error.reason))
            continue
        rows += [(birdclef.row_id(path, end_s), path.stem, start_s, end_s) for start_s, end_s in spans]
    return pd.DataFrame(rows, columns=COLUMNS), stages.skipped_table(skipped, "06_pseudolabel")


def embed(paths, listener, store):
    """Embed every soundscape that the store does not hold yet, one after the other, in little memory.

    Returns:
        the skipped table: files that cannot be read.
    """
    skipped = []
    with store:
        for path in runtime.progress(paths, desc="embedding soundscapes"):
            try:
                if (key := _key(path)) not in store:
                    store.put_stream(key, listener.embed_stream(audio_io.stream(path, sample_rate_hz=listener.sample_rate_hz)))
            except audio_io.AudioError as error:
                skipped.append((path.name, error.reason))
    return stages.skipped_table(skipped, "06_pseudolabel")


def assemble(windows, paths, listener, store, path):
    """Write the patches of windows as one array, as ``clips.assemble`` does those of recordings.

    The patches of a window are those whose centres lie in it, or the nearest one.

    Args:
        windows: a windows table; all its soundscapes are in the store.
        paths: of the soundscapes.
        listener, store: as in ``embed``.
        path: of the ``.npy`` file to write, (patches, dim) float32, fit for memory-mapping.

    Returns:
        DataFrame, row-aligned with the array: the columns of stage 03, ``recording_id`` and ``clip_id`` being the window's row_id; ``patch``
        and times count from the beginning of the soundscape.
    """
    keys = {each.stem: _key(each) for each in paths if each.stem in set(windows["soundscape"])}
    pieces = []
    for stem, one in windows.groupby("soundscape", sort=False):
        n_patches = len(store.get(keys[stem])[1])
        centres_s = np.arange(n_patches) * listener.hop_s + listener.patch_s / 2
        pieces += [(row.row_id, stem, *embedder_base.patches_of(centres_s, row.start_s, row.end_s)) for row in one.itertuples()]
    order = pd.Index([piece[0] for piece in pieces]).get_indexer(windows["row_id"])
    pieces, tables, at = [pieces[place] for place in order], [], 0
    with runtime.replacing(path) as temporary:
        shape = (sum(last - first for *_, first, last in pieces), listener.dim)
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        if shape[0]:
            runtime.reserve(temporary)
        for row_id, stem, first, last in pieces:
            embeddings, bird_scores = store.get(keys[stem])
            array[at : at + last - first] = embeddings[first:last]
            at += last - first
            patch = np.arange(first, last)
            start_s = patch * listener.hop_s
            names = {"recording_id": row_id, "clip_id": row_id, "patch": patch}
            times = {"start_s": start_s, "end_s": start_s + listener.patch_s}
            tables.append(pd.DataFrame({**names, **times, "bird_score": np.array(bird_scores[first:last])}))
        array.flush()
        del array
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=clips.PATCH_COLUMNS).astype(_PATCH_NUMBERS)


def features(windows, paths, listener, store, folder, patch_pooling):
    """The pooled patches of windows, in their order: (windows, features) float32.

    Args:
        windows, paths, listener, store: as in ``assemble``.
        folder: for the patches while they are pooled.
        patch_pooling: a layer of ``pooling``.
    """
    path = Path(folder) / ".patches.npy"
    try:
        patches = assemble(windows, paths, listener, store, path)
        weights = pooling.patch_weights(patches["bird_score"].to_numpy())
        return pooling.pool(np.load(path, mmap_mode="r"), weights, pooling.recording_slices(patches), patch_pooling)
    finally:
        path.unlink(missing_ok=True)


def read_labels(path, row_ids, classes, window_s=birdclef.WINDOW_S):
    """What people wrote about windows, in the form of ``train_soundscapes_labels.csv`` of BirdCLEF+ 2026.

    Args:
        path: CSV with ``filename``, ``start`` and ``end`` (seconds, or hh:mm:ss) and ``primary_label``, labels separated by ``;``. A
            longer stretch speaks of every window that lies in it; of a label outside the classes nothing is learnt.

    Returns:
        (rows, classes) float32 of 1 and 0; NaN in rows of which nobody wrote.

    Raises:
        WindowError: if columns are missing, or a time is no time.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [name for name in _LABEL_COLUMNS if name not in table]:
        raise WindowError(f"{path} has no column {', '.join(missing)}: it needs {', '.join(_LABEL_COLUMNS)}")
    rows, columns = pd.Index(row_ids), pd.Index(classes)
    truth = np.full((len(rows), len(columns)), np.nan, np.float32)
    for line, row in enumerate(table.itertuples(), start=2):
        start_s, end_s = (_seconds(text, path, line) for text in (row.start, row.end))
        first, last = int(np.ceil(start_s / window_s - 1e-6)), int(np.floor(end_s / window_s + 1e-6))
        ids = [birdclef.row_id(row.filename, (index + 1) * window_s) for index in range(first, last)]
        here = [place for place in rows.get_indexer(ids) if place >= 0]
        there = [place for place in columns.get_indexer([label.strip() for label in row.primary_label.split(";")]) if place >= 0]
        truth[here] = np.nan_to_num(truth[here])
        truth[np.ix_(here, there)] = 1.0
    return truth


def _seconds(text, path, line):
    try:
        return sum(float(part) * 60**place for place, part in enumerate(reversed(text.strip().split(":"))))
    except ValueError as error:
        raise WindowError(f"{path}, line {line}: {text!r} is no time: give seconds or hh:mm:ss") from error


def _key(path):
    return runtime.digest(["soundscape", runtime.digest_file(path) if Path(path).is_file() else ""])
