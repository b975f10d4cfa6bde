"""Training of networks that learn from sound itself: checkpoints after each epoch, from which an interrupted training goes on.

A checkpoint is one file, replaced as a whole: weights, optimizer, the states of dropout's random numbers, the best weights so far and
the history. With batches that depend on their number only (``crops``), a training that was cut off and one that was not have the same
figures. Epochs should be short where recordings are many: what was done since the last checkpoint is lost.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import checkpoints, runtime
from birdlib.audio import windowing
from birdlib.metrics import classification
from birdlib.species import mel_models

CHECKPOINT = "training.npz"
_TOLD = ("history", "kept", "best_value", "has_stopped")  # beside weights, of a training


class MelTrainingError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def fit(
    model, batches, validation, *, loss, epochs, patience=5, learning_rate=1e-3, weight_decay=1e-2, folder=None, key=""
):
    """Train a mel model; keep the epoch with the best macro ROC-AUC on validation.

    Where no species has both a positive and a negative there, no ROC-AUC is defined, and the least validation loss decides.

    Args:
        model: from ``mel_models.build``, or any that takes what ``batches`` give.
        batches: from ``crops.draw_batches``; with ``front_end`` they train the body of the model only, which is all there is to train.
        validation: (windows, truth): from ``crops.windows``, and (recordings, classes) of 0 and 1.
        loss: keras.losses.Loss, e.g. of ``label_losses.get``, or a name that Keras knows.
        epochs: at most.
        patience: epochs without a better validation.
        learning_rate: the highest; it rises over the first epoch and then falls to a hundredth of it along a cosine ("SGDR: Stochastic
            Gradient Descent with Warm Restarts", 2017, without restarts).
        weight_decay: of AdamW ("Decoupled Weight Decay Regularization", 2019).
        folder: where the checkpoint is kept; None keeps none. A checkpoint of this very training is gone on from, another is overwritten;
            one of a training that had ended gives its result at once. Remove it when its model is saved.
        key: JSON-able, of all else that changes the figures: what augmentation does, the pretrained weights.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation_loss, validation_macro_auc, is_kept``.

    Raises:
        MelTrainingError: if validation is empty or cannot be read, or the loss is not a number any more.
        crops.CropError: see ``crops.draw_batches``.
        runtime.FullDiskError: if the checkpoint cannot be written; the one before survives.
    """
    import keras

    windows, truth = validation
    if not len(truth) or not len(windows):
        raise MelTrainingError("validation has no recordings to choose an epoch on: give it a share in 01_split")
    loss = keras.losses.get(loss)
    trained = model if batches.front_end is None else mel_models.body(model)
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate,
        max(1, (epochs - 1) * len(batches)),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=len(batches),
    )
    trained.compile(keras.optimizers.AdamW(rate, weight_decay=weight_decay, clipnorm=1.0), loss=loss)
    trained.optimizer.build(trained.trainable_variables)
    numbers = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "weight_decay": weight_decay}
    shapes = [list(variable.shape) for variable in trained.variables]
    named = [getattr(loss, "__name__", type(loss).__name__), getattr(loss, "get_config", dict)()]
    key = runtime.digest([key, numbers, shapes, named, batches.key])
    keeper = _keeper()(
        model, trained, batches, windows, np.asarray(truth), loss, patience, folder and Path(folder) / CHECKPOINT, key
    )
    keeper.restore()
    done = len(keeper.history)
    if done < epochs and not keeper.has_stopped:
        try:
            trained.fit(batches, initial_epoch=done, epochs=epochs, callbacks=[keeper], shuffle=False, verbose=0)
        except Exception as error:
            if batches.failure and batches.failure is not error:
                raise batches.failure from error
            raise
    trained.set_weights(keeper.best)
    table = pd.DataFrame(keeper.history)
    return table.assign(is_kept=table["epoch"] == keeper.kept)


def predict(model, windows, n_rows):
    """The scores of recordings: the mean over their windows, each of which is heard alone.

    Args:
        model: (batch, samples) → (batch, classes).
        windows: from ``crops.windows``; windows that cannot be read (``windows.skipped``) do not count.
        n_rows: recordings.

    Returns:
        (recordings, classes) float32; NaN for a recording of which nothing could be read.

    Raises:
        MelTrainingError: if the model gives a score that is no number; it names file and second.
    """
    scores = model.predict(windows, verbose=0)
    heard = ~windows.table["audio_path"].isin(windows.skipped).to_numpy()
    if (broken := heard & ~np.isfinite(scores).all(axis=1)).any():
        first = windows.table[broken].iloc[0]
        where = f"{first['audio_path']} from {first['start_s']:g} s"
        raise MelTrainingError(f"{broken.sum()} windows have scores that are no numbers, the first is {where}: lower the learning rate, or use float32")
    return windowing.mean_of_windows(scores[heard], windows.table[heard], n_rows)


def fit_detectors(columns, build, batches_of, validation, *, folder=None, key="", **options):
    """Train a detector of one species for each of several, one after the other ("One Detector per Bird", BirdCLEF+ 2025).

    Args:
        columns: of the species, in ``validation``'s truth.
        build: function without arguments, gives a new model of one class.
        batches_of: function of a column, gives its batches; see ``crops.one_against_rest``.
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
        place = folder and Path(folder) / f"species_{column}"
        own = windows, np.asarray(truth)[:, [column]]
        history = fit(detectors[-1], batches_of(column), own, folder=place, key=[key, int(column)], **options)
        histories.append(history.assign(column=column))
    return mel_models.join_detectors(detectors), pd.concat(histories, ignore_index=True)


@functools.cache
def _keeper():
    """The callback's class, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class Keeper(keras.callbacks.Callback):
        """Validates after each epoch, keeps the best weights, writes the checkpoint and stops in time.

        Keras' own BackupAndRestore forgets the best weights, the history and dropout's random numbers, and so does not give the
        same figures.
        """

        def __init__(self, whole, trained, batches, windows, truth, loss, patience, path, key):
            super().__init__()
            self.whole, self.trained, self.batches, self.windows, self.truth = whole, trained, batches, windows, truth
            self.loss, self.patience, self.path, self.key = loss, patience, path, key
            self.history, self.kept, self.best_value, self.best = [], 0, -np.inf, trained.get_weights()
            self.has_auc = (truth.any(axis=0) & (truth == 0).any(axis=0)).any()
            self.has_stopped = False

        def on_epoch_begin(self, epoch, logs=None):
            self.batches.epoch = epoch

        def on_epoch_end(self, epoch, logs=None):
            if not np.isfinite(logs["loss"]):
                raise MelTrainingError(
                    f"the loss of epoch {epoch + 1} is {logs['loss']}: lower the learning rate, or use float32"
                )
            loss, auc = self._validate()
            self.history.append(
                {"epoch": epoch + 1, "loss": float(logs["loss"]), "validation_loss": loss, "validation_macro_auc": auc}
            )
            value = auc if self.has_auc else -loss
            if value > self.best_value:
                self.best_value, self.kept, self.best = value, epoch + 1, self.trained.get_weights()
            self.has_stopped = epoch + 1 - self.kept >= self.patience
            if self.path:
                self._save()
            if self.has_stopped:
                self.model.stop_training = True

        def _validate(self):
            scores = predict(self.whole, self.windows, len(self.truth))
            heard = np.isfinite(scores).all(axis=1)
            if not heard.any():
                raise MelTrainingError(
                    f"nothing of validation can be read or scored: see {next(iter(self.windows.skipped), 'its recordings')}"
                )
            truth, scores = self.truth[heard], scores[heard]
            loss = keras.ops.convert_to_numpy(self.loss(np.float32(truth), scores))
            auc = classification.macro_roc_auc(truth, scores) if self.has_auc else np.nan
            return float(np.mean(loss)), float(auc)

        def _variables(self):
            return [*self.trained.variables, *self.trained.optimizer.variables]

        def _save(self):
            told = {name: getattr(self, name) for name in _TOLD}
            checkpoints.write(self.path, self.key, told, self._variables(), self.best)

        def restore(self):
            """Take up where the checkpoint of this training stands, if there is one."""
            if found := checkpoints.take_up(self.path, self.key, self._variables(), len(self.best)):
                told, self.best = found
                for name in _TOLD:
                    setattr(self, name, told[name])

    return Keeper
