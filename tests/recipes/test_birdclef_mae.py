"""The recipe birdclef-mae: every number of its table is used by the layers, losses and functions of a run on tones (``tone_recordings``)."""

import keras
import numpy as np
import pandas as pd
import pytest
import spying
import tone_recordings

from birdlib import runtime
from birdlib.audio import augment, spec_augment
from birdlib.losses import classification as losses
from birdlib.models import weights
from birdlib.pipeline import recipes
from birdlib.species import ablation, classifiers

RECIPE, STAGE = "birdclef-mae", "07_classify"
QUICK = {"losses": "", "n_networks": 1, "epochs": 2, "mel_epochs": 1, "mel_steps": 2, "mae_epochs": 1}
WATCHED = [
    f"birdlib.audio.{name}"
    for name in ("augment.waveforms", "augment.probability", "windowing.oversampling", "mixing.audio_mix", "mixing.mixup", "mixing.cutmix")
]
BY_RARITY = {  # probability of the rarest species, and its tenth, or the least that is published
    "reverb": (0.015, 0.15), "compression": (0.02, 0.2), "shift": (0.01, 0.1), "clipping": (0.05, 0.2), "pitch": (0.05, 0.2), "volume": (0.02, 0.2),
    "stretch": (0.01, 0.1),
}  # fmt: skip
MIXING = {"audio_mix": (0.03, 0.3), "mixup": (0.03, 0.3), "cutmix": (0.02, 0.2)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipt, folder) of stage 07, where Bird-MAE's weights cannot be had."""
    outputs = tone_recordings.make(tmp_path_factory.mktemp("outputs"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fetch = weights.fetch

        def fetch_others(name, *arguments):
            if name == "bird_mae":
                raise weights.MissingWeightsError("bird_mae is nowhere")
            return fetch(name, *arguments)

        monkeypatch.setattr(weights, "fetch", fetch_others)
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        receipts = spying.run(monkeypatch, RECIPE, outputs, only=("07",), **QUICK)
    return spy, receipts[STAGE], outputs / STAGE


def mae_trainings(spy):
    """(body, config of the optimizer, loss) of Bird-MAE with its head, one a step."""
    return [compiled for compiled in spy.compiled if compiled[0].name == "body"]


@pytest.mark.slow
def test_bird_mae_is_fine_tuned_with_the_asymmetric_loss(ran):
    spy, _, _ = ran
    trainings = mae_trainings(spy)
    assert len(trainings) == 3
    for body, _, loss in trainings:
        assert isinstance(loss, losses.AsymmetricLoss)
        assert [loss.get_config()[name] for name in ("positive_focus", "negative_focus", "clip")] == [0.0, 5.0, 0.05]
        assert body.get_layer("mae_encoder").trainable
    assert [model.name for model, _, _ in spy.compiled].count("mae_pretrainer") == 1  # the steps share it


@pytest.mark.slow
def test_every_other_network_has_the_asymmetric_loss_too(ran):
    spy, _, folder = ran
    of_labels = [loss for model, _, loss in spy.compiled if model.name != "mae_pretrainer"]
    assert len(of_labels) > 3 and {type(loss) for loss in of_labels} == {losses.AsymmetricLoss}
    model, _, _ = classifiers.load(folder)
    assert not np.isclose(model.predict({"embeddings": np.ones((1, 2, 1024)), "weights": np.ones((1, 2))}, verbose=0).sum(), 1.0)  # sigmoid


@pytest.mark.slow
def test_the_head_has_the_published_layers(ran):
    body = mae_trainings(ran[0])[0][0]
    layers = body.get_layer("mlp_head").layers
    rates = [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
    dense = [(layer.units, layer.activation.__name__) for layer in layers if isinstance(layer, keras.layers.Dense)]
    assert rates == [0.3, 0.2, 0.1] and dense == [(512, "gelu"), (256, "gelu"), (2, "linear")]
    assert layers[-1].activation.__name__ == "sigmoid"


@pytest.mark.slow
def test_bird_mae_has_one_mask_of_20_frames_and_one_of_20_bands(ran):
    for body, _, _ in mae_trainings(ran[0]):
        [masks] = [layer for layer in body.layers if isinstance(layer, spec_augment.SpecAugment)]
        numbers = {"n_time_masks": 1, "longest_frames": 20, "n_band_masks": 1, "widest_bands": 20, "probability": 1.0}
        assert masks.numbers | numbers == masks.numbers


@pytest.mark.slow
def test_distortions_are_drawn_with_their_probabilities_and_clips_are_mixed_in_the_last_step_only(ran):
    spy, _, _ = ran
    given = [options["probabilities"] for _, options in spy.calls["birdlib.audio.augment.waveforms"]]
    drawn = {tuple(value) for (value, _), _ in spy.calls["birdlib.audio.augment.probability"] if np.ndim(value)}
    approx = lambda table: {name: pytest.approx(value) for name, value in table.items()}  # noqa: E731
    assert {name: value for name, value in given[0].items() if name != "spec_augment"} == approx(BY_RARITY)
    assert {name: value for name, value in given[-1].items() if name != "spec_augment"} == approx(BY_RARITY | MIXING)
    is_mixed = ["mixup" in probabilities for probabilities in given]
    assert is_mixed == sorted(is_mixed) and 0 < sum(is_mixed) < len(is_mixed) / 2  # of three steps, the last
    assert {tuple(np.round(value, 6)) for value in drawn} == set(BY_RARITY.values()) | set(MIXING.values())
    edges = {options["edges"] for _, options in spy.calls["birdlib.audio.mixing.cutmix"]}
    overlaps_s = {options["overlap_s"] for _, options in spy.calls["birdlib.audio.mixing.audio_mix"]}
    assert edges == {(204, 307)} and overlaps_s == {2.0}


@pytest.mark.slow
def test_species_are_oversampled_to_equal_shares(ran):
    powers = {power for (_, power), _ in ran[0].calls["birdlib.audio.windowing.oversampling"]}
    assert powers == {1.0}


@pytest.mark.slow
def test_saved_member_says_what_was_applied_and_has_a_threshold_for_each_species(ran):
    _, receipt, folder = ran
    ensemble = runtime.read_json(folder / "ensemble.json")
    assert ensemble["members"] == ["members/mae_base"] and len(ensemble["thresholds"]) == 2
    assert receipt["results"]["ensemble"] == "mean of mae_base"
    saved = runtime.read_json(folder / "members" / "mae_base" / "preprocessing.json")
    assert {name: tuple(np.round(value, 6)) for name, value in saved["augmentation"].items() if np.ndim(value)} == BY_RARITY | MIXING
    assert saved["masks"] == augment.parse_masks("1x20,1x20") and saved["left_out"] == {} and len(saved["thresholds"]) == 2


@pytest.mark.slow
def test_steps_are_of_bird_mae_and_missing_weights_are_noted(ran):
    _, receipt, folder = ran
    assert receipt["results"]["notes"].startswith("train audio only, + soundscapes, + mixup, mae_base: the weights bird_mae cannot be had: a tiny encoder")
    steps = pd.read_parquet(folder / "ablation.parquet").query("part == 'steps'")
    assert steps["name"].drop_duplicates().tolist() == list(ablation._STEPS.values())
    figures = np.stack(steps["f1_micro"].to_list() + steps["macro_auc"].to_list())
    assert np.isfinite(figures).all() and steps["note"].str.contains("bird_mae").all()
    assert recipes.load(RECIPE).values(STAGE)["steps_encoder"] == "mae_base"
