"""The training of the recipe birdclef-2026: the numbers of its table of stage 07 are used by layers, losses and functions, on tones (``tone_recordings``)."""

import inspect

import keras
import numpy as np
import pandas as pd
import pytest
import spying
import tone_recordings

from birdlib import runtime
from birdlib.audio import mixing, spec_augment
from birdlib.losses import classification as losses
from birdlib.losses.distillation import CosineDistance
from birdlib.pipeline import recipes
from birdlib.species import distillation, mel_heads, noisy_student

RECIPE, STAGE = "birdclef-2026", "07_classify"
QUICK = {"encoders": "mel_cnn", "members": "mel_cnn", "n_networks": 1, "epochs": 2, "mel_epochs": 2, "mel_steps": 2}
WATCHED = [
    "birdlib.audio.mixing.mixup",
    "birdlib.audio.filter_augment.random_filter",
    "birdlib.audio.batches.RandomWindows",
    "birdlib.species.weight_averaging.WeightAverage",
    "birdlib.species.noisy_student.blend",
    "birdlib.species.noisy_student.power_transform",
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipt, folder) of stage 07 with a made Perch v2, which knows the tones."""
    outputs = tone_recordings.make(tmp_path_factory.mktemp("outputs"))

    def load(names, data, folder, with_windows):
        assert runtime.names(names) == ["perch_v2", "birdnet"]
        patches = pd.DataFrame({"recording_id": data.splits["recording_id"], "start_s": 0.0, "end_s": 1.0})
        source = {"source": "made", "sha256": "s", "licence": "Apache-2.0"}
        return distillation.Teacher("perch_v2", [(np.eye(1536, dtype=np.float32)[data.labels], patches)]), {"perch_v2": source}

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(distillation, "load", load)
        monkeypatch.setattr("birdlib.species.experiments._teacher_digest", lambda *_: "made")
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        receipts = spying.run(monkeypatch, RECIPE, outputs, only=("07",), **QUICK)
    return spy, receipts[STAGE], outputs / STAGE


def trainings(spy):
    """(network, config of the optimizer, losses) of the mel model, one a round."""
    return [compiled for compiled in spy.compiled if compiled[0].name == "body_in_training"]


@pytest.mark.slow
def test_half_of_the_loss_is_on_frames_and_a_tenth_is_the_teachers_distance(ran):
    spy, _, _ = ran
    assert len(trainings(spy)) == 2  # a network, and the one that learns from its scores
    for network, _, of_outputs in trainings(spy):
        assert network.get_compile_config()["loss_weights"] == {"clip": 0.5, "frames": 0.5, "teacher": 0.1}
        assert {name: type(loss) for name, loss in of_outputs.items()} == {
            "clip": losses.BinaryLoss, "frames": losses.BinaryLoss, "teacher": CosineDistance,
        }  # fmt: skip
        teacher = network.get_layer("teacher_embedding")
        assert teacher.units == 1536 and teacher.get_config()["activation"] == "linear"


@pytest.mark.slow
def test_head_has_the_published_layers(ran):
    spy, _, _ = ran
    network = trainings(spy)[0][0]
    [pooling] = [layer for layer in network.layers if isinstance(layer, mel_heads.GeneralisedMean)]
    assert pooling.first_p == 3.0 and pooling.p.trainable
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.5]
    assert 512 in [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]


@pytest.mark.slow
def test_optimizer_rises_to_the_published_rate_and_batches_have_64_windows(ran):
    spy, _, _ = ran
    for _, optimizer, _ in trainings(spy):
        assert optimizer["learning_rate"]["config"]["warmup_target"] == 5e-4 and not optimizer["use_ema"]
    batches = [options for _, options in spy.calls["birdlib.audio.batches.RandomWindows"]]
    assert {options["batch_size"] for options in batches} == {64}
    for options in batches:
        is_window = ~np.isin(np.arange(len(options["shares"])), np.arange(8))  # eight training recordings come first
        assert options["shares"][is_window].sum() == pytest.approx(0.1)


@pytest.mark.slow
def test_waveforms_are_mixed_by_the_larger_weight_with_the_labels_of_both(ran):
    spy, _, _ = ran
    calls = [(arguments, options) for arguments, options in spy.calls["birdlib.audio.mixing.mixup"] if arguments[0].shape[1:] == (160_000,)]
    assert calls and all(options["rule"] == "union" and options["is_dominant"] for _, options in calls)
    assert inspect.signature(mixing.mixup).parameters["alpha"].default == 0.4 and not any("alpha" in options for _, options in calls)
    assert np.mean([arguments[2].mean() for arguments, _ in calls]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_spectrograms_are_filtered_and_masked_by_the_published_numbers(ran):
    spy, _, _ = ran
    filters = [options for _, options in spy.calls["birdlib.audio.filter_augment.random_filter"]]
    expected = {"gain_db": (-6.0, 6.0), "n_bands": (3, 5), "min_width": 6}
    assert filters and all({name: options[name] for name in expected} == expected for options in filters)
    masks = [layer.numbers for layer in trainings(spy)[0][0].layers if isinstance(layer, spec_augment.SpecAugment)]
    assert [masks[0][name] for name in ("n_time_masks", "longest_frames", "n_band_masks", "widest_bands", "probability")] == [2, 10, 1, 10, 1.0]


@pytest.mark.slow
def test_weights_are_averaged_and_a_round_of_self_distillation_follows(ran):
    spy, _, folder = ran
    assert [arguments[0] for arguments, _ in spy.calls["birdlib.species.weight_averaging.WeightAverage"]] == ["swa", "swa"]
    assert spy.calls["birdlib.species.noisy_student.blend"]
    assert (noisy_student._MIN_SCORE, noisy_student._SCORE_POWER, noisy_student._SCORE_SHARE) == (0.3, 2.0, 0.7)
    assert {arguments[1] for arguments, _ in spy.calls["birdlib.species.noisy_student.power_transform"]} == {1.0}
    saved = runtime.read_json(folder / "members" / "mel_cnn" / "preprocessing.json")
    assert saved["distillation"] == {"teacher": "perch_v2", "dim": 1536, "weight": 0.1, "licence": "Apache-2.0"}
    assert saved["self_distillation"]["rounds"] == 1 and saved["averaging"] == "swa" and saved["frame_share"] == 0.5
    assert saved["augmentation"] == {"wave_mixup": 0.5, "filter_augment": 0.5, "spec_augment": 1.0} and saved["left_out"] == {}


@pytest.mark.slow
def test_receipt_names_the_teacher(ran):
    _, receipt, _ = ran
    assert receipt["recipe"] == RECIPE and receipt["weights"]["perch_v2"]["licence"] == "Apache-2.0"


def test_table_has_every_number_that_is_checked_here():
    values = recipes.load(RECIPE).values(STAGE)
    assert values["mel_epochs"] == 20 and values["mel_steps"] == 100 and values["encoders"] == values["members"] == "mobilenetv2"
