"""The command ``manifest``: what it writes, prints and refuses."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_layouts import touch, write

from birdlib.__main__ import main
from birdlib.data import manifest
from birdlib.data.layouts import registry


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_manifest_beside_the_recordings(here, capsys):
    touch(here, "birds/robin/POND_20250414_061000.wav", "birds/robin/POND_20250415_061000.wav", "birds/wren/b.jpg", "birds/noise/c.wav", "birds/c.mp4", "birds/d.zip")
    assert main(["manifest", "birds"]) == 0
    table, _ = manifest.load("manifest.csv")
    assert sorted(table["audio_path"] + table["image_path"] + table["video_path"]) == [
        "birds/c.mp4", "birds/robin/POND_20250414_061000.wav", "birds/robin/POND_20250415_061000.wav", "birds/wren/b.jpg",
    ]  # fmt: skip
    unplaced = pd.read_csv("manifest.unplaced.csv")
    assert list(unplaced["path"]) == ["d.zip", "noise/c.wav"] and "unpack" in unplaced["reason"][0]
    printed = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in printed.splitlines() if "  " in line}
    assert "species-folders in .: species are names of folders, such as 'robin'" in printed
    assert lines["rows"] == "4" and lines["sounds, photos, films"] == "2, 1, 1" and lines["species"] == "2"
    assert lines["rows per species"] == "1 to 2, median 1.5" and lines["without species"] == "1 films, to be counted" and lines["groups"] == "4"
    assert "50%" in printed and "by recorder or folder, and day in the file name" in printed and "each file alone" in printed
    assert "manifest.unplaced.csv" in lines["unplaced"]
    assert printed.rstrip().endswith("python -m birdlib run --manifest manifest.csv --outputs my_outputs")


def test_a_table_that_exists_is_kept_unless_overwritten(here, capsys):
    touch(here, "birds/robin/a.wav")
    write(here, "mine.csv", "kept")
    assert main(["manifest", "birds", "--output", "mine.csv"]) == 1
    assert "exists and is kept: give --overwrite" in capsys.readouterr().err and (here / "mine.csv").read_text() == "kept"
    assert main(["manifest", "birds", "--output", "mine.csv", "--overwrite"]) == 0
    assert len(manifest.load("mine.csv")[0]) == 1


def test_paths_are_relative_to_the_manifest(here, capsys):
    touch(here, "birds/robin/a.wav")
    assert main(["manifest", "birds", "--output", "birds/tables/m.csv"]) == 0
    assert pd.read_csv("birds/tables/m.csv")["audio_path"][0] == "../robin/a.wav"
    assert len(manifest.load("birds/tables/m.csv")[0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no folder"),
        (["birds", "--layout", "cup"], "layout 'cup' is unknown; the known ones are"),
        (["birds", "--output", "m.parquet"], "a manifest is a CSV table"),
        (["birds/robin"], "--species NAME"),
        (["birds", "--output", "folder.csv"], "is a folder: give the name of the table"),
        (["birds", "--output", "birds/robin/a.wav/m.csv"], "cannot be written"),
    ],
)
def test_errors_name_the_remedy(here, capsys, arguments, message):
    touch(here, "birds/robin/a.wav", "folder.csv/x")
    assert main(["manifest", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (here / "manifest.csv").exists()


def test_a_birdclef_folder_can_be_read_as_it_is(here, capsys):
    write(here, "data/train.csv", "primary_label,secondary_labels,filename,author,latitude,longitude\namekes,[],amekes/XC1.ogg,Ana,1,2\n")
    touch(here, "data/train_audio/amekes/XC1.ogg")
    assert main(["manifest", "data"]) == 0
    assert "run --data data reads it as it is" in capsys.readouterr().out


def test_labels_that_look_alike_are_noted(here, capsys):
    touch(here, "birds/Robin/a.wav", "birds/robin/b.wav", "birds/robin/c.wav")
    assert main(["manifest", "birds"]) == 0
    assert "Note: 1 spellings of labels look like others and were merged: 'Robin' as 'robin'" in capsys.readouterr().out


def test_the_names_asked_for(here, capsys):
    touch(here, "birds/Turdus merula_Common Blackbird/a.wav")
    assert main(["manifest", "birds", "--names", "common"]) == 0
    assert list(manifest.load("manifest.csv")[0]["species"]) == ["Common Blackbird"]


def test_help_lists_every_layout(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["manifest", "--help"])
    listed = " ".join(capsys.readouterr().out.split())
    assert all(name in listed for name in registry.LAYOUTS)


@pytest.mark.slow
def test_stage_01_runs_on_it(here):
    """The notebook itself, by ``run --only 01``."""
    rng = np.random.default_rng(0)
    for site in ("pond", "wood", "hill", "lake"):
        for bird in ("robin", "wren"):
            for day in (14, 15):
                path = here / "birds" / bird / f"{site}_202504{day}_061000.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, rng.normal(size=48_000) * 0.1, 16_000)
    assert main(["manifest", "birds"]) == 0
    assert main(["run", "--manifest", "manifest.csv", "--outputs", "out", "--only", "01"]) == 0
    assigned = pd.read_parquet(here / "out" / "01_split" / "splits.parquet")
    assert set(assigned["split"]) == {"train", "validation", "test"} and assigned.groupby("group_id")["split"].nunique().max() == 1
