"""A tiny network, and what it is trained and validated on: windows of two birds."""

import keras
import numpy as np
from keras import layers as kl

from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
from birdlib.species import mel_training

RATE_HZ = 8000
NUMBERS = {"rate_hz": RATE_HZ, "window_s": 0.25}
OPTIONS = {"loss": "categorical_crossentropy", "epochs": 4, "patience": 4, "learning_rate": 0.02}


def model_of(seed=0, n_classes=2):
    """A tiny network with every kind of state: weights, moving averages, dropout."""
    keras.utils.set_random_seed(seed)
    sounds = keras.Input((2000,))
    x = kl.Conv1D(6, 64, strides=16, activation="relu")(kl.Reshape((2000, 1))(sounds))
    x = kl.Dropout(0.3)(kl.GlobalAveragePooling1D()(kl.BatchNormalization(momentum=0.9)(x)))
    return keras.Model(sounds, kl.Dense(n_classes, activation="softmax")(x))


def batches(aviary, seed=0, **options):
    folder, table, truth = aviary
    options = {"batch_size": 8, "n_steps": 4, "rng": np.random.default_rng(seed)} | NUMBERS | options
    return RandomWindows(table, folder, truth, **options)


def validation(aviary, rows=slice(None)):
    folder, table, truth = aviary
    table = table[rows].assign(row=range(len(table[rows])))
    return ConsecutiveWindows(table, folder, n_windows=2, **NUMBERS), truth[rows]


def fit(aviary, model, folder=None, fed=None, **options):
    return mel_training.fit(model, fed or batches(aviary), validation(aviary), folder=folder, **OPTIONS | options)
