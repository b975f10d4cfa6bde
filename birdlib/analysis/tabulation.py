"""From the rows of the parts of files to the tables of an analysis; each step is done for all files at once, of which there may be thousands."""

import numpy as np
import pandas as pd

from birdlib.analysis import detections, inputs, sound_files


def tables(files, rows, settings):
    """The tables of files and of detections.

    Args:
        files: list of ``inputs.Media``.
        rows: {path of ``sound_files.as_text``: rows of its parts, the first part first}.
        settings: ``engine.Settings``.

    Returns:
        (files, detections, skipped): DataFrames of ``detections.FILE_COLUMNS`` and ``COLUMNS``, and [(path, reason)].
    """
    summaries, windows, numbers, skipped = [], [], [], []
    for file in files:
        path, parts = inputs.shown(file.path), rows[sound_files.as_text(inputs.relative(file.path))]
        if reason := parts[0].get("skipped_reason"):
            skipped.append((path, _without_path(reason, path)))
            continue
        found = [window for part in parts for window in part.get("windows", ())]
        numbers += [len(summaries)] * len(found)
        windows += found
        summaries.append(_summary(path, file.media, parts, settings))
    table = detections.typed_files(pd.DataFrame(summaries, columns=detections.FILE_COLUMNS))
    found = detections.merge(_detections(windows, table.iloc[numbers].reset_index(drop=True), settings.model.labels), settings.gap_s)
    return _with_counts(table, found), found, skipped


def _summary(path, media, parts, settings):
    """A file's row, without counts."""
    good = [part for part in parts if "skipped_reason" not in part]
    failed = [_without_path(part["skipped_reason"], path) for part in parts if "skipped_reason" in part]
    recorded, given = good[0]["recorded"], settings.latitude is not None
    return {
        "path": path,
        "duration_s": next((part["duration_s"] for part in reversed(good) if part["duration_s"] is not None), np.nan),
        "sample_rate_hz": good[0]["sample_rate_hz"] or np.nan,
        "media": media,
        "recorded_at": pd.NaT if recorded["recorded_at"] is None else pd.Timestamp(recorded["recorded_at"]),
        "latitude": settings.latitude if given else recorded["latitude"],
        "longitude": settings.longitude if given else recorded["longitude"],
        "site": recorded["site"],
        "seconds": sum(part["seconds"] for part in good),
        "note": "; ".join(dict.fromkeys([*(part["note"] for part in good if part["note"]), *failed])),
    }


def _detections(windows, of_file, labels):
    """Detections of single windows.

    Args:
        windows: lists of ``sound_files.WINDOW_FIELDS``.
        of_file: row-aligned, the file of each.
        labels: of the model.
    """
    found = pd.DataFrame(windows, columns=sound_files.WINDOW_FIELDS)
    names = labels.iloc[found["class"].astype(int)].reset_index(drop=True)
    begins = of_file["recorded_at"] + pd.to_timedelta(found["start_s"].astype(float), unit="s")
    confidence = found["probability"].where(found["probability"].notna(), found["score"])
    known = of_file[["path", "latitude", "longitude", "site"]]
    return detections.typed(pd.concat([found.drop(columns="class"), names, known], axis=1).assign(confidence=confidence, n_windows=1, recorded_at=begins))


def _with_counts(table, found):
    sizes = found.groupby(["path", "species"], sort=False).size().rename("n").reset_index()
    first = sizes.sort_values("n", ascending=False, kind="stable").drop_duplicates("path").set_index("path")["species"]
    n_detections, n_species = found["path"].value_counts(), sizes["path"].value_counts()
    return detections.typed_files(
        table.assign(
            n_detections=table["path"].map(n_detections), n_species=table["path"].map(n_species), top_species=table["path"].map(first).astype(object)
        )
    )  # fmt: skip


def _without_path(reason, path):
    return reason.partition(f"{path}: ")[2] or reason
