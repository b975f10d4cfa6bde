"""Tracks: which boxes of a film are one bird that moves.

A track never knowingly holds two birds. Where a bird cannot be followed for sure, its track ends and another begins:
that both are one bird is for the clustering to find. Boxes are x, y, width, height in pixels; times are in seconds of
the film; tracks are numbered from 1 within a film, by when they are sure to be there.
"""

import array
import dataclasses
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.video import reassociation, track_crops

COLUMNS = ["recording_id", "track", "time_s", "x", "y", "width", "height", "score"]  # a detection each
CROP_COLUMNS = ["recording_id", "track", "time_s", "path", "quality"]
SUMMARY_COLUMNS = [
    "recording_id", "track", "start_s", "end_s", "n_detections", "score", "alone_from_s", "alone_until_s",
]  # fmt: skip
_LEAST_ALONE_S = 1.0  # a shorter sound is not attributed
FAINT = 0.4  # the least score of a box that may be the first of a track
_LEAST_OVERLAP = 0.1  # intersection over union, times the score, of one bird in consecutive pictures
_KEPT = 0.7  # of how a bird has looked before, in how it looks now
_FIELDS = len(COLUMNS) - 2  # numbers of a row


@dataclasses.dataclass(eq=False)
class _Track:
    """One that goes on. ``number`` is 0 until it is sure to be one."""

    best: track_crops.Best
    number: int = 0
    rows: array.array = dataclasses.field(default_factory=lambda: array.array("d"))  # _FIELDS each
    last: reassociation.Sight | None = None


def follow(detections, recording_id, folder, *, rate_hz, n_crops=8, min_score=0.5, min_detections=3, max_gap_s=1.0):
    """Follow the birds of a film, in memory that does not grow with its length (but for the rows returned).

    Boxes of consecutive pictures are joined by ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating
    Every Detection Box", 2022). Where a bird vanishes and one appears that it could be, by place, size and colours, the
    two are one track: one to one, and only where no other pair would do nearly as well. A bird that vanishes at the
    edge of the picture has left.

    Args:
        detections: iterable of (time_s, image, boxes): (height, width, 3) uint8 RGB, (n, 5) float32 of x, y, width,
            height and score in [0, 1].
        recording_id: of the film.
        folder: of the stage; crops go to ``crops/<recording_id>/`` in it, and those of an earlier run go.
        rate_hz: pictures per second.
        n_crops: the most of a track.
        min_score: of the surest box of a track, or the track is dropped: fainter boxes are often no birds, but go on
            with one. None below 0.1 is looked at.
        min_detections: a track of fewer is dropped.
        max_gap_s: for which a bird may be unseen within a track.

    Returns:
        tracks: DataFrame of ``COLUMNS``, sorted by track and time.
        crops: DataFrame of ``CROP_COLUMNS``, sorted by track, best first.

    Raises:
        ValueError: if a number makes no sense.
        runtime.FullDiskError: if there is no space for the crops.
    """
    if rate_hz <= 0 or n_crops < 1 or min_detections < 1 or max_gap_s < 0:
        raise ValueError("rate_hz, n_crops and min_detections are positive, max_gap_s is not negative")
    shutil.rmtree(Path(folder) / "crops" / recording_id, ignore_errors=True)
    tracker, best = _byte_track(min(min_score, FAINT)), lambda: track_crops.Best(n_crops)
    live, waiting, finished, crop_rows, n_sure = {}, [], [], [], 0  # live: by ByteTrack's names; waiting: not in sight

    def end(track):
        if track.number:
            finished.append((track.number, np.frombuffer(track.rows, np.float64).reshape(-1, _FIELDS)))
            written = track_crops.write(track.best.chosen(), folder, f"crops/{recording_id}/{track.number:04d}")
            crop_rows.extend((recording_id, track.number, *row) for row in written)

    longest_s = max_gap_s + 0.5 / rate_hz  # times are rounded
    unnamed = []  # sights of the picture before that may be the first of a bird: ByteTrack waits for the second
    for time_s, image, boxes in detections:
        over = [track for track in waiting if time_s - track.last.time_s > longest_s + 1 / rate_hz]
        waiting = [track for track in waiting if track not in over]
        for track in over:
            end(track)
        sights, named = _sights(time_s, image, boxes, tracker)
        waiting += [live.pop(name) for name in list(live) if not _goes_on(live[name], named.get(name))]
        begun = {name: [*_take_first(unnamed, sight), sight] for name, sight in named.items() if name not in live}
        paired = reassociation.pairs(
            [track.last for track in waiting], [first for first, *_ in begun.values()], longest_s
        )
        going_on = {list(begun)[after]: waiting[before] for before, after in paired}
        waiting = [track for track in waiting if track not in going_on.values()]
        for name, sight in named.items():
            if name in begun:
                live[name] = going_on.get(name) or _Track(best())
            for one in begun.get(name, [sight]):
                _extend(live[name], one)
            if not live[name].number and _is_sure(live[name], min_detections, min_score):
                n_sure += 1
                live[name].number = n_sure
        taken = [id(sight) for sight in named.values()]
        unnamed = [sight for sight in sights if sight.box[4] >= min(min_score, FAINT) and id(sight) not in taken]
    for track in [*waiting, *live.values()]:
        end(track)
    return _table(finished, recording_id), _crop_table(crop_rows)


def summary(tracks):
    """One row a track.

    Returns:
        DataFrame of ``SUMMARY_COLUMNS``, sorted by recording_id and track: ``score`` is the mean; ``alone_from_s`` and
        ``alone_until_s`` are the longest span of at least ``_LEAST_ALONE_S`` in which no other track of the film is
        there, NaN if there is none. A track is there from its first to its last detection.
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
    """Which tracks are surely two birds, because both are in one picture.

    Returns:
        (tracks, tracks) bool, symmetric, aligned with ``summary(tracks)``.
    """
    from scipy import sparse

    track = tracks.groupby(["recording_id", "track"], sort=True).ngroup().to_numpy()
    picture = tracks.groupby(["recording_id", "time_s"]).ngroup().to_numpy()
    n_tracks, n_pictures = (int(number.max()) + 1 if len(number) else 0 for number in (track, picture))
    is_in = sparse.csr_array((np.ones(len(track), np.int32), (track, picture)), shape=(n_tracks, n_pictures))
    together = (is_in @ is_in.T).toarray() > 0
    np.fill_diagonal(together, False)
    return together


def _to_mot(tracks, rate_hz):
    """The tracks of one film as the MOT challenge writes them (Leal-Taixé et al., "MOTChallenge 2015", 2015).

    Returns:
        DataFrame: ``frame`` (from 1, of pictures sampled at ``rate_hz``), ``id``, ``bb_left, bb_top, bb_width,
        bb_height``, ``conf``, and ``x, y, z``, which are -1; sorted by frame and id.
    """
    frames = 1 + np.round(tracks["time_s"] * rate_hz).astype(int)
    table = pd.DataFrame(
        {"frame": frames, "id": tracks["track"], "bb_left": tracks["x"], "bb_top": tracks["y"],
         "bb_width": tracks["width"], "bb_height": tracks["height"], "conf": tracks["score"], "x": -1, "y": -1, "z": -1}
    )  # fmt: skip
    return table.sort_values(["frame", "id"], ignore_index=True)


def write_mot(tracks, path, rate_hz):
    """Write ``_to_mot`` as text, a line a detection and no header, whole or not at all."""
    with runtime.replacing(path) as temporary:
        _to_mot(tracks, rate_hz).to_csv(temporary, index=False, header=False, float_format="%.3f", lineterminator="\n")


def _byte_track(first_score):
    """It is asked for what is sure only: gaps of more than one picture are bridged here."""
    import supervision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision 0.31 will leave it to a package that wants another OpenCV
        return supervision.ByteTrack(
            track_activation_threshold=max(0.0, first_score - 0.1),  # which begins tracks at 0.1 more
            lost_track_buffer=1,
            minimum_matching_threshold=1.0 - _LEAST_OVERLAP,
            frame_rate=30,  # so that the buffer counts pictures
        )


def _sights(time_s, image, boxes, tracker):
    """All ``track_bridges.Sight`` of a picture, and a dict of those that ByteTrack has a name for."""
    import supervision

    boxes = np.asarray(boxes, np.float32).reshape(-1, _FIELDS - 1)
    hidden = reassociation.hidden(boxes)
    sights = [reassociation.sight(time_s, image, *row) for row in zip(boxes, hidden, strict=True)]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)
    data = {"row": np.arange(len(boxes))}
    detections = supervision.Detections(xyxy=corners, confidence=boxes[:, 4], data=data)
    followed = tracker.update_with_detections(detections)
    if not len(followed):
        return sights, {}
    return sights, {int(name): sights[row] for name, row in zip(followed.tracker_id, followed.data["row"], strict=True)}


def _goes_on(track, sight):
    """Whether ByteTrack's box may be the track's: not if it now holds two birds, or a bird that stood close to it."""
    return (
        sight is not None
        and reassociation.change(track.last.box, sight.box) <= reassociation.LARGEST_CHANGE
        and reassociation.difference(track.last.colours, sight.colours) <= reassociation.SIMILAR
    )


def _is_sure(track, min_detections, min_score):
    scores = track.rows[_FIELDS - 1 :: _FIELDS]
    return len(scores) >= min_detections and max(scores) >= min_score


def _take_first(unnamed, sight):
    """The sight, taken out of ``unnamed``, that most overlaps one of the next picture, in a list; or none."""
    overlaps = [reassociation.overlap(before.box, sight.box) for before in unnamed]
    if not overlaps or max(overlaps) < reassociation.SAME_PLACE:
        return []
    return [unnamed.pop(int(np.argmax(overlaps)))]


def _extend(track, sight):
    track.rows.extend([sight.time_s, *(float(value) for value in sight.box)])
    track.best.offer(sight.time_s, sight.crop, sight.quality)
    before = sight.colours if track.last is None else track.last.colours
    track.last = dataclasses.replace(sight, colours=_KEPT * before + (1 - _KEPT) * sight.colours, crop=None)


def _alone(start_s, end_s, others):
    """The longest part of a span that no other span touches: (from_s, until_s), or NaN twice."""
    from_s, best = start_s, (np.nan, np.nan)
    longest_s = _LEAST_ALONE_S
    for other_start_s, other_end_s in [*sorted(map(tuple, others)), (end_s, end_s)]:
        until_s = min(other_start_s, end_s)
        if until_s - from_s >= longest_s:
            best, longest_s = (from_s, until_s), until_s - from_s
        from_s = max(from_s, other_end_s)
    return best


def _table(finished, recording_id):
    numbers = np.concatenate([np.zeros(0, np.int64), *(np.full(len(rows), number) for number, rows in finished)])
    values = np.concatenate([np.zeros((0, _FIELDS)), *(rows for _, rows in finished)])
    table = pd.DataFrame(values, columns=COLUMNS[2:])
    table.insert(0, "track", numbers.astype(np.int64))
    table.insert(0, "recording_id", pd.Series(recording_id, index=table.index, dtype="object"))
    return table.sort_values(["track", "time_s"], ignore_index=True)


def _crop_table(rows):
    table = pd.DataFrame(rows, columns=CROP_COLUMNS).astype({"track": np.int64, "time_s": float, "quality": float})
    return table.sort_values(["track", "quality"], ascending=[True, False], ignore_index=True, kind="stable")
