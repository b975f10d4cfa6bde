"""Track building: the tracks of one film that go on, image by image, until each ends.

Observations are ``reassociation.Observation``; ``assigned`` is a dict of those to which ByteTrack assigns an id, by id, and ``begun`` one of
lists of those that begin with that id. No track goes on over a cut.
"""

import warnings

import numpy as np

from birdlib.video import boxes as geometry
from birdlib.video import reassociation, track_crops, track_state

_MAX_FIRST_SCORE = 0.4  # the score that may begin a track is ``min_score``, but at most this
_MIN_MATCH = 0.1  # intersection over union, times the score, of one bird in consecutive images


class TrackBuilder:
    """The tracks of one film that go on; arguments as of ``tracking.follow``.

    A track is live while ByteTrack assigns boxes to it, then lost until another box is found to be the same bird or it ends.
    """

    def __init__(self, *, rate_hz, n_crops, min_score, min_detections, max_gap_s):
        self._n_crops, self._min_score, self._min_detections = n_crops, min_score, min_detections
        self._first_score = min(min_score, _MAX_FIRST_SCORE)
        self._next_s = 1.5 / rate_hz  # to the next image at most; times are rounded
        self._longest_s = max_gap_s + 0.5 / rate_hz
        self._longest_lost_s = self._longest_s + 1 / rate_hz
        self._n_confirmed, self._scene = 0, 0
        self._begin_scene()

    def build(self, detections):
        """Yield each ``track_state.Track`` when it ends, confirmed or not; detections as of ``frame_counts.Recorder.record``."""
        for scene, time_s, image, boxes in detections:
            yield from self._end_scene(scene)
            yield from self._end_lost(time_s)
            yield from self._end_without_firm_box(time_s)
            self._add(time_s, *_observe(time_s, image, boxes, self._tracker))
        yield from self._all()

    def _begin_scene(self):
        self._live, self._lost = {}, []  # live: by ByteTrack's ids
        self._unassigned = []  # observations of the image before: ByteTrack assigns an id from the second detection on
        self._tracker = _byte_track(self._first_score)

    def _all(self):
        return [*self._lost, *self._live.values()]

    # Tracks that end

    def _end_scene(self, scene):
        """All tracks, if the image is the first of another scene."""
        if scene == self._scene:
            return []
        self._scene, ended = scene, self._all()
        self._begin_scene()
        return ended

    def _end_lost(self, time_s):
        """The tracks that have been lost for too long."""
        ended = [track for track in self._lost if time_s - track.last.time_s > self._longest_lost_s]
        self._lost = _without(self._lost, ended)
        return ended

    def _end_without_firm_box(self, time_s):
        """The live tracks whose last firm box is too long ago."""
        ids = [i for i, track in self._live.items() if time_s - track.last_firm.time_s > self._longest_s]
        return [self._live.pop(i) for i in ids]

    # Tracks that begin and go on

    def _add(self, time_s, observations, assigned):
        """Begin tracks and go on with them, by the observations of an image."""
        self._lose(assigned)
        begun = {i: [*_pop_first(self._unassigned, item), item] for i, item in assigned.items() if i not in self._live}
        free = self._free(observations, assigned)
        continued, moved = self._reassociate(begun, free, time_s)
        free = _without(free, [item for _, item in moved])
        pairs = self._pair_with_unassigned(free)
        self._append_assigned(assigned, begun, continued)
        self._append_fast(moved, pairs)
        self._confirm()
        self._unassigned = _without(free, [after for _, after in pairs])

    def _lose(self, assigned):
        """Live tracks are lost if they have no box in the image, or one that is not the same bird."""
        ids = [i for i, track in self._live.items() if i not in assigned or not track.accepts(assigned[i])]
        self._lost += [self._live.pop(i) for i in ids]

    def _free(self, observations, assigned):
        """The observations without an id whose scores may begin a track."""
        return [item for item in _without(observations, assigned.values()) if item.box[4] >= self._first_score]

    def _reassociate(self, begun, free, time_s):
        """Which lost tracks go on: ({id: track} with what begins, [(track, observation)] with what is free)."""
        ids, firsts = list(begun), [first for first, *_ in begun.values()]
        expected = [track.expected(time_s, self._next_s) for track in self._lost]
        continued, moved = {}, []
        for before, after in reassociation.match(expected, [*firsts, *free], self._longest_s):
            if after < len(firsts):
                continued[ids[after]] = self._lost[before]
            else:
                moved.append((self._lost[before], free[after - len(firsts)]))
        return continued, moved

    def _pair_with_unassigned(self, free):
        """Pairs of one bird in the image before and in this one, that ByteTrack does not assign as their boxes hardly overlap."""
        return [(self._unassigned[before], free[after]) for before, after in reassociation.match(self._unassigned, free, self._next_s)]

    def _append_assigned(self, assigned, begun, continued):
        """Add the boxes with ids to their tracks: live ones, lost ones that are continued, or new ones."""
        self._lost = _without(self._lost, continued.values())
        for i, observation in assigned.items():
            if i in begun:
                self._live[i] = continued.get(i) or self._new_track()
            for item in begun.get(i, [observation]):
                self._live[i].append(item)

    def _append_fast(self, moved, pairs):
        """Add the boxes of birds that are faster than ByteTrack follows; their tracks stay lost, to be matched again."""
        for track, item in moved:
            track.append(item)
        for pair in pairs:
            track = self._new_track()
            for item in pair:
                track.append(item)
            self._lost.append(track)

    def _new_track(self):
        return track_state.Track(track_crops.BestCrops(self._n_crops), self._min_score)

    def _confirm(self):
        """Number the tracks that are confirmed by now."""
        for track in [*self._live.values(), *self._lost]:
            if not track.number and track.is_confirmed(self._min_detections, self._min_score):
                self._n_confirmed += 1
                track.number = self._n_confirmed


def _byte_track(first_score):
    """A tracker that bridges no gaps, which ``reassociation`` does."""
    import supervision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision 0.31 moves ByteTrack to a package that requires another OpenCV
        return supervision.ByteTrack(
            track_activation_threshold=max(0.0, first_score - 0.1),  # it begins tracks at 0.1 more
            lost_track_buffer=1,
            minimum_matching_threshold=1.0 - _MIN_MATCH,
            frame_rate=30,  # so that the buffer counts images
        )


def _observe(time_s, image, boxes, tracker):
    """The ``Observation`` of every box, and a dict of those to which ByteTrack assigns an id."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 5)
    occlusion = geometry.occlusion(boxes)
    observations = [reassociation.observe(time_s, image, *row) for row in zip(boxes, occlusion, strict=True)]
    return observations, {i: observations[row] for i, row in _assign_ids(boxes, tracker)}


def _assign_ids(boxes, tracker):
    """[(ByteTrack's id, row of the box)]."""
    import supervision

    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)
    data = {"row": np.arange(len(boxes))}
    tracked = tracker.update_with_detections(supervision.Detections(xyxy=corners, confidence=boxes[:, 4], data=data))
    return [(int(i), row) for i, row in zip(tracked.tracker_id, tracked.data["row"], strict=True)] if len(tracked) else []


def _without(items, left_out):
    """The items that are none of others; by identity, for arrays are in them."""
    ids = {id(item) for item in left_out}
    return [item for item in items if id(item) not in ids]


def _pop_first(unassigned, observation):
    """The observation that most overlaps that of the next image, taken out of ``unassigned``, in a list; or none."""
    overlaps = [geometry.iou(before.box, observation.box) for before in unassigned]
    if not overlaps or max(overlaps) < reassociation.MIN_IOU:
        return []
    return [unassigned.pop(int(np.argmax(overlaps)))]
