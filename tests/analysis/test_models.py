import json

import analysed
import numpy as np
import pytest
import tiny_tflite

import birdlib
from birdlib import runtime
from birdlib.analysis import engine, models
from birdlib.models import birdnet, weights
from birdlib.species import classifiers

CLASSES = ["Parus major", "wren1"]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A finished stage 07 whose files have the form of the real ones; its model is not loaded."""
    monkeypatch.setattr(weights, "fetch", lambda name, folder="": weights.Source(name, tmp_path, "test", "ab" * 32, "Apache-2.0", "tflite"))
    folder = tmp_path / "outputs" / "07_classify"
    folder.mkdir(parents=True)
    (folder / "classifier.keras").write_bytes(b"model")
    runtime.write_json(CLASSES, folder / "classes.json")
    runtime.write_json({"embedder": "yamnet", "key": "k", "thresholds": [0.3, 0.4], "prior": [0.5, 0.5]}, folder / "preprocessing.json")
    digests = {".": runtime.digest_file(folder / "classifier.keras")}
    runtime.write_json({"rule": "mean", "kept": {}, "members": ["."], "sha256": digests, "thresholds": [0.3, 0.4], "prior": [0.5, 0.5], "calibration": {}}, folder / "ensemble.json")
    receipt = {name: {} for name in ("parameters", "inputs", "results", "weights", "files")}
    runtime.write_json({**receipt, "versions": {"birdlib": birdlib.__version__}, "seconds": 1.0, "digest": "d"}, folder / "stage.json")
    return folder


def edit(path, **changes):
    runtime.write_json({**runtime.read_json(path), **changes}, path)


def test_a_finished_stage_is_the_default(stage):
    model, why = models.choose("", stage.parent)
    assert model.name == "classifier" and "stage 07 is finished" in why
    assert model.window_s == 5.0 and model.thresholds.tolist() == [0.3, 0.4] and model.licences == {"yamnet": "Apache-2.0"}


@pytest.mark.parametrize("which", ["folder", "outputs"])
def test_a_stage_can_be_named_by_its_folder_or_that_of_all_stages(stage, which):
    model, _ = models.choose(stage if which == "folder" else stage.parent)
    assert model.folder == str(stage)


def test_a_label_of_two_latin_words_is_a_scientific_name(stage):
    assert models.choose(stage)[0].labels.to_numpy().tolist() == [["Parus major", "Parus major", ""], ["wren1", "", ""]]


def test_names_are_those_of_the_training_data(stage):
    data = stage.parent.parent / "data"
    data.mkdir()
    (data / "taxonomy.csv").write_text("primary_label,scientific_name,common_name\nwren1,Troglodytes troglodytes,Eurasian Wren\n")
    (stage.parent / "01_split").mkdir()
    receipt = runtime.read_json(stage / "stage.json")
    runtime.write_json({**receipt, "results": {"root": "../data"}}, stage.parent / "01_split" / "stage.json")
    assert models.choose(stage)[0].labels.to_numpy().tolist()[1] == ["wren1", "Troglodytes troglodytes", "Eurasian Wren"]


def test_the_key_changes_with_everything_that_changes_scores(stage):
    first = models.choose(stage)[0].key
    edit(stage / "ensemble.json", rule="min")
    second = models.choose(stage)[0].key
    (stage / "classifier.keras").write_bytes(b"another")
    edit(stage / "ensemble.json", sha256={".": runtime.digest_file(stage / "classifier.keras")})
    assert len({first, second, models.choose(stage)[0].key}) == 3


def test_without_a_finished_stage_birdnet_is_used_and_it_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_general", lambda name, weights_dir: name)
    assert models.choose("", tmp_path) == ("birdnet", f"birdnet, as {tmp_path / '07_classify'} has no finished classifier of your own.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda stage: edit(stage / "stage.json", versions={"birdlib": "0.0.1"}), "made by birdlib 0.0.1.*run notebooks/07_classify"),
        (lambda stage: (stage / "classifier.keras").write_bytes(b"other"), "not the file that"),
        (lambda stage: (stage / "classifier.keras").unlink(), "damaged or incomplete"),
        (lambda stage: (stage / "classes.json").unlink(), "has no classes.json"),
        (lambda stage: (stage / "ensemble.json").unlink(), "has no ensemble.json, which holds calibration and thresholds"),
        (lambda stage: (stage / "preprocessing.json").write_text("{"), "damaged or incomplete"),
        (lambda stage: edit(stage / "ensemble.json", thresholds=[0.3]), "1 thresholds for 2 species"),
        (lambda stage: edit(stage / "ensemble.json", members=["members/x"]), "damaged or incomplete"),
    ],
)
def test_a_model_that_does_not_fit_is_an_error_with_the_remedy(stage, damage, message):
    damage(stage)
    with pytest.raises(runtime.BirdlibError, match=f"(?s){message}") as error:
        models.choose(stage)
    assert "07_classify" in str(error.value)


def test_a_member_of_other_species_is_an_error(stage):
    member = stage / "members" / "mel"
    member.mkdir(parents=True)
    for name in classifiers.FILES:
        (member / name).write_bytes((stage / name).read_bytes())
    runtime.write_json(["someone else"], member / "classes.json")
    edit(stage / "ensemble.json", members=["members/mel"])
    with pytest.raises(models.ModelError, match="other species"):
        models.choose(stage)


@pytest.mark.parametrize(("name", "message"), [("yamnet", "no species"), ("birdnett", "no model 'birdnett'.*birdnet"), ("outputs/nothing", "no model")])
def test_a_model_that_does_not_exist_is_an_error_that_lists_them(name, message):
    with pytest.raises(models.ModelError, match=message):
        models.choose(name)


# BirdNET


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random network in the files and the form of BirdNET's."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inner = tf.constant(rng.normal(0, 0.1, (1000, 8)).astype(np.float32))
    last = tf.constant(rng.normal(0, 3, (8, 4)).astype(np.float32))
    bias = tf.constant(rng.normal(0, 1, 4).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, birdnet.PATCH_SAMPLES), tf.float32)])
    def network(waveform):
        embedding = tf.reduce_mean(tf.nn.relu(tf.reshape(waveform, (1, 144, 1000)) @ inner), axis=1)
        return tf.matmul(embedding, last) + bias

    return tiny_tflite.source("birdnet", tmp_path_factory.mktemp("birdnet"), network, ["Turdus merula_Eurasian Blackbird", "Engine_Engine", "Pica pica_Eurasian Magpie", "Dog_Dog"])


@pytest.fixture
def birdnet_model(small, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda name, folder="": small)
    models.load.cache_clear()
    yield models.choose("birdnet")[0]
    models.load.cache_clear()


def test_sounds_that_are_not_wild_have_no_scientific_name(birdnet_model):
    assert birdnet_model.labels.to_numpy().tolist()[1:3] == [["Engine", "", "Engine"], ["Pica pica", "Pica pica", "Eurasian Magpie"]]
    assert birdnet_model.licences == {"birdnet": "CC BY-NC-SA 4.0"} and birdnet_model.grid(1.0).step_s == 2.0


@pytest.mark.parametrize(("rate_hz", "overlap_s"), [(48_000, 0.0), (32_000, 1.5), (44_100, 0.7)])
def test_scores_are_those_of_the_whole_file_cut_as_birdnet_analyzer_does(birdnet_model, tmp_path, rate_hz, overlap_s):
    """The whole file is resampled at once by librosa, cut by a loop over samples, and a last piece of 1.5 s or more is filled with zeros."""
    import librosa

    from birdlib.analysis import windows
    from birdlib.audio import io as audio_io

    waveform = (0.2 * np.random.default_rng(1).standard_normal(round(64.7 * rate_hz))).astype(np.float32)
    audio_io.write(tmp_path / "a.flac", waveform, rate_hz)
    whole, _ = librosa.load(tmp_path / "a.flac", sr=48_000, res_type="kaiser_fast")
    pieces = [whole[start : start + 144_000] for start in range(0, len(whole), round((3.0 - overlap_s) * 48_000))]
    pieces = [np.pad(piece, (0, 144_000 - len(piece))) for piece in pieces if len(piece) >= 72_000]
    logits, _ = birdnet.load(weights.fetch("birdnet")).predict(np.stack(pieces))
    scorer = models.load(**birdnet_model.address())
    reader = windows.Reader(tmp_path / "a.flac", birdnet_model.grid(overlap_s), scorer.context_s)
    found = np.concatenate([scorer.predict(chunk.excerpt, chunk.spans) for chunk in reader])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_an_address_is_json_able(birdnet_model):
    assert json.loads(json.dumps(birdnet_model.address())) == birdnet_model.address()


class Mean:
    """In place of Perch: the mean of a patch of 5 s, and how many patches come at once."""

    sample_rate_hz, patch_samples, batch_size = 32_000, 160_000, 8

    def predict(self, patches):
        assert patches.shape[1:] == (160_000,) and len(patches) <= 8
        return None, np.stack([patches.mean(axis=1), np.full(len(patches), len(patches))], axis=1)


def test_windows_of_perch_are_its_patches_and_the_last_is_filled_with_zeros():
    from birdlib.species import file_embedding

    waveform = np.repeat(np.arange(10, dtype=np.float32) / 10, 5 * 32_000)[: 47 * 32_000]
    excerpt = file_embedding.Excerpt(waveform, 32_000, 0, True)
    spans = [(start_s, start_s + 5.0) for start_s in range(0, 50, 5)]
    scores = models._patch_predictor(Mean())(excerpt, spans)
    np.testing.assert_allclose(scores[:, 0], [*np.arange(9) / 10, 0.9 * 2 / 5], atol=1e-6)
    assert scores[:, 1].tolist() == [8] * 8 + [2] * 2


def test_a_member_that_is_left_out_is_noted_at_each_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = "the member mel is left out: no weights"
    monkeypatch.setattr(models, "load", lambda *_, **__: models.Scorer(analysed.predict, 1.0, notes=(note,)))
    files = [analysed.tone(name, "01") for name in ("a.wav", "b.wav")]
    analysis = engine.run(files, "out", analysed.settings(), n_jobs=1)
    assert analysis.files["note"].tolist() == [note] * 2
