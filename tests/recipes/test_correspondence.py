"""The recipe correspondence: STFT of sound, a trained convolution of frames, and the grid of 72, in a run of stage 05 on made photos and sounds."""

import keras
import media
import numpy as np
import pandas as pd
import pytest
import soundfile
import spying
from PIL import Image

from birdlib import runtime, stages
from birdlib.losses import matching
from birdlib.multimodal import match_experiments, scene_audio, scene_encoders, scenes
from birdlib.pipeline import recipes

RECIPE, STAGE = "correspondence", "05_match"
VIDEO = ["cnn3d", "cnn_lstm_trained", "cnn_average_trained", "transformer"]
QUICK = {"audio_encoders": "bilstm", "video_encoders": "cnn_lstm_trained,transformer", "match_losses": "info_nce"}  # one sound encoder, one loss
COLOURS = {"wren": (90, 60, 30), "robin": (200, 60, 30), "siskin": (200, 200, 40)}


def write_split(outputs):
    """Stage 01: of each of three species photos of its colour and sounds of its pitch in every split."""
    rng, rows, root = np.random.default_rng(0), [], outputs / "recordings"
    root.mkdir(parents=True)
    for number, (species, colour) in enumerate(COLOURS.items()):
        for split in ("train", "validation", "test"):
            for n in range(2):
                name = f"{species}-{split}-{n}"
                picture = np.clip(np.array(colour) + rng.integers(-30, 30, (64, 64, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(picture).save(root / f"{name}.png")
                sound = media.tone(4, 1500.0 + 2000.0 * number) + 0.05 * rng.standard_normal(4 * media.RATE_HZ)
                soundfile.write(root / f"{name}.flac", sound, media.RATE_HZ)
                rows += [{"recording_id": f"{name}-{kind}", "species": species, "split": split, f"{kind}_path": f"{name}.{end}"} for kind, end in (("image", "png"), ("audio", "flac"))]
    table = pd.DataFrame(rows, columns=["recording_id", "species", "split", "audio_path", "image_path", "video_path"]).fillna("")
    stage = stages.start("01_split", outputs)
    runtime.write_table(table.assign(group_id=table["recording_id"], individual_id="", secondary_species="", is_repeated=False, start_s=np.nan, end_s=np.nan), stage.folder / "splits.parquet")
    stages.finish(stage, {"root": "recordings"})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipt, outputs) of stage 05 with a stand-in for ResNet50, on two of the combinations."""
    outputs = tmp_path_factory.mktemp("run") / "outputs"
    write_split(outputs)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(scenes, "load_backbone", lambda weights_dir: media.backbone())
        spy = spying.Spy(monkeypatch)
        spy.watch("birdlib.multimodal.scene_audio._power", "birdlib.multimodal.match_experiments.build")
        receipts = spying.run(monkeypatch, RECIPE, outputs, only=("05",), epochs=1, pairs_an_epoch=16, unseen_share=0.0, **QUICK)
    return spy, receipts[STAGE], outputs


@pytest.mark.slow
def test_sound_is_its_stft(ran):
    """512 samples, half overlapped; the energies by which scenes are chosen are those of bands for every kind."""
    spy, _, outputs = ran
    kinds = {kind for (_, kind), _ in spy.calls["birdlib.multimodal.scene_audio._power"]}
    assert kinds == {scene_audio.Kind(n_fft=512, hop=256, first_bin=0, bins_per_band=1), scene_audio.KINDS["bands"]}
    saved = scene_encoders.load(outputs / STAGE / match_experiments.MATCHER)
    assert saved.input["spectrogram"].shape == (None, 500, 257)


@pytest.mark.slow
def test_convolutions_of_frames_are_trained_and_those_of_the_transformer_are_not_its_own(ran):
    spy, _, outputs = ran
    models = {config["video"]: model for model, config in zip([m for m, _, _ in spy.compiled], _configs(spy), strict=True)}
    assert set(models) == {"cnn_lstm_trained", "transformer"}
    own = {name: [layer for layer in model.get_layer("video_encoder").layers if isinstance(layer, keras.layers.Conv2D)] for name, model in models.items()}
    assert [(layer.filters, layer.kernel_size, layer.strides, layer.trainable) for layer in own["cnn_lstm_trained"]] == [(n, (3, 3), (2, 2), True) for n in (16, 32, 48, 64)]
    assert own["transformer"] == [] and "features" in models["transformer"].input and "pixels" in models["cnn_lstm_trained"].input
    before = match_experiments.build({**QUICK, "audio": "bilstm", "video": "cnn_lstm_trained", "loss": "info_nce"}, "stft")
    assert len(before.trainable_variables) == len(models["cnn_lstm_trained"].trainable_variables)


def _configs(spy):
    return [arguments[0] for arguments, _ in spy.calls["birdlib.multimodal.match_experiments.build"]]


@pytest.mark.slow
def test_the_best_is_chosen_on_validation_and_reported_on_test_with_intervals(ran):
    _, receipt, outputs = ran
    table = pd.read_parquet(outputs / STAGE / "results.parquet")
    validation = table[table["set"] == "validation"].set_index("video")["roc_auc"]
    assert runtime.read_json(outputs / STAGE / "best.json")["video"] == validation.idxmax()
    value, low, high = receipt["results"]["ROC-AUC of pairs, unseen media"]
    pairs = pd.read_parquet(outputs / STAGE / "pairs.parquet")
    assert low <= value <= high and set(pairs["set"]) >= {"validation", "unseen media"}


def test_the_grid_has_all_72_combinations_of_the_table():
    values = recipes.load(RECIPE).values(STAGE)
    combinations = match_experiments.grid(values["audio_encoders"], values["video_encoders"], values["match_losses"], 1)
    assert len(combinations) == 3 * 4 * 6 and values["grid"] == "small"  # full would be the suite's own 72
    assert [sorted({one[part] for one in combinations}) for part in ("audio", "video")] == [sorted(scene_encoders.AUDIO), sorted(VIDEO)]
    assert {one["loss"] for one in combinations} == set(matching.LOSSES)


@pytest.mark.parametrize("audio", scene_encoders.AUDIO)
def test_sizes_of_the_sound_encoders_on_an_stft(audio):
    """Vectors of 64; tokens of 160 ms; LSTM of 64 each way; four heads of 16."""
    model = scene_encoders.audio_encoder(audio, spectrogram=recipes.load(RECIPE).values(STAGE)["spectrogram"])
    assert model.input["spectrogram"].shape == (None, 500, 257) and model.output.shape == (None, 64)
    kinds = {type(layer).__name__: layer for layer in model.layers}
    if audio == "cnn":
        assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [16, 32, 48, 64]
    else:
        assert (kinds["Conv1D"].filters, kinds["Conv1D"].kernel_size) == (64, (20,))
        sizes = {"bilstm": lambda: kinds["Bidirectional"].forward_layer.units, "transformer": lambda: kinds["MultiHeadAttention"].num_heads}
        assert sizes[audio]() == {"bilstm": 64, "transformer": 4}[audio]
