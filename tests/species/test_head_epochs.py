"""Facts about the epochs of a head."""

import numpy as np
import pytest

from birdlib import runtime
from birdlib.species import head_epochs


def test_an_epoch_shows_every_row_once_and_mixes_it_with_another_species():
    """Row i has the feature i and its own species: the labels of a mixture say what it is made of."""
    n = 10
    made = head_epochs.batches(np.arange(n, dtype=np.float32)[:, None], np.eye(n), np.ones(n), 4, 0.4, np.random.default_rng(0))
    features, truth, weight = (np.concatenate(parts) for parts in zip(*(made[step] for step in range(len(made))), strict=True))
    assert len(made) == 3 and sorted(made.order) == list(range(n)) and weight.tolist() == [1.0] * n
    assert np.allclose(truth.sum(axis=1), 1.0) and np.allclose(truth @ np.arange(n), features[:, 0], atol=1e-4)
    assert ((truth > 0).sum(axis=1) == 2).any()


def test_the_next_epoch_is_another_and_an_epoch_can_be_had_again():
    make = lambda: head_epochs.batches(np.ones((8, 2)), np.eye(8), np.ones(8), 8, 0.4, np.random.default_rng(3))  # noqa: E731
    first, second = make(), make()
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
    second.on_epoch_end()
    assert not np.array_equal(first[0][1], second[0][1])


def test_a_network_that_gives_no_numbers_is_told_with_its_epoch():
    watching = head_epochs.watcher(np.zeros((2, 3)), np.eye(2))
    watching.set_model(lambda features, training: np.array([[0.5, np.nan], [0.5, 0.5]]))
    with pytest.raises(runtime.BirdlibError, match="epoch 3"):
        watching.on_epoch_end(2, {})
