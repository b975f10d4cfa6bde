"""Windows of soundscapes: their table, their patches in the form of stage 03, and those that stage 06 has labelled.

A window is named by its ``row_id``, file stem and end second, so of several files with one stem the first is taken. A windows table has
``row_id, soundscape, start_s, end_s``; a soundscape is embedded once, and its patches are kept in the embedding store.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.models import base as embedder_base
from birdlib.models import pooling
from birdlib.species import file_embedding, pseudolabels, soundscape_annotations
from birdlib.store import write_rows

STAGE = "06_pseudolabel"
COLUMNS = ["row_id", "soundscape", "start_s", "end_s"]
_BATCH = 4096  # patches that are copied at once


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
        annotated: stems, see ``soundscape_annotations.annotated_stems``.
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
                _ensure(path, embedder, store)
            except audio_io.AudioError as error:
                skipped[path.name] = error.reason
    return [path for path in paths if path.name not in skipped], stages.skipped_table(list(skipped.items()), STAGE)


def _ensure(path, embedder, store):
    """Embed a soundscape unless it is in the store; returns its key."""
    key = _key(path)
    if "duration_s" not in store.facts(key):
        facts = {"duration_s": 0.0}

        def counted():
            for block in audio_io.stream(path, sample_rate_hz=embedder.sample_rate_hz, resampler=embedder.resampler):
                facts["duration_s"] += len(block) / embedder.sample_rate_hz
                yield block

        store.put_stream(key, embedder.embed_stream(counted()), facts)
    return key


class StoredEmbedder(file_embedding.FileEmbedder):
    """Whole soundscapes as ``file_embedding.FileEmbedder`` embeds them, but from the store, and put there if they are new; denoised ones are not stored."""

    def __init__(self, embedder, store):
        super().__init__(embedder)
        self._store = store

    def embed(self, path, denoise, end_s=None, again=False):
        """As of ``FileEmbedder``; the embeddings are memory-mapped."""
        if denoise != "none" or end_s is not None or again:
            return super().embed(path, denoise, end_s, again)
        with self._store:
            key = _ensure(path, self.embedder, self._store)
        embeddings, bird_scores = self._store.get(key)
        centres_s = np.arange(len(embeddings)) * self.embedder.hop_s + self.embedder.patch_s / 2
        patches = {"embeddings": embeddings, "weights": pooling.patch_weights(bird_scores), "centres_s": centres_s}
        return {**patches, "duration_s": self._store.facts(key)["duration_s"]}


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
    slices, firsts = _slices(windows, paths, embedder, store)
    n_patches = (slices["last"] - slices["first"]).to_numpy()
    window = np.repeat(np.arange(len(windows)), n_patches)  # of each patch
    within = np.arange(len(window)) - np.repeat(np.cumsum(n_patches) - n_patches, n_patches)
    numbers = slices["first"].to_numpy()[window] + within  # rows of the store
    rows, bird_scores = store.rows(), np.empty(len(numbers), np.float32)

    def embeddings():
        for begin in range(0, len(numbers), _BATCH):
            found = rows[numbers[begin : begin + _BATCH]]
            bird_scores[begin : begin + _BATCH] = found[:, -1]
            yield found[:, :-1]

    write_rows(path, embeddings(), len(numbers), embedder.dim)
    patch = numbers - firsts[window]
    start_s, row_ids = patch * embedder.hop_s, windows["row_id"].to_numpy()[window]
    columns = row_ids, row_ids, patch, start_s, start_s + embedder.patch_s, bird_scores
    return pd.DataFrame(dict(zip(embedder_base.PATCH_COLUMNS, columns, strict=True)))


def _slices(windows, paths, embedder, store):
    """(slices, firsts): the ``recording_id`` of each window and its rows ``first`` to ``last`` - 1 of the store; and the first row of its soundscape."""
    stems = set(windows["soundscape"])
    spans = {birdclef.stem(path): store.span(_key(path)) for path in paths if birdclef.stem(path) in stems}
    bounds, times_s = np.zeros((len(windows), 3), np.int64), windows[["start_s", "end_s"]].to_numpy()
    for stem, numbers in windows.groupby("soundscape", sort=False).indices.items():
        start, end = spans[stem]
        centres_s = np.arange(end - start) * embedder.hop_s + embedder.patch_s / 2
        for number in numbers:
            first, last = embedder_base.patches_of(centres_s, *times_s[number])
            bounds[number] = start + first, start + last, start
    return pd.DataFrame({"recording_id": windows["row_id"].to_numpy(), "first": bounds[:, 0], "last": bounds[:, 1]}), bounds[:, 2]


def features(windows, paths, embedder, store, folder, patch_pooling):
    """The pooled patches of windows, in their order: (windows, features) float32, memory-mapped.

    Args:
        windows, paths, embedder, store: as in ``assemble``.
        folder: where they lie on disk, see ``store.temporary_array``.
        patch_pooling: a layer of ``pooling``.
    """
    slices, _ = _slices(windows, paths, embedder, store)
    rows = store.rows() if len(slices) else np.zeros((0, embedder.dim + 1), np.float32)
    return pooling.pool_rows(rows, slices, patch_pooling, folder)


def held_out_set(root, classes, window_s, embedder, store, folder, patch_pooling):
    """Features and truth of the test soundscapes where it is known, as in the sample.

    Args:
        root: the recordings' root, with ``test_soundscapes/`` and ``truth/``.
        embedder, store, folder, patch_pooling: as in ``features``.

    Returns:
        (features, truth, soundscapes), row-aligned; None where the truth is not known.
    """
    paths, truth_path = birdclef.unique_stems(birdclef.soundscapes(root, "test")), soundscape_annotations.truth_path(root)
    if not paths or not truth_path.is_file():
        return None
    paths, _ = embed(paths, embedder, store)
    windows = cut(paths, window_s)
    pooled = features(windows, paths, embedder, store, folder, patch_pooling)
    return pooled, soundscape_annotations.read_truth(truth_path, windows["row_id"], classes), windows["soundscape"]


def digest(path):
    """sha256 of a soundscape, hex, "" where there is none; computed once for all teachers as long as the file does not change."""
    if not Path(path).is_file():
        return ""
    state = Path(path).stat()
    return _digest(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(2**16)
def _digest(path, size, mtime_ns):
    return runtime.digest_file(path)


def _key(path):
    return runtime.digest(["soundscape", digest(path)])


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
    digests = {path: digest(Path(root) / path) for path in windows.table["audio_path"].unique()}
    paths, names = windows.table["audio_path"], windows.table["row_id"]
    return windows.table[["audio_path", "start_s", "end_s"]].assign(clip_id=names, recording_id=names, digest=paths.map(digests), is_noise=False)
