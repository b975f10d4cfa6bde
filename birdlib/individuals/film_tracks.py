"""Tracks of the birds of films, kept until the film or an option changes, and their annotation.

A film is a row of the split table with ``video_path``; a photo is a film of one frame. ``tracks`` is a DataFrame of
``tracking.COLUMNS``, ``summary`` is ``tracking.summary`` of it, one row a track.
"""

import functools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import resume, runtime
from birdlib.metrics.identity import UNKNOWN
from birdlib.video import annotations, frame_counts, kinds, tracking
from birdlib.video import images as video_images
from birdlib.video import io as video_io

_RECIPE = 2  # of tracking; other tracks are made again
_MAX_EMBEDDED_BYTES = 8_000_000  # of a film in a notebook


def select_films(splits):
    """The films of a split table."""
    return splits[splits["video_path"] != ""].drop_duplicates("recording_id").reset_index(drop=True)


def select_portraits(splits):
    """The photos of named birds of a split table, as films of one frame."""
    is_portrait = (splits["image_path"] != "") & (splits["individual_id"] != "") & (splits["video_path"] == "")
    portraits = splits[is_portrait].drop_duplicates("recording_id").reset_index(drop=True)
    return portraits.assign(video_path=portraits["image_path"], start_s=np.nan, end_s=np.nan, is_photo=True)


def track_films(films, root, detector, folder, **options):
    """Detect the birds of films and track them.

    Args:
        films, root, detector, folder, options: as in ``track_each``.

    Returns:
        (tracks, crops, skipped): DataFrames of ``tracking.COLUMNS`` and ``tracking.CROP_COLUMNS``; the skipped table's (path, reason), also of
        films that were used in spite of a flaw.
    """
    found, skipped = track_each(films, root, detector, folder, **options)
    nothing = pd.DataFrame(columns=tracking.COLUMNS), pd.DataFrame(columns=tracking.CROP_COLUMNS)
    tracks, crops = zip(nothing, *found.values(), strict=True)
    return concatenate(tracks), concatenate(crops), skipped


def track_each(films, root, detector, folder, *, rate_hz=5.0, n_crops=8, min_score=0.5, min_detections=3, max_gap_s=1.0):
    """Detect the birds of films and track them, film by film.

    Args:
        films: rows of the split table: ``recording_id, video_path, start_s, end_s``; and ``is_photo``, where some are photos.
        root: folder of the paths.
        detector: from ``detectors.load``.
        folder: of the stage; tracks go to ``tracks/``, as MOT text too, with the boxes of each frame for ``read_frames``, crops to ``crops/``.
        rate_hz: sampled frames per second.
        n_crops, min_score, min_detections, max_gap_s: as in ``tracking.follow``.

    Returns:
        (found, skipped): {recording_id: (tracks, crops)} of the films that could be read, as of ``tracking.follow``; skipped as of
        ``track_films``.
    """
    options = {"n_crops": n_crops, "min_score": min_score, "min_detections": min_detections, "max_gap_s": max_gap_s}
    tasks, skipped = {}, []
    for film in films.itertuples():
        try:
            digest = kinds.digest_file(root / film.video_path)
        except kinds.MediaError as error:
            skipped.append((film.video_path, error.reason))
            continue
        tasks[film.recording_id] = {
            "recording_id": film.recording_id, "path": runtime.printable(film.video_path), "digest": digest,
            "start_s": 0.0 if pd.isna(film.start_s) else float(film.start_s), "end_s": None if pd.isna(film.end_s) else float(film.end_s),
            "detector_key": detector.key, "rate_hz": rate_hz, "options": options, "recipe": _RECIPE, "is_photo": bool(getattr(film, "is_photo", False)),
        }  # fmt: skip
    (folder / "tracks").mkdir(parents=True, exist_ok=True)
    path_of = dict(zip(films["recording_id"], films["video_path"], strict=True))
    follow = functools.partial(_follow, root, folder, detector, path_of)
    rows = resume.map_resumable(follow, tasks, folder / ".films.jsonl", functools.partial(_is_whole, folder), desc="films")
    found = {}
    for name, row in rows.items():
        path = path_of[name]
        if "skipped_reason" in row:
            skipped.append((path, row["skipped_reason"].removeprefix(f"{runtime.printable(root / path)}: ")))
            continue
        skipped += [(path, note) for note in row["notes"]]
        found[name] = tuple(pd.read_parquet(file) for file in _files(folder, name)[:2])
    return found, skipped


def read_frames(folder, recording_ids):
    """The boxes of each frame of films, where ``track_each`` could read them: DataFrame of ``frame_counts.COLUMNS``."""
    files = [file for file in (_files(folder, name)[2] for name in recording_ids) if file.is_file()]
    return frame_counts.typed(concatenate([pd.DataFrame(columns=frame_counts.COLUMNS), *(pd.read_parquet(file) for file in files)]))


def concatenate(tables):
    """One table of several with the same columns; the first gives their types where none has a row."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def labels_and_constraints(summary, tracks, splits):
    """What the manifest and the films tell of tracks.

    Args:
        splits: the split table, with ``species`` and ``individual_id``.

    Returns:
        (names, must_not_link): (tracks,) str, the individual of a film that is named after it, ``""`` where unknown and in a film that
        shows two birds at once; (tracks, tracks) bool: surely two birds, because they are in one frame or of two species.
    """
    columns = splits.drop_duplicates("recording_id").set_index("recording_id")
    must_not_link = tracking.must_not_link(tracks)
    films = summary["recording_id"].to_numpy()
    shared = {film for film in set(films) if must_not_link[np.ix_(films == film, films == film)].any()}
    ids, species = columns["individual_id"].to_dict(), columns["species"].to_dict()
    names = np.array(["" if film in shared else ids.get(film, "") for film in films], dtype=object)
    species = np.array([species.get(film, "") for film in films], dtype=object)
    return names, must_not_link | ((species[:, None] != species) & (species[:, None] != "") & (species != ""))


def track_rows(summary, crops):
    """(crops,) int: the row of ``summary`` that each crop belongs to; ValueError where there is none."""
    keys = ["recording_id", "track"]
    rows = summary.set_index(keys).index.get_indexer(crops.set_index(keys).index)
    if (rows < 0).any():
        raise ValueError(f"crop {crops['path'].iloc[int(np.argmin(rows))]} belongs to no track")
    return rows


def annotate(films, root, tracks, summary, identities, folder, n_films):
    """Write films with a numbered box around every bird; those that are there already are kept, other films in the folder are deleted.

    Args:
        films: from ``select_films``.
        identities: (tracks,) int, as of ``identification.identify``.
        folder: of the new films.
        n_films: at most.

    Returns:
        paths of the films, those with the most birds first; one that cannot be decoded is left out, with a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    birds = pd.Series(identities, index=pd.MultiIndex.from_frame(summary[["recording_id", "track"]]), dtype=int)
    birds = birds[birds != UNKNOWN] + 1  # figures count from 1 too
    fullest = birds.groupby(level=0).nunique().sort_values(ascending=False, kind="stable").index[:n_films]
    paths = dict(zip(films["recording_id"], films["video_path"], strict=True))
    of_film = dict(list(tracks.groupby("recording_id")))
    tasks = {}
    for name in (name for name in fullest if name in paths):
        boxes_key = runtime.digest([of_film[name].to_json(), {str(track): int(bird) for track, bird in birds[name].items()}])
        tasks[name] = {"name": name, "path": runtime.printable(paths[name]), "state": _state(root / paths[name]), "boxes_key": boxes_key}
    for path in folder.iterdir():
        if path.stem not in tasks:
            path.unlink()
    write = functools.partial(_annotate, root, folder, paths, of_film, birds)
    rows = resume.map_resumable(write, tasks, folder.parent / ".annotated.jsonl", functools.partial(_is_annotated, folder), desc="annotated films")
    for row in rows.values():
        if "skipped_reason" in row:
            warnings.warn(f"{row['skipped_reason']}: it is not annotated", video_io.VideoWarning, stacklevel=2)
    return [folder / row["file"] for row in rows.values() if "file" in row]


def show(path):
    """A film as an output of a notebook; only its name where it is too large to embed."""
    from IPython.display import Markdown, Video

    if path.stat().st_size > _MAX_EMBEDDED_BYTES:
        return Markdown(f"`{path}`")
    return Video(str(path), embed=True, html_attributes="controls loop muted", width=640)


def _follow(root, folder, detector, path_of, *, recording_id, start_s, end_s, rate_hz, options, is_photo, **_):
    path = root / path_of[recording_id]
    with runtime.collect_warnings(path) as notes:
        if is_photo:
            image = video_images.read_image(path)
            detections = [(0.0, image, detector.detect([image])[0])]
        else:
            detections = detector.detect_film(path, rate_hz, start_s, end_s)
        tracks, crops, frames = tracking.follow(detections, recording_id, folder, rate_hz=rate_hz, **options)
    files = _files(folder, recording_id)
    for table, file in zip((tracks, crops, frames), files, strict=True):
        runtime.write_table(table, file)
    tracking.write_mot(tracks, folder / "tracks" / f"{recording_id}.txt", rate_hz)
    return {"notes": notes, "sizes": {file.name: file.stat().st_size for file in files}, "crops": crops["path"].tolist()}


def _annotate(root, folder, paths, of_film, birds, *, name, **_):
    path, written = root / paths[name], folder / f"{name}.mp4"
    with runtime.collect_warnings(path):  # which were reported when it was tracked
        annotations.annotate_film(path, written, of_film[name], birds[name].to_dict())
    return {"file": written.name, "size": written.stat().st_size}


def _is_annotated(folder, row):
    path = folder / row["file"]
    return path.is_file() and path.stat().st_size == row["size"]


def _state(path):
    """What tells whether a film has changed since."""
    state = Path(path).stat()
    return [state.st_size, state.st_mtime_ns]


def _files(folder, recording_id):
    return [folder / "tracks" / f"{recording_id}.{kind}.parquet" for kind in ("tracks", "crops", "frames")]


def _is_whole(folder, row):
    """Whether all files of a film are still there, of the same size."""
    sizes = {folder / "tracks" / name: size for name, size in row["sizes"].items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items()) and all(
        (folder / path).is_file() for path in row["crops"]
    )


