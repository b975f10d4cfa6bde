"""Saved models are opened where they hold layers of Keras and birdlib and their own weights, and refused before anything else is run."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from birdlib.models import saved

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}, "registered_name": None}


def weights(link=None, **options):
    """The bytes of an HDF5 file with one array, and something else."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5["layers/dense/0"] = np.ones(3, np.float32)
        if link:
            h5["layers/other"] = link
        if options:
            h5.create_dataset("layers/outside", (3,), "f4", **options)
    return file.getvalue()


def write(path, config=DENSE, content=None, compression=zipfile.ZIP_STORED, **others):
    members = {"metadata.json": b"{}", "config.json": json.dumps(config).encode(), "model.weights.h5": weights() if content is None else content}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**members, **others}.items():
            archive.writestr(name, data)
    return path


def refuses(path, reason):
    with pytest.raises(saved.SavedModelError, match=reason) as caught:
        saved.load(path)
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).endswith("use a model whose maker you trust")


@pytest.mark.parametrize(
    "described",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}}},
        {"class_name": "__lambda__", "config": {"code": "4wAA"}},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        {"module": "keras.utils", "class_name": "get_file", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/models/of/others"}},
        {"module": "keras_of_others", "class_name": "Dense", "config": {}},
        {"module": "birdlib.pipeline.execute", "class_name": "run", "config": {}, "registered_name": "run"},
        {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": "others>Dense"},
    ],
)
def test_what_runs_code_or_opens_files_is_refused_wherever_it_is(tmp_path, described, monkeypatch):
    import keras

    monkeypatch.setattr(keras.saving, "load_model", None)  # it is never asked
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [DENSE, {"wrapped": [described]}]}}
    refuses(write(tmp_path / "a.keras", config), "which is no layer of Keras or birdlib, runs code or opens files")


@pytest.mark.parametrize("options", [{"link": h5py.ExternalLink("/etc/passwd", "/")}, {"link": h5py.SoftLink("/elsewhere")}, {"external": [("/etc/passwd", 0, 12)]}])
def test_weights_in_other_files_are_refused(tmp_path, options):
    refuses(write(tmp_path / "a.keras", content=weights(**options)), "has weights in another file")


def test_other_members_and_huge_expansion_are_refused(tmp_path):
    refuses(write(tmp_path / "a.keras", **{"../../outside": b"x"}), "holds .*outside, not what Keras writes")
    refuses(write(tmp_path / "b.keras", content=bytes(10_000_000), compression=zipfile.ZIP_DEFLATED), "more than 100 times its size")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", None])
def test_damaged_and_missing_files_are_refused_with_the_remedy(tmp_path, content):
    if content is not None:
        (tmp_path / "a.keras").write_bytes(content)
    refuses(tmp_path / "a.keras", "cannot be opened")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(path, model) of a model with layers of Keras and of birdlib."""
    import keras

    from birdlib.models import layers

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.UnitVector()(keras.layers.Dense(3, activation="relu")(inputs)[:, :2]))
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path, model


def test_what_keras_saves_is_opened(whole):
    path, model = whole
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert np.array_equal(saved.load(path).predict(values, verbose=0), model.predict(values, verbose=0))


def test_truncated_and_changed_models_are_opened_or_refused(whole, tmp_path):
    content, path = whole[0].read_bytes(), tmp_path / "a.keras"
    rng, n_refused = np.random.default_rng(0), 0
    for number in range(40):
        damaged = bytearray(content[: rng.integers(len(content))] if number % 2 else content)
        for at in rng.integers(len(damaged), size=5):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            saved.load(path)
        except saved.SavedModelError:
            n_refused += 1
    assert n_refused >= 20  # all truncated ones
