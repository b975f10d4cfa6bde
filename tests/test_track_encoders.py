import functools

import numpy as np
import pandas as pd
import pytest

from birdlib import embedding_store, pictures, track_encoders, tracks

DIMS = (8, 12, 20)


@functools.cache
def encoder(has_sound=True):
    import keras

    keras.utils.set_random_seed(3)
    return track_encoders.encoder(DIMS, has_sound=has_sound)


def features(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, sum(DIMS))).astype(np.float32)


class Colours:
    """In place of a network: what it says of a crop is its mean colour."""

    def __init__(self):
        self.n_seen = 0

    def predict(self, squares, **_):
        self.n_seen += len(squares)
        return squares.mean(axis=(1, 2))


@pytest.fixture
def backbone():
    return track_encoders.Backbone(Colours(), (3,), "colours", {})


def crop_table(folder, colours):
    """Two crops of each track, one colour a track."""
    import cv2

    rows = []
    for track, colour in enumerate(colours, start=1):
        for number in (1, 2):
            path = f"{track}_{number}.png"
            cv2.imwrite(str(folder / path), np.full((20 + number, 40, 3), colour[::-1], np.uint8))
            rows.append(("film", track, float(number), path, 1.0))
    return pd.DataFrame(rows, columns=tracks.CROP_COLUMNS)


def test_a_bird_keeps_its_proportions_and_stands_in_the_middle():
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, :20] = 200
    square = track_encoders.as_square(image, 80)
    assert square.shape == (80, 80, 3) and (square[:29] == 100).all() and (square[51:] == 100).all()
    assert (square[32:48, :36] == 200).all() and (square[32:48, 44:] == 0).all()


def test_a_crop_becomes_a_unit_vector_whatever_else_is_in_the_batch():
    many = track_encoders.embed_crops(encoder(), features(5))
    assert many.shape == (5, track_encoders.EMBEDDING_DIM) and many.dtype == np.float32
    assert np.allclose(np.linalg.norm(many, axis=1), 1.0, atol=1e-5)
    assert np.allclose(track_encoders.embed_crops(encoder(), features(5)[:1]), many[:1], atol=1e-5)
    assert track_encoders.embed_crops(encoder(), features(0)).shape == (0, track_encoders.EMBEDDING_DIM)


def test_a_sound_that_is_not_attributed_is_not_listened_to_and_one_that_is_counts():
    heard = np.random.default_rng(1).random((5, 125, 128), dtype=np.float32)
    silent = track_encoders.embed_crops(encoder(), features(5))
    not_attributed = track_encoders.embed_crops(encoder(), features(5), heard, np.zeros(5, bool))
    attributed = track_encoders.embed_crops(encoder(), features(5), heard, np.ones(5, bool))
    assert np.allclose(silent, not_attributed, atol=1e-6)
    assert np.abs(silent - attributed).max() > 1e-3


def test_features_are_brought_to_one_scale():
    """A feature a thousand times as large and far from 0 counts no more than the others."""
    import keras

    keras.utils.set_random_seed(3)
    scales = np.where(np.arange(sum(DIMS)) % 2, 1000.0, 1.0).astype(np.float32)
    plain, scaled = (track_encoders.encoder(DIMS, has_sound=False) for _ in range(2))
    scaled.set_weights(plain.get_weights())
    many = features(200)
    track_encoders.standardise(plain, many)
    found = track_encoders.embed_crops(plain, many)
    scaled.get_layer("feature_scale").set_weights(
        [
            one * scales**power + power * 7 * (power == 1)
            for power, one in ((1, many.mean(axis=0)), (2, many.var(axis=0)))
        ]
    )
    again = track_encoders.embed_crops(scaled, many * scales + 7)
    assert (found * again).sum(axis=1).min() > 0.99


def test_a_track_is_the_mean_of_its_crops_in_any_order():
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2]})
    crops = pd.DataFrame({"recording_id": "film", "track": [2, 1, 2, 1, 1], "path": list("abcde")})
    found, of_crops = track_encoders.embed_tracks(encoder(), summary, crops, features(5))
    mean = of_crops[[1, 3, 4]].mean(axis=0)
    assert np.allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    order = [4, 2, 0, 3, 1]
    again, _ = track_encoders.embed_tracks(encoder(), summary, crops.iloc[order], features(5)[order])
    assert np.allclose(found, again, atol=1e-5)


def test_a_track_without_crops_and_a_crop_without_track_are_faults():
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2]})
    crops = pd.DataFrame({"recording_id": "film", "track": [1], "path": ["a"]})
    with pytest.raises(ValueError, match="track 2 has no crop"):
        track_encoders.embed_tracks(encoder(), summary, crops, features(1))
    with pytest.raises(ValueError, match="belongs to no track"):
        track_encoders.embed_tracks(encoder(), summary.iloc[1:], crops, features(1))


def test_crops_are_looked_at_once(tmp_path, backbone):
    crops = crop_table(tmp_path, [(250, 10, 10), (10, 10, 250)])
    with embedding_store.EmbeddingStore(tmp_path / "store", backbone.key) as store:
        first = track_encoders.see_crops(crops, tmp_path, backbone, store)
        again = track_encoders.see_crops(crops, tmp_path, backbone, store)
    assert np.allclose(first, [(250, 10, 10)] * 2 + [(10, 10, 250)] * 2) and np.array_equal(first, again)
    assert backbone.network.n_seen == len(crops)


def test_a_crop_that_cannot_be_read_is_named(tmp_path, backbone):
    crops = crop_table(tmp_path, [(250, 10, 10)])
    (tmp_path / "1_2.png").write_bytes(b"")
    with pytest.raises(pictures.ImageError, match="1_2.png"):
        track_encoders.see_crops(crops, tmp_path, backbone)


def test_a_bird_is_heard_only_while_it_is_alone(tmp_path):
    """Silence for 2 s, then a tone: the bird that is alone then is heard, the one alone before is not, nor the one that never is."""
    from birdlib import fieldwork, films

    rate_hz = fieldwork.SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(2 * rate_hz) / rate_hz)
    sound = np.concatenate([np.zeros(2 * rate_hz), tone]).astype(np.float32)
    path = tmp_path / "film.mp4"
    films.write_film([np.zeros((48, 64, 3), np.uint8)] * 20, sound, path, fps=5)
    alone_s = {"alone_from_s": [2.5, 0.0, np.nan], "alone_until_s": [4.0, 1.5, np.nan]}
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2, 3], **alone_s}, index=[7, 8, 9])
    heard, has_sound = track_encoders.hear_tracks(summary, {"film": path})
    assert has_sound.tolist() == [True, False, False]
    band = heard[0, :40].mean(axis=0).argmax()
    assert band == 3000 // 125 or band == 3000 // 125 - 1
    assert heard[0, 60:].max() < heard[0, :40].max() and not heard[1:].any()


def test_a_saved_encoder_says_the_same(tmp_path):
    encoder().save(tmp_path / "encoder.keras")
    again = track_encoders.load(tmp_path / "encoder.keras")
    assert np.allclose(
        track_encoders.embed_crops(again, features(2)), track_encoders.embed_crops(encoder(), features(2)), atol=1e-6
    )


def test_an_unknown_backbone_is_refused_with_those_there_are():
    with pytest.raises(track_encoders.TrackEncoderError, match="resnet50, densenet121, efficientnetb0"):
        track_encoders.load_backbone("vgg")


@pytest.mark.slow
@pytest.mark.parametrize("name", track_encoders.DEPTHS)
def test_every_backbone_looks_at_a_crop_at_three_depths(name):
    backbone = track_encoders.load_backbone(name, is_trained=False)
    assert not backbone.network.trainable_weights and len(backbone.dims) == 3
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    found = track_encoders.see([noise, noise[:, ::-1]], backbone)
    assert found.shape == (2, sum(backbone.dims)) and np.isfinite(found).all()
