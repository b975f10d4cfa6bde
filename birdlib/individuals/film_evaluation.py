"""Evaluation of the tracks, identities and counts of films against the true boxes of birds, where these are known.

``truth`` is a DataFrame of ``recording_id, individual_id, time_s, x, y, width, height``, a row a bird and frame. ``tracks`` is a DataFrame of
``tracking.COLUMNS``, ``summary`` is ``tracking.summary`` of it, one row a track.
"""

from pathlib import Path

import pandas as pd

from birdlib.metrics import identity as identity_metrics
from birdlib.metrics.identity import UNKNOWN
from birdlib.video import boxes


def load_truth(root):
    """The true boxes of films, where there are any in the folder of the recordings, as of the sample: for scores only; else None."""
    path = Path(root) / "truth" / "video_tracks.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype={"label": str})
    table["recording_id"] = [f"video-{Path(name).stem}" for name in table["video"]]
    return table


def evaluate(table, tracks, summary, identities, truth, rate_hz):
    """Scores of counts and identities.

    Args:
        table: from ``counts.per_film``.
        identities: (tracks,) int.
        truth: from ``load_truth``.
        rate_hz: sampled frames per second.

    Returns:
        (figures, table): {figure: value}; the table with the true number of ``birds`` of each film.
    """
    table = table.assign(birds=true_counts(truth, table["recording_id"]).values())
    names, _ = true_individuals(tracks, summary, truth)
    is_counted = identities != UNKNOWN
    is_scored = (names != "") & is_counted
    scored = names[is_scored], identities[is_scored]
    films = summary["recording_id"].to_numpy()[is_scored]
    across = identity_metrics.pairwise_precision_recall_f1(*scored, groups=films)
    keys = ["recording_id", "track"]
    rows = pd.MultiIndex.from_frame(summary[keys]).get_indexer(pd.MultiIndex.from_frame(tracks[keys]))
    predicted = tracks.assign(track=identities[rows])
    frames = truth["time_s"] * rate_hz
    true_boxes = truth[(frames - frames.round()).abs() < 0.01].rename(columns={"individual_id": "track"})
    figures = {
        "films counted right": f"{int((table['n'] == table['birds']).sum())} of {len(table)}",
        "mean absolute error of counts": identity_metrics.count_mae(table["birds"], table["n"]),
        "ARI of tracks": identity_metrics.ari(*scored),
        "NMI of tracks": identity_metrics.nmi(*scored),
        "pairwise F1 of tracks": identity_metrics.pairwise_precision_recall_f1(*scored)["f1"],
        "pairwise F1 across films": across["f1"],
        "IDF1": identity_metrics.idf1(true_boxes, predicted[predicted["track"] != UNKNOWN])["idf1"],
        "false tracks": int(((names == "") & is_counted).sum()),
    }
    return figures, table


def true_counts(truth, films):
    """{recording_id: birds} of films, by ``load_truth``; a film without a row has none."""
    n_true = truth.groupby("recording_id")["individual_id"].nunique()
    return {name: int(n_true.get(name, 0)) for name in films}


def true_individuals(tracks, summary, truth, min_iou=0.5):
    """The true individual of each track: the one whose boxes it matches most often.

    Returns:
        (individuals, purity): (tracks,) str, ``""`` for a track that matches no bird, and (tracks,) the share of its matches with that bird.
    """
    both = _by_millisecond(tracks).merge(_by_millisecond(truth), on=["recording_id", "millisecond"], suffixes=("", "_true"))
    ious = boxes.iou(*(both[[side + end for side in ("x", "y", "width", "height")]].to_numpy(float) for end in ("", "_true")))
    matched = both[ious >= min_iou].groupby(["recording_id", "track", "individual_id"]).size().reset_index(name="n")
    matched["share"] = matched["n"] / matched.groupby(["recording_id", "track"])["n"].transform("sum")
    best = matched.sort_values("n", ascending=False, kind="stable").drop_duplicates(["recording_id", "track"])
    found = summary[["recording_id", "track"]].merge(best, on=["recording_id", "track"], how="left")
    return found["individual_id"].fillna("").to_numpy(), found["share"].to_numpy()


def _by_millisecond(table):
    return table.assign(millisecond=(table["time_s"] * 1000).round().astype(int))
