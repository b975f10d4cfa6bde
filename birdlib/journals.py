"""Work that can be killed and goes on: a journal keeps each result as soon as it is there."""

import contextlib
import json
import os
from pathlib import Path

from birdlib import runtime


def map_resumable(function, tasks, journal, is_whole=None, n_jobs=1, desc=""):
    """Call ``function(**task)`` for every task, in parallel, and keep each result in a journal as soon as it is there.

    A task that the journal holds with the same arguments is not done again. A bad file does not stop the run: a
    ``BirdlibError`` becomes the row ``{"skipped_reason": ...}``; a full disk does stop it. The tasks go through joblib, so ``joblib.parallel_config``
    may send them to a cluster.

    Args:
        function: picklable; keyword arguments in, JSON-able dict out.
        tasks: {name: JSON-able dict of arguments}; one name's task always writes the same file.
        journal: path of the ``.jsonl`` file; a line that a kill cut short, or that cannot be read, is dropped.
        is_whole: function of a journalled row; False sends its task through again (its file is gone, say).

    Returns:
        {name: row}, in the order of the tasks.
    """
    from joblib import Parallel, delayed

    keys = {name: runtime.digest(task) for name, task in tasks.items()}
    done = {
        name: row
        for name, (key, row) in _read_journal(journal).items()
        if keys.get(name) == key and ("skipped_reason" in row or is_whole is None or is_whole(row))
    }
    todo = [name for name in tasks if name not in done]
    jobs = (delayed(_attempt)(function, name, tasks[name]) for name in todo)
    results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs) if todo else []
    with runtime.telling_full_disk(journal), open(journal, "a", encoding="utf-8") as file:
        for name, row in runtime.progress(results, total=len(todo), desc=desc):
            file.write(json.dumps({"name": name, "key": keys[name], "row": row}, ensure_ascii=False) + "\n")
            file.flush()
            done[name] = row
    return {name: done[name] for name in tasks}


def _attempt(function, name, task):
    try:
        return name, function(**task)
    except runtime.FullDiskError:
        raise
    except runtime.BirdlibError as error:
        return name, {"skipped_reason": str(error)}


def _read_journal(journal):
    """The last (key, row) of each name; a last line that was not written whole is cut off the file, a garbled one is left."""
    journal = Path(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    rows, whole = {}, 0
    if journal.is_file():
        with open(journal, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError):  # garbled: its task is done again
                    entry = json.loads(line)
                    rows[entry["name"]] = entry["key"], dict(entry["row"])
        os.truncate(journal, whole)
    return rows
