"""Set-up of a notebook's kernel: local, on Colab, on Kaggle."""

import importlib.metadata
import importlib.util
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

from birdlib import devices, runtime

KAGGLE_INPUT = Path("/kaggle/input")  # where Kaggle mounts attached data sets
WHEELS = "birdlib-wheels.txt"  # lists the packages whose wheels are beside it
_SAME_MODULE = {  # other packages may provide the same module: opencv-python, onnxruntime-gpu, tensorflow-cpu
    "opencv-python-headless": "cv2",
    "onnxruntime": "onnxruntime",
    "tensorflow": "tensorflow",
}


def prepare(root):
    """Set up a notebook's kernel; the set-up cell calls this.

    The working folder becomes the repository (``/kaggle/working`` on Kaggle, where attached code is read-only). On Colab, missing
    packages are installed, on Kaggle those with attached wheels; installed packages are never replaced.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    devices.choose_backend()
    logging.getLogger("tensorflow").addFilter(_is_relevant)
    where = runtime.platform()
    if where == "colab":
        file = "requirements-jax.txt" if os.environ.get("KERAS_BACKEND") == "jax" else "requirements.txt"
        missing = missing_requirements(Path(root) / file)
        if missing:
            install(missing)
    if where == "kaggle":
        _install_attached()
    _show_labels_as_text()
    if log := os.environ.get("BIRDLIB_LOG"):
        _log_to(log)
    os.chdir("/kaggle/working" if where == "kaggle" else root)


def _show_labels_as_text():
    """Tables show ``$5 and $6`` in labels, where Jupyter would set mathematics."""
    import pandas as pd

    pd.set_option("display.html.use_mathjax", False)


def _log_to(path):
    """Log lines of birdlib, such as those of skipped files, go to the log beside the executed notebook, not into it: there may be thousands."""
    logger = logging.getLogger("birdlib")
    if not logger.handlers:
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _is_relevant(record):
    """False for notes and for retracing warnings, which several models in one kernel cause."""
    return record.levelno >= logging.WARNING and "retracing" not in str(record.msg)


def attached(name):
    """The outermost folder attached on Kaggle that contains a file ``name``.

    Raises:
        BirdlibError: if there is none.
    """
    folder = _attached(name)
    if folder is None:
        raise runtime.BirdlibError(f"nothing in {KAGGLE_INPUT} contains {name}: attach what `python -m birdlib package` makes, and the competition")
    return folder


def _attached(name):
    for depth in range(1, 5):  # no deeper: data sets are large
        for found in sorted(KAGGLE_INPUT.glob("*/" * depth + name)):
            return found.parent
    return None


def _install_attached():
    """Install missing packages from attached wheels, without a network. Failures are warnings: they only cost speed."""
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
        BirdlibError: with the packages and the end of pip's output.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise runtime.BirdlibError(f"pip could not install {', '.join(requirements)}:\n{output}")


def missing_requirements(requirements):
    """Lines of a requirements file whose package is not installed in any version.

    Colab and Kaggle have their own TensorFlow, torch and OpenCV, which must not be replaced, nor joined by a second package of
    the same module (opencv-python and opencv-python-headless, say).
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
