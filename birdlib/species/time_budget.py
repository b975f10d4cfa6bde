"""Deadline: whether all the soundscapes can be heard in time, and what to leave away when they cannot.

Seconds are those of a clock ``now`` that is handed in, any function that gives ascending seconds. A way to listen costs some seconds
for each minute of audio, measured as it goes; where the projected finish passes the budget, the next, cheaper way of the plan is taken.
"""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

_MARGIN = 0.1  # of the budget, kept for the end: writing, checking, a file that takes longer
_RECENT = 15  # files whose median cost tells what the next will cost


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to listen.

    Attributes:
        what: in words, what was left away last.
        hop_s, shifts_s: as in ``window_scores.parts``.
        denoise: whether sound is denoised as the classifier's training recordings were.
        members: places of those that are asked, see ``members.facts``.
    """

    what: str
    hop_s: float
    shifts_s: tuple
    denoise: bool
    members: tuple


def plan(members, hop_s=0.0, shifts_s=(), denoise=False):
    """Ways to listen, each cheaper than the one before: shifts and overlap go first, then denoising, then members one by one.

    Args:
        members: {place: name}, the cheapest first; that one stays.
        denoise: whether there is any.

    Returns:
        list of ``Way``, the first with everything. After the last there is only the prior.
    """
    ways = [Way("everything", hop_s, tuple(shifts_s), denoise, tuple(members))]
    if hop_s or shifts_s:
        ways.append(dataclasses.replace(ways[-1], what="no test-time shifts, no overlap", hop_s=0.0, shifts_s=()))
    if denoise:
        what = "no denoising, though the classifier learnt from denoised sound"
        ways.append(dataclasses.replace(ways[-1], what=what, denoise=False))
    for place in list(members)[:0:-1]:
        ways.append(dataclasses.replace(ways[-1], what=f"without {members[place]}", members=ways[-1].members[:-1]))
    return ways


def spent_s(since_s):
    """Seconds that a run has taken: since ``since_s`` of ``time.monotonic``, or since the start of this process, where its life counts.

    It counts in a Kaggle session that runs a notebook from its start; an open notebook may have waited for its reader for hours.
    """
    stat = Path("/proc/self/stat")
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch" or not stat.is_file():
        return time.monotonic() - since_s
    began_ticks = int(stat.read_text().rpartition(")")[2].split()[19])  # proc(5): since the machine started
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return max(0.0, up_s - began_ticks / os.sysconf("SC_CLK_TCK"))


class Deadline:
    """The clock of a run over many files.

    Args:
        ways: from ``plan``.
        minutes: of audio in all.
        budget_min: of the whole run.
        spent_s: before now.
        margin: share of the budget that the plan keeps free.
        now: the clock.
    """

    def __init__(self, ways, minutes, budget_min, spent_s=0.0, margin=_MARGIN, now=time.monotonic):
        self.ways, self.minutes, self.budget_s, self.now = ways, minutes, 60.0 * budget_min, now
        self.until_s = (1.0 - margin) * self.budget_s
        self.began_s = now() - spent_s
        self.step, self.n_files, self.n_prior, self.taken = 0, 0, 0, []
        self._costs = {}  # way: [seconds per minute of audio of each file]

    @property
    def way(self):
        """The way to listen to the next file."""
        return self.ways[self.step]

    def spent_s(self):
        """Seconds since the run began."""
        return self.now() - self.began_s

    def cost(self):
        """Seconds for a minute of audio now: the median of recent files; None while no file was heard in this way."""
        costs = self._costs.get(self.step)
        return float(np.median(costs[-_RECENT:])) if costs else None

    def finish_s(self):
        """Projected seconds of the whole run, or None."""
        cost = self.cost()
        return None if cost is None else self.spent_s() + cost * self.minutes

    def expect(self, seconds, minutes):
        """Take note of what a first file cost before the run; it is not counted as heard."""
        self._costs.setdefault(self.step, []).append(seconds / minutes)
        self._turn()

    def heard(self, seconds, minutes):
        """Take note of a file, and turn to the next way where the projection asks for it."""
        self._costs.setdefault(self.step, []).append(seconds / minutes)
        self.n_files += 1
        self.minutes -= minutes
        self._turn()

    def left_out(self, minutes, is_late=True):
        """A file was not heard: there was no time for it, or it is none; it counts no more."""
        self.minutes -= minutes
        self.n_prior += is_late

    def has_time_for(self, minutes):
        """Whether a file of so many minutes can be heard before the budget ends; one of unknown cost may be tried."""
        return self.spent_s() + (self.cost() or 0.0) * minutes < self.until_s

    def sentence(self):
        """What is projected, in words."""
        finish_s, budget_min = self.finish_s(), self.budget_s / 60.0
        if finish_s is None:
            return f"{self.spent_s() / 60.0:.1f} of {budget_min:g} minutes are spent"
        return f"{self.cost():.2f} s per minute of audio: projected to finish at {finish_s / 60.0:.1f} of {budget_min:g} minutes"

    def steps(self):
        """The steps that were taken, in words, a list of str."""
        told = [
            f"{self.ways[step].what}: after {n_files} files, {spent_s / 60.0:.1f} min, finish projected at {finish_s / 60.0:.1f} min"
            for step, n_files, spent_s, finish_s in self.taken
        ]
        return told + [f"the prior: {self.n_prior} files for which there was no time"] * (self.n_prior > 0)

    def _turn(self):
        finish_s = self.finish_s()
        if finish_s > self.until_s and self.step + 1 < len(self.ways):
            self.step += 1
            self.taken.append((self.step, self.n_files, self.spent_s(), finish_s))
