"""What the tests of analyses share."""

import analysed
import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with recordings in ``sounds``; analyses use the model of ``analysed``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    analysed.use(monkeypatch)
    analysed.tone("sounds/a.wav", "0110220")
    analysed.tone("sounds/b_20250501_060000.wav", "2000")
    return tmp_path
