"""Models that an analysis can use: the classifier of stage 07, or BirdNET or Perch as they are.

A ``Model`` is what one has to know before it is loaded, and small; a ``Scorer`` is a loaded one, of which each process has its own.
"""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import pandas as pd

import birdlib
from birdlib import runtime, stages
from birdlib.analysis import windows
from birdlib.audio import kaiser_fast
from birdlib.data import taxonomy
from birdlib.data.formats import reading
from birdlib.metrics import calibration
from birdlib.models import birdnet, birdnet_location, embedders, perch, weights
from birdlib.species import classifiers, file_embedding, inference

GENERAL = ("birdnet", *perch.VERSIONS)  # by name, without any training
DEFAULT_CONFIDENCE = 0.25  # of models without thresholds, as BirdNET-Analyzer's
_STAGE = "07_classify"
_RESAMPLING_S = 1.0  # of context, more than any resampler's filter


class ModelError(runtime.BirdlibError):
    """A model that does not exist, or does not fit this version."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model, not loaded yet.

    Attributes:
        name: one of ``GENERAL``, or ``"classifier"``.
        folder: of stage 07, for a classifier.
        labels: DataFrame ``species, scientific_name, common_name``, a row a class.
        window_s: of its windows.
        licences: {pretrained weights: licence}.
        key: digest of everything that changes its scores.
        thresholds: (classes,) of scores, or None.
        curves: of ``calibration.apply``; {}: none.
        weights_dir: as in ``weights.find``.
    """

    name: str
    folder: str
    labels: pd.DataFrame
    window_s: float
    licences: dict
    key: str
    thresholds: np.ndarray | None = None
    curves: dict = dataclasses.field(default_factory=dict)
    weights_dir: str = ""

    def address(self):
        """What ``load`` needs, JSON-able; another for another state of the model's files, or another working folder."""
        folder, weights_dir = (os.path.abspath(path) if path else "" for path in (self.folder, self.weights_dir))
        return {"name": self.name, "folder": folder, "weights_dir": weights_dir, "key": self.key}

    def grid(self, overlap_s=0.0):
        """The windows, each ``overlap_s`` before the end of the one before.

        Raises:
            ParameterError: if the overlap is negative or too long.
        """
        if not 0.0 <= overlap_s <= self.window_s - 0.1:
            raise runtime.ParameterError(f"overlap is {overlap_s:g} s: choose 0 to {self.window_s - 0.1:g}, for the windows of {self.name} last {self.window_s:g} s")
        return windows.Grid(self.window_s, self.window_s - overlap_s, self.window_s / 2 if self.name == "birdnet" else None)


# Choosing one


def choose(model="", outputs_dir="outputs", weights_dir=""):
    """The model that a user names.

    Args:
        model: one of ``GENERAL``, a folder of stage 07, an outputs folder with one; ``""``: that of ``outputs_dir`` where it is finished, else BirdNET.
        outputs_dir: of the stages.
        weights_dir: as in ``weights.find``.

    Returns:
        (Model, why): the second is a sentence.

    Raises:
        ModelError: if there is no such model, or another version of birdlib has made it.
        weights.MissingWeightsError: if its weights cannot be had.
    """
    model = "" if model is None else str(model)
    if model in GENERAL:
        return _general(model, weights_dir), f"{model} as it was trained by its makers."
    if model:
        return _classifier(_stage_folder(model), weights_dir), f"the classifier in {runtime.printable(model)}."
    folder = Path(outputs_dir) / _STAGE
    if stages.can_be_read(outputs_dir, _STAGE) or (folder / stages.RECEIPT).is_file():
        return _classifier(folder, weights_dir), f"the classifier in {runtime.printable(folder)}, as stage 07 is finished."
    return _general("birdnet", weights_dir), f"birdnet, as {runtime.printable(folder)} has no finished classifier of your own."


def _stage_folder(model):
    folder = Path(model)
    if (folder / _STAGE).is_dir() and not (folder / "classes.json").is_file():
        return folder / _STAGE
    if folder.is_dir():
        return folder
    if model.lower() == "yamnet":
        raise ModelError(f"yamnet knows kinds of sound but no species: choose {', '.join(GENERAL)}, or a folder of stage 07")
    raise ModelError(f"there is no model {model!r}: choose {', '.join(GENERAL)}, or a folder of stage 07 such as outputs/{_STAGE}")


def _general(name, weights_dir):
    source = weights.fetch(name, weights_dir)
    table = birdnet.species(source) if name == "birdnet" else perch.species(source)
    species = table["species"].where(table["species"] != "", table.get("ebird", ""))
    scientific = table["species"].where(table["is_wild"], "")  # "Engine" is no scientific name
    common = table["common_name"] if "common_name" in table else ""
    labels = pd.DataFrame({"species": species, "scientific_name": scientific, "common_name": common})
    window_s = birdnet.PATCH_S if name == "birdnet" else perch.PATCH_S
    key = runtime.digest({"name": name, "sha256": source.sha256, "recipe": 1})
    return Model(name, "", labels, window_s, {name: source.licence}, key, weights_dir=str(weights_dir))


def _classifier(folder, weights_dir):
    _require_this_version(folder)
    if (folder / stages.RECEIPT).is_file() and not (folder / "ensemble.json").is_file():
        raise ModelError(f"{folder} has no ensemble.json, which holds calibration and thresholds: run notebooks/07_classify.ipynb again, or copy it again")
    try:
        config = inference.load_config(folder)
        members = {member: runtime.read_json(folder / member / "preprocessing.json") for member in config["members"]}
        digests = {member: runtime.digest_file(folder / member / classifiers.FILES[0]) for member in config["members"]}
        own_classes = {member: runtime.read_json(folder / member / "classes.json") for member in config["members"]}
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} is damaged or incomplete ({error}): run notebooks/07_classify.ipynb again") from error
    for member, digest in digests.items():
        if config.get("sha256", {}).get(member, digest) != digest:
            raise ModelError(f"{folder / member / classifiers.FILES[0]} is not the file that {folder} was finished with: run notebooks/07_classify.ipynb again")
        if own_classes[member] != config["classes"]:
            raise ModelError(f"{folder / member} knows other species than {folder}: run notebooks/07_classify.ipynb again")
    if config["thresholds"] is not None and len(config["thresholds"]) != len(config["classes"]):
        raise ModelError(f"{folder} has {len(config['thresholds'])} thresholds for {len(config['classes'])} species: run notebooks/07_classify.ipynb again")
    licences, sources = {}, {}
    for preprocessing in members.values():
        if preprocessing.get("kind", "embeddings") == "embeddings":
            source = weights.fetch(embedders.weights_name(preprocessing["embedder"]), weights_dir)
            licences[source.name], sources[source.name] = source.licence, source.sha256
    parts = {name: config[name] for name in ("rule", "kept", "members", "classes", "calibration", "thresholds")}
    key = runtime.digest({**parts, "digests": digests, "weights": sources, "recipe": 1})
    thresholds = None if config["thresholds"] is None else np.asarray(config["thresholds"], float)
    window_s = next((float(member["window_s"]) for member in members.values() if member.get("window_s")), _training_window_s(folder))
    return Model("classifier", str(folder), _own_labels(folder, config["classes"]), window_s, licences, key, thresholds, config["calibration"], str(weights_dir))


def _require_this_version(folder):
    path = folder / stages.RECEIPT
    if not path.is_file():
        return  # a copy of the classifier alone: it is loaded as far as its files fit
    version = stages.receipt(folder.parent, folder.name)["versions"].get("birdlib")
    if version != birdlib.__version__:
        raise ModelError(f"{folder} was made by birdlib {version}, and this is {birdlib.__version__}: run notebooks/07_classify.ipynb again, or install birdlib {version}")


def _training_window_s(folder):
    path = folder / stages.RECEIPT
    return float(runtime.read_json(path)["parameters"].get("window_s", 5.0)) if path.is_file() else 5.0


def _own_labels(folder, classes):
    """Names by the taxonomy of the training data, where stage 01 beside the folder knows it; a label of two Latin words is one itself."""
    try:
        data_dir = stages.recordings_root(folder.parent)
        names = taxonomy.names(classes, data_dir)
    except runtime.BirdlibError:
        names = taxonomy.names(classes)
    is_known = (names["scientific_name"] != names["label"]) | (names["common_name"] != names["label"])
    is_scientific = names["label"].map(reading.is_scientific).astype(bool)
    scientific = names["scientific_name"].where(is_known | is_scientific, "")
    return pd.DataFrame({"species": names["label"], "scientific_name": scientific, "common_name": names["common_name"].where(is_known, "")})


# Loading one


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A loaded model.

    Attributes:
        predict: (excerpt, spans) → (spans, classes) float32.
        context_s: seconds of sound that it needs around the spans.
        noise_rates_hz: sample rates at which it needs the noise of the whole file.
        notes: what is missing of it.
    """

    predict: object
    context_s: float
    noise_rates_hz: tuple = ()
    notes: tuple = ()


@functools.lru_cache(maxsize=1)
def load(name, folder="", weights_dir="", key=""):
    """Load a ``Model`` by its address: a Scorer, the same for the same address. The key only tells states of the files apart."""
    if name == "classifier":
        return _load_classifier(folder, weights_dir)
    source = weights.fetch(name, weights_dir)
    if name == "birdnet":
        return Scorer(_patch_predictor(birdnet.BirdnetEmbedder(source, birdnet.load(source, n_threads=1)), kaiser_fast.resample), _RESAMPLING_S)
    return Scorer(_patch_predictor(perch.PerchEmbedder(source, perch.load(source))), _RESAMPLING_S)


@functools.lru_cache(maxsize=1)
def load_location(weights_dir=""):
    """BirdNET's location model: (latitude, longitude, week) → (classes,) occurrence, remembered for each location and week."""
    return functools.lru_cache(maxsize=4096)(_occurrence(birdnet_location.load(weights.fetch("birdnet_location", weights_dir))))


def _occurrence(expect):
    return lambda latitude, longitude, week: expect(latitude, longitude, week).to_numpy(np.float64)


def _patch_predictor(embedder, resample=None):
    """Scores of windows that are the network's own patches; the last window is filled with zeros."""
    rate_hz, length = embedder.sample_rate_hz, embedder.patch_samples

    def predict(excerpt, spans):
        waveform = excerpt.read(rate_hz) if resample is None else resample(excerpt.waveform, excerpt.sample_rate_hz, rate_hz)
        scores = []
        for first in range(0, len(spans), embedder.batch_size):
            begins = [round((start_s - excerpt.start_s) * rate_hz) for start_s, _ in spans[first : first + embedder.batch_size]]
            patches = [waveform[begin : begin + length] for begin in begins]
            scores.append(embedder.predict(np.stack([np.pad(patch, (0, length - len(patch))) for patch in patches]))[1])
        return np.concatenate(scores)

    return predict


def _load_classifier(folder, weights_dir):
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        members = inference.load(folder, weights_dir, n_threads=1)
    notes = tuple(str(warning.message) for warning in caught if "is left out" in str(warning.message))
    config = inference.load_config(folder)

    def predict(excerpt, spans):
        return inference.combine(config, {member.member_id: member.predict_excerpt(excerpt, spans) for member in members})

    context_s = max(member.context_s for member in members) + _RESAMPLING_S
    rates_hz = tuple({member.sample_rate_hz for member in members if member.denoise != "none"})
    return Scorer(predict, context_s, rates_hz, notes)


def probabilities(model, scores):
    """Calibrated probabilities of scores (windows, classes); NaN without calibration."""
    return calibration.apply(model.curves, scores) if model.curves else np.full(np.shape(scores), np.nan)


def measure_noise(path, scorer):
    """{sample rate: noise} of a whole file, for models that denoise."""
    return {rate_hz: file_embedding.measure_noise(path, rate_hz) for rate_hz in scorer.noise_rates_hz}
