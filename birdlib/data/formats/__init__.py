"""Formats in and out: detections, tracks and boxes for Raven, Audacity, BirdNET-Analyzer, Kaleidoscope, CVAT and others.

``FORMATS`` is the one list of them. A writer turns tables into texts, and ``write`` alone writes files: each is complete when it
has its name, and one that exists is kept unless it shall be overwritten.
"""

from collections import namedtuple
from pathlib import Path

from birdlib import runtime
from birdlib.data.formats import audacity, birdnet, kaleidoscope, plain, raven, reading, tables

Format = namedtuple("Format", "holds description write matches read")
Written = namedtuple("Written", "written kept")
FORMATS = {  # {name: Format}, the first that matches a text is its format
    "raven": Format("detections", "Raven selection tables", raven.write, raven.matches, raven.read),
    "audacity": Format("detections", "Audacity label tracks", audacity.write, audacity.matches, audacity.read),
    "audacity-bands": Format("detections", "Audacity label tracks with frequencies", audacity.write_bands, audacity.matches, audacity.read),
    "birdnet": Format("detections", "BirdNET-Analyzer's CSV", birdnet.write, birdnet.matches, birdnet.read),
    "kaleidoscope": Format("detections", "Kaleidoscope's CSV", kaleidoscope.write, kaleidoscope.matches, kaleidoscope.read),
    "jsonl": Format("detections", "JSON lines, complete", plain.write_json, plain.matches_json, plain.read_json),
    "csv": Format("detections", "CSV table, complete", plain.write_csv, plain.matches_csv, plain.read_csv),
}
NAMES = tuple(name for name, item in FORMATS.items() if item.write)  # that can be written


def listing(names=tuple(FORMATS)):
    """The formats and what each holds, as text: ``raven (detections), ...``."""
    return ", ".join(f"{name} ({FORMATS[name].holds})" for name in names)


def require_known(names):
    """Raise ParameterError, which lists the formats, if one of the names cannot be written."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        what = f"unknown format {', '.join(map(repr, unknown))}" if unknown else "no format is given"
        raise runtime.ParameterError(f"{what}: use {listing(NAMES)}")


def write(given, name, folder, overwrite=False):
    """Write tables in a format.

    Args:
        given: {"detections" | "tracks" | "boxes" | "files" | "films": DataFrame}. The format takes the one that it holds, with the
            columns of ``tables.COLUMNS``; missing columns are not known. ``files`` (``path, duration_s, sample_rate_hz``) tells
            recordings without detections, which then get a file without rows, and what else would be read from their headers.
            ``films`` (``path, frame_rate_hz, width, height, n_frames``) does the same for tracks.
        name: of the format, one of ``NAMES``.
        folder: where the files go, made when missing. Formats with a file for each recording keep the recordings' folders below
            their common one.
        overwrite: whether files that exist are replaced; they are kept otherwise.

    Returns:
        Written(written, kept): two lists of Path.

    Raises:
        runtime.ParameterError: for another format, or if the table that it holds is not given.
        runtime.FullDiskError: if the disk is full.
    """
    require_known([name])
    item = FORMATS[name]
    if given.get(item.holds) is None:
        raise runtime.ParameterError(f"the format {name} holds {item.holds}, and there are none here: use one of {listing(NAMES)}")
    given = {**given, item.holds: tables.complete(given[item.holds], item.holds)}
    result = Written([], [])
    for file_name, text in item.write(given):
        path = Path(folder, file_name)
        if path.exists() and not overwrite:
            result.kept.append(path)
            continue
        with runtime.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        result.written.append(path)
    return result


def guess(path):
    """The name of the format of a file, by its content.

    Raises:
        reading.FormatError: if there is no such file, or it is of none of the formats.
    """
    return _guess(path, reading.read_text(path))


def _guess(path, text):
    for name, item in FORMATS.items():
        if text.strip() and item.matches(text):
            return name
    what = "is empty" if not text.strip() else "is of no format that is known"
    raise reading.FormatError(path, f"{what}: give a file of {listing()}")


def read(path, name="", media=""):
    """Read a file with annotations.

    Args:
        path: of the file, in any encoding, with any separator and decimal commas.
        name: of its format; empty: guessed from the content.
        media: folder with the recordings, searched by name where the path in the file does not exist; empty: the file's own folder.

    Returns:
        DataFrame with the columns of ``tables.COLUMNS`` of what the format holds, and after them those that only the file has.
        ``path`` is relative to the current folder where it is below it; where no recording is found, it is as the file has it.

    Raises:
        reading.FormatError: if there is no such file, it is of another format, or a row cannot be used.
        runtime.ParameterError: for an unknown format.
    """
    text = reading.read_text(path)
    if name and name not in FORMATS:
        raise runtime.ParameterError(f"unknown format {name!r}: use {listing()}")
    name = name or _guess(path, text)
    table = FORMATS[name].read(Path(path), text, reading.Finder(path, media))
    return tables.complete(table, FORMATS[name].holds)
