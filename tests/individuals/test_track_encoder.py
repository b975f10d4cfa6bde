import functools

import numpy as np
import pandas as pd
import pytest

from birdlib.individuals import track_encoder

DIM, MAP = 12, (4, 5, 3)


@functools.cache
def encoder():
    import keras

    keras.utils.set_random_seed(3)
    return track_encoder.encoder(DIM, MAP)


def seen(n, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, DIM)).astype(np.float32), draw.normal(size=(n, *MAP)).astype(np.float16)


def of(found, rows):
    return tuple(part[rows] for part in found)


def test_a_crop_becomes_a_unit_vector_whatever_else_is_in_the_batch():
    many = track_encoder.embed_crops(encoder(), seen(5))
    assert many.shape == (5, track_encoder.EMBEDDING_DIM) and many.dtype == np.float32
    assert np.allclose(np.linalg.norm(many, axis=1), 1.0, atol=1e-5)
    assert np.allclose(track_encoder.embed_crops(encoder(), of(seen(5), [0])), many[:1], atol=1e-5)
    assert track_encoder.embed_crops(encoder(), seen(0)).shape == (0, track_encoder.EMBEDDING_DIM)


def test_a_sound_that_is_not_attributed_is_not_listened_to_and_one_that_is_counts():
    heard = np.random.default_rng(1).random((5, 125, 128), dtype=np.float32)
    silent = track_encoder.embed_crops(encoder(), seen(5))
    not_attributed = track_encoder.embed_crops(encoder(), seen(5), heard, np.zeros(5, bool))
    attributed = track_encoder.embed_crops(encoder(), seen(5), heard, np.ones(5, bool))
    assert np.allclose(silent, not_attributed, atol=1e-6)
    assert np.abs(silent - attributed).max() > 1e-3


def test_a_mark_counts_wherever_it_is():
    """It is the most of a detector that counts: the same map, rolled, is the same bird."""
    features, maps = seen(3)
    rolled = features, np.roll(maps, (1, 2), axis=(1, 2))
    other = features, -maps
    found = track_encoder.embed_crops(encoder(), (features, maps))
    assert np.allclose(found, track_encoder.embed_crops(encoder(), rolled), atol=1e-5)
    assert np.abs(found - track_encoder.embed_crops(encoder(), other)).max() > 1e-3


def test_marks_alone_are_enough():
    """Where the end of the network is not asked, there are no last features."""
    alone = track_encoder.encoder(0, MAP, has_sound=False)
    features, maps = seen(5)
    track_encoder.standardise(alone, (features[:, :0], maps))
    found = track_encoder.embed_crops(alone, (features[:, :0], maps))
    assert list(alone.input) == ["map"] and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_numbers_are_brought_to_one_scale():
    """Features a hundred times as large and far from 0 say the same."""
    import keras

    plain = track_encoder.encoder(DIM, MAP, has_sound=False)
    scaled = keras.models.clone_model(plain)
    scaled.set_weights(plain.get_weights())
    features, maps = seen(50)
    for model, many in ((plain, (features, maps)), (scaled, (100 * features + 7, 4 * maps))):
        track_encoder.standardise(model, many)
    found = track_encoder.embed_crops(plain, (features, maps))
    assert np.allclose(found, track_encoder.embed_crops(scaled, (100 * features + 7, 4 * maps)), atol=5e-3)


def test_crops_find_their_track_in_any_order_and_one_without_is_a_fault():
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2]})
    crops = pd.DataFrame({"recording_id": "film", "track": [2, 1, 2, 1, 1], "path": list("abcde")})
    assert track_encoder.track_rows(summary, crops).tolist() == [1, 0, 1, 0, 0]
    with pytest.raises(ValueError, match="crop b belongs to no track"):
        track_encoder.track_rows(summary.iloc[1:], crops)


def test_a_bird_is_heard_only_while_it_is_alone(tmp_path):
    """Silence for 2 s, then a tone: the bird that is alone then is heard, the one alone before is not, nor the one that never is."""
    from birdlib.data.synthetic import acoustics, films

    rate_hz = acoustics.SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(2 * rate_hz) / rate_hz)
    sound = np.concatenate([np.zeros(2 * rate_hz), tone]).astype(np.float32)
    path = tmp_path / "film.mp4"
    films.write_film([np.zeros((48, 64, 3), np.uint8)] * 20, sound, path, fps=5)
    alone_s = {"alone_from_s": [2.5, 0.0, np.nan], "alone_until_s": [4.0, 1.5, np.nan]}
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2, 3], **alone_s}, index=[7, 8, 9])
    heard, has_sound = track_encoder.hear_tracks(summary, {"film": path})
    assert has_sound.tolist() == [True, False, False]
    band = heard[0, :40].mean(axis=0).argmax()
    assert band == 3000 // 125 or band == 3000 // 125 - 1
    assert heard[0, 60:].max() < heard[0, :40].max() and not heard[1:].any()


def test_a_saved_encoder_says_the_same(tmp_path):
    encoder().save(tmp_path / "encoder.keras")
    again = track_encoder.load(tmp_path / "encoder.keras")
    assert np.allclose(
        track_encoder.embed_crops(again, seen(2)), track_encoder.embed_crops(encoder(), seen(2)), atol=1e-6
    )
