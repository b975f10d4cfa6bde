"""Work over files in parallel: in local processes, or on an engine that is already running (Dask, Ray, Spark).

All of it goes through joblib, whose ``parallel_config`` holds here too. One task runs at a time in each process, with one thread for BLAS and
TensorFlow, so that results depend neither on the number of workers nor on the engine; a worker of an engine should have one thread. Workers of
an engine read and write the same paths as this process, and import the same birdlib.
"""

import contextlib
import functools
import importlib.util
import itertools
import os
import threading
import traceback
import warnings

from birdlib import runtime

ENGINES = {"dask": ("distributed",), "ray": ("ray",), "spark": ("pyspark", "joblibspark")}  # and the packages that they need
ENGINE_VARIABLE, ADDRESS_VARIABLE = "BIRDLIB_ENGINE", "BIRDLIB_ADDRESS"  # of the environment, which the kernels of notebooks have too
ONE_THREAD = {  # read by the libraries when they are loaded
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
} | {"TF_CPP_MIN_LOG_LEVEL": "2"}
_DEATHS = {"BrokenProcessPool", "KilledWorker", "RayActorError", "WorkerCrashedError"}  # exceptions of loky, Dask and Ray
_CONNECT_S = 10.0
_PATIENCE_S = 3600.0  # without any result of an engine: its workers are gone
_CHUNK = 8  # tasks a worker, at a time, of engines that give their results back together
_one_at_a_time = threading.RLock()


class EngineError(runtime.BirdlibError):
    """An engine that is not installed, does not answer, or gave up."""


class WorkerError(runtime.BirdlibError):
    """A task that its process died of."""


class _DeadWorkerError(Exception):
    """A process died while it worked on one of several tasks."""


def map_unordered(function, tasks, n_jobs=-1, died=None):
    """Call ``function(**arguments)`` for every task in parallel, and yield each result as soon as it is there.

    Where a process dies, the tasks that it may have died of are repeated one by one, and the others go on.

    Args:
        function: picklable.
        tasks: {name: dict of arguments}; a name, or the last part of a tuple, identifies a file in messages.
        n_jobs: local processes; -1: one a core; 1: this process. An engine uses all its workers.
        died: function of (name, reason) that gives the result of a task that its process died of twice; None raises.

    Yields:
        (name, result), in any order.

    Raises:
        ParameterError: for 0 jobs.
        EngineError: if the engine cannot be reached or gives up.
        WorkerError: if a task's process dies twice, and there is no ``died``.
        Exception: whatever a task raises; tasks that have not begun are dropped.
    """
    runtime.require_jobs(n_jobs)
    waiting = dict(tasks)
    while waiting:
        begun = []
        try:
            for name, result in _results(function, waiting, n_jobs, begun):
                del waiting[name]
                yield name, result
        except _DeadWorkerError as error:
            if not any(name in waiting for name in begun):
                raise WorkerError(f"processes die before they begin a task ({error}): free some memory, or run again with n_jobs=1") from error
        for name in [name for name in begun if name in waiting]:  # those that the process may have died of
            yield name, _alone(function, name, waiting.pop(name), n_jobs, died)


def map_ordered(function, tasks, names, n_jobs=-1, desc=""):
    """A list of the results of ``function(**arguments)`` for a list of arguments, in its order, with a progress bar.

    Args:
        function, n_jobs: as in ``map_unordered``.
        tasks: list of dicts of arguments.
        names: what identifies each in messages.
    """
    results = [None] * len(tasks)
    numbered = dict(zip(enumerate(names), tasks, strict=True))
    for (number, _), result in runtime.progress(map_unordered(function, numbered, n_jobs), total=len(tasks), desc=desc):
        results[number] = result
    return results


def _alone(function, name, arguments, n_jobs, died):
    """The result of a task, alone in the processes."""
    try:
        [(_, result)] = _results(function, {name: arguments}, n_jobs, [])
    except _DeadWorkerError as error:
        reason = f"the process that worked on it died twice ({error}): perhaps memory is short; run again with a smaller n_jobs, or leave the file out"
        if died is None:
            raise WorkerError(f"{name[-1] if isinstance(name, tuple) else name}: {reason}") from error
        return died(name, reason)
    return result


def _results(function, tasks, n_jobs, begun):
    """Yield (name, result) of each task, in any order; names are appended to ``begun`` as they are handed out."""
    from threadpoolctl import threadpool_limits

    engine, _ = configured()
    call = functools.partial(_call, function, os.getcwd(), os.getpid())
    failure = None  # of a task; what is caught here comes from the engine
    try:
        with _opened(), threadpool_limits(1), _closing(_joblib(call, tasks, -1 if engine else n_jobs, begun)) as outcomes:
            for name, result, failure in outcomes:
                if failure is not None:
                    break
                yield name, result
    except Exception as error:
        if _DEATHS & {kind.__name__ for kind in type(error).__mro__}:
            raise _DeadWorkerError(type(error).__name__) from error
        if not engine or isinstance(error, runtime.BirdlibError):
            raise
        raise _engine_error(f"gave up ({type(error).__name__}: {_first_line(error)})") from error
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _closing(generator):
    """Close a generator of joblib; what it warns of, tasks that were not finished, is meant."""
    try:
        yield generator
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            generator.close()


def _joblib(call, tasks, n_jobs, begun):
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    def jobs():
        for name in list(tasks):  # of which the caller removes what is done
            begun.append(name)
            yield delayed(call)(name, tasks[name])

    backend, _ = get_active_backend()
    timeout = _PATIENCE_S if configured()[0] else None
    if getattr(backend, "supports_return_generator", False):
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", timeout=timeout)(jobs())
        return
    jobs = jobs()
    n_together = _CHUNK * max(1, backend.effective_n_jobs(n_jobs))
    while chunk := list(itertools.islice(jobs, n_together)):
        yield from Parallel(n_jobs=n_jobs, timeout=timeout)(chunk)


def _call(function, folder, home, name, arguments):
    """(name, result, error) of a task, in whatever process; ``home`` is the number of the process that asked for it.

    Errors are returned, since not every engine raises them here.
    """
    if os.getpid() != home:
        _limit_threads()
    with contextlib.suppress(OSError):  # a machine of a cluster may not have it
        if os.getcwd() != folder:
            os.chdir(folder)  # a process that is kept may be in the folder of an earlier call
    with _one_at_a_time:  # warnings and interpreters are of the process
        try:
            return name, function(**arguments), None
        except Exception as error:
            if os.getpid() != home and not isinstance(error, runtime.BirdlibError):
                error.add_note("".join(traceback.format_exception(error)))  # which would be lost on the way
            return name, None, error


@functools.cache
def _limit_threads():
    """One thread for this worker process, of libraries that are loaded already and of those that will be."""
    from threadpoolctl import threadpool_limits

    os.environ.update(ONE_THREAD)
    threadpool_limits(1)


# Engines


def configured():
    """(engine, address) that the environment asks for; ``("", "")`` for local processes.

    Raises:
        EngineError: for an unknown engine, or one without an address.
    """
    engine, address = (os.environ.get(name, "") for name in (ENGINE_VARIABLE, ADDRESS_VARIABLE))
    if engine:
        _require(engine, address)
    return engine, address


@contextlib.contextmanager
def on_engine(engine, address):
    """Work goes to an engine while the block runs, also that of processes that are started in it, such as kernels.

    Args:
        engine: a key of ``ENGINES``; ``""`` for local processes, or what the environment asks for.
        address: ``tcp://host:8786`` of a Dask scheduler; ``host:6379`` of Ray's head; the master of Spark.

    Raises:
        EngineError: if the engine cannot be used.
    """
    if not engine and not address:
        yield
        return
    _require(engine, address)
    with runtime.environment({ENGINE_VARIABLE: engine, ADDRESS_VARIABLE: address}):
        with _opened():
            pass  # a wrong address is an error now, not in the first notebook
        yield


def _require(engine, address):
    if engine not in ENGINES:
        raise EngineError(f"the engine {engine!r} is unknown: choose {', '.join(ENGINES)}, or none for local processes")
    if not address:
        raise EngineError(f"the engine {engine} has no address: give that of one that is running (--address, or {ADDRESS_VARIABLE})")
    if missing := [package for package in ENGINES[engine] if importlib.util.find_spec(package) is None]:
        raise EngineError(f"the engine {engine} needs {' and '.join(missing)}: pip install {' '.join(missing)}, here and on its workers")


@contextlib.contextmanager
def _opened():
    """joblib sends its work to the configured engine while the block runs."""
    engine, address = configured()
    if not engine:
        yield
        return
    from joblib import parallel_config

    with contextlib.ExitStack() as stack:
        try:
            backend = {"dask": _dask, "ray": _ray, "spark": _spark}[engine](address, stack)
        except Exception as error:  # each has errors of its own
            raise _engine_error(f"does not answer ({type(error).__name__}: {_first_line(error)})") from error
        stack.enter_context(parallel_config(backend))
        yield


def _dask(address, stack):
    from distributed import Client
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib would wait for ever for a task whose worker dies each time, or whose code a worker cannot import."""

        def submit(self, func, callback=None):
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

    client = stack.enter_context(Client(address, set_as_default=False, timeout=_CONNECT_S))
    return Backend(client=client)


def _ray(address, stack):
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    register_ray()
    return "ray"


def _spark(address, stack):
    from joblibspark import register_spark
    from pyspark.sql import SparkSession

    SparkSession.builder.master(address).appName("birdlib").getOrCreate()
    register_spark()
    return "spark"


def _engine_error(what):
    engine, address = configured()
    return EngineError(
        f"{engine} at {address} {what}: check that it runs, that its workers import birdlib (PYTHONPATH={runtime.repository()}) and see the same "
        "files; the same command then goes on from here, and without --engine on this machine"
    )


def _first_line(error):
    return (str(error).splitlines() or [""])[0][:300]
