"""The manifest: faults that are refused, and labels."""

import re
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdlib.data import manifest, recording_ids


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


def test_a_species_with_the_name_of_a_column_of_submissions_is_refused(tmp_path):
    touch(tmp_path, "a.ogg")
    table = pd.DataFrame({"recording_id": ["a", "b", "c"], "species": [" row_id", "row_id\u200b", "Row_ID"], "audio_path": "a.ogg"})
    with pytest.raises(manifest.ManifestError, match=r"species is 'row_id' \(a column of submissions\) \(2\): row 2 'a', row 3 'b'.*choose another label"):
        manifest.check(table, tmp_path)


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


# As people write it

HEAD = "recording_id,species,audio_path,secondary_species,start_s,end_s\n"


def load(folder, text, message=None, name="manifest.csv"):
    """The loaded table; ``message``: of the warning besides that of missing groups."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table, _ = manifest.load(write(folder, text, name))
    messages = [str(warning.message) for warning in caught if "no group_id" not in str(warning.message)]
    assert bool(messages) == bool(message) and re.search(message or "", " ".join(messages)), messages
    return table


@pytest.mark.parametrize("end_s", ["2.5", "2,5", "0:02.5", "00:00:02,5", "2.5 s"])
def test_times_are_read_as_seconds(tmp_path, end_s):
    touch(tmp_path, "a.ogg")
    table = load(tmp_path, f'{HEAD}a,robin,a.ogg,,"0,5","{end_s}"\n')
    assert table.loc[0, "start_s"] == 0.5 and table.loc[0, "end_s"] == 2.5


def test_decimal_commas_of_a_table_with_semicolons(tmp_path):
    touch(tmp_path, "Töne/a.OGG")
    table = load(tmp_path, "\ufeffRecording ID;Species;Audio Path;START_S\na;robin;.\\TÖNE\\a.ogg;0,5\n")
    assert table.loc[0, ["recording_id", "audio_path", "start_s"]].tolist() == ["a", "Töne/a.OGG", 0.5]


def test_lookalikes_are_one_species_also_as_secondary_labels(tmp_path):
    touch(tmp_path, "a.ogg")
    rows = ["a,Great Tit,a.ogg,,,", "b,Great\u00a0tit,a.ogg,,,", "c,Great Tit,a.ogg,robin;great tit,,", 'd,robin,a.ogg,"Great tit, robin",,']
    table = load(tmp_path, HEAD + "\n".join(rows), "'Great tit' as 'Great Tit'")
    assert manifest.class_names(table) == ["Great Tit", "robin"]
    assert table["secondary_species"].tolist() == ["", "", "robin;Great Tit", "Great Tit;robin"]


def test_nan_is_an_empty_cell_and_none_is_a_label(tmp_path):
    touch(tmp_path, "a.ogg")
    table = load(tmp_path, HEAD + "a,None,a.ogg,nan,nan,NaN\nb,NA,a.ogg,['nan'],,\n")
    assert manifest.class_names(table) == ["NA", "None"] and (table["secondary_species"] == "").all() and table["start_s"].isna().all()
    with pytest.raises(manifest.ManifestError, match="no species .* row 2 'a'"):
        load(tmp_path, HEAD + "a,nan,a.ogg,,,\n")


def test_ids_are_made_valid_and_unique_with_a_warning(tmp_path):
    touch(tmp_path, "a.ogg", "a.mp3", "b c.ogg")
    rows = ["a,robin,a.ogg,,,", "a,robin,a.mp3,,,", "x.1,robin,a.ogg,,1,2", "x 1,robin,a.ogg,,2,3", ",robin,b c.ogg,,,"]
    table = load(tmp_path, HEAD + "\n".join(rows), "5 recording_ids were empty, .* 'a' to 'a-ogg'")
    ids = table["recording_id"].tolist()
    assert ids[:2] == ["a-ogg", "a-mp3"] and ids[4] == "b_c" and len(set(ids)) == 5 and all(map(recording_ids.is_valid, ids))
    assert table["group_id"].tolist() == ids


def test_a_path_that_nearly_fits_is_named(tmp_path):
    touch(tmp_path, "sounds/robin_1.ogg")
    with pytest.raises(manifest.ManifestError, match=r"row 2 'sounds/robin1.ogg' \(did you mean 'sounds/robin_1.ogg'\?\)"):
        load(tmp_path, HEAD + "a,robin,sounds/robin1.ogg,,,\n")
    with pytest.raises(manifest.ManifestError, match=r"web address \(1\): row 2 .* Remedy: download the file and write its path"):
        load(tmp_path, HEAD + "a,robin,https://xeno-canto.org/1/download,,,\n")


def test_a_table_without_the_columns_says_what_it_has(tmp_path):
    with pytest.raises(manifest.ManifestError, match="the columns are 'file', 'bird'.*Remedy: add it"):
        load(tmp_path, "file,bird\na.ogg,robin\n")


def test_rows_are_named_as_the_spreadsheet_numbers_them(tmp_path):
    with pytest.raises(manifest.ManifestError, match="row 4 'gone.ogg'"):
        load(tmp_path, HEAD + "\n,,,,,\na,robin,gone.ogg,,,\n")


def test_outside_of_the_manifests_folder_only_media_are_read(tmp_path):
    touch(tmp_path, "recordings/a.wav", "recordings/b.wav", "passwd")
    (tmp_path / "tables").mkdir()
    path = write(tmp_path / "tables", "recording_id,species,audio_path\na,wren,../recordings/a.wav\nb,wren,../Recordings/b.wav\n")
    assert manifest.read(path)[0]["audio_path"].tolist() == ["../recordings/a.wav", "../recordings/b.wav"]
    path = write(tmp_path / "tables", "recording_id,species,audio_path,image_path\na,wren,../passwd,../../../../../../etc/passwd\n")
    with pytest.raises(manifest.ManifestError, match="audio_path is outside of the folder") as caught:
        manifest.load(path)
    assert caught.value.faults["fault"].tolist() == ["audio_path is outside of the folder", "image_path is outside of the folder"]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a.1", "é", ""]),
            st.sampled_from(["Tit", "tit", "Tit\u200b", " Robin", "", "nan", "['x', 'tit']"]),
            st.sampled_from(["a.ogg", "a.mp3", "b.ogg"]),
            st.sampled_from(["", "Tit, robin", "['tit', \"x, y\"]", "nan", "TIT;[a", "b]"]),
            st.sampled_from(["", "1", "0,5", "1:00"]),
        ),
        max_size=6,
    )
)
def test_normalising_twice_changes_nothing(rows):
    table = pd.DataFrame(rows, columns=["recording_id", "species", "audio_path", "secondary_species", "start_s"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once = manifest.normalise(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(manifest.normalise(once), once)
    assert once["recording_id"].is_unique and once["recording_id"].map(recording_ids.is_valid).all()
