import sys
import types

import numpy as np
import pandas as pd

from birdlib import __main__
from birdlib.pipeline import real_rows
from birdlib.species import loss_study, mel_study, pooling_study


def test_bench_losses_prints_both_tables_of_its_folder(monkeypatch, capsys):
    row = {"labels": "recordings", "loss": "focal", "macro_auc": [0.5, 0.4, 0.6], "difference": [0.0, -0.1, 0.1], "accuracy": 0.25, "offset": 1.0}
    asked = []
    monkeypatch.setattr(loss_study, "run", lambda outputs, epochs: asked.append((outputs, epochs)) or (pd.DataFrame([row]), pd.DataFrame([row])))
    assert __main__.main(["bench", "losses", "--outputs", "mine", "--epochs", "3"]) == 0
    printed = capsys.readouterr().out
    assert asked == [("mine", 3)] and "0.500 [0.400, 0.600]" in printed.split("Test, once")[1] and "focal" in printed.split("Test, once")[0]


def test_bench_losses_without_a_finished_stage_names_the_notebook(tmp_path, capsys):
    assert __main__.main(["bench", "losses", "--outputs", str(tmp_path)]) == 1
    assert "01_split" in capsys.readouterr().err


def test_bench_pooling_prints_its_table(monkeypatch, capsys):
    row = {"embedder": "yamnet", "pooling": "maximum", "macro_auc": 0.5, "accuracy": 0.25, "macro_auc_difference": [-0.1, -0.2, -0.05], "verdict": "hurts"}
    asked = []
    monkeypatch.setattr(pooling_study, "run", lambda outputs: asked.append(outputs) or pd.DataFrame([row]))
    assert __main__.main(["bench", "pooling", "--outputs", "mine"]) == 0
    assert asked == ["mine"] and "-0.100 [-0.200, -0.050]" in capsys.readouterr().out


def test_bench_mel_prints_its_table(monkeypatch, capsys):
    row = {"name": "+ SWA", "against": "mel CNN", "macro_auc": [0.5, 0.4, 0.6], "difference": [0.1, 0.05, 0.2], "verdict": "helps", "training_s": 3.4}
    row |= {"soundscape_auc": [np.nan] * 3, "soundscape_difference": [np.nan] * 3}
    asked = []
    monkeypatch.setattr(mel_study, "run", lambda outputs, epochs, steps: asked.append((outputs, epochs, steps)) or pd.DataFrame([row]))
    assert __main__.main(["bench", "mel", "--outputs", "mine", "--epochs", "3", "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    assert asked == [("mine", 3, 2)] and "0.100 [0.050, 0.200]" in printed and "helps: + SWA" in printed and "nan" not in printed


def test_bench_real_prints_each_job_and_leaves_out_those_without_a_table(tmp_path, monkeypatch, capsys):
    (tmp_path / "individuals.csv").write_text("recording_id\n")
    rows = [real_rows.Row("voices", real_rows.SUITE, "accuracy", 0.5, 0.4, 0.6, 12), real_rows.Row("voices", "chance", "accuracy", 0.1)]
    monkeypatch.setitem(sys.modules, "birdlib.pipeline.real_voices", types.SimpleNamespace(rows=lambda *arguments, **options: rows))
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["bench", "real", "--data", str(tmp_path), "--only", "films,voices"]) == 0
    printed = capsys.readouterr().out
    assert "0.500 [0.400, 0.600]" in printed and "0.100" in printed and "nan" not in printed
    assert "films: left out" in printed and "videos.csv" in printed


def test_bench_real_names_what_is_missing(tmp_path, capsys):
    for arguments, remedy in (([], "--data"), (["--data", str(tmp_path)], "species24.csv"), (["--data", str(tmp_path), "--only", "songs"], "sound, photos")):
        assert __main__.main(["bench", "real", *arguments]) == 1
        assert remedy in capsys.readouterr().err
