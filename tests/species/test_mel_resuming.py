"""A training that was interrupted goes on from its checkpoint."""

import errno
import os

import keras
import numpy as np
import pytest
from made_mel_training import OPTIONS, batches, fit, model_of, validation

from birdlib import read_ahead, runtime
from birdlib.species import mel_training


class PowerCut(BaseException):
    """Ends a training in the middle."""


def interrupt(aviary, model, folder, epoch, **options):
    """A training that is killed after ``epoch`` epochs, during the next validation."""
    validate, n = mel_training.predict, 0

    def failing(*arguments):
        nonlocal n
        n += 1
        if n > epoch:
            raise PowerCut
        return validate(*arguments)

    mel_training.predict = failing
    try:
        with pytest.raises(PowerCut):
            fit(aviary, model, folder, **options)
    finally:
        mel_training.predict = validate
    keras.utils.set_random_seed(99)


@pytest.mark.parametrize("epoch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_interrupted_training_resumes_with_the_same_figures(aviary, whole, tmp_path, epoch):
    """The new process has other random numbers and initial weights; the checkpoint replaces them."""
    interrupt(aviary, model_of(), tmp_path, epoch)
    again = model_of(seed=5)
    fed = batches(aviary)
    heard = []
    fed.augment_batch = lambda sounds, truth, rng: (heard.append(len(sounds)), (sounds, truth))[1]
    history = fit(aviary, again, tmp_path, fed)
    n_more = 1 + read_ahead.N_AHEAD if keras.backend.backend() == "jax" else 2  # that are read and not used
    assert len(heard) <= 4 * (4 - epoch) + n_more  # not the finished epochs
    assert np.allclose(history.astype(float), whole[1].astype(float), rtol=1e-4, atol=1e-6)
    for a, b in zip(again.get_weights(), whole[0].get_weights(), strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("averaging", ["swa", "ema"])
def test_interrupted_training_resumes_with_its_averaged_weights(aviary, tmp_path, averaging):
    """The mean over epochs begins with the third of four, after which the power fails."""
    model, again = model_of(), model_of(seed=5)
    history = fit(aviary, model, averaging=averaging)
    interrupt(aviary, model_of(), tmp_path, 3, averaging=averaging)
    assert np.allclose(fit(aviary, again, tmp_path, averaging=averaging).astype(float), history.astype(float), rtol=1e-4, atol=1e-6)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_finished_training_is_not_repeated(aviary, whole):
    model, history, folder = whole
    again, fed = model_of(seed=5), batches(aviary)
    fed.augment_batch = pytest.fail
    assert fit(aviary, again, folder, fed).equals(history)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights(), strict=True))


def test_checkpoint_of_another_training_is_not_resumed(aviary, whole, tmp_path):
    """Another rate, another augmentation, another loss: epochs are trained, not taken from the file."""
    (tmp_path / mel_training.CHECKPOINT).write_bytes((whole[2] / mel_training.CHECKPOINT).read_bytes())
    for other in ({"learning_rate": 0.01}, {"key": "louder"}, {"loss": "binary_crossentropy"}):
        heard = []
        fed = batches(aviary, augment_batch=lambda *both, rng: (heard.append(1), both)[1], n_steps=4)  # noqa: B023
        with pytest.raises(PowerCut):
            mel_training.fit(model_of(), fed, _failing_validation(aviary), folder=tmp_path, **OPTIONS | other)
        assert len(heard) >= 4, other


def _failing_validation(aviary):
    windows, truth = validation(aviary)

    class Failing(type(windows)):
        def __getitem__(self, step):
            raise PowerCut

    windows.__class__ = Failing
    return windows, truth


def test_damaged_checkpoint_is_warned_about_and_training_restarts(aviary, tmp_path):
    (tmp_path / mel_training.CHECKPOINT).write_bytes(b"PK half a file")
    with pytest.warns(UserWarning, match="training.npz is damaged"):
        history = fit(aviary, model_of(), tmp_path, epochs=1)
    assert len(history) == 1


def test_last_whole_checkpoint_survives_a_full_disk(aviary, tmp_path, monkeypatch):
    interrupt(aviary, model_of(), tmp_path, 1)
    before = (tmp_path / mel_training.CHECKPOINT).read_bytes()

    def full(path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(runtime.FullDiskError, match="training.npz.*disk is full"):
        patched.setattr(np, "savez", full)
        fit(aviary, model_of(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mel_training.CHECKPOINT]
    assert (tmp_path / mel_training.CHECKPOINT).read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_mixed_precision_training_resumes_too(aviary, tmp_path, precision):
    """Its optimizer has a further state, the scale of the loss."""
    whole = fit(aviary, model_of(), epochs=2)
    interrupt(aviary, model_of(), tmp_path, 1, epochs=2)
    assert np.allclose(fit(aviary, model_of(seed=5), tmp_path, epochs=2)["loss"], whole["loss"], rtol=1e-2)
