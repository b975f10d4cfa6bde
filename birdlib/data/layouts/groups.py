"""Groups: rows that must stay in one split. One recordist at one place on one day, as far as it is known.

A row is placed by the first of these that is known: the group of the layout; recordist, place and date of its metadata; the recorder and the day
in its file's name, or the number in a catalogue; the film of which it is a part; the camera and the day in a photo's EXIF data; its folder; the recording
of which it and other rows are parts.
"""

import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from birdlib import media_types, runtime
from birdlib.data.layouts import file_names, rows
from birdlib.video import images

BY_NAME_DAY = "recorder or folder, and day in the file name"
BY_NAME_DAY_ALONE = "day in the file name"
BY_NAME_NUMBER = "catalogue number in the file name"
BY_PART = "the film or recording of which the file is a part"
BY_EXIF = "camera and day in the EXIF data"
BY_FOLDER = "folder"
BY_RECORDING = "recording, of which several rows are parts"
ALONE = "each file alone"
_MIN_FOLDERS = 5  # fewer folders are parts of a collection, not places or days
_MAX_DISTINCT_SHARE = 0.5  # of the names of recorders, per file
_N_THREADS = 8
_EXIF_SUFFIXES = frozenset(".jpg .jpeg .jpe .tif .tiff .mpo .heic .heif".split())  # of cameras; of others Pillow reads the whole file
_DATE_TAGS, _MODEL_TAG, _SERIAL_TAG, _EXIF_IFD, _GPS_IFD = (36867, 36868), 272, 42033, 0x8769, 0x8825


def guess(table, root):
    """Fill ``group_id`` and ``group_by`` of a table of rows.

    Args:
        table: from ``rows.table``.
        root: folder that its paths are relative to.

    Returns:
        the table; ``group_id`` is empty where ``group_by`` is ``ALONE``.
    """
    table = table.copy()
    table["group_by"] = table["group_by"].where(table["group_id"] != "", "")
    steps = (_by_metadata, _by_file_name, _by_part, lambda rest: _by_exif(rest, root), lambda rest: _by_folder(rest, table), _by_recording)
    for step in steps:
        rest = table[table["group_id"] == ""]
        if rest.empty:
            break
        found = step(rest)
        index = [row for row, (group, _) in found.items() if group]
        table.loc[index, "group_id"] = [found[row][0] for row in index]
        table.loc[index, "group_by"] = [found[row][1] for row in index]
    table.loc[table["group_id"] == "", "group_by"] = ALONE
    return table


def _by_metadata(table):
    """``Ana @ 7.32,-73.71 2025-04-14``: at least the recordist or the place is known."""
    found = {}
    columns = ["recordist", "latitude", "longitude", "place", "recorded_on"]
    for row, recordist, latitude, longitude, place, date in table[columns].itertuples(name=None):
        place = rows.place(latitude, longitude, place)
        if not (recordist or place):
            continue
        known = [name for name, value in (("recordist", recordist), ("place", place), ("date", date)) if value]
        group = " ".join(filter(None, [" @ ".join(filter(None, [recordist, place])), date]))
        found[row] = group, f"{', '.join(known[:-1]) + ' and ' if len(known) > 1 else ''}{known[-1]} of the metadata"
    return found


def _by_file_name(table):
    """Recorder and day, or catalogue number. Texts before the day that hardly recur name the files, no recorders, and are left out."""
    found, dated = {}, {}
    for row, path, context in table[["path", "folder_group"]].itertuples(name=None):
        name = file_names.stem(path)
        recorder, date = file_names.recorder_and_day(name)
        if not date:
            recorder, date = "", file_names.recorder_and_day(context)[1]
        if date:
            dated[row] = context, recorder, date
        elif number := file_names.catalogue_number(name):
            found[row] = number, BY_NAME_NUMBER
    recorders = [recorder for _, recorder, _ in dated.values() if recorder]
    are_recorders = len(set(recorders)) <= _MAX_DISTINCT_SHARE * len(recorders)
    for row, (context, recorder, date) in dated.items():
        place = " ".join(filter(None, [context, recorder if are_recorders else ""]))
        found[row] = f"{place} {date}".strip(), BY_NAME_DAY if place else BY_NAME_DAY_ALONE
    return found


def _by_part(table):
    """Sounds and films of one place and species whose names are parts of the same whole, or the whole itself."""
    wholes = {}
    for row, path, media, species, context in table[["path", "media", "species", "folder_group"]].itertuples(name=None):
        if media != "photo":
            name = file_names.stem(path)
            whole = file_names.whole_of_part(name, with_letters=media == "film")
            wholes[row] = (media, " ".join(filter(None, [species, context, (whole or name).casefold()])), bool(whole))
    counts = Counter(key[:2] for key in wholes.values())
    with_parts = {key[:2] for key in wholes.values() if key[2]}
    return {row: (key[1], BY_PART) for row, key in wholes.items() if counts[key[:2]] > 1 and key[:2] in with_parts}


def _by_exif(table, root):
    photos = table[table["media"] == "photo"]
    photos = photos[photos["path"].map(lambda path: media_types.has_suffix(path, _EXIF_SUFFIXES)).astype(bool)]
    if photos.empty:
        return {}
    images.register_heif()
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=_N_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of broken tags
        read = pool.map(lambda path: exif_group(root / path), photos["path"])
        groups = list(runtime.progress(read, total=len(photos), desc="EXIF dates"))
    return {row: (group, BY_EXIF) for row, group in zip(photos.index, groups, strict=True)}


def exif_group(path):
    """``2025-04-14 EOS R5 52.52,13.40``: the day, camera and place of a photo's EXIF data; empty without a day. Only the file's head is read."""
    from PIL import Image

    try:
        with Image.open(path) as photo:
            tags = photo.getexif()
            details, gps = tags.get_ifd(_EXIF_IFD), tags.get_ifd(_GPS_IFD)
    except Exception:  # of one of Pillow's many readers: no photo, which stage 01 reports, or broken tags
        return ""
    date = next(filter(None, (rows.day(details.get(tag)) for tag in _DATE_TAGS)), "")
    if not date:
        return ""
    camera = " ".join(str(value).strip(" \0") for value in (tags.get(_MODEL_TAG), details.get(_SERIAL_TAG)) if value)
    place = rows.place(_degrees(gps.get(2), gps.get(1)), _degrees(gps.get(4), gps.get(3)))
    return " ".join(filter(None, [date, camera, place]))


def _degrees(parts, direction):
    """Degrees, minutes and seconds as text; empty where they are missing or no numbers."""
    try:
        degrees, minutes, seconds = map(float, parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return ""
    value = (degrees + minutes / 60 + seconds / 3600) * (-1 if str(direction).strip("\0 ") in ("S", "W") else 1)
    return rows.degrees(value, 180)


def _by_folder(rest, table):
    folders = set(table["folder_group"]) - {""}
    if len(folders) < _MIN_FOLDERS:
        return {}
    return {row: (folder, BY_FOLDER) for row, folder in rest["folder_group"].items()}


def _by_recording(table):
    is_part = table["path"].duplicated(keep=False)
    return {row: (path, BY_RECORDING) for row, path in table.loc[is_part, "path"].items()}
