"""The chain: which notebooks there are, which have to run, and running them headless with papermill."""

import ast
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from birdlib import report, runtime, stages, weights


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


def parse_value(text):
    """A value from the command line: a Python literal where it is one (``3``, ``0.5``, ``True``), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def choose_parameters(chain, given):
    """The parameters each notebook gets: its defaults, and the given values it declares.

    Args:
        chain: notebook paths.
        given: {name: value} from the command line.

    Returns:
        {notebook path: {name: value}}.

    Raises:
        ChainError: if no notebook declares a given name, or a value has another type than the default.
    """
    defaults = {notebook: declared_parameters(notebook) for notebook in chain}
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
        given: {parameter: value}, passed to each notebook that declares it.
        force: run also what is current.

    Returns:
        {notebook stem: "ran" or "current"}.

    Raises:
        ChainError: if a notebook fails; it names the cell, the error and the executed notebook.
    """
    outputs = Path(outputs_dir).resolve()
    chosen = [n for n in notebooks() if n.stem[:2] >= first and (not only or n.stem[:2] == only)]
    if not chosen:
        raise ChainError(f"there is no notebook {only or first}: {', '.join(n.stem for n in notebooks())}")
    parameters = choose_parameters(notebooks(), {**(given or {}), "outputs_dir": str(outputs)})
    done = {}
    for notebook in notebooks():
        if notebook < chosen[0] and notebook.stem in stages.READS:
            if reason := _why_run(notebook, parameters[notebook], outputs, force=False):
                print(f"{notebook.stem} is left as it is, though: {reason}", file=sys.stderr)
    with _progress_bars(len(chosen)) as (bar, progress_file):
        for notebook in chosen:
            bar.set_description(notebook.stem)
            reason = _why_run(notebook, parameters[notebook], outputs, force)
            if reason:
                bar.write(f"{notebook.stem}: running ({reason})", file=sys.stderr)
                started = time.monotonic()
                _execute(notebook, parameters[notebook], outputs, progress_file)
                bar.write(f"{notebook.stem}: done in {time.monotonic() - started:.0f} s", file=sys.stderr)
            else:
                bar.write(f"{notebook.stem}: current", file=sys.stderr)
            done[notebook.stem] = "ran" if reason else "current"
            bar.update()
        bar.set_description("report")
        report.write(outputs)
    return done


def executed_path(outputs, notebook):
    """Where the executed copy of a notebook lies."""
    return Path(outputs) / "notebooks" / notebook.name


def _why_run(notebook, parameters, outputs, force):
    if force:
        return "forced"
    executed = executed_path(outputs, notebook)
    if not executed.is_file():
        return "not executed yet"
    if _code(executed) != _code(notebook):
        return "the notebook has changed"
    if notebook.stem not in stages.READS:  # 00_index has no stage folder and is quick
        return "always"
    return stages.why_stale(outputs, notebook.stem, parameters, weights.digest_in_use)


def _code(notebook):
    """The code of a notebook, without the parameters that papermill put in."""
    cells = runtime.read_json(notebook)["cells"]
    given = "injected-parameters"
    return [
        "".join(c["source"]) for c in cells if c["cell_type"] == "code" and given not in c["metadata"].get("tags", [])
    ]


def _execute(notebook, parameters, outputs, progress_file):
    """Execute one notebook; the executed copy takes its name only when it ran to the end, else ``.failed.ipynb``."""
    import papermill

    target = executed_path(outputs, notebook)
    unfinished = target.with_suffix(".failed.ipynb")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    environment = {"BIRDLIB_PROGRESS": str(progress_file), "BIRDLIB_ROOT": str(runtime.repository())}
    with _environment(environment):
        try:
            papermill.execute_notebook(
                str(notebook), str(unfinished), parameters, cwd=str(runtime.repository()), progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            raise ChainError(
                f"{notebook.stem} failed in cell {error.cell_index} (input {error.exec_count}):\n{error.source}\n\n"
                f"{error.ename}: {error.evalue}\n\nThe notebook up to there: {unfinished}"
            ) from error
    os.replace(unfinished, target)


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
        with tqdm(total=n_stages, unit="stage", position=0) as bar, tqdm(total=1, position=1, leave=False) as inner:

            def follow():
                shown = ""
                while not ended.wait(0.5):
                    now = runtime.read_json(file) if file.is_file() else {"desc": shown}
                    if now["desc"] != shown:
                        shown = now["desc"]
                        inner.reset(now["total"])
                        inner.set_description(f"  {shown}", refresh=False)
                    inner.update(now.get("n", inner.n) - inner.n)

            thread = threading.Thread(target=follow, daemon=True)
            thread.start()
            try:
                yield bar, file
            finally:
                ended.set()
                thread.join()


def _as_type(value, wanted, where):
    """Keep a parameter's type: a number for a number, text for text; an int may stand for a float."""
    if wanted is str:
        return str(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ChainError(f"{where} wants {wanted.__name__}, got {value!r}")
    return value
