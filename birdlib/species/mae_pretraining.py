"""Masked-autoencoder pretraining on unlabelled sound: spectrograms on disk, batches, training, and reconstructions of masked patches."""

import keras
import numpy as np
import pandas as pd

from birdlib import checkpoints, devices, read_ahead, runtime, stages
from birdlib.audio import io as audio_io
from birdlib.models import fbanks, mae, mae_layers

ENCODER, RECONSTRUCTIONS = "encoder.keras", "guesses.npy"  # files that ``pretrain`` writes
_N_EXAMPLES = 3  # recordings whose masked spectrograms are reconstructed, for the notebook
_CLIPS_AT_ONCE = 16  # turned into spectrograms together
_MIN_TAIL = 0.5  # of a clip; a shorter rest of a recording is dropped, unless it is the whole recording


def pretrain(paths, example_paths, folder, stage, *, epochs, max_clips, rng):
    """Pretrain a tiny encoder on recordings. After a kill it resumes, or the finished encoder is loaded.

    Args:
        paths: of the recordings.
        example_paths: of recordings that are not trained on. ``RECONSTRUCTIONS`` has the first clip of some of them, (3, recordings,
            frames, mels) float16: truth, NaN where masked, reconstructed.
        folder: gets ``ENCODER``, ``RECONSTRUCTIONS`` and, while it trains, ``spectrograms.npy`` and ``checkpoint/pretraining.npz``.
        stage, max_clips: as in ``write_spectrograms``.
        rng: its later draws do not depend on which files already exist.

    Returns:
        keras.Model, as of ``mae.build_encoder``.
    """
    rng_clips, rng_masks = rng.spawn(2)
    encoder_path, spectrogram_path = folder / ENCODER, folder / "spectrograms.npy"
    if encoder_path.is_file():
        return mae.load(encoder_path)
    if not spectrogram_path.is_file():
        write_spectrograms(paths, spectrogram_path, stage, max_clips=max_clips, rng=rng_clips)
    spectrograms, encoder = np.load(spectrogram_path, mmap_mode="r"), mae.build_encoder("tiny")
    pretrainer, checkpoint = mae.build_pretrainer(encoder, "tiny"), folder / "checkpoint" / "pretraining.npz"
    batch_size = min(32, len(spectrograms))
    fit(pretrainer, spectrograms, epochs=epochs, batch_size=batch_size, rng=rng_masks, checkpoint=checkpoint)
    _save_reconstructions(pretrainer, example_paths[:_N_EXAMPLES], folder / RECONSTRUCTIONS, stage)
    with runtime.replacing(encoder_path) as temporary:
        encoder.save(temporary)
    spectrogram_path.unlink()
    return encoder


def write_spectrograms(paths, path, stage, *, max_clips=None, rng=None):
    """Write the spectrograms of adjacent clips of recordings of any length, in little memory.

    Their number comes from the headers. Of a recording that ends earlier, the clips before its end are kept, and it is reported as skipped.

    Args:
        paths: of the recordings.
        path: the ``.npy`` to write: (clips, 512, 128) float16, see ``fbanks``; 131 kB a clip.
        stage: name of the stage, for the skipped table.
        max_clips: number of clips written; of more, a random sample over all recordings. None: no bound.
        rng: of that sample.

    Returns:
        (clips, skipped): DataFrame ``path, start_s``, row-aligned with the file; the skipped table. A clip is 5 s, the last of a
        recording zero-padded.
    """
    fbank, rows = fbanks.Fbank(), []
    recordings, numbers, skipped = _sample_clips(list(paths), max_clips, rng)
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
    """Train encoder and decoder; every epoch masks other patches of each clip.

    The clips and masks of a batch depend on the epoch and the step alone, so a resumed training has the figures of one that was not interrupted.

    Args:
        pretrainer: from ``mae.build_pretrainer``.
        spectrograms: (clips, frames, mels), may be memory-mapped; normalised as ``fbanks`` does.
        validation: the same, of clips that are not trained on; their patches are masked alike in every epoch.
        epochs, batch_size: as usual; a last batch that is not full is dropped.
        learning_rate: the highest, of AdamW with β 0.9 and 0.95; it rises over the share ``warm_up`` of the steps, then falls as a cosine.
        weight_decay: not of biases, norms and the two trained tokens.
        rng: of order and masks.
        checkpoint: file that is written after each epoch, see ``checkpoints``; None: none. One of the same training is resumed.
        key: JSON-able, identifies the recordings.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation_loss`` (NaN without validation).

    Raises:
        BirdlibError: if there are fewer clips than a batch has.
        runtime.FullDiskError: if the checkpoint cannot be written; the one before survives.
    """
    if len(spectrograms) < batch_size:
        raise runtime.BirdlibError(f"{len(spectrograms)} clips do not fill a batch of {batch_size}: add recordings, or lower batch_size")
    n_patches, trained = pretrainer.input["order"].shape[1], pretrainer
    batches, held_out = _Batches(spectrograms, n_patches, batch_size, int(rng.integers(2**31))), None
    if validation is not None and len(validation):
        held_out = _Batches(validation, n_patches, min(batch_size, len(validation)), int(rng.integers(2**31)))
    sets = [data for data in (batches, held_out) if data]
    seeds = [data.seed for data in sets]
    if devices.fits(sum(data.spectrograms.nbytes for data in sets)):
        trained = _of_rows(pretrainer, sets)
    n_steps = epochs * len(batches)
    n_warm = max(1, round(warm_up * n_steps))
    schedule = keras.optimizers.schedules.CosineDecay(0.0, max(1, n_steps - n_warm), warmup_target=learning_rate, warmup_steps=n_warm)
    compile_pretrainer(trained, schedule, weight_decay)
    variables = [*pretrainer.variables, *trained.optimizer.variables]
    numbers = [epochs, batch_size, learning_rate, weight_decay, warm_up, len(spectrograms), *seeds]
    key = runtime.digest([key, numbers, [list(variable.shape) for variable in variables]])
    found = checkpoints.restore(checkpoint, key, variables)
    rows = found[0]["history"] if found else []

    def save_epoch(epoch, logs):
        rows.append({"epoch": epoch + 1, "loss": float(logs["loss"]), "validation_loss": float(logs.get("val_loss", np.nan))})
        if checkpoint:
            checkpoints.write(checkpoint, key, {"history": rows}, variables)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch), on_epoch_end=save_epoch)
    if len(rows) < epochs:
        options = {"epochs": epochs, "initial_epoch": len(rows), "shuffle": False, "verbose": 0}  # the batches are shuffled already
        trained.fit(read_ahead.on_jax(batches), validation_data=held_out, callbacks=[callback], **options)
    return pd.DataFrame(rows)


def compile_pretrainer(pretrainer, learning_rate, weight_decay=0.05):
    """Compile a pretrainer with AdamW, as of ``fit``, and build the optimizer; ``learning_rate`` is a number or a schedule of Keras."""
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, beta_1=0.9, beta_2=0.95)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "token"])
    pretrainer.compile(optimizer, loss={"loss": _given_loss, "patches": None})
    optimizer.build(pretrainer.trainable_variables)


def orders(n_clips, n_patches, rng):
    """A random order of the patches for each clip: (n_clips, n_patches) int32."""
    return rng.permuted(np.tile(np.arange(n_patches, dtype=np.int32), (n_clips, 1)), axis=1)


def fill_in(pretrainer, spectrograms, order):
    """Reconstruct clips: visible patches as they are, masked ones as predicted.

    A pretrainer of normalised patches predicts neither their mean nor their spread; both are then taken from the truth.

    Args:
        spectrograms: (clips, frames, mels).
        order: from ``orders``.

    Returns:
        (filled, is_masked): (clips, frames, mels) float32, and of the same shape, bool.
    """
    spectrograms = np.asarray(spectrograms, np.float32)
    inputs = {"spectrogram": spectrograms, "order": np.asarray(order, np.int32)}
    predicted = keras.ops.convert_to_numpy(pretrainer(inputs, training=False)["patches"])
    truth_layer = pretrainer.get_layer("true_patches")
    patch, n_shown = truth_layer.patch, pretrainer.get_layer("shown").n_shown
    truth = keras.ops.convert_to_numpy(mae_layers.Patches(patch, dtype="float32")(spectrograms))  # (clips, patches, patch²)
    if truth_layer.normalise:
        std = np.sqrt(truth.var(axis=-1, keepdims=True) + mae_layers.EPSILON)
        predicted = predicted * std + truth.mean(axis=-1, keepdims=True)
    is_masked = np.argsort(order, axis=1) >= n_shown  # (clips, patches)
    filled = np.where(is_masked[..., None], predicted, truth)
    mask = np.broadcast_to(is_masked[..., None], truth.shape)
    return to_spectrograms(filled, spectrograms.shape[1:], patch), to_spectrograms(mask, spectrograms.shape[1:], patch)


def to_spectrograms(patches, shape, patch):
    """The inverse of ``mae_layers.Patches``; ``shape`` is (frames, mels)."""
    frames, mels = shape
    cut = patches.reshape(len(patches), frames // patch, mels // patch, patch, patch)
    return cut.transpose(0, 1, 3, 2, 4).reshape(len(patches), frames, mels)


def _of_rows(pretrainer, sets):
    """The pretrainer on numbers of rows of spectrograms that stay on the device: the batches of ``sets`` are of rows from now on."""
    first = 0
    for data in sets:
        data.first_row, first = first, first + len(data.spectrograms)
    row, order = keras.Input((), dtype="int32", name="row"), keras.Input(pretrainer.input["order"].shape[1:], dtype="int32", name="order")
    spectrogram = mae_layers.Resident(np.concatenate([data.spectrograms for data in sets]), name="resident")(row)
    return keras.Model({"row": row, "order": order}, pretrainer({"spectrogram": spectrogram, "order": order}))


def _given_loss(_, losses):
    """The pretrainer computes its loss itself."""
    return losses


def _save_reconstructions(pretrainer, paths, target, stage):
    clips, _ = write_spectrograms(paths, target, stage)
    if not len(clips):
        target.unlink()
        return
    truth = np.load(target)[~clips["path"].duplicated().to_numpy()].astype(np.float32)
    order = orders(len(truth), pretrainer.input["order"].shape[1], np.random.default_rng(0))
    filled, is_masked = fill_in(pretrainer, truth, order)
    with runtime.replacing(target) as temporary, open(temporary, "wb") as file:
        np.save(file, np.stack([truth, np.where(is_masked, np.nan, truth), filled]).astype(np.float16))


def _sample_clips(paths, max_clips, rng):
    """(recordings, the numbers of the clips taken from each, skipped), without recordings that have none or an unreadable header."""
    counts, skipped = [], []
    for path in paths:
        try:
            n_clips = audio_io.duration(path) / fbanks.CLIP_S
            counts.append(max(1, int(n_clips + 1.0 - _MIN_TAIL)))
        except audio_io.AudioError as error:
            counts.append(0)
            skipped.append((str(path), error.reason))
    ends = np.cumsum(counts, dtype=int)
    n = int(ends[-1]) if paths else 0
    taken = np.arange(n) if max_clips is None or n <= max_clips else np.sort(rng.choice(n, max_clips, replace=False))
    parts = np.split(taken, np.searchsorted(taken, ends[:-1])) if paths else []
    kept = [(path, part - end + count) for path, part, end, count in zip(paths, parts, ends, counts, strict=True) if len(part)]
    return [path for path, _ in kept], [part for _, part in kept], skipped


def _clips(path, numbers):
    """Yields (starts_s (clips,), waveforms (clips, samples)) of the clips of a recording with these numbers, in batches.

    Where the recording breaks off, the clips before are yielded first, then AudioError is raised.
    """
    for first in range(0, len(numbers), _CLIPS_AT_ONCE):
        starts_s, waveforms = (numbers[first : first + _CLIPS_AT_ONCE] * fbanks.CLIP_S).tolist(), []
        try:
            for start_s in starts_s:
                waveform = audio_io.read(path, fbanks.SAMPLE_RATE_HZ, start_s, start_s + fbanks.CLIP_S)[0][: fbanks.CLIP_SAMPLES]
                waveforms.append(np.pad(waveform, (0, fbanks.CLIP_SAMPLES - len(waveform))))
        except audio_io.AudioError:
            if waveforms:
                yield starts_s[: len(waveforms)], np.stack(waveforms)
            raise
        yield starts_s, np.stack(waveforms)


def _write_header(file, n):
    """Write the header of a ``.npy``, in which NumPy leaves room for ``n`` to grow."""
    shape = (n, fbanks.N_FRAMES, fbanks.N_MELS)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})


class _Batches(keras.utils.PyDataset):
    """Clips with an order of their patches, which depend on seed, epoch and step only; with a ``first_row`` the numbers of the clips, from that one."""

    def __init__(self, spectrograms, n_patches, batch_size, seed):
        super().__init__()
        self.spectrograms, self.n_patches, self.batch_size, self.seed, self.first_row = spectrograms, n_patches, batch_size, seed, None
        self.set_epoch(0)

    def set_epoch(self, epoch):
        self.epoch = epoch
        self.clips = np.random.default_rng([self.seed, epoch]).permutation(len(self.spectrograms))

    def __len__(self):
        return len(self.spectrograms) // self.batch_size

    def __getitem__(self, step):
        rows = np.sort(self.clips[step * self.batch_size : (step + 1) * self.batch_size])
        order = orders(len(rows), self.n_patches, np.random.default_rng([self.seed, self.epoch, step]))
        targets = {"loss": np.zeros(len(rows), np.float32)}
        if self.first_row is not None:
            return {"row": (self.first_row + rows).astype(np.int32), "order": order}, targets
        return {"spectrogram": np.asarray(self.spectrograms[rows], np.float32), "order": order}, targets
