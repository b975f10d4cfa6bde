"""Files, digests, seeds and progress."""

import errno
import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from birdlib import resume, runtime
from birdlib.data import duplicates


def test_a_failed_write_leaves_the_old_file_only(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), runtime.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_error_names_the_file(tmp_path):
    with (
        pytest.raises(runtime.FullDiskError, match=r"table\.csv.*disk is full"),
        runtime.replacing(tmp_path / "table.csv"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [RuntimeError("System error."), AssertionError()])
def test_full_disks_are_recognised_behind_other_errors(tmp_path, monkeypatch, error):
    """libsndfile raises "System error."; with free space the error is unchanged."""
    with pytest.raises(type(error)), runtime.replacing(tmp_path / "song.flac"):
        raise error
    monkeypatch.setattr(runtime, "MIN_FREE_BYTES", 2**80)
    with pytest.raises(runtime.FullDiskError, match="song.flac"), runtime.replacing(tmp_path / "song.flac"):
        raise error


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_tables_are_read_as_written(tmp_path, name):
    table = pd.DataFrame({"species": ["1139490", "amerob"], "n": [1, 2]})
    runtime.write_table(table, tmp_path / name)
    read = pd.read_parquet if name.endswith("parquet") else lambda path: pd.read_csv(path, dtype={"species": str})
    pd.testing.assert_frame_equal(read(tmp_path / name), table, check_dtype=False)


def test_json_and_digests_take_names_that_are_not_utf8(tmp_path):
    for name in ("st\udce9/Grünspecht.wav", "Grünspecht.wav"):
        runtime.write_json({"folder": name}, tmp_path / "a.json")
        assert runtime.read_json(tmp_path / "a.json") == {"folder": name} and runtime.digest(name) == runtime.digest(str(name))
    assert "Grünspecht" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_digests_ignore_the_order_of_keys():
    assert runtime.digest({"a": 1, "b": [2.5, "x"]}) == runtime.digest({"b": [2.5, "x"], "a": 1})
    assert runtime.digest({"a": 1}) != runtime.digest({"a": 2})


def test_equal_seeds_give_equal_numbers():
    assert np.array_equal(runtime.set_seed(7).random(5), runtime.set_seed(7).random(5))


def test_headless_progress_yields_everything_and_writes_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_PROGRESS", str(tmp_path / "progress.json"))
    assert list(runtime.progress(iter("abc"), total=3, desc="birds")) == ["a", "b", "c"]
    written = json.loads((tmp_path / "progress.json").read_text())
    assert written == {"desc": "birds", "n": 3, "total": 3}


KERAS_MODULES = {  # hold layers, losses and data sets of Keras or PyTorch, and are imported by the functions that build models
    "birdlib.individuals.training",
    "birdlib.individuals.track_encoder",
    "birdlib.multimodal.encoders",
    "birdlib.multimodal.fused_encoders",
    "birdlib.multimodal.match_training",
    "birdlib.multimodal.scene_encoders",
    "birdlib.multimodal.triplet_batches",
    "birdlib.multimodal.triplet_training",
    "birdlib.losses.base",
    "birdlib.losses.classification",
    "birdlib.losses.matching",
    "birdlib.losses.metric_learning",
    "birdlib.models.fbanks",
    "birdlib.read_ahead",
    "birdlib.pipeline.train_benchmark_torch_pairs",
    "birdlib.pipeline.train_benchmark_torch_sound",
    "birdlib.models.layers",
    "birdlib.models.mae",
    "birdlib.models.mae_checkpoints",
    "birdlib.models.mae_heads",
    "birdlib.models.mae_layers",
    "birdlib.models.probe_layers",
    "birdlib.species.mae_pretraining",
    "birdlib.species.mel_training",
    "birdlib.losses.distillation",
    "birdlib.species.mel_heads",
    "birdlib.species.mel_models",
    "birdlib.species.objective",
    "birdlib.species.fit_heads",
    "birdlib.audio.batches",
    "birdlib.audio.spec_augment",
    "birdlib.models.zero_shot_layers",
}


def test_importing_birdlib_is_cheap():
    """No module imports TensorFlow, Keras or torch before a function needs it, but those that hold nothing but Keras classes."""
    root = runtime.repository()
    names = {".".join(path.relative_to(root).with_suffix("").parts) for path in (root / "birdlib").rglob("[!_]*.py")}
    modules = " ".join(sorted(names - KERAS_MODULES))
    code = f"import sys, importlib\nfor m in '{modules}'.split(): importlib.import_module(m)\n"
    code += "heavy = {'tensorflow', 'keras', 'torch', 'librosa', 'cv2', 'matplotlib', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_a_comma_list():
    assert runtime.names(" birdnet,yamnet,, birdnet ") == ["birdnet", "yamnet"] and runtime.names("") == []


def test_a_name_that_is_not_utf8_is_escaped_in_messages():
    assert runtime.printable("b\udcffd/Grünspecht.wav") == "b\\xffd/Grünspecht.wav"
    assert str(runtime.FileError("b\udcffd.wav", "is empty")).encode() == b"b\\xffd.wav: is empty"


def test_warnings_about_a_file_are_collected_once_and_without_its_path():
    with warnings.catch_warnings(record=True), runtime.collect_warnings("a.wav") as notes:
        warnings.warn("a.wav: one", runtime.FileWarning, stacklevel=1)
        warnings.warn("a.wav: one", runtime.FileWarning, stacklevel=1)
        warnings.warn("other", UserWarning, stacklevel=1)
    assert notes == ["one"]


def test_no_processes_at_all_are_refused(tmp_path):
    for run in (lambda: resume.map_resumable(print, {}, tmp_path / "journal", n_jobs=0), lambda: duplicates.fingerprints([], n_jobs=0)):
        with pytest.raises(runtime.ParameterError, match="n_jobs is 0: give a number of processes"):
            run()
