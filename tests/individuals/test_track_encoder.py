import functools

import numpy as np

from birdlib.individuals import track_encoder, track_sounds

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


def test_a_vector_has_unit_length_and_does_not_depend_on_the_batch():
    many = track_encoder.embed_crops(encoder(), seen(5))
    assert many.shape == (5, track_encoder.EMBEDDING_DIM) and many.dtype == np.float32
    assert np.allclose(np.linalg.norm(many, axis=1), 1.0, atol=1e-5)
    assert np.allclose(track_encoder.embed_crops(encoder(), of(seen(5), [0])), many[:1], atol=1e-5)
    assert track_encoder.embed_crops(encoder(), seen(0)).shape == (0, track_encoder.EMBEDDING_DIM)


def test_only_attributed_sound_changes_the_vector():
    heard, of_crop = np.random.default_rng(1).random((5, 125, 128), dtype=np.float32), np.arange(5)
    silent = track_encoder.embed_crops(encoder(), seen(5))
    not_attributed = track_encoder.embed_crops(encoder(), seen(5), track_sounds.Sounds(heard, np.zeros(5, bool), of_crop))
    attributed = track_encoder.embed_crops(encoder(), seen(5), track_sounds.Sounds(heard, np.ones(5, bool), of_crop))
    assert np.allclose(silent, not_attributed, atol=1e-6)
    assert np.abs(silent - attributed).max() > 1e-3


def test_local_features_count_at_any_position():
    """Detectors are max-pooled: a rolled map gives the same vector."""
    features, maps = seen(3)
    rolled = features, np.roll(maps, (1, 2), axis=(1, 2))
    other = features, -maps
    found = track_encoder.embed_crops(encoder(), (features, maps))
    assert np.allclose(found, track_encoder.embed_crops(encoder(), rolled), atol=1e-5)
    assert np.abs(found - track_encoder.embed_crops(encoder(), other)).max() > 1e-3


def test_the_encoder_works_with_local_features_only():
    """Without the backbone's last features."""
    alone = track_encoder.encoder(0, MAP, has_sound=False)
    features, maps = seen(5)
    track_encoder.standardise(alone, (features[:, :0], maps))
    found = track_encoder.embed_crops(alone, (features[:, :0], maps))
    assert list(alone.input) == ["map"] and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_sizes_of_the_parts_are_those_asked_for():
    """Last features and sound without a map: 12 and 7 numbers are concatenated, and 9 come out."""
    fused = track_encoder.encoder(DIM, (0, 0, 0), out_dim=9, sound_dim=7)
    assert set(fused.input) == {"features", "spectrogram", "has_sound"}
    assert fused.get_layer("fusion").output.shape == (None, DIM + 7) and fused.output.shape == (None, 9)
    assert [array.shape for array in fused.get_layer("track_dense").get_weights()] == [(DIM + 7, 9), (9,)]
    features = seen(3)[0]
    assert track_encoder.embed_crops(fused, (features, np.zeros((3, 0, 0, 0), np.float16))).shape == (3, 9)


def test_standardisation_removes_the_scale_of_inputs():
    """Scaled and shifted features give the same vectors."""
    import keras

    plain = track_encoder.encoder(DIM, MAP, has_sound=False)
    scaled = keras.models.clone_model(plain)
    scaled.set_weights(plain.get_weights())
    features, maps = seen(50)
    for model, many in ((plain, (features, maps)), (scaled, (100 * features + 7, 4 * maps))):
        track_encoder.standardise(model, many)
    found = track_encoder.embed_crops(plain, (features, maps))
    assert np.allclose(found, track_encoder.embed_crops(scaled, (100 * features + 7, 4 * maps)), atol=5e-3)


def test_a_loaded_encoder_gives_the_same_vectors(tmp_path):
    encoder().save(tmp_path / "encoder.keras")
    again = track_encoder.load(tmp_path / "encoder.keras")
    assert np.allclose(
        track_encoder.embed_crops(again, seen(2)), track_encoder.embed_crops(encoder(), seen(2)), atol=1e-6
    )
