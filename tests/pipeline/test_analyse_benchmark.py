"""Facts about the benchmark of ``analyse``."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import __main__, runtime
from birdlib.pipeline import analyse_benchmark


def table(*rows):
    return pd.DataFrame(rows, columns=["path", "start_s", "species", "confidence"])


THEIRS = table(("a.wav", 0.0, "wren", 0.9), ("a.wav", 3.0, "wren", 0.5), ("a.wav", 6.0, "wren", 0.24), ("b.wav", 0.0, "robin", 0.3))


def test_equal_tables_agree():
    assert analyse_benchmark.compare(THEIRS, THEIRS) == {"rows": 3, "agreeing": 1.0, "max_difference": 0.0, "only_ours": 0}


def test_rows_with_another_confidence_and_missing_rows_do_not_agree():
    ours = table(("a.wav", 0.0, "wren", 0.895), ("a.wav", 3.0, "wren", 0.52), ("c.wav", 0.0, "robin", 0.3))
    found = analyse_benchmark.compare(ours, THEIRS)
    assert found["agreeing"] == pytest.approx(1 / 3) and found["max_difference"] == pytest.approx(0.02) and found["only_ours"] == 1
    assert "33.33% of birdnetlib's 3 rows" in analyse_benchmark.describe(found)


def test_a_row_at_the_threshold_is_not_lost_by_rounding():
    """0.2501 and 0.2499 differ by less than 0.01, and both tables hold what lies a little below the threshold."""
    assert analyse_benchmark.compare(table(("a.wav", 0.0, "wren", 0.2499)), table(("a.wav", 0.0, "wren", 0.2501)))["agreeing"] == 1.0


def test_times_are_compared_to_hundredths_of_a_second():
    """birdnetlib adds up its steps, in floating point."""
    assert analyse_benchmark.compare(table(("a.wav", 6.9, "wren", 0.5)), table(("a.wav", 2.3 + 2.3 + 2.3, "wren", 0.5)))["agreeing"] == 1.0


def test_without_birdnetlib_there_is_a_note():
    assert "no comparison: install birdnetlib" in analyse_benchmark._why_no_peer(sys.executable)


def test_a_python_that_is_not_there_is_an_error():
    with pytest.raises(runtime.ParameterError, match="--peer-python"):
        analyse_benchmark._why_no_peer("no/such/python")


def test_results_of_all_parts_are_read_and_failures_are_told():
    script = 'import json, sys; request = json.load(sys.stdin); print("noise"); print("RESULT" + json.dumps(request["paths"]))'
    assert analyse_benchmark._run(sys.executable, script, [["a"], ["b"]]) == [["a"], ["b"]]
    with pytest.raises(runtime.BirdlibError, match="ZeroDivisionError"):
        analyse_benchmark._run(sys.executable, "1 / 0", [["a"]])


@pytest.mark.parametrize(("words", "message"), [(["analyse"], "needs recordings"), (["triplet", "a.wav"], "takes no files")])
def test_files_belong_to_the_benchmark_of_analyse(capsys, words, message):
    assert __main__.main(["bench", *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_benchmark_runs_without_birdnetlib(tmp_path, capsys):
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.01, 4 * 32_000), 32_000)
    assert __main__.main(["bench", "analyse", str(tmp_path), "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "birdlib, 1 process" in shown and "no comparison: install birdnetlib" in shown
