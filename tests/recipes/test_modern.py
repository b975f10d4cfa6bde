"""The recipe modern: BirdNET's embeddings are those of stage 03, and stage 07 trains the suite's own head on them."""

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import spying

from birdlib.losses import classification as losses

RECIPE, RATE_HZ, HZ = "modern", 48_000, {"wren": 2500.0, "robin": 5000.0}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipts, outputs) of stages 01, 02, 03 and 07 on 12 recordings of two species by six recordists."""
    folder = tmp_path_factory.mktemp("recordings")
    rng, time_s, rows = np.random.default_rng(0), np.arange(3 * RATE_HZ) / RATE_HZ, []
    for species, hz in HZ.items():
        for number in range(6):
            name = f"{species}{number}"
            song = 0.2 * np.sin(2 * np.pi * hz * time_s) * (time_s % 0.2 < 0.1) + 0.01 * rng.standard_normal(len(time_s))
            soundfile.write(folder / f"{name}.flac", song, RATE_HZ)
            rows.append({"recording_id": name, "species": species, "group_id": f"recordist {number}", "audio_path": f"{name}.flac"})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    with pytest.MonkeyPatch.context() as monkeypatch:
        spy = spying.Spy(monkeypatch)
        spy.watch("birdlib.models.embedders.load", "birdlib.species.ablation.encoder_rows")
        quick = {"manifest": folder / "manifest.csv", "n_jobs": 1, "epochs": 2, "mel_epochs": 1, "mel_steps": 1, "losses": "", "steps": "audio"}
        receipts = spying.run(monkeypatch, RECIPE, folder / "outputs", only=("01", "02", "03", "07"), **quick)
    return spy, receipts, folder / "outputs"


@pytest.mark.slow
def test_recordings_are_embedded_by_birdnet(ran):
    spy, receipts, outputs = ran
    assert spy.calls["birdlib.models.embedders.load"][0][0][0] == "birdnet" and "birdnet" in receipts["03_embed"]["weights"]
    assert np.load(outputs / "03_embed" / "embeddings.npy", mmap_mode="r").shape[1] == 1024


@pytest.mark.slow
def test_the_saved_network_is_a_softmax_head_on_these_embeddings(ran):
    """Two dense layers on mean and deviation of 1,024 numbers, five networks with cross-entropy."""
    spy, receipts, _ = ran
    heads = [(model, loss) for model, _, loss in spy.compiled if model.input_shape == (None, 2048)]
    assert len(heads) >= 5 and all(isinstance(loss, losses.CrossEntropyLoss) for _, loss in heads)
    for model, _ in heads:
        assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [512, 256, 2]
    assert "birdnet" in receipts["07_classify"]["weights"]


@pytest.mark.slow
def test_yamnet_and_a_mel_model_are_compared_with_it(ran):
    spy, _, _ = ran
    arguments, _ = spy.calls["birdlib.species.ablation.encoder_rows"][-1]  # those before only check the names
    assert arguments[0] == "yamnet,mel_cnn" and arguments[1]["encoder"] == "birdnet"
    assert ("yamnet",) in [call[0][:1] for call in spy.calls["birdlib.models.embedders.load"]]
