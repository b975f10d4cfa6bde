"""The recordings of an analysis in its page: a table, and for each a timeline of its species and players of its parts.

Parts are chosen within the bytes that the page may have: first the best part of every recording, then the second best, and so on. Recordings
with the most detections come first. Only these parts are read, so that a recording of 15 hours needs no more memory than a short one.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.reports import analysis_data, numbers, page, player_media, players, tables

MAX_FILES = 200  # in the page
_MAX_PARTS, _MAX_ROWS, _BINS = 60, 8, 250  # of a recording: players; species in its timeline; marks of each
_PART_LENGTHS_S = (60.0, 45.0, 30.0, 20.0, 12.0)
_UNDETECTED_S = 20.0  # shown of recordings where no recording has detections


@dataclass
class Recording:
    """A recording that the page shows: its row of the files table, its detections, its parts and their players."""

    number: int
    row: dict
    detections: object
    path: object  # None: no longer there
    spans: list = field(default_factory=list)  # worth a player, the best first
    players: dict = field(default_factory=dict)  # {(start_s, end_s): HTML}
    problem: str = ""

    @property
    def duration_s(self):
        """Seconds; where the file states none, to the end of the last detection."""
        known = self.row["duration_s"]
        return float(known if np.isfinite(known) else self.detections["end_s"].max() if len(self.detections) else 0.0)

    @property
    def name(self):
        """Name of the file."""
        return analysis_data.file_name(self.row["path"])

    @property
    def anchor(self):
        """Id in the page."""
        return f"recording-{self.number}"

    def key(self, span):
        """Id of the player of a span."""
        return f"{self.anchor}-{round(1000 * span[0])}"


def choose(analysis, max_files=MAX_FILES):
    """The recordings of the page, those with the most detections first."""
    order = analysis.files.sort_values("n_detections", ascending=False, kind="stable").head(max_files)
    return [
        Recording(number, row, analysis.detections_of(row["path"]), analysis.locate(row["path"]))
        for number, row in enumerate(order.to_dict("records"), start=1)
    ]


def add_players(recordings, analysis, budget, progress=True):
    """Fill ``players`` of the recordings as far as the budget holds them.

    Args:
        recordings: of ``choose``.
        budget: players.Budget.
        progress: whether a progress bar is shown.
    """
    _find_spans(recordings, budget, is_empty=not len(analysis.detections))
    chosen = _affordable(recordings, budget)
    for recording in runtime.progress(recordings, desc="page") if progress else recordings:
        spans = sorted(chosen.get(recording.number, []))
        if not spans:
            continue
        try:
            with runtime.collect_warnings(recording.path):  # the files table has them
                recording.players |= _players(recording, spans, analysis, budget)
        except (OSError, runtime.BirdlibError) as error:
            recording.problem = f"Its sound cannot be shown: {getattr(error, 'reason', error)}."


def table(recordings, analysis):
    """HTML of the table of recordings, with links to each."""
    rows = pd.DataFrame([recording.row for recording in recordings], columns=analysis.files.columns)
    links = [page.element("a", page.element("bdi", recording.name), href=f"#{recording.anchor}") for recording in recordings]
    rows["recorded_at"] = [tables.printable(time)[:16] for time in rows["recorded_at"]]  # to the minute
    rows = rows.assign(link=pd.Series(links, rows.index, dtype=object), top=[analysis.names.get(label, label) for label in rows["top_species"]])
    columns = [tables.Column("link", "recording", "html"), tables.Column("site")] if rows["site"].ne("").any() else [tables.Column("link", "recording", "html")]
    if rows["recorded_at"].ne("").any():
        columns.append(tables.Column("recorded_at", "recorded"))
    columns += [
        tables.Column("duration_s", "length", "seconds"), tables.Column("n_detections", "detections", "count"),
        tables.Column("n_species", "species", "count"), tables.Column("top", "most detections"), tables.Column("note"),
    ]  # fmt: skip
    columns = [column for column in columns if column.name != "note" or rows["note"].ne("").any()]
    return tables.table(rows, columns, filter_label="Filter recordings", page_rows=10)


def shown(recording, analysis, is_open=False):
    """HTML of a recording: what was found, the timeline, the players, and what is not shown."""
    row = recording.row
    facts = [numbers.duration(row["duration_s"]), row["site"], tables.printable(row["recorded_at"])[:16], numbers.counted(row["n_detections"], "detection")]
    summary = page.join(page.element("b", page.element("bdi", recording.name)), page.element("span", " · ".join(fact for fact in facts if fact)))
    body = page.join(
        _problem(recording),
        _timeline(recording, analysis),
        players.pages([html for _, html in sorted(recording.players.items())]),
        _left_out(recording),
        page.paragraph(row["note"], class_="soft") if row["note"] else None,
    )
    return page.element("details", page.element("summary", summary), body, id=recording.anchor, class_="recording", open=is_open)


def _players(recording, spans, analysis, budget):
    """{span: HTML}"""
    made = {}
    for span, waveform in zip(spans, player_media.read_spans(recording.path, spans), strict=True):
        if len(waveform):
            options = {"title": recording.name, "budget": budget, "colours": analysis.colours, "key": recording.key(span)}
            made[span] = players.player(recording.path, recording.detections, *span, waveform=waveform, **options)
    return {span: html for span, html in made.items() if html}


def _find_spans(recordings, budget, is_empty):
    """Fill ``spans``: parts of the greatest length of which the budget holds one of each recording."""
    for length_s in _PART_LENGTHS_S:
        for recording in recordings:
            recording.spans = _spans(recording, length_s, is_empty) if recording.path else []
        best = [recording.spans[0] for recording in recordings if recording.spans]
        if sum(player_media.estimated_bytes(end_s - start_s) for start_s, end_s in best) <= budget.total - budget.spent:
            return


def _spans(recording, length_s, is_empty):
    duration_s = recording.duration_s
    found = players.spans(recording.detections, duration_s, length_s)
    if not found and is_empty and duration_s:
        found = [(0.0, min(duration_s, _UNDETECTED_S))]
    start_s, confidence = recording.detections["start_s"].to_numpy(), recording.detections["confidence"].fillna(0.0).to_numpy()
    order = np.argsort(start_s, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(confidence[order])])
    first, last = (np.searchsorted(start_s[order], [span[end] for span in found]) for end in (0, 1))
    gains = sums[last] - sums[first]
    return [found[i] for i in np.argsort(-gains, kind="stable")][:_MAX_PARTS]


def _affordable(recordings, budget):
    """{number: spans} that fit the budget: the best part of each recording, then the second best of each ..."""
    left, chosen = budget.total - budget.spent, {}
    for rank in range(_MAX_PARTS):
        for recording in recordings:
            if recording.path is None or rank >= len(recording.spans):
                continue
            n_bytes = player_media.estimated_bytes(recording.spans[rank][1] - recording.spans[rank][0])
            if n_bytes <= left:
                left -= n_bytes
                chosen.setdefault(recording.number, []).append(recording.spans[rank])
    return chosen


def _problem(recording):
    if recording.path is None:
        return page.note(f"The file is no longer at {recording.row['path']}: its sound is not shown. Move it back and write the page again.", "warning")
    return page.note(recording.problem, "warning") if recording.problem else None


def _left_out(recording):
    n_missing = recording.row["n_detections"] - int(_is_covered(recording).sum())
    if not n_missing or recording.path is None or recording.problem:
        return None
    text = f"{numbers.counted(n_missing, 'detection')} of this recording {'is' if n_missing == 1 else 'are'} outside the parts that the page holds: "
    return page.paragraph(text, page.element("a", "detections.csv", href="detections.csv"), " has all.", class_="soft")


def _is_covered(recording):
    start_s, end_s = recording.detections["start_s"].to_numpy(), recording.detections["end_s"].to_numpy()
    covered = np.zeros(len(start_s), bool)
    for span in recording.players:
        covered |= (start_s < span[1]) & (end_s > span[0])
    return covered


def _timeline(recording, analysis):
    """Bars over the whole recording, a row per species; a click plays where the page holds the sound."""
    duration_s = recording.duration_s
    if not duration_s or not len(recording.detections) or (0.0, duration_s) in recording.players:
        return None  # one player shows all of it
    counts = recording.detections["species"].value_counts()
    rows = [_bar(recording.detections[recording.detections["species"] == label], label, duration_s, analysis) for label in counts.index[:_MAX_ROWS]]
    parts = [[recording.key(span), *span] for span in sorted(recording.players)]
    held = [page.element("i", style=f"left:{100 * start / duration_s:.2f}%;width:{max(100 * (end - start) / duration_s, 0.3):.2f}%") for _, start, end in parts]
    ticks = page.element("div", *_ticks(duration_s), class_="timeline-times", aria_hidden="true")
    rest = f"The {_MAX_ROWS} species with the most detections; {len(counts) - _MAX_ROWS} more are in detections.csv." if len(counts) > _MAX_ROWS else ""
    bars = page.element("div", *rows, page.element("div", *held, class_="timeline-held"), ticks, class_="timeline", data_seconds=f"{duration_s:.3f}", data_parts=json.dumps(parts))
    return page.join(bars, page.paragraph(rest, class_="soft"))


def _bar(detections, label, duration_s, analysis):
    heights = covered(detections["start_s"].to_numpy(), detections["end_s"].to_numpy(), duration_s)
    heights = np.ceil(4.0 * heights - 1e-6) / 4.0  # four heights, so that a short call among many is seen
    edges = np.flatnonzero(np.diff(heights, prepend=0.0, append=0.0))  # where the height changes
    runs = [(start, end, heights[start]) for start, end in zip(edges[:-1], edges[1:], strict=True) if heights[start] > 0]
    path = "".join(f"M{start} 1V{1 - height:g}H{end}V1Z" for start, end, height in runs)
    name = analysis.names[label]
    drawing = page.element(
        "svg", page.element("path", d=path, fill=analysis.colours[label]),
        viewBox=f"0 0 {_BINS} 1", preserveAspectRatio="none", role="img", aria_label=f"{name}: {numbers.counted(len(detections), 'detection')}",
    )  # fmt: skip
    return page.element("div", page.element("span", page.element("bdi", name), page.element("small", f" {len(detections)}")), drawing, class_="timeline-row")


def covered(start_s, end_s, duration_s, n_bins=_BINS):
    """(n_bins,) share of each part of a recording that detections of one species, which do not overlap, cover."""
    edges = np.linspace(0.0, duration_s, n_bins + 1)
    order = np.argsort(start_s)
    starts, ends = np.asarray(start_s, float)[order], np.asarray(end_s, float)[order]
    times = np.stack([starts, ends], axis=1).ravel()
    lengths = np.stack([np.zeros(len(starts)), ends - starts], axis=1).ravel()
    if not len(times):
        return np.zeros(n_bins)
    before = np.interp(edges, np.maximum.accumulate(times), np.cumsum(lengths))  # seconds covered before each edge
    return np.clip(np.diff(before) * n_bins / duration_s, 0.0, 1.0)


def _ticks(duration_s):
    steps = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 36000, 86400)
    step = next((step for step in steps if duration_s / step <= 6), steps[-1])
    return [page.element("span", players.clock(tick), style=f"left:{100 * tick / duration_s:.2f}%") for tick in np.arange(0, duration_s * 0.93, step)]
