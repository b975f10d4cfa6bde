"""A run that is killed again and again, on workers that die, on a disk that fills up: the results are those of an undisturbed run, or the error says what to do."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import made_archive
import numpy as np
import psutil
import pytest

from birdlib import parallel, runtime, stages

N_KILLS = int(os.environ.get("BIRDLIB_TEST_KILLS", "3"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return made_archive.make(tmp_path_factory.mktemp("archive") / "field")


@pytest.fixture(scope="module")
def undisturbed(archive):
    """(outputs, seconds) of one process without workers."""
    outputs, began = archive.parents[1] / "undisturbed", time.monotonic()
    assert made_archive.start(archive, outputs, "-p", "n_jobs=1").wait() == 0, outputs.with_suffix(".log").read_text()
    return outputs, time.monotonic() - began


def require_same(outputs, undisturbed):
    expected = made_archive.results(undisturbed)
    assert {name.split("/")[0] for name in expected} == set(made_archive.STAGES) and len(expected) > 25
    assert made_archive.results(outputs) == expected
    for name in made_archive.STAGES:
        ours, others = (stages.receipt(folder, name) for folder in (outputs, undisturbed))
        assert ours["results"] == others["results"] and ours["digest"] == others["digest"]
    assert made_archive.half_written(outputs) == []


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_gives_the_same_bytes(archive, undisturbed):
    """SIGKILL to the run or to one of its workers, and then to all that is left of it, at random moments; the next run starts at once."""
    outputs, rng, n_killed = archive.parents[1] / "killed", np.random.default_rng(0), 0
    while n_killed < N_KILLS:
        process = made_archive.start(archive, outputs, "-p", "n_jobs=2", "--force")
        time.sleep(rng.uniform(0.1, 1.0) * undisturbed[1])
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            tree[rng.integers(len(tree))].kill()
            n_killed += 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert made_archive.start(archive, outputs, "-p", "n_jobs=2").wait() == 0, outputs.with_suffix(".log").read_text()
    require_same(outputs, undisturbed[0])


@pytest.fixture
def cluster(tmp_path):
    """(address, workers) of a Dask scheduler and two worker processes with one thread each."""
    distributed = pytest.importorskip("distributed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(runtime.repository()), os.environ.get("PYTHONPATH", "")])}
    file = tmp_path / "scheduler.json"

    def start(kind, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(file), "--no-dashboard", *options]
        log = open(tmp_path / f"{kind}.log", "ab")  # noqa: SIM115 - closed with the processes
        processes.append((subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log), log))
        return processes[-1][0]

    processes = []
    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        workers = [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        deadline = time.monotonic() + 60
        while not file.is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            yield client.scheduler.address, workers
    finally:
        for process, log in reversed(processes):
            process.kill()
            process.wait()
            log.close()


@pytest.mark.slow
def test_dask_gives_the_same_bytes_though_a_worker_is_killed(archive, undisturbed, cluster):
    address, workers = cluster
    outputs = archive.parents[1] / "dask"
    process = made_archive.start(archive, outputs, "--engine", "dask", "--address", address, kernels=True)
    journal, deadline = outputs / "02_clean" / ".journal.jsonl", time.monotonic() + 300
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= 3) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    workers[0].kill()
    assert process.poll() is None
    assert process.wait() == 0, outputs.with_suffix(".log").read_text()
    require_same(outputs, undisturbed[0])


@pytest.mark.slow
def test_a_task_that_kills_every_worker_of_dask_ends_in_an_error(cluster, monkeypatch):
    """joblib alone would wait for ever. Two workers are fewer than Dask tries, so the rest waits for new ones: patience ends it."""

    def die(n):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(parallel, "_PATIENCE_S", 5.0)
    with parallel.on_engine("dask", cluster[0]), pytest.raises(parallel.EngineError, match="dask at tcp.* gave up .*check that it runs"):
        list(parallel.map_unordered(die, {"a.wav": {"n": 1}}))


FULL_DISK = """
import subprocess, sys, warnings
from pathlib import Path
from birdlib import locks, runtime
from birdlib.audio import clips
from birdlib.data import manifest

path, disk = map(Path, sys.argv[1:])

def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)

mount("size=300k")
table, root = manifest.load(path)
options = {"policy": "keep", "denoise": "none", "threshold": 0.6, "seed": 0, "n_jobs": 1}
try:
    clips.clean_recordings(table, root, disk / "02_clean", **options)
except runtime.FullDiskError as error:
    print(error)
print("half-written:", [file.name for file in (disk / "02_clean" / "audio").glob(".*")])
mount("remount,size=50m")
cleaned, skipped = clips.clean_recordings(table, root, disk / "02_clean", **options)
print("digests:", runtime.digest(cleaned["digest"].tolist()), len(skipped))
mount("remount,ro")
try:
    with locks.lock_folder(disk, "choose other --outputs"):
        pass
except locks.LockError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one_end_in_a_message(archive, tmp_path):
    """On a disk of 300 kB in memory, in a namespace of its own."""
    namespace = ["unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine mounts nothing for a test")
    command = [*namespace, sys.executable, "-c", FULL_DISK, str(archive), str(tmp_path)]
    done = subprocess.run(command, cwd=runtime.repository(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, half_written, digests, read_only = done.stdout.splitlines()
    assert full.startswith(str(tmp_path / "02_clean")) and "the disk is full; free some space and run again" in full
    assert half_written == "half-written: []"
    assert digests.split()[1:] == [expected_digests(archive), "1"]
    assert read_only == f"{tmp_path} cannot be written into (Read-only file system): choose other --outputs"


def expected_digests(archive):
    """Of the same files on a disk with room."""
    from birdlib.audio import clips
    from birdlib.data import manifest

    table, root = manifest.load(archive)
    cleaned, _ = clips.clean_recordings(table, root, archive.parents[1] / "room", policy="keep", denoise="none", threshold=0.6, seed=0, n_jobs=1)
    return runtime.digest(cleaned["digest"].tolist())
