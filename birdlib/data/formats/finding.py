"""The recordings that annotations belong to, found on the disk.

Annotations hold paths of another computer, mere file names, or nothing but their own name, which is that of the recording.
"""

import os
import re
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from birdlib import media_types, runtime
from birdlib.data.formats import reading, tables
from birdlib.video import io as video_io

_ANNOTATION_SUFFIX = re.compile(
    r"(\.Table\.\d+)?\.selections\.txt|\.selection[._]?table\.txt|\.BirdNET\.(selection\.table|results)\.(txt|csv)"
    r"|[._-](labels?|annotations?|label track)\.(txt|csv)|\.(txt|csv|tsv|xml|jsonl?)",
    re.IGNORECASE,
)
_NAMES_SHOWN = 3


class Media:
    """The sounds, films and photos below a folder, by name; the folder is listed once, when it is needed."""

    def __init__(self, folder):
        self.folder = Path(folder)

    @cached_property
    def files(self):
        """All of them, a sorted list of Path."""
        return media_types.list_media(self.folder, media_types.WITH_SOUND | media_types.IMAGE, "**/*")[0]

    @cached_property
    def by_name(self):
        """{folded name: files}."""
        return _grouped(self.files, lambda file: file.name)

    @cached_property
    def by_stem(self):
        """{folded stem: files}, without photos."""
        return _grouped([file for file in self.files if media_types.has_suffix(file, media_types.WITH_SOUND)], lambda file: file.stem)


class Finder:
    """The recordings of one file with annotations: at the path that it gives, beside it, or below a folder, by name.

    With ``prefers_media`` a path that it gives outside the folder counts only where the folder has no file of that name: the folder
    may be a copy. Where several files fit, the one is taken whose folders are those of the given path, else the nearest to the annotations.
    ``faults`` tells why others are not found.
    """

    def __init__(self, annotations, media, prefers_media=False):
        self.annotations, self.media, self.prefers_media = Path(annotations), media, prefers_media
        self.faults = {}  # {path in the table: reason}
        self._found = {}

    @property
    def stem(self):
        """The name of the recording that the annotations' own name tells: ``song.Table.1.selections.txt`` belongs to ``song``."""
        return _ANNOTATION_SUFFIX.sub("", self.annotations.name) or self.annotations.stem

    def recordings(self, given, names=None):
        """The path of each row's recording, as the tables hold paths; where no file is found, the path as given.

        Args:
            given: (rows,) str, paths in the annotations, of any system; empty: the recording that the annotations' own name tells.
            names: (rows,) str or None: file names, for rows without a path.
        """
        given = list(given)
        names = given if names is None else list(names)
        return [self._stored(path or name or self.stem) for path, name in zip(given, names, strict=True)]

    def film(self, name):
        """The path of the film of a name, with or without suffix; the name where none is found."""
        return self._stored(name)

    def soundscapes(self, names):
        """The paths of soundscapes by file name, by stem, or by the beginning of the stem up to a ``_``; the names where none is found."""
        return [self._stored(name, by_beginning=True) for name in names]

    def _stored(self, path, by_beginning=False):
        if path not in self._found:
            files = self._search(path, by_beginning)
            self._found[path] = tables.stored(files[0]) if len(files) == 1 else runtime.printable(path)
            if len(files) > 1:
                names = ", ".join(tables.stored(file) for file in files[:_NAMES_SHOWN])
                self.faults[self._found[path]] = f"fits {len(files)} files, such as {names}: put the annotations beside their recording"
            elif not files:
                where = tables.stored(self.media.folder)
                self.faults[self._found[path]] = f"is not found, and no file of its name is below {where}: put it there, or give the folder of the recordings"
        return self._found[path]

    def _search(self, path, by_beginning):
        """The files that fit, one if it is clear which is meant."""
        parts = (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).parts
        if not parts or "\0" in path:
            return []
        beside = [self.annotations.parent.joinpath(*parts), self.annotations.parent / parts[-1]]
        is_meant = not self.prefers_media or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.media.folder))
        for file in [Path(path)] * is_meant + [file for file in beside if file != Path(path)]:
            if os.path.isfile(file) and file.resolve() != self.annotations.resolve():
                return [file]
        found = self._below(parts, by_beginning)
        return [Path(path)] if len(found) != 1 and os.path.isfile(path) else found

    def _below(self, parts, by_beginning):
        """The files below the folder that fit."""
        key = _folded(parts[-1])
        found = self.media.by_name.get(key) or self.media.by_stem.get(key) or []
        if not found and by_beginning:
            found = [file for stem, files in self.media.by_stem.items() if stem.startswith(key + "_") for file in files]
        if len(found) > 1:
            found = _best(found, lambda file: -_n_shared(file.parts, parts))
        return _best(found, lambda file: len(Path(os.path.relpath(file.parent, self.annotations.parent)).parts)) if len(found) > 1 else found


def _grouped(files, name):
    groups = defaultdict(list)
    for file in files:
        groups[_folded(name(file))].append(file)
    return groups


def _folded(name):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _best(files, cost):
    lowest = min(map(cost, files))
    return [file for file in files if cost(file) == lowest]


def _n_shared(parts, others):
    """How many parts two paths share at their ends."""
    pairs = list(zip(reversed(parts), reversed(others), strict=False))
    return next((number for number, (a, b) in enumerate(pairs) if _folded(a) != _folded(b)), len(pairs))


def is_file(path):
    """Whether a path of a table is a file."""
    return bool(path) and os.path.isfile(path)


def frame_rate_hz(path, film):
    """The frame rate of a film that annotations belong to; raises reading.FormatError if it is not there."""
    try:
        return video_io.probe(film).frame_rate_hz
    except runtime.FileError as error:
        raise reading.FormatError(path, f"counts frames, and its film {film} cannot be read ({error.reason}): put the film beside it, or give its folder") from error
