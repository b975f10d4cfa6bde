"""The recipe yamnet-classifier: every value of its table is used by the layers, losses and library calls of a run on made recordings."""

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import spying

from birdlib.audio import noise, vad
from birdlib.losses import classification as losses
from birdlib.models import layers
from birdlib.species import classifiers

RECIPE, RATE_HZ, SHORT = "yamnet-classifier", 32_000, "a5"
HZ = {"wren": 1500.0, "robin": 3000.0, "siskin": 5000.0}
COUNTS = {"wren": 8, "robin": 6, "siskin": 4}
WATCHED = ("noisereduce.reduce_noise", "birdlib.audio.cleaning.apply_policy", "birdlib.audio.cleaning.random_clips", "birdlib.audio.io.pad_with_noise",
           "birdlib.data.splits.assign", "birdlib.metrics.classification.macro_roc_auc")  # fmt: skip
SPEECH_S = (1.024, 2.048)  # as probabilities of 32 ms


def trill(hz, duration_s, rng):
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    song = 0.2 * np.sin(2 * np.pi * hz * time_s) * (time_s % 0.1 < 0.05)
    return (song + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


def write_recordings(folder):
    """A manifest of 18 recordings of three species by three recordists; one of them is .7 s long."""
    rng, rows = np.random.default_rng(0), []
    for letter, (species, n) in zip("abc", COUNTS.items(), strict=True):
        for number in range(n):
            name = f"{letter}{number}"
            soundfile.write(folder / f"{name}.flac", trill(HZ[species], 0.7 if name == SHORT else 5.0, rng), RATE_HZ)
            rows.append({"recording_id": name, "species": species, "group_id": f"recordist {number % 3}", "audio_path": f"{name}.flac"})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipts, outputs) of the whole recipe; a second of every longer recording is taken for speech."""
    folder = tmp_path_factory.mktemp("recordings")
    manifest, outputs = write_recordings(folder), folder / "outputs"
    with pytest.MonkeyPatch.context() as monkeypatch:
        find = vad.speech_probabilities

        def find_more(blocks):
            probabilities = find(blocks)
            probabilities[round(SPEECH_S[0] / 0.032) : round(SPEECH_S[1] / 0.032)] = 0.95
            return probabilities

        monkeypatch.setattr(vad, "speech_probabilities", find_more)
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        receipts = spying.run(monkeypatch, RECIPE, outputs, manifest=manifest, n_jobs=1, epochs=2)
    return spy, receipts, outputs


@pytest.mark.slow
def test_recordings_are_split_at_random(ran):
    spy, receipts, outputs = ran
    arguments, options = spy.calls["birdlib.data.splits.assign"][0]
    assert "recording" in (*arguments[2:], *options.values()) and receipts["01_split"]["results"]["divided groups"] == 3
    splits = pd.read_parquet(outputs / "01_split" / "splits.parquet")
    assert splits.groupby("group_id")["split"].nunique().min() > 1


@pytest.mark.slow
def test_noise_is_reduced_and_speech_is_removed(ran):
    spy, _, outputs = ran
    calls = [options for _, options in spy.calls["noisereduce.reduce_noise"]]
    assert len(calls) >= sum(COUNTS.values()) and all(options["stationary"] is True and options["n_fft"] == noise._N_FFT for options in calls)
    assert {policy for (_, _, _, policy), _ in spy.calls["birdlib.audio.cleaning.apply_policy"]} >= {"remove"}
    table = pd.read_parquet(outputs / "02_clean" / "recordings.parquet").set_index("recording_id").drop(SHORT)
    assert (table["duration_s"] - table["cleaned_s"]).between(1.2, 1.6).all()  # the second and its margins


@pytest.mark.slow
def test_three_clips_of_a_second_and_white_noise_where_a_recording_is_too_short(ran):
    spy, _, outputs = ran
    assert len(spy.calls["birdlib.audio.cleaning.random_clips"]) == sum(COUNTS.values())
    clips = pd.read_parquet(outputs / "02_clean" / "clips.parquet")
    assert (clips.groupby("recording_id").size() == 3).all()
    long = clips[clips["recording_id"] != SHORT]
    assert not long["is_noise"].any() and (long["end_s"] - long["start_s"]).to_numpy() == pytest.approx(1.0)
    assert clips.loc[clips["recording_id"] == SHORT, "is_noise"].tolist() == [False, True, True]
    padded = [arguments for arguments, _ in spy.calls["birdlib.audio.io.pad_with_noise"] if len(arguments[0]) == 0 and arguments[-1] == -40.0]
    assert [arguments[1] for arguments in padded] == [16_000, 16_000]  # samples of a second at YAMNet's rate


@pytest.mark.slow
def test_patches_are_pooled_to_1024_numbers_and_nothing_is_scaled(ran):
    spy, _, outputs = ran
    assert np.load(outputs / "03_embed" / "embeddings.npy", mmap_mode="r").shape[1] == 1024
    assert {layer.size for layer in spy.of(layers.AdaptiveAveragePooling)} == {1024} and not spy.of(layers.PatchPooling)
    model, _, _ = classifiers.load(outputs / "07_classify")
    patches = np.random.default_rng(0).random((1, 6, 1024), np.float32)
    [pool] = [layer for layer in model.layers if isinstance(layer, layers.AdaptiveAveragePooling)]
    assert np.allclose(pool(patches, np.float32([[0.1, 1, 1, 1, 1, 0.2]])), patches.mean(axis=1), atol=1e-6)
    assert {layer.scale for network, _, _ in spy.compiled for layer in network.layers if isinstance(layer, keras.layers.Rescaling)} == {1.0}


@pytest.mark.slow
def test_the_network_has_two_relu_layers_with_dropout_and_is_saved_alone(ran):
    """All networks of the run are alike: that of the steps, the saved one, and those of the cross-validation."""
    spy, receipts, outputs = ran
    for model, _, loss in spy.compiled:
        dense = [(layer.units, layer.activation.__name__) for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        assert dense == [(512, "relu"), (256, "relu"), (3, "softmax")] and isinstance(loss, type(losses.get("cross_entropy")))
        assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.5]
        assert [type(layer).__name__ for layer in model.layers[2:6]] == ["Dense", "Dropout"] * 2
    saved = keras.saving.load_model(outputs / "07_classify" / "classifier.keras", compile=False)
    assert [layer.units for layer in _all_layers(saved) if isinstance(layer, keras.layers.Dense)] == [512, 256, 3]
    assert receipts["07_classify"]["results"]["ensemble"] == "mean of yamnet"


def _all_layers(model):
    for layer in model.layers:
        yield from _all_layers(layer) if isinstance(layer, keras.Model) else [layer]


@pytest.mark.slow
def test_class_weights_are_full_and_a_recording_is_one_row(ran):
    spy, _, outputs = ran
    splits = pd.read_parquet(outputs / "01_split" / "splits.parquet")
    n_train = splits.loc[splits["split"] == "train", "species"].value_counts()
    fit = spy.fits[0]
    counts, totals = fit["y"].sum(axis=0), fit["sample_weight"] @ fit["y"]
    assert sorted(counts) == sorted(n_train) and len(set(counts)) > 1
    assert totals == pytest.approx(np.full(3, len(fit["y"]) / 3), rel=1e-5)


@pytest.mark.slow
def test_auc_is_computed_and_what_the_random_split_flatters(ran):
    spy, receipts, _ = ran
    results = receipts["07_classify"]["results"]
    assert spy.calls["birdlib.metrics.classification.macro_roc_auc"] and 0.0 <= results["network: macro_auc"][0] <= 1.0
    assert all(len(results[f"random split flatters {figure}"]) == 3 for figure in ("macro_auc", "accuracy"))
