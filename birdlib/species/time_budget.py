"""Time budget: whether all soundscapes can be predicted in time, and what to drop when they cannot.

Seconds are those of a clock ``now`` that is handed in, any function that gives ascending seconds. The cost of an inference config, in
seconds per minute of audio, is measured as it goes; where the projected finish exceeds the budget, the next, cheaper config is taken.
"""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

_MARGIN = 0.1  # of the budget, kept for the end: writing, checking, a file that takes longer
_N_RECENT = 15  # files whose median cost is the expected cost of the next


@dataclasses.dataclass(frozen=True)
class InferenceConfig:
    """How soundscapes are predicted.

    Attributes:
        description: in words, what was dropped last.
        hop_s, shifts_s: as in ``smoothing.spans``.
        denoise: whether sound is denoised as the classifier's training recordings were.
        members: ids of the members, see ``inference.load_config``.
    """

    description: str
    hop_s: float
    shifts_s: tuple
    denoise: bool
    members: tuple


def plan(members, hop_s=0.0, shifts_s=(), denoise=False):
    """Inference configs, each cheaper than the one before: shifts and overlap are dropped first, then denoising, then members one by one.

    Args:
        members: {member_id: name}, in the order in which they are kept; the first is never dropped.
        denoise: whether the members use denoising.

    Returns:
        list of ``InferenceConfig``, the first with everything. After the last there is only the prior.
    """
    configs = [InferenceConfig("everything", hop_s, tuple(shifts_s), denoise, tuple(members))]
    if hop_s or shifts_s:
        configs.append(dataclasses.replace(configs[-1], description="no test-time shifts, no overlap", hop_s=0.0, shifts_s=()))
    if denoise:
        description = "no denoising, though the classifier was trained on denoised sound"
        configs.append(dataclasses.replace(configs[-1], description=description, denoise=False))
    for member_id in list(members)[:0:-1]:
        fewer = configs[-1].members[:-1]
        configs.append(dataclasses.replace(configs[-1], description=f"without {members[member_id]}", members=fewer))
    return configs


def spent_s(since_s):
    """Seconds that a run has taken: since ``since_s`` of ``time.monotonic``, or on Kaggle since the start of this process.

    The life of the process counts in a Kaggle session that runs a notebook from its start; an open notebook may have been idle for hours.
    """
    stat = Path("/proc/self/stat")
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch" or not stat.is_file():
        return time.monotonic() - since_s
    began_ticks = int(stat.read_text().rpartition(")")[2].split()[19])  # proc(5): since the machine started
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return max(0.0, up_s - began_ticks / os.sysconf("SC_CLK_TCK"))


class TimeBudget:
    """The time budget of a run over many files.

    Args:
        configs: from ``plan``.
        minutes: of audio in all.
        budget_min: of the whole run.
        spent_s: before now.
        margin: share of the budget that is kept free.
        now: the clock.
    """

    def __init__(self, configs, minutes, budget_min, spent_s=0.0, margin=_MARGIN, now=time.monotonic):
        self.configs, self.minutes, self.budget_s, self.now = configs, minutes, 60.0 * budget_min, now
        self.until_s = (1.0 - margin) * self.budget_s
        self.began_s = now() - spent_s
        self.step, self.n_files, self.n_prior, self._taken = 0, 0, 0, []
        self._costs = {}  # step: [seconds per minute of audio of each file]

    @property
    def config(self):
        """The inference config of the next file."""
        return self.configs[self.step]

    def spent_s(self):
        """Seconds since the run began."""
        return self.now() - self.began_s

    def cost(self):
        """Seconds per minute of audio: the median of recent files; None while no file had this config."""
        costs = self._costs.get(self.step)
        return float(np.median(costs[-_N_RECENT:])) if costs else None

    def finish_s(self):
        """Projected seconds of the whole run, or None."""
        cost = self.cost()
        return None if cost is None else self.spent_s() + cost * self.minutes

    def expect(self, seconds, minutes):
        """Record the cost of a file that was timed before the run; it does not count as done."""
        self._costs.setdefault(self.step, []).append(seconds / minutes)
        self._update()

    def add(self, seconds, minutes):
        """Record a file, and take the next config where the projection exceeds the budget."""
        self._costs.setdefault(self.step, []).append(seconds / minutes)
        self.n_files += 1
        self.minutes -= minutes
        self._update()

    def skip(self, minutes, is_late=True):
        """Record a file that needs no more time: ``is_late`` if there was none left for it."""
        self.minutes -= minutes
        self.n_prior += is_late

    def has_time_for(self, minutes):
        """Whether a file of so many minutes fits into the budget; at unknown cost it may be tried."""
        return self.spent_s() + (self.cost() or 0.0) * minutes < self.until_s

    def describe(self):
        """The projection in words."""
        finish_s, budget_min = self.finish_s(), self.budget_s / 60.0
        if finish_s is None:
            return f"{self.spent_s() / 60.0:.1f} of {budget_min:g} minutes are spent"
        return f"{self.cost():.2f} s per minute of audio: projected to finish at {finish_s / 60.0:.1f} of {budget_min:g} minutes"

    def steps(self):
        """What was dropped, in words, a list of str."""
        steps = [
            f"{self.configs[step].description}: after {n_files} files, {spent_s / 60.0:.1f} min, finish projected at {finish_s / 60.0:.1f} min"
            for step, n_files, spent_s, finish_s in self._taken
        ]
        return steps + [f"the prior: {self.n_prior} files for which there was no time"] * (self.n_prior > 0)

    def _update(self):
        finish_s = self.finish_s()
        if finish_s > self.until_s and self.step + 1 < len(self.configs):
            self.step += 1
            self._taken.append((self.step, self.n_files, self.spent_s(), finish_s))
