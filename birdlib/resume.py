"""Work that resumes after an interruption: a journal keeps each result at once, and a folder has one writer at a time."""

import contextlib
import errno
import json
import os
import warnings
from pathlib import Path

from birdlib import runtime


class LockError(runtime.BirdlibError):
    """A folder that another process writes into, or that is not writable."""


def map_resumable(function, tasks, journal, is_whole=None, n_jobs=1, desc=""):
    """Call ``function(**task)`` for every task in parallel and append each result to a journal at once.

    Tasks that the journal has with the same arguments are not repeated. A bad file does not stop the run: a ``BirdlibError`` becomes
    the row ``{"skipped_reason": ...}``; a full disk does stop it. Tasks go through joblib, so ``joblib.parallel_config`` may send them
    to a cluster.

    Args:
        function: picklable; keyword arguments in, JSON-able dict out.
        tasks: {name: JSON-able dict of arguments}; a name's task always writes the same file.
        journal: path of the ``.jsonl`` file; truncated and unreadable lines are dropped.
        is_whole: function of a journalled row; False repeats its task (its file is missing, say).

    Returns:
        {name: row}, in the order of the tasks.
    """
    from joblib import Parallel, delayed

    runtime.require_jobs(n_jobs)
    keys = {name: runtime.digest(task) for name, task in tasks.items()}
    done = {
        name: row
        for name, (key, row) in _read_journal(journal).items()
        if keys.get(name) == key and ("skipped_reason" in row or is_whole is None or is_whole(row))
    }
    todo = [name for name in tasks if name not in done]
    jobs = (delayed(_attempt)(function, name, tasks[name], os.getcwd()) for name in todo)
    results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs) if todo else []
    with runtime.full_disk_errors(journal), open(journal, "a", encoding="utf-8") as file:
        for name, row in runtime.progress(results, total=len(todo), desc=desc) if todo else ():
            file.write(json.dumps({"name": name, "key": keys[name], "row": row}, ensure_ascii=False) + "\n")
            file.flush()
            done[name] = row
    return {name: done[name] for name in tasks}


def _attempt(function, name, task, folder):
    with contextlib.suppress(OSError):  # a machine of a cluster may not have it
        os.chdir(folder)  # a process that is kept may be in the folder of an earlier call
    try:
        return name, function(**task)
    except runtime.FullDiskError:
        raise
    except runtime.BirdlibError as error:
        return name, {"skipped_reason": str(error)}


def _read_journal(journal):
    """The last (key, row) of each name; truncates an incomplete last line, skips unreadable ones."""
    journal = Path(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    rows, end = {}, 0
    if journal.is_file():
        with open(journal, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError):  # unreadable: its task is repeated
                    entry = json.loads(line)
                    rows[entry["name"]] = entry["key"], dict(entry["row"])
        os.truncate(journal, end)
    return rows


@contextlib.contextmanager
def lock_folder(folder, remedy=""):
    """Lock a folder while the block runs, against other callers of this function; it is free again when this process ends, also if killed.

    Args:
        folder: made when missing.
        remedy: what to do, other than to wait, if another process holds the lock: an error then says it. ``""`` waits.

    Raises:
        LockError: if another process holds it and there is a remedy, or if the folder is not writable.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):  # a lock that is there could be opened
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise LockError(f"{folder} cannot be written into ({error.strerror}): {remedy or 'make it writable, or choose another folder'}") from error
    with file:
        if not lock_file(file, wait=not remedy):
            raise LockError(f"another run writes into {folder}: wait for its end, or {remedy}")
        yield


def is_locked(folder):
    """Whether another process holds the lock of ``lock_folder``."""
    path = Path(folder) / ".lock"
    if not os.access(path, os.W_OK):
        return False
    with path.open("a") as file:
        return not lock_file(file)


def lock_file(file, wait=False):
    """Lock an open file until it is closed or the process ends; where that is impossible, warn and go on.

    Not by ``filelock``: on drives without flock it falls back to marker files, which may outlive a killed process.

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
