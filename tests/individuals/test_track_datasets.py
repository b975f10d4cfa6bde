import dataclasses

import films_made
import numpy as np
import pandas as pd
import pytest
from media import by_second, film, tone

from birdlib.individuals import backbones, clustering, track_datasets, track_embeddings, track_encoder
from birdlib.individuals import training as identity_training
from birdlib.video import io as video_io
from birdlib.video import tracking

DIM, MAP = 8, (8, 8, 6)


@pytest.fixture(scope="module")
def backbone():
    """A small network of random weights."""
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((backbones.SIZE, backbones.SIZE, 3))
    early = keras.layers.AveragePooling2D(backbones.SIZE // MAP[0])(inputs / 127.5 - 1.0)
    early = keras.layers.Conv2D(MAP[2], 1, activation="relu")(early)
    last = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(DIM, 3)(early))
    return backbones.Backbone(keras.Model(inputs, [last, early]), DIM, MAP, "tiny", {"tiny": {}})


def together(n, *pairs):
    table = np.zeros((n, n), bool)
    for a, b in pairs:
        table[a, b] = table[b, a] = True
    return table


def ringed(rng, colour):
    """A grey bird in any light, with a ring of one colour somewhere."""
    image = np.full((64, 64, 3), rng.integers(60, 200), np.uint8)
    y, x = rng.integers(0, 44, 2)
    image[y : y + 20, x : x + 20] = colour
    return image


def set_of(names, must_not_link, backbone=None, n_crops=4, seed=0):
    """Tracks of ringed birds; without a backbone, features are random."""
    rng = np.random.default_rng(seed)
    of_track = np.repeat(np.arange(len(names)), n_crops)
    if backbone is None:
        seen = rng.normal(size=(len(of_track), DIM)).astype(np.float32), rng.normal(size=(len(of_track), *MAP)).astype(np.float16)
    else:
        colours = dict(zip(dict.fromkeys(names), rng.integers(0, 256, (len(names), 3)), strict=False))
        seen = backbones.extract_features([ringed(rng, colours[names[track]]) for track in of_track], backbone)
    summary = pd.DataFrame({"recording_id": "film", "track": np.arange(len(names))})
    crops = pd.DataFrame({"recording_id": "film", "track": of_track, "time_s": np.tile(np.arange(n_crops, dtype=float), len(names)), "path": ""})
    silence = np.zeros((len(names), 125, 128), np.float32), np.zeros(len(names), bool)
    return track_datasets.from_films(summary, crops, seen, *silence, must_not_link, np.array(names, dtype=object))


def tables(n_tracks, n_crops=3):
    """(summary, crops) of tracks that are alone, the crops not in the order of time."""
    found = [("film", track, 10.0 * track + n / 5, 0, 0, 9, 9, 0.9) for track in range(1, n_tracks + 1) for n in range(5)]
    rows = [("film", track, 10.0 * track + (n * 2 % 3) / 5, f"{track}_{n}.png", 1.0) for track in range(1, n_tracks + 1) for n in range(n_crops)]
    return tracking.summary(pd.DataFrame(found, columns=tracking.COLUMNS)), pd.DataFrame(rows, columns=tracking.CROP_COLUMNS)


def test_crops_are_sorted_by_track_and_time_from_any_order():
    summary, crops = tables(4)
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(12, DIM)), rng.normal(size=(12, *MAP))
    rest = np.zeros((4, 125, 128)), np.zeros(4, bool), together(4), np.array([""] * 4)
    one = track_datasets.from_films(summary, crops, seen, *rest)
    order = rng.permutation(12)
    again = track_datasets.from_films(summary, crops.iloc[order], tuple(array[order] for array in seen), *rest)
    assert all(np.array_equal(a, b) for a, b in zip(one.crop_features, again.crop_features, strict=True))
    assert np.array_equal(one.of_track, again.of_track) and np.array_equal(one.times_s, again.times_s)
    assert (np.diff(one.of_track) >= 0).all() and (np.diff(one.times_s)[np.diff(one.of_track) == 0] >= 0).all()
    row = np.flatnonzero((crops["track"] == 3) & (crops["time_s"] == 30.4))[0]
    assert np.array_equal(one.crop_features[0][(one.of_track == 2) & (one.times_s == 30.4)], seen[0][[row]])


def test_a_concatenated_set_holds_its_parts_in_order():
    parts = [set_of(["a", "a"], together(2)), set_of(["", "", ""], together(3, (0, 2)), seed=1)]
    whole = track_datasets.concatenate(parts)
    assert whole.names.tolist() == ["a", "a", "", "", ""]
    for first, part in zip((0, 2), parts, strict=True):
        rows, own = whole.of_track >= first, slice(first, first + len(part.names))
        rows &= whole.of_track < first + len(part.names)
        assert np.array_equal(whole.of_track[rows] - first, part.of_track)
        assert all(np.array_equal(a[rows], b) for a, b in zip(whole.crop_features, part.crop_features, strict=True))
        assert np.array_equal(whole.must_not_link[own, own], part.must_not_link)
    assert whole.must_not_link.sum() == 2, "birds of two sets were never in one picture"


def test_pairs_of_chosen_tracks_equal_those_of_a_set_of_these_tracks():
    whole = track_datasets.concatenate([set_of(["a", "b", ""], together(3, (0, 1), (1, 2))), set_of(["c"], together(1), seed=1)])
    vectors = whole.crop_features[0] / np.linalg.norm(whole.crop_features[0], axis=1, keepdims=True)
    few = track_datasets.validation_pairs(vectors, whole, np.array([False, True, True, True]))
    rows = whole.of_track > 0
    names, apart = ["b", "", "c"], together(3, (0, 1))
    alone = clustering.validation_pairs(vectors[rows], whole.of_track[rows] - 1, whole.times_s[rows], apart, names)
    assert all(np.array_equal(a, b) for a, b in zip(few, alone, strict=True))
    table = track_datasets.pair_table(*few[:2])
    assert table["is_same"].sum() == 3 and len(table) == 3 + 2 * 4  # halves; of b to the other two, named or not


def test_bird_pairs_are_of_one_species_and_two_films():
    """Two wrens in film a, one of them in b again, where a tit is too; a wren without a name."""
    one = set_of(["anna", "berta", "anna", "clara", ""], together(5, (0, 1), (2, 3)))
    one = dataclasses.replace(one, species=np.array(["wren", "wren", "wren", "tit", "wren"]))
    vectors = one.crop_features[0] / np.linalg.norm(one.crop_features[0], axis=1, keepdims=True)
    means, known, _ = track_datasets.bird_pairs(vectors, one, np.ones(5, bool))
    assert np.allclose(means, clustering.mean_embeddings(vectors, one.of_track))
    pairs = {(a, b): known[a, b] for a in range(5) for b in range(a) if known[a, b]}
    assert pairs == {(2, 0): 1, (2, 1): -1}
    few = track_datasets.bird_pairs(vectors, one, np.array([True, False, True, True, True]))
    assert few[1].sum() == 2 + 4 and len(few[0]) == 4  # anna twice, and everyone is himself


def test_a_subset_of_tracks_keeps_their_crops():
    summary, crops = tables(4)
    of_crops, order = np.arange(12.0)[:, None], np.random.default_rng(0).permutation(12)
    chosen = np.array([False, True, False, True])
    apart = together(4, (1, 3), (0, 1))
    few, vectors, of_track, few_apart = track_datasets.subset(chosen, summary, crops.iloc[order], of_crops[order], apart)
    assert few["track"].tolist() == [2, 4] and few_apart.tolist() == together(2, (0, 1)).tolist()
    assert set(vectors[of_track == 0, 0]) == {3, 4, 5} and set(vectors[of_track == 1, 0]) == {9, 10, 11}
    none, vectors, of_track, _ = track_datasets.subset(np.zeros(4, bool), summary, crops, of_crops, apart)
    assert len(none) == len(vectors) == len(of_track) == 0


def test_with_too_few_relations_the_encoder_is_standardised_but_not_trained(backbone):
    """Two tracks are too few."""
    one = set_of(["", ""], together(2, (0, 1)))
    encoder, history, (halves, known, _) = track_datasets.train_early_fusion(one, backbone, rng=np.random.default_rng(0))
    assert len(history) == 0 and "validation" in history and halves.shape[0] == 4 and (known == -1).sum() == 8
    mean, _ = encoder.get_layer("feature_scale").get_weights()
    assert np.allclose(mean, one.crop_features[0].mean(axis=0), atol=1e-5)


def test_an_empty_set_gives_no_pairs(backbone):
    one = set_of([], together(0))
    _, history, (halves, known, _) = track_datasets.train_early_fusion(one, backbone, rng=np.random.default_rng(0))
    assert len(history) == 0 and len(halves) == 0 and known.shape == (0, 0)
    assert len(track_datasets.pair_table(halves, known)) == 0


def test_training_separates_held_out_birds_by_their_rings(backbone):
    """24 birds in two tracks each: average precision of the held-out ones improves."""
    import keras

    keras.utils.set_random_seed(0)
    one = set_of([f"bird {k // 2}" for k in range(48)], together(48), backbone)
    encoder = track_encoder.encoder(DIM, MAP, out_dim=16, has_sound=False)
    track_encoder.standardise(encoder, one.crop_features)
    unlearnt = track_datasets.embed(encoder, one)
    options = {"n_steps": 8, "epochs": 6, "learning_rate": 1e-2, "n_tracks": 12, "rng": np.random.default_rng(0)}
    history, held_out = track_datasets.train(encoder, [one], **options)
    rows = held_out[one.of_track]
    before = identity_training.average_precision(unlearnt[rows], one.of_track[rows], one.relations)
    assert history["validation"].max() > before + 0.1


@pytest.fixture
def untrained(monkeypatch):
    """Replaces training: the arguments of each call."""
    given = []

    def fit(encoder, arrays, of_track, known, *, held_out, **_):
        given.append((known, held_out))
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(identity_training, "fit", fit)
    return given


@pytest.mark.parametrize("names", [[""] * 9, ["anna"] * 5 + ["berta"] * 5], ids=["one beside all others", "two named birds"])
def test_holding_out_leaves_pairs_of_different_birds(untrained, names):
    """One bird is in a frame with each of eight others, or there are two named birds: without it no pair of different birds is left."""
    apart = together(9, *((0, k) for k in range(1, 9))) if names[0] == "" else together(10)
    for seed in range(8):
        track_datasets.train(None, [set_of(names, apart, n_crops=2)], rng=np.random.default_rng(seed))
    assert len(untrained) == 8 and all((known[~out][:, ~out] == -1).any() for known, out in untrained)


def test_without_held_out_birds_all_pairs_are_returned(backbone, untrained):
    one = set_of(["anna"] * 5 + ["berta"] * 5, together(10), n_crops=2)
    _, history, (_, known, _) = track_datasets.train_early_fusion(one, backbone, rng=np.random.default_rng(0))
    assert len(history) == 1 and len(known) == 20 and set(np.unique(known)) == {-1, 1}


# vectors


@pytest.fixture
def seen_files(tmp_path, backbone, monkeypatch):
    """A function that gives the vectors of crops on disk: a film of two birds and, if asked for, the portrait of one."""
    import cv2
    import keras

    monkeypatch.setattr(backbones, "load", lambda *_, **__: backbone)
    film(tmp_path / "film.mkv", by_second(3), sound=tone(3))

    def look(order=None, has_portrait=False, paths=None):
        summary, crops = tables(2)
        summary[["alone_from_s", "alone_until_s"]] = [[0.0, 1.5], [np.nan, np.nan]]
        if has_portrait:
            other = summary[:1].assign(recording_id="portrait", alone_from_s=np.nan, alone_until_s=np.nan)
            summary = pd.concat([summary, other], ignore_index=True)
            crops = pd.concat([crops, crops[:1].assign(recording_id="portrait", path="other.png")], ignore_index=True)
        for number, path in enumerate(crops["path"]):
            cv2.imwrite(str(tmp_path / path), ringed(np.random.default_rng(number), (20 * number, 100, 200)))
        crops = crops if order is None else crops.iloc[order]
        keras.utils.set_random_seed(0)
        n = len(summary)
        paths = {"film": tmp_path / "film.mkv"} if paths is None else paths
        given = "early_fusion", summary, crops, together(n), np.array([""] * n), paths, tmp_path, tmp_path
        return track_datasets.embed_tracks(*given, backbone="resnet50", parts="marks,looks,voice", rng=np.random.default_rng(0))

    return look


def test_vectors_are_in_the_order_of_the_crops(seen_files):
    of_crops, encoder, history, pairs, receipt = seen_files()
    order = [4, 0, 5, 3, 1, 2]
    again = seen_files(order)[0]
    assert of_crops.shape == (6, track_encoder.EMBEDDING_DIM) and np.allclose(again, of_crops[order], atol=1e-5)
    assert len(history) == 0 and len(pairs[0]) == 4 and receipt == {"tiny": {}} and encoder is not None


def test_portraits_and_films_with_undecodable_sound_are_embedded_without_sound(seen_files, tmp_path):
    """The first bird of the film is heard while it is alone; it looks otherwise where the sound is of samples that are no numbers."""
    heard = seen_files(has_portrait=True)[0]
    films_made.steady(tmp_path / "bad.mkv", sound=np.full((1, 16_000), np.nan), codecs=("libx264", "pcm_f32le"))
    with pytest.warns(video_io.VideoWarning, match="bad.mkv.*NaN.*without sound"):
        deaf = seen_files(has_portrait=True, paths={"film": tmp_path / "bad.mkv"})[0]
    assert np.abs(heard[:3] - deaf[:3]).max() > 1e-3 and np.allclose(heard[3:], deaf[3:], atol=1e-5) and len(heard) == 7


def test_sound_is_attributed_only_to_a_bird_that_is_alone(tmp_path):
    """Silence for 2 s, then a tone: only the bird that is alone during the tone has sound."""
    from birdlib.data.synthetic import acoustics, films

    rate_hz = acoustics.SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(2 * rate_hz) / rate_hz)
    sound = np.concatenate([np.zeros(2 * rate_hz), tone]).astype(np.float32)
    path = tmp_path / "film.mp4"
    films.write_film([np.zeros((48, 64, 3), np.uint8)] * 20, sound, path, fps=5)
    alone_s = {"alone_from_s": [2.5, 0.0, np.nan], "alone_until_s": [4.0, 1.5, np.nan]}
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2, 3], **alone_s}, index=[7, 8, 9])
    spectrograms, has_sound = track_datasets.track_sounds(summary, {"film": path})
    assert has_sound.tolist() == [True, False, False]
    band = spectrograms[0, :40].mean(axis=0).argmax()
    assert band == 3000 // 125 or band == 3000 // 125 - 1
    assert spectrograms[0, 60:].max() < spectrograms[0, :40].max() and not spectrograms[1:].any()


@pytest.mark.parametrize("parts", ["", "looks", "marks,song"])
def test_unknown_parts_raise(tmp_path, parts):
    given = "early_fusion", *tables(1), together(1), np.array([""]), {}, tmp_path, tmp_path
    with pytest.raises(track_embeddings.TrackEmbedderError, match="looks and voice"):
        track_datasets.embed_tracks(*given, backbone="resnet50", parts=parts, rng=np.random.default_rng(0))


def test_without_crops_no_network_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "load", None)  # not to be called
    summary, crops = tables(1)
    given = "early_fusion", summary[:0], crops[:0], together(0), np.array([]), {}, tmp_path, tmp_path
    of_crops, encoder, history, pairs, receipt = track_datasets.embed_tracks(*given, backbone="resnet50", parts="marks,looks,voice", n_aviary=8, rng=np.random.default_rng(0))
    assert of_crops.shape == (0, track_encoder.EMBEDDING_DIM) and encoder is None and len(history) == len(pairs[0]) == 0 and receipt == {}


def test_the_encoder_of_stage_04_embeds_without_training(tmp_path, seen_files, monkeypatch):
    class Whitish:
        def embed(self, images):
            return np.array([[1.0, 0.0] if image.mean() > 128 else [0.0, 1.0] for image in images], np.float32).reshape(-1, 2)

    monkeypatch.setattr(track_embeddings, "load", lambda name, path: Whitish())
    seen_files()
    summary, crops = tables(2)
    given = "stage04", summary, crops, together(2, (0, 1)), np.array(["", ""]), {}, tmp_path, tmp_path
    of_crops, encoder, history, (halves, known, _), receipt = track_datasets.embed_tracks(*given, backbone="", parts="marks", rng=np.random.default_rng(0))
    assert of_crops.shape == (6, 2) and encoder is None and len(history) == 0 and receipt == {}
    assert halves.shape == (4, 2) and (known == -1).sum() == 8


def test_synthetic_birds_are_the_default_for_drawn_films_only(tmp_path):
    assert track_datasets.resolve_auto(-1, "auto", tmp_path) == (0, "marks,looks")
    (tmp_path / "sample.json").write_text("{}")
    assert track_datasets.resolve_auto(-1, "auto", tmp_path) == (track_datasets.N_SYNTHETIC, "marks")
    assert track_datasets.resolve_auto(8, "voice", tmp_path) == (8, "voice")
