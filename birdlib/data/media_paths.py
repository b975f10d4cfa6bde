"""Paths of media files as people write them, found on the disk.

A path is relative to a root and has ``/``. Case, accents (NFC or NFD), blanks at the end, backslashes, ``./`` and quotation
marks need not agree with the disk if one file is meant. A name that is not UTF-8 cannot stand in a table and is not found.

A table may come from strangers: what it names outside of the root (``../recordings/a.wav``) is found only where it is a sound, photo or
film by its suffix and neither hidden nor in a hidden folder.
"""

import difflib
import os
import posixpath
import re
import unicodedata
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from birdlib import media_types

_WEB_ADDRESS = re.compile(r"(?!file:)(?![A-Za-z]:[\\/])[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_N_THREADS = 8  # network folders are slow
_MIN_LIKENESS = 0.75
_MEDIA = media_types.SOUND | media_types.IMAGE | media_types.FILM
FAULTS = {  # {fault: remedy}
    "is a web address": "download the file and write its path",
    "is absolute": "write it relative to the manifest",
    "is outside of the folder": "copy the file below the folder; outside, only a manifest's sounds, photos and films are read, and no hidden ones",
    "is a folder": "write the path of a file",
    "fits several files": "write it exactly as the disk does",
    "has no such file": "correct the path, or copy the file there",
}


def is_text(path):
    """Whether a path can be written in a table: its name is UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Disk:
    """The files below a root; each folder is listed once.

    Args:
        root: folder.
        may_leave: False finds nothing outside of it.
    """

    def __init__(self, root, may_leave=True):
        self.root, self.may_leave = Path(root), may_leave
        self._folders = {}

    def find(self, paths):
        """Find files.

        Returns:
            [(path, fault, hint)]: the path as on the disk and two empty strings, or the path as given, one of ``FAULTS``, and what
            is there instead, which may be empty.
        """
        paths = [str(path) for path in paths]
        folders = {posixpath.split(path)[0] for path in paths if path and not _WEB_ADDRESS.match(path)}
        with ThreadPoolExecutor(max_workers=_N_THREADS) as pool:
            list(pool.map(self._list, sorted(folders)))
        found = {path: self._find(path) for path in dict.fromkeys(paths)}
        return [found[path] for path in paths]

    def _find(self, path):
        if not path:
            return "", "", ""
        if _WEB_ADDRESS.match(path):
            return path, "is a web address", ""
        if not os.path.isabs(path) and path == posixpath.normpath(path) and not _is_outside(path) and self._is_file(path):
            return path, "", ""
        relative = _plain(path)
        if os.path.isabs(relative) or _DRIVE.match(relative):
            relative = self._below_root(relative)
            if relative is None:
                return path, "is absolute", ""
        if _is_outside(relative) and not (self.may_leave and _is_media(relative)):
            return path, "is outside of the folder", ""
        if self._is_file(relative):
            return relative, "", ""
        return self._search(path, relative)

    def _search(self, path, relative):
        """Follow a path part by part, by folded names."""
        folder, parts = "", PurePosixPath(relative).parts
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            if part == ".." or part in self._list(folder):
                folder = posixpath.join(folder, part)
                continue
            names = [name for name in self._list(folder) if _folded(name) == _folded(part)]
            if len(names) > 1:
                return path, "fits several files", " and ".join(repr(name) for name in sorted(names))
            if not names:
                return path, "has no such file", self._hint(folder, part, is_last)
            folder = posixpath.join(folder, names[0])
        if self._is_file(folder):
            return folder, "", ""
        is_folder = self._list(posixpath.dirname(folder)).get(posixpath.basename(folder)) is False or not folder
        return path, "is a folder" if is_folder else "has no such file", ""

    def _hint(self, folder, part, is_last):
        """What is there instead of a part of a path."""
        shown, names = folder or ".", self._list(folder)
        if not names:
            return f"the folder {shown!r} is empty or cannot be read"
        files = [name for name, is_file in names.items() if is_file == is_last]
        same_stem = [name for name in files if is_last and _folded(Path(name).stem) == _folded(Path(part).stem)]
        near = same_stem or difflib.get_close_matches(part, files[:5000], n=1, cutoff=_MIN_LIKENESS)
        if near:
            return f"did you mean {posixpath.join(folder, sorted(near)[0])!r}?"
        return "" if is_last else f"there is no folder {posixpath.join(folder, part)!r}"

    def _below_root(self, path):
        """An absolute path relative to the root; None if it is outside."""
        for root in dict.fromkeys((os.path.abspath(self.root), os.path.realpath(self.root))):
            for given in (os.path.abspath(path), os.path.realpath(path)):
                if given.startswith(root.rstrip(os.sep) + os.sep):
                    return Path(os.path.relpath(given, root)).as_posix()
        return None

    def _is_file(self, path):
        folder, name = posixpath.split(path)
        return self._list(folder).get(name, False)

    def _list(self, folder):
        """{name: whether it is a file} of a folder; empty where there is none."""
        if folder not in self._folders:
            try:
                with os.scandir(self.root / folder) as entries:
                    self._folders[folder] = {entry.name: entry.is_file() for entry in entries if is_text(entry.name)}
            except (OSError, ValueError):
                self._folders[folder] = {}
        return self._folders[folder]


def _is_outside(path):
    return path.startswith("../")


def _is_media(path):
    parts = [part for part in path.split("/") if part != ".."]
    return media_types.has_suffix(path, _MEDIA) and not any(map(media_types.is_hidden, parts))


def _plain(path):
    """A path with ``/``, without quotation marks, ``./``, ``//`` and ``file://``."""
    path = path.strip().strip("\"'")
    if path.startswith("file:"):
        path = urllib.parse.unquote(re.sub(r"^file:/*(?=/)", "", path))
    return posixpath.normpath(path if _DRIVE.match(path) and os.name == "nt" else path.replace("\\", "/"))


def _folded(name):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()
