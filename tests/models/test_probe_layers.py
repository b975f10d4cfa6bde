import keras
import numpy as np
import pytest

from birdlib.models import probe_layers

RNG = np.random.default_rng(0)


def test_a_part_is_of_unit_length_whatever_the_level_of_the_others():
    features = RNG.random((5, 8)).astype(np.float32)
    layer = probe_layers.BlockFeatures([(2, 6)])
    found = np.asarray(layer(features))
    assert found.shape == (5, 4) and np.linalg.norm(found, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    louder = features * np.array([9, 9, 1, 1, 1, 1, 9, 9], np.float32)
    assert np.asarray(layer(louder)) == pytest.approx(found) and np.asarray(layer(3 * features)) == pytest.approx(found, abs=1e-6)


def test_neighbours_vote_by_their_cosine():
    """Cosines 1, 0.6 and -1 to three examples: of two neighbours, softmax of (1, 0.6) / 0.5."""
    vote = probe_layers.NearestNeighbours(3, 2, k=2, temperature=0.5)
    vote.build((None, 2))
    vote.set_weights([np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32), np.array([[1, 0], [0, 1], [1, 1]], np.float32)])
    share = np.exp(2.0) / (np.exp(2.0) + np.exp(1.2))
    assert np.asarray(vote(np.array([[1, 0]], np.float32)))[0] == pytest.approx([share, 1 - share])


def test_there_are_no_more_neighbours_than_examples():
    assert probe_layers.NearestNeighbours(3, 2, k=20).k == 3


def test_a_saved_probe_predicts_the_same(tmp_path):
    given = keras.Input((8,))
    vote = probe_layers.NearestNeighbours(4, 3, k=2)
    model = keras.Model(given, vote(probe_layers.BlockFeatures([(0, 3), (5, 8)])(given)))
    vote.set_weights([RNG.random((4, 6)), np.eye(4, 3)])
    model.save(tmp_path / "probe.keras")
    features = RNG.random((5, 8)).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "probe.keras", compile=False)
    assert again.predict(features, verbose=0) == pytest.approx(model.predict(features, verbose=0))
