import analysed
import pytest

from birdlib import __main__
from birdlib.analysis import models


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    analysed.use(monkeypatch)
    own = analysed.model(licences={"yamnet": "Apache-2.0"})
    monkeypatch.setattr(models, "choose", lambda model, outputs: (own, f"the classifier {model or outputs}."))
    analysed.tone("a.wav", "0110")
    return tmp_path


def test_the_summary_says_what_was_used_and_found_and_where_it_is(here, capsys):
    assert __main__.main(["analyse", "a.wav", "--no-html", "--to", "raven", "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    for words in ("Model: the classifier outputs.", "Licence of yamnet: Apache-2.0", "1 file, 4 s of sound", "Low bird", "Tables: analysis", "analysis/raven"):
        assert words in shown
    assert not (here / "analysis" / "report.html").exists() and "Page" not in shown


def test_formats_of_tracks_are_left_out_where_there_are_no_films(here, capsys):
    (here / "analysis/raven").mkdir(parents=True)
    (here / "analysis/raven/notes.txt").write_text("mine")
    assert __main__.main(["analyse", "a.wav", "--no-html", "--to", "cvat,raven", "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Formats: analysis/raven\n" in shown and "Not written, as no birds were tracked in films: cvat" in shown
    assert sorted(path.name for path in (here / "analysis/raven").iterdir()) == ["a.Table.1.selections.txt", "notes.txt"]


def test_a_page_is_written(here, capsys):
    assert __main__.main(["analyse", "*.wav", "--output", "there", "--jobs", "1"]) == 0
    assert (here / "there" / "report.html").is_file() and "Page: there/report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no file, folder or match for nowhere"),
        (["."], ""),
        (["a.wav", "--week", "18"], "without a location"),
        (["a.wav", "--to", "excel"], "'excel'"),
        (["a.wav", "--overlap", "7"], "overlap"),
        (["a.wav", "--min-confidence", "50"], "0.01 to 0.99"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_a_remedy(here, capsys, words, message):
    if not message:
        (here / "a.wav").unlink()
        message = "there are no recordings in .: sounds end in"
    assert __main__.main(["analyse", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (here / "analysis").exists()


def test_output_that_exists_is_kept(here, capsys):
    options = ["analyse", "a.wav", "--no-html", "--jobs", "1"]
    assert __main__.main(options) == 0
    assert __main__.main([*options, "--overlap", "0.5"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert __main__.main([*options, "--overlap", "0.5", "--overwrite"]) == 0


def test_files_that_cannot_be_read_at_all_are_a_failure(here, capsys):
    (here / "bad.wav").write_bytes(b"no sound")
    assert __main__.main(["analyse", "bad.wav", "--jobs", "1"]) == 1
    assert "bad.wav" in capsys.readouterr().out


def test_no_merge_is_a_row_a_window(here):
    import pandas as pd

    __main__.main(["analyse", "a.wav", "--no-html", "--no-merge", "--jobs", "1"])
    assert pd.read_csv("analysis/detections.csv")["n_windows"].tolist() == [1, 1]
