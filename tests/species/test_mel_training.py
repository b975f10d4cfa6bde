import errno
import os
import re

import numpy as np
import pytest
from sounds import two_birds

from birdlib import runtime
from birdlib.audio import windowing
from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
from birdlib.metrics import classification
from birdlib.species import mel_models, mel_training

RATE_HZ = 8000
NUMBERS = {"rate_hz": RATE_HZ, "window_s": 0.25}
OPTIONS = {"loss": "categorical_crossentropy", "epochs": 4, "patience": 4, "learning_rate": 0.02}


class Cut(BaseException):
    """The power cut."""


@pytest.fixture(scope="module")
def aviary(tmp_path_factory):
    return two_birds(tmp_path_factory.mktemp("audio"), RATE_HZ)


def model_of(seed=0, n_classes=2):
    """A tiny network with all that has a state: weights, moving averages, dropout."""
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(seed)
    sounds = keras.Input((2000,))
    x = kl.Conv1D(6, 64, strides=16, activation="relu")(kl.Reshape((2000, 1))(sounds))
    x = kl.Dropout(0.3)(kl.GlobalAveragePooling1D()(kl.BatchNormalization(momentum=0.9)(x)))
    return keras.Model(sounds, kl.Dense(n_classes, activation="softmax")(x))


def batches(aviary, seed=0, **options):
    folder, table, truth = aviary
    options = {"batch_size": 8, "n_steps": 4, "rng": np.random.default_rng(seed)} | NUMBERS | options
    return RandomWindows(table, folder, truth, **options)


def validation(aviary, rows=slice(None)):
    folder, table, truth = aviary
    table = table[rows].assign(row=range(len(table[rows])))
    return ConsecutiveWindows(table, folder, n_windows=2, **NUMBERS), truth[rows]


def fit(aviary, model, folder=None, fed=None, **options):
    return mel_training.fit(model, fed or batches(aviary), validation(aviary), folder=folder, **OPTIONS | options)


def cut_off(aviary, model, folder, epoch, **options):
    """A training that ends after so many epochs, as when the power fails while the next one validates."""
    import keras

    validate, n = mel_training.predict, 0

    def failing(*arguments):
        nonlocal n
        n += 1
        if n > epoch:
            raise Cut
        return validate(*arguments)

    mel_training.predict = failing
    try:
        with pytest.raises(Cut):
            fit(aviary, model, folder, **options)
    finally:
        mel_training.predict = validate
    keras.utils.set_random_seed(99)


@pytest.fixture(scope="module")
def whole(aviary, tmp_path_factory):
    """A training that was not interrupted: (model, history, folder)."""
    model, folder = model_of(), tmp_path_factory.mktemp("whole")
    return model, fit(aviary, model, folder), folder


# Learning


def test_a_network_learns_which_bird_sings_and_keeps_its_best_epoch(aviary, whole):
    model, history, _ = whole
    windows, truth = validation(aviary)
    score = classification.macro_roc_auc(truth, mel_training.predict(model, windows, len(truth)))
    assert score > 0.95 and history["epoch"].tolist() == [1, 2, 3, 4] and history["is_kept"].sum() == 1
    assert (
        score
        == pytest.approx(history["validation_macro_auc"].max())
        == history.loc[history["is_kept"], "validation_macro_auc"].item()
    )
    assert list(history) == ["epoch", "loss", "validation_loss", "validation_macro_auc", "is_kept"]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_without_an_auc_the_loss_decides(aviary):
    """Validation of one species only."""
    history = mel_training.fit(model_of(), batches(aviary), validation(aviary, slice(0, None, 2)), **OPTIONS)
    assert history["validation_macro_auc"].isna().all()
    assert history.loc[history["is_kept"], "validation_loss"].item() == history["validation_loss"].min()


def test_training_ends_when_it_gets_no_better(aviary):
    """A rate of almost 0: later epochs are as good as the first, so patience runs out after two more."""
    history = fit(aviary, model_of(), learning_rate=1e-12, weight_decay=0.0, patience=2, epochs=9)
    kept = history.loc[history["is_kept"], "epoch"].item()
    assert len(history) == kept + 2 < 9


@pytest.mark.slow
def test_a_model_is_trained_on_its_spectrograms_as_on_its_sounds(aviary):
    """The front end learns nothing, so the body is all there is to train."""
    import keras

    def trained(is_on_spectrograms):
        keras.utils.set_random_seed(0)
        model, _ = mel_models.build(2, window_s=0.25, dropout=0.0)
        front_end = mel_models.front_end(model) if is_on_spectrograms else None
        fed = batches(aviary, rate_hz=mel_models.SAMPLE_RATE_HZ, front_end=front_end, n_steps=2)
        folder, table, truth = aviary
        windows = ConsecutiveWindows(table, folder, rate_hz=mel_models.SAMPLE_RATE_HZ, window_s=0.25, n_windows=1)
        return mel_training.fit(model, fed, (windows, truth), **OPTIONS | {"epochs": 1})

    on_spectrograms, on_sounds = trained(True), trained(False)
    assert np.allclose(on_spectrograms[["loss", "validation_loss"]], on_sounds[["loss", "validation_loss"]], rtol=1e-3)


# Interrupted


@pytest.mark.parametrize("epoch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_interrupted_training_goes_on_with_the_same_figures(aviary, whole, tmp_path, epoch):
    """The new process has other random numbers and other initial weights; what counts is in the checkpoint."""
    cut_off(aviary, model_of(), tmp_path, epoch)
    again = model_of(seed=5)
    fed = batches(aviary)
    heard = []
    fed.augment_batch = lambda sounds, truth, rng: (heard.append(len(sounds)), (sounds, truth))[1]
    history = fit(aviary, again, tmp_path, fed)
    assert len(heard) <= 4 * (4 - epoch) + 2  # not the epochs that were done; Keras looks at a batch more
    assert np.allclose(history.astype(float), whole[1].astype(float), rtol=1e-4, atol=1e-6)
    for one, other in zip(again.get_weights(), whole[0].get_weights(), strict=True):
        assert np.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_training_that_was_finished_is_not_done_again(aviary, whole):
    model, history, folder = whole
    again, fed = model_of(seed=5), batches(aviary)
    fed.augment_batch = pytest.fail
    assert fit(aviary, again, folder, fed).equals(history)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights(), strict=True))


def test_the_checkpoint_of_another_training_is_not_gone_on_from(aviary, whole, tmp_path):
    """Another rate, another augmentation, another loss: epochs are trained, not taken from the file."""
    (tmp_path / mel_training.CHECKPOINT).write_bytes((whole[2] / mel_training.CHECKPOINT).read_bytes())
    for other in ({"learning_rate": 0.01}, {"key": "louder"}, {"loss": "binary_crossentropy"}):
        heard = []
        fed = batches(aviary, augment_batch=lambda *both, rng: (heard.append(1), both)[1], n_steps=4)  # noqa: B023
        with pytest.raises(Cut):
            mel_training.fit(model_of(), fed, _at_once_cut(aviary), folder=tmp_path, **OPTIONS | other)
        assert len(heard) >= 4, other


def _at_once_cut(aviary):
    """Validation at which the power fails."""
    windows, truth = validation(aviary)

    class Failing(type(windows)):
        def __getitem__(self, step):
            raise Cut

    windows.__class__ = Failing
    return windows, truth


def test_a_damaged_checkpoint_is_told_and_the_training_begins_anew(aviary, tmp_path):
    (tmp_path / mel_training.CHECKPOINT).write_bytes(b"PK half a file")
    with pytest.warns(UserWarning, match="training.npz is damaged"):
        history = fit(aviary, model_of(), tmp_path, epochs=1)
    assert len(history) == 1


def test_on_a_full_disk_the_last_whole_checkpoint_survives(aviary, tmp_path, monkeypatch):
    cut_off(aviary, model_of(), tmp_path, 1)
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
def test_mixed_precision_is_taken_up_too(aviary, tmp_path, precision):
    """Its optimizer has a state of its own, the scale of the loss."""
    whole = fit(aviary, model_of(), epochs=2)
    cut_off(aviary, model_of(), tmp_path, 1, epochs=2)
    assert np.allclose(fit(aviary, model_of(seed=5), tmp_path, epochs=2)["loss"], whole["loss"], rtol=1e-2)


# What cannot be


def test_an_empty_validation_is_refused(aviary):
    with pytest.raises(mel_training.MelTrainingError, match="01_split"):
        mel_training.fit(model_of(), batches(aviary), validation(aviary, slice(0, 0)), **OPTIONS)


def test_a_loss_that_is_no_number_is_refused_and_not_kept(aviary, tmp_path):
    fed = batches(aviary, augment_batch=lambda sounds, truth, rng: (np.nan * sounds, truth))
    with pytest.raises(mel_training.MelTrainingError, match="epoch 1 is nan"):
        fit(aviary, model_of(), tmp_path, fed)
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_read_is_named_in_training(aviary, tmp_path):
    """Also where it happens in the middle: the disk of the recordings goes away after the first batch."""
    import shutil

    folder, table, truth = aviary
    shutil.copytree(folder, tmp_path / "disk")
    fed = RandomWindows(
        table, tmp_path / "disk", truth, batch_size=8, n_steps=50, rng=np.random.default_rng(0), **NUMBERS
    )
    read = []

    def going_away(sounds, labels, rng):
        read.append(1)
        if len(read) == 3:
            (tmp_path / "disk").rename(tmp_path / "gone")
        return sounds, labels

    fed.augment_batch = going_away
    with pytest.raises(windowing.WindowError, match="no such file"):
        fit(aviary, model_of(), fed=fed)
    assert len(read) == 3


def test_a_recording_that_cannot_be_read_has_no_score_and_does_not_count(aviary, tmp_path):
    folder, table, truth = aviary
    table = table.assign(audio_path=[str(folder / name) for name in table["audio_path"]])
    table.loc[3, "audio_path"] = "gone.flac"
    windows = ConsecutiveWindows(table, tmp_path, n_windows=2, **NUMBERS)
    scores = mel_training.predict(model_of(), windows, len(truth))
    assert np.flatnonzero(np.isnan(scores).any(axis=1)).tolist() == [3] and list(windows.skipped) == ["gone.flac"]
    history = mel_training.fit(model_of(), batches(aviary), (windows, truth), **OPTIONS | {"epochs": 1})
    assert history[["validation_loss", "validation_macro_auc"]].notna().all(axis=None)


def test_scores_that_are_no_numbers_are_refused_by_name(aviary):
    """Else they would count as those of a recording that cannot be read."""
    model = model_of()
    model.set_weights([np.nan * weight for weight in model.get_weights()])
    windows, truth = validation(aviary)
    with pytest.raises(mel_training.MelTrainingError, match=re.escape(windows.table["audio_path"][0])):
        mel_training.predict(model, windows, len(truth))
