"""Facts about what a notebook's kernel needs."""

import pytest

from birdlib import kernels, runtime


def test_only_packages_that_are_not_there_count_as_missing(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=99  # far too new, but there\nno-such-bird-package>=1  # gone\n\n")
    assert kernels.missing_requirements(requirements) == ["no-such-bird-package>=1"]


def test_markers_and_other_spellings_of_a_package_are_understood(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        'no-such-bird-package>=1; python_version < "3"  # not for this Python\n'
        'no.such-bird[song]>=1; python_version >= "3"\n  # indented comment\nscikit_learn\nSciKit-Learn>=1\n'
    )
    assert kernels.missing_requirements(requirements) == ['no.such-bird[song]>=1; python_version >= "3"']


def test_a_module_that_another_package_brought_is_not_missing(tmp_path, monkeypatch):
    """Colab and Kaggle come with opencv-python: the headless one beside it would break both."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("opencv-python-headless>=4.8\n")
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kernels.importlib.metadata, "version", refuse)
    assert kernels.missing_requirements(requirements) == []


def refuse(package):
    raise kernels.importlib.metadata.PackageNotFoundError(package)


def test_the_project_s_own_requirements_are_all_installed():
    assert kernels.missing_requirements(runtime.repository() / "requirements.txt") == []


def test_what_pip_cannot_install_is_named(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        runtime.BirdlibError, match="could not install no-such-bird-package(.|\n)*No matching distribution"
    ):
        kernels.install(["no-such-bird-package"])
