"""Training of heads: training sets, networks, mixup, and logistic regression."""

import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from arrays import DIM, patch_table, rng

from birdlib import runtime, stages
from birdlib.losses import classification as losses
from birdlib.metrics import classification
from birdlib.models import pooling, probe_fits
from birdlib.species import classifiers, fit_heads


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
    return fit_heads.training_set(embeddings, patches, pooling.build_pooling(DIM), recordings, truth, **options)


def test_windows_of_a_recording_together_weigh_as_much_as_the_whole():
    """One recording of each species, so rows of different truth are of different recordings: 1 + 1 each."""
    features, truth, sample_weight = training_set(["crow", "tit", "wren"], [40, 3, 9])
    assert len(features) == len(truth) == len(sample_weight) == 3 + 6 + 1 + 4
    assert (truth * sample_weight[:, None]).sum(axis=0) == pytest.approx([2, 2, 2])


def test_without_windows_each_recording_is_one_row():
    features, truth, sample_weight = training_set(["crow", "wren"], [40, 3], window_patches=0)
    assert features.shape == (2, 2 * DIM) and truth.tolist() == [[1, 0], [0, 1]] and sample_weight.tolist() == [1, 1]


def test_class_weights_follow_the_primary_species():
    """A wren with a crow behind it is a wren: with three wrens and one crow the crow weighs three times as much."""
    truth = np.array([[1, 1], [1, 1], [0, 1], [1, 0]], np.float32)  # crow, wren
    _, _, sample_weight = training_set(
        ["wren", "wren", "wren", "crow"], [3] * 4, truth, window_patches=0, class_weight=1.0
    )
    assert sample_weight[3] / sample_weight[0] == pytest.approx(3.0)
    assert sample_weight[:3] == pytest.approx(sample_weight[0])


def test_training_set_of_one_species_is_refused():
    with pytest.raises(stages.NothingToDoError, match="one species"):
        training_set(["wren", "wren"], [3, 3])


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_class_weights_have_mean_one_and_the_ratio_of_counts_to_the_power(power, ratio):
    """Eight recordings of one species and two of another: the rare ones weigh (8 / 2) ** power times as much."""
    weights = fit_heads.class_weights(np.array([0] * 8 + [2] * 2), power)
    assert weights.mean() == pytest.approx(1.0) and weights[-1] / weights[0] == pytest.approx(ratio)


# Networks


OPTIONS = {"loss": "cross_entropy", "epochs": 12, "patience": 4, "learning_rate": 0.01, "weight_decay": 0.0}


def fit(made, validation=None, n_networks=1, mode="single", **options):
    features, truth, _ = made
    keras.utils.set_random_seed(0)
    train = features[:160], truth[:160], np.ones(160, np.float32)
    build = lambda: classifiers.build_head(DIM, 3, mode, (8,))  # noqa: E731
    return fit_heads.fit_networks(n_networks, build, train, validation or (features[160:], truth[160:]), **OPTIONS | options)


def auc_of(head, made):
    features, truth, _ = made
    return classification.macro_roc_auc(truth[160:], classifiers.predict(head, features[160:]))


def test_networks_learn_and_keep_their_best_epoch(made):
    """A high learning rate makes later epochs worse; the score of the network is that of the best one."""
    head, history = fit(made, learning_rate=0.05)
    assert auc_of(head, made) > 0.95
    assert auc_of(head, made) == pytest.approx(history["validation_macro_auc"].max(), abs=1e-6)
    assert list(history) == ["epoch", "loss", "validation_loss", "validation_macro_auc", "network"]


@pytest.mark.parametrize(("loss", "mixup"), [("bce", 0.0), ("soft_auc", 0.0), ("asymmetric", 0.4)])
def test_networks_learn_several_species_at_once(made, loss, mixup):
    head, _ = fit(made, mode="multi", loss=loss, mixup=mixup, rng=np.random.default_rng(0))
    assert auc_of(head, made) > 0.95
    assert np.abs(classifiers.predict(head, made[0]).sum(axis=1) - 1.0).max() > 0.01  # not a distribution over species


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_without_a_roc_auc_the_validation_loss_decides(made):
    """One validation recording: no species has a positive and a negative there, but the loss falls after the first epoch."""
    features, truth, _ = made
    head, history = fit(made, (features[160:161], truth[160:161]))
    assert history["validation_macro_auc"].isna().all()
    probability = classifiers.predict(head, features[160:161])[truth[160:161] == 1]
    assert -np.log(probability) == pytest.approx(history["validation_loss"].min(), abs=1e-4)
    assert history["validation_loss"].min() < history["validation_loss"].iloc[0]


def test_without_validation_all_epochs_are_trained(made):
    features, truth, _ = made
    build = lambda: classifiers.build_head(DIM, 3, "single", (8,))  # noqa: E731
    head, history = fit_heads.fit_networks(1, build, (features[:160], truth[:160], np.ones(160, np.float32)), None, **OPTIONS | {"epochs": 9, "patience": 0})
    assert history["epoch"].tolist() == list(range(1, 10)) and history["validation_macro_auc"].isna().all() and auc_of(head, made) > 0.95


def test_the_kept_epoch_is_that_of_the_best_auc_or_else_of_the_lowest_loss():
    history = pd.DataFrame({"network": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "validation_macro_auc": [0.6, 0.5, np.nan, np.nan], "validation_loss": [2.0, 1.0, 2.0, 1.0]})
    assert fit_heads.kept_epochs(history) == [1, 2]


def test_empty_validation_is_refused(made):
    with pytest.raises(classifiers.ClassifierError, match="01_split"):
        fit(made, (made[0][:0], made[1][:0]))


# Epochs


def test_mixup_shows_every_row_once_mixed_with_another_species():
    """Row i has the feature i and its own species, so the labels of a mixture tell its feature."""
    n = 10
    batches = fit_heads.MixedRows(np.arange(n, dtype=np.float32)[:, None], np.eye(n), np.ones(n), 4, 0.4, seed=0)
    features, truth, weight = (np.concatenate(parts) for parts in zip(*(batches[step] for step in range(len(batches))), strict=True))
    assert len(batches) == 3 and sorted(batches.order) == list(range(n)) and weight.tolist() == [1.0] * n
    assert np.allclose(truth.sum(axis=1), 1.0) and np.allclose(truth @ np.arange(n), features[:, 0], atol=1e-4)
    assert ((truth > 0).sum(axis=1) == 2).any()


def test_mixup_depends_on_seed_and_epoch_only():
    first, second = (fit_heads.MixedRows(np.ones((8, 2)), np.eye(8), np.ones(8), 8, 0.4, seed=3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
    second.on_epoch_end()
    assert not np.array_equal(first[0][1], second[0][1])


def test_scores_that_are_not_finite_are_reported_with_their_epoch():
    callback = fit_heads.Validation(np.zeros((2, 3)), np.eye(2))
    callback.set_model(lambda features, training: np.array([[0.5, np.nan], [0.5, 0.5]]))
    with pytest.raises(runtime.BirdlibError, match="epoch 3"):
        callback.on_epoch_end(2, {})


def test_a_mixture_is_weighted_by_its_parts():
    """Row i has feature i, its own species and weight 1 + i, so the features of a mixture tell its shares.

    A partner with the weight 2 counts twice as much in weight and labels. Over an epoch, the weight of each species is then that of its rows
    and of those that it was mixed into; without this, rare species lose half of their class weight.
    """
    n = 12
    own = 1.0 + np.arange(n, dtype=np.float32)
    batches = fit_heads.MixedRows(np.eye(n, dtype=np.float32), np.eye(n), own, n, 0.4, seed=0)
    shares, truth, weight = batches[0]  # features of unit vectors are the shares
    assert np.allclose(weight, shares @ own, rtol=1e-5) and np.allclose(truth * weight[:, None], shares * own, atol=1e-4)
    assert np.allclose(truth.sum(axis=1), 1.0, atol=1e-5) and ((truth > 0).sum(axis=1) == 2).any() and not np.allclose(weight, own[batches.order])


# Rows without labels


def with_engines(made, n=120):
    """Windows of engines beside the birds: they have their own direction, and no label."""
    features, truth, labels = made
    engines = np.pad(np.full((n, 1), 2.0), ((0, 0), (DIM - 1, 0))) + rng(5).standard_normal((n, DIM)) * 0.6
    engines = (engines / np.linalg.norm(engines, axis=1, keepdims=True)).astype(np.float32)
    return (features[:160], truth[:160], np.ones(160, np.float32)), (features[160:], truth[160:]), engines


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_rows_without_labels_teach_softmax_a_background(made, mixup):
    """Other engines than those of training get low scores for every bird; without a background, the scores of a window sum to 1."""
    (features, truth, weight), validation, engines = with_engines(made)
    train = np.concatenate([features, engines[:60]]), np.concatenate([truth, np.zeros((60, 3))]), np.ones(220, np.float32)
    highest = {}
    for background in (True, False):
        keras.utils.set_random_seed(0)
        build = lambda background=background: classifiers.build_head(DIM, 3, "single", (8,), background=background)  # noqa: E731
        options = OPTIONS | {"loss": losses.get("cross_entropy", background=background), "mixup": mixup, "rng": np.random.default_rng(0), "epochs": 40, "patience": 40}
        head, _ = fit_heads.fit_networks(1, build, train, validation, **options)
        assert auc_of(head, made) > 0.95
        highest[background] = np.mean(classifiers.predict(head, engines[60:]).max(axis=1))
    assert highest[True] < 0.15 and highest[False] > 0.4


# The baseline


@pytest.mark.parametrize("n_classes", [2, 3])
def test_keras_head_equals_scikit_learns_logistic_regression(made, n_classes):
    from sklearn.linear_model import LogisticRegression

    features, truth, labels = (values[made[2] < n_classes] for values in made)
    theirs = LogisticRegression(C=3.0, max_iter=2000).fit(features, labels).predict_proba(features)
    head, strength = fit_heads.fit_logistic_regression(features, labels, (features, truth[:, :n_classes]), (3.0,))
    assert strength == 3.0 and np.allclose(classifiers.predict(head, features), theirs, atol=1e-5)


@pytest.mark.parametrize("there", [(0, 2), (1, 3, 4)], ids=["two species", "three species"])
def test_species_without_training_rows_keep_their_column(made, there):
    """Five classes, of which some have no training recording: their probability is 0, and the others keep their columns."""
    features, _, labels = made
    features, labels = features[labels < len(there)], np.array(there)[labels[labels < len(there)]]
    truth = np.eye(5, dtype=np.float32)[labels]
    head, _ = fit_heads.fit_logistic_regression(features, labels, (features, truth))
    scores = classifiers.predict(head, features)
    assert scores.shape == truth.shape and np.isfinite(scores).all()
    assert not scores[:, [i for i in range(5) if i not in there]].any()
    assert classification.accuracy(labels, scores) > 0.9
    both = probe_fits.average([head, classifiers.build_head(DIM, 5, hidden=(8,))], [0.5, 0.5])
    assert classifiers.predict(both, features).sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_logistic_regression_learns_a_background(made):
    (features, truth, _), validation, engines = with_engines(made)
    labels = np.append(truth.argmax(axis=1), np.full(60, 3))
    head, _ = fit_heads.fit_logistic_regression(np.concatenate([features, engines[:60]]), labels, validation)
    plain, _ = fit_heads.fit_logistic_regression(features, labels[:160], validation)
    scores, before = (classifiers.predict(fitted, engines[60:]) for fitted in (head, plain))
    assert scores.shape == (60, 3) and scores.max(axis=1).mean() < 0.15 and before.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert auc_of(head, made) > 0.95


def test_regularisation_is_chosen_on_validation(made):
    features, truth, labels = made

    def fit_with(*strengths):
        return fit_heads.fit_logistic_regression(features[:40], labels[:40], (features[160:], truth[160:]), strengths)

    aucs = {c: auc_of(fit_with(c)[0], made) for c in (1e-3, 1.0)}
    assert fit_with(1e-3, 1.0)[1] == max(aucs, key=aucs.get)


def test_logistic_regression_of_one_species_is_refused():
    with pytest.raises(stages.NothingToDoError, match="one species"):
        fit_heads.fit_logistic_regression(np.ones((2, DIM)), np.zeros(2, int), (np.ones((1, DIM)), np.ones((1, 1))))


TWO_REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from birdlib.metrics import classification
from birdlib.models import probe_fits
from birdlib.species import classifiers, fit_heads
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 150)
features = rng.normal(size=(150, 16)).astype(np.float32)
features[np.arange(150), labels] += 4.0
truth = np.eye(3, dtype=np.float32)[labels]
train, validation = (features[:100], truth[:100], np.ones(100, np.float32)), (features[100:], truth[100:])
options = dict(loss="cross_entropy", epochs=6, patience=6, learning_rate=1e-2, weight_decay=0.0)
with strategy.scope():
    build = lambda: classifiers.build_head(16, 3, "single", (16,), 0.1)
    network, _ = fit_heads.fit_networks(2, build, train, validation, **options)
    logistic, _ = fit_heads.fit_logistic_regression(train[0], labels[:100], validation)
    both = probe_fits.average([network, logistic], [0.5, 0.5])
scores = classifiers.predict(both, validation[0])
assert scores.shape == (50, 3) and classification.macro_roc_auc(validation[1], scores) > 0.95, scores
"""


@pytest.mark.slow
def test_training_works_under_a_mirrored_strategy():
    """Two logical CPU devices stand in for two GPUs; they have to be set up before TensorFlow starts."""
    subprocess.run([sys.executable, "-c", TWO_REPLICAS], cwd=runtime.repository(), check=True, capture_output=True)


def test_description_of_a_training_names_the_kept_epochs():
    history = pd.DataFrame({"network": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "validation_macro_auc": [0.6, 0.5, 0.5, 0.8]})
    text = fit_heads.describe(history)
    assert "Kept epochs: 1 to 2 of at most 2; macro ROC-AUC of a network on validation 0.700." in text and "raise `epochs`" in text
    assert "last epoch" in fit_heads.describe(history.assign(validation_macro_auc=np.nan))
