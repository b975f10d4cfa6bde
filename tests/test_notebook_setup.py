"""Facts about what a notebook's kernel needs."""

import made_wheels
import pytest

from birdlib import notebook_setup, runtime


def test_only_packages_that_are_not_there_count_as_missing(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=99  # far too new, but there\nno-such-bird-package>=1  # gone\n\n")
    assert notebook_setup.missing_requirements(requirements) == ["no-such-bird-package>=1"]


def test_markers_and_other_spellings_of_a_package_are_understood(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        'no-such-bird-package>=1; python_version < "3"  # not for this Python\n'
        'no.such-bird[song]>=1; python_version >= "3"\n  # indented comment\nscikit_learn\nSciKit-Learn>=1\n'
    )
    assert notebook_setup.missing_requirements(requirements) == ['no.such-bird[song]>=1; python_version >= "3"']


def test_a_module_that_another_package_brought_is_not_missing(tmp_path, monkeypatch):
    """Colab and Kaggle come with opencv-python: the headless one beside it would break both."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("opencv-python-headless>=4.8\n")
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(notebook_setup.importlib.metadata, "version", refuse)
    assert notebook_setup.missing_requirements(requirements) == []


def refuse(package):
    raise notebook_setup.importlib.metadata.PackageNotFoundError(package)


def test_the_project_s_own_requirements_are_all_installed():
    assert notebook_setup.missing_requirements(runtime.repository() / "requirements.txt") == []


def test_what_pip_cannot_install_is_named(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        runtime.BirdlibError, match="could not install no-such-bird-package(.|\n)*No matching distribution"
    ):
        notebook_setup.install(["no-such-bird-package"])


# On Kaggle


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """The folder in which Kaggle mounts what is attached, on a machine without a network."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setattr(notebook_setup, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.setattr(notebook_setup.os, "chdir", lambda folder: None)
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    return tmp_path / "kaggle"


def test_on_kaggle_attached_wheels_of_what_is_missing_are_installed(kaggle, monkeypatch, tmp_path):
    """Without a network; what is there already (numpy) is not replaced."""
    folder = kaggle / "birdlib-wheels"
    folder.mkdir(parents=True)
    made_wheels.put_wheel(folder, "no-such-bird")
    (folder / "birdlib-wheels.txt").write_text("# for Python 3.11\nno-such-bird>=2\nnumpy>=99\n")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    notebook_setup.prepare(runtime.repository())
    assert (tmp_path / "site" / "no_such_bird.py").is_file() and not (tmp_path / "site" / "numpy").exists()


def test_on_kaggle_wheels_that_do_not_fit_are_only_warned_about(kaggle, monkeypatch, tmp_path):
    """A submission lands also where LiteRT cannot be installed."""
    folder = kaggle / "datasets" / "somebody" / "birdlib-wheels"
    folder.mkdir(parents=True)
    (folder / "birdlib-wheels.txt").write_text("no-such-bird>=2\n")
    with pytest.warns(UserWarning, match="could not install no-such-bird>=2"):
        notebook_setup.prepare(runtime.repository())
