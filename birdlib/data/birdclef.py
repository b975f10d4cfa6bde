"""The BirdCLEF+ layout: its tables as a manifest, its soundscapes as five-second windows, its submission file.

Labels are ``str`` throughout: eBird codes (``amekes``) stand beside iNaturalist numbers (``1139490``). A row of a
submission is named by the file's stem and the second at which its window ends; columns are labels in string order.
"""

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.data import manifest
from birdlib.runtime import BirdlibError

WINDOW_S = 5.0
_ENCODER_TAIL_S = 0.1  # decoded ogg may be this much longer than the recording was: no window of its own
_AUDIO_SUFFIXES = (".ogg", ".wav", ".flac", ".mp3")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")


class LayoutError(BirdlibError):
    """A folder that is not laid out as BirdCLEF ships its data."""


class SubmissionError(BirdlibError):
    """A submission that the competition would refuse."""


def is_layout(folder):
    """Whether a folder holds ``train.csv`` and ``train_audio/``."""
    return Path(folder, "train.csv").is_file() and Path(folder, "train_audio").is_dir()


def read(folder):
    """Read a BirdCLEF folder as a manifest.

    Recordings come from ``train.csv``; photos in ``images/<label>/`` and films in ``videos/`` (there without label, or
    in ``videos/<label>/``) get rows of their own. A group is one author at one place, to 0.01 degrees: 1 km. Where
    neither is known, and for photos and films, each file is its own group. A label that ``taxonomy.csv`` lacks is kept
    and warned about: it can be learnt, but not submitted.

    Returns:
        (table, root): the normalised manifest and the folder its paths are relative to.

    Raises:
        LayoutError: if the folder has no ``train.csv`` and ``train_audio/``, or columns are missing.
    """
    folder = Path(folder)
    if not is_layout(folder):
        raise LayoutError(f"{folder} has no train.csv and train_audio/: give a BirdCLEF folder, or a manifest")
    train = _read_table(folder / "train.csv", ("primary_label", "filename"))
    text = {name: train.get(name, pd.Series("", index=train.index)).str.strip() for name in _TRAIN_COLUMNS}
    recording_id = text["filename"].str.replace(r"\.[^.]*$", "", regex=True).str.replace("/", "-", regex=False)
    recordings = pd.DataFrame(
        {
            "recording_id": recording_id.str.replace(r"[^A-Za-z0-9_-]", "_", regex=True),
            "species": text["primary_label"],
            "secondary_species": text["secondary_labels"].map(lambda cell: ";".join(re.findall(r"[\w-]+", cell))),
            "group_id": _author_and_place(text["author"], text["latitude"], text["longitude"]),
            "audio_path": "train_audio/" + text["filename"],
            "source": (text["collection"] + " " + text["url"]).str.strip(),
            "licence": text["license"],
            "attribution": text["author"],
        }
    )
    recordings["group_id"] = recordings["group_id"].where(recordings["group_id"] != "", recordings["recording_id"])
    tables = [recordings, _media(folder, "images", _IMAGE_SUFFIXES), _media(folder, "videos", _VIDEO_SUFFIXES)]
    table = manifest.normalise(pd.concat([each for each in tables if len(each)] or [recordings], ignore_index=True))
    if (folder / "taxonomy.csv").is_file():
        unknown = sorted(set(manifest.class_names(table)) - set(taxonomy(folder)["primary_label"]))
        if unknown:
            warnings.warn(f"taxonomy.csv lacks {len(unknown)} labels: {', '.join(unknown[:10])}", stacklevel=2)
    return table, folder.resolve()


def taxonomy(folder):
    """``taxonomy.csv`` as text; it has at least ``primary_label``, and no row without one.

    Raises:
        LayoutError: if there is none.
    """
    table = _read_table(Path(folder, "taxonomy.csv"), ("primary_label",))
    return table[table["primary_label"] != ""].reset_index(drop=True)


def submission_classes(folder):
    """The labels a submission needs, in string order: those of ``sample_submission.csv``, else of ``taxonomy.csv``."""
    example = Path(folder, "sample_submission.csv")
    if example.is_file():
        return sorted(set(_read_table(example, ("row_id",)).columns) - {"row_id"})
    return sorted(set(taxonomy(folder)["primary_label"]))


def soundscapes(folder, which="test"):
    """The files of ``test_soundscapes/`` or ``train_soundscapes/``, sorted by name; empty if the folder is missing."""
    if which not in ("test", "train"):
        raise ValueError(f"which is {which!r}: there are 'test' and 'train' soundscapes")
    return _files(Path(folder, f"{which}_soundscapes"), _AUDIO_SUFFIXES)


def one_a_stem(paths):
    """Of several files with one stem the first, for windows are named by it: list of Path."""
    first = {}
    for path in paths:
        first.setdefault(path.stem, path)
    return list(first.values())


def windows(duration_s, window_s=WINDOW_S):
    """Cut a soundscape into consecutive windows; a minute has twelve.

    The last window ends on the grid even where the sound ends before it. A file without sound has none.

    Returns:
        list of (start_s, end_s).

    Raises:
        ValueError: if the duration is negative or not a number.
    """
    if not (math.isfinite(duration_s) and duration_s >= 0):
        raise ValueError(f"a soundscape cannot last {duration_s} s")
    if duration_s == 0:
        return []
    n_windows = max(1, math.ceil((duration_s - _ENCODER_TAIL_S) / window_s))
    return [(index * window_s, (index + 1) * window_s) for index in range(n_windows)]


def row_id(path, end_s):
    """The name of a window's row: file stem, underscore, end second."""
    return f"{Path(path).stem}_{round(end_s)}"


def submission(row_ids, probabilities, classes, columns=None, fill=0.0):
    """Lay predictions out as the competition wants them.

    Args:
        row_ids: (windows,) str.
        probabilities: (windows, classes) in [0, 1].
        classes: labels of the probabilities' columns.
        columns: labels wanted (``submission_classes``); None takes the classes. Classes outside are left out.
        fill: for wanted labels that are not among the classes.

    Returns:
        DataFrame: ``row_id``, then the labels in string order.
    """
    scores = pd.DataFrame(np.asarray(probabilities).reshape(len(row_ids), len(classes)), columns=list(classes))
    scores = scores.reindex(columns=sorted(classes if columns is None else columns), fill_value=fill)
    scores.insert(0, "row_id", list(row_ids))
    return scores


def require_shared_species(classes, columns):
    """Which wanted columns a classifier does not know, and which of its species are not wanted: two sorted lists.

    Raises:
        SubmissionError: if it knows none of the columns; it names missing and extra ones.
    """
    unknown, unwanted = sorted(set(columns) - set(classes)), sorted(set(classes) - set(columns))
    if not set(classes) & set(columns):
        raise SubmissionError(
            "the classifier and the sample submission have no species in common: name the data that the classifier learnt from\n"
            f"- {_fault('columns are missing', unknown)}\n- {_fault('columns are not wanted', unwanted)}"
        )
    return unknown, unwanted


def check_submission(table, classes, expected_row_ids):
    """Name every fault of a submission; an empty list means that it is valid.

    Args:
        table: the submission as written, best read back from its file.
        classes: the labels wanted, in any order.
        expected_row_ids: the rows wanted, in any order.
    """
    wanted, columns = ["row_id", *sorted(classes)], [str(column) for column in table.columns]
    faults = [
        _fault("columns are missing", [name for name in wanted if name not in set(columns)]),
        _fault("columns are not wanted", [name for name in columns if name not in set(wanted)]),
        _fault("columns are there twice", sorted({name for name in columns if columns.count(name) > 1})),
    ]
    if not any(faults) and columns != wanted:
        place = next(index for index, name in enumerate(columns) if name != wanted[index])
        faults.append(f"columns are out of order: column {place + 1} is {columns[place]}, not {wanted[place]}")
    if "row_id" in columns:
        ids = pd.Series(table.loc[:, [name == "row_id" for name in columns]].iloc[:, 0].astype(str).to_numpy())
        expected = [str(each) for each in expected_row_ids]
        faults += [
            _fault("rows are missing", sorted(set(expected) - set(ids))),
            _fault("rows are not wanted", sorted(set(ids) - set(expected))),
            _fault("rows are there twice", sorted(set(ids[ids.duplicated()]))),
        ]
        scores = table.loc[:, [name != "row_id" for name in columns]]
    else:
        ids, scores = pd.Series(range(len(table))).astype(str), table
    values = scores.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float).reshape(scores.shape)
    empty = scores.isna().to_numpy()
    for problem, bad in (
        ("scores are empty (NaN)", empty),
        ("scores are not numbers", np.isnan(values) & ~empty),
        ("scores are below 0", values < 0),
        ("scores are above 1", values > 1),
    ):
        faults.append(_fault(problem, [f"{ids[row]}/{scores.columns[column]}" for row, column in np.argwhere(bad)]))
    return [fault for fault in faults if fault]


def require_valid_submission(table, classes, expected_row_ids):
    """Raise ``SubmissionError`` with all faults of ``check_submission``, if there are any."""
    faults = check_submission(table, classes, expected_row_ids)
    if faults:
        raise SubmissionError("the submission is not valid:\n" + "\n".join(f"- {fault}" for fault in faults))


_TRAIN_COLUMNS = (
    "primary_label", "secondary_labels", "filename", "collection", "url", "latitude", "longitude", "author", "license",
)  # fmt: skip


def _read_table(path, columns):
    if not path.is_file():
        raise LayoutError(f"{path} is missing: give a BirdCLEF folder that has it")
    try:
        table = manifest.read(path)[0]
    except manifest.ManifestError as error:
        raise LayoutError(str(error)) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise LayoutError(f"{path} has no column {', '.join(missing)}")
    return table.apply(lambda cells: cells.str.strip())  # a column "b " is not the one that the competition wants


def _author_and_place(author, latitude, longitude):
    """``author @ 7.32,-73.71``, an unknown place being the word ``unknown``; empty where neither is known."""
    degrees = [pd.to_numeric(values, errors="coerce").round(2) + 0.0 for values in (latitude, longitude)]
    place = degrees[0].map("{:.2f}".format) + "," + degrees[1].map("{:.2f}".format)
    place = place.where(degrees[0].notna() & degrees[1].notna(), "unknown")
    return (author + " @ " + place).where((author != "") | (place != "unknown"), "")


def _media(folder, kind, suffixes):
    """Rows for the photos or films below a folder; the label is the name of the folder they lie in."""
    rows = []
    for path in _files(folder / kind, suffixes) + _files(folder / kind, suffixes, "*/*"):
        label = path.parent.name if path.parent.parent.name == kind else ""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(filter(None, [kind[:-1], label, path.stem])))
        column = "image_path" if kind == "images" else "video_path"
        rows.append({"recording_id": name, "species": label, column: path.relative_to(folder).as_posix()})
    return pd.DataFrame([row | {"group_id": row["recording_id"]} for row in rows])


def _files(folder, suffixes, pattern="*"):
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in suffixes and path.is_file())


def _fault(problem, names, shown=5):
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {problem}: {', '.join(map(str, names[:shown]))}{more}" if names else ""
