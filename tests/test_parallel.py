"""Work in parallel: the same results whatever does it, errors as they were raised, and processes that die."""

import functools
import os
import time

import joblib
import pytest

from birdlib import parallel, resume, runtime

# Functions of tests are defined in functions: processes cannot import this module, but get those by value.


def square_of():
    def square(n):
        import time

        time.sleep(0.01 * (n % 3))  # later ones overtake
        return n * n

    return square


def mortal(fatal, folder):
    """A function whose process dies at some numbers; the first time only, where a folder is given to note it."""

    def work(n):
        import os
        import pathlib
        import signal

        if n in fatal and not (folder and pathlib.Path(folder, str(n)).exists()):
            if folder:
                pathlib.Path(folder, str(n)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"n": n}

    return work


def tasks_of(numbers):
    return {f"r{n}.wav": {"n": n} for n in numbers}


SQUARES = {f"r{n}.wav": n * n for n in range(30)}


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_every_task_gives_its_result_once(n_jobs):
    found = list(parallel.map_unordered(square_of(), tasks_of(range(30)), n_jobs))
    assert len(found) == 30 and dict(found) == SQUARES


def test_results_come_while_others_are_computed():
    """So that a journal has them when the run is killed."""

    def wait(s):
        import time

        time.sleep(s)

    names = [name for name, _ in parallel.map_unordered(wait, {"long": {"s": 1.0}, **{str(n): {"s": 0.0} for n in range(4)}}, 2)]
    assert names[-1] == "long"


def test_ordered_results_are_in_the_order_of_the_tasks(capsys):
    tasks = [{"n": n} for n in range(20)]
    assert parallel.map_ordered(square_of(), tasks, range(20), 2, "squares") == [n * n for n in range(20)]
    assert "squares" in capsys.readouterr().err
    assert parallel.map_ordered(square_of(), [], [], 2) == []


def test_what_joblib_is_configured_to_is_used():
    """Engines that cannot stream, such as Ray's and Spark's, work in portions."""
    with joblib.parallel_config(backend="multiprocessing"):
        powers = dict(parallel.map_unordered(functools.partial(pow, exp=2), {f"r{n}.wav": {"base": n} for n in range(30)}, 2))
    assert powers == SQUARES
    with joblib.parallel_config(backend="threading"):
        assert dict(parallel.map_unordered(square_of(), tasks_of(range(30)), 2)) == SQUARES


def test_one_task_at_a_time_is_in_a_process():
    """Warnings and interpreters of networks belong to the process: an engine's worker may have several threads."""
    inside, most = [], []

    def work(n):
        inside.append(n)
        time.sleep(0.005)
        most.append(len(inside))
        inside.remove(n)

    with joblib.parallel_config(backend="threading"):
        list(parallel.map_unordered(work, tasks_of(range(10)), 4))
    assert max(most) == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_is_raised_as_it_is(n_jobs):
    def fail(n):
        raise runtime.FileError("a.wav", f"is empty ({n}): copy it again")

    with pytest.raises(runtime.FileError, match=r"a.wav: is empty \(3\): copy it again") as caught:
        list(parallel.map_unordered(fail, tasks_of([3]), n_jobs))
    assert type(caught.value) is runtime.FileError


def test_an_error_of_another_process_shows_where_it_was_raised():
    def fail(n):
        return 1 / n

    with pytest.raises(ZeroDivisionError) as caught:
        list(parallel.map_unordered(fail, tasks_of([0]), 2))
    assert ", in fail" in caught.value.__notes__[0]


def test_workers_have_one_thread():
    def threads(n):
        import os

        import numpy as np
        from threadpoolctl import threadpool_info

        np.ones((4, 4)) @ np.ones((4, 4))
        return [library["num_threads"] for library in threadpool_info()], os.environ["TF_NUM_INTRAOP_THREADS"]

    for _, (found, tensorflow) in parallel.map_unordered(threads, tasks_of(range(4)), 2):
        assert found and set(found) == {1} and tensorflow == "1"


def test_tasks_of_a_process_that_died_are_repeated(tmp_path):
    """As if memory had been short for a moment."""
    found = dict(parallel.map_unordered(mortal([7], str(tmp_path)), tasks_of(range(30)), 2))
    assert found == tasks_of(range(30))
    assert (tmp_path / "7").exists()


def test_a_task_that_its_process_always_dies_of_is_named():
    with pytest.raises(parallel.WorkerError, match="r7.wav: the process that worked on it died twice .*run again with a smaller n_jobs"):
        list(parallel.map_unordered(mortal([7], ""), tasks_of(range(30)), 2))


def test_processes_that_cannot_be_started_are_an_error(monkeypatch):
    """Not a loop that starts them for ever."""
    from concurrent.futures.process import BrokenProcessPool

    def broken(*_):
        raise BrokenProcessPool("no memory")
        yield

    monkeypatch.setattr(parallel, "_joblib", broken)
    with pytest.raises(parallel.WorkerError, match="die before they begin a task .BrokenProcessPool.*n_jobs=1"):
        list(parallel.map_unordered(square_of(), tasks_of([1]), 2))


def test_a_file_that_kills_its_process_is_a_row_that_the_next_run_tries_again(tmp_path, caplog):
    caplog.set_level("INFO", "birdlib")
    journal = tmp_path / "journal.jsonl"
    rows = resume.map_resumable(mortal([7, 20], ""), tasks_of(range(30)), journal, n_jobs=2)
    assert list(rows) == list(tasks_of(range(30)))
    skipped = {name: row["skipped_reason"] for name, row in rows.items() if "skipped_reason" in row}
    assert list(skipped) == ["r7.wav", "r20.wav"] and all("died twice" in reason for reason in skipped.values())
    assert "r7.wav: skipped: the process that worked on it died twice" in caplog.text
    assert len(journal.read_text().splitlines()) == 28
    assert resume.map_resumable(mortal([], ""), tasks_of(range(30)), journal, n_jobs=2) == tasks_of(range(30))


def test_a_skipped_file_is_logged_under_its_name(tmp_path, caplog):
    caplog.set_level("INFO", "birdlib")

    def fail(n):
        from birdlib import runtime

        raise runtime.FileError("field/a.wav", "is empty: copy it again")

    resume.map_resumable(fail, {"robin-12": {"n": 1}}, tmp_path / "journal.jsonl")
    assert "robin-12: skipped: field/a.wav: is empty: copy it again" in caplog.text


# Engines


def test_an_engine_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(parallel.EngineError, match="the engine spark needs pyspark and joblibspark: pip install pyspark joblibspark, here and on its workers"):
        with parallel.on_engine("spark", "local[2]"):
            pass


@pytest.mark.parametrize("engine, address, message", [
    ("dusk", "tcp://127.0.0.1:1", "'dusk' is unknown: choose dask, ray, spark, or none"),
    ("dask", "", "dask has no address: give that of one that is running"),
    ("", "tcp://127.0.0.1:1", "'' is unknown: choose dask"),
])  # fmt: skip
def test_an_engine_wants_its_name_and_address(engine, address, message):
    with pytest.raises(parallel.EngineError, match=message), parallel.on_engine(engine, address):
        pass


def test_the_environment_chooses_the_engine(monkeypatch):
    """So kernels have it, which the run starts, and a notebook's own user may choose one."""
    monkeypatch.setenv(parallel.ENGINE_VARIABLE, "dusk")
    with pytest.raises(parallel.EngineError, match="'dusk' is unknown"):
        list(parallel.map_unordered(square_of(), tasks_of([1]), 1))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "_CONNECT_S", 0.5)
    with pytest.raises(parallel.EngineError, match="dask at tcp://127.0.0.1:9 does not answer .*check that it runs"):
        with parallel.on_engine("dask", "tcp://127.0.0.1:9"):
            pass
    assert parallel.ENGINE_VARIABLE not in os.environ
