"""Resumable work: finished tasks are not repeated, unfinished ones are."""

import os
import signal
import subprocess
import sys
import time

import pytest

from birdlib import resume, runtime


def double(n, calls):
    with open(calls, "a") as file:
        file.write(f"{n}\n")
    if n == 3:
        raise runtime.BirdlibError("3 is broken")
    return {"n": 2 * n}


def run_doubles(tmp_path, numbers, **options):
    tasks = {str(n): {"n": n, "calls": str(tmp_path / "calls")} for n in numbers}
    return resume.map_resumable(double, tasks, tmp_path / "journal.jsonl", **options)


def test_finished_tasks_are_not_repeated_and_a_bad_file_is_a_row(tmp_path):
    rows = run_doubles(tmp_path, [1, 2, 3])
    assert rows == {"1": {"n": 2}, "2": {"n": 4}, "3": {"skipped_reason": "3 is broken"}}
    assert run_doubles(tmp_path, [4, 3, 2, 1]) == {"4": {"n": 8}, **dict(reversed(rows.items()))}
    assert sorted((tmp_path / "calls").read_text().split()) == ["1", "2", "3", "4"]


def test_without_anything_to_do_there_is_no_progress_bar(tmp_path, capsys):
    run_doubles(tmp_path, [1, 2])
    assert "2/2" in capsys.readouterr().err
    run_doubles(tmp_path, [1, 2])
    assert capsys.readouterr().err == ""


def test_a_truncated_line_is_repeated(tmp_path):
    whole = run_doubles(tmp_path, [1, 2])
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert run_doubles(tmp_path, [1, 2]) == whole
    assert len(journal.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "garbage", [b"#!*\n", b"\xff\xfe\n", b"3\n", b'{"name": "1"}\n', b'{"name": "1", "key": "", "row": 1}\n']
)
def test_an_unreadable_line_is_skipped(tmp_path, garbage):
    whole = run_doubles(tmp_path, [1, 2])
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(garbage + journal.read_bytes())
    assert run_doubles(tmp_path, [1, 2]) == whole
    assert sorted((tmp_path / "calls").read_text().split()) == ["1", "2"]


def fill_disk(n):
    raise runtime.FullDiskError("the disk is full")


def test_a_full_disk_stops_the_run(tmp_path):
    """Were it a skipped row, the journal would keep it, and the file would be missing for ever."""
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(runtime.FullDiskError):
        resume.map_resumable(fill_disk, {"a": {"n": 1}}, journal)
    assert journal.read_text() == ""


def test_a_row_whose_file_is_missing_is_repeated(tmp_path):
    run_doubles(tmp_path, [1, 2])
    run_doubles(tmp_path, [1, 2], is_whole=lambda row: row["n"] != 4)
    assert sorted((tmp_path / "calls").read_text().split()) == ["1", "2", "2"]


def test_a_killed_run_resumes_where_it_stopped(tmp_path):
    """SIGKILL in the middle: journalled results are kept and only the interrupted task is repeated."""
    script = (
        "import time; from birdlib import resume\n"
        "def slow(n):\n"
        "    time.sleep(0.05)\n"
        "    return {'n': n}\n"
        f"resume.map_resumable(slow, {{str(n): {{'n': n}} for n in range(200)}}, r'{tmp_path / 'journal.jsonl'}')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=runtime.repository(), stderr=subprocess.DEVNULL)
    journal = tmp_path / "journal.jsonl"
    deadline = time.monotonic() + 30
    while not (journal.is_file() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(journal.read_text().splitlines())
    assert 0 < before < 200
    calls = []

    def quick(n):
        calls.append(n)
        return {"n": n}

    rows = resume.map_resumable(quick, {str(n): {"n": n} for n in range(200)}, journal)
    assert [row["n"] for row in rows.values()] == list(range(200))
    assert before - 1 <= 200 - len(calls) <= before


def test_relative_paths_belong_to_the_folder_of_the_call(tmp_path, monkeypatch):
    """Processes are kept from call to call, and the notebook or script may have changed its folder."""

    def size_of(filename):
        return {"bytes": os.path.getsize(filename)}

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        rows = resume.map_resumable(size_of, {"a": {"filename": "a.txt"}, "b": {"filename": "a.txt"}}, "journal.jsonl", n_jobs=2)
        assert rows == {"a": {"bytes": len(name)}, "b": {"bytes": len(name)}}
