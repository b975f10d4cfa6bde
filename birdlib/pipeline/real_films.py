"""Rows of ``bench real`` for films: counts of individuals beside counts by eye, and birds matched between two halves of a clip.

Films are the rows of ``videos.csv`` with a ``video_path``. ``video_counts.csv`` has the count by eye as ``individuals``; where it is empty, a
range at the beginning of the ``note`` ("5-7 pigeons", "about 10-12 birds") is the truth. A film whose ``recording_id`` ends in ``-A`` or
``-B`` is a half of a clip ("part 7.0-13.7s of NAME" in the note) that shows the same birds. Nothing is trained here, so that no film is left
out of training: films are counted as ``analyse`` counts them without a finished stage 09.
"""

import re

import numpy as np
import pandas as pd

from birdlib.analysis import films as film_counts
from birdlib.metrics import identity as identity_metrics
from birdlib.pipeline import real_rows
from birdlib.video import boxes, detectors
from birdlib.video import io as video_io

COUNTS, HALVES = "films: counts", "films: halves A/B"
_RATE_HZ = 5.0
_MIN_SCORE = 0.5  # of a box that the plain reference counts
_MIN_IOU = 0.5
_SIDES = ["x", "y", "width", "height"]
_RANGE = re.compile(r"^(?:about |some )?(\d+)(?:-(\d+))?\b")
_PART = re.compile(r"part ([\d.]+)-([\d.]+)\s*s of (\w+)")


def rows(folder, cache, *, rng, weights_dir=""):
    """Rows of counts and of halves.

    Args:
        folder: Path with ``videos.csv``, and ``video_counts.csv`` where counts are known.
        cache: Path for tracks, crops and embeddings.
        rng: of the bootstrap over groups of films.
        weights_dir: as in ``weights.find``.

    Returns:
        list of ``real_rows.Row``.
    """
    films = _read_films(folder)
    whole, halves = films[films["half"] == ""], films[films["half"] != ""]
    found, tracks = _count(whole, folder, cache / "whole", weights_dir)
    known = found[found["truth_low"].notna()]
    result = [*_count_rows(known, rng), *_plain_rows(known, folder, rng, weights_dir)]
    if len(halves):
        in_halves, tracks_in_halves = _count(halves, folder, cache / "halves", weights_dir)
        result += _half_rows(in_halves, tracks_in_halves, found, tracks, rng)
    return result


def truth_of(individuals, note):
    """The count by eye as (low, high): the number itself twice, a range at the beginning of the note, or NaN twice."""
    if not pd.isna(individuals):
        return float(individuals), float(individuals)
    named = _RANGE.match(str(note))
    if not named or named[2] is None:
        return np.nan, np.nan
    return float(named[1]), float(named[2])


def _read_films(folder):
    """A row a film: ``recording_id, group_id, video_path, half, clip, from_s, truth_low, truth_high``."""
    films = pd.read_csv(folder / "videos.csv", dtype=str, keep_default_na=False)
    films = films[films["video_path"] != ""].reset_index(drop=True)
    path = folder / "video_counts.csv"
    known = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["recording_id", "individuals", "note"])
    films = films.merge(known, on="recording_id", how="left")
    films["half"] = films["recording_id"].str.extract(r"-([AB])$")[0].fillna("")
    films["clip"] = films["recording_id"].str.replace(r"-[AB]$", "", regex=True)
    films["note"] = films["note"].fillna("")
    films["from_s"] = [float(part[1]) if (part := _PART.search(note)) else np.nan for note in films["note"]]
    truth = [truth_of(row.individuals, row.note) for row in films.itertuples()]
    films["truth_low"], films["truth_high"] = np.array(truth, float).reshape(-1, 2).T
    return films


def _count(films, folder, cache, weights_dir):
    """(films with the columns of their counts, tracks with ``recording_id``), as ``analyse`` counts them."""
    paths = [folder / path for path in films["video_path"]]
    counts, tracks, _, _ = film_counts.count(paths, cache, cache / "no_stages", n_annotated=0, weights_dir=weights_dir)
    name_of = dict(zip(map(str, paths), films["recording_id"], strict=True))
    counts = counts.assign(recording_id=counts["path"].map(name_of), width_px=[video_io.probe(path).width for path in counts["path"]])
    return films.merge(counts.drop(columns="path"), on="recording_id"), tracks.assign(recording_id=tracks["path"].map(name_of))


# Counts


def _count_rows(known, rng):
    rows = [_row(film, real_rows.SUITE, film.n, film.low, film.high, _remarks(film)) for film in known.itertuples()]
    return rows + _shares(known, real_rows.SUITE, rng)


def _remarks(film):
    return [f"{name} {getattr(film, name)}" for name in ("certainty", "method") if hasattr(film, name)]


def _plain_rows(known, folder, rng, weights_dir):
    """The detector frame by frame: the commonest number of boxes, from the 5th to the 95th percentile of frames."""
    detector = detectors.load("auto", weights_dir, min_score=_MIN_SCORE)
    table = known.copy()
    for row, film in known.iterrows():
        n = [len(found) for _, _, found in detector.detect_film(folder / film["video_path"], _RATE_HZ)]
        low, high = np.quantile(n, [0.05, 0.95], method="nearest")
        table.loc[row, ["n", "low", "high", "most"]] = np.bincount(n).argmax(), low, high, max(n)
    rows = [_row(film, real_rows.PLAIN, film.n, film.low, film.high, [f"most in one frame {film.most:.0f}"]) for film in table.itertuples()]
    return rows + _shares(table, real_rows.PLAIN, rng)


def _row(film, method, n, low, high, remarks):
    truth = f"{film.truth_low:.0f}" if film.truth_low == film.truth_high else f"{film.truth_low:.0f} to {film.truth_high:.0f}"
    covered = "in" if _is_covered(low, high, film.truth_low, film.truth_high) else "not in"
    note = "; ".join([f"by eye {truth}, {covered} the interval", *remarks])
    return real_rows.Row(COUNTS, method, f"birds in {film.recording_id}", float(n), float(low), float(high), 1, note)


def _is_covered(low, high, truth_low, truth_high):
    """Whether an interval holds a true count; of a range by eye, some of it."""
    return (low <= truth_high) & (high >= truth_low)


def _shares(known, method, rng):
    """Shares of films over all films with a count by eye, with intervals over groups."""
    if not len(known):
        return []
    n, low, high, first, last = (known[name].to_numpy(float) for name in ("n", "low", "high", "truth_low", "truth_high"))
    error = np.maximum(np.maximum(first - n, n - last), 0.0)  # 0 within a range by eye
    figures = {
        "share of films whose interval holds the count by eye": _is_covered(low, high, first, last).astype(float),
        "share of films counted right": (error == 0).astype(float),
        "mean absolute error of counts": error,
        "mean width of intervals, birds": high - low,
    }
    return [real_rows.of_metric(COUNTS, method, name, np.mean, values, groups=known["group_id"], rng=rng) for name, values in figures.items()]


# Halves


def _half_rows(counts, tracks, whole_counts, whole_tracks, rng):
    """Whether birds of one half are found again in the other.

    The truth needs no annotation: a track of the uncut clip that is in both halves is one bird, so that the tracks of the halves whose
    boxes it matches are of that bird. Tracks that match none such are not evaluated.
    """
    names = pd.concat([_names(half, tracks, whole_counts, whole_tracks) for half in counts.itertuples()], ignore_index=True)
    spans = names.groupby("bird")["half"].nunique()
    named = names[names["bird"].map(spans) == 2]
    result = []
    if len(named):
        columns = [named[name].to_numpy() for name in ("bird", "identity", "recording_id")]
        note = f"tracks of {named['bird'].nunique()} birds that a track of the uncut clip follows from one half into the other"
        result.append(real_rows.of_metric(HALVES, real_rows.SUITE, "pairwise F1 of tracks across halves", _pairwise_f1, *columns, groups=named["clip"], rng=rng, note=note))
    for clip, pair in counts.groupby("clip"):
        birds = {half: set(tracks.loc[(tracks["recording_id"] == name) & (tracks["identity"] >= 0), "identity"]) for half, name in zip(pair["half"], pair["recording_id"], strict=True)}
        if set(birds) != {"A", "B"}:
            continue
        a, b = birds["A"], birds["B"]
        dice = 2 * len(a & b) / max(len(a) + len(b), 1)
        result.append(real_rows.Row(HALVES, real_rows.SUITE, f"birds of {clip} in both halves, 2 |A and B| / (|A| + |B|)", dice, n=1, note=f"{len(a)} in A, {len(b)} in B, {len(a & b)} in both"))
    return result


def _pairwise_f1(birds, identities, films):
    return identity_metrics.pairwise_precision_recall_f1(birds, identities, groups=films)["f1"]


def _names(half, tracks, whole_counts, whole_tracks):
    """A row a counted track of a half that has a name: ``recording_id, clip, half, track, identity, bird``; the name is a track of the uncut clip."""
    columns = ["recording_id", "clip", "half", "track", "identity", "bird"]
    uncut = whole_counts[whole_counts["group_id"] == half.group_id]
    if not len(uncut) or np.isnan(half.from_s):
        return pd.DataFrame(columns=columns)
    own = tracks[(tracks["recording_id"] == half.recording_id) & (tracks["identity"] >= 0)].sort_values("time_s")
    own = own.assign(uncut_s=own["time_s"] + half.from_s)
    other = whole_tracks[whole_tracks["recording_id"] == uncut["recording_id"].iloc[0]].rename(columns={"time_s": "uncut_s"})
    nearest = other[["uncut_s"]].drop_duplicates().sort_values("uncut_s").assign(nearest_s=lambda times: times["uncut_s"])
    own = pd.merge_asof(own, nearest, on="uncut_s", direction="nearest", tolerance=0.5 / _RATE_HZ).drop(columns="uncut_s")
    both = own.merge(other, left_on="nearest_s", right_on="uncut_s", suffixes=("", "_uncut"))
    scale = half.width_px / uncut["width_px"].iloc[0]
    ious = boxes.iou(both[_SIDES].to_numpy(float), scale * both[[f"{side}_uncut" for side in _SIDES]].to_numpy(float))
    matched = both[ious >= _MIN_IOU].groupby(["track", "identity", "track_uncut"]).size().reset_index(name="n")
    best = matched.sort_values("n", ascending=False, kind="stable").drop_duplicates("track")
    bird = best["track_uncut"].map(lambda track: f"{half.clip}:{track}")
    return best.assign(bird=bird, recording_id=half.recording_id, clip=half.clip, half=half.half)[columns]
