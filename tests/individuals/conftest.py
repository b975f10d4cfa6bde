import pandas as pd
import pytest

from birdlib.individuals import training


@pytest.fixture
def untrained(monkeypatch):
    """Replaces training: the arguments of each call."""
    given = []

    def fit(encoder, arrays, of_track, known, *, held_out, **_):
        given.append((known, held_out))
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(training, "fit", fit)
    return given
