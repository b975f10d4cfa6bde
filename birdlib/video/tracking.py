"""Multi-object tracking: which boxes of a film are the same bird.

A track is meant to hold one bird: where a bird cannot be followed safely, its track ends and another begins, and the
clustering of individuals joins them. Boxes are x, y, width, height in pixels; times are in seconds of the film; tracks
are numbered from 1 within a film, in the order in which they are confirmed.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.video import frame_counts, track_building, track_crops, track_state

COLUMNS = ["recording_id", "track", *track_state.FIELDS]  # a row a detection
CROP_COLUMNS = ["recording_id", "track", "time_s", "path", "quality"]
SUMMARY_COLUMNS = [
    "recording_id", "track", "start_s", "end_s", "n_detections", "score", "alone_from_s", "alone_until_s",
]  # fmt: skip
_MIN_ALONE_S = 1.0  # a shorter sound is not attributed


def follow(detections, recording_id, folder, *, rate_hz, n_crops=8, min_score=0.5, min_detections=3, max_gap_s=1.0):
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

    Returns:
        tracks: DataFrame of ``COLUMNS``, sorted by track and time.
        crops: DataFrame of ``CROP_COLUMNS``, sorted by track, best first.
        frames: DataFrame of ``frame_counts.COLUMNS``, sorted by time.

    Raises:
        ParameterError: if a number is out of range.
        runtime.FullDiskError: if there is no space for the crops.
    """
    require_sampling(rate_hz, n_crops, min_score)
    if min_detections < 1 or max_gap_s < 0:
        raise runtime.ParameterError("min_detections is positive, max_gap_s is not negative")
    shutil.rmtree(Path(folder) / "crops" / recording_id, ignore_errors=True)
    builder = track_building.TrackBuilder(
        rate_hz=rate_hz, n_crops=n_crops, min_score=min_score, min_detections=min_detections, max_gap_s=max_gap_s
    )
    recorder = frame_counts.Recorder(recording_id)
    finished, crop_rows, faint_s = [], [], []
    for track in builder.build(recorder.record(detections)):
        if track.number:
            finished.append((track.number, track.firm_detections()))
            written = track_crops.write(track.best_crops(), folder, f"crops/{recording_id}/{track.number:04d}")
            crop_rows.extend((recording_id, track.number, *row) for row in written)
        elif track.is_faint(min_detections):
            faint_s.append(track.start_s)
    return _track_table(finished, recording_id), _crop_table(crop_rows), recorder.table(faint_s)


def require_sampling(rate_hz, n_crops, min_score):
    """Raise ParameterError for numbers that ``follow`` cannot use; it names them."""
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
    values = np.concatenate([np.zeros((0, len(track_state.FIELDS))), *(rows for _, rows in finished)])
    table = pd.DataFrame(values, columns=track_state.FIELDS)
    table.insert(0, "track", numbers.astype(np.int64))
    table.insert(0, "recording_id", pd.Series(recording_id, index=table.index, dtype="object"))
    return table.sort_values(["track", "time_s"], ignore_index=True)


def _crop_table(rows):
    table = pd.DataFrame(rows, columns=CROP_COLUMNS).astype({"track": np.int64, "time_s": float, "quality": float})
    return table.sort_values(["track", "quality"], ascending=[True, False], ignore_index=True, kind="stable")
