"""Facts about detectors: a mel model for each species, which says whether it is there."""

import numpy as np
import pytest
from sounds import two_birds

from birdlib.audio import windowing
from birdlib.audio.batches import ConsecutiveWindows, RandomWindows
from birdlib.metrics import classification
from birdlib.species import mel_models, mel_training


@pytest.mark.slow
def test_a_detector_finds_its_own_bird(tmp_path):
    """One for each species, half of what they hear being theirs."""
    import keras

    folder, table, truth = two_birds(tmp_path, 8000)

    def build():
        keras.utils.set_random_seed(0)
        return mel_models.build(1, mode="multi", window_s=0.25)[0]

    numbers = {"rate_hz": mel_models.SAMPLE_RATE_HZ, "window_s": 0.25}

    def batches_of(column):
        own, shares = windowing.one_against_rest(truth, column)
        return RandomWindows(table, folder, own, shares=shares, batch_size=8, n_steps=8, rng=np.random.default_rng(0), **numbers)

    windows = ConsecutiveWindows(table, folder, n_windows=1, **numbers)
    options = {"loss": "binary_crossentropy", "epochs": 5, "learning_rate": 0.01, "folder": tmp_path / "checkpoints"}
    detector, history = mel_training.fit_detectors([1, 0], build, batches_of, (windows, truth), **options)
    scores = mel_training.predict(detector, windows, len(truth))
    assert classification.macro_roc_auc(truth[:, [1, 0]], scores) > 0.9
    assert history.groupby("column").size().to_dict() == {0: 5, 1: 5}
    assert (tmp_path / "checkpoints" / "species_1" / mel_training.CHECKPOINT).is_file()
