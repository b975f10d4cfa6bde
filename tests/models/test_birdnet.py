import numpy as np
import pytest
import tiny_tflite

from birdlib.audio import io as audio_io
from birdlib.models import birdnet, embedders, weights

LABELS = ["Turdus merula_Eurasian Blackbird", "Engine_Engine", "Pica pica_Eurasian Magpie", "Human vocal_Human vocal"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The source of a random network in the files and the form of BirdNET's."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inner = tf.constant(rng.normal(0, 0.1, (1000, 8)).astype(np.float32))
    last = tf.constant(rng.normal(0, 1, (8, len(LABELS))).astype(np.float32))
    bias = tf.constant(rng.normal(0, 1, len(LABELS)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, birdnet.PATCH_SAMPLES), tf.float32)])
    def network(waveform):
        embedding = tf.reduce_mean(tf.nn.relu(tf.reshape(waveform, (1, 144, 1000)) @ inner), axis=1)
        return tf.matmul(embedding, last) + bias

    return tiny_tflite.source("birdnet", tmp_path_factory.mktemp("birdnet"), network, LABELS)


@pytest.fixture(scope="module")
def embedder(small):
    return birdnet.BirdnetEmbedder(small, birdnet.load(small))


@pytest.fixture(scope="module")
def real():
    return embedders.load("birdnet")


def noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def test_the_species_are_named_and_people_dogs_and_engines_are_not_wild(small):
    table = birdnet.species(small)
    assert table["species"].tolist() == ["Turdus merula", "Engine", "Pica pica", "Human vocal"]
    assert table["common_name"][2] == "Eurasian Magpie"
    assert table["is_wild"].tolist() == [True, False, True, False]


def test_the_last_layer_gives_the_scores_from_the_embedding(small, embedder):
    kernel, bias = birdnet.last_layer(small)
    embeddings, scores = embedder.predict(noise(2 * birdnet.PATCH_SAMPLES).reshape(2, -1))
    assert kernel.shape == (embedder.dim, len(LABELS)) and 1 / (1 + np.exp(-(embeddings @ kernel + bias))) == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("n_samples", [0, 1, 144_000])
def test_up_to_three_seconds_are_one_patch(embedder, n_samples):
    embeddings, bird_score = embedder.embed(noise(n_samples))
    assert embeddings.shape == (1, embedder.dim) and bird_score.shape == (1,)
    assert embeddings.dtype == bird_score.dtype == np.float32


def test_there_is_a_patch_every_second_and_a_half_and_no_sample_is_lost(embedder):
    """10 s: patches begin at 0, 1.5, 3, 4.5, 6 and 7.5 s; the last reaches to 10.5 s."""
    assert len(embedder.embed(noise(480_000))[0]) == 6
    assert len(embedder.embed(noise(504_001))[0]) == 7  # one sample beyond 10.5 s


def test_an_embedding_depends_on_its_three_seconds_only(embedder):
    waveform = noise(480_000)
    embeddings, _ = embedder.embed(waveform)
    alone, _ = embedder.embed(waveform[2 * 72_000 : 2 * 72_000 + 144_000])
    assert np.array_equal(embeddings[2], alone[0])


def test_streaming_equals_the_whole_waveform(embedder):
    waveform = noise(20 * 72_000 + 5)
    pieces = zip(*embedder.embed_stream(np.split(waveform, [1, 7, 50_000, 50_001, 700_000])), strict=True)
    for parts, expected in zip(pieces, embedder.embed(waveform), strict=True):
        assert np.array_equal(np.concatenate(parts), expected)


def test_the_embedding_is_the_input_of_the_last_layer(embedder, small):
    """Its ReLU makes it non-negative; twice as loud is twice the embedding in this network without biases."""
    waveform = noise(144_000)
    one, two = embedder.embed(waveform)[0], embedder.embed(2 * waveform)[0]
    assert one.min() >= 0.0 and one.max() > 0.0 and np.allclose(two, 2 * one, rtol=1e-4)


def test_the_bird_score_is_the_highest_of_a_wild_species(embedder):
    waveform = noise(300_000)
    scores = embedder.scores(waveform)
    assert scores.shape == (4, 4) and embedder.class_names[0] == "Turdus merula"
    assert np.array_equal(embedder.embed(waveform)[1], scores[:, [0, 2]].max(axis=1))


def test_the_key_changes_with_the_weights_and_the_receipt_has_their_licence(embedder, small):
    import dataclasses

    other = dataclasses.replace(small, sha256="cd" * 32)
    assert birdnet.BirdnetEmbedder(other, birdnet.load(other)).key != embedder.key
    assert embedder.weights["birdnet"]["licence"] == "CC BY-NC-SA 4.0"
    assert embedder.weights["birdnet"]["sha256"] == "ab" * 32


def test_a_tensor_that_is_not_the_embedding_is_refused(small, monkeypatch):
    """As an interpreter would give that lets another tensor have its place."""
    wrong = birdnet.litert.open_interpreter(small.path / next(iter(weights.MODELS["birdnet"].files)))
    [wanted] = wrong.get_output_details()

    class Overwriting:
        def __getattr__(self, name):
            return getattr(wrong, name)

        def get_tensor(self, index):
            found = np.array([[0.0] * 8], np.float32) if index == wanted["index"] - 1 else wrong.get_tensor(index)
            return found

    monkeypatch.setattr(birdnet.litert, "open_interpreter", lambda *arguments, **options: Overwriting())
    with pytest.raises(birdnet.BirdnetError, match="update ai-edge-litert"):
        birdnet.load(small)


def test_labels_of_another_version_are_refused(small, tmp_path):
    import dataclasses

    model_name, labels_name = weights.MODELS["birdnet"].files
    (tmp_path / model_name).write_bytes((small.path / model_name).read_bytes())
    (tmp_path / labels_name).write_text("\n".join(LABELS[:3]), encoding="utf-8")
    with pytest.raises(birdnet.BirdnetError, match="3 labels for 4 classes"):
        birdnet.load(dataclasses.replace(small, path=tmp_path))


def test_birdnet_is_an_embedder_by_name(small, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda name, folder: {"birdnet": small}[name])
    assert embedders.load("birdnet").name == "birdnet"
    with pytest.raises(embedders.EmbedderError, match="LiteRT only"):
        embedders.load("birdnet", backend="tensorflow")


@pytest.mark.slow
def test_the_real_birdnet_has_6522_classes_and_a_low_bird_score_for_silence(real):
    assert real.dim == 1024 and len(real.species) == 6522 and real.species["is_wild"].sum() == 6522 - 11
    assert {"Turdus merula", "Melospiza melodia"} <= set(real.class_names)
    embeddings, bird_score = real.embed(np.zeros(144_000, np.float32))
    assert np.isfinite(embeddings).all() and bird_score[0] < 0.05  # digital silence


@pytest.mark.slow
def test_embeddings_of_the_real_birdnet_do_not_depend_on_loudness(real):
    waveform = noise(144_000)
    loud, faint = real.embed(waveform)[0][0], real.embed(0.1 * waveform)[0][0]
    assert np.dot(loud, faint) / np.linalg.norm(loud) / np.linalg.norm(faint) > 0.999


@pytest.mark.slow
def test_the_real_birdnet_scores_a_bird_of_the_sample_above_noise(real):
    """Drawn birds are no species, but more like birds than noise is."""
    from birdlib.data.synthetic import sample

    path = sorted((sample.ensure() / "train_audio").glob("*/*.ogg"))[0]
    waveform, _ = audio_io.read(path, real.sample_rate_hz)
    assert real.embed(waveform)[1].max() > real.embed(noise(144_000))[1].max()
