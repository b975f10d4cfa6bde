"""The manifest: faults that are refused, and labels."""

import time

import numpy as np
import pandas as pd
import pytest

from birdlib.data import manifest


def write(folder, text, name="manifest.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_labels_stay_text(tmp_path):
    """0042 is an iNaturalist number, NA and None are possible codes: none of them is a number or a gap."""
    path = write(tmp_path, "\ufeffrecording_id,species,audio_path\na,0042,a.ogg\nb,NA,b.ogg\nc,None,c.ogg\n")
    table, root = manifest.read(path)
    assert list(table["species"]) == ["0042", "NA", "None"]
    assert list(table.columns)[0] == "recording_id"
    assert root == tmp_path.resolve()


def test_a_valid_manifest_passes(tmp_path):
    touch(tmp_path, "sounds/a.ogg", "films/b.mp4")
    rows = [("a", "robin", "sounds/a.ogg", "", "0", "2.5"), ("b", "", "", "films/b.mp4", "", "")]
    columns = ["recording_id", "species", "audio_path", "video_path", "start_s", "end_s"]
    table = pd.DataFrame(rows, columns=columns)
    manifest.check(table, tmp_path)
    with pytest.warns(UserWarning, match="no group_id"):
        full = manifest.normalise(table)
    manifest.check(full, tmp_path)


def test_all_faults_are_listed_at_once(tmp_path):
    touch(tmp_path, "a.ogg")
    (tmp_path / "folder.ogg").mkdir()
    path = write(
        tmp_path,
        "recording_id,species,audio_path,image_path,start_s,end_s\n"
        "a,robin,a.ogg,,-1,\n"
        "a,robin,a.ogg,,5,5\n"
        "b/c,robin,gone.ogg,,,\n"
        "d,,a.ogg,,,\n"
        "e,robin,,,,\n"
        "f,robin,folder.ogg,,,\n"
        "g,robin,a.ogg,none/x.jpg,soon,inf\n"
        "h,robin;crow,/a.ogg,,,-2\n",
    )
    with pytest.raises(manifest.ManifestError) as raised:
        manifest.check(*manifest.read(path))
    text = str(raised.value)
    for fault in (
        "no species", "row 5 'd'", "no media path", "row 6 'e'", "audio_path has no such file (1): row 4 'gone.ogg'",
        "audio_path is a folder (1): row 7 'folder.ogg'", "Remedy: write the path of a file", "count from the start of the file",
        "image_path has no such file (1): row 8 'none/x.jpg' (there is no folder 'none')", "negative start_s (1): row 2 'a'", "negative end_s",
        "end_s is not after start_s (1): row 3 'a'", "start_s is not a number (1): row 8 'soon'",
        "end_s is not a number (1): row 8 'inf'", "species has ';'", "audio_path is absolute",
    ):  # fmt: skip
        assert fault in text, fault
    assert len(raised.value.faults) == 12
    assert text.count("Remedy") == 12 and text.endswith("run again.")


def test_missing_columns_are_reported_together(tmp_path):
    with pytest.raises(manifest.ManifestError, match="(?s)missing column .*recording_id, species, one of audio_path"):
        manifest.check(pd.DataFrame({"bird": ["robin"]}), tmp_path)


def test_many_faults_of_a_kind_are_counted(tmp_path):
    table = pd.DataFrame({"recording_id": [f"r{i}" for i in range(40)], "species": "robin", "audio_path": "gone.ogg"})
    with pytest.raises(manifest.ManifestError, match=r"has 40 faults.*\n.*no such file \(40\).* and 35 more"):
        manifest.check(table, tmp_path)


@pytest.mark.parametrize("text", ["", 'recording_id,species\n"a,b\nc,d,e,f\n'])
def test_files_that_are_not_tables_are_refused(tmp_path, text):
    with pytest.raises(manifest.ManifestError, match=r"broken\.csv"):
        manifest.read(write(tmp_path, text, "broken.csv"))


def test_a_missing_manifest_is_reported(tmp_path):
    with pytest.raises(manifest.ManifestError, match=r"gone\.csv: cannot be opened .* give the path"):
        manifest.read(tmp_path / "gone.csv")


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(manifest.ManifestError, match="no rows"):
        manifest.check(*manifest.read(write(tmp_path, "recording_id,species,audio_path\n")))


def test_normalise_fills_columns_and_keeps_others():
    row = {"species": " 42 ", "recording_id": "a", "audio_path": "a.ogg", "end_s": "3", "rating": 4}
    table = pd.DataFrame([row])
    with pytest.warns(UserWarning, match="1 of 1 rows have no group_id"):
        full = manifest.normalise(table)
    assert tuple(full.columns) == (*manifest.COLUMNS, "rating")
    assert full.loc[0, "species"] == "42" and full.loc[0, "group_id"] == "a"
    assert np.isnan(full.loc[0, "start_s"]) and full.loc[0, "end_s"] == 3.0


def test_multi_hot_marks_primary_and_known_secondary():
    table = pd.DataFrame({"species": ["b", "10"], "secondary_species": ["a; 10 ;unknown", "10"]})
    assert manifest.class_names(table) == ["10", "b"]
    truth = manifest.multi_hot(table, ["10", "a", "b"], secondary_weight=0.5)
    np.testing.assert_array_equal(truth, [[0.5, 0.5, 1.0], [1.0, 0.0, 0.0]])
    assert truth.dtype == np.float32


def test_multi_hot_refuses_an_unknown_primary_label():
    with pytest.raises(ValueError, match="not among the classes: crow"):
        manifest.multi_hot(pd.DataFrame({"species": ["crow"]}), ["robin"])


def test_a_big_manifest_is_checked_quickly(tmp_path):
    """100,000 rows over 2,000 files: folders are listed, files are not asked for one by one."""
    touch(tmp_path, *(f"{i % 20}/{i}.ogg" for i in range(2000)))
    rows = [(f"r{i}", f"s{i % 200}", f"{i % 20}/{i % 2000}.ogg") for i in range(100_000)]
    table = pd.DataFrame(rows, columns=["recording_id", "species", "audio_path"])
    started = time.perf_counter()
    manifest.check(table, tmp_path)
    assert time.perf_counter() - started < 10
