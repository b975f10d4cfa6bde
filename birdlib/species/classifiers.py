"""Which species: classifiers on the patch embeddings of a frozen embedder.

A recording, or a window of a soundscape, is pooled into one feature vector (``pooling``); a small network, or logistic regression
as the honest baseline, turns that into probabilities. The saved Keras model holds the pooling: embeddings and weights in,
probabilities out.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import classification as classification_losses
from birdlib.metrics import classification
from birdlib.models import pooling
from birdlib.species import head_epochs

_NEVER = -1e9  # bias of a class that was not there to be learnt: its softmax is 0
MODES = ("single", "multi")  # one species a recording (softmax), or any number of them (sigmoid)
LOSSES = {"single": "cross_entropy", "multi": "bce"}  # where none is named
FILES = ("classifier.keras", "classes.json", "preprocessing.json")


class ClassifierError(runtime.BirdlibError):
    """A classifier that cannot be trained or loaded as asked."""


# What is learnt


def training_set(embeddings, patches, patch_pooling, recordings, truth, window_patches, class_weight, rng, n_windows=6):
    """What a head learns: every training recording whole, and up to ``n_windows`` windows of it.

    Args:
        embeddings, patches: of stage 03.
        patch_pooling: a layer from ``pooling.build_pooling``.
        recordings, truth: rows of the training split and their (n, classes) truth.
        window_patches: patches in a window; 0 leaves the windows away.
        class_weight: see ``class_weights``.
        rng: chooses the windows where a recording has more.

    Returns:
        (features, truth, sample_weight): row-aligned; the windows of a recording weigh as much together as the whole.

    Raises:
        ClassifierError: if there are not two species to tell apart.
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


# The network


def build_head(n_features, n_classes, mode="single", hidden=(512, 256), dropout=0.3):
    """Features to probabilities: dense ReLU layers with dropout, then softmax (``single``) or sigmoid (``multi``).

    Returns:
        keras.Model, (batch, n_features) → (batch, n_classes).

    Raises:
        ClassifierError: if the mode is not one of ``MODES``.
    """
    import keras

    features = keras.Input((n_features,), name="features")
    x = keras.layers.Rescaling(n_features**0.5 / 2)(features)  # unit-length views have tiny numbers
    for i, units in enumerate(hidden):
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{i}")(x)
        x = keras.layers.Dropout(dropout)(x)
    activation = {"single": "softmax", "multi": "sigmoid"}[_known(mode)]
    probabilities = keras.layers.Dense(n_classes, activation=activation, dtype="float32", name="probabilities")(x)
    return keras.Model(features, probabilities)


def join(patch_pooling, head, dim):
    """The whole classifier as one Functional model, fit to be saved.

    Returns:
        keras.Model, {"embeddings": (batch, patches, dim), "weights": (batch, patches)} → (batch, classes).
    """
    import keras

    embeddings = keras.Input((None, dim), name="embeddings")
    weights = keras.Input((None,), name="weights")
    return keras.Model(
        {"embeddings": embeddings, "weights": weights}, head(patch_pooling(embeddings, weights)), name="classifier"
    )


def average(heads, weights):
    """One head that gives the weighted mean of the probabilities of several."""
    import keras

    features = keras.Input(heads[0].input_shape[1:], name="features")
    weighted = [
        keras.layers.Rescaling(weight / sum(weights), dtype="float32")(head(features))
        for head, weight in zip(heads, weights, strict=True)
    ]
    mean = keras.layers.Add(dtype="float32")(weighted) if len(weighted) > 1 else weighted[0]
    return keras.Model(features, mean)


def _fit_head(head, train, validation, *, mode, epochs, patience, learning_rate, weight_decay, batch_size=0, loss="", mixup=0.0, rng=None):  # fmt: skip
    """Train a head; keep the epoch with the best macro ROC-AUC on validation.

    Where no species has both a positive and a negative there, no ROC-AUC is defined, and the least validation loss decides.

    Args:
        head: from ``build_head``.
        train: (features, truth, sample_weight), from ``training_set``.
        validation: (features, truth).
        learning_rate, weight_decay: of AdamW ("Decoupled Weight Decay Regularization", 2019).
        batch_size: rows a step; 0 takes a 400th of them, but at least 32 and at most 1,024.
        loss: one of ``label_losses.NAMES``; "": that of the mode.
        mixup, rng: alpha of ``head_epochs.batches`` and its rng; 0: rows are learnt as they are.

    Returns:
        DataFrame: ``epoch, loss, validation_loss, validation_macro_auc``.

    Raises:
        ClassifierError: if the mode is not one of ``MODES``, or validation is empty.
    """
    import keras

    features, truth, sample_weight = train
    if not len(validation[0]):
        raise ClassifierError("validation has no recordings to choose an epoch on: give it a share in 01_split")
    named = classification_losses.get(loss or LOSSES[_known(mode)])
    head.compile(keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay), loss=named)
    has_auc = (validation[1].any(axis=0) & (validation[1] == 0).any(axis=0)).any()
    watched, best = ("validation_macro_auc", "max") if has_auc else ("val_loss", "min")
    stop = keras.callbacks.EarlyStopping(watched, mode=best, patience=patience, restore_best_weights=True)
    size = batch_size or int(np.clip(len(features) // 400, 32, 1024))
    rows = {"x": features, "y": truth, "sample_weight": sample_weight, "batch_size": size}
    if mixup:
        rows = {"x": head_epochs.batches(features, truth, sample_weight, size, mixup, rng)}
    watching = [head_epochs.watcher(*validation), stop]
    history = head.fit(**rows, epochs=epochs, validation_data=validation, callbacks=watching, verbose=0).history
    table = pd.DataFrame(history).rename(columns={"val_loss": "validation_loss"})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table[["epoch", "loss", "validation_loss", "validation_macro_auc"]]


def fit_networks(n_networks, build, train, validation, **options):
    """Train several heads that differ in their random start only; their mean is steadier than any of them.

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
    return average(heads, [1.0] * n_networks), pd.concat(histories, ignore_index=True)


# The baseline


def fit_logistic_regression(features, labels, validation, strengths=(3.0, 30.0, 300.0)):
    """Logistic regression on the same features, its regularisation chosen by macro ROC-AUC on validation.

    Args:
        features, labels: (n, features) and (n,) int of the training set; a class that is not in it gets probability 0.
        validation: (features, truth); truth has a column for every class.
        strengths: values of scikit-learn's C to try.

    Returns:
        (head, C): the regression as a Keras model like those of ``build_head``, and the value chosen.

    Raises:
        ClassifierError: if there are not two species to tell apart.
    """
    from sklearn.linear_model import LogisticRegression

    _require_two_species(labels)
    n_classes = validation[1].shape[1]
    heads = {c: _as_head(LogisticRegression(C=c, max_iter=2000).fit(features, labels), n_classes) for c in strengths}
    best = max(strengths, key=lambda c: classification.macro_roc_auc(validation[1], predict(heads[c], validation[0])))
    return heads[best], best


def predict(head, features):
    """(n, features) → (n, classes) probabilities."""
    return head.predict(features, batch_size=1024, verbose=0)


def _as_head(model, n_classes):
    """A fitted scikit-learn LogisticRegression as a Keras model: one dense layer with softmax."""
    import keras

    coefficients, intercepts = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one column, for the second
        coefficients, intercepts = np.hstack([-coefficients, coefficients]) / 2, np.append(-intercepts, intercepts) / 2
    kernel, bias = np.zeros((len(coefficients), n_classes), np.float32), np.full(n_classes, _NEVER, np.float32)
    kernel[:, model.classes_], bias[model.classes_] = coefficients, intercepts
    features = keras.Input((len(kernel),), name="features")
    dense = keras.layers.Dense(n_classes, activation="softmax", dtype="float32", name="probabilities")
    head = keras.Model(features, dense(features))
    dense.set_weights([kernel, bias])
    return head


def _require_two_species(labels):
    if len(set(labels)) < 2:
        raise ClassifierError("the training recordings are of one species only: classification needs two")


def _known(mode):
    if mode not in MODES:
        raise ClassifierError(f"label mode {mode!r} is unknown: use {' or '.join(MODES)}")
    return mode


def class_weights(labels, power):
    """Weight of each training row, mean 1: (1 / recordings of its class) ** power; power 0 treats rows alike, 1 classes."""
    counts = np.bincount(labels)
    weights = (1.0 / counts[labels]) ** power
    return (weights / weights.mean()).astype(np.float32)


# Files


def save(folder, model, classes, preprocessing):
    """Save a classifier beside its classes and all that must be done to a sound before it.

    Args:
        model: from ``join``.
        classes: labels in the order of its outputs.
        preprocessing: dict: embedder and its key, thresholds, prior, ...
    """
    folder = Path(folder)
    _forget_training(model)
    with runtime.replacing(folder / "classifier.keras") as temporary:
        model.save(temporary)
    runtime.write_json(list(classes), folder / "classes.json")
    runtime.write_json(preprocessing, folder / "preprocessing.json")


def _forget_training(model):
    """Who listens needs neither loss nor optimizer; saved in a part of the model, they are asked for when it is loaded, and make it three times as large."""
    import keras

    model.compiled, model.optimizer = False, None
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _forget_training(layer)


def load(folder):
    """Load what ``save`` wrote: (model, classes, preprocessing).

    Raises:
        ClassifierError: if a file is missing.
    """
    import keras

    from birdlib.models import layers  # noqa: F401  registers PatchPooling with Keras

    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ClassifierError(f"{folder} has no {', '.join(missing)}: run notebooks/07_classify.ipynb first")
    model = keras.saving.load_model(folder / "classifier.keras", compile=False)
    return model, runtime.read_json(folder / "classes.json"), runtime.read_json(folder / "preprocessing.json")


def require_same_embedder(preprocessing, listener):
    """Refuse an embedder other than the one a classifier was trained on: other weights, other numbers.

    Raises:
        ClassifierError: it names both.
    """
    if preprocessing["key"] != listener.key:
        source = listener.weights[listener.name]["source"]
        raise ClassifierError(
            f"the classifier was trained on {preprocessing['embedder']} with key {preprocessing['key'][:12]}, but {source} gives "
            f"{listener.key[:12]}: attach the same weights, or run 03_embed and 07_classify again with these"
        )
