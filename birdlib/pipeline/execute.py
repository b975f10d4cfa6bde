"""Headless execution of notebooks by papermill, with progress bars."""

import contextlib
import os
import threading
from contextlib import contextmanager
from pathlib import Path

from birdlib import runtime, stages
from birdlib.models import weights


class ChainError(runtime.BirdlibError):
    """A notebook failed, or the request cannot be met."""


class WeightsError(ChainError):
    """A notebook needs pretrained weights that are missing."""


def executed_path(outputs, notebook):
    """Path of the executed copy of a notebook."""
    return Path(outputs) / "notebooks" / notebook.name


def unfinished_path(outputs, notebook):
    """Path of the copy of a notebook that did not run to the end."""
    return executed_path(outputs, notebook).with_suffix(".failed.ipynb")


def papermill_path(path):
    """A path as papermill takes it: braces are doubled, since it formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def code(notebook):
    """Code cells of a notebook, without the one that papermill injects."""
    cells = runtime.read_json(notebook)["cells"]
    given = "injected-parameters"
    return [
        "".join(c["source"]) for c in cells if c["cell_type"] == "code" and given not in c["metadata"].get("tags", [])
    ]


def execute(notebook, parameters, outputs, progress_file, recipe=""):
    """Execute one notebook; the executed copy is called ``.failed.ipynb`` until it ran to the end.

    The output of libraries on the kernel's stderr and the log lines of birdlib, such as those of skipped files, go to a ``.log`` beside it. The receipt names the ``recipe``.

    Raises:
        WeightsError: if weights are missing.
        stages.NothingToDoError: if the data set has nothing for the stage.
        ChainError: if the notebook fails otherwise.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    target = executed_path(outputs, notebook)
    unfinished, log = unfinished_path(outputs, notebook), target.with_suffix(".log")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    log.write_bytes(b"")
    environment = {"BIRDLIB_LOG": str(log), "BIRDLIB_PROGRESS": str(progress_file), "BIRDLIB_ROOT": str(runtime.repository()), "BIRDLIB_RECIPE": recipe}
    options = {"cwd": str(runtime.repository()), "progress_bar": False, "engine_name": _logging_engine()}
    with runtime.environment(environment), runtime.full_disk_errors(unfinished), open(log, "ab") as kernel_log:
        try:
            source, copy = papermill_path(notebook), papermill_path(unfinished)
            papermill.execute_notebook(source, copy, parameters, kernel_log=kernel_log, **options)
        except papermill.PapermillExecutionError as error:
            raise _as_chain_error(error, notebook, unfinished) from error
        except DeadKernelError as error:
            raise ChainError(
                f"{notebook.stem}: its kernel died, perhaps because memory or disk ran out; the same command goes on from here.\n"
                f"Its log: {log}\nThe notebook up to there: {unfinished}"
            ) from error
        except KeyboardInterrupt:
            unfinished.unlink(missing_ok=True)
            raise
    os.replace(unfinished, target)


def _as_chain_error(error, notebook, unfinished):
    """The exception for a failed cell; a BirdlibError has no traceback but its message."""
    if error.ename == weights.MissingWeightsError.__name__:
        return WeightsError(error.evalue)
    if error.ename == stages.NothingToDoError.__name__:
        return stages.NothingToDoError(error.evalue)
    where = f"The notebook up to there: {unfinished}"
    if list(error.traceback) == [error.evalue]:
        return ChainError(f"{notebook.stem}: {error.evalue}\n{where}")
    cell = f"{notebook.stem} failed in cell {error.cell_index} (input {error.exec_count})"
    return ChainError(f"{cell}: {error.ename}: {error.evalue}\n{where}\n\nThe cell:\n{error.source}")


def _logging_engine():
    """Name of a papermill engine that writes the kernel's output to the file ``kernel_log``."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class LoggingEngine(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, kernel_log, start_timeout=60, **_):
            client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout)
            client.execute(stdout=kernel_log, stderr=kernel_log)

    papermill_engines.register("birdlib", LoggingEngine)
    return "birdlib"


@contextmanager
def progress_bars(n_stages):
    """A bar over the stages, and below it one for the work inside the running notebook.

    ``runtime.progress`` in the notebook's kernel writes to a small file, which a thread reads here.
    """
    import tempfile

    from tqdm import tqdm

    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "progress.json"
        options = {"disable": None, "dynamic_ncols": True}  # None: no bars where the output is not a terminal
        with (
            tqdm(total=n_stages, unit="stage", position=0, **options) as bar,
            tqdm(total=1, position=1, leave=False, **options) as inner,
        ):

            def follow():
                shown = None
                while not ended.wait(0.5):
                    now = {"desc": "running", "n": 0, "total": None}
                    with contextlib.suppress(FileNotFoundError):
                        now = runtime.read_json(file)
                    if (now["desc"], now["total"]) != shown or now["n"] < inner.n:
                        shown = now["desc"], now["total"]
                        inner.reset()
                        inner.set_description(f"  {now['desc']}", refresh=False)
                    inner.n, inner.total = now["n"], now["total"]
                    inner.refresh()

            thread = threading.Thread(target=follow, daemon=True)
            thread.start()
            try:
                yield bar, file
            finally:
                ended.set()
                thread.join()
