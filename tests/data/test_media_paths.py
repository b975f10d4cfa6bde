"""Files are found where a path differs from the disk in case, accents, slashes or blanks only; else the message says what is there."""

import os
import sys
import unicodedata

import pytest

from birdlib.data import media_paths

NFC, NFD = (unicodedata.normalize(form, "Grünspecht.wav") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path):
    for name in ("Sounds/a.wav", "Sounds/b c.ogg", f"Sounds/{NFD}", "top.wav", "x.wav/inside.wav", "two/A.wav", "two/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Sounds/a.wav", "Sounds/a.wav"), ("sounds/A.WAV", "Sounds/a.wav"), ("Sounds\\a.wav", "Sounds/a.wav"), ("./top.wav", "top.wav"),
        (".\\sounds\\B C.ogg", "Sounds/b c.ogg"), ("Sounds//a.wav", "Sounds/a.wav"), ("two/../top.wav", "top.wav"), (" top.wav ", "top.wav"),
        ('"top.wav"', "top.wav"), (f"Sounds/{NFC}", f"Sounds/{NFD}"), (f"Sounds/{NFD}", f"Sounds/{NFD}"), ("two/a.wav", "two/a.wav"), ("", ""),
    ],
)  # fmt: skip
def test_files_are_found(root, path, found):
    assert media_paths.Disk(root).find([path]) == [(found, "", "")]


def test_absolute_paths_below_the_root_are_relative(root):
    (root.parent / "outside.wav").write_bytes(b"x")
    paths = [str(root / "top.wav"), f"file://{root}/Sounds/b%20c.ogg", str(root.parent / "outside.wav"), "../outside.wav", "C:\\birds\\a.wav"]
    found = media_paths.Disk(root).find(paths)
    assert [path for path, _, _ in found] == ["top.wav", "Sounds/b c.ogg", *paths[2:]]
    assert [fault for _, fault, _ in found] == ["", "", "is absolute", "", "is absolute"]


OUTSIDE = [
    ("../other/a.wav", True), ("../other/A.wav", True), ("../other/x.txt", False), ("../other/passwd", False), ("../.ssh/a.wav", False),
    ("../other/.a.wav", False), ("x/../../other/passwd", False), ("..\\other\\passwd", False), ("../other", False), ("../../../../../../etc/passwd", False),
]  # fmt: skip


@pytest.mark.parametrize(("path", "is_found"), OUTSIDE)
def test_of_what_is_outside_of_the_root_only_media_are_found(root, path, is_found):
    """A table of strangers must not read a password file into a report; recordings beside it are ordinary."""
    for name in ("other/a.wav", "other/x.txt", "other/passwd", ".ssh/a.wav", "other/.a.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    expected = ("../other/a.wav", "", "") if is_found else (path, "is outside of the folder", "")
    assert media_paths.Disk(root / "Sounds").find([path]) == [expected]
    assert media_paths.Disk(root / "Sounds", may_leave=False).find([path]) == [(path, "is outside of the folder", "")]


@pytest.mark.parametrize(
    ("path", "fault", "hint"),
    [
        ("Sounds/a.mp3", "has no such file", "did you mean 'Sounds/a.wav'?"), ("Sound/a.wav", "has no such file", "did you mean 'Sounds'?"),
        ("toop.wav", "has no such file", "did you mean 'top.wav'?"), ("other/a.wav", "has no such file", "there is no folder 'other'"),
        ("zzz.ogg", "has no such file", ""), ("x.wav", "is a folder", ""), (".", "is a folder", ""), ("Sounds/", "is a folder", ""),
        ("top.wav/a.wav", "has no such file", "the folder 'top.wav' is empty or cannot be read"),
        ("two/A.WAV", "fits several files", "'A.wav' and 'a.wav'"), ("https://xeno-canto.org/1", "is a web address", ""),
        ("s3://bucket/a.wav", "is a web address", ""), ("a\0b.wav", "has no such file", ""),
    ],
)  # fmt: skip
def test_other_paths_are_reported_with_what_is_there(root, path, fault, hint):
    assert media_paths.Disk(root).find([path]) == [(path, fault, hint)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_no_table_can_hold_are_not_found(root):
    with open(os.fsencode(root) + b"/b\xff.wav", "wb"):
        pass
    assert media_paths.Disk(root).find(["b.wav"])[0][1] == "has no such file"
    assert not media_paths.is_text(os.fsdecode(b"b\xff.wav")) and media_paths.is_text("尾.wav")
