"""Which species: classifiers on the patch embeddings of a frozen embedder.

A recording, or a window of a soundscape, is pooled into one feature vector (``pooling``), from which a small network computes
probabilities (``fit_heads`` trains it). The saved Keras model contains the pooling: embeddings and weights in, probabilities out.
"""

from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.models import batch_calls, probe_fits, saved

ACTIVATIONS = {"single": "softmax", "multi": "sigmoid"}  # label modes: one species a recording, or any number of them
LOSSES = {"single": "cross_entropy", "multi": "bce"}  # defaults
_MIN_PRIOR = 1e-3  # of a species without training rows
FILES = ("classifier.keras", "classes.json", "preprocessing.json")


class ClassifierError(runtime.BirdlibError):
    """A classifier that cannot be trained or loaded."""


# The network


def build_head(n_features, n_classes, mode="single", hidden=(512, 256), dropout=0.3, background=False, prior=None, scale=None):
    """Features to probabilities: dense ReLU layers with dropout, then softmax (``single``) or sigmoid (``multi``).

    Args:
        background: of ``single``: softmax has one more class, for clips without any of the species; its probability is not among the
            outputs, which then sum to less than 1. Sigmoids need none: all of them can be low.
        prior: of ``multi``: (n_classes,), shares of training rows, with which the outputs begin; None begins at 0.5. A loss that hardly
            corrects low scores (asymmetric, focal) else keeps differences between recordings from the start of training. "Focal Loss for
            Dense Object Detection" (2017) begins so, too.
        scale: of the features; None is for vectors of unit length.

    Returns:
        keras.Model, (batch, n_features) → (batch, n_classes).

    Raises:
        ClassifierError: if the mode is not one of ``ACTIVATIONS``.
    """
    import keras

    if mode not in ACTIVATIONS:
        raise ClassifierError(f"label mode {mode!r} is unknown: use {' or '.join(ACTIVATIONS)}")
    features = keras.Input((n_features,), name="features")
    x = keras.layers.Rescaling(n_features**0.5 / 2 if scale is None else scale)(features)  # the values of unit-length vectors are tiny
    for i, units in enumerate(hidden):
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{i}")(x)
        x = keras.layers.Dropout(dropout)(x)
    n_outputs = n_classes + (background and mode == "single")
    probabilities = keras.layers.Dense(n_outputs, activation=ACTIVATIONS[mode], dtype="float32", name="probabilities")(x)
    head = keras.Model(features, probe_fits.without_background(probabilities, n_classes))
    if prior is not None and mode == "multi":
        p = np.clip(prior, _MIN_PRIOR, 1.0 - _MIN_PRIOR)
        head.get_layer("probabilities").bias.assign(np.log(p) - np.log1p(-p))
    return head


def join(patch_pooling, head, dim, zero_shot=None):
    """The whole classifier as one Functional model, to be saved.

    Args:
        zero_shot: (layer, combine), of which the layer scores patches as ``zero_shot_layers.PatchClasses`` does, and combine, (head's
            probabilities, these scores) → probabilities, as ``LogLinear``; None uses the head alone.

    Returns:
        keras.Model, {"embeddings": (batch, patches, dim), "weights": (batch, patches)} → (batch, classes).
    """
    import keras

    inputs = {"embeddings": keras.Input((None, dim), name="embeddings"), "weights": keras.Input((None,), name="weights")}
    probabilities = head(patch_pooling(inputs["embeddings"], inputs["weights"]))
    if zero_shot is not None:
        layer, combine = zero_shot
        probabilities = combine(probabilities, layer(inputs["embeddings"], inputs["weights"]))
    return keras.Model(inputs, probabilities, name="classifier")


def predict(head, features):
    """(n, features) → (n, classes) probabilities."""
    return batch_calls.outputs(head, features, 1024)


# Files


def save(folder, model, classes, preprocessing):
    """Save a classifier with its classes and the preprocessing of its input.

    Args:
        model: from ``join``.
        classes: labels in the order of its outputs.
        preprocessing: dict: embedder and its key, thresholds, prior, ...
    """
    folder = Path(folder)
    _discard_training_state(model)
    with runtime.replacing(folder / "classifier.keras") as temporary:
        model.save(temporary)
    runtime.write_json(list(classes), folder / "classes.json")
    runtime.write_json(preprocessing, folder / "preprocessing.json")


def _discard_training_state(model):
    """Prediction needs neither loss nor optimizer; in the file of a part they would be required on loading, and make it three times as large."""
    import keras

    model.compiled, model.optimizer = False, None
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _discard_training_state(layer)


def load(folder):
    """Load what ``save`` wrote: (model, classes, preprocessing).

    Raises:
        ClassifierError: if a file is missing.
        SavedModelError: see ``saved.load``.
    """
    from birdlib.models import layers, probe_layers, zero_shot_layers  # noqa: F401  registers their layers with Keras

    folder = Path(folder)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise ClassifierError(f"{folder} has no {', '.join(missing)}: run notebooks/07_classify.ipynb first")
    model = saved.load(folder / "classifier.keras")
    return model, runtime.read_json(folder / "classes.json"), runtime.read_json(folder / "preprocessing.json")


def require_same_embedder(preprocessing, embedder):
    """Refuse an embedder whose weights differ from those that a classifier was trained on.

    Raises:
        ClassifierError: it names both.
    """
    if preprocessing["key"] != embedder.key:
        source = next(iter(embedder.weights.values()))["source"]
        raise ClassifierError(
            f"the classifier was trained on {preprocessing['embedder']} with key {preprocessing['key'][:12]}, but {source} gives "
            f"{embedder.key[:12]}: attach the same weights, or run 03_embed and 07_classify again with these"
        )
