import numpy as np
import pytest

from birdlib.models import embedders, weights, yamnet, yamnet_embedder
from birdlib.models import litert as models_litert


@pytest.fixture(scope="module", params=["tensorflow", "litert"])
def embedder(request, tmp_path_factory):
    """An embedder around a small random network, by either backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIRDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return small_embedder(backend=request.param)


@pytest.fixture(scope="module")
def real():
    return embedders.load("yamnet")


def small_embedder(octave_down=True, backend="tensorflow", sha256="ab" * 32, n_threads=2):
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.3, (3, 3, 1, 8)).astype(np.float32)
    wide = rng.normal(0, 0.3, (1, 1, 8, 1024)).astype(np.float32)
    dense = rng.normal(0, 0.05, (1024, 521)).astype(np.float32)
    layers = [("conv", 2, kernel, np.zeros(8)), ("conv", 1, wide, np.zeros(1024)), ("dense", 1, dense, np.zeros(521))]
    model = yamnet.build_model(layers)

    def predict(waveform):
        outputs = model(yamnet.pad(waveform)[None])
        return tuple(np.asarray(outputs[name])[0] for name in ("scores", "embeddings", "log_mel"))

    names = [*yamnet.BIRD_CLASSES, *(f"Class {i}" for i in range(len(yamnet.BIRD_CLASSES), 521))]
    whole = yamnet.Yamnet(names, predict, model.get_layer("front_end"), model.get_layer("body"))
    source = weights.Source("yamnet", None, "test", sha256, "none", "tflite")
    return yamnet_embedder.YamnetEmbedder(source, whole, octave_down, backend, n_threads)


def noise(n_samples, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(n_samples) * np.linspace(0.1, 3, n_samples)).astype(np.float32)


def test_there_is_an_embedding_every_480_ms(embedder):
    """10 s = 160,000 samples at 16 kHz: 1 + ceil((160,000 - 15,600) / 7,680) = 20 patches."""
    embeddings, bird_score = embedder.embed(noise(320_000))
    assert embeddings.shape == (20, embedder.dim) == (20, 2048) and bird_score.shape == (20,)
    assert embeddings.dtype == bird_score.dtype == np.float32
    assert bird_score.min() >= 0.0 and bird_score.max() <= 1.0


@pytest.mark.parametrize("n_samples", [1, 1280, 31_200])
def test_a_clip_shorter_than_a_patch_gives_one_patch(embedder, n_samples):
    embeddings, bird_score = embedder.embed(noise(n_samples))
    assert embeddings.shape == (1, 2048) and bird_score.shape == (1,) and np.isfinite(embeddings).all()


def test_padding_and_neighbours_do_not_change_an_embedding(embedder):
    """The first 5 s alone, and the same 5 s before other sound: only the patches that reach beyond them differ."""
    waveform = noise(900_000)
    alone, _ = embedder.embed(waveform[:160_000])
    before, _ = embedder.embed(waveform)
    whole = (80_000 - 15_600) // 7_680  # one fewer: the resampler looks a little ahead
    assert np.abs(alone[:whole] - before[:whole]).max() < 1e-5


def test_streaming_equals_the_whole_waveform(embedder):
    waveform = noise(900_001)
    cuts = [1, 7, 50_000, 50_001, 700_000]
    streamed = zip(*embedder.embed_stream(np.split(waveform, cuts)), strict=True)
    for parts, expected in zip(streamed, embedder.embed(waveform), strict=True):
        assert np.abs(np.concatenate(parts) - expected).max() < 1e-5


def test_a_long_stream_keeps_no_more_than_a_block_in_memory(embedder, monkeypatch):
    """What waits for the next block is never longer than that block, 22 patches at half speed and a window's end."""
    lengths = []

    def first_patches(views, n):
        lengths.append(len(views[1]))
        return np.zeros((n, 2048)), np.zeros((n, 521))

    monkeypatch.setattr(embedder, "_first_patches", first_patches)
    block = noise(64_000)
    n_patches = sum(len(embeddings) for embeddings, _ in embedder.embed_stream(block for _ in range(100)))
    assert n_patches == yamnet.n_patches(3_200_000) and max(lengths) < 64_000 + 22 * 15_360 + 31_200


def test_the_second_half_is_the_recording_an_octave_lower(embedder):
    """A tone at half speed is a tone of half the frequency, so view 2 of 2 kHz is view 1 of 1 kHz."""
    seconds = np.arange(320_000) / 32_000
    high, _ = embedder.embed(np.sin(2 * np.pi * 2000 * seconds).astype(np.float32))
    low, _ = embedder.embed(np.sin(2 * np.pi * 1000 * seconds).astype(np.float32))
    assert np.allclose(high[5:15, 1024:], low[5:15, :1024], atol=1e-3)


def test_the_octave_down_view_is_the_mean_of_the_three_slow_patches(embedder):
    waveform = noise(200_000)
    plain = small_embedder(octave_down=False)
    slow, _ = plain.embed(waveform)  # the same samples, taken for 16 kHz
    embeddings, _ = embedder.embed(waveform)
    expected = [slow[2 * i : 2 * i + 3].mean(axis=0) for i in range(5)]
    assert np.allclose(embeddings[:5, 1024:], expected, atol=1e-4)


def test_the_bird_score_is_the_highest_of_a_bird_class(embedder):
    waveform = noise(100_000)
    scores = embedder.scores(waveform)
    assert scores.shape[1] == len(embedder.class_names) == 521
    assert np.array_equal(embedder.embed(waveform)[1], scores[:, : len(yamnet.BIRD_CLASSES)].max(axis=1))


def test_the_key_changes_with_weights_and_views_but_not_with_threads():
    """The backends agree within rounding."""
    keys = [small_embedder(), small_embedder(octave_down=False), small_embedder(sha256="cd" * 32)]
    assert len({one.key for one in keys}) == 3
    assert small_embedder(n_threads=1).key == keys[0].key


def test_the_key_changes_with_the_resampler_also_in_the_other_backend():
    plain, other = small_embedder(), small_embedder().with_resampler("kaiser_best")
    assert plain.with_resampler("soxr_hq").key == small_embedder().key  # so that stores of earlier runs stay valid
    assert other.resampler == "kaiser_best" and other.key != plain.key
    assert other.by_tensorflow().resampler == "kaiser_best" and other.by_tensorflow().key == other.key


def test_an_unknown_resampler_is_refused():
    with pytest.raises(embedders.EmbedderError, match="choose soxr_hq or kaiser_best"):
        embedders.load("yamnet", resampler="kaiser_fast")


def test_litert_is_used_only_where_it_agrees_with_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path))
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    monkeypatch.setattr(models_litert.importlib.util, "find_spec", lambda name: name)
    facts = small_embedder(backend="auto").weights["yamnet"]
    assert facts["backend"] == "litert" and facts["sha256"] == "ab" * 32
    assert facts["litert_parity"]["max_difference"] < 1e-4 and facts["litert_parity"]["min_cosine"] > 0.99999
    monkeypatch.setattr(yamnet_embedder, "parity", lambda *ways: {"max_difference": 0.5, "min_cosine": 0.9})
    other = {"sha256": "cd" * 32}
    assert small_embedder(backend="auto", **other).weights["yamnet"]["backend"] == "tensorflow"
    with pytest.raises(embedders.EmbedderError, match="does not agree"):
        small_embedder(backend="litert", **other)


def test_a_gpu_computes_in_tensorflow(monkeypatch):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: ["GPU:0"])
    assert small_embedder(backend="auto").weights["yamnet"]["backend"] == "tensorflow"


def test_the_number_of_threads_does_not_change_an_embedding(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path))
    waveform = noise(200_000)
    one, two = (small_embedder(backend="litert", n_threads=n).embed(waveform)[0] for n in (1, 2))
    assert np.abs(one - two).max() < 1e-5


def test_the_official_saved_model_is_an_embedder_too():
    """It comes in one piece, so each view is outputs as a whole."""

    def predict(waveform):
        patches = np.lib.stride_tricks.sliding_window_view(waveform, 15_600)[::7_680]
        level = np.abs(patches).mean(axis=1, keepdims=True)
        return np.repeat(level, 521, axis=1), np.repeat(level, 1024, axis=1), None

    official = yamnet.Yamnet(["Bird", *map(str, range(520))], predict)
    source = weights.Source("yamnet", None, "test", "ef" * 32, "none", "savedmodel")
    embedder = yamnet_embedder.YamnetEmbedder(source, official)
    embeddings, bird_score = embedder.embed(np.full(900_000, 0.5, np.float32))
    assert embeddings.shape == (yamnet.n_patches(450_000), 2048)
    assert np.allclose(embeddings[1:-2], 0.5, atol=1e-3) and np.allclose(bird_score[1:-2], 0.5, atol=1e-3)
    with pytest.raises(embedders.EmbedderError, match="TensorFlow only"):
        yamnet_embedder.YamnetEmbedder(source, official, backend="litert")


@pytest.mark.parametrize("wrong", [{"name": "parrotnet"}, {"backend": "abacus"}])
def test_an_unknown_choice_is_an_error_that_lists_the_known(wrong):
    with pytest.raises(embedders.EmbedderError, match="choose"):
        embedders.load(**wrong)


@pytest.mark.slow
def test_the_real_yamnet_is_the_same_in_both_backends(real):
    """Against a recording rather than the patches that the parity check makes."""
    waveform = noise(320_000)
    other = embedders.load("yamnet", backend="tensorflow")
    assert np.abs(real.embed(waveform)[0] - other.embed(waveform)[0]).max() < 1e-4
    assert real.key == other.key
