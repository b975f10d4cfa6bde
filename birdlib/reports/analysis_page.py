"""The page of an analysis: ``report.html`` in its folder, one file that opens offline, from a mail too.

It answers first (how many recordings, which species, how sure), then shows species, when and where they were active, examples to play, every
recording with its spectrogram, films with counts, what was skipped, and the method. It stays below ``max_bytes``: what it cannot hold, it names
and links the table beside it, so that the folder can be sent as a whole.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.analysis import detections
from birdlib.reports import (
    analysis_activity,
    analysis_data,
    analysis_examples,
    analysis_films,
    analysis_method,
    analysis_recordings,
    numbers,
    page,
    players,
    tables,
)

MAX_BYTES = 10_000_000
_FRAME_BYTES, _ROW_BYTES = 150_000, 1500  # of the frame of the page with styles and scripts; of a row of its tables
_FILM_SHARE = 0.3
_MAX_SKIPPED = 200


def write(folder, *, max_bytes=MAX_BYTES, max_files=analysis_recordings.MAX_FILES, progress=True):
    """Write the page of an analysis.

    Args:
        folder: that ``analyse`` wrote; the page becomes ``report.html`` in it and replaces one that is there.
        max_bytes: of the page; sounds and films are left out beyond.
        max_files: recordings that the page shows, those with the most detections.
        progress: whether a progress bar is shown.

    Returns:
        Path of the page.

    Raises:
        MissingAnalysisError: if the folder holds no analysis.
    """
    analysis = analysis_data.read(folder)
    recordings = analysis_recordings.choose(analysis, max_files)
    films = page.section("films", "Films", analysis_films.body, analysis, _FILM_SHARE * max_bytes, badge=str(len(analysis.counts)))
    activity = page.section("activity", "When and where", _activity, analysis)
    skipped = page.section("skipped", "Skipped", _skipped, analysis, badge=str(len(analysis.skipped)))
    method = page.section("method", "Method", analysis_method.body, analysis)
    budget = players.Budget(int(max_bytes) - _silent_bytes(recordings, analysis, films, activity, skipped, method))
    examples = analysis_examples.best(analysis, budget)
    analysis_recordings.add_players(recordings, analysis, budget, progress)
    sections = [
        page.section("species", "Species", _species, analysis, examples, badge=str(len(analysis.species))),
        activity,
        page.section("examples", "Examples", analysis_examples.cards, examples, analysis),
        page.section("recordings", "Recordings", _recordings, recordings, analysis, badge=numbers.number(len(analysis.files), 0)),
        films,
        skipped,
        method,
    ]
    text = page.render(
        _title(analysis), sections, subtitle=analysis_method.line(analysis), lead=_lead(analysis), footer=analysis_method.footer(analysis),
        styles=(players.STYLE, "analysis.css"), scripts=(players.SCRIPT, "analysis.js"),
    )  # fmt: skip
    return page.write(Path(folder) / "report.html", text)


def _silent_bytes(recordings, analysis, *sections):
    """Bytes of the page without its players, a little too many."""
    parts = [*(section.body for section in sections), *(analysis_recordings.shown(recording, analysis) for recording in recordings)]
    n_rows = len(analysis.species[: tables.MAX_ROWS])
    return sum(len(part.encode()) for part in parts) + _ROW_BYTES * (n_rows + len(recordings)) + _FRAME_BYTES


def _title(analysis):
    n_films = int((analysis.files["media"] == "film").sum())
    n_sounds = len(analysis.files) - n_films
    parts = [numbers.counted(n, word) for n, word in ((n_sounds, "recording"), (n_films, "film")) if n]
    return f"Birds in {' and '.join(parts) if parts else 'no recordings'}"


def _lead(analysis):
    sentences = [_found(analysis), _most_frequent(analysis), _films_and_skipped(analysis)]
    return page.join(page.element("div", page.paragraph(*(sentence for sentence in sentences if sentence)), class_="answer"), page.cards(_figures(analysis)))


def _found(analysis):
    files, found = analysis.files, analysis.detections
    where = f"{numbers.counted(len(files), 'file')} of {numbers.duration(files['duration_s'].sum())} altogether"
    if not len(found):
        return f"In {where} no bird was detected{_threshold(analysis)}."
    others = f" (and of {numbers.listing([analysis.names[label] for label in analysis.other_sounds])})" if analysis.other_sounds else ""
    text = f"In {where}, {numbers.counted(len(found), 'detection')} of {numbers.counted(_n_species(analysis), 'species', 'species')}{others} were found{_threshold(analysis)}"
    if analysis.is_calibrated:
        n_correct = numbers.number(found["probability"].sum(), 0)
        return f"{text}; about {n_correct} of them {'is' if n_correct == '1' else 'are'} expected to be correct."
    return f"{text}."


def _n_species(analysis):
    return len(analysis.species) - len(analysis.other_sounds)


def _threshold(analysis):
    threshold = analysis_method.setting(analysis, "min_confidence")
    if isinstance(threshold, float | int):
        return f" at a {analysis.confidence_word} of {threshold:g} or more"
    return " above the threshold of each species" if analysis.about.get("settings") else ""


def _most_frequent(analysis):
    if not len(analysis.detections):
        return "Lower --min-confidence, or check below that the recordings hold sound in which you hear birds."
    counts, files = analysis.detections["species"].value_counts(), analysis.detections.groupby("species")["path"].nunique()
    where = (lambda label: f" in {numbers.counted(int(files[label]), 'file')}") if len(analysis.files) > 1 else lambda label: ""
    parts = [
        page.join(page.element("b", page.element("bdi", analysis.names[label])), f" ({numbers.counted(int(counts[label]), 'detection')}{where(label)})")
        for label in [label for label in analysis.species if label not in analysis.other_sounds][:3]
    ]
    last = page.join(" and ", parts.pop()) if len(parts) > 1 else ""
    start = "The only species was " if len(analysis.species) == 1 else "Most frequent were " if len(analysis.species) > 3 else "They were " if not analysis.other_sounds else "The species were "
    return page.join(start, page.markup(", ").join(parts), last, ".")


def _films_and_skipped(analysis):
    sentences = [analysis_films.sentence(analysis)]
    if len(analysis.skipped):
        n = analysis.skipped["path"].nunique()
        sentences.append(page.join(page.element("a", numbers.counted(n, "file"), href="#skipped"), f" could not be used as {'it is' if n == 1 else 'they are'}."))
    return page.markup(" ").join(sentence for sentence in sentences if sentence)


def _figures(analysis):
    files, found = analysis.files, analysis.detections
    items = [
        (numbers.number(len(files), 0), "recordings and films" if (files["media"] == "film").any() else "recording" if len(files) == 1 else "recordings", numbers.duration(files["duration_s"].sum())),
        (numbers.number(_n_species(analysis), 0), "species", f"in {numbers.counted(int(found['path'].nunique()), 'file')}"),
        (numbers.number(len(found), 0), "detection" if len(found) == 1 else "detections", ""),
    ]
    if analysis.is_calibrated:
        items.append((numbers.number(found["probability"].sum(), 0), "expected to be correct", "sum of the probabilities"))
    if files["site"].replace("", np.nan).nunique() > 1:
        items.append((numbers.number(files["site"].replace("", np.nan).nunique(), 0), "sites", ""))
    return items


def _species(analysis, examples):
    if not len(analysis.detections):
        return page.paragraph("There are no detections to sum up.")
    table = _species_table(analysis)
    buttons = [analysis_examples.play_button(examples[label], analysis.names[label]) if label in examples else "" for label in table["species"]]
    table["play"] = pd.Series(buttons, table.index, dtype=object)  # as text, pandas would forget that it is HTML
    word = analysis.confidence_word
    columns = [
        tables.Column("play", "", "html"), tables.Column("name", "species"),
        tables.Column("detections", kind="count"), tables.Column("files", kind="count"), tables.Column("seconds", "time", "seconds", explanation="sum of the detections"),
        tables.Column("highest_confidence", f"best {word}", "share", explanation=_meaning(analysis)),
        tables.Column("expected", "expected correct", "number", n_decimals=1, explanation="sum of the probabilities: how many of the detections are right, on average"),
        tables.Column("occurrence", "expected here", "share", explanation="how likely the location model holds the species at the location in that week: 0 to 1"),
        tables.Column("hours", "active", explanation="hours of the day with detections"),
        tables.Column("scientific_name", "scientific name"),
    ]  # fmt: skip
    columns = [column for column in columns if column.name in table and not _is_empty(table[column.name])]
    return page.join(
        page.paragraph(_meaning(analysis), _unlikely(analysis), "Rows without a scientific name are sounds that are no birds." if analysis.other_sounds else ""),
        tables.table(table, columns, filter_label="Filter by species", where_all="species.csv"),
        page.paragraph(page.join("All rows: ", page.element("a", "species.csv", href="species.csv"), " and ", page.element("a", "detections.csv", href="detections.csv"), "."), class_="soft"),
    )


def _species_table(analysis):
    grouped = analysis.detections.groupby("species")
    table = detections.by_species(analysis.detections).set_index("species").assign(name=grouped["name"].first(), occurrence=grouped["occurrence"].max())
    if analysis.is_calibrated:
        table["expected"] = grouped["probability"].sum()
    table["hours"] = grouped["recorded_at"].apply(lambda times: hours_text(times.dropna().dt.hour))
    table["scientific_name"] = table["scientific_name"].where(table["scientific_name"] != table["name"], "")
    return table.reset_index()


def hours_text(hours):
    """Hours of the day as ranges: ``5–7, 18 h``."""
    hours = sorted(set(int(hour) for hour in hours))
    ranges = []
    for hour in hours:
        if ranges and hour == ranges[-1][1] + 1:
            ranges[-1][1] = hour
        else:
            ranges.append([hour, hour])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges) + (" h" if ranges else "")


def _is_empty(values):
    return bool((values.isna() | (values.astype(str) == "")).all())


def _meaning(analysis):
    if analysis.is_calibrated:
        return "Probabilities are calibrated: of 100 detections at 80 %, about 80 are right, as far as the recordings are like those the model was tested on."
    return "Confidence is the model's own score from 0 to 1, not a probability: it orders the detections of a species, but 0.8 does not mean that 80 of 100 are right."


def _unlikely(analysis):
    """Species that the location model does not expect."""
    highest = analysis.detections.groupby("species")["occurrence"].max().dropna()
    unlikely = [analysis.names[label] for label in analysis.species if label in highest and highest[label] < 0.03]
    if not unlikely:
        return ""
    return f"The location model does not expect {numbers.listing(unlikely)} there in that week: check {'it' if len(unlikely) == 1 else 'them'} first."


def _activity(analysis):
    if not len(analysis.detections):
        return page.markup("")
    parts = []
    for title, make, head in (("Hour of the day", analysis_activity.by_hour, "hour of the day"), ("Site", analysis_activity.by_site, "site"), ("Date", analysis_activity.by_date, "date")):
        activity = make(analysis)
        if activity is not None:
            parts += [page.heading(title), page.figure(analysis_activity.heat_table(activity, analysis, head), _reading(activity, analysis, head))]
    n_untimed = int(analysis.files["recorded_at"].isna().sum())
    if n_untimed == len(analysis.files):
        parts.append(page.paragraph("No file says when it was recorded, so there is nothing by hour or date. Names such as SITE_20250503_054500.wav and the metadata of recorders are read.", class_="soft"))
    elif n_untimed:
        parts.append(page.paragraph(f"{numbers.counted(n_untimed, 'file')} without a clock time {'is' if n_untimed == 1 else 'are'} not in the tables by hour and date.", class_="soft"))
    return page.join(*parts)


def _reading(activity, analysis, head):
    """What the table says, in words."""
    peak = analysis_activity.peak(activity)
    if peak is None:
        return "No detection falls into it."
    row, column = peak
    where = f"at {int(activity.columns[column])} h" if head.startswith("hour") else f"at {activity.columns[column]}" if head == "site" else f"on {activity.columns[column]}"
    n_recorded = int((activity.recorded_s > 0).sum())
    text = f"{analysis.names[activity.species[row]]} was detected most densely {where}: in {analysis_activity.phrase(activity.share[row, column], activity.share[row, column])}."
    if head.startswith("hour") and n_recorded < 24:
        text += f" Recordings cover {n_recorded} of 24 hours."
    if (activity.recorded_s == 0).any():
        text += " Hatched: nothing was recorded, which does not mean that nothing sang."
    if len(activity.species) == analysis_activity.MAX_SPECIES < len(analysis.species):
        text += f" The {len(activity.species)} most frequent species of {len(analysis.species)}."
    return text


def _recordings(recordings, analysis):
    n_files, n_moved = len(analysis.files), sum(recording.path is None for recording in recordings)
    n_over = sum(bool(recording.spans) and not recording.players and not recording.problem for recording in recordings)
    first = f"The {len(recordings)} of {numbers.number(n_files, 0)} files with the most detections; all are in " if n_files > len(recordings) else "All files are in "
    held = f" So that it can be mailed, the page holds no sound of {numbers.number(n_over, 0)} of them." if n_over else ""
    moved = page.note(f"{numbers.counted(n_moved, 'file')} {'is' if n_moved == 1 else 'are'} no longer where {'it was' if n_moved == 1 else 'they were'} analysed, so there is no sound of {'it' if n_moved == 1 else 'them'}.", "warning")
    return page.join(
        page.paragraph(page.join(first, page.element("a", "files.csv", href="files.csv"), ".", held), "A click on a name or a box plays that detection; the space bar plays and pauses, arrow keys move by a second.", _bars(recordings)),
        moved if n_moved else None,
        analysis_recordings.table(recordings, analysis) if n_files > 1 else None,
        *(analysis_recordings.shown(recording, analysis, is_open=number == 0) for number, recording in enumerate(recordings)),
    )


def _bars(recordings):
    if not any(len(recording.players) > 1 for recording in recordings):
        return ""
    return "Bars show the detections over the whole of a long recording; the parts with a line under them can be played, by a click on the bars too."


def _skipped(analysis):
    if not len(analysis.skipped):
        return page.markup("")
    table = analysis.skipped.rename(columns={"path": "file"})
    return page.join(
        page.paragraph("Files that could not be used, or not as they are, with the reason and the remedy."),
        tables.table(table, filter_label="Filter by file or reason", max_rows=_MAX_SKIPPED, where_all="skipped.csv"),
    )


