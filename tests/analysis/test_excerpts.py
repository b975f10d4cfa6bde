"""Scores of excerpts of a file are those of the whole file."""

import numpy as np
import pytest

from birdlib.analysis import windows
from birdlib.audio import io as audio_io
from birdlib.models import embedders, pooling
from birdlib.species import classifiers, file_embedding, members

RATE_HZ = 16_000  # two seconds begin on the grid of denoising
CLASSES = ["crow", "tit", "wren"]


class Loudness:
    """In place of an embedder: mean and deviation of each patch."""

    name, sample_rate_hz, patch_s, hop_s, dim, key = "yamnet", RATE_HZ, 0.96, 0.48, 2, "k" * 64
    resampler = "soxr_hq"
    weights = {"yamnet": {"source": "test", "sha256": "ab", "licence": "none", "backend": "tensorflow"}}

    def embed_stream(self, blocks):
        patches = audio_io.frame(np.concatenate(list(blocks)), round(self.patch_s * RATE_HZ), round(self.hop_s * RATE_HZ))
        embeddings = np.stack([np.abs(patches).mean(axis=1), patches.std(axis=1)], axis=1).astype(np.float32)
        yield embeddings, embeddings[:, 1]


class Patches:
    """In place of a classifier: the weighted mean of the embeddings, and how many there are."""

    def predict_on_batch(self, inputs):
        weights = inputs["weights"]
        mean = (weights[..., None] * inputs["embeddings"]).sum(axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        return np.concatenate([mean, (weights > 0).sum(axis=1, keepdims=True) / 20], axis=1).astype(np.float32)


class Waves:
    """In place of a network of waveforms of one second."""

    input_shape = (None, RATE_HZ)

    def run(self, waveforms):
        return np.stack([waveforms.mean(axis=1), waveforms.std(axis=1), waveforms[:, 0]], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A song that changes all the time, of 95.3 s at 32 kHz."""
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(round(95.3 * 32_000)) * np.repeat(rng.uniform(0.01, 0.1, 1000), 3200)[: round(95.3 * 32_000)]
    path = tmp_path_factory.mktemp("sounds") / "a.flac"
    audio_io.write(path, waveform.astype(np.float32), 32_000)
    return path


def embedding_member(denoise):
    preprocessing = {"embedder": "yamnet", "key": Loudness.key, "denoise": denoise}
    return members.EmbeddingMember("yamnet", ".", CLASSES, preprocessing, Patches(), file_embedding.FileEmbedder(Loudness()))


def waveform_member(denoise, monkeypatch):
    monkeypatch.setattr(members.litert, "keras_predictor", lambda model: model.run)
    return members.WaveformMember("wave", "w", CLASSES, {"sample_rate_hz": RATE_HZ, "window_s": 1.0, "denoise": denoise}, Waves(), "w" * 64)


def by_chunks(member, path, grid):
    noise = {member.sample_rate_hz: file_embedding.measure_noise(path, member.sample_rate_hz)} if member.denoise != "none" else {}
    reader = windows.Reader(path, grid, member.context_s + 1.0, noise=noise)
    chunks = list(reader)
    assert len(chunks) == 2
    return np.concatenate([member.predict_excerpt(chunk.excerpt, chunk.spans) for chunk in chunks])


@pytest.mark.parametrize(("denoise", "grid"), [("none", windows.Grid(5.0, 1.7)), ("stationary", windows.Grid(5.0, 5.0))])
@pytest.mark.parametrize("kind", ["embedding", "waveform"])
def test_chunks_have_the_scores_of_the_whole_file(path, monkeypatch, denoise, grid, kind):
    member = embedding_member(denoise) if kind == "embedding" else waveform_member(denoise, monkeypatch)
    whole = member.open(path).predict(grid.spans(0, grid.count(95.3)))
    np.testing.assert_allclose(by_chunks(member, path, grid), whole, atol=1e-4)


def test_a_file_is_embedded_once_for_several_members(path, monkeypatch):
    member, calls = embedding_member("none"), []
    monkeypatch.setattr(file_embedding, "_embed_excerpt", lambda *given: calls.append(given) or {"embeddings": np.ones((3, 2)), "weights": np.ones(3), "centres_s": np.arange(3.0)})
    excerpt = file_embedding.Excerpt(np.zeros(RATE_HZ, np.float32), RATE_HZ, 0, True)
    for _ in range(2):
        member.predict_excerpt(excerpt, [(0.0, 5.0)])
    member.predict_excerpt(excerpt, [(0.0, 5.0), (5.0, 10.0)])
    assert len(calls) == 2


def test_an_excerpt_without_the_context_is_refused(path):
    excerpt = file_embedding.Excerpt(np.zeros(20 * RATE_HZ, np.float32), RATE_HZ, 10, False)
    for spans in ([(10.0, 15.0)], [(25.0, 30.0)]):
        with pytest.raises(ValueError, match="lacks the context"):
            embedding_member("none").predict_excerpt(excerpt, spans)


@pytest.mark.slow
def test_chunks_have_the_scores_of_the_whole_file_with_yamnet_and_its_octave_down(path):
    embedder = embedders.load("yamnet", n_threads=1)
    model = classifiers.join(pooling.of_embedder("yamnet", embedder.dim, "mean"), classifiers.build_head(embedder.dim, 3, "multi", hidden=()), embedder.dim)
    preprocessing = {"embedder": "yamnet", "key": embedder.key}
    member = members.EmbeddingMember("yamnet", ".", CLASSES, preprocessing, model, file_embedding.FileEmbedder(embedder))
    grid = windows.Grid(5.0, 5.0)
    whole = member.open(path).predict(grid.spans(0, grid.count(95.3)))
    np.testing.assert_allclose(by_chunks(member, path, grid), whole, atol=1e-3)
