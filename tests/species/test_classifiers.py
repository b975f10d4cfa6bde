import types
import zipfile

import keras
import numpy as np
import pytest
from arrays import DIM, heard, rng

from birdlib.losses import classification as losses
from birdlib.models import pooling, probe_fits
from birdlib.species import classifiers


def head_of(n_features, n_classes, seed=0):
    """A small head with random weights."""
    keras.utils.set_random_seed(seed)
    return classifiers.build_head(n_features, n_classes, hidden=(8,))


FEATURES = rng(1).standard_normal((240, DIM)).astype(np.float32)


def test_average_is_the_weighted_mean_of_probabilities():
    heads = [head_of(DIM, 3, seed) for seed in range(3)]
    single = [classifiers.predict(head, FEATURES) for head in heads]
    mean = classifiers.predict(probe_fits.average(heads, [1.0, 1.0, 1.0]), FEATURES)
    assert np.allclose(mean, np.mean(single, axis=0), atol=1e-6)
    weighted = classifiers.predict(probe_fits.average(heads[:2], [1.0, 3.0]), FEATURES)
    assert np.allclose(weighted, 0.25 * single[0] + 0.75 * single[1], atol=1e-6)


def test_average_keeps_float32_under_mixed_precision():
    """float16 has three decimals: different probabilities would become ties."""
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        heads = [head_of(DIM, 3, seed) for seed in range(2)]
        mean = classifiers.predict(probe_fits.average(heads, [1.0, 1.0]), FEATURES)
    finally:
        keras.config.set_dtype_policy(policy)
    single = [classifiers.predict(head, FEATURES) for head in heads]
    assert mean.dtype == np.float32 and np.allclose(mean, np.mean(single, axis=0), atol=1e-6)


def test_background_takes_its_share_of_softmax_and_is_no_output(tmp_path):
    """The outputs are the first three of four classes; sigmoids need no background."""
    keras.utils.set_random_seed(0)
    head = classifiers.build_head(DIM, 3, "single", (8,), background=True)
    whole = keras.Model(head.input, head.get_layer("probabilities").output)
    assert np.array_equal(classifiers.predict(head, FEATURES), classifiers.predict(whole, FEATURES)[:, :3])
    assert classifiers.predict(whole, FEATURES).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert classifiers.build_head(DIM, 3, "multi", (8,), background=True).get_layer("probabilities").output.shape == (None, 3)
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    assert np.array_equal(classifiers.predict(again, FEATURES), classifiers.predict(head, FEATURES))


def test_sigmoids_begin_at_the_prior():
    """Features of length 0 reach the last layer's bias only; a species without rows begins at 0.001."""
    prior = [0.5, 0.1, 0.0]
    scores = classifiers.predict(classifiers.build_head(DIM, 3, "multi", (8,), prior=prior), np.zeros((1, DIM), np.float32))
    assert scores[0] == pytest.approx([0.5, 0.1, 0.001], abs=1e-6)
    assert classifiers.predict(classifiers.build_head(DIM, 3, "multi", (8,)), np.zeros((1, DIM), np.float32))[0] == pytest.approx([0.5] * 3)
    softmax = classifiers.build_head(DIM, 3, "single", (8,), prior=prior).get_layer("probabilities")
    assert not np.asarray(softmax.bias).any()


def test_unknown_label_mode_is_refused():
    with pytest.raises(classifiers.ClassifierError, match="single or multi"):
        classifiers.build_head(DIM, 3, "both")


# Files


def test_saved_classifier_gives_the_same_scores(tmp_path):
    """With padding too: two patches of weight 0 do not change the scores of a window."""
    head = probe_fits.average([head_of(4 * DIM, 3, 0), head_of(4 * DIM, 3, 1)], [0.5, 0.5])
    patch_pooling = pooling.build_pooling(DIM)
    model = classifiers.join(patch_pooling, head, 2 * DIM)
    preprocessing = {"embedder": "yamnet", "key": "ab", "prior": [0.5, 0.25, 0.25], "thresholds": [0.1, 0.2, 0.3]}
    classifiers.save(tmp_path / "new", model, ["1139490", "amekes", "wren"], preprocessing)

    loaded, classes, read = classifiers.load(tmp_path / "new")
    embeddings, weights = heard(7, dim=2 * DIM)
    expected = classifiers.predict(head, np.asarray(patch_pooling(embeddings, weights)))
    assert classes == ["1139490", "amekes", "wren"] and read == preprocessing
    assert np.allclose(loaded.predict({"embeddings": embeddings, "weights": weights}, verbose=0), expected, atol=1e-5)
    padded = {"embeddings": np.pad(embeddings, [(0, 0), (0, 2), (0, 0)]), "weights": np.pad(weights, [(0, 0), (0, 2)])}
    assert np.allclose(loaded.predict(padded, verbose=0), expected, atol=1e-5)


def test_missing_files_are_named(tmp_path):
    (tmp_path / "classes.json").write_text("[]")
    with pytest.raises(classifiers.ClassifierError, match="classifier.keras, preprocessing.json.*07_classify"):
        classifiers.load(tmp_path)


def test_another_embedder_is_refused_by_key_and_source():
    embedder = types.SimpleNamespace(name="yamnet", key="b" * 64, weights={"yamnet": {"source": "package bundle"}})
    classifiers.require_same_embedder({"embedder": "yamnet", "key": "b" * 64}, embedder)
    with pytest.raises(classifiers.ClassifierError, match=f"{'a' * 12}.*package bundle.*{'b' * 12}"):
        classifiers.require_same_embedder({"embedder": "yamnet", "key": "a" * 64}, embedder)


def test_saved_classifier_has_neither_loss_nor_optimizer(tmp_path):
    """Loading would need the loss's class, and the optimizer stores each of the 9 weights twice more."""
    import h5py

    head = classifiers.build_head(2, 3, hidden=())
    head.compile("adam", loss=losses.get("cross_entropy"))
    head.fit(np.ones((4, 2)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    whole = classifiers.join(pooling.build_pooling(2, "mean"), probe_fits.average([head, head], [1.0, 1.0]), 2)
    classifiers.save(tmp_path, whole, ["a", "b", "c"], {})
    with zipfile.ZipFile(tmp_path / "classifier.keras") as file:
        assert "CrossEntropyLoss" not in file.read("config.json").decode()
        file.extract("model.weights.h5", tmp_path)
    sizes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: sizes.append(getattr(item, "size", 0)))
    assert sum(sizes) == 9
