"""Members of an ensemble: classifiers of spans (start_s, end_s) of sound files; scores are (spans, classes) float32.

They are of two kinds: heads on an embedder, which embeds a file once for all members that share it, and classifiers of the waveform of
each span.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from birdlib.audio import io as audio_io
from birdlib.audio import noise
from birdlib.models import base as embedder_base
from birdlib.models import litert
from birdlib.species import classifiers, file_embedding

CERTIFIED = 3  # windows at the beginning of a file, on which the backends of an embedder are compared
BATCH = 16  # spans whose patches are classified at once


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """A file opened by a member.

    Attributes:
        duration_s: of the file.
        predict: list of (start_s, end_s), in any order → (spans, classes) float32. Beyond the end of the file, a span is filled by
            ``windowing.fill``, or takes the nearest patch.
    """

    duration_s: float
    predict: Callable


class _Member:
    """A classifier of spans of sound files.

    Attributes:
        name: for people.
        member_id: its folder, as ``load_config`` names it.
        classes, preprocessing: as of ``classifiers.load``.
        weights: of its pretrained network, for the receipt.
        certificate: its backend and why, see ``certify``; {} before.
        context_s: seconds of sound around a span that its scores need, see ``predict_excerpt``.
        sample_rate_hz: of the waveforms that it takes.
    """

    def __init__(self, name, member_id, classes, preprocessing, weights):
        self.name, self.member_id, self.classes = name, member_id, classes
        self.preprocessing, self.weights = preprocessing, weights
        self.denoise = preprocessing.get("denoise", "none")
        self.certificate = {}

    def open(self, path, denoise=True):
        """Open a sound file.

        Args:
            path: of the file.
            denoise: whether to denoise as the member's training recordings were, if they were.

        Returns:
            OpenFile.

        Raises:
            AudioError: if the file cannot be read; some errors appear only in ``OpenFile.predict``.
        """
        return self._open(path, self.denoise if denoise else "none")

    def predict_excerpt(self, excerpt, spans, denoise=True):
        """Predict spans of a file of which a part is in memory.

        Args:
            excerpt: ``file_embedding.Excerpt`` that holds the spans with ``context_s`` on either side, or ends with the file.
            spans: list of (start_s, end_s) in seconds of the file.
            denoise: as in ``open``.

        Returns:
            (spans, classes) float32: as ``open(path).predict(spans)``.
        """
        return self._predict_excerpt(excerpt, spans, self.denoise if denoise else "none")

    def certify(self, path, spans, n_files):
        """Compare the backends of this member on real sound and keep the fastest whose scores agree; it sets ``certificate``.

        Args:
            path: of a readable sound file.
            spans: windows of it.
            n_files: to be predicted: for a few, no model is converted.
        """
        self.certificate = self._certify(path, spans, n_files)

    def use(self, chosen):
        """Take the backend that ``certify`` chose in another process, without comparing again."""
        self._use(chosen)


class EmbeddingMember(_Member):
    """A classifier of pooled patches.

    Args:
        model: from ``classifiers.load``.
        file_embedder: FileEmbedder.

    Raises:
        ClassifierError: if it was trained on another embedder.
    """

    def __init__(self, name, member_id, classes, preprocessing, model, file_embedder):
        classifiers.require_same_embedder(preprocessing, file_embedder.embedder)
        super().__init__(name, member_id, classes, preprocessing, file_embedder.embedder.weights)
        self._model, self._file_embedder = model, file_embedder

    def _open(self, path, denoise):
        patches = self._file_embedder.embed(path, denoise)
        return OpenFile(patches["duration_s"], lambda spans: _classify(self._model, patches, spans))

    @property
    def sample_rate_hz(self):
        return self._file_embedder.embedder.sample_rate_hz

    @property
    def context_s(self):
        embedder = self._file_embedder.embedder
        return _denoising_context_s(self.denoise, embedder.sample_rate_hz) + embedder.patch_s + 3 * embedder.hop_s

    def _predict_excerpt(self, excerpt, spans, denoise):
        start_s, end_s = min(start_s for start_s, _ in spans), max(end_s for _, end_s in spans)
        return _classify(self._model, self._file_embedder.embed_excerpt(excerpt, denoise, start_s, end_s), spans)

    def _certify(self, path, spans, n_files):
        """The embedder takes nearly all of the time, so its backends are compared, by the scores that follow."""
        shared = self._file_embedder
        backend = next(iter(self.weights.values())).get("backend", "tensorflow")
        if backend != "litert" or not hasattr(shared.embedder, "by_tensorflow"):
            return litert.without_comparison(backend, f"{shared.embedder.name} is computed by {backend} here")
        if shared.certificate is None:
            plain = file_embedding.FileEmbedder(shared.embedder.by_tensorflow())
            spans = spans[:CERTIFIED]

            def scorer(file_embedder):
                return lambda end_s: _classify(self._model, file_embedder.embed(path, self.denoise, end_s, again=True), spans)

            shared.certificate = litert.certificate(scorer(plain), scorer(shared), spans[-1][1], names=("tensorflow", "litert"))
            if shared.certificate["chosen"] == "tensorflow":
                shared.embedder = plain.embedder
            shared.forget()
        self.weights = shared.embedder.weights
        return shared.certificate

    def _use(self, chosen):
        embedder = self._file_embedder.embedder
        if chosen == "tensorflow" and embedder.weights[embedder.name].get("backend") == "litert" and hasattr(embedder, "by_tensorflow"):
            self._file_embedder.embedder = embedder.by_tensorflow()


class WaveformMember(_Member):
    """A classifier of waveforms: a mel model, a Bird-MAE.

    Args:
        model: keras.Model, (batch, samples) → (batch, classes).
        key: digest of its file; n_threads: of LiteRT.
        backend: as of ``inference.load``.
    """

    min_files_to_convert = 100  # for fewer, converting a model takes longer than it saves

    def __init__(self, name, member_id, classes, preprocessing, model, key, backend="auto", n_threads=2):
        super().__init__(name, member_id, classes, preprocessing, {})
        self.model, self._key, self._backend, self._n_threads = model, key, backend, n_threads
        self._front, self._run = None, litert.keras_predictor(model)  # of waveforms, or of the spectrograms of ``_front``

    def share(self, front):
        """Take the spectrograms of a ``front_ends.SharedFrontEnd`` in place of its own."""
        self._front, self._run = front, litert.keras_predictor(self.model.get_layer("body"))

    def _open(self, path, denoise):
        duration_s = audio_io.duration(path)

        return OpenFile(duration_s, lambda spans: self._predict(self._batches(path, denoise, spans), len(spans)))

    def _predict(self, batches, n_spans):
        scores = np.empty((n_spans, len(self.classes)), np.float32)
        for rows, inputs in batches:
            scores[rows] = self._run(inputs)
        return scores

    @property
    def sample_rate_hz(self):
        return self.preprocessing["sample_rate_hz"]

    @property
    def context_s(self):
        return _denoising_context_s(self.denoise, self.sample_rate_hz) + self.preprocessing["window_s"] / 2 + 1.0

    def _predict_excerpt(self, excerpt, spans, denoise):
        def cut():
            return self._cut([excerpt.read(self.sample_rate_hz, denoise)], spans, excerpt.start_s)

        return self._predict(self._inputs((excerpt, denoise, *spans), cut), len(spans))

    def _batches(self, path, denoise, spans):
        """Yields (rows, inputs of the network), in little memory."""
        return self._inputs((path, denoise, *spans), lambda: self._cut(file_embedding.read_blocks(path, self.sample_rate_hz, denoise), spans))

    def _inputs(self, key, cut):
        return self._front.compute(key, cut) if self._front else cut()

    def _cut(self, blocks, spans, blocks_start_s=0):
        rate_hz, window_s = self.sample_rate_hz, self.preprocessing["window_s"]
        middles_s = [(start_s + end_s) / 2 for start_s, end_s in spans]
        starts = np.round(np.maximum(0.0, np.array(middles_s) - window_s / 2) * rate_hz).astype(int) - blocks_start_s * rate_hz
        windows = file_embedding.cut(blocks, starts, self.model.input_shape[1])
        while batch := list(itertools.islice(windows, litert.BATCH)):
            rows, waveforms = zip(*batch, strict=True)
            yield list(rows), np.stack(waveforms)

    def _certify(self, path, spans, n_files):
        is_converted = litert.converted_path(self._key).is_file()
        if self._backend == "tensorflow":
            return litert.without_comparison("keras", "asked for")
        if self._backend == "auto" and not is_converted and n_files < self.min_files_to_convert:
            return litert.without_comparison("keras", f"{n_files} files are too few to convert the model for")
        if not litert.has_litert():
            return litert.without_comparison("keras", "LiteRT (ai-edge-litert) is not installed, or there is a GPU")
        inputs = np.concatenate([batch for _, batch in self._batches(path, self.denoise, spans)])
        try:
            converted = self._converted()
            certificate = litert.certificate(self._run, converted, inputs)
        except Exception as error:  # a converter fails in many ways, and Keras works
            return litert.without_comparison("keras", f"LiteRT cannot compute it: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
        if certificate["chosen"] == "litert":
            self._run = converted
        return certificate

    def _converted(self):
        convert = litert.litert_body_predictor if self._front else litert.litert_predictor
        return convert(self.model, self._key, self._n_threads)

    def _use(self, chosen):
        if chosen == "litert":
            self._run = self._converted()


def _denoising_context_s(denoise, rate_hz):
    return 0.0 if denoise == "none" else noise.CONTEXT[denoise] / rate_hz + 1.0


def _classify(model, patches, spans):
    """(spans, classes); the patches of a span: ``base.patches_of``."""
    embeddings, weights, centres_s = (patches[name] for name in ("embeddings", "weights", "centres_s"))
    bounds = [embedder_base.patches_of(centres_s, *span) for span in spans]
    longest, scores = max((last - first for first, last in bounds), default=1), []
    for begin in range(0, len(spans), BATCH):
        # every batch has the same shape, so that the model is traced once: patches and spans of weight 0 are padding
        padded = np.zeros((BATCH, longest, embeddings.shape[1]), np.float32)
        padded_weights = np.zeros((BATCH, longest), np.float32)
        batch = bounds[begin : begin + BATCH]
        for row, (first, last) in enumerate(batch):
            padded[row, : last - first] = embeddings[first:last]
            padded_weights[row, : last - first] = weights[first:last]
        scores.append(model.predict_on_batch({"embeddings": padded, "weights": padded_weights})[: len(batch)])
    return np.concatenate(scores)
