import itertools
import tracemalloc

import numpy as np
import pytest
import soundfile

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.audio import windowing
from birdlib.data import birdclef
from birdlib.models import embedders, litert, pooling, weights
from birdlib.species import classifiers, file_embedding, inference, members

RATE_HZ = 8000
CLASSES = ["crow", "tit", "wren"]
PRIOR = [0.5, 0.3, 0.2]


class Loudness:
    """In place of an embedder: the loudness of each patch, and 1. It counts the files that it embeds."""

    name, sample_rate_hz, patch_s, hop_s, dim, key = "yamnet", RATE_HZ, 0.96, 0.48, 2, "k" * 64
    resampler = "soxr_hq"

    def __init__(self, backend="tensorflow"):
        self.weights = {"yamnet": {"source": "test", "sha256": "ab", "licence": "none", "backend": backend}}
        self.n_files = 0

    def by_tensorflow(self):
        return Loudness()

    def embed_stream(self, blocks):
        self.n_files += 1
        waveform = np.concatenate(list(blocks))
        patches = audio_io.frame(waveform, round(self.patch_s * RATE_HZ), round(self.hop_s * RATE_HZ))
        embeddings = np.stack([np.abs(patches).mean(axis=1), np.ones(len(patches))], axis=1).astype(np.float32)
        for start in range(0, len(embeddings), 10):
            yield embeddings[start : start + 10], np.ones(len(embeddings[start : start + 10]), np.float32)


class Patches:
    """In place of a classifier: predicts the mean embedding and the number of patches."""

    def predict_on_batch(self, inputs):
        weights = inputs["weights"]
        mean = (weights[..., None] * inputs["embeddings"]).sum(axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        return np.stack([mean[:, 0], mean[:, 1], (weights > 0).sum(axis=1)], axis=1).astype(np.float32)


def soundscape(folder, loudness, name="H1.wav"):
    """A wav whose seconds have the given loudness."""
    soundfile.write(folder / name, np.repeat(np.asarray(loudness, np.float32), RATE_HZ), RATE_HZ, subtype="FLOAT")
    return folder / name


def embedding_member(model=None, embedder=None, **preprocessing):
    embedder = embedder or Loudness()
    preprocessing = {"embedder": "yamnet", "key": embedder.key, **preprocessing}
    return members.EmbeddingMember("yamnet", ".", CLASSES, preprocessing, model or Patches(), file_embedding.FileEmbedder(embedder))


def wave_model():
    """(batch, RATE_HZ) → the mean of a second, in three classes; its two parts have the names of a mel model's."""
    import keras

    given = keras.Input((RATE_HZ,), name="waveforms")
    front = keras.Model(given, keras.layers.Reshape((RATE_HZ,))(given), name="front_end")
    front_output = keras.Input((RATE_HZ,), name="front_output")
    dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(1.0 / RATE_HZ), use_bias=False)
    body = keras.Model(front_output, dense(front_output), name="body")
    return keras.Model(given, body(front(given)))


@pytest.fixture(scope="module")
def wave():
    return members.WaveformMember("wave", "w", CLASSES, {"sample_rate_hz": RATE_HZ, "window_s": 1.0}, wave_model(), "w" * 64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An ensemble of three members, of which one has no files; its embedder is no YAMNet."""
    import keras

    embedder = Loudness()
    monkeypatch.setattr(embedders, "load", lambda *args: embedder)
    head = classifiers.join(pooling.build_pooling(2, "mean"), classifiers.build_head(2, 3, hidden=()), 2)
    patches = {"embedder": "yamnet", "octave_down": True, "key": embedder.key, "denoise": "none", "prior": PRIOR, "thresholds": [0.5] * 3}
    given = keras.Input((RATE_HZ,))
    whole = keras.Model(given, keras.layers.Dense(3, activation="sigmoid")(given))
    sounds = {"kind": "waveform", "sample_rate_hz": RATE_HZ, "window_s": 1.0, "prior": PRIOR}
    classifiers.save(tmp_path / "07", head, CLASSES, patches)
    classifiers.save(tmp_path / "07" / "members" / "wave", whole, CLASSES, sounds)
    config = {"rule": "mean", "members": [".", "members/wave", "members/gone"], "thresholds": [0.5] * 3, "calibration": {}, "prior": PRIOR}
    runtime.write_json(config, tmp_path / "07" / "ensemble.json")
    return tmp_path / "07"


# Heads on an embedder


def test_a_span_takes_the_patches_whose_centres_are_in_it(tmp_path):
    """Centres are at 0.48 (i + 1) s: ten lie in [0, 5), ten in [5, 10), and patch 9 and 19 reach across the edges."""
    file = embedding_member().open(soundscape(tmp_path, [0.1] * 5 + [0.4] * 5))
    scores = file.predict([(5.0, 10.0), (0.0, 5.0)])
    assert file.duration_s == 10.0 and scores[:, 2].tolist() == [10, 10]
    assert scores[:, 0] == pytest.approx([0.4, 0.1], abs=0.02)


def test_a_span_without_the_centre_of_a_patch_takes_the_nearest(tmp_path):
    """Spans of 0.3 s mostly hold no centre, and one beyond the end holds nothing: none is left empty."""
    file = embedding_member().open(soundscape(tmp_path, [0.1, 0.2]))
    scores = file.predict([*birdclef.windows(2.0, 0.3), (7.0, 12.0)])
    assert len(scores) == 8 and (scores[:, 2] >= 1).all() and scores[-1, 0] == pytest.approx(0.2, abs=0.1)
    near = embedding_member().open(soundscape(tmp_path, [0.1, 0.4], "H2.wav")).predict([(0.5, 0.8)])
    assert near[0, [0, 2]].tolist() == [pytest.approx(0.1), 1.0]  # the middle, 0.65 s, is nearer to 0.48 s, a patch of the first second, than to 0.96 s


def test_spans_of_unequal_numbers_of_patches_are_classified_as_if_alone(tmp_path):
    """The last window of 7 s has 3 patches, padded to 10: the padding changes nothing. Eighteen spans are two batches."""
    head = classifiers.join(pooling.build_pooling(2, "mean"), classifiers.build_head(2, 3, hidden=()), 2)
    file = embedding_member(head).open(soundscape(tmp_path, np.linspace(0.05, 0.5, 7)))
    together = file.predict([(0.0, 5.0)] * 17 + [(5.0, 10.0)])
    assert np.allclose(file.predict([(5.0, 10.0)]), together[17:], atol=1e-5) and np.ptp(together[:17], axis=0).max() < 1e-6


def test_members_that_share_an_embedder_embed_a_file_once(tmp_path):
    first, path = embedding_member(), soundscape(tmp_path, [0.1] * 10)
    second = members.EmbeddingMember("other", "o", CLASSES, first.preprocessing, Patches(), first._file_embedder)
    for member in (first, second):
        member.open(path).predict([(0.0, 5.0)])
    assert first._file_embedder.embedder.n_files == 1
    first.open(soundscape(tmp_path, [0.3] * 10, "H2.wav"))
    assert first._file_embedder.embedder.n_files == 2


def test_denoising_equals_that_of_the_whole_file_and_can_be_dropped(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "H.wav", (0.05 * rng.standard_normal(25 * RATE_HZ)).astype(np.float32), RATE_HZ, subtype="FLOAT")
    member = embedding_member(denoise="stationary")
    quiet, loud = (member.open(tmp_path / "H.wav", denoise).predict([(0.0, 25.0)])[0, 0] for denoise in (True, False))
    assert loud == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.02) and quiet < loud / 2


def test_the_backend_of_an_embedder_is_certified_on_the_sound_itself(tmp_path):
    path = soundscape(tmp_path, [0.1] * 20)
    member = embedding_member(embedder=Loudness("litert"))
    member.certify(path, birdclef.windows(20.0), 700)
    assert member.certificate["max_difference"] == 0.0 and member.certificate["n_windows"] == members.CERTIFIED
    alone = embedding_member()
    alone.certify(path, birdclef.windows(20.0), 700)
    assert alone.certificate["chosen"] == "tensorflow" and alone.certificate["why"] == "yamnet is computed by tensorflow here"


# Classifiers of waveforms


def test_spans_beyond_the_end_of_a_file_repeat_its_end(tmp_path, wave):
    """Two seconds and a half: the half second fills the last span twice; spans may overlap and come in any order."""
    path = soundscape(tmp_path, [0.2, 0.4])
    with soundfile.SoundFile(path, "r+") as file:
        file.seek(0, soundfile.SEEK_END)
        file.write(np.full(RATE_HZ // 2, 0.8, np.float32))
    file = wave.open(path)
    scores = file.predict([(2.0, 3.0), (0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (9.0, 10.0)])
    assert file.duration_s == 2.5 and scores[:, 0] == pytest.approx([0.8, 0.2, 0.3, 0.4, 0.0], abs=1e-5)


def test_short_spans_are_filled_as_in_training(tmp_path):
    """A training window of a short clip and a member's span of a soundscape that ends there are the same samples."""
    audio_io.write(tmp_path / "x.flac", np.sin(np.arange(12_000, dtype=np.float32)), RATE_HZ)
    [(_, span)] = file_embedding.cut(file_embedding.read_blocks(tmp_path / "x.flac", RATE_HZ), [RATE_HZ], RATE_HZ)
    window = windowing.read_window(tmp_path / "x.flac", 1.0, 1.5, RATE_HZ, 1.0)
    assert np.array_equal(span, window) and span[-1000:].any()


def test_a_member_with_shorter_windows_takes_the_middle_of_the_span(tmp_path, wave):
    """It takes one second of each five: that from 2 to 3 s."""
    scores = wave.open(soundscape(tmp_path, [0.0, 0.0, 0.6, 0.0, 0.0])).predict([(0.0, 5.0)])
    assert scores[0, 0] == pytest.approx(0.6, abs=1e-5)


@pytest.mark.parametrize("cuts", [[], [1, 7, 500, 501], [250, 750]])
def test_windows_are_cut_from_blocks_as_from_the_whole(cuts):
    waveform = np.arange(1, 1001, dtype=np.float32)
    starts = [0, 990, 3, 3, 500, 2000]
    found = dict(file_embedding.cut(np.split(waveform, cuts), starts, 100))
    expected = [np.resize(waveform[start : start + 100], 100) for start in starts]
    assert all((found[row] == part).all() for row, part in enumerate(expected)) and len(found) == 6


def test_cutting_keeps_no_more_than_a_window_and_its_blocks():
    """Eight megabytes of sound pass; a window and its blocks are a tenth of one."""
    blocks = (np.ones(10_000, np.float32) for _ in range(200))
    tracemalloc.start()
    n_parts = sum(1 for _ in file_embedding.cut(blocks, range(0, 1_980_000, 5_000), 12_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_parts == 396 and peak < 1_000_000


def test_litert_is_certified_before_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(litert, "has_litert", lambda: True)
    path, spans = soundscape(tmp_path, np.linspace(0.1, 0.9, 9)), birdclef.windows(9.0, 1.0)
    preprocessing = {"sample_rate_hz": RATE_HZ, "window_s": 1.0}

    def certified(n_files, **options):
        member = members.WaveformMember("wave", "w", CLASSES, preprocessing, wave_model(), "w" * 64, **options)
        member.certify(path, spans, n_files)
        return member, member.certificate

    assert certified(3)[1]["why"] == "3 files are too few to convert the model for"
    assert certified(700, backend="tensorflow")[1]["chosen"] == "keras"
    pytest.importorskip("ai_edge_litert.interpreter")
    taken = itertools.cycle([1.0, 0.25])  # seconds of Keras and of LiteRT
    monkeypatch.setattr(litert, "_seconds", lambda run, rows: next(taken))
    member, certificate = certified(700)
    assert certificate["chosen"] == "litert" and certificate["times_as_fast"] == 4.0
    assert certificate["max_difference"] < litert._MAX_DIFFERENCE and certificate["n_windows"] == 9
    assert litert.describe(certificate).startswith("litert: litert is 4.00 times as fast; scores differ by at most")
    assert member.open(path).predict(spans)[:, 0] == pytest.approx(np.linspace(0.1, 0.9, 9), abs=1e-3)
    monkeypatch.setattr(litert, "lite", lambda *_: lambda batch: {"scores": np.full((len(batch), 3), np.nan, np.float32)})
    assert certified(3)[1]["chosen"] == "keras"  # it is converted already, but gives NaN
    monkeypatch.setattr(litert, "lite", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in certified(3)[1]["why"]


# The ensemble


def test_members_come_in_order_and_those_without_files_are_left_out(folder):
    with pytest.warns(UserWarning, match="members/gone is left out: .* has no classifier.keras"):
        loaded = inference.load(folder)
    assert [(member.name, member.member_id) for member in loaded] == [("yamnet", "."), ("wave", "members/wave")]
    scores = loaded[1].open(soundscape(folder, [0.1] * 6)).predict([(0.0, 5.0), (5.0, 10.0)])
    assert scores.shape == (2, 3) and np.isfinite(scores).all()


def test_a_member_without_weights_is_left_out_and_one_is_enough(folder, monkeypatch):
    def missing(*_):
        raise weights.MissingWeightsError("no weights here")

    monkeypatch.setattr(embedders, "load", missing)
    with pytest.warns(UserWarning, match="no weights here"):
        assert [member.name for member in inference.load(folder)] == ["wave"]
    (folder / "ensemble.json").unlink()
    with pytest.raises(weights.MissingWeightsError, match="no weights here"):
        inference.load(folder)


def test_members_of_other_species_and_damaged_members_are_left_out(folder):
    runtime.write_json(["crow", "tit", "owl"], folder / "members" / "wave" / "classes.json")
    with pytest.warns(UserWarning, match="wave knows other species"):
        assert len(inference.load(folder)) == 1
    (folder / "members" / "wave" / "classifier.keras").write_bytes(b"half a file")
    with pytest.warns(UserWarning, match="members/wave is left out"):
        assert len(inference.load(folder)) == 1


def test_a_folder_without_an_ensemble_file_is_one_member(folder):
    (folder / "ensemble.json").unlink()
    config = inference.load_config(folder)
    assert config["members"] == ["."] and config["rule"] == "mean" and config["classes"] == CLASSES and config["calibration"] == {}
    assert [member.member_id for member in inference.load(folder)] == ["."]
    with pytest.raises(classifiers.ClassifierError, match="07_classify"):
        inference.load_config(folder / "members")


def test_fewer_members_are_combined_with_their_own_quantiles():
    """Of member b every validation score was 0.5, of member a they were spread evenly: a score of 0.25 has rank 0.25 there."""
    from birdlib.species import ensembles

    even, same = np.linspace(0, 1, 21)[:, None], np.full((21, 1), 0.5)
    config = {"rule": "rank", "members": ["a", "b"], "kept": ensembles.keep([even, same], "rank")}
    only_a = inference.combine(config, {"a": np.array([[0.25]])})
    assert only_a[0, 0] == pytest.approx(0.25, abs=0.02)
    assert inference.combine(config, {"b": np.array([[0.5]]), "a": np.array([[0.25]])})[0, 0] == pytest.approx(0.375, abs=0.02)
