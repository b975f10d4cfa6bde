"""The work on one sound file, or on a part of a long one: windows, their scores, and what is above the thresholds, as JSON-able rows."""

import os
import time

import numpy as np

from birdlib import runtime
from birdlib.analysis import bands, clock, models, windows
from birdlib.audio import decoding, media_files
from birdlib.audio import io as audio_io
from birdlib.models import birdnet_location

WINDOW_FIELDS = ["start_s", "end_s", "class", "score", "probability", "low_hz", "high_hz", "occurrence"]
FILM_WITHOUT_SOUND = "is a film without sound"
_MIN_LOCATED = 1e-4  # degrees: recorders without a fix write 0, 0


def as_text(path):
    """A path as text that JSON can hold and ``as_path`` turns back, whatever bytes its name has."""
    return os.fsencode(path).decode("latin-1")


def as_path(text):
    """The path of ``as_text``."""
    return os.fsdecode(text.encode("latin-1"))


def analyse_part(path, version, media, first, end, model, overlap_s, min_confidence, location, min_occurrence, setting):
    """Detect the species in the windows of a file, or of a part of it; a task of ``resume.map_resumable``.

    Args:
        path: of ``as_text``.
        version: of the file; it only distinguishes its states.
        media: ``"sound"`` or ``"film"``.
        first, end: numbers of the windows; end None: to the end of the file.
        model: ``models.Model`` as a dict of ``as_settings``.
        overlap_s, min_confidence: see ``engine.analyse``.
        location: [latitude, longitude, week], each may be None: then that of the file is used. None: no location model.
        min_occurrence: below, a species is left out where the location is known.
        setting: digest of everything that changes results.

    Returns:
        dict: ``duration_s`` (of the file; None where the part ends before), ``sample_rate_hz``, ``recorded``, ``windows`` (lists of
        ``WINDOW_FIELDS``), ``note``, ``seconds``.

    Raises:
        FileError: if the file cannot be read.
    """
    began = time.monotonic()
    path = as_path(path)
    try:
        with runtime.collect_warnings(path) as notes:
            recorded = clock.read(path)
            row = _windows(path, media, first, end, model, overlap_s, min_confidence, _where(recorded, location), min_occurrence)
    except (runtime.BirdlibError, MemoryError):
        raise
    except Exception as error:  # whatever a file does to a decoder or a network, the other files must be analysed
        raise runtime.FileError(path, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}") from error
    row["recorded"] = {
        "recorded_at": None if recorded.recorded_at != recorded.recorded_at else recorded.recorded_at.isoformat(),
        "latitude": recorded.latitude,
        "longitude": recorded.longitude,
        "site": recorded.site,
    }
    row["note"] = "; ".join([*row["note"], *notes])
    row["seconds"] = round(time.monotonic() - began, 3)
    return row


def _windows(path, media, first, end, model, overlap_s, min_confidence, where, min_occurrence):
    model = from_settings(model)
    grid = model.grid(overlap_s)
    scorer = models.load(**model.address())
    occurrence = None if where is None else models.load_location(model.weights_dir)(*where)
    try:
        reader = windows.Reader(path, grid, scorer.context_s, first, end, models.measure_noise(path, scorer))
        found, n_windows = [], 0
        for chunk in reader:
            found += _detected(chunk, model, scorer.predict(*reversed(chunk)), min_confidence, occurrence, min_occurrence, reader)
            n_windows += len(chunk.spans)
    except audio_io.AudioError:
        if media == "film" and not _has_sound(path):
            return {"duration_s": None, "sample_rate_hz": None, "windows": [], "note": [FILM_WITHOUT_SOUND]}
        raise
    notes = list(scorer.notes)
    if reader.duration_s is not None:
        for row in found:
            row[1] = min(row[1], max(reader.duration_s, row[0]))
        if first == n_windows == 0:
            notes.append(f"lasts {reader.duration_s:.2f} s: {model.name} needs {grid.min_rest_s:g} s")
    return {"duration_s": reader.duration_s, "sample_rate_hz": reader.sample_rate_hz, "windows": found, "note": notes}


def _detected(chunk, model, scores, min_confidence, occurrence, min_occurrence, reader):
    """Rows of ``WINDOW_FIELDS`` of a chunk."""
    if not np.isfinite(scores).all():
        raise runtime.FileError(reader.path, f"{model.name} gives scores that are not finite: report this file")
    probabilities = models.probabilities(model, scores)
    confidence = np.where(np.isnan(probabilities), scores, probabilities)
    if min_confidence is not None:
        is_detected = confidence >= min_confidence
    elif model.thresholds is not None:
        is_detected = scores >= model.thresholds
    else:
        is_detected = confidence >= models.DEFAULT_CONFIDENCE
    if occurrence is not None:
        is_detected &= occurrence >= min_occurrence
    if not is_detected.any():
        return []
    excerpt = chunk.excerpt
    rate_hz, first_s, last_s = excerpt.sample_rate_hz, chunk.spans[0][0], chunk.spans[-1][1]
    cut = [excerpt.waveform[_sample(start_s, excerpt) : _sample(end_s, excerpt)] for start_s, end_s in [(first_s, last_s), *chunk.spans]]
    background, rows = bands.Background(cut[0], rate_hz), []
    for window in np.flatnonzero(is_detected.any(axis=1)):
        band_hz = background.band(cut[1 + window])
        for column in np.flatnonzero(is_detected[window]):
            numbers = [*chunk.spans[window], int(column), scores[window, column], probabilities[window, column], *band_hz]
            numbers.append(np.nan if occurrence is None else occurrence[column])
            rows.append([value if isinstance(value, int) else round(float(value), 6) for value in numbers])
    return rows


def _sample(seconds, excerpt):
    return max(0, round((seconds - excerpt.start_s) * excerpt.sample_rate_hz))


def _where(recorded, location):
    """(latitude, longitude, week) for the location model; None where the location is not known or not asked for."""
    if location is None:
        return None
    latitude, longitude, week = location
    if latitude is None:
        latitude, longitude = recorded.latitude, recorded.longitude
        if not np.isfinite([latitude, longitude]).all() or max(abs(latitude), abs(longitude)) < _MIN_LOCATED:
            return None
    if week is None:
        week = birdnet_location.week_of(recorded.day) if recorded.day else birdnet_location.ALL_YEAR
    return latitude, longitude, week


def _has_sound(path):
    import av

    with media_files.open_file(path) as file:
        try:
            with decoding.open_container(file) as container:
                return bool(container.streams.audio) or not container.streams.video
        except (av.FFmpegError, ValueError):
            return True  # it cannot be read at all, which is another reason


def as_settings(model):
    """A ``models.Model`` without its names, JSON-able."""
    return {
        **model.address(),
        "window_s": model.window_s,
        "licences": model.licences,
        "thresholds": None if model.thresholds is None else model.thresholds.tolist(),
        "curves": model.curves,
    }


def from_settings(settings):
    """The model of ``as_settings``, with ``labels`` None."""
    thresholds = None if settings["thresholds"] is None else np.asarray(settings["thresholds"])
    return models.Model(**{**settings, "thresholds": thresholds}, labels=None)
