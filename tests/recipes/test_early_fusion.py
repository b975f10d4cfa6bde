"""The recipe early-fusion: every number of its table is used by the networks, layers and functions of a run on two drawn films."""

import keras
import numpy as np
import pandas as pd
import pytest
import spying

from birdlib import runtime, stages
from birdlib.data.synthetic import films, world
from birdlib.individuals import clustering
from birdlib.pipeline import recipes

RECIPE, STAGE = "early-fusion", "09_count"
QUICK = {"n_aviary": 4, "epochs": 1, "n_draws": 10, "n_annotated": 0, "n_swapped": 0, "known_counts": "known.csv"}
WATCHED = ["keras.applications.ResNet50", "birdlib.multimodal.scene_audio.extract_film", "birdlib.individuals.backbones.extract_features"]
FPS, FILM_S = 5, 6.0

pytestmark = pytest.mark.slow


def make(outputs):
    """A finished stage 01 of two films, which show the same two birds; their count by eye."""
    root = outputs / "recordings"
    root.mkdir(parents=True)
    cast = []
    for label, number in (("grywag1", 0), ("ruflut1", 1)):
        one = world.individual(label, number, seed=0)
        cast.append(films.Bird(one.label, one.individual_id, one.voice, one.marks))
    names = ["film-a", "film-b"]
    for seed, name in enumerate(names):
        frames, sound = films.film(cast, duration_s=FILM_S, fps=FPS, width=640, height=480, rng=np.random.default_rng(seed))
        films.write_film([image for image, _ in frames], sound, root / f"{name}.mp4", fps=FPS)
    pd.DataFrame({"recording_id": names, "individuals": 2}).to_csv(root / "known.csv", index=False)
    stage = stages.start("01_split", outputs)
    rows = {"recording_id": names, "video_path": [f"{name}.mp4" for name in names], "start_s": np.nan, "end_s": np.nan}
    rows |= dict.fromkeys(("species", "secondary_species", "audio_path", "image_path", "individual_id"), "")
    runtime.write_table(pd.DataFrame({**rows, "split": "train", "is_repeated": False, "group_id": names}), stage.folder / "splits.parquet")
    runtime.write_json([], stage.folder / "classes.json")
    stages.finish(stage, {"root": "recordings"})
    return outputs


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipt, folder) of stage 09; ``spy.calls["greedy"]`` are the thresholds of greedy counting."""
    outputs = make(tmp_path_factory.mktemp("outputs"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        thresholds, count = spy.calls.setdefault("greedy", []), clustering.greedy

        def greedy(embeddings, must_not_link, threshold):
            thresholds.append(threshold)
            return count(embeddings, must_not_link, threshold)

        monkeypatch.setitem(clustering.COUNTINGS, "greedy", greedy)
        receipts = spying.run(monkeypatch, RECIPE, outputs, only=("09",), **QUICK)
    return spy, receipts[STAGE], outputs / STAGE


def published(name):
    return recipes.load(RECIPE).parameters[STAGE][name][0]


def encoder_of(spy):
    """(the network that was trained, config of its optimizer)."""
    [(network, optimizer, _)] = spy.compiled
    return network, optimizer


def test_resnet50_takes_crops_of_its_own_size_is_frozen_and_gives_2048_features(ran):
    spy, receipt, _ = ran
    built = [options for _, options in spy.calls["keras.applications.ResNet50"]]
    assert built[0]["input_shape"] == (224, 224, 3) and not built[0]["include_top"] and published("crop_px") == 224
    backbone = spy.calls["birdlib.individuals.backbones.extract_features"][0][0][1]
    assert backbone.network.input.shape == (None, 224, 224, 3) and backbone.network.output.shape == (None, 2048)
    assert not backbone.network.trainable_variables and len(backbone.network.layers[-2].weights) > 300
    assert "resnet50" in receipt["weights"] and published("backbone") == "resnet50"


def test_features_and_sound_are_concatenated_and_one_dense_layer_gives_the_embedding(ran):
    network, _ = encoder_of(ran[0])
    assert {name: tensor.shape for name, tensor in network.input.items()} == {
        "features": (None, 2048), "spectrogram": (None, 125, 128), "has_sound": (None, 1),
    }  # fmt: skip
    assert network.get_layer("audio_encoder").output.shape == (None, published("sound_dim")) == (None, 128)
    assert len([layer for layer in network.get_layer("audio_encoder").layers if isinstance(layer, keras.layers.Conv2D)]) == 4
    assert network.get_layer("fusion").output.shape == (None, 2048 + 128)
    assert network.get_layer("track_dense").kernel.shape == (2048 + 128, 256) and published("embedding_dim") == 256
    assert network.output.shape == (None, 256)


def test_the_cnn_and_the_dense_layer_are_trained_with_a_rate_that_decays_from_4e_3(ran):
    network, optimizer = encoder_of(ran[0])
    assert network.get_layer("audio_encoder").trainable and network.get_layer("track_dense").trainable
    assert len(network.trainable_variables) == len(network.get_layer("audio_encoder").trainable_variables) + 2
    assert optimizer["name"] == "adam_w" and optimizer["learning_rate"]["config"]["warmup_target"] == 4e-3
    assert optimizer["weight_decay"] == 1e-3 and optimizer["clipnorm"] == 1.0


def test_sound_is_that_of_four_seconds_around_each_crop(ran):
    spy, _, folder = ran
    crops = pd.read_parquet(folder / "crops.parquet")
    spans = {path.stem: spans_s for (path, spans_s), _ in spy.calls["birdlib.multimodal.scene_audio.extract_film"]}
    assert set(spans) == set(crops["recording_id"])
    for film, spans_s in spans.items():
        expected = np.unique(np.maximum(crops.loc[crops["recording_id"] == film, "time_s"] - 2, 0))
        assert np.allclose(spans_s[:, 0], expected) and np.allclose(spans_s[:, 1] - spans_s[:, 0], 4.0)


def test_counts_are_greedy_with_the_fixed_threshold_and_numbers_are_shared_by_the_films(ran):
    spy, receipt, folder = ran
    used = pd.Series(spy.calls["greedy"], dtype=float).round(6).value_counts()
    assert published("greedy_threshold") == receipt["results"]["threshold"] == 0.2
    assert used[0.2] >= 1 + QUICK["n_draws"] and used.drop(0.2).max() == 1  # the figure of counts by threshold takes each once
    means, tracks = np.load(folder / "embeddings.npy"), pd.read_parquet(folder / "individuals.parquet")
    is_counted = tracks["identity"].to_numpy() >= 0
    assert means.shape == (len(tracks), 256) and is_counted.sum() >= 2
    assert tracks["identity"][is_counted].tolist() == clustering.greedy(means[is_counted], None, 0.2).tolist()
    counts = pd.read_csv(folder / "counts.csv").set_index("recording_id")
    n = tracks[is_counted].groupby("recording_id")["identity"].nunique()
    assert counts["n"].to_dict() == n.to_dict() and counts["birds"].tolist() == [2, 2]


def test_the_suite_s_own_counting_is_beside_it_in_the_same_run(ran):
    _, receipt, folder = ran
    table = pd.read_csv(folder / "countings.csv").set_index("figure")
    counts = pd.read_csv(folder / "counts.csv").set_index("recording_id")
    assert table.loc[counts.index, "greedy"].tolist() == counts["n"].tolist()
    assert np.allclose(table["difference"], table["clustering"] - table["greedy"], equal_nan=True)
    errors = (counts["n"] - 2).abs()
    assert table.loc["mean absolute error of counts", "greedy"] == errors.mean() == receipt["results"]["mean absolute error of counts"]
    assert table.loc["pairs of different birds with one number", "clustering"] == 0
