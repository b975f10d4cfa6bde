"""Facts about the runner, on notebooks made for the purpose."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from made_chain import CLEAN, SPLIT, put_chain
from made_notebooks import notebook

from birdlib import __main__, locks, runtime, stages
from birdlib.pipeline import execute, runner
from birdlib.reports import run_report


@pytest.fixture
def chain(tmp_path, monkeypatch):
    return put_chain(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A chain that has run once, and what it said."""
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        return folder, runner.run(put_chain(folder, patch))


@pytest.fixture
def finished(ran, tmp_path, monkeypatch):
    """The outputs folder of a copy of the chain that has run."""
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    return put_chain(tmp_path, monkeypatch)


def test_the_chain_runs_once_and_is_then_current(ran, finished):
    assert ran[1] == {"01_split": "ran", "02_clean": "ran"}
    assert runner.run(finished) == {"01_split": "current", "02_clean": "current"}
    page = (finished / "report.html").read_text()
    assert "0.90 [0.85, 0.95]" in page and "<dt>Clips</dt><dd>3</dd>" in page


def test_a_changed_parameter_runs_its_stage_and_what_reads_it(finished):
    assert runner.run(finished, given={"policy": "keep"}) == {"01_split": "current", "02_clean": "ran"}
    assert runner.run(finished, given={"policy": "keep", "seed": 1}) == {"01_split": "ran", "02_clean": "ran"}


def test_a_changed_notebook_runs_again(finished):
    first = runner.notebooks()[0]
    notebook(first, 'outputs_dir = "outputs"  # where\nseed = 0  # of it', SPLIT + "\nprint(1)")
    assert runner.run(finished) == {"01_split": "ran", "02_clean": "current"}


def test_only_and_from_choose_stages(chain):
    assert runner.run(chain, only="01") == {"01_split": "ran"}
    assert runner.run(chain, first="02") == {"02_clean": "ran"}
    assert runner.run(chain, only="01", force=True) == {"01_split": "ran"}
    with pytest.raises(execute.ChainError, match="no notebook 42"):
        runner.run(chain, only="42")


def test_a_parameter_that_no_notebook_declares_is_refused(chain):
    with pytest.raises(execute.ChainError, match="polcy.*there are: outputs_dir, policy, seed"):
        runner.run(chain, given={"polcy": "keep"})
    with pytest.raises(execute.ChainError, match="seed wants int, got 'x'"):
        runner.run(chain, given={"seed": "x"})


def test_a_failure_names_the_cell_the_error_and_the_path_and_exits_with_1(chain, capsys):
    assert __main__.main(["run", "--outputs", str(chain), "-p", "policy=wrong"]) == 1
    told = capsys.readouterr().err
    assert "02_clean failed in cell" in told and "there is no such policy" in told
    assert told.index("there is no such policy") < told.index("stages.start"), "the message comes before the cell"
    assert str(chain / "notebooks" / "02_clean.failed.ipynb") in told
    assert not execute.executed_path(chain, runner.notebooks()[1]).exists()
    assert stages.why_stale(chain, "02_clean", {"policy": "wrong"}) == "not finished yet"
    assert __main__.main(["run", "--outputs", str(chain)]) == 0
    assert not (chain / "notebooks" / "02_clean.failed.ipynb").exists()


def test_a_wrong_parameter_costs_no_finished_stage(finished):
    with pytest.raises(execute.ChainError, match="there is no such policy"):
        runner.run(finished, given={"policy": "wrong"})
    assert runner.run(finished) == {"01_split": "current", "02_clean": "current"}
    half = CLEAN.replace("stages.finish(", "1 / 0, (")
    notebook(runner.notebooks()[1], 'outputs_dir = "outputs"  # where\npolicy = "remove"  # of it', half)
    with pytest.raises(execute.ChainError, match="division by zero"):
        runner.run(finished, given={"policy": "keep"})
    assert not stages.can_be_read(finished, "02_clean")


def test_a_users_mistake_prints_its_message_only(chain, capsys):
    parameters = 'outputs_dir = "outputs"  # where\nseed = 0  # of it'
    notebook(runner.notebooks()[0], parameters, "from birdlib import runtime\nraise runtime.BirdlibError('birds.csv is empty: choose another')")
    assert __main__.main(["run", "--outputs", str(chain)]) == 1
    copy = chain / "notebooks" / "01_split.failed.ipynb"
    told = capsys.readouterr().err.splitlines()
    assert told[-2:] == ["birdlib: 01_split: birds.csv is empty: choose another", f"The notebook up to there: {copy}"]
    assert "Traceback" not in copy.read_text()


def test_folders_may_have_any_name(finished, tmp_path):
    """Papermill takes {species} in a path for a parameter."""
    outputs = finished.rename(tmp_path / "{species} $x #1 {} 100%")
    assert runner.run(outputs, given={"policy": "keep"}) == {"01_split": "current", "02_clean": "ran"}


@pytest.mark.parametrize(
    "text, default, value",
    [
        ("3", 1, 3),
        ("3", 0.5, 3.0),
        ("1e-3", 0.5, 0.001),
        ("true", False, True),
        ("False", True, False),
        ("512,256", "", "512,256"),
        ("256", "512", "256"),
        ("1e5", "", "1e5"),
        ("True", "", "True"),
        ("", "remove", ""),
        (3, 0.5, 3.0),
    ],
)
def test_a_value_takes_the_type_that_the_notebook_has_there(text, default, value):
    found = runner._as_type(text, type(default), "here")
    assert found == value and type(found) is type(default)


@pytest.mark.parametrize(
    "text, default", [("3.5", 1), ("yes", True), ("1", False), ("x", 0.5), ("", 1), (True, 1), (1, True)]
)
def test_a_value_of_another_type_is_refused(text, default):
    with pytest.raises(execute.ChainError, match=f"here wants {type(default).__name__}, got {text!r}"):
        runner._as_type(text, type(default), "here")


def test_given_paths_are_relative_to_the_current_folder_and_defaults_to_the_repository(tmp_path, monkeypatch):
    path = tmp_path / "01_split.ipynb"
    notebook(path, 'outputs_dir = "outputs"  # a\nmanifest = ""  # b\ndata_dir = "data/mine"  # c', "")
    asked = {}
    monkeypatch.setattr(runner, "notebooks", lambda: [path])
    monkeypatch.setattr(runner, "_run", lambda chosen, parameters, *_: asked.update(parameters[path]))
    monkeypatch.chdir(tmp_path)
    runner.run("out", given={"manifest": "my birds.csv"})
    assert asked == {
        "outputs_dir": str(tmp_path / "out"),
        "manifest": str(tmp_path / "my birds.csv"),
        "data_dir": str(runtime.repository() / "data" / "mine"),
    }
    with pytest.raises(execute.ChainError, match="by --outputs"):
        runner.run("out", given={"outputs_dir": "elsewhere"})


def test_executed_copies_never_replace_the_notebooks(chain):
    before = [path.read_bytes() for path in runner.notebooks()]
    with pytest.raises(execute.ChainError, match="has the notebooks themselves"):
        runner.run(chain.parent)
    assert [path.read_bytes() for path in runner.notebooks()] == before


def test_outputs_that_cannot_be_written_are_named(chain, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(locks.LockError, match=r"file/outputs cannot be written into \(Not a directory\): choose other --outputs"):
        runner.run(tmp_path / "file" / "outputs")


def test_a_second_run_into_the_same_outputs_is_refused(chain):
    fcntl = pytest.importorskip("fcntl")
    chain.mkdir()
    with open(chain / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(locks.LockError, match=f"another run writes into {chain}"):
            runner.run(chain)
    assert runner.run(chain, only="1") == {"01_split": "ran"}


@pytest.mark.parametrize("code", ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "print(1)"])
def test_a_dead_kernel_is_reported_with_its_log(chain, code):
    first = runner.notebooks()[0]
    talk = "import os\nos.write(2, b'loading')\n"
    notebook(first, 'outputs_dir = "outputs"  # where\nseed = 0  # of it', talk + code)
    if "SIGKILL" in code:
        with pytest.raises(execute.ChainError, match="01_split: its kernel died.*\n.*01_split.log"):
            runner.run(chain, only="01")
    else:
        runner.run(chain, only="01")
    assert "loading" in (chain / "notebooks" / "01_split.log").read_text()


def test_log_lines_name_the_file_at_fault_and_stay_out_of_the_notebook(chain):
    first = runner.notebooks()[0]
    code = """from birdlib import notebook_setup, resume, runtime
notebook_setup.prepare(".")
def fail(n):
    raise runtime.FileError("field/a.wav", "is empty: copy it again")
rows = resume.map_resumable(fail, {"robin-12": {"n": 1}}, outputs_dir + "/journal.jsonl")"""
    notebook(first, 'outputs_dir = "outputs"  # where\nseed = 0  # of it', code)
    runner.run(chain, only="01")
    lines = (chain / "notebooks" / "01_split.log").read_text().splitlines()
    assert any(re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]+ robin-12: skipped: field/a.wav: is empty: copy it again", line) for line in lines)
    assert "robin-12: skipped" not in (chain / "notebooks" / "01_split.ipynb").read_text()


def test_a_damaged_copy_or_receipt_runs_again(finished):
    execute.executed_path(finished, runner.notebooks()[0]).write_text('{"cells": ')
    assert runner.run(finished) == {"01_split": "ran", "02_clean": "current"}
    (finished / "02_clean" / stages.RECEIPT).write_text("{")
    run_report.write(finished)
    assert runner.run(finished) == {"01_split": "current", "02_clean": "ran"}


def test_an_interrupted_run_ends_with_130_and_leaves_no_half_notebook(chain, tmp_path):
    """SIGINT to the whole group, as Ctrl-C sends it."""
    first = runner.notebooks()[0]
    notebook(
        first,
        'outputs_dir = "outputs"  # where',
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)",
    )
    script = (
        "import pathlib, sys\nfrom birdlib import __main__, runtime\nfrom birdlib.pipeline import execute, runner\n"
        f"runner.notebooks = lambda: [pathlib.Path(r'{first}')]\n"
        f"runtime.repository = lambda: pathlib.Path(r'{tmp_path}')\n"
        f"sys.exit(__main__.main(['run', '--outputs', r'{chain}']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=runtime.repository(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background job would hand on that it is ignored
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "stopped; the same command resumes here" in told
    assert not list((chain / "notebooks").glob("*.ipynb"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_without_a_terminal_only_stages_are_printed(chain):
    script = "from birdlib.pipeline import execute\nwith execute.progress_bars(3) as (bar, _):\n    bar.update()\n    bar.write('01_split: done', file=__import__('sys').stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=runtime.repository(), capture_output=True, text=True)
    assert done.stderr == "01_split: done\n"


def test_the_report_shows_what_was_skipped(finished):
    long = "a" * 200
    rows = [("audio/<bad>.ogg", "is empty\n\n(0 bytes)")] + [(f"{long}{i}.ogg", "is empty") for i in range(210)]
    runtime.write_table(stages.skipped_table(rows, "02_clean"), finished / "02_clean" / "skipped.parquet")
    page = run_report.write(finished).read_text()
    assert "211 files were skipped" in page and "The first 200 of 211" in page
    assert "audio/&lt;bad&gt;.ogg" in page and "is empty (0 bytes)" in page
    assert f"{long}198.ogg" in page and f"{long}199.ogg" not in page


def test_the_report_needs_no_network(finished):
    page = run_report.write(finished).read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert 'href="notebooks/02_clean.ipynb"' in page


def test_weights_are_listed_without_the_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", None)
    assert __main__.main(["weights"]) == 0
    assert "yamnet" in capsys.readouterr().out


def test_the_progress_file_of_a_notebook_is_followed(tmp_path):
    with execute.progress_bars(1) as (_, file):
        file.write_text(json.dumps({"desc": "embedding", "n": 3, "total": 9}))


def test_the_bar_of_each_task_begins_at_nought(tmp_path, monkeypatch, capsys):
    """Two tasks of one name, one after the other, and one whose length is not known."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    with execute.progress_bars(1) as (_, file):
        for told in [("cleaning", 9, 9), ("cleaning", 1, 9), ("listening", 5, None)]:
            runtime.write_json(dict(zip(("desc", "n", "total"), told, strict=True)), file)
            time.sleep(1.5)  # three looks
    lines = capsys.readouterr().err
    assert lines.index("9/9") < lines.index("1/9") < lines.index(" 5it [")
