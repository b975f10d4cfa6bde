"""Set-up of a notebook's kernel."""

import made_wheels
import pytest

from birdlib import notebook_setup, runtime


def test_installed_packages_of_any_version_are_not_missing(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=99  # too new, but installed\nno-such-bird-package>=1  # gone\n\n")
    assert notebook_setup.missing_requirements(requirements) == ["no-such-bird-package>=1"]


def test_markers_and_spellings_of_package_names(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        'no-such-bird-package>=1; python_version < "3"  # not for this Python\n'
        'no.such-bird[song]>=1; python_version >= "3"\n  # indented comment\nscikit_learn\nSciKit-Learn>=1\n'
    )
    assert notebook_setup.missing_requirements(requirements) == ['no.such-bird[song]>=1; python_version >= "3"']


def test_a_module_of_another_package_is_not_missing(tmp_path, monkeypatch):
    """Colab and Kaggle have opencv-python: the headless one beside it would break both."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("opencv-python-headless>=4.8\n")
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(notebook_setup.importlib.metadata, "version", refuse)
    assert notebook_setup.missing_requirements(requirements) == []


def refuse(package):
    raise notebook_setup.importlib.metadata.PackageNotFoundError(package)


def test_own_requirements_are_installed():
    assert notebook_setup.missing_requirements(runtime.repository() / "requirements.txt") == []


def test_install_errors_name_the_package(monkeypatch):
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


def test_missing_packages_are_installed_from_wheels_attached_on_kaggle(kaggle, monkeypatch, tmp_path):
    """Without a network; installed packages (numpy) are not replaced."""
    folder = kaggle / "birdlib-wheels"
    folder.mkdir(parents=True)
    made_wheels.put_wheel(folder, "no-such-bird")
    (folder / "birdlib-wheels.txt").write_text("# for Python 3.11\nno-such-bird>=2\nnumpy>=99\n")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    notebook_setup.prepare(runtime.repository())
    assert (tmp_path / "site" / "no_such_bird.py").is_file() and not (tmp_path / "site" / "numpy").exists()


def test_unusable_wheels_on_kaggle_are_a_warning(kaggle, monkeypatch, tmp_path):
    """A submission is also possible where LiteRT cannot be installed."""
    folder = kaggle / "datasets" / "somebody" / "birdlib-wheels"
    folder.mkdir(parents=True)
    (folder / "birdlib-wheels.txt").write_text("no-such-bird>=2\n")
    with pytest.warns(UserWarning, match="could not install no-such-bird>=2"):
        notebook_setup.prepare(runtime.repository())


def test_tables_show_dollars_as_they_are(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    notebook_setup.prepare(tmp_path)
    assert "tex2jax_ignore" in pd.DataFrame({"species": ["Pay $5 and $6"]}).to_html()
