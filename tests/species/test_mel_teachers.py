import numpy as np
import pandas as pd
import pytest
import soundfile
from sounds import hiss, song

from birdlib.models import weights
from birdlib.species import mel_models, mel_teachers, mel_training


@pytest.fixture
def recordings(tmp_path):
    """Eight recordings of a second, every other one with a trill among noise."""
    rows = []
    for n in range(8):
        is_wren, split = n % 2 == 0, "validation" if n > 5 else "train"
        soundfile.write(tmp_path / f"r{n}.wav", hiss(1.0, seed=n) + (song(1.0) if is_wren else 0), mel_models.SAMPLE_RATE_HZ)
        rows.append({"recording_id": f"r{n}", "species": "wren" if is_wren else "rest", "split": split, "audio_path": f"r{n}.wav"})
    splits = pd.DataFrame(rows)
    clips = splits[["recording_id", "audio_path"]].assign(start_s=0.0, end_s=1.0, is_noise=False)
    soundfile.write(tmp_path / "S1.wav", hiss(3.0), mel_models.SAMPLE_RATE_HZ)
    return mel_teachers.Recordings(splits, clips, tmp_path, tmp_path / "kept", 1.0)


NUMBERS = {"steps": 2, "epochs": 1}


@pytest.mark.slow
def test_a_detector_is_trained_on_cleaned_sound_and_scores_windows(recordings):
    detectors, history = mel_teachers.train_detectors(["wren"], recordings, rng=np.random.default_rng(0), **NUMBERS)
    assert detectors.labels == ["wren"] and history["label"].tolist() == ["wren"] and detectors.name == "detectors"
    scores, others = detectors.predict(recordings.folder / "S1.wav")
    assert scores.shape == (3, 1) and ((scores >= 0) & (scores <= 1)).all() and not others.any()


@pytest.mark.slow
def test_a_softmax_model_of_all_species_is_a_teacher(recordings):
    """It is trained on all species, as those that general teachers know must be told apart too."""
    (teacher,), rows = mel_teachers.train_species_models("birdnet,mel_cnn", ["rest", "wren"], ["rest"], recordings, rng=np.random.default_rng(0), **NUMBERS)
    scores, others = teacher.predict(recordings.folder / "S1.wav")
    assert teacher.name == "mel_cnn" and teacher.labels == ["rest", "wren"] and scores.shape == (3, 2) and not others.any()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)
    assert rows == [("mel_cnn", 1, "a softmax model, trained on the recordings, for 1 species that the general teachers do not know")]


def test_mobilenetv2_is_trained_with_softmax_and_categorical_cross_entropy(recordings, monkeypatch):
    seen = {}

    def build(n_classes, **options):
        seen.update(options, n_classes=n_classes)
        return mel_model(n_classes), {"mobilenetv2": {"licence": "Apache-2.0"}}

    def fit(model, batches, validation, **options):
        seen.update(options, steps=len(batches), batch=batches.batch_size, validation=validation[1].tolist())

    mel_model = lambda n_classes: __import__("keras").Sequential([__import__("keras").layers.Dense(n_classes)])  # noqa: E731
    monkeypatch.setattr(mel_models, "build", build)
    monkeypatch.setattr(mel_training, "fit", fit)
    (teacher,), _ = mel_teachers.train_species_models("mobilenetv2", ["rest", "wren"], [], recordings, rng=np.random.default_rng(0), steps=7, epochs=3)
    assert seen["backbone"] == "mobilenetv2" and seen["mode"] == "single" and seen["n_classes"] == 2 and seen["loss"] == "categorical_crossentropy"
    assert (seen["steps"], seen["epochs"], seen["batch"]) == (7, 3, 16) and seen["validation"] == [[0, 1], [1, 0]]
    assert teacher.weights == {"mobilenetv2": {"licence": "Apache-2.0"}}


def test_nothing_is_trained_where_general_teachers_know_all_or_weights_are_missing(recordings, monkeypatch):
    def no_weights(*arguments, **options):
        raise weights.MissingWeightsError("mobilenetv2 is nowhere:\nlook there")

    monkeypatch.setattr(mel_models, "build", no_weights)
    options = {"rng": np.random.default_rng(0), **NUMBERS}
    assert mel_teachers.train_species_models("mobilenetv2", ["wren"], ["wren"], recordings, **options) == (
        [], [("mobilenetv2", 0, "not trained: the general teachers know every species")],
    )  # fmt: skip
    trained, rows = mel_teachers.train_species_models("mobilenetv2", ["rest", "wren"], ["wren"], recordings, **options)
    assert trained == [] and rows == [("mobilenetv2", 0, "missing, so its labels are absent: mobilenetv2 is nowhere")]
