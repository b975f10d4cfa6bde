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

from birdlib import media_types
from birdlib.data import manifest
from birdlib.runtime import BirdlibError
from birdlib.video import images
from birdlib.video import io as video_io

WINDOW_S = 5.0
_ENCODER_TAIL_S = 0.1  # decoded ogg may be this much longer than the recording was: no window of its own
_TRAIN_COLUMNS = (
    "primary_label", "secondary_labels", "filename", "collection", "url", "latitude", "longitude", "author", "license",
)  # fmt: skip


class LayoutError(BirdlibError):
    """A folder without BirdCLEF's layout."""


class SubmissionError(BirdlibError):
    """A submission that the competition would reject."""


def is_layout(folder):
    """Whether a folder holds ``train.csv`` and ``train_audio/``."""
    return Path(folder, "train.csv").is_file() and Path(folder, "train_audio").is_dir()


def read(folder):
    """Read a BirdCLEF folder as a manifest.

    Recordings come from ``train.csv``; photos in ``images/<label>/`` and films in ``videos/`` (without label) or
    ``videos/<label>/`` get rows of their own. A group is one author at one place, to 0.01 degrees (1 km). Where neither
    is known, and for photos and films, each file is its own group. A label that ``taxonomy.csv`` lacks is kept with a
    warning: it can be trained on, but not submitted.

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
    tables = [recordings, _media(folder, "image", images.SUFFIXES), _media(folder, "video", video_io.SUFFIXES)]
    table = manifest.normalise(pd.concat([part for part in tables if len(part)] or [recordings], ignore_index=True))
    if (folder / "taxonomy.csv").is_file():
        unknown = sorted(set(manifest.class_names(table)) - set(taxonomy(folder)["primary_label"]))
        if unknown:
            warnings.warn(f"taxonomy.csv lacks {len(unknown)} labels: {', '.join(unknown[:10])}", stacklevel=2)
    return table, folder.resolve()


def taxonomy(folder):
    """``taxonomy.csv`` as text, rows without ``primary_label`` dropped; LayoutError if it is missing."""
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
    return _files(Path(folder, f"{which}_soundscapes"), media_types.WITH_SOUND)


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
    if duration_s == 0:
        return []
    n_windows = max(1, math.ceil((duration_s - _ENCODER_TAIL_S) / window_s))
    return [(index * window_s, (index + 1) * window_s) for index in range(n_windows)]


def row_id(path, end_s):
    """The ``row_id`` of a window: file stem, underscore, end second."""
    return f"{Path(path).stem}_{round(end_s)}"


def submission(row_ids, probabilities, classes, columns=None, fill=0.0):
    """Predictions as a submission table: ``row_id``, then the labels in string order.

    Args:
        row_ids: (windows,) str.
        probabilities: (windows, classes) in [0, 1].
        classes: labels of the probabilities' columns.
        columns: required labels (``submission_classes``), None for the classes. Other classes are left out.
        fill: score of required labels that are not among the classes.
    """
    scores = pd.DataFrame(np.asarray(probabilities).reshape(len(row_ids), len(classes)), columns=list(classes))
    scores = scores.reindex(columns=sorted(classes if columns is None else columns), fill_value=fill)
    scores.insert(0, "row_id", list(row_ids))
    return scores


def require_shared_species(classes, columns):
    """Columns that are missing in the classes, and classes that are not among the columns: two sorted lists.

    Raises:
        SubmissionError: if they have no species in common.
    """
    missing, extra = sorted(set(columns) - set(classes)), sorted(set(classes) - set(columns))
    if not set(classes) & set(columns):
        raise SubmissionError(
            "the classifier and the sample submission have no species in common: give the data that it was trained on\n"
            f"- {_fault('columns are missing', missing)}\n- {_fault('columns are not wanted', extra)}"
        )
    return missing, extra


def check_submission(table, classes, expected_row_ids):
    """All faults of a submission, a list of str; empty if it is valid.

    Args:
        table: the submission, best as read back from its file.
        classes, expected_row_ids: required labels and rows, in any order.
    """
    wanted, columns = ["row_id", *sorted(classes)], [str(column) for column in table.columns]
    faults = [
        _fault("columns are missing", [name for name in wanted if name not in set(columns)]),
        _fault("columns are not wanted", [name for name in columns if name not in set(wanted)]),
        _fault("columns are there twice", sorted({name for name in columns if columns.count(name) > 1})),
    ]
    if not any(faults) and columns != wanted:
        i = next(i for i, name in enumerate(columns) if name != wanted[i])
        faults.append(f"columns are out of order: column {i + 1} is {columns[i]}, not {wanted[i]}")
    if "row_id" in columns:
        ids = pd.Series(table.loc[:, [name == "row_id" for name in columns]].iloc[:, 0].astype(str).to_numpy())
        expected = set(map(str, expected_row_ids))
        faults += [
            _fault("rows are missing", sorted(expected - set(ids))),
            _fault("rows are not wanted", sorted(set(ids) - expected)),
            _fault("rows are there twice", sorted(set(ids[ids.duplicated()]))),
        ]
        scores = table.loc[:, [name != "row_id" for name in columns]]
    else:
        ids, scores = pd.Series(range(len(table))).astype(str), table
    values = scores.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float).reshape(scores.shape)
    empty = scores.isna().to_numpy()
    problems = {"scores are empty (NaN)": empty, "scores are not numbers": np.isnan(values) & ~empty}
    problems |= {"scores are below 0": values < 0, "scores are above 1": values > 1}
    for problem, is_bad in problems.items():
        faults.append(_fault(problem, [f"{ids[row]}/{scores.columns[column]}" for row, column in np.argwhere(is_bad)]))
    return [fault for fault in faults if fault]


def require_valid_submission(table, classes, expected_row_ids):
    """Raise SubmissionError with all faults of ``check_submission``, if there are any."""
    faults = check_submission(table, classes, expected_row_ids)
    if faults:
        raise SubmissionError("the submission is not valid:\n" + "\n".join(f"- {fault}" for fault in faults))


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
    return table.apply(lambda cells: cells.str.strip())  # "b " would be another label than "b"


def _author_and_place(author, latitude, longitude):
    """``author @ 7.32,-73.71``, or ``author @ unknown``; empty where neither is known."""
    degrees = [pd.to_numeric(values, errors="coerce").round(2) + 0.0 for values in (latitude, longitude)]
    place = degrees[0].map("{:.2f}".format) + "," + degrees[1].map("{:.2f}".format)
    place = place.where(degrees[0].notna() & degrees[1].notna(), "unknown")
    return (author + " @ " + place).where((author != "") | (place != "unknown"), "")


def _media(folder, kind, suffixes):
    """Rows for the images or videos of a folder; the label is the name of their subfolder."""
    rows = []
    for path in _files(folder / f"{kind}s", suffixes) + _files(folder / f"{kind}s", suffixes, "*/*"):
        label = path.parent.name if path.parent.parent.name == f"{kind}s" else ""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(filter(None, [kind, label, path.stem])))
        media_path = {f"{kind}_path": path.relative_to(folder).as_posix()}
        rows.append({"recording_id": name, "species": label, "group_id": name, **media_path})
    return pd.DataFrame(rows)


def _files(folder, suffixes, pattern="*"):
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in suffixes and path.is_file())


def _fault(problem, names, shown=5):
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {problem}: {', '.join(map(str, names[:shown]))}{more}" if names else ""
