"""Players: a spectrogram with the detections on it, which plays its sound.

A page names ``STYLE`` and ``SCRIPT`` in ``page.render`` and has any number of players. Each is a piece of HTML that holds its own sound
(MP3) and spectrogram (WebP), so that the page works offline, from a mail. Nothing else is needed: no library, no file beside it.

A detection is a row of the detections table (``analysis.detections.COLUMNS``). Its time and band are a box on the spectrogram, its name
and confidence a button above it. A click on either, or Enter, plays that detection; a click elsewhere plays from there; the space bar
plays and pauses, the arrow keys move by a second. All times are seconds of the file.
"""

import dataclasses
import hashlib
import html
import math
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.reports import charts, page, player_media

STYLE, SCRIPT = "player.css", "player.js"  # for ``page.render(..., styles=(STYLE,), scripts=(SCRIPT,))``
MAX_SPAN_S = 60.0  # of a player
_PADDING_S, _JOINED_S = 1.5, 8.0  # around detections, and the gap between detections that share a player
_MAX_BOXES = 80  # in a player
_PIXELS_PER_S, _MIN_WIDTH_PX, _LETTER_PX = 40, 280, 6.4  # as the style sheet draws them
_TICK_HZ = (250, 500, 1000, 2000, 4000, 8000)
_TICK_GAP, _TICK_EDGE = 0.12, 0.09  # of the height of a spectrogram
_TICK_S, _TICK_TEXT_S = (1, 2, 5, 10), 0.9


@dataclasses.dataclass
class Budget:
    """The bytes that players may add to a page, and what did not fit."""

    total: int
    spent: int = 0
    left_out: list = dataclasses.field(default_factory=list)  # (path, start_s, end_s)

    def takes(self, n_bytes):
        """Whether so many more bytes fit; nothing is spent."""
        return self.spent + n_bytes <= self.total


def colours(species):
    """{species: colour} that a page uses throughout: the first twelve differ, and those behind share their colours."""
    return {label: charts.PALETTE[i % len(charts.PALETTE)] for i, label in enumerate(dict.fromkeys(species))}


def spans(detections, duration_s, max_span_s=MAX_SPAN_S):
    """The parts of a file that are worth a player: all of a short file, else those with detections.

    Args:
        detections: rows of one file, with ``start_s`` and ``end_s``.
        duration_s: of the file.
        max_span_s: of each part.

    Returns:
        [(start_s, end_s)] ascending, without overlap; a detection longer than ``max_span_s`` is cut.
    """
    if 0 < duration_s <= max_span_s:
        return [(0.0, float(duration_s))]
    found = []
    for start_s, end_s in sorted(zip(detections["start_s"], detections["end_s"], strict=True)):
        start_s, end_s = max(0.0, start_s - _PADDING_S), min(duration_s, end_s + _PADDING_S)
        if found and start_s - found[-1][1] < _JOINED_S and end_s - found[-1][0] <= max_span_s:
            found[-1] = (found[-1][0], max(found[-1][1], end_s))
            continue
        start_s = max(start_s, found[-1][1] if found else 0.0)
        if end_s > start_s:
            found.append((start_s, min(end_s, start_s + max_span_s)))
    return [(float(start_s), float(end_s)) for start_s, end_s in found]


def player(path, detections, start_s=0.0, end_s=None, *, title="", budget=None, colours=None, key="", compact=False, waveform=None):
    """A player of a part of a recording, at most a minute.

    Args:
        path: of any sound file, or film with sound.
        detections: rows of this file, as many columns of ``analysis.detections.COLUMNS`` as there are; at least ``start_s``, ``end_s``
            and ``species``. Those outside the part are not shown.
        start_s, end_s: of the part; None: the end of the file, or a minute after ``start_s``.
        title: shown above; text, not HTML.
        budget: Budget of the page, which is charged; None: no limit.
        colours: {species: colour}; None: as ``colours`` gives for these detections.
        key: id of the element, for links to it; unique in the page.
        compact: without title and times of the part, for a single call among others.
        waveform: the part at 24 kHz where the caller has read it.

    Returns:
        HTML (``Markup``); "" where the budget does not hold it: ``budget.left_out`` says so then.

    Raises:
        AudioError: if the file or the part cannot be read.
    """
    if waveform is None and end_s is None:
        waveform = next(player_media.read_spans(path, [(start_s, start_s + MAX_SPAN_S)]))
    length_s = min(end_s - start_s, MAX_SPAN_S) if waveform is None else len(waveform) / player_media.SAMPLE_RATE_HZ
    if budget and not budget.takes(player_media.estimated_bytes(length_s)):
        budget.left_out.append((runtime.printable(path), start_s, start_s + length_s))
        return ""
    if waveform is None:
        waveform = next(player_media.read_spans(path, [(start_s, start_s + length_s)]))
    end_s = start_s + len(waveform) / player_media.SAMPLE_RATE_HZ
    part = _Part(path, title or Path(runtime.printable(path)).name, start_s, end_s, player_media.max_hz(path))
    shown = detections[(detections["start_s"] < end_s) & (detections["end_s"] > start_s)]
    n_hidden, shown = max(0, len(shown) - _MAX_BOXES), shown.nlargest(_MAX_BOXES, "confidence") if len(shown) > _MAX_BOXES else shown
    calls = _calls(shown.sort_values(["start_s", "species"], kind="stable"), part, colours)
    sound = page.data_uri(player_media.mp3(waveform), "audio/mpeg")
    image = page.data_uri(player_media.webp(player_media.spectrogram(waveform, part.max_hz)), "image/webp")
    text = _html(part, calls, n_hidden, sound, image, key or _key(part), compact)
    if budget:
        budget.spent += len(text.encode())
    return page.markup(text)


def pages(players, label="Parts of the recording"):
    """Several players of one recording as pages with buttons: the first is shown, without scripts all are."""
    players = [text for text in players if text]
    return page.element("div", *players, class_="player-pages", data_label=label) if len(players) > 1 else page.join(*players)


def confidence_text(probability, confidence):
    """``87 %`` for a calibrated probability, ``0.87`` for a confidence that is none, as short as it is shown beside a name."""
    if pd.notna(probability):
        return f"{100 * probability:.0f}\N{NARROW NO-BREAK SPACE}%"
    return f"{confidence:.2f}" if pd.notna(confidence) else ""


def clock(seconds, precise=False):
    """Seconds of a file as ``m:ss`` or ``h:mm:ss``; precise adds tenths."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    last = f"{rest // 10:02d}.{rest % 10}" if precise else f"{rest // 10:02d}"
    return f"{hours}:{minutes:02d}:{last}" if hours else f"{minutes}:{last}"


def name_of(row):
    """The name of a detection as people say it: the common name, else the scientific name, else the label."""
    row = row if isinstance(row, dict) else row._asdict()
    names = (row.get(column) for column in ("common_name", "scientific_name", "species"))
    return next(str(name) for name in names if isinstance(name, str) and name)


@dataclasses.dataclass(frozen=True)
class _Part:
    path: str
    title: str
    start_s: float
    end_s: float
    max_hz: float

    def share(self, seconds):
        """0 at the beginning of the part, 1 at its end."""
        return float(np.clip((seconds - self.start_s) / max(self.end_s - self.start_s, 1e-9), 0.0, 1.0))


@dataclasses.dataclass
class _Call:
    name: str
    confidence: str
    spoken: str
    colour: str
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    lane: int = 0
    is_at_end: bool = False  # the name would not fit right of the start


def _calls(detections, part, palette):
    palette = palette or colours(detections["species"])
    calls = []
    for row in detections.to_dict("records"):
        probability, confidence = (row.get(column, math.nan) for column in ("probability", "confidence"))
        confidence = row.get("score", math.nan) if pd.isna(confidence) else confidence
        text = confidence_text(probability, confidence)
        spoken = f"probability {text}" if pd.notna(probability) else f"confidence {text}" if text else ""
        calls.append(
            _Call(
                name_of(row), text, spoken, palette.get(row["species"], charts.NEUTRAL), row["start_s"], row["end_s"],
                *(_hz(row.get(column), edge) for column, edge in (("low_hz", 0.0), ("high_hz", part.max_hz))),
            )
        )  # fmt: skip
    return _in_lanes(calls, part)


def _hz(value, default):
    return default if value is None or pd.isna(value) else float(value)


def _in_lanes(calls, part):
    """Give each name the first row where it does not lie on another one; where a name is longer than its call, it needs more time."""
    free_s, pixels_per_s = [], max(_PIXELS_PER_S, _MIN_WIDTH_PX / (part.end_s - part.start_s))
    for call in calls:
        text_s = (len(call.name) + len(call.confidence) + 4) * _LETTER_PX / pixels_per_s
        call.is_at_end = call.start_s + text_s > part.end_s
        from_s = min(call.start_s, part.end_s - text_s) if call.is_at_end else call.start_s
        call.lane = next((number for number, free in enumerate(free_s) if free <= from_s), len(free_s))
        free_s[call.lane : call.lane + 1] = [max(call.end_s, call.start_s + text_s)]
    return calls


def _key(part):
    return "player-" + hashlib.sha256(f"{runtime.printable(part.path)}|{part.start_s}|{part.end_s}".encode()).hexdigest()[:12]


def _html(part, calls, n_hidden, sound, image, key, compact):
    span = f"{clock(part.start_s)} to {clock(part.end_s)}"
    names = list(dict.fromkeys(call.name for call in calls))
    heard = f"detections of {', '.join(names)}" if names else "no detections"
    alt = f"Spectrogram of {part.title}, {span}, up to {part.max_hz / 1000:.3g} kHz: {heard}"
    head = "" if compact else f'<span class="player-title"><bdi>{html.escape(part.title)}</bdi></span> <span class="player-span">{span}</span>'
    hidden = f'<p class="player-note">{n_hidden} less confident detections of this part are in the table only.</p>' if n_hidden else ""
    n_lanes = max((call.lane + 1 for call in calls), default=0)
    return (
        f'<figure class="player{" player-compact" if compact else ""}" id="{html.escape(key)}" data-start="{part.start_s:.3f}" data-end="{part.end_s:.3f}">'
        f'<div class="player-controls"><button type="button" class="player-play" aria-label="Play {html.escape(part.title)}, {span}">Play</button>'
        f'<button type="button" class="player-slow" aria-pressed="false" title="Half speed, an octave lower">½ speed</button>'
        f'<output class="player-time">{clock(part.start_s, True)}</output>{head}</div>'
        f'<div class="player-scroll" tabindex="0" role="group" aria-label="{html.escape(alt)}. Space plays, arrow keys move by a second.">'
        f'<div class="player-canvas" style="--seconds:{part.end_s - part.start_s:.3f};--lanes:{n_lanes}">'
        f'<div class="player-names">{"".join(_name(call, part) for call in calls)}</div>'
        f'<div class="player-picture"><img src="{image}" alt="{html.escape(alt)}">{_frequencies(part)}{"".join(_box(call, part, i) for i, call in enumerate(calls))}<i class="player-cursor"></i></div>'
        f'<div class="player-times" aria-hidden="true">{_times(part)}</div></div></div>'
        f'{hidden}<audio controls preload="none" src="{sound}"></audio></figure>'
    )


def _name(call, part):
    edge = "right:0" if call.is_at_end else f"left:{100 * part.share(call.start_s):.2f}%"
    place = f"{edge};--length:{100 * (part.share(call.end_s) - part.share(call.start_s)):.2f}%;--lane:{call.lane}"
    spoken = f"Play {call.name}, {call.spoken}, {call.start_s:.1f} to {call.end_s:.1f} s"
    return (
        f'<button type="button" class="player-name" style="{place};--colour:{call.colour}" data-start="{call.start_s:.3f}" data-end="{call.end_s:.3f}" '
        f'aria-label="{html.escape(spoken)}" title="{html.escape(spoken)}"><bdi>{html.escape(call.name)}</bdi> <b>{call.confidence}</b></button>'
    )


def _box(call, part, number):
    low, high = (player_media.height(hz, part.max_hz) for hz in (call.low_hz, call.high_hz))
    left, right = part.share(call.start_s), part.share(call.end_s)
    place = f"left:{100 * left:.2f}%;width:{100 * (right - left):.2f}%;bottom:{100 * low:.1f}%;height:{100 * max(high - low, 0.02):.1f}%"
    return f'<i class="player-box" style="{place};--colour:{call.colour}" data-call="{number}"></i>'


def _frequencies(part):
    """Lines with kHz at octaves, from the top; those too near to an edge or to the last one are left out."""
    ticks, free = [], 1.0 - _TICK_EDGE
    for hz in reversed(_TICK_HZ):
        y = player_media.height(hz, part.max_hz)
        if _TICK_EDGE < y <= free:
            text = f"{hz / 1000:g}" if ticks else f"{hz / 1000:g} kHz"
            ticks.append(f'<i class="player-hz" style="bottom:{100 * y:.1f}%"><span>{text}</span></i>')
            free = y - _TICK_GAP
    return "".join(ticks)


def _times(part):
    length_s = part.end_s - part.start_s
    step = next((step for step in _TICK_S if step * _PIXELS_PER_S >= 60 or length_s / step <= 8), _TICK_S[-1])
    ticks = np.arange(math.ceil(part.start_s / step - 1e-6), math.floor(part.end_s / step + 1e-6) + 1) * step
    return "".join(f'<span style="left:{100 * part.share(tick):.2f}%">{clock(tick)}</span>' for tick in ticks if part.end_s - tick >= _TICK_TEXT_S)
