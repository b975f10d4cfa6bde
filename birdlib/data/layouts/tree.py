"""The files below a folder: listed once, without opening them. Paths are text with ``/``, relative to the folder."""

import functools
import json
import os
import posixpath
from collections import defaultdict
from pathlib import Path

from birdlib import media_types, runtime
from birdlib.data import csv_tables, media_paths

ARCHIVES = frozenset(".zip .tar .tgz .tbz2 .txz .gz .bz2 .xz .7z .rar".split())
DOCUMENTS = frozenset(
    ".txt .csv .tsv .json .jsonl .xml .html .htm .md .rst .pdf .doc .docx .xls .xlsx .ods .odt .rtf .log .yml .yaml .toml .ini .cfg .py .r .rmd .ipynb"
    " .sh .rttm .textgrid .srt .parquet .feather .db .sqlite .bib .kml .kmz .gpx .geojson .mat .npy .npz .md5 .sha256 .url .lnk .torrent .xmp .pls .m3u .cue .svg .sel".split()
)
_START_BYTES = 4096  # of a table or JSON file, to know its kind
_RECEIPTS = {"stage.json": "a stage of birdlib", "analysis.json": "the command analyse"}


class LayoutError(runtime.BirdlibError):
    """A folder of which no manifest can be made."""


class Tree:
    """The files below a folder.

    Attributes:
        root: Path of the folder.
        media: {path: ``"sound"``, ``"photo"`` or ``"film"``}, sorted.
        documents: tables and texts, sorted; ``folders`` has those of each folder.
        media_folders: set of the folders with media in them or below, and ``""``.
        unplaced: [(path, reason)] of what no layout can use: archives, other suffixes, names that are not UTF-8, unreadable folders.
    """

    def __init__(self, root):
        self.root = Path(root)
        self.media, self.documents, self.unplaced = {}, [], []
        self._files = set()
        for path in runtime.progress(_walk(self.root, self.unplaced), desc="files"):
            self._add(path)
        self.media = dict(sorted(self.media.items()))
        self.documents.sort()
        self.media_folders = {""}  # with media in them or below
        for folder in {posixpath.dirname(path) for path in self.media}:
            while folder not in self.media_folders:
                self.media_folders.add(folder)
                folder = posixpath.dirname(folder)
        self.folders = defaultdict(list)  # {folder: paths of the documents in it}
        for path in self.documents:
            self.folders[posixpath.dirname(path)].append(path)

    def _add(self, path):
        self._files.add(path)
        suffix = posixpath.splitext(path)[1].lower()
        if suffix in media_types.SOUND:
            self.media[path] = "sound"
        elif suffix in media_types.IMAGE:
            self.media[path] = "photo"
        elif suffix in media_types.FILM:
            self.media[path] = "film"
        elif suffix in ARCHIVES:
            self.unplaced.append((path, "is still packed: unpack it and run again"))
        elif suffix in DOCUMENTS or not suffix:
            self.documents.append(path)
        else:
            self.unplaced.append((path, f"{suffix} is no suffix of a sound, photo or film that is read: convert it, or leave it out"))

    def has(self, path):
        """Whether there is such a file, exactly so written."""
        return path in self._files

    def with_suffix(self, *suffixes):
        """The documents with one of these suffixes, in lower or upper case."""
        return [path for path in self.documents if posixpath.splitext(path)[1].lower() in suffixes]

    @functools.cache  # noqa: B019  a tree lives as long as the command
    def start(self, path):
        """The first 4 KiB of a file as text."""
        try:
            with open(self.root / path, "rb") as file:
                data = file.read(_START_BYTES)
        except OSError:
            return ""
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace").removeprefix("\ufeff")

    @functools.lru_cache(maxsize=64)  # noqa: B019
    def json(self, path):
        """The content of a JSON file.

        Raises:
            LayoutError: if it is not JSON.
        """
        try:
            return json.loads((self.root / path).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise LayoutError(f"{self.root / path} is not complete JSON ({error}): download it again, or remove it") from error

    @functools.cache  # noqa: B019
    def header(self, path):
        """The column names of a CSV table, in lower case; empty where it is none."""
        line = next((line for line in self.start(path).splitlines() if line.strip()), "")
        separator = max(",;\t|", key=line.count)
        return [name.strip().strip("\"'").lower() for name in line.split(separator)]

    def table(self, path, columns=(), required=()):
        """``csv_tables.read`` of a document.

        Raises:
            LayoutError: if a required column is missing.
            csv_tables.TableError: if it is no table.
        """
        table = csv_tables.read(self.root / path, [*required, *columns])
        missing = [name for name in required if name not in table]
        if missing:
            raise LayoutError(f"{self.root / path} has no column {', '.join(missing)}: it has {', '.join(table.columns[:10])}; download it again")
        return table

    def with_media(self, folder):
        """The folder, or the nearest above it that has media in it or below."""
        while folder not in self.media_folders:
            folder = posixpath.dirname(folder)
        return folder


def _walk(root, unplaced):
    """Paths of all files below a root, folder by folder; hidden ones are left out, links are followed."""
    pending, visited = [""], set()
    while pending:
        folder = pending.pop()
        real = os.path.realpath(root / folder)
        if real in visited:  # a link to a folder above
            continue
        visited.add(real)
        try:
            with os.scandir(root / folder) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            unplaced.append((folder or ".", f"the folder cannot be read ({error.strerror})"))
            continue
        writer = next((_RECEIPTS[entry.name] for entry in entries if entry.name in _RECEIPTS), "")
        if folder and writer:
            unplaced.append((folder, f"the folder was written by {writer}"))
            continue
        for entry in entries:
            path = posixpath.join(folder, entry.name)
            if media_types.is_hidden(entry.name) or entry.name == "__MACOSX":
                continue
            if not media_paths.is_text(entry.name):
                unplaced.append((runtime.printable(path), "its name is not UTF-8: rename it"))
            elif entry.is_dir():
                pending.append(path)
            elif entry.is_file():
                yield path
            else:
                unplaced.append((path, "is a broken link or no file"))


def of_folder(paths, folder):
    """The paths that lie in a folder; all of them if none does."""
    return [path for path in paths if is_below(path, folder)] or paths


def is_below(path, folder):
    """Whether a path lies in a folder, at any depth."""
    return not folder or path.startswith(folder + "/")
