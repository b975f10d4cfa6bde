"""The state of a track that goes on: what is kept of its observations, and where the bird is expected next.

Observations are ``reassociation.Observation``; times must ascend.
"""

import array
import dataclasses

import numpy as np

from birdlib.video import boxes as geometry
from birdlib.video import reassociation, track_crops

FIELDS = ["time_s", "x", "y", "width", "height", "score"]  # numbers of a detection
_N_FIELDS = len(FIELDS)
_MOMENTUM = 0.7  # of a track's running mean of colours
_MIN_FIRM = 0.7  # of the mean score of a track's firm boxes
_STILL_IOU, _STILL_S = 0.6, 1.0  # intersection over union of what does not move; how long a thing is still before a bird comes


@dataclasses.dataclass(eq=False)
class Track:
    """A track that goes on. ``number`` is 0 until it is confirmed.

    It lasts from its first to its last firm box. A box with a far lower score is not firm if it stays beside the place of the last firm one:
    it shows what the bird has left, such as a perch. Likewise, what was still and not confirmed before a bird came to it is left out.
    """

    best: track_crops.BestCrops
    min_score: float
    number: int = 0
    n_firm: int = 0
    firm_score: float = 0.0  # mean of the firm boxes
    n_until_firm: int = 0  # detections to the last firm box
    last_firm: reassociation.Observation | None = None
    values: array.array = dataclasses.field(default_factory=lambda: array.array("d"))  # _N_FIELDS a detection
    last: reassociation.Observation | None = None

    @property
    def start_s(self):
        """Time of the first detection."""
        return self.values[0]

    @property
    def n_detections(self):
        """Firm or not."""
        return len(self.values) // _N_FIELDS

    def append(self, observation):
        """Add the bird in the next image."""
        if self._comes_to_a_thing(observation):
            self._leave_out_thing()
        self.values.extend([observation.time_s, *(float(value) for value in observation.box)])
        self.best.add(observation.time_s, observation.crop, observation.quality)
        before, self.last = self.last, self._with_mean_colours(observation)
        is_strong = self._update_firm_score(float(observation.box[4]))
        if is_strong or self._has_moved(before) or geometry.iou(self.last_firm.box, observation.box) >= _STILL_IOU:
            self.n_until_firm, self.last_firm = self.n_detections, self.last

    def accepts(self, observation):
        """Whether the box that ByteTrack assigns may be this bird: not if it now holds two birds, or a neighbour."""
        return (
            geometry.size_ratio(self.last.box, observation.box) <= reassociation.MAX_SIZE_RATIO
            and reassociation.colour_distance(self.last.colours, observation.colours)
            <= reassociation.MAX_COLOUR_DISTANCE
        )

    def expected(self, time_s, max_gap_s):
        """The last observation, at the position where the bird would be if it had gone on; only over a short gap."""
        gap_s = time_s - self.last.time_s
        if self.n_detections < 2 or gap_s > max_gap_s:
            return self.last
        (before_s, *before), (after_s, *after) = np.array(self.values[-2 * _N_FIELDS :]).reshape(2, _N_FIELDS)[:, :5]
        step = (np.add(after[:2], np.divide(after[2:], 2)) - np.add(before[:2], np.divide(before[2:], 2))) / (after_s - before_s)
        box = self.last.box.copy()
        box[:2] += step * gap_s
        return dataclasses.replace(self.last, box=box)

    def is_faint(self, min_detections):
        """Whether it has enough detections and moves, as birds do."""
        return self.n_detections >= min_detections and self._first_to_last_iou() < _STILL_IOU

    def is_confirmed(self, min_detections, min_score):
        """Whether it has enough detections, one of them with a sufficient score."""
        return self.n_detections >= min_detections and max(self.values[_N_FIELDS - 1 :: _N_FIELDS]) >= min_score

    def firm_detections(self):
        """(detections, fields) float64: ``FIELDS`` up to the last firm box."""
        return np.frombuffer(self.values, np.float64).reshape(-1, _N_FIELDS)[: self.n_until_firm]

    def best_crops(self):
        """``BestCrops.select`` up to the last firm box."""
        return self.best.select(self.last_firm.time_s)

    def _comes_to_a_thing(self, observation):
        """Whether the track has shown a still thing until now, and this is a bird that came to it."""
        is_bird = not self.number and float(observation.box[4]) >= self.min_score
        return is_bird and self._was_still() and geometry.iou(self.last.box, observation.box) < _STILL_IOU

    def _leave_out_thing(self):
        self.values, self.best = array.array("d"), track_crops.BestCrops(self.best.n_crops)
        self.n_firm, self.firm_score = 0, 0.0

    def _was_still(self):
        return self.n_detections > 0 and self.values[-_N_FIELDS] - self.start_s >= _STILL_S and self._first_to_last_iou() >= _STILL_IOU

    def _first_to_last_iou(self):
        first, last = np.array(self.values[:_N_FIELDS]), np.array(self.values[-_N_FIELDS:])
        return geometry.iou(first[1:], last[1:])

    def _with_mean_colours(self, observation):
        """The observation with the running mean of the colours, without its crop, which ``best`` keeps if it is good."""
        colours = observation.colours if self.last is None else _MOMENTUM * self.last.colours + (1 - _MOMENTUM) * observation.colours
        return dataclasses.replace(observation, colours=colours, crop=None)

    def _update_firm_score(self, score):
        """Whether the score is firm, which then counts for the mean."""
        is_strong = score >= _MIN_FIRM * self.firm_score
        if is_strong:
            self.n_firm += 1
            self.firm_score += (score - self.firm_score) / self.n_firm
        return is_strong

    def _has_moved(self, before):
        """Whether the last observation is elsewhere than the one before, which was not firm."""
        is_after_weak = before is not None and before is not self.last_firm
        return is_after_weak and geometry.iou(before.box, self.last.box) < _STILL_IOU
