"""Windows of soundscapes: their table, their patches in the form of stage 03, and their labels by annotators and by stage 06.

A window is named by its ``row_id``, file stem and end second, so of several files with one stem the first is taken. A windows table has
``row_id, soundscape, start_s, end_s``; a soundscape is embedded once, and its patches are kept in the embedding store.
"""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, csv_tables, species_labels
from birdlib.models import base as embedder_base
from birdlib.models import pooling
from birdlib.species import pseudolabels

STAGE = "06_pseudolabel"
COLUMNS = ["row_id", "soundscape", "start_s", "end_s"]
_PATCH_NUMBERS = {"patch": np.int64, "start_s": np.float64, "end_s": np.float64, "bird_score": np.float32}
ANNOTATIONS = "train_soundscapes_labels.csv"  # of BirdCLEF+ 2026
_TRUTH = ("truth", "soundscape_labels.csv")  # of composed and synthetic soundscapes
_ANNOTATION_COLUMNS = ["filename", "start", "end", "primary_label"]  # of train_soundscapes_labels.csv in BirdCLEF+ 2026


class WindowError(runtime.BirdlibError):
    """Annotations of soundscapes that cannot be read."""


@dataclasses.dataclass(frozen=True)
class LabelledWindows:
    """Windows with labels of stage 06, row-aligned.

    ``table``: ``row_id, soundscape, audio_path`` (relative to the recordings' root), ``start_s, end_s``. ``targets``: (windows, classes) in
    [0, 1]. ``confidences``: (windows,) in [0, 1], the highest of the window's labels. ``embeddings`` and ``patches``: as of stage 03, by its
    embedder, with ``recording_id`` = ``row_id``.
    """

    table: pd.DataFrame
    targets: np.ndarray
    confidences: np.ndarray
    embeddings: np.ndarray
    patches: pd.DataFrame

    def __len__(self):
        return len(self.table)


# Windows and their patches


def available(root):
    """The training soundscapes below the recordings' root, without those that have the name of a test soundscape: test windows train nothing."""
    test = {birdclef.stem(path) for path in birdclef.soundscapes(root, "test")}
    return [path for path in birdclef.soundscapes(root, "train") if birdclef.stem(path) not in test]


def sample(paths, n, rng, annotated=()):
    """The annotated soundscapes and random other ones, at most ``n`` in all unless more are annotated; one a stem, in their old order.

    Args:
        annotated: stems, see ``annotated_stems``.
    """
    paths = birdclef.unique_stems(paths)
    first = [index for index, path in enumerate(paths) if birdclef.stem(path) in annotated]
    others = np.setdiff1d(np.arange(len(paths)), first)
    chosen = others[rng.choice(len(others), min(max(0, n - len(first)), len(others)), replace=False)]
    return [paths[index] for index in sorted([*first, *chosen])]


def cut(paths, window_s=birdclef.WINDOW_S):
    """The windows table of soundscapes, by the durations in their headers; unreadable files have none."""
    rows = []
    for path in paths:
        try:
            spans = birdclef.windows(audio_io.duration(path), window_s)
        except audio_io.AudioError:
            continue
        rows += [(birdclef.row_id(path, end_s), birdclef.stem(path), start_s, end_s) for start_s, end_s in spans]
    return pd.DataFrame(rows, columns=COLUMNS)


def embed(paths, embedder, store):
    """Embed every soundscape that is not in the store yet, one after the other, in little memory.

    Returns:
        (readable, skipped): the paths that can be read, and the skipped table of the others.
    """
    skipped = {}
    with store:
        for path in runtime.progress(paths, desc="embedding soundscapes"):
            try:
                if (key := _key(path)) not in store:
                    store.put_stream(key, embedder.embed_stream(audio_io.stream(path, sample_rate_hz=embedder.sample_rate_hz, resampler=embedder.resampler)))
            except audio_io.AudioError as error:
                skipped[path.name] = error.reason
    return [path for path in paths if path.name not in skipped], stages.skipped_table(list(skipped.items()), STAGE)


def assemble(windows, paths, embedder, store, path):
    """Write the patches of windows as one array, as ``clips.assemble`` does those of recordings.

    The patches of a window are those whose centres lie in it, or the nearest one.

    Args:
        windows: a windows table; all its soundscapes are in the store.
        paths: of the soundscapes.
        embedder, store: as in ``embed``.
        path: of the ``.npy`` file to write, (patches, dim) float32, fit for memory-mapping.

    Returns:
        DataFrame, row-aligned with the array: the columns of stage 03, ``recording_id`` and ``clip_id`` being the window's row_id; ``patch``
        and times count from the beginning of the soundscape.
    """
    stems = set(windows["soundscape"])
    keys = {birdclef.stem(path): _key(path) for path in paths if birdclef.stem(path) in stems}
    n_patches = {stem: len(store.get(keys[stem])[1]) for stem in windows["soundscape"].unique()}
    pieces, tables, end = [], [], 0
    for row in windows.itertuples():
        centres_s = np.arange(n_patches[row.soundscape]) * embedder.hop_s + embedder.patch_s / 2
        pieces.append((row.row_id, row.soundscape, *embedder_base.patches_of(centres_s, row.start_s, row.end_s)))
    with runtime.replacing(path) as temporary:
        shape = (sum(last - first for *_, first, last in pieces), embedder.dim)
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        if shape[0]:
            runtime.reserve(temporary)
        for row_id, stem, first, last in pieces:
            embeddings, bird_scores = store.get(keys[stem])
            array[end : end + last - first] = embeddings[first:last]
            end += last - first
            patch = np.arange(first, last)
            start_s = patch * embedder.hop_s
            names = {"recording_id": row_id, "clip_id": row_id, "patch": patch}
            times = {"start_s": start_s, "end_s": start_s + embedder.patch_s}
            tables.append(pd.DataFrame({**names, **times, "bird_score": np.array(bird_scores[first:last])}))
        array.flush()
        del array
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=embedder_base.PATCH_COLUMNS).astype(_PATCH_NUMBERS)


def features(windows, paths, embedder, store, folder, patch_pooling):
    """The pooled patches of windows, in their order: (windows, features) float32.

    Args:
        windows, paths, embedder, store: as in ``assemble``.
        folder: for the patches while they are pooled.
        patch_pooling: a layer of ``pooling``.
    """
    path = Path(folder) / ".patches.npy"
    try:
        patches = assemble(windows, paths, embedder, store, path)
        weights = pooling.patch_weights(patches["bird_score"].to_numpy())
        return pooling.pool(np.load(path, mmap_mode="r"), weights, pooling.recording_slices(patches), patch_pooling)
    finally:
        path.unlink(missing_ok=True)


def _key(path):
    return runtime.digest(["soundscape", runtime.digest_file(path) if Path(path).is_file() else ""])


# Truth and annotations


def read_truth(path, row_ids, classes):
    """The truth of synthetic soundscapes.

    Args:
        path: CSV with ``row_id`` and ``birds``, labels separated by ``;``.

    Returns:
        (rows, classes) of 0 and 1; labels outside the classes are dropped, and windows without a row are empty.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    birds = {row.row_id: set(row.birds.split(";")) for row in table.itertuples()}
    truth = [[label in birds.get(row_id, ()) for label in classes] for row_id in row_ids]
    return np.array(truth, dtype=np.float32).reshape(len(row_ids), len(classes))


def train_truth(root, row_ids, classes):
    """The truth of the unlabelled soundscapes, as of ``read_truth``, where it is known; None where it is not."""
    path = Path(root, *_TRUTH)
    if not path.is_file() or not pd.read_csv(path, dtype=str)["row_id"].isin(row_ids).any():
        return None
    return read_truth(path, row_ids, classes)


def held_out_set(root, classes, window_s, embedder, store, folder, patch_pooling):
    """Features and truth of the test soundscapes where it is known, as in the sample.

    Args:
        root: the recordings' root, with ``test_soundscapes/`` and ``truth/``.
        embedder, store, folder, patch_pooling: as in ``features``.

    Returns:
        (features, truth, soundscapes), row-aligned; None where the truth is not known.
    """
    paths, truth_path = birdclef.unique_stems(birdclef.soundscapes(root, "test")), Path(root, *_TRUTH)
    if not paths or not truth_path.is_file():
        return None
    paths, _ = embed(paths, embedder, store)
    windows = cut(paths, window_s)
    pooled = features(windows, paths, embedder, store, folder, patch_pooling)
    return pooled, read_truth(truth_path, windows["row_id"], classes), windows["soundscape"]


def human_labels(path, row_ids, classes, window_s=birdclef.WINDOW_S):
    """The labels of annotators as a table of ``pseudolabels.COLUMNS``, empty where the file is missing; see ``read_annotations``."""
    if not Path(path).is_file():
        return pseudolabels.merge([])
    return pseudolabels.from_annotations(read_annotations(path, row_ids, classes, window_s), row_ids, classes)


def annotations_path(root, name):
    """The path of the annotations ``name`` in the data's folder ``root``.

    Raises:
        WindowError: if there is no such file; the one of BirdCLEF's name may be missing, and so may one without a name.
    """
    path = Path(root) / (name or "-")
    if name not in ("", ANNOTATIONS) and not path.is_file():
        raise WindowError(f"human_labels is {name!r}, and there is no {path}: give the name of a table in that folder, or nothing")
    return path


def annotated_stems(path):
    """The names of the soundscapes that a table of annotations names, a set; empty where the file is missing."""
    return {birdclef.stem(name) for name in _annotations(path)["filename"]} if Path(path).is_file() else set()


def read_annotations(path, row_ids, classes, window_s=birdclef.WINDOW_S):
    """Annotations of windows in the form of ``train_soundscapes_labels.csv`` of BirdCLEF+ 2026.

    Args:
        path: CSV with ``filename``, ``start`` and ``end`` (seconds, or hh:mm:ss) and ``primary_label``, labels separated by ``;``. A
            longer interval applies to every window that lies in it, rows for the same window are joined, and labels outside the classes are dropped
            with a warning.

    Returns:
        (rows, classes) float32 of 1 and 0; NaN in windows without annotation.

    Raises:
        WindowError: if columns are missing, or a time cannot be parsed.
    """
    table = _annotations(path)
    rows, columns = pd.Index(row_ids), pd.Index(classes)
    truth, unknown = np.full((len(rows), len(columns)), np.nan, np.float32), set()
    for row in table.itertuples():
        start_s, end_s = (_seconds(text, path, row.Index + 2) for text in (row.start, row.end))
        first, last = int(np.ceil(start_s / window_s - 1e-6)), int(np.floor(end_s / window_s + 1e-6))
        ids = [birdclef.row_id(row.filename, (index + 1) * window_s) for index in range(first, last)]
        windows = [index for index in rows.get_indexer(ids) if index >= 0]
        labels = species_labels.split(row.primary_label, classes)
        unknown |= set(labels) - set(classes)
        present = [index for index in columns.get_indexer(labels) if index >= 0]
        truth[windows] = np.nan_to_num(truth[windows])
        truth[np.ix_(windows, present)] = 1.0
    if unknown:
        listed = ", ".join(sorted(unknown)[:10]) + f" and {len(unknown) - 10} more" * (len(unknown) > 10)
        warnings.warn(f"{path}: {len(unknown)} labels are no species of the recordings and are dropped: {listed}", stacklevel=2)
    return truth


def _annotations(path):
    try:
        table = csv_tables.read(path, _ANNOTATION_COLUMNS)
    except csv_tables.TableError as error:
        raise WindowError(str(error)) from error
    if missing := [name for name in _ANNOTATION_COLUMNS if name not in table]:
        raise WindowError(f"{path} has no column {', '.join(missing)}: it needs {', '.join(_ANNOTATION_COLUMNS)}")
    return table


def _seconds(text, path, line):
    seconds = csv_tables.seconds(text)
    if np.isnan(seconds):
        raise WindowError(f"{path}, line {line}: {text!r} is no time: give seconds or hh:mm:ss")
    return seconds


# Windows labelled by stage 06


def labelled(windows, labels, paths, root):
    """The windows with labels, with ``audio_path`` relative to ``root``."""
    table = windows[windows["row_id"].isin(labels["row_id"])].reset_index(drop=True)
    table.insert(2, "audio_path", table["soundscape"].map({birdclef.stem(path): path.relative_to(root).as_posix() for path in paths}))
    return table


def read(outputs_dir, classes):
    """The LabelledWindows of stage 06, or None where it is not finished, not of these recordings, or labelled nothing."""
    if not stages.can_be_read(outputs_dir, STAGE):
        return None
    folder = Path(outputs_dir) / STAGE
    table, labels, patches = (pd.read_parquet(folder / f"{name}.parquet") for name in ("windows", "labels", "patches"))
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    targets, confidences, is_labelled = pseudolabels.as_arrays(labels, table["row_id"], classes)
    rows = is_labelled & table["row_id"].isin(patches["recording_id"]).to_numpy()
    if not rows.any():
        return None
    return LabelledWindows(table[rows].reset_index(drop=True), targets[rows], confidences[rows], embeddings, patches)


def as_clips(windows, root):
    """LabelledWindows as clips for ``clips.embed_clips``, to be embedded by other embedders: paths relative to ``root``."""
    digests = {path: runtime.digest_file(Path(root) / path) for path in windows.table["audio_path"].unique()}
    digest, names = windows.table["audio_path"].map(digests), windows.table["row_id"]
    return windows.table[["audio_path", "start_s", "end_s"]].assign(clip_id=names, recording_id=names, digest=digest, is_noise=False)
