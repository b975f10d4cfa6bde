import errno
import os
import re

import keras
import numpy as np
import pytest
from keras import layers as kl
from sounds import two_birds

from birdlib import runtime
from birdlib.audio import windowing
from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
from birdlib.metrics import classification
from birdlib.species import mel_models, mel_training

RATE_HZ = 8000
NUMBERS = {"rate_hz": RATE_HZ, "window_s": 0.25}
OPTIONS = {"loss": "categorical_crossentropy", "epochs": 4, "patience": 4, "learning_rate": 0.02}


class PowerCut(BaseException):
    """Ends a training in the middle."""


@pytest.fixture(scope="module")
def aviary(tmp_path_factory):
    return two_birds(tmp_path_factory.mktemp("audio"), RATE_HZ)


def model_of(seed=0, n_classes=2):
    """A tiny network with every kind of state: weights, moving averages, dropout."""
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


@pytest.fixture(scope="module")
def whole(aviary, tmp_path_factory):
    """A training that was not interrupted: (model, history, folder)."""
    model, folder = model_of(), tmp_path_factory.mktemp("whole")
    return model, fit(aviary, model, folder), folder


# Training


def test_network_learns_and_keeps_its_best_epoch(aviary, whole):
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
def test_without_a_roc_auc_the_validation_loss_decides(aviary):
    """Validation of one species only."""
    history = mel_training.fit(model_of(), batches(aviary), validation(aviary, slice(0, None, 2)), **OPTIONS)
    assert history["validation_macro_auc"].isna().all()
    assert history.loc[history["is_kept"], "validation_loss"].item() == history["validation_loss"].min()


def test_training_stops_without_improvement(aviary):
    """With a learning rate of almost 0 later epochs equal the first, so patience ends after two more."""
    history = fit(aviary, model_of(), learning_rate=1e-12, weight_decay=0.0, patience=2, epochs=9)
    kept = history.loc[history["is_kept"], "epoch"].item()
    assert len(history) == kept + 2 < 9


@pytest.mark.slow
def test_training_on_spectrograms_equals_training_on_waveforms(aviary):
    """The front end has no weights, so the body has all there is to train."""
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
def test_interrupted_training_resumes_with_the_same_figures(aviary, whole, tmp_path, epoch):
    """The new process has other random numbers and initial weights; the checkpoint replaces them."""
    interrupt(aviary, model_of(), tmp_path, epoch)
    again = model_of(seed=5)
    fed = batches(aviary)
    heard = []
    fed.augment_batch = lambda sounds, truth, rng: (heard.append(len(sounds)), (sounds, truth))[1]
    history = fit(aviary, again, tmp_path, fed)
    assert len(heard) <= 4 * (4 - epoch) + 2  # not the finished epochs; Keras reads a batch more
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


def test_averaged_weights_are_validated_and_kept(aviary):
    """The training is the same as without an average, the figures are not; and they are those of the model that comes out."""
    model, loss = model_of(), keras.losses.get("categorical_crossentropy")
    averaged, plain = fit(aviary, model, averaging="ema"), fit(aviary, model_of())
    assert np.allclose(averaged["loss"], plain["loss"], rtol=1e-4)
    assert not np.isclose(averaged["validation_loss"], plain["validation_loss"], rtol=1e-3)[1:].any()
    windows, truth = validation(aviary)
    found = float(np.mean(loss(truth, mel_training.predict(model, windows, len(truth)))))
    assert found == pytest.approx(averaged.loc[averaged["is_kept"], "validation_loss"].item(), rel=1e-3)


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


# Errors


def test_empty_validation_is_refused(aviary):
    with pytest.raises(mel_training.MelTrainingError, match="01_split"):
        mel_training.fit(model_of(), batches(aviary), validation(aviary, slice(0, 0)), **OPTIONS)


def test_loss_that_is_not_finite_is_refused_and_not_saved(aviary, tmp_path):
    fed = batches(aviary, augment_batch=lambda sounds, truth, rng: (np.nan * sounds, truth))
    with pytest.raises(mel_training.MelTrainingError, match="epoch 1 is nan"):
        fit(aviary, model_of(), tmp_path, fed)
    assert not any(tmp_path.iterdir())


def test_unreadable_file_is_named_in_training(aviary, tmp_path):
    """Also in the middle: the disk of the recordings disappears after the first batches."""
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


def test_unreadable_recording_has_no_score_and_does_not_count(aviary, tmp_path):
    folder, table, truth = aviary
    table = table.assign(audio_path=[str(folder / name) for name in table["audio_path"]])
    table.loc[3, "audio_path"] = "gone.flac"
    windows = ConsecutiveWindows(table, tmp_path, n_windows=2, **NUMBERS)
    scores = mel_training.predict(model_of(), windows, len(truth))
    assert np.flatnonzero(np.isnan(scores).any(axis=1)).tolist() == [3] and list(windows.skipped) == ["gone.flac"]
    history = mel_training.fit(model_of(), batches(aviary), (windows, truth), **OPTIONS | {"epochs": 1})
    assert history[["validation_loss", "validation_macro_auc"]].notna().all(axis=None)


def test_scores_that_are_not_finite_are_refused_with_the_file(aviary):
    """They must not pass as those of an unreadable recording."""
    model = model_of()
    model.set_weights([np.nan * weight for weight in model.get_weights()])
    windows, truth = validation(aviary)
    with pytest.raises(mel_training.MelTrainingError, match=re.escape(windows.table["audio_path"][0])):
        mel_training.predict(model, windows, len(truth))


# Detectors


@pytest.mark.slow
def test_detectors_learn_one_species_each(tmp_path):
    """Half of the windows of each are of its species."""
    folder, table, truth = two_birds(tmp_path, 8000)

    def build():
        keras.utils.set_random_seed(0)
        return mel_models.build(1, mode="multi", window_s=0.25)[0]

    numbers = {"rate_hz": mel_models.SAMPLE_RATE_HZ, "window_s": 0.25}

    def batches_of(column):
        own, shares = windowing.one_against_rest(truth, column)
        return RandomWindows(table, folder, own, shares=shares, batch_size=8, n_steps=8, rng=np.random.default_rng(0), **numbers)

    windows = ConsecutiveWindows(table, folder, n_windows=1, **numbers)
    options = {"loss": "binary_crossentropy", "epochs": 5, "learning_rate": 0.01, "folder": tmp_path / "checkpoints"}
    detector, history = mel_training.fit_detectors([1, 0], build, batches_of, (windows, truth), **options)
    scores = mel_training.predict(detector, windows, len(truth))
    assert classification.macro_roc_auc(truth[:, [1, 0]], scores) > 0.9
    assert history.groupby("column").size().to_dict() == {0: 5, 1: 5}
    assert (tmp_path / "checkpoints" / "species_1" / mel_training.CHECKPOINT).is_file()
