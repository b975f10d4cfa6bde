"""Films to tracks: every film is looked through once, and what was found of it stays until the film or the way of looking changes.

A film is a row of the split table with ``video_path``; a photo is a film of one picture.
"""

import functools
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import journals, runtime
from birdlib.individuals import counts
from birdlib.metrics import identity as identity_metrics
from birdlib.video import annotations, tracking
from birdlib.video import io as video_io

LARGEST_SHOWN = 8_000_000  # bytes of a film inside a notebook


def films_of(splits):
    """The films of a split table."""
    return splits[splits["video_path"] != ""].drop_duplicates("recording_id").reset_index(drop=True)


def portraits_of(splits):
    """The photos of named birds of a split table, as films of one picture: what is known of individuals beforehand."""
    is_portrait = (splits["image_path"] != "") & (splits["individual_id"] != "") & (splits["video_path"] == "")
    found = splits[is_portrait].drop_duplicates("recording_id").reset_index(drop=True)
    return found.assign(video_path=found["image_path"], start_s=np.nan, end_s=np.nan)


def follow_films(films, root, detector, folder, *, rate_hz=5.0, n_crops=8, min_score=0.5, min_detections=3, max_gap_s=1.0):
    """Find the birds of films and follow them.

    Args:
        films: rows of the split table: ``recording_id, video_path, start_s, end_s``.
        root: folder of the paths.
        detector: from ``detectors.load``.
        folder: of the stage; tracks go to ``tracks/``, as MOT text too, crops to ``crops/``.
        rate_hz: pictures per second that are looked at.
        n_crops, min_score, min_detections, max_gap_s: of ``tracks.follow``.

    Returns:
        found: DataFrame of ``tracks.COLUMNS``.
        crops: DataFrame of ``tracks.CROP_COLUMNS``.
        skipped: the skipped table's (path, reason); a film that was used in spite of its flaws is told too.
    """
    options = {"n_crops": n_crops, "min_score": min_score, "min_detections": min_detections, "max_gap_s": max_gap_s}
    tasks, skipped = {}, []
    for film in films.itertuples():
        try:
            digest = runtime.digest_file(root / film.video_path)
        except OSError as error:
            skipped.append((film.video_path, error.strerror or "it cannot be read"))
            continue
        part = {"start_s": _number(film.start_s, 0.0), "end_s": _number(film.end_s, None)}
        how = {"detector_key": detector.key, "rate_hz": rate_hz, "options": options}
        tasks[film.recording_id] = {"recording_id": film.recording_id, "path": film.video_path, "digest": digest, **part, **how}
    (folder / "tracks").mkdir(parents=True, exist_ok=True)
    follow = functools.partial(_follow, root, folder, detector)
    rows = journals.map_resumable(follow, tasks, folder / ".films.jsonl", functools.partial(_is_whole, folder), desc="films")
    found, crops = [pd.DataFrame(columns=tracking.COLUMNS)], [pd.DataFrame(columns=tracking.CROP_COLUMNS)]
    for name, row in rows.items():
        path = tasks[name]["path"]
        if "skipped_reason" in row:
            skipped.append((path, row["skipped_reason"].removeprefix(f"{root / path}: ")))
            continue
        skipped += [(path, note) for note in row["notes"]]
        of_tracks, of_crops = (pd.read_parquet(file) for file in _files(folder, name))
        found.append(of_tracks)
        crops.append(of_crops)
    return *(_joined(tables) for tables in (found, crops)), skipped


def what_is_known(summary, found, splits):
    """What is certain of tracks beforehand.

    Args:
        summary, found: of ``tracks``.
        splits: the split table, with ``species`` and ``individual_id``.

    Returns:
        (names, apart): (tracks,) str as of ``labels``; (tracks, tracks) bool, which are surely two birds: seen at once, or of two species.
    """
    told = splits.drop_duplicates("recording_id").set_index("recording_id")
    apart = tracking.must_not_link(found)
    names = labels(summary, apart, told["individual_id"].to_dict())
    return names, apart | of_other_species(summary, told["species"].to_dict())


def labels(summary, must_not_link, names):
    """The individual of each track, where the manifest tells it: a film named after one bird shows it alone.

    Args:
        summary: of the tracks.
        must_not_link: (tracks, tracks) bool.
        names: {recording_id: individual_id}.

    Returns:
        (tracks,) str, ``""`` where it is not known: also in a film that shows two birds at once, for which of them is meant?
    """
    films = summary["recording_id"].to_numpy()
    several = {film for film in set(films) if must_not_link[np.ix_(films == film, films == film)].any()}
    return np.array(["" if film in several else names.get(film, "") for film in films], dtype=object)


def of_other_species(summary, species):
    """Which tracks are of films of two species: those are surely different birds.

    Args:
        summary: of the tracks.
        species: {recording_id: species}, ``""`` where it is not known.

    Returns:
        (tracks, tracks) bool.
    """
    names = np.array([species.get(film, "") for film in summary["recording_id"]], dtype=object)
    return (names[:, None] != names) & (names[:, None] != "") & (names != "")


def annotate(films, root, found, summary, identities, folder, n_films):
    """Write films anew with a numbered box around every bird; those that lie there already go.

    Args:
        films: from ``films_of``.
        found, summary: of ``tracks``.
        identities: (tracks,) int, as of ``counts.identify``.
        folder: of the new films.
        n_films: at most.

    Returns:
        paths of the films, those with the most birds first; one whose sound cannot be decoded is left out, with a warning.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    birds = pd.Series(identities, index=pd.MultiIndex.from_frame(summary[["recording_id", "track"]]), dtype=int)
    birds = birds[birds != counts.ABSENT] + 1  # as figures name them
    fullest = birds.groupby(level=0).nunique().sort_values(ascending=False, kind="stable").index[:n_films]
    paths = dict(zip(films["recording_id"], films["video_path"], strict=True))
    written = []
    for name in runtime.progress([name for name in fullest if name in paths], desc="annotated films"):
        path = folder / f"{name}.mp4"
        try:
            annotations.annotate_film(root / paths[name], path, found[found["recording_id"] == name], birds[name].to_dict())
        except video_io.VideoError as error:
            warnings.warn(f"{error}: it is not annotated", video_io.VideoWarning, stacklevel=2)
        else:
            written.append(path)
    return written


def show(path):
    """A film to be played in a notebook and its report; its name alone where it is too large to be carried in them."""
    from IPython.display import Markdown, Video

    if path.stat().st_size > LARGEST_SHOWN:
        return Markdown(f"`{path}`")
    return Video(str(path), embed=True, html_attributes="controls loop muted", width=640)


def true_individuals(found, summary, truth, least_iou=0.5):
    """Which bird each track truly is: the one whose boxes it meets most often.

    Args:
        found: of ``tracks.COLUMNS``.
        summary: of its tracks.
        truth: DataFrame of ``recording_id, individual_id, time_s, x, y, width, height``.
        least_iou: intersection over union of boxes that meet.

    Returns:
        (individuals, purity): (tracks,) str, ``""`` for a track that meets no bird, and (tracks,) the share of its meetings with that bird.
    """
    truth = truth.assign(picture=(truth["time_s"] * 1000).round().astype(int))
    both = found.assign(picture=(found["time_s"] * 1000).round().astype(int)).merge(truth, on=["recording_id", "picture"], suffixes=("", "_true"))
    across = np.minimum(both["x"] + both["width"], both["x_true"] + both["width_true"]) - np.maximum(both["x"], both["x_true"])
    down = np.minimum(both["y"] + both["height"], both["y_true"] + both["height_true"]) - np.maximum(both["y"], both["y_true"])
    overlap = across.clip(lower=0) * down.clip(lower=0)
    union = both["width"] * both["height"] + both["width_true"] * both["height_true"] - overlap
    met = both[overlap >= least_iou * union].groupby(["recording_id", "track", "individual_id"]).size().reset_index(name="n")
    met["share"] = met["n"] / met.groupby(["recording_id", "track"])["n"].transform("sum")
    best = met.sort_values("n", ascending=False, kind="stable").drop_duplicates(["recording_id", "track"])
    told = summary[["recording_id", "track"]].merge(best, on=["recording_id", "track"], how="left")
    return told["individual_id"].fillna("").to_numpy(), told["share"].to_numpy()


def truth_of(root):
    """The true boxes of films, where they are known, as of the sample: for scores only; else None.

    Returns:
        DataFrame of ``recording_id, individual_id, time_s, x, y, width, height``, a row a bird and picture.
    """
    path = Path(root) / "truth" / "video_tracks.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype={"label": str})
    table["recording_id"] = [f"video-{Path(name).stem}" for name in table["video"]]
    return table


def score(table, found, summary, identities, truth, rate_hz):
    """Counts and identities beside the truth: for scores only.

    Args:
        table: of ``counts.of_films``.
        found, summary, identities: tracks, and who they are said to be.
        truth: from ``truth_of``.
        rate_hz: pictures per second that were looked at.

    Returns:
        (figures, table): {figure: value}; the table with the true ``birds`` of each film.
    """
    true = truth.groupby("recording_id")["individual_id"].nunique()
    table = table.assign(birds=[int(true.get(name, 0)) for name in table["recording_id"]])
    names, _ = true_individuals(found, summary, truth)
    is_meant = (names != "") & (identities != counts.ABSENT)
    within = names[is_meant], identities[is_meant]
    films = summary["recording_id"].to_numpy()[is_meant]
    across = identity_metrics.pairwise_precision_recall_f1(*within, groups=films)
    rows = pd.MultiIndex.from_frame(summary[["recording_id", "track"]]).get_indexer(pd.MultiIndex.from_frame(found[["recording_id", "track"]]))
    said = found.assign(track=identities[rows])
    at = truth["time_s"] * rate_hz
    boxes = truth[(at - at.round()).abs() < 0.01].rename(columns={"individual_id": "track"})
    figures = {
        "films counted right": f"{int((table['n'] == table['birds']).sum())} of {len(table)}",
        "mean absolute error of counts": identity_metrics.count_mae(table["birds"], table["n"]),
        "ARI of tracks": identity_metrics.ari(*within),
        "NMI of tracks": identity_metrics.nmi(*within),
        "pairwise F1 of tracks": identity_metrics.pairwise_precision_recall_f1(*within)["f1"],
        "pairwise F1 across films": across["f1"],
        "IDF1": identity_metrics.idf1(boxes, said[said["track"] != counts.ABSENT])["idf1"],
        "false tracks": int(((names == "") & (identities != counts.ABSENT)).sum()),
    }
    return figures, table


def _follow(root, folder, detector, *, recording_id, path, start_s, end_s, rate_hz, options, **_):
    with video_io.noting(root / path) as notes:
        detections = detector.detect_film(root / path, rate_hz, start_s, end_s)
        found, crops = tracking.follow(detections, recording_id, folder, rate_hz=rate_hz, **options)
    for table, file in zip((found, crops), _files(folder, recording_id), strict=True):
        runtime.write_table(table, file)
    tracking.write_mot(found, folder / "tracks" / f"{recording_id}.txt", rate_hz)
    sizes = {file.name: file.stat().st_size for file in _files(folder, recording_id)}
    return {"notes": notes, "sizes": sizes, "crops": crops["path"].tolist()}


def _files(folder, recording_id):
    return [folder / "tracks" / f"{recording_id}.{what}.parquet" for what in ("tracks", "crops")]


def _is_whole(folder, row):
    """Whether nothing of what a film gave was taken away or cut short since."""
    sizes = {folder / "tracks" / name: size for name, size in row["sizes"].items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items()) and all(
        (folder / path).is_file() for path in row["crops"]
    )


def _number(value, otherwise):
    return otherwise if pd.isna(value) else float(value)


def _joined(tables):
    some = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(some, ignore_index=True)
