"""What every module may use: platform, atomic file writes, digests, seeds, progress bars. Importing it has no side effects."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import random
import re
import secrets
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import birdlib

_REPORTED_PACKAGES = (
    "tensorflow jax keras torch silero-vad onnxruntime librosa soundfile soxr noisereduce scikit-learn numpy pandas".split()
)
MIN_FREE_BYTES = 65_536  # a disk with less is full
_HALF_WRITTEN = re.compile(r"\..+\.\d+(\.\w+)?")  # the temporary names of ``replacing``


class BirdlibError(Exception):
    """An error that the user can fix; the message says what is wrong, where, and what to do."""

    def _render_traceback_(self):
        """Lines that IPython shows in place of a traceback: the message names the file and the remedy."""
        return [str(self)]


class ParameterError(BirdlibError, ValueError):
    """A parameter of a notebook or command has a value that cannot be used."""


class FileError(BirdlibError):
    """A file that cannot be used; the message has its path and the reason."""

    def __init__(self, path, reason):
        super().__init__(path, reason)  # both in args, so that the error can be pickled
        self.path, self.reason = printable(path), reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


class FileWarning(UserWarning):
    """A file is used, but not as it stands; the message begins with its path."""


class FullDiskError(BirdlibError):
    """No space left: no reason to skip the file at hand."""


def printable(path):
    """A path as text that tables, JSON and terminals can hold: bytes of a name that are not UTF-8 are written as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def collect_warnings(path):
    """The ``FileWarning`` messages about a file, without its path: a list that is complete when the block has ended."""
    notes = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FileWarning)
        yield notes
    prefix = f"{printable(path)}: "
    notes += dict.fromkeys(str(warning.message).removeprefix(prefix) for warning in caught if issubclass(warning.category, FileWarning))


def platform():
    """``"kaggle"``, ``"colab"`` or ``"local"``."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "local"


@contextlib.contextmanager
def environment(values):
    """Set environment variables while the block runs, also for processes that are started in it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def repository():
    """The folder that holds ``birdlib/``, ``notebooks/`` and ``data/``."""
    return Path(birdlib.__file__).resolve().parent.parent


def cache_dir():
    """Folder of downloads and derived weights: ``BIRDLIB_CACHE``, else the user's cache folder; made when missing."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("BIRDLIB_CACHE") or Path(home) / "birdlib")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# Files


@contextlib.contextmanager
def replacing(path):
    """Write a file atomically: yields a temporary path with the same suffix, which is renamed to ``path`` if the block succeeds.

    Raises:
        FullDiskError: if the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{secrets.randbelow(10**9):09}{path.suffix}")  # processes of two machines may have one number
    try:
        with full_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_half_written(paths):
    """Remove those that a killed run left half-written, by their names."""
    for path in paths:
        if _HALF_WRITTEN.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_errors(path):
    """Turn "no space left" in the block into an error with the file and the remedy.

    Raises:
        FullDiskError: if the disk or the user's quota is full.
    """
    try:
        yield
    except (OSError, RuntimeError, AssertionError) as error:  # libsndfile and soundfile raise their own errors
        has_errno = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        folder = Path(path).parent
        if not has_errno and not (folder.is_dir() and shutil.disk_usage(folder).free < MIN_FREE_BYTES):
            raise
        raise FullDiskError(
            f"{path}: the disk is full; free some space and run again, or choose another outputs folder"
        ) from error


def write_json(value, path):
    """Write ``value`` as indented JSON, atomically. Bytes of paths that are not UTF-8 are written as escapes, which ``read_json`` reads as they were."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:
        content = json.dumps(value, indent=1).encode("ascii")
    with replacing(path) as temporary:
        temporary.write_bytes(content + b"\n")


def read_json(path):
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(table, path):
    """Write a DataFrame as ``.parquet`` or ``.csv`` (by the suffix), atomically."""
    with replacing(path) as temporary:
        if temporary.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def digest_file(path):
    """sha256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value):
    """sha256 of a JSON-able value, as hex; the order of dictionary keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def names(text):
    """The entries of a comma list such as ``"birdnet, yamnet"``, in its order, without blanks and repeats."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


# Randomness and progress


def set_seed(seed):
    """Seed Python, NumPy and, if imported, Keras; returns an ``np.random.Generator`` seeded with ``seed``."""
    random.seed(seed)
    np.random.seed(seed)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)
    return np.random.default_rng(seed)


def progress(iterable, total=None, desc=""):
    """Iterate with a progress bar: tqdm, or a small file for the runner when headless (``BIRDLIB_PROGRESS``)."""
    total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
    report = os.environ.get("BIRDLIB_PROGRESS")
    if not report:
        from tqdm import tqdm

        yield from tqdm(iterable, total=total, desc=desc, mininterval=0.5, dynamic_ncols=True)
        return

    def write(n):
        with contextlib.suppress(FullDiskError):  # of the temporary folder; no reason to stop
            write_json({"desc": desc, "n": n, "total": total}, report)

    n, last = 0, 0.0
    for n, item in enumerate(iterable, start=1):
        yield item
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            write(n)
    write(n)


# Processes and versions


def peak_mb():
    """Most memory that this program has held at once, in MB (1e6 bytes): on Linux without that of a program from which it was started."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) * 1024 / 1e6)
    if sys.platform == "win32":
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 1e6)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)  # bytes on macOS


def require_jobs(n_jobs):
    """Refuse a number of processes that joblib does not take.

    Raises:
        ParameterError: for 0.
    """
    if n_jobs == 0:
        raise ParameterError("n_jobs is 0: give a number of processes, or -1 for all cores")


def versions():
    """Installed versions of the packages that change results, for the receipt."""
    found = {"birdlib": birdlib.__version__}
    for package in _REPORTED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
