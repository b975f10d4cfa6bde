"""Masked-autoencoder pretraining on unlabelled sound: spectrograms on disk, batches, training, and a look at what it guesses."""

import functools

import numpy as np
import pandas as pd

from birdlib import checkpoints, runtime, stages
from birdlib.audio import io as audio_io
from birdlib.models import fbanks, mae_layers

_AT_ONCE = 16  # clips that are turned into spectrograms together
_TAIL = 0.5  # of a clip; a shorter rest of a recording is not listened to, unless it is all there is


def write_spectrograms(paths, path, stage, *, most=None, rng=None):
    """Spectrograms of the clips that lie side by side in recordings of any length, in little memory.

    How many there are is what the headers say. Of a recording that ends before, the clips before its end are kept, and it is told as skipped.

    Args:
        paths: of the recordings.
        path: the ``.npy`` to write: (clips, 512, 128) float16, see ``fbanks``; 131 kB a clip.
        stage: name of the stage, for the skipped table.
        most: clips that are written; where there are more, so many of all of them, by lot. None: no bound.
        rng: of that lot.

    Returns:
        (clips, skipped): DataFrame ``path, start_s``, row-aligned with the file; the skipped table. A clip is 5 s, the last of a
        recording zero-padded.
    """
    fbank, rows = fbanks.build_fbank(), []
    recordings, numbers, skipped = _drawn(list(paths), most, rng)
    with runtime.replacing(path) as temporary, temporary.open("wb") as file:
        _write_header(file, 0)
        for recording, own in zip(runtime.progress(recordings, desc="spectrograms"), numbers, strict=True):
            try:
                for starts_s, waveforms in _clips(recording, own):
                    file.write(fbanks.spectrograms(waveforms, fbank).astype(np.float16).tobytes())
                    rows += [(str(recording), start_s) for start_s in starts_s]
            except audio_io.AudioError as error:
                skipped.append((str(recording), error.reason))
        file.seek(0)
        _write_header(file, len(rows))
    return pd.DataFrame(rows, columns=["path", "start_s"]), stages.skipped_table(skipped, stage)


def fit(pretrainer, spectrograms, *, validation=None, epochs=20, batch_size=32, learning_rate=1e-3, weight_decay=0.05,
        warm_up=0.1, rng, checkpoint=None, key=""):  # fmt: skip
    """Train encoder and decoder; every epoch shows other patches of each clip.

    Which clips and patches a batch has depends on the epoch and the step alone, so that a training that goes on from its checkpoint has
    the figures that it would have had.

    Args:
        pretrainer: from ``mae.build_pretrainer``.
        spectrograms: (clips, frames, mels), may be memory-mapped; normalised as ``fbanks`` does.
        validation: the same, of clips that are not trained on; their patches are masked alike in every epoch.
        epochs, batch_size: as usual; a last batch that is not full is left away.
        learning_rate: the highest, of AdamW with β 0.9 and 0.95; it rises over the share ``warm_up`` of the steps, then falls as a cosine.
        weight_decay: not of biases, norms and the two learnt tokens.
        rng: of order and masks.
        checkpoint: file that is written after each epoch, see ``checkpoints``; None: none. Of this very training, it is gone on from.
        key: JSON-able, of what the spectrograms are of.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation_loss`` (NaN without validation).

    Raises:
        BirdlibError: if there are fewer clips than a batch has.
        runtime.FullDiskError: if the checkpoint cannot be written; the one before survives.
    """
    import keras

    if len(spectrograms) < batch_size:
        raise runtime.BirdlibError(
            f"{len(spectrograms)} clips do not fill a batch of {batch_size}: add recordings, or lower batch_size"
        )
    n_patches = pretrainer.input["order"].shape[1]
    batches = _batches()(spectrograms, n_patches, batch_size, int(rng.integers(2**31)))
    seeds = [batches.seed]
    held_out = None
    if validation is not None and len(validation):
        held_out = _batches()(validation, n_patches, min(batch_size, len(validation)), int(rng.integers(2**31)))
        seeds.append(held_out.seed)
    n_steps = epochs * len(batches)
    n_warm = max(1, round(warm_up * n_steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, n_steps - n_warm), warmup_target=learning_rate, warmup_steps=n_warm
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, beta_1=0.9, beta_2=0.95)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "token"])
    pretrainer.compile(optimizer, loss={"loss": _mean, "patches": None})
    optimizer.build(pretrainer.trainable_variables)
    variables = [*pretrainer.variables, *optimizer.variables]
    numbers = [epochs, batch_size, learning_rate, weight_decay, warm_up, len(spectrograms), *seeds]
    key = runtime.digest([key, numbers, [list(variable.shape) for variable in variables]])
    found = checkpoints.take_up(checkpoint, key, variables)
    rows = found[0]["history"] if found else []

    def keep(epoch, logs):
        rows.append({"epoch": epoch + 1, "loss": float(logs["loss"]), "validation_loss": float(logs.get("val_loss", np.nan))})
        if checkpoint:
            checkpoints.write(checkpoint, key, {"history": rows}, variables)

    turn = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.turn_to(epoch), on_epoch_end=keep)
    options = {"validation_data": held_out, "epochs": epochs, "initial_epoch": len(rows), "shuffle": False, "verbose": 0}  # clips are in no order already
    if len(rows) < epochs:
        pretrainer.fit(batches, callbacks=[turn], **options)
    return pd.DataFrame(rows)


def orders(n_clips, n_patches, rng):
    """An order of the patches for each clip, by lot: (n_clips, n_patches) int32."""
    return rng.permuted(np.tile(np.arange(n_patches, dtype=np.int32), (n_clips, 1)), axis=1)


def fill_in(pretrainer, spectrograms, order):
    """What the pretrainer makes of clips: shown patches as they are, masked ones as guessed.

    Where it was trained on normalised patches it knows neither their mean nor their spread, which are then taken from the truth.

    Args:
        spectrograms: (clips, frames, mels).
        order: from ``orders``.

    Returns:
        (filled, is_masked): (clips, frames, mels) float32, and of the same shape, bool.
    """
    import keras

    spectrograms = np.asarray(spectrograms, np.float32)
    given = {"spectrogram": spectrograms, "order": np.asarray(order, np.int32)}
    guess = keras.ops.convert_to_numpy(pretrainer(given, training=False)["patches"])
    truth_layer = pretrainer.get_layer("true_patches")
    patch, n_shown = truth_layer.patch, pretrainer.get_layer("shown").n_shown
    truth = to_patches(spectrograms, patch)
    if truth_layer.normalise:
        guess = guess * np.sqrt(truth.var(axis=-1, keepdims=True) + mae_layers.EPSILON) + truth.mean(
            axis=-1, keepdims=True
        )
    is_masked = np.argsort(order, axis=1) >= n_shown  # (clips, patches)
    filled = np.where(is_masked[..., None], guess, truth)
    mask = np.broadcast_to(is_masked[..., None], truth.shape)
    return to_spectrograms(filled, spectrograms.shape[1:], patch), to_spectrograms(mask, spectrograms.shape[1:], patch)


def to_patches(spectrograms, patch):
    """(clips, frames, mels) → (clips, patches, patch²), as the layer ``Patches`` does."""
    n, frames, mels = spectrograms.shape
    cut = spectrograms.reshape(n, frames // patch, patch, mels // patch, patch)
    return cut.transpose(0, 1, 3, 2, 4).reshape(n, -1, patch * patch)


def to_spectrograms(patches, shape, patch):
    """The way back from ``to_patches``; ``shape`` is (frames, mels)."""
    frames, mels = shape
    cut = patches.reshape(len(patches), frames // patch, mels // patch, patch, patch)
    return cut.transpose(0, 1, 3, 2, 4).reshape(len(patches), frames, mels)


def _mean(_, costs):
    """What Keras takes for a loss: the costs themselves."""
    return costs


def _drawn(paths, most, rng):
    """(recordings, for each the numbers of its clips that are taken, skipped): who has none, or no header that can be read, is left out."""
    counts, skipped = [], []
    for path in paths:
        try:
            n_clips = audio_io.describe(path)["duration_s"] / fbanks.CLIP_S
            counts.append(max(1, int(n_clips + 1.0 - _TAIL)))
        except audio_io.AudioError as error:
            counts.append(0)
            skipped.append((str(path), error.reason))
    ends = np.cumsum(counts, dtype=int)
    n = int(ends[-1]) if paths else 0
    taken = np.arange(n) if most is None or n <= most else np.sort(rng.choice(n, most, replace=False))
    parts = np.split(taken, np.searchsorted(taken, ends[:-1])) if paths else []
    kept = [(path, part - end + count) for path, part, end, count in zip(paths, parts, ends, counts, strict=True) if len(part)]
    return [path for path, _ in kept], [part for _, part in kept], skipped


def _clips(path, numbers):
    """Yields (starts_s (clips,), waveforms (clips, samples)) of the clips of a recording with these numbers, up to AT_ONCE together.

    Where the recording breaks off, those before come first, then AudioError.
    """
    waiting, starts_s, broken = [], [], None
    for start_s in (numbers * fbanks.CLIP_S).tolist():
        try:
            song = audio_io.read(path, fbanks.SAMPLE_RATE_HZ, start_s, start_s + fbanks.CLIP_S)[0][: fbanks.CLIP_SAMPLES]
        except audio_io.AudioError as error:
            broken = error
            break
        waiting.append(np.pad(song, (0, fbanks.CLIP_SAMPLES - len(song))))
        starts_s.append(start_s)
        if len(waiting) == _AT_ONCE:
            yield starts_s, np.stack(waiting)
            waiting, starts_s = [], []
    if waiting:
        yield starts_s, np.stack(waiting)
    if broken:
        raise broken


def _write_header(file, n):
    """A header of ``.npy``, in which NumPy leaves room for ``n`` to grow."""
    shape = (n, fbanks.N_FRAMES, fbanks.N_MELS)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})


@functools.cache
def _batches():
    """The class of the batches, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class Batches(keras.utils.PyDataset):
        """Clips with an order of their patches; ``turn_to(epoch)`` draws others. Nothing depends on what was drawn before."""

        def __init__(self, spectrograms, n_patches, batch_size, seed):
            super().__init__()
            self.spectrograms, self.n_patches, self.batch_size, self.seed = spectrograms, n_patches, batch_size, seed
            self.turn_to(0)

        def turn_to(self, epoch):
            self.epoch = epoch
            self.clips = np.random.default_rng([self.seed, epoch]).permutation(len(self.spectrograms))

        def __len__(self):
            return len(self.spectrograms) // self.batch_size

        def __getitem__(self, step):
            rows = np.sort(self.clips[step * self.batch_size : (step + 1) * self.batch_size])
            order = orders(len(rows), self.n_patches, np.random.default_rng([self.seed, self.epoch, step]))
            spectrograms = np.asarray(self.spectrograms[rows], np.float32)
            return {"spectrogram": spectrograms, "order": order}, {"loss": np.zeros(len(rows), np.float32)}

    return Batches
