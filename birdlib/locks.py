"""Locks: a folder has one writer at a time. Nobody needs a lock to read.

A lock is free again when its process ends, also if it is killed. Not by ``filelock``: on drives without flock it falls back to marker files,
which may outlive a killed process.
"""

import contextlib
import errno
import json
import os
import platform
import time
import warnings
from pathlib import Path

from birdlib import runtime

_NAME = ".lock"
_GRACE_S = 5.0  # a kernel whose run was killed ends in about a second
_held = {}  # {folder: open file} of ``hold``


class LockError(runtime.BirdlibError):
    """A folder that another process writes into, or that is not writable."""


@contextlib.contextmanager
def lock_folder(folder, remedy="", what=""):
    """Lock a folder while the block runs, against other callers of this function.

    Args:
        folder: made when missing.
        remedy: what to do, other than to wait, if another process holds the lock: an error then says it. ``""`` waits.
        what: this process does there, for the message that another one gets.

    Raises:
        LockError: if another process holds it and there is a remedy, or if the folder is not writable.
    """
    with _open(folder, remedy) as file:
        if not lock_file(file, wait=not remedy):
            raise _refusal(folder, remedy)
        _sign(file, what)
        yield


def hold(folder, remedy, what=""):
    """Lock a folder as ``lock_folder`` does, until ``release`` or the end of this process; again is no error here.

    Another process is given some seconds to end.
    """
    folder = os.path.realpath(folder)
    if folder in _held and _is_at(_held[folder], folder):
        return
    release(folder)
    file, deadline = _open(folder, remedy), time.monotonic() + _GRACE_S
    while not lock_file(file):
        if time.monotonic() > deadline:
            file.close()
            raise _refusal(folder, remedy)
        time.sleep(0.1)
    _sign(file, what)
    _held[folder] = file


def release(folder):
    """Unlock a folder that this process holds; others are left alone."""
    if file := _held.pop(os.path.realpath(folder), None):
        file.close()


def holder(folder):
    """Who holds the lock of a folder, such as ``process 4711 on aviary (run, since 2026-05-01 04:30)``; ``""`` if nobody does."""
    path = Path(folder) / _NAME
    if not os.access(path, os.W_OK):
        return ""
    with path.open("a") as file:
        return "" if lock_file(file) else _signature(folder) or "another process"


def lock_file(file, wait=False):
    """Lock an open file until it is closed or the process ends; where that is impossible, warn and go on.

    Returns:
        bool: False if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # some network drives have no locks
        warnings.warn(f"{file.name} cannot be locked: let no second run write into its folder", stacklevel=4)
    return True


def _open(folder, remedy):
    """The lock file of a folder, open; not truncated, as another process may have signed it."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _NAME).open("a")
        if not os.access(folder, os.W_OK | os.X_OK):  # a lock that was there can be opened all the same
            file.close()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return file
    except OSError as error:
        raise LockError(f"{folder} cannot be written into ({error.strerror}): {remedy or 'make it writable, or choose another folder'}") from error


def _sign(file, what):
    note = {"process": os.getpid(), "machine": platform.node(), "what": what, "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        file.truncate(0)
        file.write(json.dumps(note))
        file.flush()


def _signature(folder):
    try:
        note = json.loads((Path(folder) / _NAME).read_text(encoding="utf-8"))
        return f"process {note['process']} on {note['machine']} ({', '.join(filter(None, [note['what'], 'since ' + note['since']]))})"
    except (OSError, ValueError, KeyError, TypeError):  # it is being written, or is of another version
        return ""


def _refusal(folder, remedy):
    who = _signature(folder)
    return LockError(f"another run writes into {folder}{f', {who}' if who else ''}: wait for its end, or {remedy}")


def _is_at(file, folder):
    """Whether the folder is still the one whose lock is open."""
    path = os.path.join(folder, _NAME)
    return os.path.isfile(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path))
