"""What is below a folder: media, documents, and what no layout can use."""

import os
import sys

import pytest
from made_layouts import touch

from birdlib.data.layouts.tree import LayoutError, Tree


def test_media_are_told_by_suffix_in_any_case(tmp_path):
    tree = Tree(touch(tmp_path, "a/B.WAV", "a/c.JPeG", "d.Mp4", "notes.txt", "table.CSV"))
    assert tree.media == {"a/B.WAV": "sound", "a/c.JPeG": "photo", "d.Mp4": "film"}
    assert tree.documents == ["notes.txt", "table.CSV"] and tree.unplaced == []
    assert tree.has("a/B.WAV") and not tree.has("a/b.wav")


def test_hidden_files_do_not_count(tmp_path):
    tree = Tree(touch(tmp_path, "a/._song.wav", ".cache/song.wav", "__MACOSX/a/song.wav", "Thumbs.db", "a/song.wav"))
    assert list(tree.media) == ["a/song.wav"] and tree.unplaced == []


def test_archives_and_other_suffixes_are_listed(tmp_path):
    tree = Tree(touch(tmp_path, "images.ZIP", "train.tar.gz", "a/raw.nef"))
    reasons = dict(tree.unplaced)
    assert "unpack" in reasons["images.ZIP"] and "unpack" in reasons["train.tar.gz"]
    assert ".nef" in reasons["a/raw.nef"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8_are_listed(tmp_path):
    with open(os.fsencode(tmp_path) + b"/s\xf6ng.wav", "wb"):
        pass
    (folder := os.fsencode(tmp_path) + b"/fol\xe4der") and os.mkdir(folder)
    tree = Tree(tmp_path)
    assert dict(tree.unplaced).keys() == {"s\\xf6ng.wav", "fol\\xe4der"} and not tree.media


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "a/song.wav", "elsewhere/bird.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    tree = Tree(tmp_path / "a")
    assert set(tree.media) == {"song.wav", "up/elsewhere/bird.jpg"}
    assert "link" in dict(tree.unplaced)["gone.wav"]


def test_outputs_of_the_chain_are_left_out(tmp_path):
    tree = Tree(touch(tmp_path, "robin/a.wav", "outputs/02_clean/stage.json", "outputs/02_clean/audio/a.flac"))
    assert list(tree.media) == ["robin/a.wav"] and tree.unplaced[0][0] == "outputs/02_clean"


def test_a_cut_json_file_is_an_error_with_its_name(tmp_path):
    (tmp_path / "page1.json").write_text('{"recordings": [')
    with pytest.raises(LayoutError, match="page1.json is not complete JSON"):
        Tree(tmp_path).json("page1.json")
