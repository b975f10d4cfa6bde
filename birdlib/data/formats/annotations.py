"""Annotations as rows of a manifest: labels with times become parts of recordings with their species."""

import os
from pathlib import Path

import pandas as pd

from birdlib import media_types, runtime
from birdlib.data import recording_ids, species_labels
from birdlib.data.formats import reading

SUFFIXES = frozenset((".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml"))
COLUMNS = ["recording_id", "species", "secondary_species", "group_id", "audio_path", "start_s", "end_s", "source"]
_MIN_OVERLAP_S = 0.05  # labels that overlap by less only touch
_MILLISECONDS = 3  # decimals: times that agree to them are equal


def files_of(source):
    """(files that may hold annotations, the folder that they share): of a file, a list of files, or a folder and what is below it.

    Raises:
        reading.FormatError: if there is no such file or folder.
    """
    if not isinstance(source, str | Path):
        files = [Path(file) for file in source]
        return files, Path(os.path.commonpath([file.parent.absolute() for file in files])) if files else Path(".")
    source = Path(source)
    if source.is_dir():
        return media_types.list_media(source, SUFFIXES, "**/*")[0], source
    if not source.is_file():
        raise reading.FormatError(source, "does not exist: give a file with annotations, or a folder of them")
    return [source], source.parent


def relative(path, root):
    """A file as it is listed: relative to ``root``, with ``/``."""
    try:
        return runtime.printable(Path(os.path.relpath(path, root)).as_posix())
    except ValueError:  # on another drive
        return runtime.printable(path)


def rows(detections, root, point_s):
    """Rows of a manifest, of labels read from annotations.

    Args:
        detections: DataFrame with ``path, start_s, end_s, species, confidence`` and ``source``, of recordings that are there.
        root: folder that the rows' paths are relative to.
        point_s: length of the part around a label that is a point in time.

    Returns:
        (table, unlabelled): DataFrame of ``COLUMNS``, and how many rows had no label.
    """
    table = detections.assign(species=detections["species"].map(species_labels.clean).str.replace(";", ",", regex=False))
    n_unlabelled = int((table["species"] == "").sum())
    table = _with_length(table[table["species"] != ""], point_s)
    table = table.sort_values("confidence", ascending=False, kind="stable", na_position="first")  # labels of people first
    table = table.drop_duplicates(["path", "start_s", "end_s", "species"])
    spans = table.groupby(["path", "start_s", "end_s"], sort=True)
    merged = spans.agg(labels=("species", list), source=("source", "first")).reset_index()
    secondary = []
    for _, recording in merged.groupby("path", sort=True):
        secondary += _secondary(recording)
    try:
        paths = {path: Path(os.path.relpath(path, root)).as_posix() for path in merged["path"].unique()}
    except ValueError as error:
        raise runtime.ParameterError(f"the recordings are not on the drive of {root}: write the manifest beside them") from error
    result = pd.DataFrame(
        {
            "species": merged["labels"].str[0] if len(merged) else pd.Series(dtype=object),
            "secondary_species": [";".join(labels) for labels in secondary],
            "group_id": merged["path"].map(paths),
            "audio_path": merged["path"].map(paths),
            "start_s": merged["start_s"],
            "end_s": merged["end_s"],
            "source": merged["source"],
        }
    )
    ids = [f"{Path(path).stem}-{start_s:08.2f}".replace(".", "_") for path, start_s in zip(result["audio_path"], result["start_s"], strict=True)]
    parts = result["end_s"].astype(str)
    result.insert(0, "recording_id", recording_ids.unique(ids, result["audio_path"], parts))
    return result[COLUMNS], n_unlabelled


def _with_length(table, point_s):
    """Times rounded to milliseconds, within the recording, and around points."""
    start_s, end_s = table["start_s"].clip(lower=0.0), table["end_s"].where(table["end_s"].notna(), table["start_s"])
    is_point = end_s - start_s < 10**-_MILLISECONDS
    begin_s = (start_s - point_s / 2).clip(lower=0.0)
    return table.assign(
        start_s=start_s.where(~is_point, begin_s).round(_MILLISECONDS), end_s=end_s.where(~is_point, begin_s + point_s).round(_MILLISECONDS)
    )


def _secondary(recording):
    """Of each part of a recording, sorted by start, the other labels in it: its own after the first, and those that overlap."""
    found = [dict.fromkeys(labels[1:]) for labels in recording["labels"]]
    spans = list(zip(recording["start_s"], recording["end_s"], recording["labels"], strict=True))
    open_spans = []
    for number, (start_s, end_s, labels) in enumerate(spans):
        open_spans = [other for other in open_spans if spans[other][1] - start_s > _MIN_OVERLAP_S]
        for other in open_spans:
            if min(end_s, spans[other][1]) - start_s > _MIN_OVERLAP_S:
                found[number].update(dict.fromkeys(spans[other][2]))
                found[other].update(dict.fromkeys(labels))
        open_spans.append(number)
    return [[label for label in others if label != labels[0]] for others, (_, _, labels) in zip(found, spans, strict=True)]
