"""Tracks as the MOT challenge writes them (Leal-Taixé et al., "MOTChallenge 2015", 2015).

A file for each film, ``NAME.txt``, and beside it ``NAME/seqinfo.ini`` with its frame rate and size. Frames are those of the film,
from 1. A line: frame, id, left, top, width, height, score, and three more numbers. Identities are not held.
"""

import configparser
import io
import re

import numpy as np
import pandas as pd

from birdlib.data.formats import finding, media, reading, tables
from birdlib.video import tracking

INFO = "seqinfo.ini"
_MIN_CELLS = 6


def matches(text):
    """Whether the first line is of numbers with commas or blanks between: a frame, an id and a box."""
    cells = _cells(text.split("\n", 1)[0])
    return len(cells) >= _MIN_CELLS and bool(np.isfinite([reading.number(cell) for cell in cells]).all())


def write(given):
    """Tracks, a file a film: yields (name of the file, text)."""
    groups = tables.by_film(given)
    names = tables.file_names([path for path, _ in groups])
    for path, film in media.films(groups, given.get("films")).items():
        rows = dict(groups)[path]
        yield names[path] + ".txt", tracking.mot_text(rows, film.frame_rate_hz)
        info = configparser.ConfigParser()
        info.optionxform = str
        info["Sequence"] = {
            "name": names[path].rpartition("/")[2].replace("%", "%%"), "imDir": "img1", "frameRate": f"{film.frame_rate_hz:g}",
            "seqLength": film.n_frames, "imWidth": film.width, "imHeight": film.height, "imExt": ".jpg",
        }  # fmt: skip
        text = io.StringIO()
        info.write(text, space_around_delimiters=False)
        yield f"{names[path]}/{INFO}", text.getvalue()


def read(path, text, find):
    """Tracks of a film; see ``formats.read``. Boxes whose score is 0 are those to be ignored, and are left out.

    The frame rate is that of ``seqinfo.ini``, in the folder of the file's name or above it, else of the film of that name.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        values = [reading.number(cell) for cell in _cells(line)]
        if len(values) < _MIN_CELLS or not np.isfinite(values[:_MIN_CELLS]).all():
            raise reading.FormatError(path, f"line {number} is not frame, id, left, top, width, height: {line[:60]!r}; correct or remove it")
        rows.append([*values[:_MIN_CELLS], values[_MIN_CELLS] if len(values) > _MIN_CELLS else np.nan])
    film, rate_hz = _film_and_rate(path, find)
    table = pd.DataFrame(rows, columns=["frame", "track", "x", "y", "width", "height", "score"])
    table = table[table["score"] != 0].astype({"track": int})
    table["time_s"] = (table.pop("frame") - 1) / rate_hz
    return table.assign(path=film, recording_id=find.stem)


def _cells(line):
    return [cell for cell in re.split(r"[,;\s]+", line.strip()) if cell]


def _film_and_rate(path, find):
    is_truth = path.parent.name in ("gt", "det")  # of a sequence's own folder
    info_path = next((file for file in (path.with_suffix("") / INFO, path.parent / INFO, path.parent.parent / INFO) if file.is_file()), None)
    film = find.film(path.parent.parent.name if is_truth else find.stem)
    if info_path:
        info = configparser.ConfigParser(interpolation=None)
        try:
            info.read_string(reading.read_text(info_path))
            return film, info.getfloat("Sequence", "frameRate")
        except (configparser.Error, ValueError) as error:
            raise reading.FormatError(info_path, f"has no frameRate in [Sequence] ({error}): write it") from error
    return film, finding.frame_rate_hz(path, film)
