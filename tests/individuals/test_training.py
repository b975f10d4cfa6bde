import numpy as np
import pytest

from birdlib.individuals import constraints, track_encoder
from birdlib.individuals import training as identity_training
from birdlib.individuals.constraints import RelationError, relations
from birdlib.individuals.training import IdentityTrainingError

DIM, MAP = 12, (2, 2, 3)


def together(n, *pairs):
    table = np.zeros((n, n), bool)
    for a, b in pairs:
        table[a, b] = table[b, a] = True
    return table


def test_tracks_in_one_frame_are_different_and_all_others_unknown():
    assert relations(together(3, (0, 1))).tolist() == [[1, -1, 0], [-1, 1, 0], [0, 0, 1]]


def test_labels_give_same_and_different_and_missing_labels_unknown():
    table = relations(together(4), ["anna", "anna", "berta", ""])
    assert table.tolist() == [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]


def test_one_label_twice_in_a_frame_raises():
    with pytest.raises(RelationError, match="'anna'"):
        relations(together(2, (0, 1)), ["anna", "anna"])


def test_birds_of_two_sets_are_different():
    found = constraints.concatenate(relations(together(2)), relations(together(1)))
    assert found.tolist() == [[1, 0, -1], [0, 1, -1], [-1, -1, 1]]


def test_birds_are_held_out_with_all_their_tracks():
    names = [f"bird {k % 7}" for k in range(30)]
    out = constraints.hold_out(relations(together(30), names), 0.3, np.random.default_rng(0))
    birds_out, birds_in = (
        {name for name, is_out in zip(names, out, strict=True) if is_out == which} for which in (True, False)
    )
    assert not birds_out & birds_in and len(birds_out) == 3  # 0.3 of 7, rounded up


def test_tracks_are_split_into_halves_in_time():
    assert identity_training._halves([0, 0, 0, 0, 1, 2, 2]).tolist() == [0, 0, 1, 1, -1, 4, 5]


def loss_of(known, rows, embeddings):
    import keras

    vectors = np.asarray(embeddings, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return float(keras.ops.convert_to_numpy(identity_training.relation_loss(known)(np.array(rows, np.float32), vectors)))


def test_unknown_relations_do_not_change_the_loss():
    """Tracks 0 and 1 are different; the relations of track 2 are unknown, so its vector does not matter."""
    known = relations(together(3, (0, 1)))
    pair = [[1, 0], [0.8, 0.6], [0.5, 0.8], [0, 1]]
    anywhere = [loss_of(known, [0, 0, 1, 1, 2], [*pair, at]) for at in ([1, 0], [0, 1], [-1, 0])]
    assert np.allclose(anywhere, loss_of(known, [0, 0, 1, 1], pair), atol=1e-5)
    assert loss_of(relations(together(2)), [0, 1], [[1, 0], [1, 0]]) == 0.0


def test_the_loss_is_lower_for_separated_birds():
    known = relations(together(2, (0, 1)))
    apart = loss_of(known, [0, 0, 1, 1], [[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    mixed = loss_of(known, [0, 0, 1, 1], [[1, 0], [0, 1], [1, 0.1], [0.1, 1]])
    assert apart < 0.5 * mixed


def test_the_loss_averages_the_crops_of_a_track():
    """An uninformative crop costs nothing where the mean of the track is right."""
    import keras

    known = relations(together(2, (0, 1)))
    one, other, vague = [1, 0, 0], [0, 1, 0], [0, 0, 1]
    tracks = np.repeat(np.array([0, 0, 1, 1], np.float32), 2)
    embeddings = np.array([one, vague, one, vague, other, vague, other, vague], np.float32)
    together_, alone = (
        float(keras.ops.convert_to_numpy(identity_training.relation_loss(known, n)(tracks, embeddings))) for n in (2, 1)
    )
    assert together_ < 0.1 * alone


def test_birds_of_a_batch_are_similar():
    """Batches hold red birds or green ones: similarity comes from the colours of the map."""
    maps = np.zeros((60, 2, 2, 3), np.float16)
    maps[::2, ..., 0] = maps[1::2, ..., 1] = 1
    known = relations(np.zeros((60, 60), bool), [f"bird {k % 30}" for k in range(60)])
    arrays, options = {"features": np.zeros((60, 1)), "map": maps}, (8, 2, 1, 0.0)  # tracks, crops, steps, sound dropout
    batches = identity_training.RelationBatches(arrays, np.arange(60), known, np.ones(60, bool), [], *options, np.random.default_rng(0))
    _, tracks = batches[0]
    assert tracks.shape == (16,) and len(set(tracks)) == 8
    assert len({track % 30 for track in tracks}) == 4 and len({track % 2 for track in tracks}) == 1


def test_average_precision_is_one_for_separated_and_chance_for_equal_vectors():
    of_track, known = np.repeat([0, 1], 4), relations(together(2, (0, 1)))
    right = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    assert identity_training.average_precision(right, of_track, known) == 1.0
    same = np.tile(np.float32([1, 0]), (8, 1))
    assert identity_training.average_precision(same, of_track, known) == pytest.approx(2 / 6)  # same pairs among all


def birds(rng, n_birds, n_crops=6):
    """Crops of birds that differ in 3 of 12 features; the 9 others are noise of larger variance."""
    marks = rng.normal(size=(n_birds, 3))
    features = rng.normal(0, 3, (2 * n_birds, n_crops, 12))
    features[:, :, :3] = np.repeat(marks, 2, axis=0)[:, None] + rng.normal(0, 0.2, (2 * n_birds, n_crops, 3))
    of_track = np.repeat(np.arange(2 * n_birds), n_crops)
    return features.reshape(-1, 12).astype(np.float32), of_track, [str(k // 2) for k in range(2 * n_birds)]


def no_map(n):
    return np.zeros((n, *MAP), np.float16)


@pytest.fixture(scope="module")
def trained():
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(4)
    features, of_track, names = birds(rng, 30)
    known = relations(together(60), names)
    held_out = constraints.hold_out(known, 0.3, rng)
    encoder = track_encoder.encoder(DIM, MAP, out_dim=8, has_sound=False, dropout=0.1)
    options = {"n_steps": 20, "epochs": 12, "learning_rate": 1e-2, "rng": rng}
    history = identity_training.fit(
        encoder, {"features": features, "map": no_map(len(features))}, of_track, known, held_out=held_out, **options
    )
    return encoder, features, of_track, known, held_out, history


def test_training_improves_average_precision_on_held_out_birds(trained):
    encoder, features, of_track, known, held_out, history = trained
    rows = held_out[of_track]
    unlearnt = features[rows] / np.linalg.norm(features[rows], axis=1, keepdims=True)
    before = identity_training.average_precision(unlearnt, of_track[rows], known)
    vectors = track_encoder.embed_crops(encoder, (features[rows], no_map(rows.sum())))
    after = identity_training.average_precision(vectors, of_track[rows], known)
    assert after > max(0.8, before + 0.2)


def test_the_encoder_has_the_weights_of_the_best_epoch(trained):
    encoder, features, of_track, known, held_out, history = trained
    rows = held_out[of_track]
    vectors = track_encoder.embed_crops(encoder, (features[rows], no_map(rows.sum())))
    kept = history[history["is_kept"]]
    assert len(kept) == 1 and kept["validation"].iloc[0] == history["validation"].max()
    found = identity_training.average_precision(vectors, of_track[rows], known)
    assert found == pytest.approx(kept["validation"].iloc[0], abs=1e-3)


def test_the_sound_encoder_is_trained_and_without_validation_the_last_epoch_is_kept():
    rng = np.random.default_rng(0)
    features, of_track, names = birds(rng, 3)
    arrays = {"features": features, "map": no_map(len(features))}
    arrays |= {"spectrogram": rng.random((6, 125, 128), dtype=np.float32), "has_sound": np.arange(6) % 2 == 0, "sound_of": of_track}
    encoder = track_encoder.encoder(DIM, MAP, out_dim=8)
    before = encoder.get_layer("audio_encoder").get_weights()
    history = identity_training.fit(
        encoder, arrays, of_track, relations(together(6), names), n_tracks=4, n_crops=2, n_steps=1, epochs=2, rng=rng
    )
    assert np.isfinite(history["loss"]).all() and history["is_kept"].tolist() == [False, True]
    assert any((a != b).any() for a, b in zip(before, encoder.get_layer("audio_encoder").get_weights(), strict=True))


@pytest.fixture
def without_map():
    """Arrays of crops that have last features and a sound each, and no map: (arrays, of_track, relations)."""
    rng = np.random.default_rng(0)
    features, of_track, names = birds(rng, 3)
    n = len(features)
    arrays = {"features": features, "map": np.zeros((n, 0, 0, 0), np.float16), "spectrogram": rng.random((n, 125, 128), dtype=np.float32)}
    return {**arrays, "has_sound": np.ones(n, bool), "sound_of": np.arange(n)}, of_track, relations(together(6), names)


def test_a_batch_has_the_sound_of_its_crops(without_map):
    arrays, of_track, known = without_map
    names, rng = ["features", "spectrogram", "has_sound"], np.random.default_rng(1)
    inputs, tracks = identity_training.RelationBatches(arrays, of_track, known, np.ones(6, bool), names, 4, 2, 1, 0.0, rng)[0]
    crops = [int(np.flatnonzero((arrays["features"] == row).all(axis=1))[0]) for row in inputs["features"]]
    assert set(inputs) == set(names) and of_track[crops].tolist() == tracks.tolist()
    assert np.array_equal(inputs["spectrogram"], arrays["spectrogram"][crops]) and (inputs["has_sound"] == 1).all()


@pytest.mark.slow
def test_last_features_and_sound_train_without_a_map(without_map):
    arrays, of_track, known = without_map
    encoder = track_encoder.encoder(DIM, (0, 0, 0), out_dim=8)
    before = encoder.get_layer("audio_encoder").get_weights()
    options = {"n_tracks": 4, "n_crops": 2, "n_steps": 1, "epochs": 1, "rng": np.random.default_rng(1)}
    history = identity_training.fit(encoder, arrays, of_track, known, **options)
    assert np.isfinite(history["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, encoder.get_layer("audio_encoder").get_weights(), strict=True))


def test_training_without_different_birds_raises_with_a_remedy():
    encoder = track_encoder.encoder(DIM, MAP, out_dim=8, has_sound=False)
    with pytest.raises(IdentityTrainingError, match="in one frame"):
        arrays = {"features": np.zeros((4, 12), np.float32), "map": no_map(4)}
        identity_training.fit(encoder, arrays, [0, 0, 1, 1], relations(together(2)), rng=np.random.default_rng(0))
