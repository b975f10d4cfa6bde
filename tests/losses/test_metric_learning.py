"""What holds of all losses of metric learning."""

import numpy as np
import pytest
from arrays import MINED, at_degrees, cost, crowd, from_config, gradient, half_is_single, rng, unit

from birdlib import runtime
from birdlib.losses import base, metric_learning

IN_BATCH = [*MINED, "multi_similarity"]  # take embeddings; arcface takes cosines to class centres


@pytest.mark.parametrize("name", ["batch_hard", "batch_semi_hard", "multi_similarity"])
def test_samples_without_shared_media_cost_as_by_their_species_alone(name):
    labels, embeddings = crowd()
    media = np.column_stack([labels, np.arange(len(labels)), np.arange(len(labels))])
    loss = metric_learning.get(name)
    assert cost(loss, media, embeddings) == pytest.approx(cost(loss, labels, embeddings), abs=1e-6)
    assert cost(metric_learning.get(name), np.column_stack([labels, 0 * labels, 0 * labels]), embeddings) == 0.0  # all are one sample


@pytest.mark.parametrize("name", IN_BATCH[1:])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5]], ids=["no positives", "no negatives"])
def test_a_batch_without_triplets_has_no_loss_and_no_gradient(name, labels):
    embeddings = at_degrees(0, 10, 20, 30)
    assert cost(metric_learning.get(name), labels, embeddings) == 0.0
    assert (gradient(metric_learning.get(name), np.array(labels), embeddings) == 0.0).all()


@pytest.mark.parametrize("name", IN_BATCH)
@pytest.mark.parametrize(
    "embeddings",
    [unit(np.ones((6, 3))), at_degrees(0, 180, 0, 180, 0, 180), crowd(3, 2)[1]],
    ids=["identical", "opposite", "a crowd"],
)
def test_gradients_are_finite(name, embeddings):
    """Identical and opposite embeddings are where roots and logarithms break."""
    assert np.isfinite(gradient(metric_learning.get(name), np.array([0, 0, 1, 1, 2, 2]), embeddings)).all()


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
