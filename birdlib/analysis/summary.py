"""Sentences for people: the settings of an analysis before it runs, and what it found."""

import math

from birdlib.analysis import detections
from birdlib.models import birdnet_location


def describe_settings(settings):
    """``engine.Settings`` in a sentence or two: windows, thresholds, location."""
    model, confidence = settings.model, settings.min_confidence
    word = "probability" if model.curves else "score"
    least = f"{word} of at least {confidence:g}" if confidence is not None else "score above each species' threshold of stage 07"
    text = f"Windows of {model.window_s:g} s" + f", {settings.overlap_s:g} s of overlap" * bool(settings.overlap_s) + f"; {least}."
    if settings.latitude is not None:
        when = {None: "in the week of each file's date, else in the whole year", birdnet_location.ALL_YEAR: "in the whole year"}.get(settings.week, f"in week {settings.week}")
        text += f" Only species expected at {settings.latitude:g}, {settings.longitude:g} {when}."
    elif settings.use_location:
        text += " Where a file states its location, only species expected there."
    return text


def describe(analysis, n_species=10):
    """``engine.Analysis`` in a few lines: files, hours, speed, species, birds counted, skipped."""
    found, lines = analysis.detections, [_amount(analysis)]
    if len(found):
        lines.append(f"{_plural(len(found), 'detection')} of {found['species'].nunique()} species, the most frequent:")
        lines += _species_lines(found, n_species)
    elif len(analysis.files):
        lines.append("No species was detected: try a lower --min-confidence")
    if len(analysis.counts):
        lines.append(f"Birds were counted in {_plural(len(analysis.counts), 'film')}, see {analysis.folder / 'counts.csv'}. {analysis.note}".rstrip())
    if n_skipped := analysis.skipped["path"].nunique():
        lines.append(f"{_plural(n_skipped, 'file')} could not be used as {'they are' if n_skipped > 1 else 'it is'}, see {analysis.folder / 'skipped.csv'}; the first:")
        lines += [f"  {row.path}: {row.reason}" for row in analysis.skipped.head(3).itertuples()]
    return "\n".join(lines)


def _amount(analysis):
    table = analysis.files
    if not len(table):
        return "No file could be analysed."
    seconds = table["duration_s"].sum()
    n_films = int((table["media"] == "film").sum())
    what = _plural(len(table), "file") + f", {n_films} of them {'films' if n_films > 1 else 'a film'}" * bool(n_films)
    text = f"{what}, {_duration(seconds)} of sound"
    if not analysis.n_computed:
        return f"{text}, all as computed before"
    if analysis.n_computed < analysis.n_tasks:
        return f"{text}, {analysis.n_tasks - analysis.n_computed} of {_plural(analysis.n_tasks, 'part')} as computed before; the others in {_duration(analysis.sound_seconds)}"
    return f"{text} in {_duration(analysis.sound_seconds)}, {seconds / max(analysis.sound_seconds, 1e-3):.0f} times real time"


def _species_lines(found, n):
    table = detections.by_species(found)
    names = detections.names(table)
    width = min(40, max(map(len, names.head(n))))
    lines = [f"  {name:<{width}}  {row.detections:6d} in {_plural(row.files, 'file')}" for name, row in zip(names.head(n), table.head(n).itertuples(), strict=True)]
    return lines + [f"  and {len(table) - n} more in species.csv"] * (len(table) > n)


def _plural(n, word):
    return f"{n:,} {word}{'s' * (n != 1)}"


def _duration(seconds):
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{math.floor(seconds / 3600)} h {seconds % 3600 / 60:.0f} min"
