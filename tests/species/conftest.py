"""What the tests of training on windows share."""

import pytest
from made_mel_training import RATE_HZ, fit, model_of
from sounds import two_birds


@pytest.fixture(scope="session")
def aviary(tmp_path_factory):
    """Recordings of two birds: (folder, table, truth)."""
    return two_birds(tmp_path_factory.mktemp("audio"), RATE_HZ)


@pytest.fixture(scope="session")
def whole(aviary, tmp_path_factory):
    """A training that was not interrupted: (model, history, folder)."""
    model, folder = model_of(), tmp_path_factory.mktemp("whole")
    return model, fit(aviary, model, folder), folder
