"""The competition's layout: strange labels, missing places, windows, and every fault of a submission."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime
from birdlib.data import birdclef, manifest, submissions

TRAIN = """primary_label,secondary_labels,type,filename,collection,rating,url,latitude,longitude,author,license
1139490,[''],[''],1139490/CSA36385.ogg,CSA,0,http://a/1.mp3,7.3206,-73.7128,Ana,cc-by 4.0
1139490,"['amekes', '65448']",[''],1139490/CSA36386.ogg,CSA,0,http://a/2.mp3,7.3161,-73.7131,Ana,cc-by 4.0
amekes,[],[''],amekes/XC1.ogg,XC,0,http://a/3.mp3,None,None,"Ben, Cy",cc-by-nc 4.0
amekes,[''],[''],amekes/iNat 7.ogg,iNat,0,,None,None,,cc0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.csv").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "taxonomy.csv").write_text("primary_label,common_name\n1139490,Cicada\namekes,Kestrel\n")
    (tmp_path / "sample_submission.csv").write_text("row_id,amekes,1139490\ns_5,0.5,0.5\n")
    for name in ("1139490/CSA36385", "1139490/CSA36386", "amekes/XC1", "amekes/iNat 7"):
        path = tmp_path / "train_audio" / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(3200), 32000)
    for name in ("images/amekes/1.jpg", "images/amekes/2.JPG", "images/amekes/notes.txt", "videos/film_1.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_the_layout_becomes_a_valid_manifest(folder):
    table, root = birdclef.read(folder)
    manifest.check(table, root)
    assert list(table["recording_id"]) == [
        "1139490-CSA36385", "1139490-CSA36386", "amekes-XC1", "amekes-iNat_7",
        "image-amekes-1", "image-amekes-2", "video-film_1",
    ]  # fmt: skip
    assert manifest.class_names(table) == ["1139490", "amekes"]
    assert list(table["secondary_species"][:4]) == ["", "amekes;65448", "", ""]
    assert table.loc[0, "licence"] == "cc-by 4.0" and table.loc[2, "attribution"] == "Ben, Cy"
    assert (table["individual_id"] == "").all()


def test_a_group_is_an_author_at_a_place(folder):
    """500 m apart is one place; an unknown place is one place of that author; nothing known is a group of its own."""
    group = birdclef.read(folder)[0].set_index("recording_id")["group_id"]
    assert group["1139490-CSA36385"] == group["1139490-CSA36386"] == "Ana @ 7.32,-73.71"
    assert group["amekes-XC1"] == "Ben, Cy @ unknown"
    assert group["amekes-iNat_7"] == "amekes-iNat_7"


def test_a_label_missing_in_the_taxonomy_gives_a_warning(folder):
    (folder / "taxonomy.csv").write_text("primary_label\namekes\n")
    with pytest.warns(UserWarning, match="lacks 1 labels: 1139490"):
        table, _ = birdclef.read(folder)
    assert "1139490" in manifest.class_names(table)


def test_other_folders_are_refused(tmp_path):
    assert not birdclef.is_layout(tmp_path)
    with pytest.raises(birdclef.LayoutError, match="no train.csv"):
        birdclef.read(tmp_path)
    (tmp_path / "train_audio").mkdir()
    (tmp_path / "train.csv").write_text("label,file\na,b\n")
    with pytest.raises(birdclef.LayoutError, match="no column primary_label, filename"):
        birdclef.read(tmp_path)
    with pytest.raises(birdclef.LayoutError, match="taxonomy.csv is missing"):
        birdclef.taxonomy(tmp_path)


def test_submission_classes_are_in_string_order(folder):
    assert birdclef.submission_classes(folder) == ["1139490", "amekes"]
    (folder / "sample_submission.csv").unlink()
    assert birdclef.submission_classes(folder) == ["1139490", "amekes"]


def test_a_species_without_data_gets_a_column_with_the_fill_value(folder, recwarn):
    """The taxonomy lists a quail that nobody has recorded. A blank line in it, a space, and a row that is there twice are no more species."""
    (folder / "sample_submission.csv").unlink()
    (folder / "taxonomy.csv").write_text("primary_label,common_name\namekes,Kestrel\n,\nquail1 ,Quail\n1139490,Cicada\namekes,Kestrel\n")
    classes = manifest.class_names(birdclef.read(folder)[0])
    assert not recwarn.list and classes == ["1139490", "amekes"]
    columns = birdclef.submission_classes(folder)
    assert columns == ["1139490", "amekes", "quail1"]
    prior = np.array([0.6, 0.4])
    table = submissions.table(["s_5", "s_10"], np.array([[0.9, 0.1], [0.2, 0.3]]), classes, columns, fill=prior.min())
    assert list(table["quail1"]) == [0.4, 0.4] and list(table["amekes"]) == [0.1, 0.3]
    table.to_csv(folder / "submission.csv", index=False)
    assert submissions.find_faults(pd.read_csv(folder / "submission.csv"), columns, ["s_5", "s_10"]) == []


def test_soundscapes_are_listed_and_may_be_none(folder):
    assert birdclef.soundscapes(folder, "test") == []
    for name in ("b.ogg", "a.wav", "readme.txt"):
        path = folder / "test_soundscapes" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [path.name for path in birdclef.soundscapes(folder)] == ["a.wav", "b.ogg"]
    with pytest.raises(ValueError, match="'validation'"):
        birdclef.soundscapes(folder, "validation")


def touch(folder, *names):
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass


def test_soundscapes_of_any_format_are_found_in_any_subfolder(folder):
    touch(folder, "train_soundscapes/site 1/b.opus", "train_soundscapes/c.m4a", "train_soundscapes/D.WEBM", "unlabeled_soundscapes/7.ogg")
    touch(folder, "train_soundscapes/._c.m4a", "train_soundscapes/.hidden/x.ogg", "train_soundscapes/labels.csv")
    found = birdclef.soundscapes(folder, "train")
    assert [path.name for path in found] == ["D.WEBM", "c.m4a", "b.opus", "7.ogg"]
    assert [path for path, _ in birdclef.unused(folder, birdclef.read(folder)[0])] == ["images/amekes/notes.txt", "train_soundscapes/labels.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_predicted_but_not_trained_on(folder):
    touch(folder, b"test_soundscapes/b\xff.ogg", b"train_soundscapes/b\xff.ogg", b"images/amekes/\xff.jpg")
    table, _ = birdclef.read(folder)
    assert birdclef.soundscapes(folder, "train") == [] and not table["image_path"].str.contains("xff").any()
    path, = birdclef.soundscapes(folder, "test")
    assert birdclef.row_id(path, 5) == "b\\xff_5" and birdclef.stem(path) == "b\\xff"
    reasons = dict(birdclef.unused(folder, table))
    for name in ("train_soundscapes/b\\xff.ogg", "images/amekes/\\xff.jpg"):
        assert reasons[name] == "its name is not UTF-8: rename it"
    assert not any(name.startswith("test") for name in reasons)


def test_files_that_are_not_used_are_reported_with_the_remedy(folder):
    touch(folder, "train_audio/amekes/XC2.ogg", "train_audio/amekes/XC1.txt", "images/amekes/2020/3.jpg", "videos/amekes/sound.wav")
    touch(folder, "test_soundscapes/a.ogg", "test_soundscapes/site/a.wav", "test_soundscapes/readme.txt", "images/.DS_Store", "images/amekes/._1.jpg")
    touch(folder, "train_audio/.ipynb_checkpoints/x.ogg", "images/amekes/no_suffix")
    assert birdclef.unused(folder, birdclef.read(folder)[0]) == [
        ("images/amekes/2020/3.jpg", "it is too deep: a photo belongs into images/ or images/<label>/"),
        ("images/amekes/no_suffix", "no suffix is not one of a photo file: convert it, or remove it"),
        ("images/amekes/notes.txt", ".txt is not one of a photo file: convert it, or remove it"),
        ("test_soundscapes/readme.txt", ".txt is not one of a sound file: convert it, or remove it"),
        ("test_soundscapes/site/a.wav", "another soundscape has the same name: rename it"),
        ("train_audio/amekes/XC1.txt", ".txt is not one of a sound file: convert it, or remove it"),
        ("train_audio/amekes/XC2.ogg", "train.csv does not name it: add a row, or remove the file"),
        ("videos/amekes/sound.wav", ".wav is not one of a film file: convert it, or remove it"),
    ]


def layout(folder, text, audio="train_audio", table="train_metadata.csv"):
    """A folder of an earlier year with the recordings amekes/XC1.ogg and 1e5/XC1.ogg."""
    (folder / table).parent.mkdir(parents=True, exist_ok=True)
    (folder / table).write_text(text, encoding="utf-8")
    touch(folder, f"{audio}/amekes/XC1.ogg", f"{audio}/1e5/XC1.ogg")
    return folder


@pytest.mark.parametrize(
    ("text", "audio", "table"),
    [
        ("primary_label,secondary_labels,filename,author,latitude,longitude\namekes,['1e5'],amekes/XC1.ogg,Ana,1,2\n1e5,[],1e5/XC1.ogg,Ana,1,2\n",
         "train_audio", "train_metadata.csv"),  # 2022 to 2024
        ("primary_label,secondary_labels,filename,author\namekes,['1e5'],XC1.ogg,Ana\n1e5,[],XC1.ogg,Ana\n", "train_short_audio", "train_metadata.csv"),
        ("ebird_code,secondary_labels,filename,author\namekes,['1e5'],XC1.ogg,Ana\n1e5,[],XC1.ogg,Ana\n", "train_audio", "train.csv"),  # 2020
        ("Primary_Label;Secondary_Labels;FileName;Author\namekes;['1e5'];AMEKES\\XC1.OGG;Ana\n1e5;nan;train_audio/1e5/XC1.ogg;Ana\n",
         "train_audio", "train.csv"),
    ],
)  # fmt: skip
def test_folders_of_all_years_are_read(tmp_path, text, audio, table):
    """1e5 is a label, not 100000."""
    folder = layout(tmp_path, text, audio, table)
    found, root = birdclef.read(folder)
    assert birdclef.is_layout(folder) and birdclef.train_table(root).name == table
    assert found["audio_path"].tolist() == [f"{audio}/amekes/XC1.ogg", f"{audio}/1e5/XC1.ogg"]
    assert found["species"].tolist() == ["amekes", "1e5"] and found["secondary_species"].tolist() == ["1e5", ""]
    assert birdclef.submission_classes(folder) == ["1e5", "amekes"]
    assert birdclef.unused(root, found) == []


def test_two_formats_of_one_name_are_two_rows(folder):
    """Whatever the order of the files."""
    touch(folder, "images/amekes/1.png", "images/amekes/é.jpg", "images/amekes/e.jpg")
    table = birdclef.read(folder)[0].set_index("image_path")
    assert table["recording_id"].is_unique
    assert table.loc[["images/amekes/1.jpg", "images/amekes/1.png"], "recording_id"].tolist() == ["image-amekes-1-jpg", "image-amekes-1-png"]


def test_secondary_labels_may_have_blanks(folder):
    text = TRAIN.replace("\"['amekes', '65448']\"", "\"['Turdus merula_Common Blackbird', 'amekes']\"").replace("amekes,[],", "amekes,nan,")
    (folder / "train.csv").write_text(text)
    assert birdclef.read(folder)[0]["secondary_species"].tolist()[:3] == ["", "Turdus merula_Common Blackbird;amekes", ""]


def test_a_recording_that_is_not_there_is_a_fault(folder):
    (folder / "train_audio/amekes/XC1.ogg").rename(folder / "train_audio/amekes/XC1.flac")
    with pytest.raises(manifest.ManifestError, match=r"row 4 'train_audio/amekes/XC1.ogg' \(did you mean 'train_audio/amekes/XC1.flac'\?\)"):
        birdclef.read(folder)


@pytest.mark.parametrize(
    ("name", "reason"), [("train.csv", "is a file, not a folder: give"), ("gone", "does not exist: give"), ("train_audio", "no train.csv .* as manifest")]
)
def test_what_is_no_folder_of_the_layout_is_refused_with_the_remedy(folder, name, reason):
    with pytest.raises(birdclef.LayoutError, match=reason):
        birdclef.read(folder / name)


def test_the_folder_above_names_the_one_below(folder):
    with pytest.raises(birdclef.LayoutError, match="but .* has: give this one as data_dir"):
        birdclef.read(folder.parent)


@pytest.mark.parametrize(
    ("duration_s", "n_windows"), [(60, 12), (60.003, 12), (59.2, 12), (61, 13), (10, 2), (0.04, 1), (0, 0), (3600, 720)]
)
def test_windows_cover_any_duration(duration_s, n_windows):
    cut = birdclef.windows(duration_s)
    assert len(cut) == n_windows
    assert [start_s for start_s, _ in cut] == [5.0 * index for index in range(n_windows)]
    assert all(end_s - start_s == 5.0 for start_s, end_s in cut)


@pytest.mark.parametrize("duration_s", [-1, float("nan"), float("inf")])
def test_invalid_durations_are_refused(duration_s):
    with pytest.raises(ValueError, match="cannot last"):
        birdclef.windows(duration_s)


def test_row_ids_contain_the_end_second():
    end_s = [end_s for _, end_s in birdclef.windows(60)]
    assert birdclef.row_id("/data/H02_20230420_074000.ogg", end_s[0]) == "H02_20230420_074000_5"
    assert birdclef.row_id("soundscape_1.v2.ogg", end_s[-1]) == "soundscape_1.v2_60"


@pytest.mark.parametrize("window_s", [0.0, -5.0, float("nan")])
def test_a_window_without_length_is_refused(window_s):
    with pytest.raises(runtime.ParameterError, match="window_s is"):
        birdclef.windows(60.0, window_s)


@pytest.mark.parametrize("name", ["../../outside.ogg", "amekes/../../../outside.ogg", "..\\..\\outside.ogg"])
def test_train_csv_names_no_file_outside_of_the_folder(tmp_path, name):
    """Competitions have theirs below train_audio/: a name that leaves it is no recording of theirs."""
    (tmp_path / "outside.ogg").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    folder = layout(tmp_path / "data", f"primary_label,filename\namekes,{name}\n", table="train.csv")
    with pytest.raises(manifest.ManifestError, match="audio_path is outside of the folder"):
        birdclef.read(folder)
