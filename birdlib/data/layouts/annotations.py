"""Recordings with annotations: tables of labels with times, of Raven, Audacity, Kaleidoscope and others, by ``birdlib.data.formats``.

Detections of a program, such as BirdNET-Analyzer's, are no annotations; they are used only if the layout is asked for by name.
"""

import posixpath

from birdlib.data import formats
from birdlib.data.formats import reading

NEEDS = "sounds or films, and tables of labels with times: Raven, Audacity, Kaleidoscope, BirdCLEF's labels of soundscapes, or detections"
MEDIA = ("sound", "film")
_SUFFIXES = (".txt", ".csv", ".tsv")  # JSON and XML hold boxes and tracks
_OF_PROGRAMS = ("birdnet", "jsonl", "csv")  # formats that programs write


def find(tree, is_asked=False):
    """The root, if a table of labels by people is there; or, if the layout is asked for, one of detections."""
    names = _formats(tree)
    used = [path for path, name in names.items() if is_asked or not _is_of_program(path, name)]
    return {"": f"{posixpath.basename(used[0])} is of the format {formats.FORMATS[names[used[0]]].description}"} if used and tree.media else {}


def read(tree, folder, files, is_asked=False):
    """A row a labelled part. Sounds beside annotated ones, without annotation, are unplaced; those of other folders are handed on (reason ``""``).

    Args:
        is_asked: whether detections of programs are used, too.
    """
    names = _formats(tree)
    used = [path for path, name in names.items() if is_asked or not _is_of_program(path, name)]
    found, unplaced = read_tables(tree, used)
    unplaced += [(path, "has detections of a program, no annotations: --layout annotations uses them") for path in names if path not in used]
    annotated = {row["path"] for row in found}
    folders = {posixpath.dirname(path) for path in annotated}
    known = annotated | {path for path, _ in unplaced}
    rest = [path for path in files if path not in known]
    return found, unplaced + [(path, "no annotation names it" if posixpath.dirname(path) in folders else "") for path in rest]


def read_tables(tree, paths):
    """(rows, unplaced) of tables of labels with times; see ``formats.to_manifest``."""
    table, left_out = formats.to_manifest([tree.root / path for path in paths], media=tree.root, root=tree.root)
    unplaced = list(left_out.itertuples(index=False, name=None))
    found = []
    for row in table.to_dict("records"):
        path = row["audio_path"]
        if tree.media.get(path) not in MEDIA:
            unplaced.append((path, "is annotated, but is no sound or film below the folder"))
            continue
        found.append({**row, "path": path, "media": tree.media[path], "group_id": "", "folder_group": posixpath.dirname(path)})
    return found, unplaced


def _formats(tree):
    """{path: format} of the documents that hold labels with times, by their first lines."""
    found = {}
    for path in tree.with_suffix(*_SUFFIXES):
        text = reading.with_newlines(tree.start(path))
        name = next((name for name, item in formats.FORMATS.items() if text.strip() and item.matches(text)), "")
        if name and formats.FORMATS[name].holds == "detections":
            found[path] = name
    return found


def _is_of_program(path, name):
    return name in _OF_PROGRAMS or ".birdnet." in path.lower()
