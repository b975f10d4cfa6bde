import sys
import types

import pytest

from birdlib.models import downloads


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


@pytest.fixture
def kagglehub(monkeypatch):
    """A kagglehub that has yet to be told what it gives, on a machine from which Kaggle can be reached."""
    hub = types.ModuleType("kagglehub")
    hub.exceptions = types.ModuleType("kagglehub.exceptions")
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", hub.exceptions)
    monkeypatch.setattr(downloads, "_require_reachable", lambda url: None)
    return hub


def test_a_model_of_kaggle_is_copied_out_of_its_cache(tmp_path, kagglehub, new):
    (tmp_path / "google/tiny/1").mkdir(parents=True)
    (tmp_path / "google/tiny/1/saved_model.pb").write_bytes(b"graph")
    kagglehub.model_download = lambda handle: str(tmp_path / handle)
    downloads.from_kagglehub("google/tiny/1", new)
    assert (new / "saved_model.pb").read_bytes() == b"graph"


def test_the_error_of_kaggle_is_reported(kagglehub, new):
    class BackendError(Exception):
        pass

    def refuse(handle):
        raise BackendError("403 Forbidden")

    kagglehub.exceptions.BackendError = BackendError
    kagglehub.model_download = refuse
    with pytest.raises(downloads.DownloadError, match="403 Forbidden"):
        downloads.from_kagglehub("google/tiny/1", new)
