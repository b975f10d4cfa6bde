"""The files to analyse: from files, folders and patterns, as people write them."""

import glob
import os
from pathlib import Path
from typing import NamedTuple

from birdlib import media_types, runtime
from birdlib.video import kinds

MARKER, RUN = "analysis.json", ".run.json"  # a folder with one of them holds an analysis, finished or not
_ANNOTATED = "annotated"  # its films with boxes, which are no recordings


class InputError(runtime.BirdlibError):
    """Files to analyse that are not there."""


class Media(NamedTuple):
    """A file, and ``"sound"`` or ``"film"``."""

    path: Path
    media: str


def find(paths, leave_out=()):
    """The sounds and films that paths name.

    Args:
        paths: files, folders (with all folders in them) and glob patterns. A file that is named itself is taken whatever its suffix.
        leave_out: folders of analyses: their annotated films are not taken, as those of every analysis that is found.

    Returns:
        (files, skipped): list of ``Media``, each file once, also where it is linked; and [(path, reason)] of files that were named,
        but are neither sound nor film, and of folders that cannot be read.

    Raises:
        InputError: if a path is not there or none has a file that can be analysed; all that are missing are named.
    """
    paths, named, files, skipped, known = _as_list(paths), [], [], [], set()
    require(paths)

    def note(error):
        skipped.append((Path(error.filename), f"is a folder that cannot be read ({error.strerror}): check its permissions"))

    for path in paths:
        named += _named(path, leave_out, note)
    for path in named:
        identity = _identity(path)
        if identity in known:
            continue
        known.add(identity)
        try:
            media = _media(path)
        except kinds.MediaError as error:
            skipped.append((path, error.reason))
            continue
        if media == "image":
            skipped.append((path, "is a photo: give recordings and films"))
        else:
            files.append(Media(path, media))
    if not files:
        raise InputError(_nothing(paths, skipped))
    return files, skipped


def require(paths):
    """Raise InputError if a path is not there, or a pattern matches nothing; all of them are named."""
    paths = _as_list(paths)
    if not all(paths):
        raise InputError("no file or folder is given: name at least one; '.' is the current folder")
    missing = [path for path in paths if not os.path.lexists(path) and not (glob.has_magic(path) and glob.glob(path, recursive=True))]
    if missing:
        raise InputError(f"there is no file, folder or match for {', '.join(map(runtime.printable, missing))}: check the spelling")


def relative(path):
    """A path relative to the current folder where it is below it, else absolute."""
    absolute = os.path.abspath(path)
    if os.path.splitdrive(absolute)[0] != os.path.splitdrive(os.getcwd())[0]:
        return absolute
    below = os.path.relpath(absolute)
    return absolute if below.split(os.sep)[0] == os.pardir else below


def shown(path):
    """A path as the tables have it."""
    return runtime.printable(relative(path))


def _as_list(paths):
    paths = [paths] if isinstance(paths, str | bytes | os.PathLike) or paths is None else list(paths)
    for path in paths:
        if not isinstance(path, str | bytes | os.PathLike):
            raise InputError(f"{path!r} is no path: give texts or pathlib.Path")
    return [os.fsdecode(path) for path in paths] or [""]


def _named(path, leave_out, note):
    """The files that one path names; ``note`` takes the OSError of each folder that cannot be read."""
    if os.path.isdir(path):
        return _in_folder(path, leave_out, note)
    if os.path.lexists(path):
        return [Path(path)]
    matches = sorted(glob.glob(path, recursive=True))
    files = [found for match in matches for found in (_in_folder(match, leave_out, note) if os.path.isdir(match) else [Path(match)])]
    return [file for file in files if _is_wanted(file) and not _is_annotated(file)]


def _is_annotated(file):
    folder = file.parent.parent
    return file.parent.name == _ANNOTATED and ((folder / MARKER).is_file() or (folder / RUN).is_file())


def _in_folder(folder, leave_out, note):
    leave_out = {os.path.realpath(path) for path in leave_out}
    files = []
    for parent, folders, names in os.walk(folder, onerror=note, followlinks=True):
        is_analysis = MARKER in names or RUN in names or os.path.realpath(parent) in leave_out
        is_loop = os.path.islink(parent) and os.path.realpath(folder).startswith(os.path.realpath(parent))
        folders[:] = [] if is_loop else sorted(name for name in folders if not (media_types.is_hidden(name) or (is_analysis and name == _ANNOTATED)))
        files += [Path(parent, name) for name in sorted(names)]
    return [file for file in files if _is_wanted(file)]


def _is_wanted(file):
    return media_types.has_suffix(file, media_types.WITH_SOUND) and not media_types.is_hidden(file)


def _media(path):
    """``"sound"``, ``"film"`` or ``"image"``; films and what is unknown are opened, for a film may be sound alone."""
    if media_types.has_suffix(path, media_types.SOUND):
        return "sound"
    try:
        return kinds.kind_of(path)
    except kinds.MediaError:
        if media_types.has_suffix(path, media_types.FILM):
            return "film"  # damaged or empty: its row tells why
        raise


def _identity(path):
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def _nothing(paths, skipped):
    if skipped:
        return "none of the files can be analysed: " + "; ".join(f"{runtime.printable(path)} {reason}" for path, reason in skipped[:3])
    where = ", ".join(map(runtime.printable, paths[:3])) + (" and others" if len(paths) > 3 else "")
    suffixes = " ".join(sorted(suffix[1:] for suffix in media_types.SOUND)), " ".join(sorted(suffix[1:] for suffix in media_types.FILM))
    return f"there are no recordings in {where}: sounds end in {suffixes[0]}; films in {suffixes[1]}"
