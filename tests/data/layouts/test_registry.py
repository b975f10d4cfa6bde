"""Which layout wins, what cannot be placed, and that the result is a manifest the chain takes."""

import os
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_layouts import by_path, reasons, touch, write

from birdlib.data import duplicates, manifest, media_paths, splits
from birdlib.data.layouts import registry
from birdlib.data.layouts.tree import LayoutError

TRAIN = (
    "primary_label,secondary_labels,filename,collection,url,latitude,longitude,author,license\n"
    "amekes,\"['65448']\",amekes/XC1.ogg,XC,http://a,7.32,-73.71,Ana,cc-by 4.0\namekes,[],amekes/XC2.ogg,XC,http://b,7.32,-73.71,Ana,cc-by 4.0\n"
    "65448,[],65448/gone.ogg,XC,http://c,,,,cc0\n65448,[],65448/iNat7.ogg,iNat,,,,,cc0\n"
)
CUB = {"images.txt": "1 001.Robin/a.jpg\n", "image_class_labels.txt": "1 1\n", "classes.txt": "1 001.Robin\n"}


def test_a_birdclef_folder(tmp_path):
    """As of 2022 and later; labels of eBird and iNaturalist are text."""
    write(tmp_path, "train.csv", TRAIN)
    touch(tmp_path, "train_audio/amekes/XC1.ogg", "train_audio/amekes/XC2.ogg", "train_audio/amekes/extra.ogg", "train_audio/65448/iNat7.ogg")
    touch(tmp_path, "train_soundscapes/S1_20250414_061000.ogg", "images/amekes/1.jpg", "videos/film.mp4")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert list(reading.layouts["layout"]) == ["birdclef"] and len(rows) == 5
    first = rows["train_audio/amekes/XC1.ogg"]
    assert (first["species"], first["secondary_species"], first["licence"]) == ("amekes", "65448", "cc-by 4.0")
    assert first["group_id"] == rows["train_audio/amekes/XC2.ogg"]["group_id"] == "Ana @ 7.32,-73.71"
    assert rows["train_audio/65448/iNat7.ogg"]["group_id"] == "iNat7" or rows["train_audio/65448/iNat7.ogg"]["group_by"] == "each file alone"
    assert "listed in train.csv, but not there" in reasons(reading)["train_audio/65448/gone.ogg"]
    assert set(reasons(reading)) == {"train_audio/65448/gone.ogg", "train_audio/amekes/extra.ogg", "train_soundscapes/S1_20250414_061000.ogg"}


def test_a_birdclef_folder_of_2021_below_another_folder(tmp_path):
    """``train_metadata.csv`` and ``train_short_audio/``, names without the label's folder."""
    write(tmp_path, "data/train_metadata.csv", "primary_label,secondary_labels,filename,author,latitude,longitude\nacafly,[],XC109605.ogg,Ana,1,2\n")
    reading = registry.read(touch(tmp_path, "data/train_short_audio/acafly/XC109605.ogg"))
    assert list(by_path(reading)) == ["data/train_short_audio/acafly/XC109605.ogg"] and reading.layouts["folder"][0] == "data"


def test_the_nearest_layout_wins_and_others_get_the_rest(tmp_path):
    for name, content in CUB.items():
        write(tmp_path, f"data/cub/{name}", content)
    write(tmp_path, "xc/page.json", {"recordings": [{"id": "1", "gen": "Turdus", "sp": "merula", "en": "Common Blackbird", "rec": "Ana", "also": ["Parus major"]}]})
    touch(tmp_path, "data/cub/images/001.Robin/a.jpg", "xc/XC1.mp3", "mine/wren/b.wav", "mine/Common Blackbird/c.wav")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert dict(zip(reading.layouts["layout"], reading.layouts["rows"], strict=True)) == {"cub": 1, "xeno-canto": 1, "species-folders": 2}
    assert {path: row["species"] for path, row in rows.items()}["mine/Common Blackbird/c.wav"] == "Turdus merula"
    assert any("translated" in note and "Turdus merula" in note for note in reading.notes)


def test_a_layout_that_is_asked_for_is_the_only_one(tmp_path):
    for name, content in CUB.items():
        write(tmp_path, f"cub/{name}", content)
    touch(tmp_path, "cub/images/001.Robin/a.jpg", "wren/b.wav")
    reading = registry.read(tmp_path, layout="cub")
    assert list(by_path(reading)) == ["cub/images/001.Robin/a.jpg"] and reasons(reading)["wren/b.wav"] == "is no part of the layout cub"
    assert by_path(registry.read(tmp_path, layout="species-folders"))["wren/b.wav"]["species"] == "wren"
    with pytest.raises(LayoutError, match="not laid out as ssw60, which needs taxa.csv"):
        registry.read(tmp_path, layout="ssw60")
    with pytest.raises(LayoutError, match="(?s)'cup' is unknown.*- cub: images.txt.*- films"):
        registry.read(tmp_path, layout="cup")


def test_a_folder_of_films(tmp_path):
    reading = registry.read(touch(tmp_path, "one.mp4", "2025-04-14/two.MOV", "videos/three.avi"))
    assert list(reading.layouts["layout"]) == ["films"] and set(reading.table["species"]) == {""} and len(reading.table) == 3
    assert set(registry.read(tmp_path, species="robin").table["species"]) == {"robin"}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["data.zip", "more.tar.gz"], "2 archives, such as data.zip.*unpack"),
        (["readme.txt"], "no sounds, photos or films: give the folder"),
        (["a.nef"], "1 other files, such as a.nef"),
        (["a.wav"], "no file below .* can be placed: no folder names its species"),
        (["noise/a.wav"], "no file below .* can be placed: lies in 'noise'"),
    ],
)
def test_folders_of_which_no_manifest_can_be_made(tmp_path, paths, message):
    with pytest.raises(LayoutError, match=message):
        registry.read(touch(tmp_path, *paths))


def test_a_file_or_a_missing_folder_is_an_error(tmp_path):
    touch(tmp_path, "data.zip")
    with pytest.raises(LayoutError, match="is a file: unpack it and give the folder"):
        registry.read(tmp_path / "data.zip")
    with pytest.raises(LayoutError, match="there is no folder"):
        registry.read(tmp_path / "nowhere")


def test_a_manifest_that_is_there_is_pointed_out(tmp_path):
    write(tmp_path, "mine.csv", "recording_id,species,audio_path\na,robin,robin/a.wav\n")
    notes = registry.read(touch(tmp_path, "robin/a.wav")).notes
    assert len(notes) == 1 and "mine.csv is a manifest already" in notes[0]


@pytest.mark.parametrize(
    ("paths", "content", "message"),
    [
        (["taxa.csv", "audio_ml.csv"], "label,common_name\n0,Robin\n", "taxa.csv has no column scientific_name"),
        (["a.json"], '{"images": [', "a.json is not complete JSON"),
        (["metadata/page1.json"], '{"numRecordings": "1", "recordings": {"a": 1}}', "page1.json has no list of recordings"),
        (["taxa.csv", "audio_ml.csv"], "PK\x03\x04", "is a spreadsheet or an archive"),
    ],
)
def test_broken_tables_are_errors_with_their_name(tmp_path, paths, content, message):
    for path in paths:
        write(tmp_path, path, content)
    with pytest.raises(LayoutError, match=message):
        registry.read(touch(tmp_path, "audio_ml/1.wav", "robin/a.wav"))


def test_files_of_one_name_have_ids_of_their_own(tmp_path):
    table = registry.read(touch(tmp_path, "robin/1.wav", "wren/1.wav", "robin/1.jpg", "wren/1.WAV")).table
    assert table["recording_id"].is_unique and table["recording_id"].str.fullmatch("[A-Za-z0-9_-]+").all()


def test_the_result_is_a_manifest_for_the_chain(tmp_path):
    """Stage 01's steps: load, fingerprints, skipped files, duplicates, splits without leaks."""
    noise = np.random.default_rng(0)
    for site in ("pond", "wood", "hill", "lake", "moor"):
        for bird in ("robin", "wren"):
            for minute in (10, 20):
                path = tmp_path / "birds" / bird / f"{site}_20250414_06{minute}00.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, noise.normal(size=8000) * 0.1, 8000)
    touch(tmp_path, "birds/wren/broken.wav", "birds/wren/notes.txt")
    out = tmp_path / "tables" / "m.csv"
    reading = registry.read(tmp_path / "birds")
    assert registry.write(reading, out) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # ids, labels and groups are complete
        table, root = manifest.load(out)
    assert len(table) == 21 and table["audio_path"][0].startswith("../birds/")
    assert list(table.columns[: len(manifest.COLUMNS)]) == list(manifest.COLUMNS)
    prints = duplicates.fingerprints([root / path for path in table["audio_path"]], table["start_s"], table["end_s"], 1)
    skipped = duplicates.unreadable(table, root, prints)
    assert [path for path, _ in skipped] == ["../birds/wren/broken.wav"]
    assigned = splits.assign(table, np.random.default_rng(0))
    assert splits.leaks(assigned) == [] and set(splits.folds(assigned, 5, np.random.default_rng(0))) == set(range(5))
    pond = assigned[assigned["group_id"] == "pond 2025-04-14"]
    assert len(set(pond.loc[~pond["is_repeated"], "split"])) == 1 and len(pond) >= 4


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_odd_names_pass_the_check_of_the_manifest(tmp_path):
    names = ["#1 100% robin.wav", "a;b,c.wav", "it's a \"bird\".wav", "emoji🐦.wav", "trailing .wav", "{x}.wav", "back\\slash.wav", "Grünspecht.wav", " first.wav", "=1+1.wav"]
    touch(tmp_path, *(f"Grünspecht, a \"bird\"/{name}" for name in names))
    with open(os.fsencode(tmp_path) + "/Grünspecht, a \"bird\"/".encode() + b"\xff.wav", "wb"):
        pass
    registry.write(registry.read(tmp_path), tmp_path / "m.csv")
    table, root = manifest.load(tmp_path / "m.csv")
    assert {path.rpartition("/")[2] for path in table["audio_path"]} == set(names) and set(table["species"]) == {'Grünspecht, a "bird"'}
    assert [fault for _, fault, _ in media_paths.Disk(root).find(table["audio_path"])] == [""] * len(names)
    assert list(pd.read_csv(tmp_path / "m.unplaced.csv")["path"]) == ['Grünspecht, a "bird"/\\xff.wav']


def test_the_unplaced_table_of_an_earlier_run_is_removed(tmp_path):
    touch(tmp_path, "birds/robin/a.wav", "birds/loose.wav")
    assert registry.write(registry.read(tmp_path / "birds"), tmp_path / "m.csv") == tmp_path / "m.unplaced.csv"
    (tmp_path / "birds" / "loose.wav").unlink()
    assert registry.write(registry.read(tmp_path / "birds"), tmp_path / "m.csv") is None and not (tmp_path / "m.unplaced.csv").exists()
