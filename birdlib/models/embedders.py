"""Embedders: a recording in, one embedding per patch out, with the score that a bird is heard in the patch.

Every embedder has ``name``, ``sample_rate_hz`` (of the waveforms it wants), ``patch_s``, ``hop_s``, ``dim``, ``key`` (a
digest of everything that changes the numbers), ``weights`` (for the receipt), ``embed`` and ``embed_stream``. Patch i
begins at ``i * hop_s``. An embedding depends on its own patch only: not on its neighbours in a batch, on padding or on
the number of threads.
"""

import time

import numpy as np

from birdlib import runtime
from birdlib.models import base as embedder_base
from birdlib.models import birdnet, litert, perch, weights, yamnet

NAMES = ("yamnet", "birdnet", *perch.VERSIONS)
MAX_DIFFERENCE, _MIN_COSINE = 1e-3, 0.9999  # between the two ways to compute, see ``parity``
BATCH = {"tensorflow": 64, "litert": 16}  # patches; the last batch of a waveform is padded


class EmbedderError(runtime.BirdlibError):
    """An embedder that does not exist or cannot run as asked."""


def load(name="yamnet", folder="", octave_down=True, backend="auto", n_threads=2):
    """Load an embedder with its weights, which are fetched if need be.

    Args:
        name: "yamnet"; "birdnet", which runs in LiteRT only and has a licence that forbids commerce; "perch" or "perch_v2", which
            run in TensorFlow only. All but YAMNet have one view.
        folder: where the weights are, see ``weights.find``.
        octave_down: of YAMNet: hear each recording also at half speed, an octave lower, where it knows more; takes 32 kHz.
        backend: "tensorflow", "litert" or "auto": LiteRT on a CPU where the package ai-edge-litert is installed and
            agrees with TensorFlow, else TensorFlow. The interpreter inside older TensorFlows is slow on a busy machine.
        n_threads: of LiteRT; 1 where several processes share the machine.

    Raises:
        EmbedderError: an unknown name or backend, or one that these weights or this machine cannot serve.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    if name not in NAMES:
        raise EmbedderError(f"there is no embedder called {name!r}: choose one of {', '.join(NAMES)}")
    if backend not in ("auto", "tensorflow", "litert"):
        raise EmbedderError(f"backend is {backend!r}: choose auto, tensorflow or litert")
    if name == "birdnet" and backend == "tensorflow":
        raise EmbedderError("BirdNET runs in LiteRT only: choose the backend auto or litert")
    if name in perch.VERSIONS and backend == "litert":
        raise EmbedderError("Perch runs in TensorFlow only: choose the backend auto or tensorflow")
    source = weights.fetch(name, folder)
    if name == "birdnet":
        return birdnet.BirdnetEmbedder(source, birdnet.load(source, n_threads))
    if name in perch.VERSIONS:
        return perch.PerchEmbedder(source, perch.load(source))
    return YamnetEmbedder(source, yamnet.load(source), octave_down, backend, n_threads)


class YamnetEmbedder(embedder_base.PatchwiseEmbedder):
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
        self._birds = np.isin(model.class_names, yamnet.BIRD_CLASSES)
        self._made_of = source, model, octave_down
        self._hear, computed = _listener(model, source, backend, n_threads)
        self.weights = {self.name: {**source.receipt(), **computed}}

    def by_tensorflow(self):
        """The same embedder computed by TensorFlow, to compare with."""
        return YamnetEmbedder(*self._made_of, "tensorflow")

    def _pieces(self, blocks):
        """(embeddings, scores) of some patches at a time; what is left of the waveform waits for the next block."""
        n_at_once = 21 if self.octave_down else 64  # 21 and 2 * 21 + 1 at half speed fill a batch of 64
        views = _octave_views(blocks) if self.octave_down else ((block,) for block in blocks)
        waiting = [np.zeros(0, np.float32)] * (2 if self.octave_down else 1)
        for new in views:
            waiting = [np.concatenate(pair) for pair in zip(waiting, new, strict=True)]
            while (len(waiting[0]) - yamnet.PATCH_SAMPLES) // yamnet.HOP_SAMPLES >= n_at_once:  # one stays for the end
                yield self._first_patches(waiting, n_at_once)
                waiting = _without_first(waiting, n_at_once)
        n_left = yamnet.n_patches(len(waiting[0]))
        while n_left > 0:
            n = min(n_left, n_at_once)
            yield self._first_patches(waiting, n)
            waiting, n_left = _without_first(waiting, n), n_left - n

    def _first_patches(self, views, n):
        if not self.octave_down:
            [(scores, embeddings)] = self._hear([yamnet.pad(views[0], n)])
            return embeddings, scores
        heard = self._hear([yamnet.pad(views[0], n), yamnet.pad(views[1], 2 * n + 1)])
        (scores, embeddings), (_, slow) = heard
        lower = (slow[0:-1:2] + slow[1::2] + slow[2::2]) / 3.0  # (n, 1024)
        return np.concatenate([embeddings, lower], axis=1), scores


def _octave_views(blocks):
    """Blocks at 32 kHz → (the same at 16 kHz, the same samples taken for 16 kHz: half speed, an octave lower)."""
    import soxr

    halver = soxr.ResampleStream(2, 1, 1, dtype="float32", quality="soxr_hq")
    for block in blocks:
        block = np.asarray(block, np.float32)
        yield halver.resample_chunk(block), block
    nothing = np.zeros(0, np.float32)
    yield halver.resample_chunk(nothing, last=True), nothing


def _without_first(views, n):
    return [view[n * yamnet.HOP_SAMPLES * speed :] for speed, view in enumerate(views, start=1)]


# The two ways to compute: TensorFlow and LiteRT


def _listener(model, source, backend, n_threads):
    """(hear, facts for the receipt); hear: waveforms of whole patches → a list of (scores, embeddings)."""
    import tensorflow as tf

    if model.body is None:
        if backend == "litert":
            raise EmbedderError("the official SavedModel of YAMNet runs in TensorFlow only: choose another backend")
        return lambda waveforms: [model.hear(waveform)[:2] for waveform in waveforms], {"backend": "tensorflow"}

    front_end = tf.function(model.front_end, input_signature=[tf.TensorSpec((1, None), tf.float32)])
    chosen, facts = "tensorflow", {}
    if backend == "litert" or (backend == "auto" and litert.has_litert()):
        path, parity = _litert_model(model.body, source)
        facts = {"litert_parity": parity}
        if _agree(parity):
            chosen = "litert"
        elif backend == "litert":
            raise EmbedderError(f"LiteRT does not agree with TensorFlow on this machine: {parity}")
    listen = _litert(path, n_threads) if chosen == "litert" else _tensorflow(model.body)

    def hear(waveforms):
        spectrograms = [front_end(waveform[None]).numpy()[0] for waveform in waveforms]  # (frames, 64) each
        patches = [_patches(log_mel) for log_mel in spectrograms]
        scores, embeddings = listen(np.concatenate(patches))
        ends = np.cumsum([len(some) for some in patches])[:-1]
        return list(zip(np.split(scores, ends), np.split(embeddings, ends), strict=True))

    return hear, {"backend": chosen, **facts}


def _patches(log_mel):
    windows = np.lib.stride_tricks.sliding_window_view(log_mel, yamnet.PATCH_FRAMES, axis=0)[:: yamnet.HOP_FRAMES]
    return windows.transpose(0, 2, 1)  # (patches, 96, 64)


def _tensorflow(body):
    run = litert.traced(body, "patches", _shape(BATCH["tensorflow"]))
    return _both(lambda patches: {name: given.numpy() for name, given in run(patches).items()}, BATCH["tensorflow"])


def _litert(path, n_threads):
    return _both(litert.lite(path, n_threads), BATCH["litert"])


def _both(run, size):
    """Any number of patches → (scores, embeddings)."""
    listen = litert.in_batches(run, size)

    def listen_to_all(patches):
        heard = listen(patches)
        return heard["scores"], heard["embeddings"]

    return listen_to_all


def _shape(size):
    return size, yamnet.PATCH_FRAMES, yamnet.MEL_BANDS


def _litert_model(body, source):
    """(path of the float TFLite model, parity): converted and compared with TensorFlow once per weights."""
    path = runtime.cache_dir() / "litert" / f"{source.name}-{source.sha256[:16]}-{BATCH['litert']}.tflite"
    facts_path = path.with_suffix(".json")
    if path.is_file() and facts_path.is_file():
        facts = runtime.read_json(facts_path)
        if facts.pop("sha256") == runtime.digest_file(path) and _agree(facts):
            return path, facts
    litert.convert(body, _shape(BATCH["litert"]), path)
    facts = parity(_tensorflow(body), _litert(path, n_threads=2))
    runtime.write_json({**facts, "sha256": runtime.digest_file(path)}, facts_path)
    return path, facts


def _agree(parity):
    return parity["max_difference"] <= MAX_DIFFERENCE and parity["min_cosine"] >= _MIN_COSINE


def parity(listen, other):
    """How far two ways to compute are apart on 64 random log-mel patches from silence to loud.

    Returns:
        dict of ``max_difference`` (of scores and embeddings) and ``min_cosine`` (of embeddings).
    """
    rng = np.random.default_rng(0)
    level = np.linspace(-6.9, 3.0, 64, dtype=np.float32)[:, None, None]  # -6.9 = log(0.001) is digital silence
    patches = np.maximum(level + rng.standard_normal((64, 96, 64), dtype=np.float32), -6.9)
    (scores, embeddings), (other_scores, other_embeddings) = listen(patches), other(patches)
    norms = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(other_embeddings, axis=1)
    cosines = np.sum(embeddings * other_embeddings, axis=1) / np.maximum(norms, 1e-12)
    differences = np.abs(scores - other_scores).max(), np.abs(embeddings - other_embeddings).max()
    return {"max_difference": float(max(differences)), "min_cosine": float(cosines.min())}


def benchmark(seconds=2.0, n_threads=2):
    """Time YAMNet's body in the three ways one may call it.

    Args:
        seconds: spent on each, after a first call that is not counted.
        n_threads: of LiteRT.

    Returns:
        DataFrame: way, patches_per_s, and times_predict, the ratio to Keras ``predict`` of one patch.
    """
    import pandas as pd

    source = weights.fetch("yamnet")
    model = yamnet.load(source)
    if model.body is None:
        raise EmbedderError("the official SavedModel has one way only: there is nothing to compare")
    patches = np.random.default_rng(0).standard_normal((64, 96, 64), dtype=np.float32)
    path, _ = _litert_model(model.body, source)
    ways = {
        "Keras predict, one patch": (lambda some: model.body.predict(some, verbose=0), 1),
        f"tf.function, {BATCH['tensorflow']} patches": (_tensorflow(model.body), 64),
        f"LiteRT, {BATCH['litert']} patches, {n_threads} threads": (_litert(path, n_threads), 64),
    }
    rows = []
    for way, (listen, n) in ways.items():
        listen(patches[:n])
        begun, n_heard = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < seconds:
            listen(patches[:n])
            n_heard += n
        rows.append({"way": way, "patches_per_s": n_heard / spent})
    table = pd.DataFrame(rows)
    return table.assign(times_predict=table["patches_per_s"] / table["patches_per_s"].iloc[0])
