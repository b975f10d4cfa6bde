"""The chain: which notebooks there are, which have to run, and running them headless with papermill."""

import ast
import contextlib
import functools
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from birdlib import report, runtime, scene_pairs, stages, weights


class ChainError(runtime.BirdlibError):
    """A notebook failed, or the run was asked for something that no notebook offers."""


def notebooks():
    """Paths of the numbered notebooks, in the order of the chain."""
    return sorted((runtime.repository() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def declared_parameters(notebook):
    """{name: default value} of a notebook's parameters cell."""
    from papermill import inspect_notebook

    found = inspect_notebook(str(notebook))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def choose_parameters(chain, given):
    """The parameters each notebook gets: its defaults, and the given values it declares.

    Args:
        chain: notebook paths.
        given: {name: value}; text, as it comes from the command line, stands for a number or truth value where one is wanted.

    Returns:
        {notebook path: {name: value}}.

    Raises:
        ChainError: if no notebook declares a given name, or a value has another type than the default.
    """
    defaults = {notebook: declared_parameters(notebook) for notebook in chain}
    for declared in defaults.values():  # what a notebook says of paths is relative to the repository
        declared |= {name: str(runtime.repository() / declared[name]) for name in _paths(declared)}
    unknown = [name for name in given if not any(name in declared for declared in defaults.values())]
    if unknown:
        known = sorted({name for declared in defaults.values() for name in declared})
        raise ChainError(f"no notebook has a parameter {', '.join(unknown)}; there are: {', '.join(known)}")
    for notebook, declared in defaults.items():
        for name in declared.keys() & given.keys():
            declared[name] = _as_type(given[name], type(declared[name]), f"{notebook.stem}: {name}")
    return defaults


def run(outputs_dir="outputs", first="", only="", given=None, force=False):
    """Run the chain, or part of it; a stage whose receipt is current is skipped.

    Args:
        outputs_dir: where the stages write.
        first: number of the notebook to begin with, e.g. ``"03"``; empty for all.
        only: number of the one notebook to run.
        given: {parameter: value}, passed to each notebook that declares it; relative paths are relative to where you are.
        force: run also what is current.

    Returns:
        {notebook stem: "ran", "current", or "left out" where the recordings have nothing for it}.

    Raises:
        ChainError: if a notebook fails; it names the cell, the error and the executed notebook.
    """
    outputs, given = Path(outputs_dir).resolve(), dict(given or {})
    first, only = (number and number.zfill(2) for number in (first, only))
    chosen = [n for n in notebooks() if n.stem[:2] >= first and (not only or n.stem[:2] == only)]
    if not chosen:
        raise ChainError(f"there is no notebook {only or first}: {', '.join(n.stem for n in notebooks())}")
    if "outputs_dir" in given:
        raise ChainError("outputs_dir is the same for the whole run: give it by --outputs")
    given |= {name: str(Path(given[name]).resolve()) for name in _paths(given)}
    parameters = choose_parameters(notebooks(), {**given, "outputs_dir": str(outputs)})
    with _alone(outputs):
        return _run(chosen, parameters, outputs, force)


def executed_path(outputs, notebook):
    """Where the executed copy of a notebook lies."""
    return Path(outputs) / "notebooks" / notebook.name


def _run(chosen, parameters, outputs, force):
    done = {}
    for notebook in notebooks():
        if notebook < chosen[0] and notebook.stem in stages.READS:
            if reason := _why_run(notebook, parameters[notebook], outputs, force=False):
                print(f"{notebook.stem} is left as it is, though: {reason}", file=sys.stderr)
    with _progress_bars(len(chosen)) as (bar, progress_file):
        for notebook in chosen:
            bar.set_description(notebook.stem)
            if lacking := _lacks(notebook, outputs):
                bar.write(f"{notebook.stem}: left out ({lacking})", file=sys.stderr)
                done[notebook.stem] = "left out"
                bar.update()
                continue
            reason = _why_run(notebook, parameters[notebook], outputs, force)
            if reason:
                bar.write(f"{notebook.stem}: running ({reason})", file=sys.stderr)
                started = time.monotonic()
                _execute(notebook, parameters[notebook], outputs, progress_file)
                progress_file.unlink(missing_ok=True)
                bar.write(f"{notebook.stem}: done in {time.monotonic() - started:.0f} s", file=sys.stderr)
            else:
                bar.write(f"{notebook.stem}: current", file=sys.stderr)
            done[notebook.stem] = "ran" if reason else "current"
            bar.update()
        bar.set_description("report")
        report.write(outputs)
    return done


def _lacks(notebook, outputs):
    """What these recordings lack for a stage to have anything to do, in words; ``""`` where nothing is."""
    splits = outputs / "01_split" / "splits.parquet"
    if notebook.stem != "05_match" or not splits.is_file() or scene_pairs.can_learn(pd.read_parquet(splits)):
        return ""
    return "no two species have both pictures and sounds, nor are there two films"


@contextmanager
def _alone(outputs):
    """Hold the outputs folder, so that no second run writes into it; it is free again when this process ends, however it ends."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        (outputs / ".lock").touch()
    except OSError as error:
        raise ChainError(f"{outputs} cannot be written into: {error.strerror}") from error
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(outputs / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ChainError(
                f"another run writes into {outputs}: wait for its end, or choose other --outputs"
            ) from error
        except OSError:  # some network drives have no locks
            print(f"{outputs} cannot be locked: let no second run write into it", file=sys.stderr)
        yield


def _why_run(notebook, parameters, outputs, force):
    if force:
        return "forced"
    executed = executed_path(outputs, notebook)
    if not executed.is_file():
        return "not executed yet"
    try:
        if _code(executed) != _code(notebook):
            return "the notebook has changed"
    except (ValueError, KeyError):
        return "its executed copy is damaged"
    if notebook.stem not in stages.READS:  # 00_index has no stage folder and is quick
        return "always"
    find_weights = functools.partial(weights.digest_in_use, folder=parameters.get("weights_dir", ""))
    return stages.why_stale(outputs, notebook.stem, parameters, find_weights)


def _code(notebook):
    """The code of a notebook, without the parameters that papermill put in."""
    cells = runtime.read_json(notebook)["cells"]
    given = "injected-parameters"
    return [
        "".join(c["source"]) for c in cells if c["cell_type"] == "code" and given not in c["metadata"].get("tags", [])
    ]


def _execute(notebook, parameters, outputs, progress_file):
    """Execute one notebook; the executed copy takes its name only when it ran to the end, else ``.failed.ipynb``.

    What the libraries tell on the kernel's own stderr (TensorFlow says much when it starts) goes to a ``.log`` beside it.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    target = executed_path(outputs, notebook)
    unfinished, log = target.with_suffix(".failed.ipynb"), target.with_suffix(".log")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    environment = {"BIRDLIB_PROGRESS": str(progress_file), "BIRDLIB_ROOT": str(runtime.repository())}
    options = {"cwd": str(runtime.repository()), "progress_bar": False, "engine_name": _logging_engine()}
    with _environment(environment), runtime.telling_full_disk(unfinished), open(log, "wb") as kernel_log:
        try:
            papermill.execute_notebook(str(notebook), str(unfinished), parameters, kernel_log=kernel_log, **options)
        except papermill.PapermillExecutionError as error:
            raise ChainError(
                f"{notebook.stem} failed in cell {error.cell_index} (input {error.exec_count}):\n{error.source}\n\n"
                f"{error.ename}: {error.evalue}\n\nThe notebook up to there: {unfinished}"
            ) from error
        except DeadKernelError as error:
            raise ChainError(
                f"{notebook.stem}: its kernel died, perhaps for want of memory or of disk; the same command goes on from here.\n"
                f"Its last words: {log}\nThe notebook up to there: {unfinished}"
            ) from error
        except KeyboardInterrupt:
            unfinished.unlink(missing_ok=True)
            raise
    os.replace(unfinished, target)


def _logging_engine():
    """Name of a papermill engine like its own, that sends what the kernel process prints to the file ``kernel_log``."""
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
def _environment(values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _progress_bars(n_stages):
    """A bar over the stages, and below it one that follows the long work inside the running notebook.

    The notebook's kernel is another process: ``runtime.progress`` writes to a small file there, and a thread reads it here.
    """
    import tempfile

    from tqdm import tqdm

    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "progress.json"
        options = {"disable": None, "dynamic_ncols": True}  # None: no bars where nobody looks
        with (
            tqdm(total=n_stages, unit="stage", position=0, **options) as bar,
            tqdm(total=1, position=1, leave=False, **options) as inner,
        ):

            def follow():
                shown = None
                while not ended.wait(0.5):
                    now = {"desc": "at work", "n": 0, "total": None}  # nothing long under way
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


def _paths(parameters):
    return [name for name in stages.PATH_PARAMETERS if parameters.get(name)]


def _as_type(value, wanted, where):
    """Keep a parameter's type: a number for a number, text for text; an int may stand for a float."""
    try:
        if wanted is str or (wanted is float and type(value) is int):
            return wanted(value)
        if isinstance(value, str):
            return {"true": True, "false": False}[value.lower()] if wanted is bool else wanted(value)
    except (ValueError, KeyError) as error:
        raise ChainError(f"{where} wants {wanted.__name__}, got {value!r}") from error
    if type(value) is not wanted:
        raise ChainError(f"{where} wants {wanted.__name__}, got {value!r}")
    return value
