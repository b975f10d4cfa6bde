import math

import numpy as np
import pytest
from arrays import at_degrees, cosine, cost, from_config, gradient, half_is_single, multi_similarity_by_hand, rng, unit

from birdlib import runtime
from birdlib.losses import base, metric_learning

MINED = ["triplet", "batch_hard", "batch_semi_hard"]
IN_BATCH = [*MINED, "multi_similarity"]  # take embeddings; arcface takes cosines to class centres


def cosine_distance(degrees):
    return 1.0 - cosine(degrees)


def crowd(n_species=3, n_each=4, dim=4, seed=0):
    """(labels, embeddings) of species that overlap."""
    labels = np.repeat(np.arange(n_species), n_each)
    centres = rng(seed).normal(size=(n_species, dim))
    return labels, unit(centres[labels] + 0.8 * rng(seed + 1).normal(size=(len(labels), dim)))


# Triplets


@pytest.mark.parametrize("name", MINED)
def test_collapsed_embeddings_cost_exactly_the_margin(name):
    """All distances are equal, so d(a, p) - d(a, n) + margin = margin for every triplet."""
    labels, embeddings = [0, 0, 1, 1, 2, 2], unit(np.ones((6, 4)))
    assert cost(metric_learning.get(name, margin=0.3), labels, embeddings) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("name", MINED)
def test_species_further_apart_than_the_margin_have_no_loss(name):
    """d(a, p) = 0 and d(a, n) = 1: 0 - 1 + 0.2 is below 0. In rows of three: two of one species, one of another."""
    labels, embeddings = [0, 0, 1, 1, 1, 0], at_degrees(0, 0, 90, 90, 90, 0)
    assert cost(metric_learning.get(name, margin=0.2), labels, embeddings) == 0.0


def test_positives_share_neither_photo_nor_recording_wherever_the_batch_has_such_ones():
    """Species 0: samples a (photo 1, recording 1), b (1, 2), c (2, 3), and d with the sound of c alone; species 1: e and f of one photo, g like e.

    a and b share a photo, c and d a recording: of each the other two are positives. e has f, which differs in the recording, not g.
    """
    labels = np.array([[0, 1, 1], [0, 1, 2], [0, 2, 3], [0, -1, 3], [1, 5, 8], [1, 5, 9], [1, 5, 8], [2, -1, 4]])
    positives, negatives = (np.asarray(side) for side in metric_learning.pairs_within(labels))
    assert [np.flatnonzero(row).tolist() for row in positives] == [[2, 3], [2, 3], [0, 1], [0, 1], [5], [4, 6], [5], []]
    assert np.array_equal(negatives, labels[:, None, 0] != labels[None, :, 0])


@pytest.mark.parametrize("name", ["batch_hard", "batch_semi_hard", "multi_similarity"])
def test_samples_without_shared_media_cost_as_by_their_species_alone(name):
    labels, embeddings = crowd()
    media = np.column_stack([labels, np.arange(len(labels)), np.arange(len(labels))])
    loss = metric_learning.get(name)
    assert cost(loss, media, embeddings) == pytest.approx(cost(loss, labels, embeddings), abs=1e-6)
    assert cost(metric_learning.get(name), np.column_stack([labels, 0 * labels, 0 * labels]), embeddings) == 0.0  # all are one sample


def test_offline_triplets_ignore_labels():
    """Rows at 0, 60, 90 degrees: 0.5 - 1 + 0.7 = 0.2. Rows at 0, 90, 60: 1 - 0.5 + 0.7 = 1.2. Their mean is 0.7."""
    embeddings = at_degrees(0, 60, 90, 0, 90, 60)
    assert cost(metric_learning.get("triplet", margin=0.7), [7] * 6, embeddings) == pytest.approx(0.7, abs=1e-6)


def test_incomplete_offline_triplets_are_an_error():
    with pytest.raises(base.LossError, match="4 rows"):
        metric_learning.get("triplet")([0, 0, 1, 1], at_degrees(0, 1, 2, 3))


def test_batch_hard_takes_the_furthest_positive_and_the_nearest_negative():
    """Species 0 at 0, 30 and 80 degrees, species 1 at 100 and 120.

    Furthest positives of the five: 80, 50, 80, 20, 20 degrees; nearest negatives: 100, 70, 20, 20, 40.
    """
    furthest, nearest = [80, 50, 80, 20, 20], [100, 70, 20, 20, 40]
    costs = [max(0.0, cosine_distance(p) - cosine_distance(n) + 0.2) for p, n in zip(furthest, nearest, strict=True)]
    found = cost(metric_learning.get("batch_hard", margin=0.2), [0, 0, 0, 1, 1], at_degrees(0, 30, 80, 100, 120))
    assert found == pytest.approx(np.mean(costs), abs=1e-6)


def test_batch_hard_leaves_out_anchors_without_a_positive():
    """Species 0 at 0 and 60 degrees, one of species 1 at 90: (0.5 - 1 + 0.2, 0.5 - d(30) + 0.2) are averaged over two."""
    expected = (0.0 + 0.7 - cosine_distance(30)) / 2
    assert cost(metric_learning.get("batch_hard", margin=0.2), [0, 0, 1], at_degrees(0, 60, 90)) == pytest.approx(
        expected, abs=1e-6
    )


def test_semi_hard_takes_the_nearest_negative_beyond_the_positive():
    """Species 0 at 0 and 40 degrees, species 1 at -20, 50 and -70, margin 0.5.

    Anchor 0: its positive is 40 away, negatives 20, 50 and 70: 50 is the nearest beyond. Anchor 40: negatives 60, 10, 110: 60.
    The anchors of species 1 have two positives each: -20: positives 70 and 50 away, negatives 20 and 60: beyond 70 is none, so
    the furthest (60); beyond 50: 60. 50: positives 70 and 120, negatives 50 and 10: none beyond, furthest 50, twice.
    -70: positives 50 and 120, negatives 70 and 110: beyond 50: 70; beyond 120 none, furthest 110.
    """
    pairs = [(40, 50), (40, 60), (70, 60), (50, 60), (70, 50), (120, 50), (50, 70), (120, 110)]
    costs = [max(0.0, cosine_distance(p) - cosine_distance(n) + 0.5) for p, n in pairs]
    found = cost(metric_learning.get("batch_semi_hard", margin=0.5), [0, 0, 1, 1, 1], at_degrees(0, 40, -20, 50, -70))
    assert found == pytest.approx(np.mean(costs), abs=1e-6)


def test_batch_hard_is_never_below_semi_hard():
    """For one positive each: the nearest negative costs at least what any other negative costs."""
    labels, embeddings = crowd(n_species=5, n_each=2)
    hard, semi_hard = (cost(metric_learning.get(name), labels, embeddings) for name in ("batch_hard", "batch_semi_hard"))
    assert hard >= semi_hard > 0


@pytest.mark.parametrize("name", IN_BATCH[1:])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5]], ids=["no positives", "no negatives"])
def test_a_batch_without_triplets_has_no_loss_and_no_gradient(name, labels):
    embeddings = at_degrees(0, 10, 20, 30)
    assert cost(metric_learning.get(name), labels, embeddings) == 0.0
    assert (gradient(metric_learning.get(name), np.array(labels), embeddings) == 0.0).all()


def test_a_larger_margin_activates_more_triplets():
    labels, embeddings = [0, 0, 1, 1], at_degrees(0, 0, 40, 40)  # negatives are 0.234 away
    costs = [cost(metric_learning.get("batch_hard", margin=margin), labels, embeddings) for margin in (0.2, 0.3)]
    assert costs == pytest.approx([0.0, 0.3 - cosine_distance(40)], abs=1e-6)


# Multi-similarity


@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity_is_the_papers_formula(seed):
    labels, embeddings = crowd(seed=seed)
    labels[-1] = 9  # alone of its species
    costs, n_dropped = multi_similarity_by_hand(embeddings, labels)
    assert n_dropped > 0
    assert cost(metric_learning.get("multi_similarity"), labels, embeddings) == pytest.approx(np.mean(costs), rel=1e-5)


def test_multi_similarity_of_collapsed_embeddings():
    """All cosines are 1: each of 4 birds has 1 positive and 2 negatives: log(1 + e^-1) / 2 + log(1 + 2 e^25) / 50."""
    expected = math.log(1 + math.exp(-1)) / 2 + math.log(1 + 2 * math.exp(25)) / 50
    assert cost(metric_learning.get("multi_similarity"), [0, 0, 1, 1], unit(np.ones((4, 3)))) == pytest.approx(
        expected, rel=1e-5
    )


# ArcFace


def softmax_cross_entropy(labels, logits):
    logits = logits.astype(np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


def test_arcface_without_margin_is_softmax_cross_entropy_of_scaled_cosines():
    labels, cosines = np.array([0, 1, 2, 2]), rng().uniform(-1, 1, (4, 3)).astype(np.float32)
    found = cost(metric_learning.get("arcface", margin=0.0, scale=8.0), labels, cosines)
    assert found == pytest.approx(softmax_cross_entropy(labels, 8.0 * cosines), rel=1e-5)


def test_arcface_adds_the_margin_to_the_angle_of_the_true_class_only():
    """The own class at 60 degrees, the other at 90: with a margin of 0.5 the own cosine is cos(pi / 3 + 0.5)."""
    widened = np.array([[math.cos(math.pi / 3 + 0.5), 0.0]])
    found = cost(metric_learning.get("arcface", margin=0.5, scale=10.0), [0], np.array([[0.5, 0.0]], np.float32))
    assert found == pytest.approx(softmax_cross_entropy([0], 10.0 * widened), rel=1e-5)


def test_arcface_loss_rises_with_margin_and_angle():
    """Also near 180 degrees, where cos(theta + margin) itself would rise again."""
    own = np.linspace(1.0, -1.0, 61, dtype=np.float32)
    costs = {}
    for margin in (0.0, 0.5):
        loss = metric_learning.get("arcface", margin=margin, scale=5.0)
        costs[margin] = np.array([cost(loss, [0], np.array([[cosine, 0.3]], np.float32)) for cosine in own])
    assert (costs[0.5] > costs[0.0]).all()
    assert (np.diff(costs[0.5]) > 0).all()


def test_cosine_head_normalises_its_centres():
    import keras

    head, (_, embeddings) = metric_learning.cosine_head(5), crowd()
    cosines = keras.ops.convert_to_numpy(head(embeddings))
    assert cosines.shape == (len(embeddings), 5) and np.abs(cosines).max() <= 1.0 + 1e-6
    kernel = head.get_weights()[0]
    assert np.allclose(cosines, embeddings @ (kernel / np.linalg.norm(kernel, axis=0)), atol=1e-6)
    head.set_weights([kernel * np.array([1, 2, 3, 4, 50])])
    assert np.allclose(keras.ops.convert_to_numpy(head(embeddings)), cosines, atol=1e-6)


# All of them


@pytest.mark.parametrize("name", IN_BATCH)
@pytest.mark.parametrize(
    "embeddings",
    [unit(np.ones((6, 3))), at_degrees(0, 180, 0, 180, 0, 180), crowd(3, 2)[1]],
    ids=["identical", "opposite", "a crowd"],
)
def test_gradients_are_finite(name, embeddings):
    """Identical and opposite embeddings are where roots and logarithms break."""
    assert np.isfinite(gradient(metric_learning.get(name), np.array([0, 0, 1, 1, 2, 2]), embeddings)).all()


@pytest.mark.parametrize("beyond", [0.0, 1e-6], ids=["exact", "rounded up"])
def test_the_gradient_of_arcface_is_finite_at_cosines_of_1_and_of_minus_1(beyond):
    """Where arccos has an infinite slope; rounding may even give a cosine above 1."""
    cosines = (1.0 + beyond) * np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]], np.float32)
    gradients = gradient(metric_learning.get("arcface"), np.array([0, 0, 1, 1]), cosines)
    assert np.isfinite(gradients).all() and gradients[1, 0] < 0  # the bird that is furthest from its centre is still pulled


@pytest.mark.parametrize("name", IN_BATCH[1:])
def test_a_gradient_step_lowers_the_loss(name):
    labels, embeddings = crowd()
    loss = metric_learning.get(name)
    stepped = unit(embeddings - 0.01 * gradient(loss, labels, embeddings))
    assert cost(loss, labels, stepped) < cost(loss, labels, embeddings)


@pytest.mark.parametrize("name", metric_learning.LOSSES)
def test_losses_ignore_the_order_of_the_batch(name):
    """Nor do the names of the species. Offline triplets are moved as wholes."""
    labels, vectors = crowd()
    vectors = np.clip(vectors, -1, 1)[:, :3] if name == "arcface" else vectors
    order = rng().permutation(len(labels))
    if name == "triplet":
        order = np.arange(len(labels)).reshape(-1, 3)[rng().permutation(len(labels) // 3)].ravel()
    renamed = labels if name == "arcface" else labels + 1000
    loss = metric_learning.get(name)
    assert cost(loss, renamed[order], vectors[order]) == pytest.approx(cost(loss, labels, vectors), rel=1e-5)


@pytest.mark.parametrize("name", metric_learning.LOSSES)
def test_half_precision_inputs_are_computed_in_float32(name):
    assert half_is_single(metric_learning.get(name), *crowd())


@pytest.mark.parametrize("name", metric_learning.LOSSES)
def test_config_round_trip(name):
    options = {"multi_similarity": {"beta": 40.0, "epsilon": 0.2}, "arcface": {"margin": 0.3, "scale": 16.0}}
    loss = metric_learning.get(name, **options.get(name, {"margin": 0.7}))
    assert cost(from_config(loss), *crowd()) == cost(loss, *crowd()) != cost(metric_learning.get(name), *crowd())


@pytest.mark.parametrize("name", metric_learning.LOSSES)
def test_a_network_trains_and_is_saved_compiled(name, tmp_path):
    """Twelve birds of three species, all in one batch; what is loaded costs what was saved."""
    import keras

    keras.utils.set_random_seed(0)
    labels, features = crowd(seed=2)
    inputs = keras.Input((features.shape[1],))
    outputs = keras.layers.UnitNormalization()(keras.layers.Dense(8)(inputs))
    if name == "arcface":
        outputs = metric_learning.cosine_head(3)(outputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.03), loss=metric_learning.get(name))
    order = [0, 1, 4, 4, 5, 8, 8, 9, 0, 2, 3, 9] if name == "triplet" else np.arange(12)
    history = model.fit(features[order], labels[order], batch_size=12, epochs=25, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    costs = [one.evaluate(features[order], labels[order], batch_size=12, verbose=0) for one in (model, again)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


def test_an_unknown_loss_is_an_error_that_lists_the_names():
    with pytest.raises(base.LossError, match="'tripletts' is unknown: use one of triplet, batch_hard"):
        metric_learning.get("tripletts")
    assert issubclass(base.LossError, runtime.BirdlibError)


# What is left to learn


def test_active_share_counts_triplets_with_a_loss():
    """Species 0 at 0 and 10 degrees, species 1 at 90 and 180, margin 0.2.

    Anchors (furthest positive, nearest negative): (10, 90), (10, 80), (90, 80), (90, 170): only the third costs (1 - 0.83 + 0.2).
    Semi-hard: every anchor has one positive; the third (90) has negatives at 90 and 80, none beyond: the furthest, 90, costs 0.2.
    Triplets (0, 10, 90) and (90, 180, 0): 0.02 - 1 + 0.2 costs nothing, 1 - 1 + 0.2 costs.
    """
    labels, embeddings = np.array([0, 0, 1, 1]), at_degrees(0, 10, 90, 180)
    assert metric_learning.active_share(labels, embeddings, 0.2, "batch_hard") == 0.25
    assert metric_learning.active_share(labels, embeddings, 0.2, "batch_semi_hard") == 0.25
    assert metric_learning.active_share(labels, at_degrees(0, 10, 90, 90, 180, 0), 0.2, "triplet") == 0.5


@pytest.mark.parametrize("mining", MINED)
def test_active_share_is_1_of_a_collapsed_batch_and_0_of_a_separated_one(mining):
    labels = np.array([0, 0, 1, 1, 1, 0])
    assert metric_learning.active_share(labels, unit(np.ones((6, 4))).astype(np.float16), 0.2, mining) == 1.0
    assert metric_learning.active_share(labels, at_degrees(0, 0, 90, 90, 90, 0), 0.2, mining) == 0.0


def test_active_share_leaves_out_anchors_without_a_positive_or_negative():
    """The bird of species 1 is alone and does not count; the other two cost."""
    assert metric_learning.active_share([0, 0, 1], at_degrees(0, 30, 15), 0.2, "batch_hard") == 1.0
    assert math.isnan(metric_learning.active_share([0, 1, 2], at_degrees(0, 30, 15), 0.2, "batch_hard"))


def test_active_share_of_an_unknown_mining_is_an_error():
    with pytest.raises(base.LossError, match="'multi_similarity' is unknown"):
        metric_learning.active_share([0, 0], at_degrees(0, 1), 0.2, "multi_similarity")
