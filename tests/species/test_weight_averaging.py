import keras
import numpy as np
import pytest

from birdlib.species import weight_averaging
from birdlib.species.weight_averaging import WeightAverage


def model_of(kind="none", n_steps=100):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.BatchNormalization()(inputs)))
    model.compile(keras.optimizers.AdamW(0.1, **weight_averaging.optimizer_options(kind, n_steps)), loss="mse")
    return model


def test_swa_is_the_mean_of_the_epochs_from_the_second_half_on():
    """Of 20 epochs those from 12 on, the first after .55 of them: their mean is 16; statistics of batch normalisation are averaged too."""
    model = model_of()
    average, shapes = WeightAverage("swa", model, 20), [weights.shape for weights in model.get_weights()]
    for epoch in range(1, 21):
        model.set_weights([np.full(shape, epoch, np.float32) for shape in shapes])
        average.update(epoch)
        with average.applied():
            if epoch < 12:
                assert all((weights == epoch).all() for weights in model.get_weights())
    with average.applied():
        assert all(np.allclose(weights, 16) for weights in model.get_weights())
    assert all((weights == 20).all() for weights in model.get_weights()) and average.n_averaged == 9


def test_ema_is_that_of_the_steps_and_own_weights_come_back():
    """Each step: momentum * average + (1 - momentum) * weights, from the weights after the first step on."""
    model, rng = model_of("ema", 40), np.random.default_rng(0)
    momentum, expected = 1 - 1 / 4, None
    for _ in range(5):
        model.train_on_batch(rng.normal(size=(8, 3)), rng.normal(size=(8, 1)))
        now = [np.array(variable) for variable in model.trainable_variables]
        expected = now if expected is None else [momentum * mean + (1 - momentum) * new for mean, new in zip(expected, now, strict=True)]
    with WeightAverage("ema", model, 5).applied():
        found = [np.array(variable) for variable in model.trainable_variables]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
    assert all(np.allclose(a, b) for a, b in zip(map(np.array, model.trainable_variables), now, strict=True))


def test_momentum_grows_with_the_length_of_a_training():
    """A tenth of the steps is averaged: the published .999 belongs to 10,000 steps."""
    options = weight_averaging.optimizer_options("ema", 10_000)
    assert options["use_ema"] and options["ema_momentum"] == pytest.approx(0.999)
    assert weight_averaging.optimizer_options("ema", 5)["ema_momentum"] == 0.0
    assert weight_averaging.optimizer_options("swa", 100) == {} == weight_averaging.optimizer_options("none", 100)


def test_unknown_average_is_refused():
    with pytest.raises(weight_averaging.AveragingError, match="'mean': choose none, swa, ema"):
        weight_averaging.optimizer_options("mean", 10)
