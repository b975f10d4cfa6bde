"""Training of networks on waveforms or their spectrograms, with a checkpoint after each epoch from which an interrupted training resumes.

A checkpoint has weights, optimizer, averages, the states of dropout's random numbers, the best weights so far and the history. Batches depend on
their number only (``batches``), so a resumed training has the figures of one that was not interrupted. Keep epochs short where recordings
are many: the work since the last checkpoint is lost.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from birdlib import checkpoints, read_ahead, runtime
from birdlib.audio import windowing
from birdlib.metrics import classification
from birdlib.species import mel_models, weight_averaging
from birdlib.species import objective as objectives

CHECKPOINT = "training.npz"


class MelTrainingError(runtime.BirdlibError):
    """A training that cannot be done with these arguments."""


def fit(
    model, batches, validation, *, loss, epochs, patience=5, learning_rate=1e-3, weight_decay=1e-2, objective=objectives.SPECIES,
    averaging="none", folder=None, key="",
):  # fmt: skip
    """Train a mel model; keep the epoch with the best macro ROC-AUC on validation.

    Where no species has both a positive and a negative there, no ROC-AUC is defined, and the lowest validation loss decides.

    Args:
        model: from ``mel_models.build``, or any that accepts ``batches``.
        batches: from ``batches.RandomWindows``; with ``front_end`` they train the body of the model only, which has all its weights.
        validation: (windows, truth): from ``batches.ConsecutiveWindows``, and (recordings, classes) of 0 and 1.
        loss: keras.losses.Loss, e.g. of ``losses.classification.get``, or a name that Keras knows.
        epochs: at most.
        patience: epochs without a better validation.
        learning_rate: the highest; it rises over the first epoch and then falls to a hundredth of it along a cosine ("SGDR: Stochastic
            Gradient Descent with Warm Restarts", 2017, without restarts).
        weight_decay: of AdamW ("Decoupled Weight Decay Regularization", 2019).
        objective: further losses of mel models, on frames and on the embeddings of a teacher, which the batches then need.
        averaging: one of ``weight_averaging.KINDS``; averaged weights are validated and kept.
        folder: where the checkpoint is kept; None keeps none. A checkpoint of the same training is resumed, another is overwritten;
            one of a finished training gives its result at once. Remove it when the model is saved.
        key: JSON-able, of all else that changes the figures: augmentation, pretrained weights.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation_loss, validation_macro_auc, is_kept``.

    Raises:
        MelTrainingError: if validation is empty or unreadable, or the loss is not finite.
        windowing.WindowError: see ``batches.RandomWindows``.
        runtime.FullDiskError: if the checkpoint cannot be written; the one before survives.
    """
    windows, truth = validation
    if not len(truth) or not len(windows):
        raise MelTrainingError("validation has no recordings to choose an epoch on: give it a share in 01_split")
    loss = keras.losses.get(loss)
    trained = objective.network(model if batches.front_end is None else mel_models.body(model))
    batches.outputs = tuple(trained.output) if isinstance(trained.output, dict) else ()
    n_steps = len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate, max(1, (epochs - 1) * n_steps), alpha=0.01, warmup_target=learning_rate, warmup_steps=n_steps
    )
    averaged = weight_averaging.optimizer_options(averaging, epochs * n_steps)
    losses, loss_weights = objective.losses(loss)
    trained.compile(keras.optimizers.AdamW(rate, weight_decay=weight_decay, clipnorm=1.0, **averaged), loss=losses, loss_weights=loss_weights)
    trained.optimizer.build(trained.trainable_variables)
    numbers = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "weight_decay": weight_decay, "averaging": averaging}
    numbers |= dataclasses.asdict(objective)
    shapes = [list(variable.shape) for variable in trained.variables]
    loss_config = [getattr(loss, "__name__", type(loss).__name__), getattr(loss, "get_config", dict)()]
    key = runtime.digest([key, numbers, shapes, loss_config, batches.key])
    best, average = checkpoints.BestEpoch(trained, patience), weight_averaging.WeightAverage(averaging, trained, epochs)
    keeper = _Keeper(model, best, average, batches, _Validation(windows, np.asarray(truth), loss), folder and Path(folder) / CHECKPOINT, key)
    keeper.resume()
    if best.n_epochs < epochs and not (best.n_epochs and best.is_over):
        try:
            trained.fit(read_ahead.on_jax(batches), initial_epoch=best.n_epochs, epochs=epochs, callbacks=[keeper], shuffle=False, verbose=0)
        except Exception as error:
            if batches.failure and batches.failure is not error:  # TensorFlow raises an error of its own
                raise batches.failure from error
            raise
    best.restore()
    table = pd.DataFrame(keeper.history)
    return table.assign(is_kept=table["epoch"] == best.kept)


def predict(model, windows, n_rows):
    """The scores of recordings: the mean over their windows.

    Args:
        model: (batch, samples) → (batch, classes).
        windows: from ``batches.ConsecutiveWindows``; windows that cannot be read (``windows.skipped``) do not count.
        n_rows: recordings.

    Returns:
        (recordings, classes) float32; NaN for a recording of which nothing could be read.

    Raises:
        MelTrainingError: see ``predict_windows``.
    """
    scores, is_read = predict_windows(model, windows)
    return windowing.mean_of_windows(scores[is_read], windows.table[is_read], n_rows)


def predict_windows(model, windows):
    """The scores of windows, as of ``predict``.

    Returns:
        (scores, is_read): (windows, classes) float32, and (windows,) bool: False where the file cannot be read.

    Raises:
        MelTrainingError: if a score is not finite; it names file and second.
    """
    scores = model.predict(windows, verbose=0)
    is_read = ~windows.table["audio_path"].isin(windows.skipped).to_numpy()
    if (is_broken := is_read & ~np.isfinite(scores).all(axis=1)).any():
        first = windows.table[is_broken].iloc[0]
        where = f"{first['audio_path']} from {first['start_s']:g} s"
        raise MelTrainingError(
            f"{is_broken.sum()} windows have scores that are not finite, the first is {where}: lower the learning rate, or use float32"
        )
    return scores, is_read


def fit_detectors(columns, build, batches_of, validation, *, folder=None, key="", **options):
    """Train a detector of one species for each of several, one after the other ("One Detector per Bird", BirdCLEF+ 2025).

    Args:
        columns: of the species, in ``validation``'s truth.
        build: function without arguments, gives a new model of one class.
        batches_of: function of a column, gives its batches; see ``windowing.one_against_rest``.
        validation: as in ``fit``, with the truth of all species.
        folder: of checkpoints, one a species.
        key, options: as in ``fit``.

    Returns:
        (detector, history): one model, see ``mel_models.join_detectors``, its outputs in the order of ``columns``; and the histories
        with a column ``column``.
    """
    windows, truth = validation
    detectors, histories = [], []
    for column in runtime.progress(list(columns), desc="training detectors"):
        detectors.append(build())
        checkpoint_dir = folder and Path(folder) / f"species_{column}"
        own = windows, np.asarray(truth)[:, [column]]
        history = fit(detectors[-1], batches_of(column), own, folder=checkpoint_dir, key=[key, int(column)], **options)
        histories.append(history.assign(column=column))
    return mel_models.join_detectors(detectors), pd.concat(histories, ignore_index=True)


class _Keeper(keras.callbacks.Callback):
    """Validates after each epoch, keeps the best weights, writes the checkpoint and stops in time.

    Keras' own BackupAndRestore forgets the best weights, the history and dropout's random numbers, and so does not give the same figures.
    """

    def __init__(self, whole, best_epoch, average, batches, validation, path, key):
        super().__init__()
        self.whole, self.best_epoch, self.average, self.batches, self.validation = whole, best_epoch, average, batches, validation
        self.path, self.key, self.history = path, key, []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise MelTrainingError(f"the loss of epoch {epoch + 1} is {logs['loss']}: lower the learning rate, or use float32")
        self.average.update(epoch + 1)
        with self.average.applied():
            loss, auc = self.validation.figures(self.whole)
            value = auc if self.validation.has_auc else -loss
            self.model.stop_training = self.best_epoch.update(value, is_valid=not np.isnan(value))
        self.history.append({"epoch": epoch + 1, "loss": float(logs["loss"]), "validation_loss": loss, "validation_macro_auc": auc})
        if self.path:
            state = {"history": self.history, "kept": self.best_epoch.kept, "best_value": self.best_epoch.best, "averaged": self.average.n_averaged}
            checkpoints.write(self.path, self.key, state, self._variables(), [*self.best_epoch.weights, *self.average.arrays])

    def resume(self):
        """Continue from the checkpoint of this training, if there is one."""
        n_best = len(self.best_epoch.weights)
        if found := checkpoints.restore(self.path, self.key, self._variables(), n_best + len(self.average.arrays)):
            state, arrays = found
            self.best_epoch.weights, self.average.arrays = arrays[:n_best], arrays[n_best:]
            self.history, self.best_epoch.n_epochs = state["history"], len(state["history"])
            self.best_epoch.kept, self.best_epoch.best, self.average.n_averaged = state["kept"], state["best_value"], state["averaged"]

    def _variables(self):
        return [*self.best_epoch.model.variables, *self.best_epoch.model.optimizer.variables]


class _Validation:
    """What an epoch is chosen on: windows of recordings with their truth."""

    def __init__(self, windows, truth, loss):
        self.windows, self.truth, self.loss = windows, truth, loss
        self.has_auc = (truth.any(axis=0) & (truth == 0).any(axis=0)).any()

    def figures(self, model):
        """(loss, macro ROC-AUC or NaN) of the recordings that can be read."""
        scores = predict(model, self.windows, len(self.truth))
        is_read = np.isfinite(scores).all(axis=1)
        if not is_read.any():
            raise MelTrainingError(f"no recording of validation can be read: see {next(iter(self.windows.skipped), 'its recordings')}")
        truth, scores = self.truth[is_read], scores[is_read]
        loss = keras.ops.convert_to_numpy(self.loss(np.float32(truth), scores))
        auc = classification.macro_roc_auc(truth, scores) if self.has_auc else np.nan
        return float(np.mean(loss)), float(auc)
