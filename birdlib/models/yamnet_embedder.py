"""YAMNet as an embedder, see ``embedders``: streaming, the octave-down view, and its body in Keras or LiteRT, which must agree."""

import numpy as np

from birdlib import devices, runtime
from birdlib.models import base, litert, yamnet

_MAX_DIFFERENCE, _MIN_COSINE = 1e-3, 0.9999  # between the two backends, see ``parity``
_BATCH = {"keras": 64, "litert": 16}  # patches; the last batch of a waveform is padded
_JAX_BATCH = 16  # patches, on a CPU


class YamnetEmbedder(base.PatchwiseEmbedder):
    """YAMNet's 1024-d embedding of each patch, or 2048-d with the octave-down view beside it.

    Patch i of the recording is joined with the mean of patches 2i, 2i + 1 and 2i + 2 of the recording at half speed,
    which begin, halve and end it.
    """

    name = "yamnet"
    patch_s, hop_s = yamnet.PATCH_S, yamnet.HOP_S

    def __init__(self, source, model, octave_down=True, backend="auto", n_threads=2):
        self.octave_down = octave_down
        self.sample_rate_hz = yamnet.SAMPLE_RATE_HZ * (2 if octave_down else 1)
        self.dim = yamnet.EMBEDDING_DIM * (2 if octave_down else 1)
        self.class_names = model.class_names
        self.key = runtime.digest({"name": self.name, "sha256": source.sha256, "octave_down": octave_down, "recipe": 1})
        self._is_bird = np.isin(model.class_names, yamnet.BIRD_CLASSES)
        self._parts = source, model, octave_down
        self._predict, facts = _predictor(model, source, backend, n_threads)
        self.weights = {self.name: {**source.receipt(), **facts}}

    def by_tensorflow(self):
        """The same embedder computed by TensorFlow, for comparison."""
        return YamnetEmbedder(*self._parts, "tensorflow").with_resampler(self.resampler)

    def _predict_stream(self, blocks):
        """Yields (embeddings, scores) of some patches at a time; the rest of the waveform waits for the next block."""
        n_patches = 21 if self.octave_down else 64  # 21 and 2 * 21 + 1 at half speed fill a batch of 64
        views = _octave_views(blocks) if self.octave_down else ((block,) for block in blocks)
        waiting = [np.zeros(0, np.float32)] * (2 if self.octave_down else 1)
        for new in views:
            waiting = [np.concatenate(pair) for pair in zip(waiting, new, strict=True)]
            while (len(waiting[0]) - yamnet.PATCH_SAMPLES) // yamnet.HOP_SAMPLES >= n_patches:  # one stays for the end
                yield self._first_patches(waiting, n_patches)
                waiting = _without_first(waiting, n_patches)
        n_left = yamnet.n_patches(len(waiting[0]))
        while n_left > 0:
            n = min(n_left, n_patches)
            yield self._first_patches(waiting, n)
            waiting, n_left = _without_first(waiting, n), n_left - n

    def _first_patches(self, views, n):
        if not self.octave_down:
            [(scores, embeddings)] = self._predict([yamnet.pad(views[0], n)])
            return embeddings, scores
        (scores, embeddings), (_, slow) = self._predict([yamnet.pad(views[0], n), yamnet.pad(views[1], 2 * n + 1)])
        lower = (slow[0:-1:2] + slow[1::2] + slow[2::2]) / 3.0  # (n, 1024)
        return np.concatenate([embeddings, lower], axis=1), scores


def _octave_views(blocks):
    """Blocks at 32 kHz → (the same at 16 kHz, the same samples read as 16 kHz: half speed, an octave lower)."""
    import soxr

    halver = soxr.ResampleStream(2, 1, 1, dtype="float32", quality="soxr_hq")
    for block in blocks:
        block = np.asarray(block, np.float32)
        yield halver.resample_chunk(block), block
    empty = np.zeros(0, np.float32)
    yield halver.resample_chunk(empty, last=True), empty


def _without_first(views, n):
    return [view[n * yamnet.HOP_SAMPLES * speed :] for speed, view in enumerate(views, start=1)]


# The two ways to compute it: Keras and LiteRT


def _predictor(model, source, backend, n_threads):
    """(predict, facts for the receipt); predict: waveforms of whole patches → a list of (scores, embeddings)."""
    if model.body is None:
        if backend == "litert":
            raise base.EmbedderError("the official SavedModel of YAMNet runs in TensorFlow only: choose another backend")
        return lambda waveforms: [model.predict(waveform)[:2] for waveform in waveforms], {"backend": "tensorflow"}
    import keras

    if keras.backend.backend() == "jax":
        if backend == "litert":
            raise base.EmbedderError("YAMNet is converted to LiteRT by TensorFlow: unset KERAS_BACKEND, or choose the backend auto")
        return _jax_predictor(model), {"backend": "jax"}
    front_end = litert.compiled(model.front_end, "waveform", (1, None))
    facts, body = {"backend": "tensorflow"}, None
    if backend == "litert" or (backend == "auto" and litert.has_litert()):
        path, found = _litert_model(model.body, source)
        facts["litert_parity"] = found
        if _agree(found):
            facts["backend"], body = "litert", _litert(path, n_threads)
        elif backend == "litert":
            raise base.EmbedderError(f"LiteRT does not agree with TensorFlow on this machine: {found}")
    body = body or _keras(model.body)

    def predict(waveforms):
        patches = [_patches(front_end(waveform[None])[0]) for waveform in waveforms]
        return _parted(body(np.concatenate(patches)), patches)

    return predict, facts


def _jax_predictor(model):
    """As of ``_predictor``: sound goes to the device in patches of one shape, as JAX compiles anew for each shape; the log-mel is computed there."""
    n = _BATCH["keras"] if devices.has_gpu() else _JAX_BATCH
    run = litert.in_batches(litert.compiled(of_patches(model), "patches", (n, yamnet.PATCH_SAMPLES)), n)

    def predict(waveforms):
        patches = [np.lib.stride_tricks.sliding_window_view(waveform, yamnet.PATCH_SAMPLES)[:: yamnet.HOP_SAMPLES] for waveform in waveforms]
        return _parted(run(np.concatenate(patches)), patches)

    return predict


def of_patches(model):
    """A ``yamnet.Yamnet`` in two halves as one keras.Model, patches of sound (batch, PATCH_SAMPLES) → {"scores", "embeddings"}."""
    import keras

    sound = keras.Input((yamnet.PATCH_SAMPLES,), name="patches")
    return keras.Model(sound, model.body(model.front_end(sound)))


def _parted(outputs, patches):
    """Outputs of the patches of several waveforms as a list of (scores, embeddings), one a waveform."""
    ends = np.cumsum([len(part) for part in patches])[:-1]
    return list(zip(np.split(outputs["scores"], ends), np.split(outputs["embeddings"], ends), strict=True))


def _patches(log_mel):
    windows = np.lib.stride_tricks.sliding_window_view(log_mel, yamnet.PATCH_FRAMES, axis=0)[:: yamnet.HOP_FRAMES]
    return windows.transpose(0, 2, 1)  # (patches, 96, 64)


def _keras(body):
    """YAMNet's body as a function: patches (n, 96, 64) → {"scores", "embeddings"}; so is ``_litert``."""
    return litert.in_batches(litert.compiled(body, "patches", _shape("keras")), _BATCH["keras"])


def _litert(path, n_threads):
    return litert.in_batches(litert.lite(path, n_threads), _BATCH["litert"])


def _shape(backend):
    return _BATCH[backend], yamnet.PATCH_FRAMES, yamnet.MEL_BANDS


def _litert_model(body, source):
    """(path of the float TFLite model, parity): converted and compared with TensorFlow once per weights."""
    path = runtime.cache_dir() / "litert" / f"{source.name}-{source.sha256[:16]}-{_BATCH['litert']}.tflite"
    facts_path = path.with_suffix(".json")
    if path.is_file() and facts_path.is_file():
        facts = runtime.read_json(facts_path)
        if facts.pop("sha256") == runtime.digest_file(path) and _agree(facts):
            return path, facts
    litert.convert(body, _shape("litert"), path)
    facts = parity(_keras(body), _litert(path, n_threads=2))
    runtime.write_json({**facts, "sha256": runtime.digest_file(path)}, facts_path)
    return path, facts


def _agree(parity):
    return parity["max_difference"] <= _MAX_DIFFERENCE and parity["min_cosine"] >= _MIN_COSINE


def parity(predict, other):
    """How far two backends are apart on 64 random log-mel patches from silence to loud.

    Returns:
        dict of ``max_difference`` (of scores and embeddings) and ``min_cosine`` (of embeddings).
    """
    rng = np.random.default_rng(0)
    level = np.linspace(-6.9, 3.0, 64, dtype=np.float32)[:, None, None]  # -6.9 = log(0.001) is digital silence
    patches = np.maximum(level + rng.standard_normal((64, 96, 64), dtype=np.float32), -6.9)
    ours, others = predict(patches), other(patches)
    a, b = ours["embeddings"], others["embeddings"]
    cosines = np.sum(a * b, axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    differences = [np.abs(ours[name] - others[name]).max() for name in ("scores", "embeddings")]
    return {"max_difference": float(max(differences)), "min_cosine": float(cosines.min())}
