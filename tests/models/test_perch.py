import dataclasses

import numpy as np
import pytest

from birdlib.models import embedders, perch, weights

EBIRD = ["norcar", "amerob", "grywag"]
NAMES = ["Cardinalis cardinalis", "Hyla cinerea", "Passer domesticus domesticus", "Male_speech_and_man_speaking"]


def network(n_classes):
    """(patches, 160000) → (logits, embeddings): the loudest sample and how often the sign changes, in fixed proportions."""
    import tensorflow as tf

    def listen(patches):
        peak = tf.reduce_max(tf.abs(patches), axis=1, keepdims=True)
        high = tf.reduce_mean(tf.cast(patches[:, 1:] * patches[:, :-1] < 0, tf.float32), axis=1, keepdims=True)
        embedding = tf.concat([peak, high, tf.reduce_mean(patches, axis=1, keepdims=True)], axis=1)  # (patches, 3)
        return high * tf.range(float(n_classes))[None] + tf.range(float(n_classes)), embedding

    return listen


def put(folder, name, form):
    """A SavedModel of Perch's form: "pair", one patch at a time, "dict", any number, or "signature", as version 2 has it."""
    import tensorflow as tf

    assets = folder.with_name(f"{folder.name}-assets")
    assets.mkdir()
    listen = network(len(EBIRD if name == "perch" else NAMES))
    module = tf.Module()
    spec = tf.TensorSpec([1 if form == "pair" else None, perch.PATCH_SAMPLES], tf.float32, name="inputs")

    def as_dict(inputs):
        logits, embedding = listen(inputs)
        return {"label": logits, "embedding": embedding, "spatial_embedding": embedding[:, None, None]}

    if form == "pair":
        module.infer_tf = tf.function(listen, input_signature=[spec])
    elif form == "dict":
        module.infer_tf = tf.function(as_dict, input_signature=[spec])
    signature = tf.function(as_dict, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    if name == "perch":
        (folder / "assets" / "label.csv").write_text("\n".join(["ebird2021", *EBIRD]) + "\n")
    else:
        (folder / "assets" / "labels.csv").write_text("\n".join(["inat2024_fsd50k", *NAMES]) + "\n")
        (folder / "assets" / "perch_v2_ebird_classes.csv").write_text("ebird2021\nnorcar\nno_ebird_code\nhouspa\nno_ebird_code\n")
    return weights.Source(name, folder, "made for the test", "ab" * 32, "Apache-2.0", "savedmodel")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perch")
    forms = {"pair": "perch", "dict": "perch", "signature": "perch_v2"}
    return {form: put(folder / form, name, form) for form, name in forms.items()}


@pytest.fixture(scope="module", params=["pair", "dict", "signature"])
def embedder(request, sources):
    source = sources[request.param]
    return perch.PerchEmbedder(source, perch.load(source))


def tone(n_samples, hz=3000.0):
    return np.sin(0.5 + 2 * np.pi * hz * np.arange(n_samples) / perch.SAMPLE_RATE_HZ).astype(np.float32)


def test_a_minute_is_twelve_patches_side_by_side(embedder):
    waveform = np.concatenate([tone(160_000, 500.0 * (i + 1)) for i in range(12)])
    embeddings, bird_score = embedder.embed(waveform)
    assert embeddings.shape == (12, embedder.dim) and bird_score.shape == (12,)
    assert embeddings.dtype == bird_score.dtype == np.float32
    alone, _ = embedder.embed(waveform[3 * 160_000 : 4 * 160_000])
    assert np.allclose(embeddings[3], alone[0], atol=1e-6)
    in_blocks = np.concatenate([part for part, _ in embedder.embed_stream(np.array_split(waveform, 5))])
    assert np.allclose(in_blocks, embeddings, atol=1e-6)


@pytest.mark.parametrize("n_samples", [0, 1, 160_000])
def test_up_to_five_seconds_are_one_patch(embedder, n_samples):
    assert len(embedder.embed(tone(n_samples))[0]) == 1


def test_loudness_and_an_offset_do_not_change_an_embedding(embedder):
    """The first number of the test's embedding is the loudest sample: 0.25, whatever came in; the third is the mean."""
    loud, faint = embedder.embed(tone(160_000)), embedder.embed(0.01 * tone(160_000) + 0.3)
    assert np.allclose(loud[0], faint[0], atol=1e-3) and loud[0][0, 0] == pytest.approx(0.25, abs=1e-4)
    assert np.isfinite(embedder.embed(np.zeros(160_000, np.float32))[0]).all()  # silence has no peak to scale


def test_version_1_scores_are_sigmoids_and_version_2_a_softmax(sources):
    """At a sign change in each sample, logits are 2k + 0 or so: sigmoids do not add up to 1, a softmax does."""
    one, two = (perch.PerchEmbedder(sources[form], perch.load(sources[form])) for form in ("dict", "signature"))
    assert one.scores(tone(160_000)).sum() > 1.5
    assert two.scores(tone(160_000)).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_classes_of_version_1_are_ebird_codes_and_those_of_version_2_names(sources):
    first, second = perch.species(sources["pair"]), perch.species(sources["signature"])
    assert first["ebird"].tolist() == EBIRD and first["is_wild"].all()
    assert second["species"].tolist() == NAMES and second["ebird"].tolist() == ["norcar", "", "houspa", ""]
    assert second["is_wild"].tolist() == [True, True, True, False]  # people who speak are not wildlife


def test_speech_does_not_count_as_a_bird(sources):
    two = perch.PerchEmbedder(sources["signature"], perch.load(sources["signature"]))
    scores, (_, bird_score) = two.scores(tone(160_000)), two.embed(tone(160_000))
    assert scores[0].argmax() == 3 and bird_score[0] == scores[0, :3].max()


def test_labels_of_another_version_are_refused(sources, tmp_path):
    import shutil

    folder = shutil.copytree(sources["dict"].path, tmp_path / "model")
    source = dataclasses.replace(sources["dict"], path=folder)
    (folder / "assets" / "label.csv").write_text("ebird2021\nnorcar\n")
    with pytest.raises(perch.PerchError, match="1 labels for 3 classes"):
        perch.load(source)
    (folder / "assets" / "label.csv").unlink()
    with pytest.raises(perch.PerchError, match="label.csv is missing"):
        perch.load(source)


def test_perch_is_an_embedder_by_name(sources, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda name, folder: sources["dict"])
    assert embedders.load("perch").name == "perch"
    with pytest.raises(embedders.EmbedderError, match="TensorFlow only"):
        embedders.load("perch", backend="litert")


def test_other_weights_have_another_key(sources):
    model = perch.load(sources["dict"])
    other = dataclasses.replace(sources["dict"], sha256="cd" * 32)
    assert perch.PerchEmbedder(other, model).key != perch.PerchEmbedder(sources["dict"], model).key
