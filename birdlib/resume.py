"""Work that resumes after an interruption: a journal keeps each result at once."""

import contextlib
import functools
import json
import logging
import os
from pathlib import Path

from birdlib import parallel, runtime

_log = logging.getLogger(__name__)


def map_resumable(function, tasks, journal, is_whole=None, n_jobs=1, desc=""):
    """Call ``function(**task)`` for every task in parallel and append each result to a journal at once.

    Tasks that the journal has with the same arguments are not repeated. A bad file does not stop the run: a ``BirdlibError`` becomes
    the row ``{"skipped_reason": ...}``; a full disk does stop it. A task that its process dies of becomes such a row, too,
    but not in the journal, so that the next run tries it again. Each such row is logged under its name.

    Args:
        function: picklable; keyword arguments in, JSON-able dict out.
        tasks: {name: JSON-able dict of arguments}; a name's task always writes the same file.
        journal: path of the ``.jsonl`` file; truncated and unreadable lines are dropped.
        is_whole: function of a journalled row; False repeats its task (its file is missing, say).
        n_jobs: as in ``parallel.map_unordered``.

    Returns:
        {name: row}, in the order of the tasks, whatever the order in which they were finished.
    """
    runtime.require_jobs(n_jobs)
    keys = {name: runtime.digest(task) for name, task in tasks.items()}
    done = {
        name: row
        for name, (key, row) in _read_journal(journal).items()
        if keys.get(name) == key and ("skipped_reason" in row or is_whole is None or is_whole(row))
    }
    todo = {name: task for name, task in tasks.items() if name not in done}
    results = parallel.map_unordered(functools.partial(_attempt, function), todo, n_jobs, _died)
    with runtime.full_disk_errors(journal), open(journal, "a", encoding="utf-8") as file:
        for name, row in runtime.progress(results, total=len(todo), desc=desc) if todo else ():
            if "skipped_reason" in row:
                _log.info("%s: skipped: %s", name, row["skipped_reason"])
            if not isinstance(row, _DeadRow):
                file.write(json.dumps({"name": name, "key": keys[name], "row": row}, ensure_ascii=False) + "\n")
                file.flush()
            done[name] = row
    return {name: done[name] for name in tasks}


def _attempt(function, **task):
    try:
        return function(**task)
    except runtime.FullDiskError:
        raise
    except runtime.BirdlibError as error:
        return {"skipped_reason": str(error)}


class _DeadRow(dict):
    """The row of a task that its process died of."""


def _died(name, reason):
    return _DeadRow(skipped_reason=reason)


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
