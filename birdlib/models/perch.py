"""Perch, Google's Bird Vocalization Classifier: 5 s of sound at 32 kHz in, some 10,000 birds and an embedding out.

Version 1 ("perch") is that of "Global birdsong embeddings enable superior transfer learning for bioacoustic classification" (2023)
and names its classes by eBird codes; version 2 ("perch_v2"), that of "Perch 2.0: The Bittern Lesson for Bioacoustics" (2025), also
has frogs, insects and mammals and names them as iNaturalist does. Both are official SavedModels that run on a CPU.
"""

import csv
import re

import numpy as np
import pandas as pd

from birdlib import devices, runtime
from birdlib.models import base

SAMPLE_RATE_HZ = 32_000
PATCH_S = HOP_S = 5.0  # side by side: a patch is a window of the competition
PATCH_SAMPLES = HOP_SAMPLES = 160_000
_PEAK = 0.25  # each patch is scaled to it, as it was in training
VERSIONS = {"perch": ("label.csv", "sigmoid"), "perch_v2": ("labels.csv", "softmax")}  # the list of classes, and the activation
_EBIRD = "perch_v2_ebird_classes.csv"
_NO_EBIRD = "no_ebird_code"


class PerchError(runtime.BirdlibError):
    """A Perch that cannot be used."""


def species(source):
    """The classes of a Perch, in the order of its scores.

    Args:
        source: from ``weights.fetch``.

    Returns:
        DataFrame: ``species`` (the scientific name, "" in version 1), ``ebird`` (the code, or "") and ``is_wild``: False for the
        sounds of people and machines in version 2.

    Raises:
        PerchError: if a list of classes is missing or does not fit the other.
    """
    file, _ = VERSIONS[source.name]
    names = _read_classes(source.path / "assets" / file)
    if source.name == "perch":
        return pd.DataFrame({"species": "", "ebird": names, "is_wild": True})
    codes = [""] * len(names)
    if (source.path / "assets" / _EBIRD).is_file():
        codes = ["" if code == _NO_EBIRD else code for code in _read_classes(source.path / "assets" / _EBIRD)]
    if len(codes) != len(names):
        raise PerchError(f"{source.path}: {len(codes)} eBird codes for {len(names)} classes: fetch Perch anew")
    is_wild = [re.fullmatch(r"[A-Z][a-z-]+( [a-z-]+)+", name) is not None for name in names]  # a scientific name
    return pd.DataFrame({"species": names, "ebird": codes, "is_wild": is_wild})


def load(source):
    """Load the SavedModel that ``weights.fetch`` found, as a ``base.Network``.

    Early exports of version 1 take one patch at a time and give a pair, later ones a dict; version 2 has a signature only.

    Raises:
        PerchError: if its outputs have another form, its classes differ from their list, or TensorFlow, which runs it, is not installed.
    """
    if not devices.has_tensorflow():
        raise PerchError(f"{source.path} is a SavedModel, which needs TensorFlow: install tensorflow, or choose birdnet or yamnet")
    import tensorflow as tf

    model = tf.saved_model.load(str(source.path))
    table = species(source)
    signature = model.signatures.get("serving_default")
    if hasattr(model, "infer_tf"):
        run = model.infer_tf
    elif signature is not None:
        [name] = signature.structured_input_signature[1]

        def run(patches):
            return signature(**{name: patches})
    else:
        raise PerchError(f"{source.path} has neither infer_tf nor a signature: it is no Perch")
    takes_batches = signature is not None and signature.inputs[0].shape[0] is None

    def predict(patches):
        batches = [patches] if takes_batches else [patches[i : i + 1] for i in range(len(patches))]
        outputs = [_logits_and_embeddings(run(tf.constant(_normalise(batch))), source.path) for batch in batches]
        return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))

    logits, embeddings = predict(np.zeros((1, PATCH_SAMPLES), np.float32))
    if logits.shape[1] != len(table):
        raise PerchError(f"{source.path}: {len(table)} labels for {logits.shape[1]} classes: fetch Perch anew")
    return base.Network(table, predict, embeddings.shape[1])


def _normalise(patches):
    """Patches without their mean, scaled to a peak of 0.25; silence stays silence."""
    patches = np.asarray(patches, np.float32)
    centred = patches - patches.mean(axis=-1, keepdims=True)
    peaks = np.abs(centred).max(axis=-1, keepdims=True)
    return (_PEAK * centred / np.where(peaks > 0.0, peaks, 1.0)).astype(np.float32)


class PerchEmbedder(base.BatchedEmbedder):
    """Perch's embedding of each patch of 5 s, see ``embedders``, 1280-d, of version 2 1536-d; the patches lie side by side."""

    sample_rate_hz = SAMPLE_RATE_HZ
    patch_s, hop_s = PATCH_S, HOP_S
    patch_samples, hop_samples, batch_size = PATCH_SAMPLES, HOP_SAMPLES, 8

    def __init__(self, source, network):
        super().__init__(source, network, "tensorflow", "ebird" if source.name == "perch" else "species")
        _, self._activation = VERSIONS[source.name]

    def _predict(self, patches):
        logits, embeddings = self._network(patches)
        logits = np.asarray(logits, np.float64)
        if self._activation == "softmax":
            scores = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
        else:
            scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))
        return np.asarray(embeddings, np.float32), scores.astype(np.float32)


def _read_classes(path):
    """A list of classes: the first row names the taxonomy, the first column of the others the classes."""
    if not path.is_file():
        raise PerchError(f"{path} is missing, the list of classes: fetch Perch anew")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row[0].strip() for row in csv.reader(file) if row]
    return rows[1:]


def _logits_and_embeddings(outputs, path):
    if hasattr(outputs, "keys"):
        if not {"label", "embedding"} <= set(outputs):
            raise PerchError(f"{path} has the outputs {', '.join(sorted(outputs))}: a Perch has label and embedding")
        outputs = outputs["label"], outputs["embedding"]
    logits, embeddings = (np.asarray(output) for output in outputs)
    return logits.reshape(-1, logits.shape[-1]), embeddings.reshape(-1, embeddings.shape[-1])
