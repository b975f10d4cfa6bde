"""Locks: one writer at a time, who it is, and that a dead one is in nobody's way."""

import os
import signal
import subprocess
import sys
import time

import pytest

from birdlib import locks, runtime, stages


def test_a_locked_folder_is_refused_with_a_remedy_and_free_after_the_block(tmp_path):
    pytest.importorskip("fcntl")
    with locks.lock_folder(tmp_path / "new"):
        with pytest.raises(locks.LockError, match="another run writes into .*new, process .*: wait for its end, or choose another"):
            with locks.lock_folder(tmp_path / "new", "choose another"):
                pass
    with locks.lock_folder(tmp_path / "new", "choose another"):
        pass


def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    for remedy, shown in (("choose another", "choose another"), ("", "or choose another folder")):
        with pytest.raises(locks.LockError, match=rf"deep cannot be written into \(Not a directory\): .*{shown}$"), locks.lock_folder(tmp_path / "file" / "deep", remedy):
            pass


def test_a_folder_that_became_read_only_is_named(tmp_path, monkeypatch):
    with locks.lock_folder(tmp_path, "choose another"):
        pass
    monkeypatch.setattr(locks.os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(locks.LockError, match=r"cannot be written into \(Permission denied\): choose another"), locks.lock_folder(tmp_path, "choose another"):
        pass


def test_a_drive_without_locks_is_a_warning(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="cannot be locked"), locks.lock_folder(tmp_path, "choose another"):
        pass


HOLDER = """
import sys, time
from birdlib import locks, stages
stages.READS = {"01_split": [], "02_clean": []}
if sys.argv[2] == "run":
    with locks.lock_folder(sys.argv[1], "wait", "run"):
        print("held", flush=True)
        time.sleep(60)
stage = stages.start(sys.argv[2], sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def start_holder(tmp_path):
    """Start a process that locks the outputs folder (``run``) or opens a stage; it is killed after the test."""
    pytest.importorskip("fcntl")
    started = []

    def start(what):
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), what], cwd=runtime.repository(), stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "_GRACE_S", 0.3)
    monkeypatch.setattr(stages, "READS", {"01_split": [], "02_clean": []})


def test_a_refusal_names_the_process_the_machine_and_what_it_does(tmp_path, start_holder):
    process = start_holder("run")
    who = rf"process {process.pid} on .+ \(run, since \d{{4}}-"
    assert locks.holder(tmp_path).startswith(f"process {process.pid} on ")
    with pytest.raises(locks.LockError, match=f"another run writes into {tmp_path}, {who}.*: wait for its end, or choose others"):
        with locks.lock_folder(tmp_path, "choose others"):
            pass
    assert locks.holder(tmp_path).startswith(f"process {process.pid} on "), "a refused run leaves the name of the holder"


def test_a_killed_process_holds_nothing(tmp_path, start_holder):
    process = start_holder("run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks.holder(tmp_path) == ""
    with locks.lock_folder(tmp_path, "choose others", "run"):
        assert f"process {os.getpid()} on " in locks.holder(tmp_path)


def test_a_stage_is_open_in_one_process_and_another_stage_may_be_open_beside_it(tmp_path, start_holder):
    process = start_holder("01_split")
    began = time.monotonic()
    with pytest.raises(locks.LockError, match=rf"01_split, process {process.pid} on .* \(01_split, since .*close its notebook"):
        stages.start("01_split", tmp_path)
    assert time.monotonic() - began < 5
    stages.finish(stages.start("02_clean", tmp_path), {})
    assert locks.holder(tmp_path / "02_clean") == "", "a finished stage is free"
    process.kill()
    stages.finish(stages.start("01_split", tmp_path), {})


def test_a_stage_that_failed_may_be_opened_again_by_its_process(tmp_path):
    stages.start("01_split", tmp_path)
    (tmp_path / "01_split" / "stage.json").write_text("{}")
    stages.start("01_split", tmp_path)
    assert not (tmp_path / "01_split" / "stage.json").exists()
    assert f"process {os.getpid()} on " in locks.holder(tmp_path / "01_split")
    locks.release(tmp_path / "01_split")


def test_reading_needs_no_lock(tmp_path, start_holder):
    (tmp_path / "01_split").mkdir()
    stage = stages.start("01_split", tmp_path)
    runtime.write_json(["robin"], stage.folder / "classes.json")
    stages.finish(stage, {})
    start_holder("run")
    start_holder("02_clean")
    assert stages.read(tmp_path, "01_split", "classes.json") == ["robin"]
