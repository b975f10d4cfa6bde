"""What an analysis wrote into its folder, as its page needs it: tables, names, colours, and words for confidence."""

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from birdlib import runtime
from birdlib.analysis import detections as detection_tables
from birdlib.reports import players

_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")  # a byte that is no text, as ``runtime.printable`` writes it


class MissingAnalysisError(runtime.BirdlibError, FileNotFoundError):
    """A folder that holds no analysis."""


@dataclass(frozen=True)
class Analysis:
    """The tables of an analysis, and what follows from them.

    Attributes:
        folder: Path of the analysis.
        detections, files: as ``analysis.detections`` reads them; detections have ``name`` beside, what people call the species.
        counts: of films, ``COUNT_COLUMNS``; empty without films.
        skipped: files that were not used, with the reason.
        about: dict of ``analysis.json``.
    """

    folder: Path
    detections: pd.DataFrame
    files: pd.DataFrame
    counts: pd.DataFrame
    skipped: pd.DataFrame
    about: dict

    @functools.cached_property
    def is_calibrated(self):
        """Whether all confidences are probabilities."""
        return bool(len(self.detections)) and bool(self.detections["probability"].notna().all())

    @property
    def confidence_word(self):
        """``"probability"`` only where it is one."""
        return "probability" if self.is_calibrated else "confidence"

    @functools.cached_property
    def species(self):
        """(labels,) the most frequent first, those of equal frequency by their highest confidence."""
        return detection_tables.by_species(self.detections)["species"].tolist()

    @functools.cached_property
    def other_sounds(self):
        """(labels,) that are no species: without a scientific name, where nearly all labels have one, as "Engine" of BirdNET."""
        has_name = self.detections.groupby("species")["scientific_name"].first() != ""
        return [label for label in self.species if not has_name[label]] if has_name.mean() > 0.5 else []

    @functools.cached_property
    def names(self):
        """{label: name that people use}."""
        first = self.detections.drop_duplicates("species")
        return dict(zip(first["species"], first["name"], strict=True))

    @functools.cached_property
    def colours(self):
        """{label: colour} for the whole page."""
        return players.colours(self.species)

    @functools.cached_property
    def by_path(self):
        """{path: detections of the file}."""
        return dict(list(self.detections.groupby("path", sort=False)))

    def detections_of(self, path):
        """Rows of one file, in its order."""
        return self.by_path.get(path, self.detections.head(0))

    def locate(self, path):
        """Path of a file of the tables, or None where it is no longer there: tables name files relative to the folder of the call."""
        if path not in self._located:
            self._located[path] = self._find(path)
        return self._located[path]

    @functools.cached_property
    def _located(self):
        return {}

    def _find(self, path):
        bases = [Path(), *(Path(base) for base in [self.about.get("working_folder")] if base)]
        names = [path, os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), path.encode()))] if path else []
        return next((base / name for base in bases for name in names if (base / name).is_file()), None)


def read(folder):
    """Read an analysis.

    Args:
        folder: that ``analyse`` wrote, with ``detections.csv`` and ``files.csv``; what else is missing is empty.

    Raises:
        MissingAnalysisError: if one of the two is missing.
    """
    folder = Path(folder)
    for name in ("detections.csv", "files.csv"):
        if not (folder / name).is_file():
            raise MissingAnalysisError(f"{folder} holds no {name}: it is no finished analysis; run `python -m birdlib analyse` into it")
    found = detection_tables.read(folder / "detections.csv")
    files = detection_tables.read_files(folder / "files.csv")
    counts = _table(folder / "counts.csv", detection_tables.COUNT_COLUMNS, detection_tables.read_counts)
    skipped = _table(folder / "skipped.csv", ["path", "reason"], functools.partial(pd.read_csv, dtype=str, keep_default_na=False))
    return Analysis(folder, found.assign(name=detection_tables.names(found)), files, counts, skipped, _about(folder))


def file_name(path):
    """Last part of a path of the tables, whichever system wrote it."""
    path = path if "\\x" in path else path.replace("\\", "/").rstrip("/")
    return path.rsplit("/", 1)[-1]


def _table(path, columns, read_csv):
    """A CSV table, empty where there is none."""
    return read_csv(path) if path.is_file() and path.stat().st_size else pd.DataFrame(columns=columns)


def _about(folder):
    path = folder / "analysis.json"
    try:
        return runtime.read_json(path) if path.is_file() else {}
    except ValueError as error:
        raise MissingAnalysisError(f"{path} is damaged ({error}): run `python -m birdlib analyse` again with --overwrite") from error
