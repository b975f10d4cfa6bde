"""Training on windows of sound: what is learnt and kept, and what is refused."""

import re

import keras
import numpy as np
import pytest
from made_mel_training import NUMBERS, OPTIONS, batches, fit, model_of, validation
from sounds import two_birds

from birdlib.audio import windowing
from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
from birdlib.metrics import classification
from birdlib.species import mel_models, mel_training


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


def test_averaged_weights_are_validated_and_kept(aviary):
    """The training is the same as without an average, the figures are not; and they are those of the model that comes out."""
    model, loss = model_of(), keras.losses.get("categorical_crossentropy")
    averaged, plain = fit(aviary, model, averaging="ema"), fit(aviary, model_of())
    assert np.allclose(averaged["loss"], plain["loss"], rtol=1e-4)
    assert not np.isclose(averaged["validation_loss"], plain["validation_loss"], rtol=1e-3)[1:].any()
    windows, truth = validation(aviary)
    found = float(np.mean(loss(truth, mel_training.predict(model, windows, len(truth)))))
    assert found == pytest.approx(averaged.loc[averaged["is_kept"], "validation_loss"].item(), rel=1e-3)


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
