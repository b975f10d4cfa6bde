"""Windows of sound as Keras data sets: random ones for training, consecutive ones for validation and prediction.

A batch depends on its number only, so a training that was interrupted continues with the batches it would have had.
"""

from pathlib import Path

import keras
import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.audio import windowing

TEACHER = "teacher"  # the output of a network that predicts a teacher's embedding
_MAX_UNREADABLE = 10  # files in a row that cannot be read before a training fails


class RandomWindows(keras.utils.PyDataset):
    """Batches (waveforms or spectrograms, truth (batch, classes), sample_weight (batch,)) of random windows.

    ``epoch`` and ``seed`` choose the batches; ``skipped`` is {path: reason} of files that could not be read and were
    replaced; ``failure`` is the error that ended the data set, which TensorFlow would re-raise as one of its own. Where
    ``outputs`` names those of a network, truth is a dict: the teacher's embeddings for ``TEACHER``, the truth for others.

    Args:
        table: from ``windowing.parts``.
        folder: of its paths.
        truth: (recordings, classes), of the ``row`` of each part; soft labels may lie between 0 and 1.
        rate_hz, window_s: of a window. Shorter parts are repeated until they fill one.
        batch_size: windows per batch.
        n_steps: batches per epoch.
        rng: gives the seed of all batches.
        shares: (recordings,) sampling weights, see ``windowing.oversampling``; None for uniform.
        sample_weight: (recordings,) for the loss, see ``classifiers.class_weights``; None for 1.
        augment_batch: function (waveforms (batch, samples), truth (batch, classes), rng=rng) → the same two, or None;
            e.g. a ``functools.partial`` of ``augment.waveforms``.
        front_end: of a mel model; if given, batches are of spectrograms, for training its ``body``.
        augment_spectrograms: function (spectrograms (batch, frames, bands), truth, rng=rng) → the same two, or None;
            needs ``front_end``; e.g. ``augment.spectrograms``.
        teacher: function (recording_id, start_s, end_s) → embedding (dim,) of a stretch of a part's recording, e.g.
            ``distillation.Teacher.embed``; both functions above then have a further argument ``along``, [embeddings (batch, dim)], which they mix as they mix
            clips, and return the embeddings third.
        relabel: function (truth (classes,), recording_id, start_s, end_s) → truth of a crop; None keeps that of its row.
        n_workers: threads that read ahead.

    Raises:
        WindowError: if nothing can be drawn; when reading, if many files in a row are unreadable.
    """

    def __init__(
        self, table, folder, truth, *, rate_hz, window_s, batch_size, n_steps, rng, shares=None, sample_weight=None,
        augment_batch=None, front_end=None, augment_spectrograms=None, teacher=None, relabel=None, n_workers=1,
    ):  # fmt: skip
        super().__init__(workers=n_workers)
        shares = np.ones(len(truth)) if shares is None else np.asarray(shares, np.float64)
        chances = windowing.part_probabilities(table, shares)
        if augment_spectrograms and front_end is None:
            raise windowing.WindowError("augment_spectrograms needs the front_end of a mel model, which computes them")
        self.table, self.folder, self.truth = table, Path(folder), np.asarray(truth, np.float32)
        self.cumulated = np.cumsum(chances) / chances.sum()
        self.sample_weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight)
        self.rate_hz, self.window_s, self.batch_size = rate_hz, window_s, batch_size
        self.n_steps, self.seed = n_steps, int(rng.integers(2**32))
        self.augment_batch, self.front_end = augment_batch, front_end
        self.augment_spectrograms, self.teacher, self.relabel, self.outputs = augment_spectrograms, teacher, relabel, ()
        self.epoch, self.skipped, self.failure = 0, {}, None

    def __len__(self):
        return self.n_steps

    def __getitem__(self, step):
        try:
            return self._batch(np.random.default_rng([self.seed, self.epoch, step]))
        except runtime.BirdlibError as error:
            self.failure = error
            raise

    def _batch(self, rng):
        drawn = (self._draw(rng) for _ in range(self.batch_size))
        sounds, truth, weight, *along = (np.stack(values) for values in zip(*drawn, strict=True))
        given = {"along": along} if along else {}
        if self.augment_batch:
            sounds, truth, *along = self.augment_batch(sounds, truth, rng=rng, **given)
        if self.front_end is not None:
            sounds = keras.ops.convert_to_numpy(self.front_end(sounds, training=False))
        if self.augment_spectrograms:
            given = {"along": along} if along else {}
            sounds, truth, *along = self.augment_spectrograms(sounds, truth, rng=rng, **given)
        truth = np.asarray(truth, np.float32)
        of_outputs = {name: np.asarray(along[0], np.float32) if name == TEACHER else truth for name in self.outputs}
        return np.asarray(sounds, np.float32), of_outputs or truth, np.float32(weight)

    def _draw(self, rng):
        for _ in range(_MAX_UNREADABLE):
            part = self.table.iloc[int(np.searchsorted(self.cumulated, rng.random(), side="right"))]
            start_s = rng.uniform(part["start_s"], max(part["start_s"], part["end_s"] - self.window_s))
            try:
                path = self.folder / part["audio_path"]
                sound = windowing.read_window(path, start_s, part["end_s"], self.rate_hz, self.window_s)
                return sound, *self._labels(part, start_s)
            except audio_io.AudioError as error:
                self.skipped[part["audio_path"]] = error.reason
        path, reason = next(reversed(self.skipped.items()))
        raise windowing.WindowError(
            f"{_MAX_UNREADABLE} files in a row cannot be read, the last being {path} ({reason}): run 02_clean again"
        )

    def _labels(self, part, start_s):
        """(truth, weight) of a crop, and the teacher's embedding if there is a teacher."""
        truth, weight = self.truth[part["row"]], self.sample_weight[part["row"]]
        stretch = part.get("recording_id"), start_s, min(part["end_s"], start_s + self.window_s)
        truth = self.relabel(truth, *stretch) if self.relabel else truth
        return truth, weight, *([self.teacher(*stretch)] if self.teacher else [])

    @property
    def key(self):
        """Digest of everything that determines the batches, without the functions."""
        arrays = [array.tolist() for array in (self.truth, self.cumulated, self.sample_weight)]
        numbers = [self.rate_hz, self.window_s, self.batch_size, self.n_steps, self.seed]
        return runtime.digest([numbers, self.table.to_csv(index=False), *arrays])


class ConsecutiveWindows(keras.utils.PyDataset):
    """Batches (batch, samples) of the windows of parts in their order, always the same.

    ``table`` is that of ``windowing.consecutive``; windows of files in ``skipped`` (as of ``RandomWindows``) are zeros.

    Args:
        table, folder, rate_hz, window_s, batch_size: as of ``RandomWindows``.
        n_windows: maximum per recording, spread over it; 0 for all.
    """

    def __init__(self, table, folder, *, rate_hz, window_s, n_windows, batch_size=32):
        super().__init__()
        self.table, self.folder, self.skipped = windowing.consecutive(table, window_s, n_windows), Path(folder), {}
        self.rate_hz, self.window_s, self.batch_size = rate_hz, window_s, batch_size

    def __len__(self):
        return -(-len(self.table) // self.batch_size)

    def __getitem__(self, step):
        rows = self.table.iloc[step * self.batch_size : (step + 1) * self.batch_size]
        return np.stack([self._read(row) for row in rows.itertuples()])

    def _read(self, row):
        try:
            path = self.folder / row.audio_path
            return windowing.read_window(path, row.start_s, row.end_s, self.rate_hz, self.window_s)
        except audio_io.AudioError as error:
            self.skipped[row.audio_path] = error.reason
            return np.zeros(round(self.window_s * self.rate_hz), np.float32)
