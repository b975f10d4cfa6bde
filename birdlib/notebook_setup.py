"""A notebook's kernel, made ready wherever the notebook was opened: here, on Colab, on Kaggle."""

import importlib.metadata
import importlib.util
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

from birdlib import runtime

KAGGLE_INPUT = Path("/kaggle/input")  # where Kaggle mounts what is attached to a notebook
WHEELS = "birdlib-wheels.txt"  # names the packages whose wheels lie beside it
_SAME_MODULE = {  # packages whose module another package may have brought: opencv-python, onnxruntime-gpu, tensorflow-cpu
    "opencv-python-headless": "cv2",
    "onnxruntime": "onnxruntime",
    "tensorflow": "tensorflow",
}


def prepare(root):
    """Make a notebook's kernel ready, wherever it was opened: the set-up cell calls this.

    Relative paths in parameters then mean the repository (``/kaggle/working`` on Kaggle, where the attached code cannot be
    written to). On Colab, packages that are missing are installed, on Kaggle those whose wheels are attached; nothing that is
    there is replaced.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").addFilter(_is_worth_telling)
    where = runtime.platform()
    if where == "colab":
        missing = missing_requirements(Path(root) / "requirements.txt")
        if missing:
            install(missing)
    if where == "kaggle":
        _install_attached()
    os.chdir("/kaggle/working" if where == "kaggle" else root)


def _is_worth_telling(record):
    """Notes are not; nor that several models are traced one after the other, which is as it should be."""
    return record.levelno >= logging.WARNING and "retracing" not in str(record.msg)


def attached(name):
    """The outermost folder attached on Kaggle that holds a file called ``name``.

    Raises:
        BirdlibError: none does.
    """
    folder = _attached(name)
    if folder is None:
        raise runtime.BirdlibError(f"nothing in {KAGGLE_INPUT} holds {name}: attach what `python -m birdlib package` makes, and the competition")
    return folder


def _attached(name):
    for depth in range(1, 5):  # no deeper: data sets are large
        for found in sorted(KAGGLE_INPUT.glob("*/" * depth + name)):
            return found.parent
    return None


def _install_attached():
    """Without a network: what is missing here and lies among the attached wheels. A notebook may do without, more slowly."""
    folder = _attached(WHEELS)
    missing = missing_requirements(folder / WHEELS) if folder else []
    if missing:
        try:
            install(missing, "--no-index", "--no-deps", f"--find-links={folder}")
        except runtime.BirdlibError as error:
            warnings.warn(str(error), stacklevel=3)


def install(requirements, *options):
    """Install packages with pip.

    Args:
        requirements: as in a requirements file.
        options: of ``pip install``.

    Raises:
        BirdlibError: it names the packages and gives pip's last words.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        told = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise runtime.BirdlibError(f"pip could not install {', '.join(requirements)}:\n{told}")


def missing_requirements(requirements):
    """Lines of a requirements file whose package is not installed at all; what is there stays as it is.

    Colab and Kaggle come with their own TensorFlow, torch and OpenCV, which must not be replaced, nor joined by a second
    package of the same module (opencv-python and opencv-python-headless, say).
    """
    from packaging.requirements import Requirement

    missing = []
    for line in Path(requirements).read_text(encoding="utf-8").splitlines():
        if line := re.split(r"(^|\s)#", line)[0].strip():
            wanted = Requirement(line)
            if (wanted.marker is None or wanted.marker.evaluate()) and not _is_installed(wanted.name):
                missing.append(line)
    return missing


def _is_installed(package):
    module = _SAME_MODULE.get(package)
    if module and importlib.util.find_spec(module):
        return True
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False
