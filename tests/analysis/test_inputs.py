import os

import numpy as np
import pandas as pd
import pytest

from birdlib.analysis import inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "B.FLAC", "notes.txt", "._a.wav", ".hidden.wav", "deep/er/c.ogg", "photo.jpg", "[1] b.mp3", ".git/x.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(*paths, **options):
    return [inputs.shown(file.path) for file in inputs.find(list(paths), **options)[0]]


def test_a_folder_gives_the_sounds_in_it_and_below_but_nothing_hidden(folder):
    assert names(".") == ["B.FLAC", "[1] b.mp3", "a.wav", os.path.join("deep", "er", "c.ogg")]


@pytest.mark.parametrize(("pattern", "n"), [("*.wav", 1), ("**/*.ogg", 1), ("d*", 1), ("*", 4), ("[1] b.mp3", 1), ("?.*", 2)])
def test_patterns_are_followed_here_where_no_shell_does_it(folder, pattern, n):
    assert len(names(pattern)) == n


def test_a_file_given_in_several_ways_is_taken_once(folder):
    os.symlink("a.wav", folder / "link.wav")
    assert names("a.wav", ".", folder / "a.wav", "./deep/../a.wav", "*.wav").count("a.wav") == 1
    assert "link.wav" not in names("a.wav", "link.wav")


def test_one_path_need_not_be_a_list(folder):
    assert [file.path.name for file in inputs.find("a.wav")[0]] == [file.path.name for file in inputs.find(folder / "a.wav")[0]] == ["a.wav"]


def test_paths_may_be_those_of_a_table_or_a_generator(folder):
    known = [folder / "a.wav", folder / "B.FLAC"]
    for paths in (pd.Series(map(str, known)), (path for path in known), set(known), np.array(known)):
        assert len(inputs.find(paths)[0]) == 2
    assert len(inputs.find(b"a.wav")[0]) == 1


@pytest.mark.parametrize(("paths", "message"), [([], "no file or folder is given"), ("", "no file"), (["a.wav", ""], "no file"), (["a.wav", float("nan")], "nan is no path"), (None, "None is no path")])
def test_what_is_no_path_is_an_error_with_the_remedy(folder, paths, message):
    with pytest.raises(inputs.InputError, match=message):
        inputs.find(paths)


def test_folders_that_cannot_be_read_are_not_left_out_silently(folder, monkeypatch):
    scandir = os.scandir

    def scan(path):  # root may read everywhere
        if os.path.basename(path) in ("locked", "er"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", scan)
    files, skipped = inputs.find(".")
    reason = "is a folder that cannot be read (Permission denied): check its permissions"
    assert [file.path.name for file in files] == ["B.FLAC", "[1] b.mp3", "a.wav"]
    assert skipped == [(inputs.Path("deep/er"), reason), (inputs.Path("locked"), reason)]
    with pytest.raises(inputs.InputError, match="locked is a folder that cannot be read"):
        inputs.find("locked")


def test_all_that_is_missing_is_named(folder):
    with pytest.raises(inputs.InputError, match=r"gone.wav, nowhere, \*.aif.*check the spelling"):
        inputs.find(["a.wav", "gone.wav", "nowhere", "*.aif"])


def test_a_folder_without_media_names_the_suffixes_that_are_read(folder):
    (folder / "empty").mkdir()
    with pytest.raises(inputs.InputError, match=r"no recordings in empty: sounds end in .*flac.*wav.*; films in .*mp4"):
        inputs.find(["empty"])


def test_a_photo_that_is_named_is_skipped_with_its_reason(folder):
    files, skipped = inputs.find(["a.wav", "photo.jpg"])
    assert [file.path.name for file in files] == ["a.wav"] and skipped == [(inputs.Path("photo.jpg"), "is a photo: give recordings and films")]


def test_only_a_photo_is_an_error_with_the_reason(folder):
    with pytest.raises(inputs.InputError, match="photo.jpg is a photo"):
        inputs.find(["photo.jpg"])


def test_a_named_file_with_another_suffix_is_opened_to_see_what_it_is(folder):
    import numpy as np
    import soundfile

    soundfile.write(folder / "rec.wav", np.zeros(100), 8000)
    os.rename(folder / "rec.wav", folder / "RECORDING")
    assert inputs.find(["RECORDING"])[0] == [inputs.Media(inputs.Path("RECORDING"), "sound")]


def test_analyses_inside_the_folder_are_left_out(folder):
    for name in ("analysis/annotated/film.wav", "other/analysis.json", "other/annotated/film.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert not [name for name in names(".", leave_out=[folder / "analysis"]) if "film" in name]


@pytest.mark.parametrize("marker", [inputs.MARKER, inputs.RUN])
@pytest.mark.parametrize("asked", [".", "deep", "deep/er", "**/*.wav"])
def test_recordings_beside_an_analysis_are_taken_and_its_annotated_films_are_not(folder, asked, marker):
    """As after ``--output .``, finished or stopped."""
    for name in (f"deep/er/{marker}", "deep/er/here.wav", "deep/er/annotated/film.wav", "deep/annotated/mine.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    found = [os.path.basename(name) for name in names(asked)]
    assert "here.wav" in found and "film.wav" not in found and ("mine.wav" in found) == (asked != "deep/er")


def test_paths_outside_the_current_folder_are_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder / "deep")
    assert names("../a.wav") == [str(folder / "a.wav")] and names(folder / "deep") == [os.path.join("er", "c.ogg")]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_utf_8_can_be_shown(folder):
    path = os.fsencode(folder) + b"/caf\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"x")
    assert "caf\\xe9.wav" in names(".")


def test_links_in_a_circle_end(folder):
    os.symlink(folder, folder / "deep" / "loop")
    assert len(names(".")) == 4
