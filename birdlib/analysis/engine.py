"""Analyse recordings and films: which species when, and of films how many birds. ``analyse`` is the command and the Python function.

Files are processed in parallel, long ones part by part, and each result is kept in a journal in the output folder, so that a run that was
stopped goes on, and one that is finished is not computed again. What the result of a file depends on is part of its task's key.
"""

import contextlib
import functools
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import birdlib
from birdlib import locks, resume, runtime, stages
from birdlib.analysis import detections, films, inputs, models, outputs, sound_files, tabulation, windows
from birdlib.data import formats
from birdlib.models import birdnet_location, weights

_JOURNAL = ".journal.jsonl"


class Analysis(NamedTuple):
    """What ``run`` found: tables, a note on films, how many of the tasks were computed now, and the seconds that the sounds took."""

    folder: Path
    detections: pd.DataFrame
    files: pd.DataFrame
    skipped: pd.DataFrame
    counts: pd.DataFrame
    note: str
    n_tasks: int
    n_computed: int
    sound_seconds: float


class Settings(NamedTuple):
    """What changes results; see ``run``."""

    model: models.Model
    min_confidence: float | None = None
    overlap_s: float = 0.0
    latitude: float | None = None
    longitude: float | None = None
    week: int | None = None
    min_occurrence: float = birdnet_location.MIN_OCCURRENCE
    use_location: bool = True
    gap_s: float = 0.0
    count: bool = True

    def as_dict(self):
        """JSON-able, for ``analysis.json``, without the model."""
        return {name: value for name, value in self._asdict().items() if name != "model"}


def settings_of(
    model, *, min_confidence=None, overlap_s=0.0, latitude=None, longitude=None, week=None, min_occurrence=birdnet_location.MIN_OCCURRENCE,
    use_location=True, gap_s=0.0, count=True,
):  # fmt: skip
    """``Settings``, checked; numbers may be NumPy's.

    Raises:
        ParameterError: for values that cannot be used, such as a week without a location.
        LocationError: for a location or a week that does not exist.
        MissingWeightsError: if a location is given and the location model cannot be had.
    """
    min_confidence, latitude, longitude, week = (
        None if value is None else _number(name, value)
        for name, value in {"min_confidence": min_confidence, "latitude": latitude, "longitude": longitude, "week": week}.items()
    )
    overlap_s, min_occurrence, gap_s = _number("overlap_s", overlap_s), _number("min_occurrence", min_occurrence), _number("gap_s", gap_s)
    if not 0.0 <= min_occurrence <= 1.0:
        raise runtime.ParameterError(f"min_occurrence is {min_occurrence:g}: choose 0 to 1, such as {birdnet_location.MIN_OCCURRENCE:g}")
    if gap_s != gap_s:
        raise runtime.ParameterError("gap_s is not a number: give seconds, or a negative number for a row for each window")
    if min_confidence is not None and not 0.01 <= min_confidence < 1.0:
        raise runtime.ParameterError(f"min_confidence is {min_confidence:g}: choose 0.01 to 0.99")
    if (latitude is None) != (longitude is None):
        raise runtime.ParameterError("a location is a latitude and a longitude: give both (--lat and --lon)")
    if week is not None and latitude is None:
        raise runtime.ParameterError(f"week {week:g} is given without a location: add --lat and --lon in degrees, south and west negative")
    if latitude is not None and not use_location:
        raise runtime.ParameterError("a location is given and not to be used: leave out one of them")
    if latitude is not None:
        birdnet_location.require(latitude, longitude, birdnet_location.ALL_YEAR if week is None else week)
        if model.name != "birdnet":
            raise runtime.ParameterError(f"the location model knows the species of birdnet, not those of {model.name}: use the model birdnet, or no location")
        weights.fetch("birdnet_location", model.weights_dir)
    model.grid(overlap_s)
    if min_confidence is None and model.thresholds is None:
        min_confidence = models.DEFAULT_CONFIDENCE
    use_location = use_location and model.name == "birdnet" and _has_location_model(model.weights_dir)
    week = None if week is None else int(week)
    return Settings(model, min_confidence, overlap_s, latitude, longitude, week, min_occurrence, use_location, gap_s, count)


def _number(name, value):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise runtime.ParameterError(f"{name} is {value!r}: give a number") from None


def _has_location_model(weights_dir):
    try:
        return bool(weights.fetch("birdnet_location", weights_dir))
    except weights.WeightsError:
        return False


def run(paths, folder, settings, *, to=(), n_jobs=-1, overwrite=False, outputs_dir="outputs"):
    """Analyse files and write the tables into a folder.

    Args:
        paths: files, folders, patterns, see ``inputs.find``.
        folder: of the analysis.
        settings: from ``settings_of``.
        to: names of formats, see ``data.formats``.
        n_jobs: processes, each with one thread; -1 or None: as many as there are cores. It changes no result.
        overwrite: whether an analysis of other settings or files in the folder is replaced.
        outputs_dir: where stage 09 may have written, for films.

    Returns:
        Analysis.

    Raises:
        InputError: if a path is not there, or there is nothing to analyse.
        OutputError: if the folder holds an analysis of other settings or files.
        ParameterError: for an unknown format.
        LockError: if another run writes into the folder.
    """
    began = time.monotonic()
    to = runtime.names(to) if isinstance(to, str) else list(to or ())
    n_jobs = -1 if n_jobs is None else n_jobs
    runtime.require_jobs(n_jobs)
    if to:
        formats.require_known(to)
    folder = Path(folder)
    files, unfit = inputs.find(paths, leave_out=[folder])
    relative = [inputs.relative(file.path) for file in files]
    outputs.require_free(folder, settings, relative, overwrite)
    with locks.lock_folder(folder, "choose another --output", "analyse"):
        outputs.begin(folder, settings, relative)
        tasks = _tasks(files, settings)
        rows, n_computed = _compute(tasks, folder, settings, n_jobs)
        sound_seconds = time.monotonic() - began
        table, found, skipped = tabulation.tables(files, rows, settings)
        counts, tracks, flaws, note = _count(files, folder, settings, outputs_dir)
        skipped = dict.fromkeys([*((inputs.shown(path), reason) for path, reason in unfit), *skipped, *flaws])  # a film's sound and pictures may share one
        written = outputs.Tables(found, table, detections.by_species(found), counts, tracks, pd.DataFrame(list(skipped), columns=["path", "reason"]))
        outputs.write(folder, settings, written, note)
        _export(written, to, folder)
    return Analysis(folder, found, table, written.skipped, counts, note, len(tasks), n_computed, sound_seconds)


def analyse(
    paths, model="", *, min_confidence=None, overlap_s=0.0, latitude=None, longitude=None, week=None, output=None, n_jobs=-1, gap_s=0.0,
    count=False, to=(), overwrite=False, outputs_dir="outputs", weights_dir="", use_location=True, min_occurrence=birdnet_location.MIN_OCCURRENCE,
):  # fmt: skip
    """See ``birdlib.analyse``."""
    chosen, _ = models.choose(model, outputs_dir, weights_dir)
    settings = settings_of(
        chosen, min_confidence=min_confidence, overlap_s=overlap_s, latitude=latitude, longitude=longitude, week=week,
        use_location=use_location, min_occurrence=min_occurrence, gap_s=gap_s, count=count,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        folder = output or stack.enter_context(tempfile.TemporaryDirectory(prefix="birdlib-", ignore_cleanup_errors=True))
        return run(paths, folder, settings, to=to, n_jobs=n_jobs, overwrite=overwrite, outputs_dir=outputs_dir).detections


# Sound


def _compute(tasks, folder, settings, n_jobs):
    """({path: rows of its parts}, how many tasks were computed now)."""
    journal = folder / _JOURNAL
    n_before = _n_lines(journal)
    work = functools.partial(sound_files.analyse_part, model=sound_files.as_settings(settings.model))
    n_jobs = min(_n_cores() if n_jobs == -1 else n_jobs, max(1, len(tasks)))
    by_path = {}
    for name, row in resume.map_resumable(work, tasks, journal, n_jobs=n_jobs, desc="analysing").items():
        by_path.setdefault(tasks[name]["path"], []).append(row)
    return by_path, _n_lines(journal) - n_before


def _tasks(files, settings):
    """{name: arguments of ``sound_files.analyse_part``}; a file of several parts has several tasks."""
    grid = settings.model.grid(settings.overlap_s)
    location = [settings.latitude, settings.longitude, settings.week] if settings.use_location else None
    shared = {
        "overlap_s": settings.overlap_s,
        "min_confidence": settings.min_confidence,
        "location": location,
        "min_occurrence": settings.min_occurrence,
        "setting": runtime.digest([settings.model.key, birdlib.__version__]),
    }
    tasks = {}
    for file in files:
        text = sound_files.as_text(inputs.relative(file.path))
        version = _version(file.path)
        for first, end in windows.parts(file.path, grid):
            tasks[f"{text}:{first}"] = {"path": text, "version": version, "media": file.media, "first": first, "end": end, **shared}
    return tasks


def _version(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _n_cores():
    from joblib import cpu_count

    return cpu_count()


def _n_lines(path):
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


# Films and formats


def _count(files, folder, settings, outputs_dir):
    """(counts, tracks, [(path, reason)], note); from the folder, where they were counted before and have not changed."""
    paths = [inputs.relative(file.path) for file in files if file.media == "film"] if settings.count else []
    if not paths:
        return pd.DataFrame(columns=detections.COUNT_COLUMNS), pd.DataFrame(columns=films.TRACK_COLUMNS), [], ""
    stage = stages.receipt(outputs_dir, "09_count")["digest"] if stages.can_be_read(outputs_dir, "09_count") else ""
    key = runtime.digest([[[sound_files.as_text(path), _version(path)] for path in paths], stage, birdlib.__version__])
    if (kept := outputs.read_counts(folder, key)) is not None:
        return kept
    counts, tracks, skipped, note = films.count(paths, folder, outputs_dir)
    skipped = [(row.path, row.reason) for row in skipped.itertuples()]
    outputs.keep_counts(folder, key, counts, tracks, skipped, note)
    return counts, tracks, skipped, note


def _export(tables, to, folder):
    """Write each format that holds what was found into a folder of its name; other files there stay."""
    given = {"detections": tables.detections, "files": tables.files}
    if len(tables.counts):
        given["tracks"] = tables.tracks
    for name in to:
        if formats.can_hold(name, given):  # tracks only where there are films
            formats.write(given, name, folder / name, overwrite=True)
