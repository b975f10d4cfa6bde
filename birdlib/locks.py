"""Folders that have one writer at a time."""

import contextlib
import warnings
from pathlib import Path

from birdlib import runtime


class HeldError(runtime.BirdlibError):
    """A folder that another process writes into, or that nobody can."""


@contextlib.contextmanager
def hold(folder, remedy=""):
    """Hold a folder while the block runs; it is free again when this process ends, however it ends.

    Args:
        folder: made when missing.
        remedy: what to do, other than to wait, where another process holds it: it is then refused. ``""`` waits for the other's end.

    Raises:
        HeldError: if another holds it and there is a remedy, or if it cannot be written into.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise HeldError(f"{folder} cannot be written into: {error.strerror}") from error
    with file:
        _take(file, folder, remedy)
        yield


def _take(file, folder, remedy):
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if remedy else 0))
    except BlockingIOError as error:
        raise HeldError(f"another run writes into {folder}: wait for its end, or {remedy}") from error
    except OSError:  # some network drives have no locks
        warnings.warn(f"{folder} cannot be locked: let no second run write into it", stacklevel=4)
