"""Counts of individuals of films, by the counter of stage 09: detect, track, embed the crops of each track, cluster, resample.

Where stage 09 is finished, its settings, encoder and threshold are used; else crops are embedded by a pretrained network that was not
trained on individuals. Tracks, embeddings and annotated films are kept, so that a run that was stopped goes on with the next film.
Tracks of all films are clustered together, which finds a bird in several films; above ``MAX_TRACKS``, those of each film for itself.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.analysis import detections
from birdlib.data import recording_ids
from birdlib.individuals import (
    backbones,
    clustering,
    counts,
    film_tracks,
    frame_evidence,
    identification,
    track_embeddings,
    track_links,
    track_sounds,
)
from birdlib.metrics.identity import UNKNOWN
from birdlib.store import EmbeddingStore
from birdlib.video import detectors, kinds, tracking
from birdlib.video import images as video_images

MAX_TRACKS = 1500  # that are clustered together: time and memory grow with their square
TRACK_COLUMNS = ["path", *tracking.COLUMNS, "identity"]
_SAMPLING = ("rate_hz", "min_score", "n_crops")
_WITHOUT_STAGE = {"detector": "auto", "n_tiles": 0, "rate_hz": 5.0, "min_score": 0.6, "n_crops": 8, "embedder": "", "parts": ""}  # its defaults
_BACKBONE = "resnet50"
_NO_FILM = {
    "image": "is a photo, and birds are counted in films: python -m birdlib gallery recognises those of photos",
    "sound": "is a sound, which shows no bird: give a film",
}


def count(paths, folder, outputs_dir="outputs", *, detector="auto", n_annotated=20, n_draws=300, weights_dir="", seed=0):
    """Count the individuals of films.

    Args:
        paths: of films.
        folder: of the analysis: ``tracks/`` (as MOT text too), ``crops/`` and ``annotated/`` are written into it.
        outputs_dir: where stage 09 may have written.
        detector: as in ``detectors.load``; "auto" is that of stage 09 where it is finished.
        n_annotated: films, those with the most birds, that are written again with numbered boxes.
        n_draws: of the bootstrap; where stage 09 is finished, there are as many as it drew thresholds.
        weights_dir: as in ``weights.find``.
        seed: of the bootstrap.

    Returns:
        (counts, tracks, skipped, note): DataFrame of ``detections.COUNT_COLUMNS``, a row a film that could be read, in the order of the paths:
        ``n`` with its 90 % interval, the largest number ``at_once`` in a frame, ``method`` and ``certainty`` of ``frame_evidence``, and the path of the annotated film in the folder, ``""`` if
        there is none; DataFrame of ``TRACK_COLUMNS``, a row a detection, with identities of all films from 0, ``UNKNOWN`` for a track that is
        not counted (annotated films show the identity + 1); DataFrame ``path, reason`` of files that are no films or could not be read,
        and of films that were counted in spite of a flaw; sentences on how birds were told apart and how many there are, ``""`` without films.

    Raises:
        DetectorError: an unknown detector.
        weights.MissingWeightsError: see ``weights.fetch``.
        runtime.FullDiskError: if there is no space left.
    """
    folder = Path(folder)
    films, skipped = _films(paths)
    if not len(films):
        return pd.DataFrame(columns=detections.COUNT_COLUMNS), pd.DataFrame(columns=TRACK_COLUMNS), _skipped_table(skipped), ""
    settings, missing = _settings(outputs_dir)
    network = detectors.load(settings["detector"] if detector == "auto" else detector, weights_dir, settings["n_tiles"], track_embeddings.MIN_BOX_SCORE)
    found, flaws = film_tracks.track_each(films, Path(), network, folder, **{name: settings[name] for name in _SAMPLING})
    vectors, receipts = _embed(found, films, folder, settings, outputs_dir, weights_dir)
    threshold, thresholds = _thresholds(found, vectors, settings, n_draws, np.random.default_rng(seed))
    factor = settings.get("link_factor", 1.0) if settings["embedder"] else track_links.UNVALIDATED
    frames = film_tracks.read_frames(folder, found)
    per_film, tracks, summary, total = _identify(found, vectors, frames, threshold, thresholds, factor, np.random.default_rng(seed))
    written = film_tracks.annotate(films, Path(), tracks, summary, summary["identity"].to_numpy(int), folder / "annotated", n_annotated)
    path_of = dict(zip(films["recording_id"], films["path"], strict=True))
    counted = _count_table(per_film, summary, {path.stem: f"annotated/{path.name}" for path in written}, path_of)
    tracks.insert(0, "path", tracks["recording_id"].map(path_of))
    note = _note(counted, total, threshold, missing, {**network.weights, **receipts}, network.name)
    return counted, tracks[TRACK_COLUMNS], _skipped_table(skipped + flaws), note


def _films(paths):
    """(films, skipped): a split table's columns and ``path`` for messages, and (path, reason) of what is no film."""
    rows, skipped = [], []
    for path in dict.fromkeys(map(Path, paths)):
        try:
            kind = kinds.kind_of(path)
        except kinds.MediaError as error:
            skipped.append((path, error.reason))
            continue
        if kind == "film":
            rows.append((path, runtime.printable(path)))
        else:
            skipped.append((path, _NO_FILM[kind]))
    films = pd.DataFrame(rows, columns=["video_path", "path"]).assign(start_s=np.nan, end_s=np.nan)
    films["recording_id"] = recording_ids.unique([""] * len(films), [Path(path).as_posix() for path in films["path"]], [""] * len(films))
    return films, skipped


def _settings(outputs_dir):
    """(settings, why there are none of stage 09)."""
    try:
        return track_embeddings.read_settings(outputs_dir), ""
    except (stages.MissingStageError, track_embeddings.TrackEmbedderError) as error:
        return dict(_WITHOUT_STAGE), str(error)


def _embed(found, films, folder, settings, outputs_dir, weights_dir):
    """({recording_id: (crops, dim) unit vectors}, {name of a network: where its weights are from}), film by film, or from the store."""
    if not any(len(crops) for _, crops in found.values()):
        return {name: np.zeros((0, 1), np.float32) for name in found}, {}
    if settings["embedder"]:
        embedder, key = track_embeddings.load_saved(settings, outputs_dir, weights_dir)
    else:
        embedder = track_embeddings.Pretrained(backbones.load(_BACKBONE, weights_dir))
        key = embedder.key
    path_of = dict(zip(films["recording_id"], films["video_path"], strict=True))
    sound = settings.get("sound", "alone") if settings["embedder"] == "early_fusion" and "voice" in settings["parts"] else ""
    vectors = {}
    with EmbeddingStore(folder / "store", key) as store:
        for name in runtime.progress(list(found), desc="individuals"):
            vectors[name] = _embed_film(*found[name], folder, embedder, store, sound, path_of[name])
    return vectors, embedder.backbone.weights if hasattr(embedder, "backbone") else {}


def _embed_film(tracks, crops, folder, embedder, store, sound, path):
    """(crops, dim); ``sound`` is the kind of ``track_sounds`` that is embedded too, ``""`` for none."""
    if not len(crops):
        return np.zeros((0, embedder.dim), np.float32)
    files = [folder / crop for crop in crops["path"]]
    key = runtime.digest([[runtime.digest_file(file) for file in files], sound and runtime.digest_file(path)])
    if (stored := store.get(key)) is not None:
        return np.array(stored[0])
    summary = tracking.summary(tracks)
    sounds = {"sounds": track_sounds.extract(sound, summary, crops, {summary["recording_id"].iloc[0]: path})} if sound else {}
    found = embedder.embed([video_images.read_image(file) for file in files], **sounds)
    store.put(key, found, np.ones(len(found), np.float32))
    return found


def _groups(found):
    """Lists of films whose tracks are clustered together: all films, or each for itself."""
    n_tracks = sum(tracks["track"].nunique() for tracks, _ in found.values())
    return [list(found)] if n_tracks <= MAX_TRACKS else [[name] for name in found]


def _joined(names, found, vectors):
    """(tracks, summary, crops, of_track, embeddings) of some films; ``of_track`` and ``embeddings`` are row-aligned with ``crops``."""
    tracks = film_tracks.concatenate([pd.DataFrame(columns=tracking.COLUMNS), *(found[name][0] for name in names)])
    crops = film_tracks.concatenate([pd.DataFrame(columns=tracking.CROP_COLUMNS), *(found[name][1] for name in names)])
    summary = tracking.summary(tracks)
    return tracks, summary, crops, film_tracks.track_rows(summary, crops), np.concatenate([vectors[name] for name in names])


def _thresholds(found, vectors, settings, n_draws, rng):
    """(threshold, (draws,) thresholds): those of stage 09; else a default, and draws by the known pairs of these films."""
    threshold = settings.get("threshold", clustering.FALLBACK_THRESHOLD)
    if "threshold_draws" in settings:
        return threshold, np.array(settings["threshold_draws"])
    groups = _groups(found)
    if not groups or not groups[0]:
        return threshold, np.full(n_draws, threshold)
    tracks, _, crops, of_track, embeddings = _joined(groups[0], found, vectors)
    pairs = clustering.validation_pairs(embeddings, of_track, crops["time_s"].to_numpy(float), tracking.must_not_link(tracks))
    return threshold, identification.draw_thresholds(*pairs, threshold, rng, n_draws)


def _identify(found, vectors, frames, threshold, thresholds, factor, rng):
    """(table of ``frame_evidence.revise``, tracks and their summary, both with ``identity``, total of ``counts.overall`` or None)."""
    tables, parts, summaries, total, n_before = [], [], [], None, 0
    groups = _groups(found)
    for names in groups:
        tracks, summary, _, of_track, embeddings = _joined(names, found, vectors)
        must_not_link = tracking.must_not_link(tracks)
        links = track_links.find(tracks, summary, frames, factor)
        identities, draws, at_once = identification.identify_with_draws(embeddings, of_track, must_not_link, tracks, summary, threshold, thresholds, rng, links=links)
        table = counts.per_film(identities, draws, summary["recording_id"], at_once, names)
        tables.append(frame_evidence.revise(table, frames, factor == 1.0))
        if len(groups) == 1:
            total = counts.overall(identities, draws, summary["recording_id"])
            total["total"] = frame_evidence.add_untracked(total["total"], table, tables[-1])
        summary["identity"] = np.where(identities == UNKNOWN, UNKNOWN, identities + n_before)
        n_before += identities.max(initial=UNKNOWN) + 1
        parts.append(tracks.merge(summary[["recording_id", "track", "identity"]], on=["recording_id", "track"], how="left"))
        summaries.append(summary)
    return tuple(film_tracks.concatenate(list_) for list_ in (tables, parts, summaries)) + (total,)


def _count_table(per_film, summary, annotated, path_of):
    n_tracks = summary.groupby("recording_id").size()
    ids = per_film["recording_id"]
    table = per_film.assign(path=ids.map(path_of), n_tracks=ids.map(n_tracks).fillna(0).astype(int), annotated=ids.map(annotated).fillna(""))
    return table[detections.COUNT_COLUMNS]


def _note(table, total, threshold, missing, receipts, detector_name):
    """Sentences: by which networks, with which threshold, and how many birds in all films."""
    names = [f"{name} ({receipt['licence']})" if "licence" in receipt else name for name, receipt in receipts.items()] or [detector_name]
    lines = [f"Networks: {', '.join(names)}. Tracks up to a cosine distance of {threshold:.2f} are one bird."]
    if missing:
        lines.append(
            "Birds were told apart by a network that was not trained on individuals, with a default threshold: a bird that leaves and comes "
            f"back may be counted twice, and similar birds once; intervals hold both. For trained ones: {missing}."
        )
    if total is None:
        lines.append(f"There are more than {MAX_TRACKS} tracks: a bird in several films is counted in each.")
    else:
        lines.append(counts.describe(table.rename(columns={"path": "recording_id"}), total))
    return " ".join(lines)


def _skipped_table(rows):
    return pd.DataFrame([(runtime.printable(path), reason) for path, reason in rows], columns=["path", "reason"])
