"""Batches prepared on another thread are those of the data set, in its order, in every epoch."""

import threading

import keras
import numpy as np
import pytest

from birdlib import read_ahead


class Numbers(keras.utils.PyDataset):
    """Batch i of epoch e is [e, i]; ``prepared`` lists them in the order in which they were made, with their threads."""

    def __init__(self, n=5, fails_at=None):
        super().__init__()
        self.n, self.fails_at, self.epoch, self.prepared = n, fails_at, 0, []

    def __len__(self):
        return self.n

    def __getitem__(self, step):
        if step == self.fails_at:
            raise ValueError("cannot be read")
        self.prepared.append((self.epoch, step, threading.current_thread()))
        return np.array([self.epoch, step])

    def on_epoch_end(self):
        self.epoch += 1


def test_each_batch_is_made_once_and_in_order_on_another_thread():
    numbers = Numbers()
    ahead = read_ahead.ReadAhead(numbers)
    for epoch in range(3):
        assert [ahead[step].tolist() for step in range(len(ahead))] == [[epoch, step] for step in range(5)]
        ahead.on_epoch_end()
    assert [made[:2] for made in numbers.prepared] == [(epoch, step) for epoch in range(3) for step in range(5)]
    assert threading.current_thread() not in {thread for *_, thread in numbers.prepared}


def test_a_batch_asked_for_before_training_resumes_does_not_stay():
    """Keras asks for batch 0 to build the model, before the epoch to resume at is set."""
    numbers = Numbers()
    ahead = read_ahead.ReadAhead(numbers)
    ahead[0]
    numbers.epoch = 7
    assert [ahead[step].tolist() for step in range(5)] == [[7, step] for step in range(5)]


def test_the_error_of_a_batch_is_raised_where_it_is_asked_for():
    ahead = read_ahead.ReadAhead(Numbers(fails_at=2))
    assert ahead[0].tolist() == [0, 0] and ahead[1].tolist() == [0, 1]
    with pytest.raises(ValueError, match="cannot be read"):
        ahead[2]


def test_other_backends_prefetch_by_themselves(monkeypatch):
    numbers = Numbers()
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert read_ahead.on_jax(numbers) is numbers
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert isinstance(read_ahead.on_jax(numbers), read_ahead.ReadAhead)
