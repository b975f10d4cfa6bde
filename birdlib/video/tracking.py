"""Multi-object tracking: which boxes of a film are the same bird.

A track is meant to hold one bird: where a bird cannot be followed safely, its track ends and another begins, and the
clustering of individuals joins them. Boxes are x, y, width, height in pixels; times are in seconds of the film; tracks
are numbered from 1 within a film, in the order in which they are confirmed.
"""

import array
import dataclasses
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.video import boxes as geometry
from birdlib.video import cuts, reassociation, track_crops

COLUMNS = ["recording_id", "track", "time_s", "x", "y", "width", "height", "score"]  # a row a detection
CROP_COLUMNS = ["recording_id", "track", "time_s", "path", "quality"]
SUMMARY_COLUMNS = [
    "recording_id", "track", "start_s", "end_s", "n_detections", "score", "alone_from_s", "alone_until_s",
]  # fmt: skip
_MIN_ALONE_S = 1.0  # a shorter sound is not attributed
_MAX_FIRST_SCORE = 0.4  # the score that may begin a track is ``min_score``, but at most this
_MIN_MATCH = 0.1  # intersection over union, times the score, of one bird in consecutive images
_MOMENTUM = 0.7  # of a track's running mean of colours
_MIN_FIRM = 0.7  # of the mean score of a track's firm boxes
_STILL_IOU, _STILL_S = 0.6, 1.0  # intersection over union of what does not move; how long a thing is still before a bird comes
_FIELDS = len(COLUMNS) - 2  # numbers of a row


@dataclasses.dataclass(eq=False)
class _Track:
    """A track that goes on. ``number`` is 0 until it is confirmed.

    It lasts from its first to its last firm box. A box with a far lower score is not firm if it stays beside the place of the last firm one:
    it shows what the bird has left, such as a perch. Likewise, what was still and not confirmed before a bird came to it is left out.
    """

    best: track_crops.BestCrops
    min_score: float
    number: int = 0
    n_firm: int = 0
    firm_score: float = 0.0  # mean of the firm boxes
    n_until_firm: int = 0  # rows to the last firm box
    last_firm: reassociation.Observation | None = None
    rows: array.array = dataclasses.field(default_factory=lambda: array.array("d"))  # _FIELDS each
    last: reassociation.Observation | None = None

    def append(self, observation):
        score = float(observation.box[4])
        if not self.number and score >= self.min_score and self._was_still() and geometry.iou(self.last.box, observation.box) < _STILL_IOU:
            self.rows, self.best, self.n_firm, self.firm_score = array.array("d"), track_crops.BestCrops(self.best.n_crops), 0, 0.0
        self.rows.extend([observation.time_s, *(float(value) for value in observation.box)])
        self.best.add(observation.time_s, observation.crop, observation.quality)
        before = self.last
        colours = observation.colours if before is None else _MOMENTUM * before.colours + (1 - _MOMENTUM) * observation.colours
        self.last = dataclasses.replace(observation, colours=colours, crop=None)
        is_strong = score >= _MIN_FIRM * self.firm_score
        if is_strong:
            self.n_firm += 1
            self.firm_score += (score - self.firm_score) / self.n_firm
        n_rows, is_after_weak = len(self.rows) // _FIELDS, before is not None and before is not self.last_firm
        has_moved = is_after_weak and geometry.iou(before.box, observation.box) < _STILL_IOU
        if is_strong or has_moved or geometry.iou(self.last_firm.box, observation.box) >= _STILL_IOU:
            self.n_until_firm, self.last_firm = n_rows, self.last

    def _was_still(self):
        if not self.rows:
            return False
        first, last = np.array(self.rows[:_FIELDS]), np.array(self.rows[-_FIELDS:])
        return last[0] - first[0] >= _STILL_S and geometry.iou(first[1:], last[1:]) >= _STILL_IOU

    def accepts(self, observation):
        """Whether the box that ByteTrack assigns may be this bird: not if it now holds two birds, or a neighbour."""
        return (
            geometry.size_ratio(self.last.box, observation.box) <= reassociation.MAX_SIZE_RATIO
            and reassociation.colour_distance(self.last.colours, observation.colours)
            <= reassociation.MAX_COLOUR_DISTANCE
        )

    def expected(self, time_s, max_gap_s):
        """The last observation, at the place where the bird would be if it had gone on; only over a short gap."""
        gap_s = time_s - self.last.time_s
        if len(self.rows) < 2 * _FIELDS or gap_s > max_gap_s:
            return self.last
        (before_s, *before), (after_s, *after) = np.array(self.rows[-2 * _FIELDS :]).reshape(2, _FIELDS)[:, :5]
        step = (np.add(after[:2], np.divide(after[2:], 2)) - np.add(before[:2], np.divide(before[2:], 2))) / (after_s - before_s)
        box = self.last.box.copy()
        box[:2] += step * gap_s
        return dataclasses.replace(self.last, box=box)

    def is_faint(self, min_detections):
        if len(self.rows) < min_detections * _FIELDS:
            return False
        first, last = np.array(self.rows[:_FIELDS]), np.array(self.rows[-_FIELDS:])
        return geometry.iou(first[1:], last[1:]) < _STILL_IOU

    def is_confirmed(self, min_detections, min_score):
        scores = self.rows[_FIELDS - 1 :: _FIELDS]
        return len(scores) >= min_detections and max(scores) >= min_score


def follow(detections, recording_id, folder, *, rate_hz, n_crops=8, min_score=0.5, min_detections=3, max_gap_s=1.0, faint=None):
    """Track the birds of a film, in memory that does not grow with its length (but for the rows returned).

    Boxes of consecutive images are joined by ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating
    Every Detection Box", 2022). Tracks that end and tracks that begin are then matched by ``reassociation``, and so are
    boxes that hardly overlap from image to image, as those of birds that run or fly. No track goes on over a cut.

    Args:
        detections: iterable of (time_s, image, boxes): (height, width, 3) uint8 RGB, (n, 5) float32 of x, y, width,
            height and score in [0, 1].
        recording_id: of the film.
        folder: of the stage; crops are written to ``crops/<recording_id>/`` in it, those of an earlier run deleted.
        rate_hz: images per second.
        n_crops: at most, per track.
        min_score: of the best box of a track, or the track is dropped. Boxes with lower scores, from 0.1 on, can extend
            a track, as they are often no birds by themselves.
        min_detections: a track of fewer is dropped.
        max_gap_s: within a track.
        faint: list, to which the times are added when tracks begin that are dropped for their scores alone, though they move as birds do.

    Returns:
        tracks: DataFrame of ``COLUMNS``, sorted by track and time.
        crops: DataFrame of ``CROP_COLUMNS``, sorted by track, best first.

    Raises:
        ParameterError: if a number is out of range.
        runtime.FullDiskError: if there is no space for the crops.
    """
    require_sampling(rate_hz, n_crops, min_score)
    if min_detections < 1 or max_gap_s < 0:
        raise runtime.ParameterError("min_detections is positive, max_gap_s is not negative")
    shutil.rmtree(Path(folder) / "crops" / recording_id, ignore_errors=True)
    first_score = min(min_score, _MAX_FIRST_SCORE)
    tracker = _byte_track(first_score)
    live, lost, finished, crop_rows, n_confirmed = {}, [], [], [], 0  # live: by ByteTrack's ids

    def end(track):
        if track.number:
            finished.append((track.number, np.frombuffer(track.rows, np.float64).reshape(-1, _FIELDS)[: track.n_until_firm]))
            written = track_crops.write(track.best.select(track.last_firm.time_s), folder, f"crops/{recording_id}/{track.number:04d}")
            crop_rows.extend((recording_id, track.number, *row) for row in written)
        elif faint is not None and track.is_faint(min_detections):
            faint.append(track.rows[0])

    longest_s = max_gap_s + 0.5 / rate_hz  # times are rounded
    unassigned = []  # observations of the image before: ByteTrack assigns an id from the second detection on
    scenes, scene = cuts.Cuts(), 0
    for time_s, image, boxes in detections:
        if (shown := scenes.add(image)) != scene:
            for track in [*lost, *live.values()]:
                end(track)
            live, lost, unassigned, tracker, scene = {}, [], [], _byte_track(first_score), shown
        for track in [track for track in lost if time_s - track.last.time_s > longest_s + 1 / rate_hz]:
            lost.remove(track)
            end(track)
        observations, assigned = _observe(time_s, image, boxes, tracker)
        for i in [i for i in live if time_s - live[i].last_firm.time_s > longest_s]:
            end(live.pop(i))
        lost += [live.pop(i) for i in list(live) if i not in assigned or not live[i].accepts(assigned[i])]
        begun = {i: [*_pop_first(unassigned, item), item] for i, item in assigned.items() if i not in live}
        ids = [id(observation) for observation in assigned.values()]
        free = [item for item in observations if item.box[4] >= first_score and id(item) not in ids]
        firsts = [first for first, *_ in begun.values()]
        matches = reassociation.match([track.expected(time_s, 1.5 / rate_hz) for track in lost], [*firsts, *free], longest_s)
        continued = {list(begun)[after]: lost[before] for before, after in matches if after < len(firsts)}
        moved = [(lost[before], [free[after - len(firsts)]]) for before, after in matches if after >= len(firsts)]
        free = _without(free, [item for _, items in moved for item in items])
        pairs = [(unassigned[before], free[after]) for before, after in reassociation.match(unassigned, free, 1.5 / rate_hz)]
        moved += [(_Track(track_crops.BestCrops(n_crops), min_score), pair) for pair in pairs]
        lost = _without(lost, list(continued.values()))
        for i, observation in assigned.items():
            if i in begun:
                live[i] = continued.get(i) or _Track(track_crops.BestCrops(n_crops), min_score)
            for item in begun.get(i, [observation]):
                live[i].append(item)
        for track, items in moved:  # faster than ByteTrack follows
            for item in items:
                track.append(item)
            lost += [] if any(track is other for other in lost) else [track]
        for track in [*live.values(), *lost]:
            if not track.number and track.is_confirmed(min_detections, min_score):
                n_confirmed += 1
                track.number = n_confirmed
        unassigned = _without(free, [after for _, after in pairs])
    for track in [*lost, *live.values()]:
        end(track)
    return _track_table(finished, recording_id), _crop_table(crop_rows)


def require_sampling(rate_hz, n_crops, min_score):
    """Raise ParameterError for numbers that ``track`` cannot use; it names them."""
    if not 0 < rate_hz < np.inf or n_crops < 1 or not 0 <= min_score <= 1:
        raise runtime.ParameterError(f"rate_hz is {rate_hz:g}, n_crops {n_crops} and min_score {min_score:g}: they must be positive, min_score at most 1")


def summary(tracks):
    """One row a track.

    Returns:
        DataFrame of ``SUMMARY_COLUMNS``, sorted by recording_id and track: ``score`` is the mean; ``alone_from_s`` and
        ``alone_until_s`` are the longest span of at least ``_MIN_ALONE_S`` that no other track of the film overlaps,
        from its first to its last detection; NaN if there is none.
    """
    grouped = tracks.groupby(["recording_id", "track"], sort=True)
    table = grouped.agg(
        start_s=("time_s", "min"), end_s=("time_s", "max"), n_detections=("time_s", "size"), score=("score", "mean")
    ).reset_index()
    table[["alone_from_s", "alone_until_s"]] = np.nan
    for _, rows in table.groupby("recording_id"):
        for index, row in rows.iterrows():
            others = rows.drop(index)[["start_s", "end_s"]].to_numpy()
            table.loc[index, ["alone_from_s", "alone_until_s"]] = _alone(row["start_s"], row["end_s"], others)
    return table[SUMMARY_COLUMNS]


def must_not_link(tracks):
    """Which pairs of tracks must be two birds, because both are in one image.

    Returns:
        (tracks, tracks) bool, symmetric, aligned with ``summary(tracks)``.
    """
    from scipy import sparse

    track = tracks.groupby(["recording_id", "track"], sort=True).ngroup().to_numpy()
    image = tracks.groupby(["recording_id", "time_s"]).ngroup().to_numpy()
    n_tracks, n_images = (int(number.max()) + 1 if len(number) else 0 for number in (track, image))
    is_in = sparse.csr_array((np.ones(len(track), np.int32), (track, image)), shape=(n_tracks, n_images))
    together = (is_in @ is_in.T).toarray() > 0
    np.fill_diagonal(together, False)
    return together


def write_mot(tracks, path, rate_hz):
    """Write the tracks of one film as ``mot_text``, atomically."""
    with runtime.replacing(path) as temporary:
        temporary.write_text(mot_text(tracks, rate_hz), encoding="utf-8", newline="\n")


def mot_text(tracks, rate_hz):
    """The tracks of one film as the MOT challenge writes them (Leal-Taixé et al., "MOTChallenge 2015", 2015).

    A line a detection, sorted by frame and id, without header: frame (from 1, sampled at ``rate_hz``), id, left, top,
    width, height, score, and -1 three times. Left and top count from 0, as trackers and CVAT take them.
    """
    frames = 1 + np.round(tracks["time_s"] * rate_hz).astype(int)
    table = tracks[["track", "x", "y", "width", "height", "score"]].assign(world_x=-1, world_y=-1, world_z=-1)
    table.insert(0, "frame", frames)
    table = table.sort_values(["frame", "track"])
    return table.to_csv(index=False, header=False, float_format="%.3f", lineterminator="\n")


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
    import supervision

    boxes = np.asarray(boxes, np.float32).reshape(-1, _FIELDS - 1)
    occlusion = geometry.occlusion(boxes)
    observations = [reassociation.observe(time_s, image, *row) for row in zip(boxes, occlusion, strict=True)]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)
    data = {"row": np.arange(len(boxes))}
    detections = supervision.Detections(xyxy=corners, confidence=boxes[:, 4], data=data)
    tracked = tracker.update_with_detections(detections)
    rows = zip(tracked.tracker_id, tracked.data["row"], strict=True) if len(tracked) else ()
    return observations, {int(i): observations[row] for i, row in rows}


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


def _alone(start_s, end_s, others):
    """The longest part of a span that no other span overlaps: (from_s, until_s), or NaN twice."""
    from_s, best = start_s, (np.nan, np.nan)
    longest_s = _MIN_ALONE_S
    for other_start_s, other_end_s in [*sorted(map(tuple, others)), (end_s, end_s)]:
        until_s = min(other_start_s, end_s)
        if until_s - from_s >= longest_s:
            best, longest_s = (from_s, until_s), until_s - from_s
        from_s = max(from_s, other_end_s)
    return best


def _track_table(finished, recording_id):
    numbers = np.concatenate([np.zeros(0, np.int64), *(np.full(len(rows), number) for number, rows in finished)])
    values = np.concatenate([np.zeros((0, _FIELDS)), *(rows for _, rows in finished)])
    table = pd.DataFrame(values, columns=COLUMNS[2:])
    table.insert(0, "track", numbers.astype(np.int64))
    table.insert(0, "recording_id", pd.Series(recording_id, index=table.index, dtype="object"))
    return table.sort_values(["track", "time_s"], ignore_index=True)


def _crop_table(rows):
    table = pd.DataFrame(rows, columns=CROP_COLUMNS).astype({"track": np.int64, "time_s": float, "quality": float})
    return table.sort_values(["track", "quality"], ascending=[True, False], ignore_index=True, kind="stable")
