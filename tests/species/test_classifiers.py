import subprocess
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest
from arrays import DIM, heard, patch_table, rng

from birdlib import runtime
from birdlib.losses import classification as classification_losses
from birdlib.metrics import classification
from birdlib.models import pooling
from birdlib.species import classifiers


def head_of(n_features, n_classes, seed=0):
    """A small head with random weights."""
    import keras

    keras.utils.set_random_seed(seed)
    return classifiers.build_head(n_features, n_classes, hidden=(8,))


@pytest.fixture(scope="module")
def made():
    """Three species that differ in one number each: (features, truth, labels)."""
    labels = rng().integers(0, 3, 240)
    truth = np.eye(3, dtype=np.float32)[labels]
    features = np.pad(2.0 * truth, ((0, 0), (0, 5))) + rng(1).standard_normal((240, DIM)) * 0.6
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), truth, labels


# The training set


def training_set(species, sizes, truth=None, **options):
    patches = patch_table(sizes)
    recordings = pd.DataFrame({"recording_id": [f"r{i}" for i in range(len(sizes))], "species": species})
    truth = pd.get_dummies(recordings["species"]).to_numpy(np.float32) if truth is None else truth
    options = {"window_patches": 4, "class_weight": 0.0, "rng": rng()} | options
    embeddings = rng(2).random((len(patches), DIM), dtype=np.float32)
    return classifiers.training_set(embeddings, patches, pooling.build_pooling(DIM), recordings, truth, **options)


def test_the_windows_of_a_recording_weigh_as_much_as_the_whole():
    """One recording of each species, so rows of different truth are of different recordings: 1 + 1 each."""
    features, truth, sample_weight = training_set(["crow", "tit", "wren"], [40, 3, 9])
    assert len(features) == len(truth) == len(sample_weight) == 3 + 6 + 1 + 4
    assert (truth * sample_weight[:, None]).sum(axis=0) == pytest.approx([2, 2, 2])


def test_without_windows_every_recording_is_there_once():
    features, truth, sample_weight = training_set(["crow", "wren"], [40, 3], window_patches=0)
    assert features.shape == (2, 2 * DIM) and truth.tolist() == [[1, 0], [0, 1]] and sample_weight.tolist() == [1, 1]


def test_the_primary_species_decides_the_weight_when_there_are_secondary_ones():
    """A wren with a crow behind it is a wren: with three wrens and one crow the crow weighs three times as much."""
    truth = np.array([[1, 1], [1, 1], [0, 1], [1, 0]], np.float32)  # crow, wren
    _, _, sample_weight = training_set(
        ["wren", "wren", "wren", "crow"], [3] * 4, truth, window_patches=0, class_weight=1.0
    )
    assert sample_weight[3] / sample_weight[0] == pytest.approx(3.0)
    assert sample_weight[:3] == pytest.approx(sample_weight[0])


def test_one_species_is_refused_before_anything_is_trained():
    with pytest.raises(classifiers.ClassifierError, match="one species"):
        training_set(["wren", "wren"], [3, 3])


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_class_weights_have_mean_one_and_the_promised_ratio(power, ratio):
    """Eight recordings of one species and two of another: the rare ones weigh (8 / 2) ** power as much."""
    weights = classifiers.class_weights(np.array([0] * 8 + [2] * 2), power)
    assert weights.mean() == pytest.approx(1.0) and weights[-1] / weights[0] == pytest.approx(ratio)


# Networks


OPTIONS = {"mode": "single", "epochs": 12, "patience": 4, "learning_rate": 0.01, "weight_decay": 0.0}


def fit(made, validation=None, n_networks=2, **options):
    features, truth, _ = made
    train = features[:160], truth[:160], np.ones(160, np.float32)
    validation = validation or (features[160:], truth[160:])
    return classifiers.fit_networks(n_networks, lambda: head_of(DIM, 3), train, validation, **OPTIONS | options)


def test_networks_learn_what_can_be_told_apart_and_keep_their_best_epoch(made):
    """A high learning rate makes later epochs worse; the score of the network is that of the best one."""
    features, truth, _ = made
    head, history = fit(made, n_networks=1, learning_rate=0.05)
    score = classification.macro_roc_auc(truth[160:], classifiers.predict(head, features[160:]))
    assert score > 0.95
    assert score == pytest.approx(history["validation_macro_auc"].max(), abs=1e-6)
    assert list(history) == ["epoch", "loss", "validation_loss", "validation_macro_auc", "network"]


def test_several_species_may_sing_at_once(made):
    features, truth, _ = made
    build = lambda: classifiers.build_head(DIM, 3, "multi", (8,))  # noqa: E731
    train = features[:160], truth[:160], np.ones(160, np.float32)
    head, _ = classifiers.fit_networks(1, build, train, (features[160:], truth[160:]), **OPTIONS | {"mode": "multi"})
    scores = classifiers.predict(head, features)
    assert classification.macro_roc_auc(truth[160:], scores[160:]) > 0.95
    assert np.abs(scores.sum(axis=1) - 1.0).max() > 0.01  # not a distribution over species


@pytest.mark.parametrize(("loss", "mixup"), [("soft_auc", 0.0), ("asymmetric", 0.4)])
def test_other_losses_and_mixtures_teach_as_well(made, loss, mixup):
    features, truth, _ = made
    build = lambda: classifiers.build_head(DIM, 3, "multi", (8,))  # noqa: E731
    train = features[:160], truth[:160], np.ones(160, np.float32)
    how = OPTIONS | {"mode": "multi", "loss": loss, "mixup": mixup, "rng": np.random.default_rng(0)}
    head, _ = classifiers.fit_networks(1, build, train, (features[160:], truth[160:]), **how)
    assert classification.macro_roc_auc(truth[160:], classifiers.predict(head, features[160:])) > 0.95


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_without_an_auc_the_loss_decides(made):
    """One validation recording: no species has a positive and a negative, and yet later epochs are better than the first."""
    features, truth, _ = made
    head, history = fit(made, (features[160:161], truth[160:161]), n_networks=1)
    assert history["validation_macro_auc"].isna().all()
    probability = classifiers.predict(head, features[160:161])[truth[160:161] == 1]
    assert -np.log(probability) == pytest.approx(history["validation_loss"].min(), abs=1e-4)
    assert history["validation_loss"].min() < history["validation_loss"].iloc[0]


def test_an_empty_validation_is_refused(made):
    with pytest.raises(classifiers.ClassifierError, match="01_split"):
        fit(made, (made[0][:0], made[1][:0]))


def test_an_average_is_the_mean(made):
    heads = [head_of(DIM, 3, seed) for seed in range(3)]
    single = [classifiers.predict(head, made[0]) for head in heads]
    mean = classifiers.predict(classifiers.average(heads, [1.0, 1.0, 1.0]), made[0])
    assert np.allclose(mean, np.mean(single, axis=0), atol=1e-6)
    weighted = classifiers.predict(classifiers.average(heads[:2], [1.0, 3.0]), made[0])
    assert np.allclose(weighted, 0.25 * single[0] + 0.75 * single[1], atol=1e-6)


def test_mixed_precision_does_not_round_the_probabilities_of_an_average(made):
    """float16 knows three decimals only: different probabilities would become ties."""
    import keras

    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        heads = [head_of(DIM, 3, seed) for seed in range(2)]
        mean = classifiers.predict(classifiers.average(heads, [1.0, 1.0]), made[0])
    finally:
        keras.config.set_dtype_policy(policy)
    single = [classifiers.predict(head, made[0]) for head in heads]
    assert mean.dtype == np.float32 and np.allclose(mean, np.mean(single, axis=0), atol=1e-6)


def test_an_unknown_mode_is_refused():
    with pytest.raises(classifiers.ClassifierError, match="single or multi"):
        classifiers.build_head(DIM, 3, "both")


# The baseline


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_regression_as_a_keras_head_is_that_of_scikit_learn(made, n_classes):
    from sklearn.linear_model import LogisticRegression

    features, truth, labels = (values[made[2] < n_classes] for values in made)
    theirs = LogisticRegression(C=3.0, max_iter=2000).fit(features, labels).predict_proba(features)
    head, strength = classifiers.fit_logistic_regression(features, labels, (features, truth[:, :n_classes]), (3.0,))
    assert strength == 3.0 and np.allclose(classifiers.predict(head, features), theirs, atol=1e-5)


@pytest.mark.parametrize("there", [(0, 2), (1, 3, 4)], ids=["two species", "three species"])
def test_a_species_that_could_not_be_learnt_keeps_its_column(made, there):
    """Five classes, of which some have no recording in train: their probability is 0, the others' columns are right."""
    features, _, labels = made
    features, labels = features[labels < len(there)], np.array(there)[labels[labels < len(there)]]
    truth = np.eye(5, dtype=np.float32)[labels]
    head, _ = classifiers.fit_logistic_regression(features, labels, (features, truth))
    scores = classifiers.predict(head, features)
    assert scores.shape == truth.shape and np.isfinite(scores).all()
    assert not scores[:, [i for i in range(5) if i not in there]].any()
    assert classification.accuracy(labels, scores) > 0.9
    both = classifiers.average([head, head_of(DIM, 5)], [0.5, 0.5])
    assert classifiers.predict(both, features).sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_the_strength_is_the_one_best_on_validation(made):
    features, truth, labels = made
    fit_one = classifiers.fit_logistic_regression
    validation = features[160:], truth[160:]
    scores = {
        c: classification.macro_roc_auc(
            validation[1], classifiers.predict(fit_one(features[:40], labels[:40], validation, (c,))[0], validation[0])
        )
        for c in (1e-3, 1.0)
    }
    assert fit_one(features[:40], labels[:40], validation, (1e-3, 1.0))[1] == max(scores, key=scores.get)


def test_a_regression_of_one_species_is_refused():
    with pytest.raises(classifiers.ClassifierError, match="one species"):
        classifiers.fit_logistic_regression(np.ones((2, DIM)), np.zeros(2, int), (np.ones((1, DIM)), np.ones((1, 1))))


# Files


def test_a_classifier_that_was_saved_gives_the_same_numbers(tmp_path):
    """Padding included: a window with two patches of weight 0 behind it is predicted like the window."""
    head = classifiers.average([head_of(4 * DIM, 3, 0), head_of(4 * DIM, 3, 1)], [0.5, 0.5])
    patch_pooling = pooling.build_pooling(DIM)
    model = classifiers.join(patch_pooling, head, 2 * DIM)
    preprocessing = {"embedder": "yamnet", "key": "ab", "prior": [0.5, 0.25, 0.25], "thresholds": [0.1, 0.2, 0.3]}
    classifiers.save(tmp_path / "new", model, ["1139490", "amekes", "wren"], preprocessing)

    again, classes, read = classifiers.load(tmp_path / "new")
    embeddings, weights = heard(7, dim=2 * DIM)
    expected = classifiers.predict(head, np.asarray(patch_pooling(embeddings, weights)))
    assert classes == ["1139490", "amekes", "wren"] and read == preprocessing
    assert np.allclose(again.predict({"embeddings": embeddings, "weights": weights}, verbose=0), expected, atol=1e-5)
    padded = {"embeddings": np.pad(embeddings, [(0, 0), (0, 2), (0, 0)]), "weights": np.pad(weights, [(0, 0), (0, 2)])}
    assert np.allclose(again.predict(padded, verbose=0), expected, atol=1e-5)


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "classes.json").write_text("[]")
    with pytest.raises(classifiers.ClassifierError, match="classifier.keras, preprocessing.json.*07_classify"):
        classifiers.load(tmp_path)


def test_another_embedder_is_refused_and_both_are_named():
    listener = types.SimpleNamespace(name="yamnet", key="b" * 64, weights={"yamnet": {"source": "package bundle"}})
    classifiers.require_same_embedder({"embedder": "yamnet", "key": "b" * 64}, listener)
    with pytest.raises(classifiers.ClassifierError, match=f"{'a' * 12}.*package bundle.*{'b' * 12}"):
        classifiers.require_same_embedder({"embedder": "yamnet", "key": "a" * 64}, listener)


TWO_REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from birdlib.metrics import classification
from birdlib.species import classifiers
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 150)
features = rng.normal(size=(150, 16)).astype(np.float32)
features[np.arange(150), labels] += 4.0
truth = np.eye(3, dtype=np.float32)[labels]
train, validation = (features[:100], truth[:100], np.ones(100, np.float32)), (features[100:], truth[100:])
options = dict(mode="single", epochs=6, patience=6, learning_rate=1e-2, weight_decay=0.0)
with strategy.scope():
    build = lambda: classifiers.build_head(16, 3, "single", (16,), 0.1)
    network, _ = classifiers.fit_networks(2, build, train, validation, **options)
    logistic, _ = classifiers.fit_logistic_regression(train[0], labels[:100], validation)
    both = classifiers.average([network, logistic], [0.5, 0.5])
scores = classifiers.predict(both, validation[0])
assert scores.shape == (50, 3) and classification.macro_roc_auc(validation[1], scores) > 0.95, scores
"""


@pytest.mark.slow
def test_a_mirrored_strategy_learns_the_same_way():
    """Two logical CPU devices stand in for two GPUs; they have to be set up before TensorFlow starts."""
    subprocess.run([sys.executable, "-c", TWO_REPLICAS], cwd=runtime.repository(), check=True, capture_output=True)


def test_a_saved_classifier_does_not_ask_for_the_loss_it_was_trained_with(tmp_path):
    """It is loaded where nothing but its own layers is known; a loss in a part of it would be asked for. Of its 9 numbers, none is there thrice."""
    import h5py

    head = classifiers.build_head(2, 3, hidden=())
    head.compile("adam", loss=classification_losses.get("cross_entropy"))
    head.fit(np.ones((4, 2)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    whole = classifiers.join(pooling.build_pooling(2, "mean"), classifiers.average([head, head], [1.0, 1.0]), 2)
    classifiers.save(tmp_path, whole, ["a", "b", "c"], {})
    with zipfile.ZipFile(tmp_path / "classifier.keras") as file:
        assert "label_losses" not in file.read("config.json").decode()
        file.extract("model.weights.h5", tmp_path)
    sizes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: sizes.append(getattr(item, "size", 0)))
    assert sum(sizes) == 9
