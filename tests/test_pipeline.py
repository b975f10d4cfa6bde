"""Facts about the runner, on notebooks made for the purpose."""

import json

import nbformat
import pytest

from birdlib import __main__, pipeline, report, runtime, stages, weights

SPLIT = """from birdlib import stages
stage = stages.start("01_split", outputs_dir, seed=seed)
(stage.folder / "splits.csv").write_text(f"seed {seed}")
stages.finish(stage, {"root": ".", "macro_auc": [0.9, 0.85, 0.95]})"""
CLEAN = """from birdlib import stages
stage = stages.start("02_clean", outputs_dir, policy=policy)
assert policy != "wrong", "there is no such policy"
(stage.folder / "clips.csv").write_text(policy)
stages.finish(stage, {"clips": 3})"""


def notebook(path, parameters, code):
    cells = [
        nbformat.v4.new_markdown_cell(f"# {path.stem}"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Two small notebooks in place of the real ones; gives the outputs folder."""
    (tmp_path / "notebooks").mkdir()
    notebook(tmp_path / "notebooks" / "01_split.ipynb", 'outputs_dir = "outputs"  # where\nseed = 0  # of it', SPLIT)
    notebook(
        tmp_path / "notebooks" / "02_clean.ipynb", 'outputs_dir = "outputs"  # where\npolicy = "remove"  # of it', CLEAN
    )
    paths = sorted((tmp_path / "notebooks").glob("*.ipynb"))
    monkeypatch.setattr(pipeline, "notebooks", lambda: paths)
    monkeypatch.setattr(stages, "READS", {"01_split": [], "02_clean": ["01_split"]})
    return tmp_path / "outputs"


def test_the_chain_runs_once_and_is_then_current(chain):
    assert pipeline.run(chain) == {"01_split": "ran", "02_clean": "ran"}
    assert pipeline.run(chain) == {"01_split": "current", "02_clean": "current"}
    page = (chain / "report.html").read_text()
    assert "0.900 [0.850, 0.950]" in page and "clips: 3" in page


def test_a_changed_parameter_runs_its_stage_and_what_reads_it(chain):
    pipeline.run(chain)
    assert pipeline.run(chain, given={"policy": "keep"}) == {"01_split": "current", "02_clean": "ran"}
    assert pipeline.run(chain, given={"policy": "keep", "seed": 1}) == {"01_split": "ran", "02_clean": "ran"}


def test_a_changed_notebook_runs_again(chain):
    pipeline.run(chain)
    first = pipeline.notebooks()[0]
    notebook(first, 'outputs_dir = "outputs"  # where\nseed = 0  # of it', SPLIT + "\nprint(1)")
    assert pipeline.run(chain) == {"01_split": "ran", "02_clean": "current"}


def test_only_and_from_choose_stages(chain):
    assert pipeline.run(chain, only="01") == {"01_split": "ran"}
    assert pipeline.run(chain, first="02") == {"02_clean": "ran"}
    assert pipeline.run(chain, only="01", force=True) == {"01_split": "ran"}
    with pytest.raises(pipeline.ChainError, match="no notebook 42"):
        pipeline.run(chain, only="42")


def test_a_parameter_that_no_notebook_declares_is_refused(chain):
    with pytest.raises(pipeline.ChainError, match="polcy.*there are: outputs_dir, policy, seed"):
        pipeline.run(chain, given={"polcy": "keep"})
    with pytest.raises(pipeline.ChainError, match="seed wants int, got 'x'"):
        pipeline.run(chain, given={"seed": "x"})


def test_a_failure_names_the_cell_the_error_and_the_path_and_exits_with_1(chain, capsys):
    assert __main__.main(["run", "--outputs", str(chain), "-p", "policy=wrong"]) == 1
    told = capsys.readouterr().err
    assert "02_clean failed in cell" in told and "there is no such policy" in told
    assert str(chain / "notebooks" / "02_clean.failed.ipynb") in told
    assert not pipeline.executed_path(chain, pipeline.notebooks()[1]).exists()
    assert stages.why_stale(chain, "02_clean", {"policy": "wrong"}) == "not finished yet"
    assert __main__.main(["run", "--outputs", str(chain)]) == 0
    assert not (chain / "notebooks" / "02_clean.failed.ipynb").exists()


def test_values_on_the_command_line_are_literals_where_they_can_be():
    assert [pipeline.parse_value(text) for text in ("3", "0.5", "True", "remove", "a b")] == [
        3,
        0.5,
        True,
        "remove",
        "a b",
    ]


def test_the_report_shows_what_was_skipped(chain):
    pipeline.run(chain)
    table = stages.skipped_table([("audio/<bad>.ogg", "is empty (0 bytes)")], "02_clean")
    runtime.write_table(table, chain / "02_clean" / "skipped.parquet")
    page = report.write(chain).read_text()
    assert "1 files were skipped" in page and "audio/&lt;bad&gt;.ogg" in page


def test_weights_are_listed_without_the_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights.subprocess, "run", None)
    assert __main__.main(["weights"]) == 0
    assert "yamnet" in capsys.readouterr().out


def test_the_progress_file_of_a_notebook_is_followed(tmp_path):
    with pipeline._progress_bars(1) as (_, file):
        file.write_text(json.dumps({"desc": "embedding", "n": 3, "total": 9}))
