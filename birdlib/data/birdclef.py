"""The BirdCLEF+ layout: its tables as a manifest, its soundscapes as five-second windows.

Labels are ``str`` throughout: eBird codes (``amekes``) stand beside iNaturalist numbers (``1139490``). A window is
named by the file's stem and the second at which it ends; see ``submissions`` for the file that the competition takes.
"""

import math
import warnings
from pathlib import Path, PurePosixPath

import pandas as pd

from birdlib import media_types, runtime
from birdlib.data import csv_tables, manifest, media_paths, recording_ids, species_labels
from birdlib.runtime import BirdlibError

WINDOW_S = 5.0
_ENCODER_TAIL_S = 0.1  # decoded ogg may be this much longer than the recording was: no window of its own
_TRAIN_TABLES = ("train.csv", "train_metadata.csv")  # the second in 2021 to 2024
_AUDIO_FOLDERS = ("train_audio", "train_short_audio")  # the second in 2021
_SOUNDSCAPE_FOLDERS = {"test": ("test_soundscapes",), "train": ("train_soundscapes", "unlabeled_soundscapes")}  # the last in 2024
_TRAIN_COLUMNS = (
    "primary_label", "secondary_labels", "filename", "collection", "url", "latitude", "longitude", "author", "license", "group_id",
)  # fmt: skip
_MEDIA = {"image": (media_types.IMAGE, "photo"), "video": (media_types.FILM, "film")}
_NOT_UTF8 = "its name is not UTF-8: rename it"


class LayoutError(BirdlibError):
    """A folder without BirdCLEF's layout."""


def is_layout(folder):
    """Whether a folder holds the table and the folder of training recordings of any year."""
    return train_table(folder) is not None and _audio_folder(folder) is not None


def train_table(folder):
    """Path of ``train.csv``, or ``train_metadata.csv`` as until 2024; None if there is neither."""
    return next((Path(folder, name) for name in _TRAIN_TABLES if Path(folder, name).is_file()), None)


def _audio_folder(folder):
    return next((name for name in _AUDIO_FOLDERS if Path(folder, name).is_dir()), None)


def read(folder):
    """Read a BirdCLEF folder of any year as a manifest.

    Recordings come from ``train.csv``; photos in ``images/<label>/`` and films in ``videos/`` (without label) or
    ``videos/<label>/`` get rows of their own. A group is one author at one place, to 0.01 degrees (1 km), unless the table has a
    column ``group_id``, as that of ``compose`` does. Where neither is known, and for photos and films, each file is its own group. A label that ``taxonomy.csv`` lacks is kept with a
    warning: it can be trained on, but not submitted. Files that are not used are listed by ``unused``.

    Returns:
        (table, root): the checked and normalised manifest and the folder its paths are relative to.

    Raises:
        LayoutError: if the folder has no ``train.csv`` and ``train_audio/``, or columns are missing.
        ManifestError: if rows cannot be used, such as those without a file.
    """
    folder = Path(folder)
    table = unchecked(folder)
    table["group_id"] = table["group_id"].where(table["group_id"] != "", table["recording_id"])
    known = set(taxonomy(folder)["primary_label"]) if (folder / "taxonomy.csv").is_file() else None
    table = manifest.normalise(table, known or ())
    if known is not None:
        unknown = sorted(set(manifest.class_names(table)) - known)
        if unknown:
            warnings.warn(f"taxonomy.csv lacks {len(unknown)} labels: {', '.join(unknown[:10])}", stacklevel=2)
    manifest.check(table, folder.resolve(), may_leave=False)
    return table, folder.resolve()


def unchecked(folder):
    """The rows of a BirdCLEF folder as they are written, with unique ids and paths as on the disk; see ``read``.

    Rows may name files that are not there, and ``group_id`` is empty where neither author nor place is known. Columns of a manifest that
    the layout lacks are missing.

    Raises:
        LayoutError: if the folder has no ``train.csv`` and ``train_audio/``, or columns are missing.
    """
    folder = Path(folder)
    if not is_layout(folder):
        raise LayoutError(_why_no_layout(folder))
    train = _read_table(train_table(folder), ("primary_label", "filename"), _TRAIN_COLUMNS)
    recordings = manifest.find_media(_recordings(train, _audio_folder(folder)), folder.resolve(), may_leave=False)
    tables = [recordings, *(_media(folder, kind, suffixes) for kind, (suffixes, _) in _MEDIA.items())]
    table = pd.concat([part for part in tables if len(part)] or [recordings], ignore_index=True).fillna("")
    paths = [table.get(name, pd.Series("", index=table.index)) for name in manifest.PATH_COLUMNS]
    table["recording_id"] = recording_ids.unique(table["recording_id"], paths[0] + paths[1] + paths[2], table["source"])
    return table


def unused(folder, table):
    """Files in the media folders of a BirdCLEF folder that are not used: [(path relative to the folder, reason)].

    Args:
        table: from ``read``.
    """
    folder = Path(folder)
    used = {path for name in manifest.PATH_COLUMNS for path in table[name]}
    files = []
    for name in _AUDIO_FOLDERS:
        sounds, others = _walk(folder / name, media_types.WITH_SOUND)
        files += [(path, f"{train_table(folder).name} does not name it: add a row, or remove the file") for path in sounds]
        files += [(path, _other_suffix(path, "sound")) for path in others]
    for kind, (suffixes, word) in _MEDIA.items():
        media, others = _walk(folder / f"{kind}s", suffixes)
        files += [(path, f"it is too deep: a {word} belongs into {kind}s/ or {kind}s/<label>/") for path in media]
        files += [(path, _other_suffix(path, word)) for path in others]
    files = [(path, reason) for path, reason in files if path.relative_to(folder).as_posix() not in used]
    for which in _SOUNDSCAPE_FOLDERS:
        paths, others = _soundscape_files(folder, which)
        first = set(unique_stems(paths))
        files += [(path, "another soundscape has the same name: rename it") for path in paths if path not in first]
        files += [(path, _other_suffix(path, "sound")) for path in others]
    rows = [(path.relative_to(folder), reason if media_paths.is_text(path.relative_to(folder)) else _NOT_UTF8) for path, reason in files]
    rows += [(path.relative_to(folder), _NOT_UTF8) for path in _soundscape_files(folder, "train")[0] if not media_paths.is_text(path.name)]
    return sorted((runtime.printable(path), reason) for path, reason in dict(rows).items())


def taxonomy(folder):
    """``taxonomy.csv`` as text, rows without ``primary_label`` dropped; LayoutError if it is missing."""
    table = _read_table(Path(folder, "taxonomy.csv"), ("primary_label",))
    return table[table["primary_label"] != ""].reset_index(drop=True)


def submission_classes(folder):
    """The labels a submission needs, in string order: of ``sample_submission.csv``, ``taxonomy.csv`` or the training table.

    Raises:
        LayoutError: if there is none of them.
    """
    example = Path(folder, "sample_submission.csv")
    if example.is_file():
        return sorted(set(_read_table(example, ("row_id",)).columns) - {"row_id"})
    train = train_table(folder)
    if train and not Path(folder, "taxonomy.csv").is_file():
        return sorted(set(_read_table(train, ("primary_label",))["primary_label"].map(species_labels.clean)) - {""})
    return sorted(set(taxonomy(folder)["primary_label"]))


def soundscapes(folder, which="test"):
    """The sound files below ``test_soundscapes/``, or ``train_soundscapes/`` and ``unlabeled_soundscapes/``, sorted by name.

    Files whose names are not UTF-8 are left out of the training ones, as no table can name them; all test ones are predicted.
    """
    if which not in _SOUNDSCAPE_FOLDERS:
        raise ValueError(f"which is {which!r}: there are 'test' and 'train' soundscapes")
    paths = _soundscape_files(folder, which)[0]
    return paths if which == "test" else [path for path in paths if media_paths.is_text(path.relative_to(folder))]


def stem(path):
    """The name of a soundscape in tables: its file's stem, printable."""
    return runtime.printable(Path(path).stem)


def unique_stems(paths):
    """Of several files with the same stem the first, as windows are named by it: list of Path."""
    first = {}
    for path in paths:
        first.setdefault(path.stem, path)
    return list(first.values())


def windows(duration_s, window_s=WINDOW_S):
    """The consecutive windows of a soundscape, a list of (start_s, end_s); a minute has twelve.

    The last window ends on the grid even if the sound ends before. A file without sound has none. Raises ValueError for
    a duration that is negative or not finite.
    """
    if not (math.isfinite(duration_s) and duration_s >= 0):
        raise ValueError(f"a soundscape cannot last {duration_s} s")
    if not 0 < window_s < math.inf:
        raise runtime.ParameterError(f"window_s is {window_s:g}: choose seconds above 0, such as {WINDOW_S:g}")
    if duration_s == 0:
        return []
    n_windows = max(1, math.ceil((duration_s - _ENCODER_TAIL_S) / window_s))
    return [(index * window_s, (index + 1) * window_s) for index in range(n_windows)]


def row_id(path, end_s):
    """The ``row_id`` of a window: file stem, underscore, end second."""
    return f"{stem(path)}_{round(end_s)}"


def _why_no_layout(folder):
    remedy = "give a BirdCLEF folder as data_dir, or a CSV table of your recordings as manifest"
    if folder.is_file():
        return f"{folder} is a file, not a folder: {remedy}"
    if not folder.is_dir():
        return f"{folder} does not exist: {remedy}"
    below = [path.parent for path in sorted(folder.glob("*/train*.csv")) if is_layout(path.parent)]
    if below:
        return f"{folder} has no train.csv and train_audio/, but {below[0]} has: give this one as data_dir"
    return f"{folder} has no train.csv and train_audio/: {remedy}"


def _read_table(path, columns, known=()):
    if not path.is_file():
        raise LayoutError(f"{path} is missing: give a BirdCLEF folder that has it")
    try:
        table = csv_tables.read(path, [*columns, *known])
    except csv_tables.TableError as error:
        raise LayoutError(str(error)) from error
    if "primary_label" in columns and "primary_label" not in table:
        table = table.rename(columns={"ebird_code": "primary_label"})  # of 2020
    missing = [name for name in columns if name not in table]
    if missing:
        raise LayoutError(f"{path} has no column {', '.join(missing)}: it has {', '.join(table.columns[:10])}")
    return table


def _recordings(train, audio_folder):
    """Rows of the training table as rows of a manifest, with valid ids that may collide."""
    text = {name: train.get(name, pd.Series("", index=train.index, dtype=str)).map(species_labels.clean) for name in _TRAIN_COLUMNS}
    in_folder = train["filename"].str.replace("\\", "/", regex=False).str.removeprefix(f"{audio_folder}/")
    with_label = text["primary_label"] + "/" + in_folder  # until 2021 names have no folder
    in_folder = in_folder.where(in_folder.str.contains("/") | (in_folder == ""), with_label)
    stems = [PurePosixPath(path).with_suffix("").as_posix().replace("/", "-") if path.strip("/.") else "" for path in in_folder]
    return pd.DataFrame(
        {
            "recording_id": [recording_ids.valid(name) for name in stems],
            "species": text["primary_label"],
            "secondary_species": train.get("secondary_labels", pd.Series("", index=train.index)),
            "group_id": text["group_id"].where(text["group_id"] != "", _author_and_place(text["author"], text["latitude"], text["longitude"])),
            "audio_path": (audio_folder + "/" + in_folder).where(in_folder != "", ""),
            "source": (text["collection"] + " " + text["url"]).str.strip(),
            "licence": text["license"],
            "attribution": text["author"],
        }
    )


def _author_and_place(author, latitude, longitude):
    """``author @ 7.32,-73.71``, or ``author @ unknown``; empty where neither is known."""
    degrees = [pd.to_numeric(values.str.replace(",", "."), errors="coerce").round(2) + 0.0 for values in (latitude, longitude)]
    place = degrees[0].map("{:.2f}".format) + "," + degrees[1].map("{:.2f}".format)
    place = place.where(degrees[0].notna() & degrees[1].notna(), "unknown")
    return (author + " @ " + place).where((author != "") | (place != "unknown"), "")


def _media(folder, kind, suffixes):
    """Rows for the images or videos of a folder; the label is the name of their subfolder."""
    rows = []
    parent = folder / f"{kind}s"
    for path in media_types.list_media(parent, suffixes)[0] + media_types.list_media(parent, suffixes, "*/*")[0]:
        if not media_paths.is_text(path.relative_to(folder)) or media_types.is_hidden(path.parent):
            continue
        label = "" if path.parent == parent else path.parent.name
        name = recording_ids.valid("-".join(filter(None, [kind, label, path.stem])))
        rows.append({"recording_id": name, "species": label, f"{kind}_path": path.relative_to(folder).as_posix()})
    return pd.DataFrame(rows, dtype=str)


def _soundscape_files(folder, which):
    """(sound, other) files of the soundscape folders."""
    found = [_walk(Path(folder, name), media_types.WITH_SOUND) for name in _SOUNDSCAPE_FOLDERS[which]]
    return [path for paths, _ in found for path in paths], [path for _, paths in found for path in paths]


def _walk(folder, suffixes):
    """(media, other) files anywhere below a folder; hidden folders are left out."""
    def is_shown(path):
        return not any(map(media_types.is_hidden, path.relative_to(folder).parts))

    media, others = media_types.list_media(folder, suffixes, "**/*")
    return list(filter(is_shown, media)), list(filter(is_shown, others))


def _other_suffix(path, word):
    return f"{path.suffix or 'no suffix'} is not one of a {word} file: convert it, or remove it"
