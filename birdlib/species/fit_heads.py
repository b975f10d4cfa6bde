"""Training of heads on pooled features: networks with mixup, and logistic regression as the baseline."""

import keras
import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import mixing
from birdlib.losses import classification as losses
from birdlib.metrics import classification
from birdlib.models import pooling, probe_fits
from birdlib.species import classifiers

# The training set


def training_set(embeddings, patches, patch_pooling, recordings, truth, window_patches, class_weight, rng, n_windows=6):
    """The training set of a head: every training recording whole, and up to ``n_windows`` windows of it.

    Args:
        embeddings, patches: of stage 03.
        patch_pooling: a layer from ``pooling.build_pooling``.
        recordings, truth: rows of the training split and their (n, classes) truth.
        window_patches: patches in a window; 0 uses no windows.
        class_weight: see ``class_weights``.
        rng: samples the windows where a recording has more.

    Returns:
        (features, truth, sample_weight): row-aligned; the windows of a recording together weigh as much as the whole.

    Raises:
        NothingToDoError: if there is only one species.
    """
    labels = pd.factorize(recordings["species"])[0]
    _require_two_species(labels)
    slices = pooling.recording_slices(patches)
    slices = slices[slices["recording_id"].isin(recordings["recording_id"])].assign(weight=1.0)
    if window_patches:
        windows = pooling.window_slices(slices, window_patches, max(1, window_patches // 2))
        windows = windows.iloc[rng.permutation(len(windows))].groupby("recording_id").head(n_windows)
        share = 1.0 / windows.groupby("recording_id")["first"].transform("size")
        slices = pd.concat([slices, windows.assign(weight=share)], ignore_index=True)
    slices = slices.sort_values(["first", "last"], kind="stable")
    rows = pd.Index(recordings["recording_id"]).get_indexer(slices["recording_id"])
    sample_weight = slices["weight"].to_numpy() * class_weights(labels, class_weight)[rows]
    weights = pooling.patch_weights(patches["bird_score"].to_numpy())
    features = pooling.pool(embeddings, weights, slices, patch_pooling)
    return features, truth[rows], sample_weight.astype(np.float32)


def class_weights(labels, power):
    """Weight of each training row, mean 1: (1 / recordings of its class) ** power; power 0 weights rows equally, 1 classes."""
    counts = np.bincount(labels)
    weights = (1.0 / counts[labels]) ** power
    return (weights / weights.mean()).astype(np.float32)


# Networks


def fit_networks(n_networks, build, train, validation, **options):
    """Train several heads that differ in their random start only; the mean of their probabilities has less variance.

    Args:
        build: function without arguments, gives a new head.
        train, validation, options: as in ``_fit_head``.

    Returns:
        (head, history): the mean of the networks, and their histories with a column ``network``.
    """
    heads, histories = [], []
    for network in runtime.progress(range(n_networks), desc="training networks"):
        heads.append(build())
        histories.append(_fit_head(heads[-1], train, validation, **options).assign(network=network))
    return probe_fits.average(heads, [1.0] * n_networks), pd.concat(histories, ignore_index=True)


def describe(history):
    """A sentence about the history of ``fit_networks``: the kept epochs, and whether training ended too early."""
    kept = [rows.loc[rows["validation_macro_auc"].idxmax()] for _, rows in history.groupby("network") if rows["validation_macro_auc"].notna().any()]
    if not kept:
        return "Validation has no macro ROC-AUC, so the last epoch is kept."
    epochs, auc, last = [int(row["epoch"]) for row in kept], np.mean([row["validation_macro_auc"] for row in kept]), int(history["epoch"].max())
    text = f"Kept epochs: {min(epochs)} to {max(epochs)} of at most {last}; macro ROC-AUC of a network on validation {auc:.3f}."
    if max(epochs) == last:
        text += " A network was still improving: raise `epochs`."
    return text


def _fit_head(head, train, validation, *, loss, epochs, patience, learning_rate, weight_decay, batch_size=0, mixup=0.0, rng=None):  # fmt: skip
    """Train a head; keep the epoch with the best macro ROC-AUC on validation.

    Where no species has both a positive and a negative there, no ROC-AUC is defined, and the lowest validation loss decides.

    Args:
        head: from ``classifiers.build_head``.
        train: (features, truth, sample_weight), from ``training_set``.
        validation: (features, truth); None trains all epochs, and keeps the last.
        loss: a name of ``losses.classification``, or a loss.
        learning_rate, weight_decay: of AdamW ("Decoupled Weight Decay Regularization", 2019).
        batch_size: rows a step; 0 takes a 400th of them, but at least 32 and at most 1,024.
        mixup, rng: alpha of ``MixedRows`` and the generator of its seed; 0: no mixup.

    Returns:
        DataFrame: ``epoch, loss, validation_loss, validation_macro_auc``.

    Raises:
        ClassifierError: if validation is empty.
    """
    features, truth, sample_weight = train
    if validation is not None and not len(validation[0]):
        raise classifiers.ClassifierError("validation has no recordings to choose an epoch on: give it a share in 01_split")
    head.compile(keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay), loss=losses.get(loss) if isinstance(loss, str) else loss)
    callbacks = [] if validation is None else [Validation(*validation), _early_stopping(validation[1], patience)]
    size = batch_size or int(np.clip(len(features) // 400, 32, 1024))
    rows = {"x": features, "y": truth, "sample_weight": sample_weight, "batch_size": size}
    if mixup:
        rows = {"x": MixedRows(features, truth, sample_weight, size, mixup, int(rng.integers(2**32)))}
    history = head.fit(**rows, epochs=epochs, callbacks=callbacks, verbose=0).history
    table = pd.DataFrame(history).rename(columns={"val_loss": "validation_loss"})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table.reindex(columns=["epoch", "loss", "validation_loss", "validation_macro_auc"])


def _early_stopping(truth, patience):
    has_auc = (truth.any(axis=0) & (truth == 0).any(axis=0)).any()
    monitor, best = ("validation_macro_auc", "max") if has_auc else ("val_loss", "min")
    return keras.callbacks.EarlyStopping(monitor, mode=best, patience=patience, restore_best_weights=True)


def kept_epochs(history):
    """The epoch that each network of a history of ``fit_networks`` has kept, list of int."""
    kept = []
    for _, rows in history.groupby("network"):
        by_auc = rows["validation_macro_auc"].notna().any()
        kept.append(int(rows.loc[rows["validation_macro_auc"].idxmax() if by_auc else rows["validation_loss"].idxmin(), "epoch"]))
    return kept


class MixedRows(keras.utils.PyDataset):
    """Batches of rows, each mixed with another of its batch: "mixup: Beyond Empirical Risk Minimization" (2018), on features.

    A mixture has the weights of its parts: with shares s and 1 - s of two rows of weights v and w, its weight is s v + (1 - s) w, and its labels
    are the mean of theirs, weighted by s v and (1 - s) w. Its loss, linear in the labels, is then the weighted sum of those of both rows' labels.

    Args:
        features, truth, sample_weight: (n, features), (n, classes) in [0, 1], (n,), above 0.
        alpha: of mixup, see ``mixing.mixup``.
        seed: a batch depends on seed, epoch and step only.
    """

    def __init__(self, features, truth, sample_weight, batch_size, alpha, seed):
        super().__init__()
        self.arrays, self.batch_size, self.alpha, self.seed = (features, truth, sample_weight), batch_size, alpha, seed
        self.epoch = -1
        self.on_epoch_end()

    def on_epoch_end(self):
        self.epoch += 1
        self.order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.arrays[0]))

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, step):
        rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        features, truth, sample_weight = (array[rows] for array in self.arrays)
        rng = np.random.default_rng([self.seed, self.epoch, step])
        columns = np.column_stack([features, truth * sample_weight[:, None], sample_weight])
        mixed, _ = mixing.mixup(columns, truth, alpha=self.alpha, rng=rng)
        features, truth, sample_weight = np.split(mixed, [features.shape[1], mixed.shape[1] - 1], axis=1)
        return features, truth / sample_weight, sample_weight[:, 0]


class Validation(keras.callbacks.Callback):
    """Adds ``val_loss`` and ``validation_macro_auc`` to the logs, before the EarlyStopping that monitors them; BirdlibError if scores are not finite.

    One pass without the set-up of ``evaluate``, which takes longer than such a head itself.
    """

    def __init__(self, features, truth):
        super().__init__()
        self.features, self.truth = features, truth

    def on_epoch_end(self, epoch, logs=None):
        predicted = self.model(self.features, training=False)  # predict_on_batch repeats rows by replica
        scores = np.asarray(predicted)
        if not np.isfinite(scores).all():
            raise runtime.BirdlibError(
                f"after epoch {epoch + 1} the network's scores are not finite: lower the learning rate, or use float32"
            )
        logs["val_loss"] = float(self.model.compute_loss(None, self.truth, predicted, training=False))
        logs["validation_macro_auc"] = classification.macro_roc_auc(self.truth, scores)


# The baseline


def fit_logistic_regression(features, labels, validation, strengths=(3.0, 30.0, 300.0)):
    """Logistic regression on the same features, its regularisation chosen by macro ROC-AUC on validation.

    Args:
        features, labels: (n, features) and (n,) int of the training set; a class without rows gets probability 0. The label ``n_classes``,
            one more than the last, is background, which is not among the outputs, see ``classifiers.build_head``.
        validation: (features, truth); truth has a column for every class.
        strengths: values of scikit-learn's C to try.

    Returns:
        (head, C): the regression as a Keras model like those of ``classifiers.build_head``, and the value chosen.

    Raises:
        NothingToDoError: if there is only one species.
    """
    n_classes = validation[1].shape[1]
    _require_two_species(labels[labels < n_classes])
    targets = np.eye(n_classes + 1, dtype=np.float32)[labels][:, :n_classes]
    heads = {c: probe_fits.fit_linear(probe_fits.Probe(probe_fits.UNSCALED, c), features, targets, "single").as_keras() for c in strengths}
    aucs = {c: classification.macro_roc_auc(validation[1], classifiers.predict(head, validation[0])) for c, head in heads.items()}
    best = max(strengths, key=aucs.get)
    return heads[best], best


def _require_two_species(labels):
    if len(set(labels)) < 2:
        raise stages.NothingToDoError("the training recordings are of one species only: classification needs two")
