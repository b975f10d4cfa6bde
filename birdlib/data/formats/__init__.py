"""Formats in and out: detections, tracks and boxes for Raven, Audacity, BirdNET-Analyzer, Kaleidoscope, CVAT and others.

``FORMATS`` is the one list of them. A writer turns tables into texts, and ``write`` alone writes files: each is complete when it
has its name, and one that exists is kept unless it shall be overwritten.
"""

from collections import namedtuple
from pathlib import Path

import pandas as pd

from birdlib import runtime
from birdlib.data.formats import (
    annotations,
    audacity,
    birdnet,
    coco,
    cvat,
    finding,
    kaleidoscope,
    mot,
    plain,
    raven,
    reading,
    soundscape_labels,
    tables,
)

Format = namedtuple("Format", "holds description write matches read")
Written = namedtuple("Written", "written kept")
FORMATS = {  # {name: Format}, the first that matches a text is its format
    "raven": Format("detections", "Raven selection tables", raven.write, raven.matches, raven.read),
    "audacity": Format("detections", "Audacity label tracks", audacity.write, audacity.matches, audacity.read),
    "audacity-bands": Format("detections", "Audacity label tracks with frequencies", audacity.write_bands, audacity.matches, audacity.read),
    "birdnet": Format("detections", "BirdNET-Analyzer's CSV", birdnet.write, birdnet.matches, birdnet.read),
    "kaleidoscope": Format("detections", "Kaleidoscope's CSV", kaleidoscope.write, kaleidoscope.matches, kaleidoscope.read),
    "jsonl": Format("detections", "JSON lines, complete", plain.write_json, plain.matches_json, plain.read_json),
    "birdclef": Format("detections", "BirdCLEF's labels of soundscapes", None, soundscape_labels.matches, soundscape_labels.read),
    "csv": Format("detections", "CSV table, complete", plain.write_csv, plain.matches_csv, plain.read_csv),
    "mot": Format("tracks", "MOT challenge", mot.write, mot.matches, mot.read),
    "cvat": Format("tracks", "CVAT for video 1.1", cvat.write, cvat.matches, cvat.read),
    "coco": Format("boxes", "COCO, of photos and images of films", coco.write, coco.matches, coco.read),
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


def can_hold(name, given):
    """Whether a format holds one of the given tables: boxes are made of tracks, too."""
    kinds = {"boxes", "tracks"} if FORMATS[name].holds == "boxes" else {FORMATS[name].holds}
    return bool(kinds & set(given))


def summary(name, given):
    """How much a format holds of the given tables, as text: ``12 detections in 3 recordings``."""
    kind = next(kind for kind in (FORMATS[name].holds, "tracks") if given.get(kind) is not None)
    table = given[kind]
    n = table.groupby(["path", "track"]).ngroups if kind == "tracks" and len(table) else len(table)
    n_files = table["path"].nunique()
    return f"{n} {kind if n != 1 else kind.removesuffix('es' if kind == 'boxes' else 's')} in {n_files} {'recording' if kind == 'detections' else 'file'}{'s' * (n_files != 1)}"


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
        runtime.FileError: if a file cannot be written there.
        runtime.FullDiskError: if the disk is full.
    """
    require_known([name])
    item = FORMATS[name]
    if item.holds == "boxes" and given.get("boxes") is None and given.get("tracks") is not None:
        given = {**given, "boxes": coco.from_tracks(tables.complete(given["tracks"], "tracks"))}
    if given.get(item.holds) is None:
        raise runtime.ParameterError(f"the format {name} holds {item.holds}, and there are none here: use one of {listing(NAMES)}")
    given = {**given, item.holds: tables.complete(given[item.holds], item.holds)}
    result = Written([], [])
    for file_name, text in item.write(given):
        path = Path(folder, file_name)
        if path.exists() and not overwrite:
            result.kept.append(path)
            continue
        try:
            with runtime.replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            raise runtime.FileError(path, f"cannot be written ({error.strerror or error}): choose another folder") from error
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
        media: folder with the recordings, which are found by name; empty: they are at the path in the file, else in the file's own folder.

    Returns:
        DataFrame with the columns of ``tables.COLUMNS`` of what the format holds, and after them those that only the file has.
        ``path`` is relative to the current folder where it is below it; where no recording is found, it is as the file has it.

    Raises:
        reading.FormatError: if there is no such file, it is of another format, or a row cannot be used.
        runtime.ParameterError: for an unknown format.
    """
    if name and name not in FORMATS:
        raise runtime.ParameterError(f"unknown format {name!r}: use {listing()}")
    return _read(path, name, finding.Finder(path, finding.Media(media or Path(path).parent), prefers_media=bool(media)))[1]


def _read(path, name, find):
    """(name of the format, table) of a file."""
    text = reading.read_text(path)
    name = name or _guess(path, text)
    return name, tables.complete(FORMATS[name].read(Path(path), text, find), FORMATS[name].holds)


def to_manifest(source, media="", root="", name="", point_s=5.0):
    """Make rows of a manifest of annotations: a row for each labelled part of a recording.

    Labels of the same part become one row, with the most confident as species and the others as secondary species; so do the
    labels of parts that overlap it. Parts of a recording are one group. Parts without label are not used.

    Args:
        source: a file of any format that holds detections, a list of them, or a folder: all such files in it and below.
        media: folder with the recordings, which are found by name; empty: that of the annotations.
        root: folder that ``audio_path`` is relative to, which is where the manifest will be; empty: that of the recordings.
        name: of the format; empty: guessed for each file.
        point_s: length in seconds of the part around a label that is a point in time.

    Returns:
        (table, left_out): DataFrame of ``annotations.COLUMNS``, as ``manifest.normalise`` takes it, and DataFrame ``path, reason`` of
        the files, relative to ``root``, and recordings that are not used.

    Raises:
        reading.FormatError: if ``source`` is missing, or is one file that cannot be used.
        runtime.ParameterError: for an unknown format, or a ``point_s`` that is not positive.
    """
    if not point_s > 0:
        raise runtime.ParameterError(f"point_s is {point_s}: give the seconds of a part around a point, more than 0")
    if name and name not in FORMATS:
        raise runtime.ParameterError(f"unknown format {name!r}: use {listing()}")
    files, folder = annotations.files_of(source)
    folder = Path(media or folder)
    root = root or folder
    parts, left_out = _labels(files, name, finding.Media(folder), root, is_strict=isinstance(source, str | Path) and Path(source).is_file())
    table, n_unlabelled = annotations.rows(parts, root, point_s)
    if n_unlabelled:
        left_out.append((annotations.relative(files[0], root) if len(files) == 1 else "(annotations)", f"{n_unlabelled} rows have no label"))
    return table, pd.DataFrame(list(dict.fromkeys(left_out)), columns=["path", "reason"], dtype=str)


def _labels(files, name, media, root, is_strict):
    """(detections of recordings that are there, [(path, reason)] of what is not used)."""
    found, left_out = [tables.complete([], "detections").assign(source="")], []
    for file in runtime.progress(files, desc="annotations") if len(files) > 1 else files:
        find, shown = finding.Finder(file, media, prefers_media=True), annotations.relative(file, root)
        try:
            format_name, table = _read(file, name, find)
        except reading.FormatError as error:
            if is_strict:
                raise
            left_out.append((shown, error.reason))
            continue
        item = FORMATS[format_name]
        if item.holds != "detections":
            left_out.append((shown, f"holds {item.holds}, no labels with times"))
            continue
        left_out += [(path, f"named in {shown}, but {reason}") for path, reason in find.faults.items()]
        found.append(table[~table["path"].isin(find.faults)].assign(source=f"{item.description}, {Path(file).name}"))
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True), left_out
