"""Analyse recordings and films: which species when, and of films how many birds. ``analyse`` is the command and the Python function.

Files are processed in parallel, long ones part by part, and each result is kept in a journal in the output folder, so that a run that was
stopped goes on, and one that is finished is not computed again. What the result of a file depends on is part of its task's key.
"""

import contextlib
import functools
import math
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import birdlib
from birdlib import resume, runtime
from birdlib.analysis import detections, films, inputs, models, outputs, sound_files, windows
from birdlib.data import formats
from birdlib.models import birdnet_location


class Analysis(NamedTuple):
    """What ``run`` found: the tables, the sentence on the model, the note on films, and seconds of computing and in all."""

    folder: Path
    detections: pd.DataFrame
    files: pd.DataFrame
    skipped: pd.DataFrame
    counts: pd.DataFrame
    note: str
    seconds: float
    n_computed: int


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


def settings_of(model, *, min_confidence=None, overlap_s=0.0, latitude=None, longitude=None, week=None, use_location=True, **others):
    """``Settings``, checked.

    Raises:
        ParameterError: for values that cannot be used, such as a week without a location.
        LocationError: for a location or a week that does not exist.
    """
    if min_confidence is not None and not 0.01 <= min_confidence < 1.0:
        raise runtime.ParameterError(f"min_confidence is {min_confidence:g}: choose 0.01 to 0.99")
    if (latitude is None) != (longitude is None):
        raise runtime.ParameterError("a location is a latitude and a longitude: give both (--lat and --lon)")
    if week is not None and latitude is None:
        raise runtime.ParameterError(f"week {week} is given without a location: add --lat and --lon in degrees, south and west negative")
    if latitude is not None and not use_location:
        raise runtime.ParameterError("a location is given and not to be used: leave out one of them")
    if latitude is not None:
        birdnet_location.require(latitude, longitude, birdnet_location.ALL_YEAR if week is None else week)
        if model.name != "birdnet":
            raise runtime.ParameterError(f"the location model knows the species of birdnet, not those of {model.name}: use the model birdnet, or no location")
    model.grid(overlap_s)
    if min_confidence is None and model.thresholds is None:
        min_confidence = models.DEFAULT_CONFIDENCE
    return Settings(model, min_confidence, float(overlap_s), latitude, longitude, week, use_location=use_location and model.name == "birdnet", **others)


def run(paths, folder, settings, *, to=(), n_jobs=-1, overwrite=False, outputs_dir="outputs"):
    """Analyse files and write the tables into a folder.

    Args:
        paths: files, folders, patterns, see ``inputs.find``.
        folder: of the analysis.
        settings: from ``settings_of``.
        to: names of formats, see ``data.formats``.
        n_jobs: processes, each with one thread; -1: as many as there are cores. It changes no result.
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
    to = runtime.names(to) if isinstance(to, str) else list(to)
    if to:
        formats.require_known(to)
    folder = Path(folder)
    files, unfit = inputs.find(paths, leave_out=[folder])
    outputs.require_free(folder, settings, [inputs.relative(file.path) for file in files], overwrite)
    with resume.lock_folder(folder, "choose another --output"):
        outputs.begin(folder, settings, [inputs.relative(file.path) for file in files])
        rows, n_computed = _analyse_sounds(files, folder, settings, n_jobs)
        table, found, skipped = _tables(files, rows, settings)
        skipped = [*((inputs.shown(path), reason) for path, reason in unfit), *skipped]
        counts, tracks, flaws, note = _count(files, table, folder, settings, outputs_dir)
        found = outputs.Tables(found, table, detections.by_species(found), counts, tracks, _skipped_table(skipped, flaws))
        outputs.write(folder, settings, found, note)
        _export(found, to, folder)
    return Analysis(folder, found.detections, table, found.skipped, counts, note, time.monotonic() - began, n_computed)


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


def _analyse_sounds(files, folder, settings, n_jobs):
    """({path: rows of its parts}, how many parts were computed now)."""
    tasks = _tasks(files, settings)
    journal = folder / ".journal.jsonl"
    n_before = _size(journal)
    n_jobs = min(_n_cores() if n_jobs in (-1, 0, None) else n_jobs, max(1, len(tasks)))
    work = functools.partial(sound_files.analyse_part, model=sound_files.as_settings(settings.model))
    rows = resume.map_resumable(work, tasks, journal, n_jobs=n_jobs, desc="analysing")
    by_path = {}
    for name, row in rows.items():
        by_path.setdefault(tasks[name]["path"], []).append(row)
    return by_path, len(tasks) if _size(journal) != n_before else 0


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


def _size(path):
    return path.stat().st_size if path.is_file() else 0


# Tables


def _tables(files, rows, settings):
    """(files, detections, [(path, reason)]) from the rows of the parts."""
    tables, summaries, skipped = [], [], []
    for file in files:
        path = inputs.shown(file.path)
        parts = rows[sound_files.as_text(inputs.relative(file.path))]
        if reason := parts[0].get("skipped_reason"):
            skipped.append((path, _without_path(reason, path)))
            continue
        summary, found = _of_file(path, file.media, parts, settings)
        summaries.append(summary)
        tables.append(found)
    table = detections.typed_files(pd.DataFrame(summaries, columns=detections.FILE_COLUMNS))
    found = detections.merge(pd.concat(tables), settings.gap_s) if any(map(len, tables)) else detections.typed()
    of_file = found.groupby("path")["species"]
    table["n_detections"] = table["path"].map(of_file.size()).fillna(0).astype(int)
    table["n_species"] = table["path"].map(of_file.nunique()).fillna(0).astype(int)
    table["top_species"] = table["path"].map(of_file.agg(lambda species: species.value_counts().index[0]) if len(found) else pd.Series(dtype=object)).fillna("")
    return table, found, skipped


def _of_file(path, media, parts, settings):
    """(row of the files, detections of its windows)."""
    good = [part for part in parts if "skipped_reason" not in part]
    recorded = good[0]["recorded"]
    notes = [part["note"] for part in good if part["note"]] + [_without_path(part["skipped_reason"], path) for part in parts if "skipped_reason" in part]
    recorded_at = pd.Timestamp(recorded["recorded_at"]) if recorded["recorded_at"] else pd.NaT
    latitude = recorded["latitude"] if settings.latitude is None else settings.latitude
    longitude = recorded["longitude"] if settings.longitude is None else settings.longitude
    known = {"latitude": latitude, "longitude": longitude, "site": recorded["site"]}
    duration_s = good[-1]["duration_s"]
    summary = {
        "path": path,
        "duration_s": np.nan if duration_s is None else duration_s,
        "sample_rate_hz": good[0]["sample_rate_hz"] or np.nan,
        "media": media,
        "recorded_at": recorded_at,
        "seconds": sum(part["seconds"] for part in good),
        "note": "; ".join(dict.fromkeys(notes)),
        **known,
    }
    rows = [row for part in good for row in part["windows"]]
    found = pd.DataFrame(rows, columns=sound_files.WINDOW_FIELDS)
    labels = settings.model.labels.iloc[found["class"].astype(int)].reset_index(drop=True)
    confidence = found["probability"].where(found["probability"].notna(), found["score"])
    begins = pd.Series(recorded_at, found.index, "datetime64[ns]") + pd.to_timedelta(found["start_s"].astype(float), unit="s")
    return summary, detections.typed(pd.concat([found.drop(columns="class"), labels], axis=1).assign(path=path, confidence=confidence, n_windows=1, recorded_at=begins, **known))


def _without_path(reason, path):
    return reason.partition(f"{path}: ")[2] or reason


def _skipped_table(skipped, flaws):
    table = pd.DataFrame(skipped, columns=["path", "reason"])
    return pd.concat([table, flaws[["path", "reason"]]], ignore_index=True) if len(flaws) else table


# Films and formats


def _count(files, table, folder, settings, outputs_dir):
    """(counts, tracks, skipped, note); of the finished analysis in the folder, where its films have not changed."""
    paths = [inputs.relative(file.path) for file in files if file.media == "film"] if settings.count else []
    empty = pd.DataFrame(columns=detections.COUNT_COLUMNS), pd.DataFrame(columns=films.TRACK_COLUMNS), pd.DataFrame(columns=["path", "reason"]), ""
    if not paths:
        return empty
    return films.count(paths, folder, outputs_dir)


def _export(tables, to, folder):
    """Write each format that holds what was found into a folder of its name; other files there stay."""
    given = {"detections": tables.detections, "files": tables.files}
    if len(tables.counts):
        given["tracks"] = tables.tracks
    for name in to:
        if formats.can_hold(name, given):  # tracks only where there are films
            formats.write(given, name, folder / name, overwrite=True)


def describe_settings(settings):
    """The settings in a sentence or two for people: windows, thresholds, location."""
    model, confidence = settings.model, settings.min_confidence
    word = "probability" if model.curves else "score"
    least = f"{word} of at least {confidence:g}" if confidence is not None else "score above each species' threshold of stage 07"
    text = f"Windows of {model.window_s:g} s" + f", {settings.overlap_s:g} s of overlap" * bool(settings.overlap_s) + f"; {least}."
    if settings.latitude is not None:
        when = "the date of each file, else the whole year" if settings.week is None else "the whole year" if settings.week == birdnet_location.ALL_YEAR else f"week {settings.week}"
        text += f" Species expected at {settings.latitude:g}, {settings.longitude:g} in {when}."
    elif settings.use_location:
        text += " Where a file states its location, species expected there."
    return text


def describe(analysis, n_species=10):
    """The analysis in a few lines for people: files, hours, speed, species, skipped."""
    table, found = analysis.files, analysis.detections
    hours = table["duration_s"].sum() / 3600
    n_films = int((table["media"] == "film").sum())
    what = f"{len(table)} file{'s' * (len(table) != 1)}" + f", {n_films} of them films" * bool(n_films)
    speed = f", {hours * 3600 / analysis.seconds:.0f} x real time" if analysis.n_computed and analysis.seconds and hours else ""
    computed = f" in {_duration(analysis.seconds)}{speed}" if analysis.n_computed else ", unchanged since the last run"
    lines = [f"{what}, {_duration(hours * 3600)} of sound{computed}"]
    if len(found):
        lines.append(f"{len(found)} detection{'s' * (len(found) != 1)} of {found['species'].nunique()} species, the most frequent:")
        lines += _species_lines(found, n_species)
    else:
        lines.append("No species was detected: try a lower --min-confidence")
    if len(analysis.counts):
        lines.append(f"Birds were counted in {len(analysis.counts)} film{'s' * (len(analysis.counts) != 1)}, see {analysis.folder / 'counts.csv'}. {analysis.note}".rstrip())
    if len(analysis.skipped):
        lines.append(f"{len(analysis.skipped)} file{'s' * (len(analysis.skipped) != 1)} could not be used, see {analysis.folder / 'skipped.csv'}; the first:")
        lines += [f"  {row.path}: {row.reason}" for row in analysis.skipped.head(3).itertuples()]
    return "\n".join(lines)


def _species_lines(found, n):
    table = detections.by_species(found)
    names = table["common_name"].where(table["common_name"] != "", table["scientific_name"].where(table["scientific_name"] != "", table["species"]))
    width = min(40, max(map(len, names.head(n))))
    lines = [f"  {name:<{width}}  {row.detections:6d} in {row.files} file{'s' * (row.files != 1)}" for name, row in zip(names.head(n), table.head(n).itertuples(), strict=True)]
    return lines + [f"  and {len(table) - n} more in species.csv"] * (len(table) > n)


def _duration(seconds):
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{math.floor(seconds / 3600)} h {seconds % 3600 / 60:.0f} min"
