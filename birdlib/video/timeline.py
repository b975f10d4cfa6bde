"""Time jumps of films, as a camera that restarts leaves them: where they are, and the time of each picture and sample without them.

A film has jumped where for more than ``MAX_GAP_S`` neither a picture nor sound begins, or where times go backwards. What comes after a jump
follows at once. Raw times are those of the container, shown times those without jumps; both are in seconds since the first picture.
"""

import dataclasses

import numpy as np

MAX_GAP_S = 10.0  # of usual films; ten intervals where pictures are more than a second apart
_MAX_BACK_S = 0.25  # or three intervals; less is disorder within the container
_MAX_INTERVAL_S = 60.0  # no picture stands for longer by itself
_DEFAULT_INTERVAL_S = 0.04


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The parts of a film between its jumps."""

    runs: list  # of ascending times; each is a list of parts, (raw time, shown time) where they begin, ascending
    jumps: list  # (shown time, seconds; negative backwards)
    end_s: float  # shown, of the last picture
    all_end_s: float  # shown, of pictures and sound
    n_pictures: int
    interval_s: float  # usual, between pictures

    def raw_s(self, shown_s):
        """The raw time of a shown time, in a film whose times never go backwards."""
        raw_s, from_s = max((part for part in self.runs[0] if part[1] <= shown_s), key=lambda part: part[1], default=self.runs[0][0])
        return raw_s + shown_s - from_s

    def longest_s(self):
        """How long a picture may be shown by its own duration."""
        return max(MAX_GAP_S, 10 * self.interval_s)


class Clock:
    """The shown times of the frames of a stream of pictures or sound, which come in their order."""

    def __init__(self, timeline, is_sound=False):
        self.timeline, self.run, self.last_s = timeline, 0, -np.inf
        self.max_back_s = _MAX_BACK_S if is_sound else max(_MAX_BACK_S, 3 * timeline.interval_s)

    def shown_s(self, raw_s):
        """The shown time of the next frame."""
        if not self.timeline.jumps:
            return raw_s
        if raw_s < self.last_s - self.max_back_s:
            self.run = min(self.run + 1, len(self.timeline.runs) - 1)
        self.last_s = raw_s
        parts = self.timeline.runs[self.run]
        from_s, shown_s = next((part for part in reversed(parts) if part[0] <= raw_s + 1e-3), parts[0])
        return shown_s + raw_s - from_s


def measure(pictures, sounds=()):
    """The timeline of a film.

    Args:
        pictures: (packets, 3) of the picture stream in the order of the file, in seconds: decoding time, which ascends, time, and duration.
        sounds: the same of each sound track.

    Returns:
        Timeline.
    """
    streams = [np.array(rows, float).reshape(-1, 3) for rows in (pictures, *sounds)]
    if not len(streams[0]):
        return Timeline([[(0.0, 0.0)]], [], 0.0, 0.0, 0, _DEFAULT_INTERVAL_S)
    interval_s = _usual_interval_s(streams[0])
    max_gap_s, last_s = max(MAX_GAP_S, 10 * interval_s), streams[0][streams[0][:, 1].argmax(), 2]
    for rows, instead_s in zip(streams, [interval_s] + [0.0] * len(sounds), strict=True):
        rows[:, 2] = np.where((rows[:, 2] > 0) & (rows[:, 2] <= max_gap_s), rows[:, 2], instead_s)
    max_back_s = [max(_MAX_BACK_S, 3 * interval_s)] + [_MAX_BACK_S] * len(sounds)
    split = [_split_backwards(*stream) for stream in zip(streams, max_back_s, strict=True)]
    runs, jumps, ends_s, before_s = [], [], np.full(len(streams), -np.inf), None  # ends_s: shown, of each stream
    for number in range(max(map(len, split))):
        runs.append([])
        for begin_s, end_s, firsts_s, lasts_s in _parts([rows[number] if number < len(rows) else rows[-1][:0] for rows in split], max_gap_s):
            is_in = np.isfinite(firsts_s)
            follows = is_in & np.isfinite(ends_s)
            shown_s = begin_s  # until the first picture
            if np.isfinite(ends_s[0]):
                shown_s = (ends_s - firsts_s + begin_s)[follows].max() if follows.any() else ends_s[0]
            if before_s is not None:
                jumps.append((float(max(shown_s, 0.0)), float(begin_s - before_s)))
            runs[-1].append((float(begin_s), float(shown_s)))
            ends_s[is_in] = (lasts_s + shown_s - begin_s)[is_in]
            before_s, all_end_s = end_s, end_s + shown_s - begin_s
    if last_s > max_gap_s:  # a picture that stands while the sound goes on
        ends_s[0] = max(ends_s[0], min(ends_s[0] - interval_s + last_s, all_end_s))
    return Timeline(runs, jumps, float(ends_s[0]), float(ends_s.max()), len(streams[0]), interval_s)


def _usual_interval_s(pictures):
    steps = np.diff(pictures[:, 0])
    steps = steps[steps > 0] if (steps > 0).any() else pictures[:1, 2]
    usual_s = float(np.median(steps)) if len(steps) else 0.0
    return min(usual_s, _MAX_INTERVAL_S if len(pictures) > 1 else MAX_GAP_S) or _DEFAULT_INTERVAL_S


def _split_backwards(rows, max_back_s):
    """The rows of a stream, split where its times go backwards."""
    if not len(rows):
        return [rows]
    return np.split(rows, 1 + np.flatnonzero(np.diff(rows[:, 0]) < -max_back_s))


def _parts(spans, max_gap_s):
    """Parts of a run: (begin, end, begin of each stream, end of each stream); NaN for a stream that is not in it."""
    owner = np.repeat(np.arange(len(spans)), [len(rows) for rows in spans])
    rows = np.concatenate(spans)
    order = np.argsort(rows[:, 1], kind="stable")
    owner, from_s, until_s = owner[order], rows[order, 1], rows[order, 1] + rows[order, 2]
    gaps = from_s[1:] - np.maximum.accumulate(until_s)[:-1]
    for part in np.split(np.arange(len(rows)), 1 + np.flatnonzero(gaps > max_gap_s)):
        if len(part):
            own = [part[owner[part] == k] for k in range(len(spans))]
            firsts_s = np.array([from_s[rows].min() if len(rows) else np.nan for rows in own])
            lasts_s = np.array([until_s[rows].max() if len(rows) else np.nan for rows in own])
            yield from_s[part].min(), until_s[part].max(), firsts_s, lasts_s
