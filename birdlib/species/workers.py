"""Worker processes that predict soundscapes: each has one thread and its own copy of the members, so that scores are those of one process."""

import contextlib
import os
import time
import warnings

from birdlib import parallel, runtime

_state = {}  # of a worker: its members, their config, and the number of workers


class Workers:
    """Processes with the members of an ensemble.

    Args:
        n: processes.
        classifier_dir, weights_dir: of ``inference.load``.
        chosen: {member_id: backend}, as the members were certified; members without an entry are not loaded.
    """

    def __init__(self, n, classifier_dir, weights_dir, chosen):
        from joblib.externals import loky

        self.n = n
        self._pool = loky.ProcessPoolExecutor(n, initializer=_start, initargs=(n, str(classifier_dir), weights_dir, chosen, os.getcwd()), env=parallel.ONE_THREAD)

    def submit(self, path, soundscape, windows, inference_config):
        """A future of (``soundscape_predictions.predict_windows``, seconds) of a file: those that it took, divided by the number of workers."""
        return self._pool.submit(_predict, path, soundscape, windows, inference_config)

    def close(self):
        """End the processes."""
        self._pool.shutdown(kill_workers=True)


def require_number(n):
    """The number of workers ``n``; ParameterError if it is negative."""
    if n < 0:
        raise runtime.ParameterError(f"n_workers is {n}: choose 1, more, or 0 for one a core")
    return n


@contextlib.contextmanager
def start(n, classifier_dir, weights_dir, certificates):
    """Workers for a ``with`` statement; None for ``n`` of 1, where this process does the work.

    Args:
        n: processes; 0: as many as there are cores.
        certificates: of ``soundscape_predictions.prepare``.
    """
    from joblib import cpu_count

    n = require_number(n) or cpu_count()
    if n == 1:
        yield None
        return
    chosen = dict(zip(certificates["member_id"], certificates["chosen"], strict=True))
    workers = Workers(n, classifier_dir, weights_dir, chosen)
    try:
        yield workers
    finally:
        workers.close()


def _start(n, classifier_dir, weights_dir, chosen, folder):
    """Load the members; the main process has shown its warnings already."""
    from birdlib.species import inference

    os.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        members = inference.load(classifier_dir, weights_dir, n_threads=1)
    members = [member for member in members if member.member_id in chosen]
    for member in members:
        member.use(chosen[member.member_id])
    _state.update(n=n, members=members, config=inference.load_config(classifier_dir))


def _predict(path, soundscape, windows, inference_config):
    from birdlib.species import soundscape_predictions

    began = time.perf_counter()
    found = soundscape_predictions.predict_windows(path, soundscape, windows, _state["members"], _state["config"], inference_config)
    return found, (time.perf_counter() - began) / _state["n"]
