"""DenseNet121 and EfficientNetB0 from files of the layout and the name of Keras' own, with random weights: the real ones are in no package."""

import dataclasses
import hashlib
import re

import keras_files
import made_weights
import numpy as np
import pytest
from models import run

from birdlib import runtime
from birdlib.individuals import backbones
from birdlib.models import catalogue, densenet121, efficientnetb0, weights

FILES = {
    "densenet121": "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "efficientnetb0": "efficientnetb0_notop.h5",
}
IMAGE = 255 * np.random.default_rng(3).random((1, 64, 64, 3), dtype=np.float32)


def network(name, **options):
    import keras

    build = {"densenet121": keras.applications.DenseNet121, "efficientnetb0": keras.applications.EfficientNetB0}[name]
    return build(**{"weights": None, "include_top": False, "input_shape": (64, 64, 3)} | options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of both files."""
    folder = tmp_path_factory.mktemp("made")
    for name, file in FILES.items():
        model = network(name)
        keras_files.randomise(model)
        statistics = {"mean": [0.485, 0.456, 0.406], "variance": [0.229, 0.224, 0.225]} if name == "efficientnetb0" else {}
        keras_files.write(model, folder / file, **statistics)
    return folder


def settle(folder, tmp_path, monkeypatch):
    """A machine without weights, whose catalogue expects the files of a folder, which is its network as well."""
    made_weights.settle(tmp_path, monkeypatch)
    models = {}
    for name, file in FILES.items():
        md5 = hashlib.md5((folder / file).read_bytes()).hexdigest()
        models[name] = dataclasses.replace(catalogue.MODELS[name], official=(file, (folder / file).as_uri(), md5))
    monkeypatch.setattr(weights, "MODELS", models)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The folder of two files that are not opened."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, file in FILES.items():
        (folder / file).write_bytes(name.encode())
    settle(folder, tmp_path, monkeypatch)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_the_catalogue_knows_the_file_that_keras_downloads(name, monkeypatch):
    """Name, address and checksum are those that ``keras.applications`` itself asks for."""
    from keras.src.applications import densenet, efficientnet

    asked = []

    def get_file(file, url, file_hash=None, **_):
        asked.append((file, url, file_hash))
        raise OSError("no network")

    for module in (densenet, efficientnet):
        monkeypatch.setattr(module.file_utils, "get_file", get_file)
    with pytest.raises(OSError, match="no network"):
        network(name, weights="imagenet")
    assert asked == [catalogue.MODELS[name].official] and asked[0][0] == FILES[name]


@pytest.mark.parametrize("name", [*FILES, "resnet50", "vgg16"])
def test_the_file_to_bring_by_hand_and_its_address_are_documented(name):
    file, url, _ = catalogue.MODELS[name].official
    rows = re.findall(r"^\| .+ \| `(.+?)` \(.+ MB\) \| `(.+?)` \|$", (runtime.repository() / "data" / "README.md").read_text(), re.MULTILINE)
    assert (file, url.removesuffix(file)) in rows


@pytest.mark.parametrize("name", FILES)
def test_weights_come_from_a_folder_a_mount_the_cache_of_keras_and_the_official_address(name, site, tmp_path):
    """Each better source, once it is there, is preferred."""
    file, content = FILES[name], name.encode()
    assert weights.find(name) is None
    found = weights.fetch(name)
    assert found.source == f"official {(site / file).as_uri()}" and found.format == "h5"
    (tmp_path / "cache" / "weights" / name / "origin.json").unlink()
    for folder, source in (
        (tmp_path / "keras" / "models", "Keras' cache {}"),
        (tmp_path / "kaggle" / "keras-pretrained-models", "Kaggle mount {}"),
        (tmp_path / "mine", "folder {}"),
    ):
        folder.mkdir(parents=True)
        (folder / file).write_bytes(content)
        found = weights.fetch(name, tmp_path / "mine")
        assert found.source == source.format(folder) and found.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_another_file_of_that_name_is_refused_and_in_a_cache_it_is_missing(name, site, tmp_path):
    mine, cache = tmp_path / "mine", tmp_path / "keras" / "models"
    for folder in (mine, cache):
        folder.mkdir(parents=True)
        (folder / FILES[name]).write_bytes(b"another network")
    with pytest.raises(weights.WeightsError, match=f"{FILES[name]} is not the file expected: its md5"):
        weights.fetch(name, mine)
    assert weights.find(name) is None


@pytest.mark.parametrize("name", FILES)
def test_the_remedy_names_the_file_its_address_and_a_folder(name, site):
    with pytest.raises(weights.MissingWeightsError) as raised:
        weights.fetch(name, allow_network=False)
    for words in (FILES[name], weights.MODELS[name].official[1], "BIRDLIB_WEIGHTS=FOLDER", "on Kaggle, attach", "weights --fetch"):
        assert words in str(raised.value)


@pytest.mark.slow
def test_densenet_from_its_file_equals_keras_own(made, tmp_path, monkeypatch):
    settle(made, tmp_path, monkeypatch)
    expected = network("densenet121", pooling="avg")
    expected.load_weights(made / FILES["densenet121"])
    loaded = densenet121.load(weights.fetch("densenet121"))
    assert loaded.input_shape == (None, 224, 224, 3) and loaded.output_shape == (None, densenet121.FEATURES)
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), expected.get_weights(), strict=True))


@pytest.mark.slow
def test_efficientnet_from_its_file_equals_keras_own(made, tmp_path, monkeypatch):
    """Keras divides once more by the root of the deviations where it downloads the file itself."""
    settle(made, tmp_path, monkeypatch)
    from keras.src.applications import efficientnet

    path = made / FILES["efficientnetb0"]
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
    expected = run(network("efficientnetb0", weights="imagenet"), IMAGE)
    found = network("efficientnetb0")
    found.load_weights(path)
    assert not np.allclose(run(found, IMAGE), expected, rtol=1e-2)
    efficientnetb0.load_weights(found, path)
    assert np.allclose(run(found, IMAGE), expected, rtol=1e-4, atol=1e-4)
    loaded = efficientnetb0.load(weights.fetch("efficientnetb0"))
    assert loaded.input_shape == (None, 224, 224, 3) and loaded.output_shape == (None, efficientnetb0.FEATURES)
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), found.get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_backbone_takes_its_weights_from_the_folder_it_is_given(name, made, tmp_path, monkeypatch):
    """As ``weights_dir`` of notebook 09."""
    settle(made, tmp_path, monkeypatch)
    backbone = backbones.load(name, made)
    assert backbone.weights == {name: weights.find(name, made).receipt()} and f"folder {made}" in backbone.weights[name]["source"]
    assert backbone.key != backbones.load(name, is_trained=False).key
    expected = {"densenet121": densenet121, "efficientnetb0": efficientnetb0}[name].load(weights.find(name, made)).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(backbone.network.get_weights(), expected, strict=True))
