"""Crops: what networks that learn from sound itself are fed with, five seconds at a time, read from the files as they are needed.

A *part* is a stretch of a sound file whose species are known: a clip of stage 02, or a window of a soundscape with pseudo-labels. Crops
are drawn out of parts, each batch by its own number, so that a training that was interrupted goes on with the batches it would have
had. Memory does not grow with the parts, but for their table.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io

PART_COLUMNS = ["recording_id", "audio_path", "start_s", "end_s", "row"]
_TRIES = 10  # files that cannot be read, one after the other, before a training gives up


class CropError(runtime.BirdlibError):
    """Sound that a network cannot be trained on."""


def parts(clips, recordings):
    """The parts that recordings consist of.

    Args:
        clips: of stage 02; white noise that fills up short recordings is left out.
        recordings: rows of the splits of stage 01.

    Returns:
        DataFrame: ``recording_id, audio_path, start_s, end_s, row``; ``row`` counts the rows of ``recordings``.

    Raises:
        CropError: if the recordings have no clips at all.
    """
    row = pd.Series(np.arange(len(recordings)), index=recordings["recording_id"])
    found = clips[clips["recording_id"].isin(row.index) & ~clips["is_noise"]]
    if found.empty:
        raise CropError(
            "none of the recordings has a clip of cleaned audio: run notebooks/02_clean.ipynb, or choose other recordings"
        )
    return found.assign(row=row[found["recording_id"]].to_numpy())[PART_COLUMNS].reset_index(drop=True)


def oversampling(labels, power):
    """How often each recording is drawn, relative to the others: (1 / recordings of its class) ** power.

    Args:
        labels: (n,) int, the primary species.
        power: 0 draws every recording as often, 1 every species; 0.5 lies between.

    Returns:
        (n,) float64, sum 1.
    """
    labels = np.asarray(labels)
    shares = (1.0 / np.bincount(labels)[labels]) ** power
    return shares / shares.sum()


def one_against_rest(truth, column, positive_share=0.5):
    """What a detector of one species learns from: its recordings, and as often any of the others.

    Args:
        truth: (n, classes); above 0 is a positive.
        column: of the species.
        positive_share: of what is drawn.

    Returns:
        (truth, shares): (n, 1) float32, and (n,) how often each recording is drawn, sum 1.

    Raises:
        CropError: if the species is in none of the recordings, or in all.
    """
    own = np.asarray(truth)[:, column : column + 1].astype(np.float32)
    there = own[:, 0] > 0
    if there.all() or not there.any():
        raise CropError(
            f"a detector needs recordings with its species and without: {there.sum()} of {len(there)} have it"
        )
    shares = np.where(there, positive_share / there.sum(), (1.0 - positive_share) / (~there).sum())
    return own, shares


def draw_batches(table, folder, truth, *, rate_hz, window_s, batch_size, n_steps, rng, shares=None, sample_weight=None, augment_batch=None,
                 front_end=None, augment_spectrograms=None, n_workers=1):  # fmt: skip
    """Batches of random crops, for training.

    Args:
        table: from ``parts``.
        folder: of its paths.
        truth: (recordings, classes), of the ``row`` of each part; soft labels may lie between 0 and 1.
        rate_hz, window_s: of a crop. Shorter parts are repeated until they fill one.
        batch_size: crops a batch.
        n_steps: batches an epoch.
        rng: gives the seed of all batches.
        shares: (recordings,) how often each is drawn, see ``oversampling``; None draws them alike. Parts of one recording share by length.
        sample_weight: (recordings,) for the loss, see ``classifiers.class_weights``; None for 1.
        augment_batch: function (waveforms (batch, samples), truth (batch, classes), rng=rng) → the same two, or None; e.g. a
            ``functools.partial`` of ``augment.waveforms``.
        front_end: of a mel model; if given, batches are of spectrograms, for training its ``body``.
        augment_spectrograms: function (spectrograms (batch, frames, bands), truth, rng=rng) → the same two, or None; wants ``front_end``;
            e.g. ``augment.spectrograms``.
        n_workers: threads that read ahead.

    Returns:
        keras.utils.PyDataset of (waveforms or spectrograms, truth (batch, classes), sample_weight (batch,)). Its ``epoch`` and ``seed``
        say which batches come; ``skipped`` tells path → reason of files that could not be read, others being drawn in their place;
        ``failure`` is the error that ended it, which TensorFlow would pass on as one of its own.

    Raises:
        CropError: if nothing can be drawn; when reading, if one file after the other is unreadable.
    """
    shares = np.ones(len(truth)) if shares is None else np.asarray(shares, np.float64)
    row, length_s = table["row"].to_numpy(), (table["end_s"] - table["start_s"]).to_numpy()
    chances = shares[row] * length_s / np.bincount(row, weights=length_s, minlength=len(shares))[row]
    if not chances.sum() > 0:
        raise CropError("there is nothing to draw crops from: every part has the share 0")
    if augment_spectrograms and front_end is None:
        raise CropError("augment_spectrograms wants the front_end of the mel model, which makes them")
    return _classes()["Batches"](
        table, Path(folder), np.asarray(truth, np.float32), np.cumsum(chances) / chances.sum(), sample_weight, rate_hz, window_s,
        batch_size, n_steps, int(rng.integers(2**32)), augment_batch, front_end, augment_spectrograms, n_workers,
    )  # fmt: skip


def windows(table, folder, *, rate_hz, window_s, n_windows, batch_size=32):
    """Windows that follow one another, for validation and prediction: always the same.

    Args:
        table, folder, rate_hz, window_s: as in ``draw_batches``.
        n_windows: of a recording at most; spread over it where it has more. 0 for all.
        batch_size: windows at once.

    Returns:
        keras.utils.PyDataset of waveforms (batch, samples). Its ``table`` has ``audio_path, start_s, end_s, row``, one row a window;
        ``skipped`` as of ``draw_batches``: such windows are silent.
    """
    rows = []
    for part in table.itertuples():
        last = max(part.start_s, part.end_s - window_s)
        n = max(1, int(np.ceil((part.end_s - part.start_s) / window_s - 0.1)))  # a tenth more is no window of its own
        rows += [(part.audio_path, at, part.end_s, part.row) for at in np.linspace(part.start_s, last, n)]
    cut = pd.DataFrame(rows, columns=["audio_path", "start_s", "end_s", "row"])
    if n_windows:
        place, size = cut.groupby("row").cumcount(), cut.groupby("row")["start_s"].transform("size")
        steps = np.minimum(size, n_windows)
        cut = cut[(place * steps) // size != ((place - 1) * steps) // size]
    return _classes()["Windows"](cut.reset_index(drop=True), Path(folder), rate_hz, window_s, batch_size)


def mean_of_windows(scores, cut, n_rows):
    """From windows to recordings: the mean over the windows of each.

    Args:
        scores: (windows, classes).
        cut: ``table`` of ``windows``, or a part of its rows with the scores of these.
        n_rows: recordings.

    Returns:
        (recordings, classes) float32; NaN for a recording without windows.
    """
    sums = np.zeros((n_rows, scores.shape[1]))
    np.add.at(sums, cut["row"].to_numpy(), scores)
    counts = np.bincount(cut["row"], minlength=n_rows)[:, None]
    return np.where(counts, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def read_crop(path, start_s, end_s, rate_hz, window_s):
    """The sound from ``start_s`` on: as long as a window, or to ``end_s`` and then as ``fill`` has it.

    Returns:
        (samples,) float32, always ``window_s`` long.

    Raises:
        audio.AudioError: if the file cannot be read.
    """
    waveform, _ = audio_io.read(path, rate_hz, start_s, min(end_s, start_s + window_s))
    return fill(waveform, round(window_s * rate_hz))


def fill(waveform, n_samples):
    """What a network of windows hears of a sound that is shorter: it again and again, in training as at a soundscape's end.

    Silence of zeros is in no recording, and would halve the mean over time of a bird that sings in all of half a window.

    Returns:
        (n_samples,): the first of a longer one; zeros of one without samples.
    """
    return np.resize(waveform, n_samples)


@functools.cache
def _classes():
    """Keras classes of this module, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class Batches(keras.utils.PyDataset):
        """See ``draw_batches``. A batch depends on seed, epoch and step only, not on those before it."""

        def __init__(self, table, folder, truth, cumulated, sample_weight, rate_hz, window_s, batch_size, n_steps, seed, augment_batch,
                     front_end, augment_spectrograms, n_workers):  # fmt: skip
            super().__init__(workers=n_workers)
            self.table, self.folder, self.truth, self.cumulated = table, folder, truth, cumulated
            self.sample_weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight)
            self.rate_hz, self.window_s, self.batch_size = rate_hz, window_s, batch_size
            self.n_steps, self.seed = n_steps, seed
            self.augment_batch, self.front_end = augment_batch, front_end
            self.augment_spectrograms = augment_spectrograms
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
            drawn = [self._draw(rng) for _ in range(self.batch_size)]
            sounds, rows = np.stack([sound for sound, _ in drawn]), np.array([row for _, row in drawn])
            truth, weight = self.truth[rows], np.float32(self.sample_weight[rows])
            if self.augment_batch:
                sounds, truth = self.augment_batch(sounds, truth, rng=rng)
            if self.front_end is not None:
                sounds = keras.ops.convert_to_numpy(self.front_end(sounds, training=False))
            if self.augment_spectrograms:
                sounds, truth = self.augment_spectrograms(sounds, truth, rng=rng)
            return np.asarray(sounds, np.float32), np.asarray(truth, np.float32), weight

        def _draw(self, rng):
            for _ in range(_TRIES):
                part = self.table.iloc[int(np.searchsorted(self.cumulated, rng.random(), side="right"))]
                start_s = rng.uniform(part["start_s"], max(part["start_s"], part["end_s"] - self.window_s))
                try:
                    path = self.folder / part["audio_path"]
                    sound = read_crop(path, start_s, part["end_s"], self.rate_hz, self.window_s)
                except audio_io.AudioError as error:
                    self.skipped[part["audio_path"]] = error.reason
                    continue
                return sound, part["row"]
            path, reason = next(reversed(self.skipped.items()))
            raise CropError(
                f"{_TRIES} files one after the other cannot be read, the last being {path} ({reason}): run 02_clean again"
            )

        @property
        def key(self):
            """Digest of what is drawn, but for what functions do to it."""
            arrays = [array.tolist() for array in (self.truth, self.cumulated, self.sample_weight)]
            numbers = [self.rate_hz, self.window_s, self.batch_size, self.n_steps, self.seed]
            return runtime.digest([numbers, self.table.to_csv(index=False), *arrays])

    class Windows(keras.utils.PyDataset):
        """See ``windows``."""

        def __init__(self, table, folder, rate_hz, window_s, batch_size):
            super().__init__()
            self.table, self.folder, self.skipped = table, folder, {}
            self.rate_hz, self.window_s, self.batch_size = rate_hz, window_s, batch_size

        def __len__(self):
            return -(-len(self.table) // self.batch_size)

        def __getitem__(self, step):
            rows = self.table.iloc[step * self.batch_size : (step + 1) * self.batch_size]
            return np.stack([self._read(row) for row in rows.itertuples()])

        def _read(self, row):
            try:
                return read_crop(self.folder / row.audio_path, row.start_s, row.end_s, self.rate_hz, self.window_s)
            except audio_io.AudioError as error:
                self.skipped[row.audio_path] = error.reason
                return np.zeros(round(self.window_s * self.rate_hz), np.float32)

    return {"Batches": Batches, "Windows": Windows}
