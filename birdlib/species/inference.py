"""Members: the classifiers of an ensemble, ready to listen to sound files.

A member is asked for any parts of a file, spans (start_s, end_s); its scores are (spans, classes) float32. Members are of two kinds:
those that hear through an embedder, which embeds a file once for all that share it, and those that hear the waveform of each span.
"""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.models import base as embedder_base
from birdlib.models import embedders, litert
from birdlib.species import classifiers, ears, ensembles

_BACKENDS = ("auto", "tensorflow", "litert")
CERTIFIED = 3  # windows at the beginning of a file, on which the ways to compute an embedder are compared
BATCH = 16  # spans whose patches are classified at once


class MemberError(runtime.BirdlibError):
    """A member that cannot be loaded."""


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a member can say about a file.

    Attributes:
        duration_s: of the file.
        scores: list of (start_s, end_s), in any order → (spans, classes) float32. What of a span is beyond the file: ``crops.fill``, or the nearest patch.
    """

    duration_s: float
    scores: Callable


# Which there are


def facts(folder):
    """What stage 07 wrote about the ensemble in a folder; without ``ensemble.json``, as of old, the one classifier is all of it.

    Returns:
        dict: ``rule``, ``kept``, ``members`` (their folders), ``sha256`` of their models, ``classes``, ``thresholds``, ``prior``, ``calibration``, {} if
        there is none, and where it was told ``validation``, {member: macro ROC-AUC}.

    Raises:
        ClassifierError: if there is no classifier.
    """
    folder = Path(folder)
    missing = [name for name in classifiers.FILES[1:] if not (folder / name).is_file()]
    if missing:
        raise classifiers.ClassifierError(f"{folder} has no {', '.join(missing)}: run notebooks/07_classify.ipynb first")
    preprocessing = runtime.read_json(folder / "preprocessing.json")
    told = {"rule": "mean", "members": ["."], "thresholds": preprocessing.get("thresholds"), "prior": preprocessing["prior"]}
    if (folder / "ensemble.json").is_file():
        told = runtime.read_json(folder / "ensemble.json")
    elif (folder / classifiers.FILES[0]).is_file():
        told["sha256"] = {".": runtime.digest_file(folder / classifiers.FILES[0])}
    return {"kept": {}, "calibration": {}, **told, "classes": runtime.read_json(folder / "classes.json")}


def load(folder, weights_dir="", backend="auto", n_threads=2):
    """Load the members of the ensemble that stage 07 wrote.

    One whose files or weights are missing or do not fit is left out with a warning, as long as others remain.

    Args:
        folder: of the stage, or a copy of it.
        weights_dir: where the embedders' weights are, see ``weights.find``.
        backend: "tensorflow", "litert" or "auto", see ``embedders.load`` and ``_Member.certify``.
        n_threads: of LiteRT.

    Returns:
        list of ``_Member``, in the order of ``facts``.

    Raises:
        BirdlibError: that of the first, if none remains.
    """
    folder, told = Path(folder), facts(folder)
    heard_by, loaded, refused = {}, [], []
    for place in told["members"]:
        try:
            loaded.append(_load_one(folder, place, told["classes"], heard_by, weights_dir, backend, n_threads))
        except (runtime.BirdlibError, OSError, ValueError, TypeError, KeyError) as error:  # the last: of a damaged file
            refused.append((place, error))
    if not loaded:
        raise refused[0][1]
    for place, error in refused:
        warnings.warn(f"the member {place} is left out: {error}", stacklevel=2)
    return loaded


def through(folder, listener):
    """The classifier in a folder, heard through an embedder that is loaded already.

    Raises:
        ClassifierError: if there is none, or it was trained on another embedder.
    """
    model, classes, preprocessing = classifiers.load(folder)
    return EmbeddingMember(preprocessing["embedder"], ".", classes, preprocessing, model, ears.Ear(listener))


def combine(told, scores):
    """What the ensemble says, or those of it that were asked.

    Args:
        told: from ``facts``.
        scores: {place: (spans, classes)}.

    Returns:
        (spans, classes) float32.
    """
    present = [number for number, place in enumerate(told["members"]) if place in scores]
    kept = told["kept"]
    if "quantiles" in kept:
        kept = {"quantiles": [kept["quantiles"][number] for number in present]}
    return ensembles.combine([scores[told["members"][number]] for number in present], told["rule"], kept)


# What they do


class _Member:
    """A classifier that listens.

    Attributes:
        name: for people.
        place: its folder, as ``facts`` names it.
        classes, preprocessing: as ``classifiers.load`` gives them.
        weights: of the pretrained network that it hears through, for the receipt.
        certificate: how it is computed and why, see ``certify``; {} before.
    """

    def __init__(self, name, place, classes, preprocessing, weights):
        self.name, self.place, self.classes, self.preprocessing, self.weights = name, place, classes, preprocessing, weights
        self.denoise = preprocessing.get("denoise", "none")
        self.certificate = {}

    def listen(self, path, denoise=True):
        """Open a file.

        Args:
            path: of the sound file.
            denoise: False leaves the denoising away that the member was trained with, if any.

        Returns:
            Heard.

        Raises:
            AudioError: if the file cannot be read; some faults come to light in ``Heard.scores``.
        """
        return self._listen(path, self.denoise if denoise else "none")

    def certify(self, path, spans, n_files):
        """Compare the ways to compute this member on real sound and keep the best; tells it in ``certificate``.

        Args:
            path: of a sound file that can be read.
            spans: some of its windows.
            n_files: that will be heard: for a few, no model is converted.
        """
        self.certificate = self._certified(path, spans, n_files)


class EmbeddingMember(_Member):
    """A classifier of pooled patches.

    Args:
        model: from ``classifiers.load``.
        ear: of its embedder.

    Raises:
        ClassifierError: if it was trained on another embedder.
    """

    def __init__(self, name, place, classes, preprocessing, model, ear):
        classifiers.require_same_embedder(preprocessing, ear.listener)
        super().__init__(name, place, classes, preprocessing, ear.listener.weights)
        self._model, self._ear = model, ear

    def _listen(self, path, denoise):
        patches = self._ear.hear(path, denoise)
        return Heard(patches["duration_s"], lambda spans: _classify(self._model, patches, spans))

    def _certified(self, path, spans, n_files):
        """The embedder takes nearly all of the time, so its ways are compared, by the scores that come of them."""
        ear = self._ear
        backend = next(iter(self.weights.values())).get("backend", "tensorflow")
        if backend != "litert" or not hasattr(ear.listener, "by_tensorflow"):
            return litert.only(backend, f"{ear.listener.name} is computed by {backend} here")
        if ear.certificate is None:
            plain = ears.Ear(ear.listener.by_tensorflow())
            spans = spans[:CERTIFIED]

            def way(one):
                return lambda end_s: _classify(self._model, one.hear(path, self.denoise, end_s, again=True), spans)

            ear.certificate = litert.certificate(way(plain), way(ear), spans[-1][1], names=("tensorflow", "litert"))
            if ear.certificate["chosen"] == "tensorflow":
                ear.listener = plain.listener
            ear.forget()
        self.weights = ear.listener.weights
        return ear.certificate


class WaveformMember(_Member):
    """A classifier of waveforms: a mel model, a Bird-MAE.

    Args:
        model: keras.Model, (batch, samples) → (batch, classes).
        key: digest of its file; n_threads: of LiteRT.
        backend: one of ``_BACKENDS``.
    """

    few = 100  # files, for which converting a model would take longer than it saves

    def __init__(self, name, place, classes, preprocessing, model, key, backend="auto", n_threads=2):
        super().__init__(name, place, classes, preprocessing, {})
        self._model, self._key, self._backend, self._n_threads = model, key, backend, n_threads
        self._run = litert.keras_way(model)

    def _listen(self, path, denoise):
        duration_s = audio_io.describe(path)["duration_s"]

        def scores(spans):
            found = np.empty((len(spans), len(self.classes)), np.float32)
            for rows, waveforms in self._batches(path, denoise, spans):
                found[rows] = self._run(waveforms)
            return found

        return Heard(duration_s, scores)

    def _batches(self, path, denoise, spans):
        """Yields (rows, waveforms (rows, samples)), in little memory."""
        rate_hz, window_s = self.preprocessing["sample_rate_hz"], self.preprocessing["window_s"]
        middles_s = [(start_s + end_s) / 2 for start_s, end_s in spans]
        starts = np.round(np.maximum(0.0, np.array(middles_s) - window_s / 2) * rate_hz).astype(int)
        rows, waveforms = [], []
        for row, waveform in ears.cut(ears.blocks(path, rate_hz, denoise), starts, self._model.input_shape[1]):
            rows.append(row)
            waveforms.append(waveform)
            if len(rows) == litert.BATCH:
                yield rows, np.stack(waveforms)
                rows, waveforms = [], []
        if rows:
            yield rows, np.stack(waveforms)

    def _certified(self, path, spans, n_files):
        converted = litert.lite_path(self._key).is_file()
        if self._backend == "tensorflow" or (self._backend == "auto" and not converted and n_files < self.few):
            asked = "asked for" if self._backend == "tensorflow" else f"{n_files} files are too few to convert the model for"
            return litert.only("keras", asked)
        if not litert.has_litert():
            return litert.only("keras", "LiteRT (ai-edge-litert) is not installed, or there is a GPU")
        waveforms = np.concatenate([some for _, some in self._batches(path, self.denoise, spans)])
        try:
            other = litert.lite_way(self._model, self._key, self._n_threads)
            certificate = litert.certificate(self._run, other, waveforms)
        except Exception as error:  # a converter fails in many ways, and Keras is there
            return litert.only("keras", f"LiteRT cannot compute it: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
        if certificate["chosen"] == "litert":
            self._run = other
        return certificate


def _load_one(folder, place, classes, heard_by, weights_dir, backend, n_threads):
    if backend not in _BACKENDS:
        raise MemberError(f"backend is {backend!r}: choose {', '.join(_BACKENDS)}")
    from birdlib.models import mae_heads  # noqa: F401  registers its layers with Keras
    from birdlib.species import mel_models  # noqa: F401  registers its layers with Keras

    model, own_classes, preprocessing = classifiers.load(folder / place)
    if own_classes != classes:
        raise MemberError(f"{folder / place} knows other species than {folder}: run notebooks/07_classify.ipynb again")
    if preprocessing.get("kind", "embeddings") == "waveform":
        name, key = Path(place).name or "classifier", runtime.digest_file(folder / place / classifiers.FILES[0])
        return WaveformMember(name, place, classes, preprocessing, model, key, backend, n_threads)
    asked = preprocessing["embedder"], preprocessing["octave_down"]
    if asked not in heard_by:
        one_way = backend if asked[0] == "yamnet" else "auto"
        heard_by[asked] = ears.Ear(embedders.load(asked[0], weights_dir, asked[1], one_way, n_threads))
    name = asked[0] if place == "." else Path(place).name
    return EmbeddingMember(name, place, classes, preprocessing, model, heard_by[asked])


def _classify(model, patches, spans):
    """(spans, classes); which patches a span hears: ``patchwise.patches_of``."""
    embeddings, weights, centres_s = (patches[name] for name in ("embeddings", "weights", "centres_s"))
    heard = [embedder_base.patches_of(centres_s, *span) for span in spans]
    longest, scores = max((last - first for first, last in heard), default=1), []
    for begin in range(0, len(spans), BATCH):
        # every batch has the same shape, so that the model is traced once: patches and spans of weight 0 are padding
        padded = np.zeros((BATCH, longest, embeddings.shape[1]), np.float32)
        padded_weights = np.zeros((BATCH, longest), np.float32)
        ends = heard[begin : begin + BATCH]
        for row, (first, last) in enumerate(ends):
            padded[row, : last - first] = embeddings[first:last]
            padded_weights[row, : last - first] = weights[first:last]
        scores.append(model.predict_on_batch({"embeddings": padded, "weights": padded_weights})[: len(ends)])
    return np.concatenate(scores)
