"""Processor time and memory of a process and its children."""

import contextlib
import math
import subprocess
import time

_SAMPLING_S = 0.5  # between two measurements


def watch(process, limit_s=math.inf):
    """(processor seconds, peak bytes) of a process and its children until it ends or the time is up; then all are killed."""
    import psutil

    root, cpu_s, peak = psutil.Process(process.pid), {}, 0
    ends = time.monotonic() + limit_s
    try:
        while process.poll() is None and time.monotonic() < ends:
            now = 0
            for member in _family(root):
                with contextlib.suppress(psutil.Error):
                    now += member.memory_info().rss
                    times = member.cpu_times()
                    cpu_s[member.pid] = times.user + times.system
            peak = max(peak, now)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLING_S)
    finally:
        family = _family(root)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()
        psutil.wait_procs(family[1:], timeout=3)
    return sum(cpu_s.values()), peak


def _family(root):
    import psutil

    with contextlib.suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []
