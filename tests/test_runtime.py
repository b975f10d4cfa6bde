"""Facts about files, digests and progress."""

import errno
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), runtime.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_and_the_remedy(tmp_path):
    with (
        pytest.raises(runtime.FullDiskError, match=r"table\.csv.*disk is full"),
        runtime.replacing(tmp_path / "table.csv"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [RuntimeError("System error."), AssertionError()])
def test_libraries_that_do_not_say_so_are_asked_whether_the_disk_is_full(tmp_path, monkeypatch, error):
    """libsndfile says "System error."; on a disk with room it is another fault, and stays as it is."""
    with pytest.raises(type(error)), runtime.replacing(tmp_path / "song.flac"):
        raise error
    monkeypatch.setattr(runtime, "LITTLE_BYTES", 2**80)
    with pytest.raises(runtime.FullDiskError, match="song.flac"), runtime.replacing(tmp_path / "song.flac"):
        raise error


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_tables_come_back_as_they_were_written(tmp_path, name):
    table = pd.DataFrame({"species": ["1139490", "amerob"], "n": [1, 2]})
    runtime.write_table(table, tmp_path / name)
    read = pd.read_parquet if name.endswith("parquet") else lambda path: pd.read_csv(path, dtype={"species": str})
    pd.testing.assert_frame_equal(read(tmp_path / name), table, check_dtype=False)


def test_digest_does_not_depend_on_the_order_of_keys():
    assert runtime.digest({"a": 1, "b": [2.5, "x"]}) == runtime.digest({"b": [2.5, "x"], "a": 1})
    assert runtime.digest({"a": 1}) != runtime.digest({"a": 2})


def test_the_same_seed_gives_the_same_numbers():
    assert np.array_equal(runtime.set_seed(7).random(5), runtime.set_seed(7).random(5))


def test_headless_progress_yields_everything_and_tells_the_runner(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_PROGRESS", str(tmp_path / "progress.json"))
    assert list(runtime.progress(iter("abc"), total=3, desc="birds")) == ["a", "b", "c"]
    told = json.loads((tmp_path / "progress.json").read_text())
    assert told == {"desc": "birds", "n": 3, "total": 3}


def test_only_packages_that_are_not_there_count_as_missing(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=99  # far too new, but there\nno-such-bird-package>=1  # gone\n\n")
    assert runtime.missing_requirements(requirements) == ["no-such-bird-package>=1"]


def test_markers_and_other_spellings_of_a_package_are_understood(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        'no-such-bird-package>=1; python_version < "3"  # not for this Python\n'
        'no.such-bird[song]>=1; python_version >= "3"\n  # indented comment\nscikit_learn\nSciKit-Learn>=1\n'
    )
    assert runtime.missing_requirements(requirements) == ['no.such-bird[song]>=1; python_version >= "3"']


def test_a_module_that_another_package_brought_is_not_missing(tmp_path, monkeypatch):
    """Colab and Kaggle come with opencv-python: the headless one beside it would break both."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("opencv-python-headless>=4.8\n")
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runtime.importlib.metadata, "version", refuse)
    assert runtime.missing_requirements(requirements) == []


def refuse(package):
    raise runtime.importlib.metadata.PackageNotFoundError(package)


def test_the_project_s_own_requirements_are_all_installed():
    assert runtime.missing_requirements(runtime.repository() / "requirements.txt") == []


def test_what_pip_cannot_install_is_named(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        runtime.BirdlibError, match="could not install no-such-bird-package(.|\n)*No matching distribution"
    ):
        runtime.install(["no-such-bird-package"])


def test_importing_birdlib_is_cheap():
    """No room may pull in TensorFlow, Keras or torch before a function needs it."""
    modules = " ".join(f"birdlib.{path.stem}" for path in (runtime.repository() / "birdlib").glob("[!_]*.py"))
    code = f"import sys, importlib\nfor m in '{modules}'.split(): importlib.import_module(m)\n"
    code += "heavy = {'tensorflow', 'keras', 'torch', 'librosa', 'cv2', 'matplotlib', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_space_is_reserved_and_the_file_stays_as_it_was(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(300, 1000))
    runtime.reserve(tmp_path / "a.npy")
    array[:] = 1.0
    array.flush()
    assert np.load(tmp_path / "a.npy").sum() == 300_000
