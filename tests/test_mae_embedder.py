import numpy as np
import pytest
from tiny_mae import SIZE

from birdlib import mae, mae_embedder

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def listener():
    return mae_embedder.MaeEmbedder(
        mae.build_encoder(SIZE, 512, 128), {"sha256": "aa", "source": "here", "licence": "MIT"}
    )


def sound(seconds):
    return np.float32(0.1 * np.random.default_rng(0).normal(size=round(seconds * RATE_HZ)))


def test_every_five_seconds_have_an_embedding_and_no_sample_is_lost(listener):
    for seconds, n in ((0.1, 1), (5.0, 1), (5.1, 2), (12.0, 3)):
        embeddings, scores = listener.embed(sound(seconds))
        assert embeddings.shape == (n, 16) and (scores == 1.0).all() and len(scores) == n


def test_streaming_gives_what_the_whole_gives(listener):
    waveform = sound(52.0)  # 11 patches: more than are listened to at once
    streamed = [embeddings for embeddings, _ in listener.embed_stream(np.array_split(waveform, 7))]
    assert np.allclose(np.concatenate(streamed), listener.embed(waveform)[0], atol=1e-5)


def test_an_embedding_does_not_depend_on_its_neighbours(listener):
    waveform = sound(12.0)
    assert np.allclose(
        listener.embed(waveform)[0][1], listener.embed(waveform[5 * RATE_HZ : 10 * RATE_HZ])[0][0], atol=1e-5
    )


def test_other_weights_have_another_key(listener):
    encoder = mae.build_encoder(SIZE, 512, 128)
    keys = {mae_embedder.MaeEmbedder(encoder, {"sha256": sha256}).key for sha256 in ("aa", "bb")}
    assert len(keys) == 2 and listener.key in keys and listener.weights["bird_mae"]["licence"] == "MIT"
