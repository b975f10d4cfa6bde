"""What stages and analyses wrote, as tables for the formats: detections, pseudo-labels, human voices, tracks."""

from pathlib import Path

import pandas as pd

from birdlib import runtime, stages
from birdlib.data import birdclef, taxonomy
from birdlib.data.formats import tables
from birdlib.species import soundscape_predictions

MIN_TARGET = 0.5  # pseudo-labels below it say that a species is rather absent
VOICE = "human voice"


def read(outputs_dir, source):
    """The tables of a source, as ``formats.write`` takes them.

    Args:
        outputs_dir: folder of the stages.
        source: a key of ``SOURCES``.

    Returns:
        {"detections": DataFrame} or {"tracks": DataFrame}, with ``files``, where every recording of the stage is listed.

    Raises:
        stages.MissingStageError: if the stage is not finished.
        runtime.ParameterError: for another source.
    """
    require_known(source)
    return SOURCES[source][1](Path(outputs_dir))


def require_known(source):
    """Raise ParameterError if there is no such source."""
    if source not in SOURCES:
        raise runtime.ParameterError(f"unknown source {source!r}: use {', '.join(SOURCES)}")


def holds(source):
    """``"detections"`` or ``"tracks"``."""
    return "tracks" if source == "tracks" else "detections"


def is_finished(outputs_dir, source):
    """Whether the stage of a source is finished."""
    return (Path(outputs_dir) / SOURCES[source][0] / stages.RECEIPT).is_file()


def of_analysis(folder):
    """The tables that ``analyse`` wrote, as ``formats.write`` takes them: ``detections``, ``files`` and, with films, ``tracks``.

    Raises:
        stages.MissingStageError: if the folder has none of them.
    """
    folder = Path(folder)
    found = {}
    for name, file_name in (("detections", "detections.csv"), ("files", "files.csv"), ("tracks", "tracks.parquet")):
        path = folder / file_name
        if path.is_file():
            found[name] = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    if not {"detections", "tracks"} & set(found):
        raise stages.MissingStageError(f"{folder} has no detections.csv: run python -m birdlib analyse PATH --output {folder} first")
    return found


def _read_csv(path):
    """A table that ``analyse`` wrote; labels such as 1139490 and NA stay text."""
    texts = dict.fromkeys(("path", "species", "scientific_name", "common_name", "site", "media", "note", "top_species"), str)
    header = pd.read_csv(path, nrows=0).columns
    missing = {name: [] if name in texts else [""] for name in header}
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=missing)
    return table.assign(recorded_at=pd.to_datetime(table["recorded_at"], errors="coerce")) if "recorded_at" in table else table


def _submission(outputs):
    """Detections of stage 08, by the names of their soundscapes."""
    found = stages.read(outputs, "08_submit", "detections.csv").astype({"species": str, "soundscape": str})
    parameters = stages.receipt(outputs, "08_submit")["parameters"]
    given = parameters.get("data_dir")
    root = (outputs.resolve() / given).resolve() if given else stages.recordings_root(outputs)
    splits = outputs / "01_split" / "splits.parquet"
    recordings = pd.read_parquet(splits) if splits.is_file() else None
    paths = {birdclef.stem(path): tables.stored(path) for path in soundscape_predictions.choose(root, recordings, parameters["n_rehearse"])[0]}
    found = _named(found, root).assign(path=found["soundscape"].map(lambda name: paths.get(name, name)))
    return {"detections": found.drop(columns=["row_id", "soundscape"]), "files": pd.DataFrame({"path": sorted({*paths.values(), *found["path"]})})}


def _pseudo_labels(outputs):
    """Labels of stage 06 that say that a species is present."""
    labels, windows = stages.read(outputs, "06_pseudolabel", "labels.parquet", "windows.parquet")
    root = stages.recordings_root(outputs)
    found = labels[labels["target"] >= MIN_TARGET].merge(windows, on="row_id").rename(columns={"label": "species", "target": "score"})
    found["path"] = [tables.stored(root / path) for path in found["audio_path"]]
    files = sorted({tables.stored(root / path) for path in windows["audio_path"]})
    columns = ["path", "start_s", "end_s", "species", "score", "kind", "origin", "teacher", "round"]
    return {"detections": _named(found[columns], root), "files": pd.DataFrame({"path": files})}


def _voices(outputs):
    """Spans of human voice that stage 02 found, in seconds of the file."""
    segments, cleaned = stages.read(outputs, "02_clean", "segments.parquet", "recordings.parquet")
    splits, root = stages.read(outputs, "01_split", "splits.parquet"), stages.recordings_root(outputs)
    paths = splits.drop_duplicates("recording_id").set_index("recording_id")["audio_path"]
    from_s = cleaned.set_index("recording_id")["start_s"]
    offsets = segments["recording_id"].map(from_s).fillna(0.0)
    found = pd.DataFrame({"path": [tables.stored(root / path) for path in segments["recording_id"].map(paths)]})
    found = found.assign(start_s=segments["start_s"] + offsets, end_s=segments["end_s"] + offsets, species=VOICE, policy=segments["policy"])
    return {"detections": found}


def _tracks(outputs):
    """Tracks of stage 09 with the individuals that they belong to."""
    found, individuals, counts = stages.read(outputs, "09_count", "tracks.parquet", "individuals.parquet", "counts.csv")
    splits, root = stages.read(outputs, "01_split", "splits.parquet"), stages.recordings_root(outputs)
    paths = splits.drop_duplicates("recording_id").set_index("recording_id")["video_path"]
    paths = {recording_id: tables.stored(root / path) for recording_id, path in paths.items() if path}
    found = found.merge(individuals[["recording_id", "track", "identity"]], on=["recording_id", "track"], how="left")
    found = found.assign(path=found["recording_id"].map(paths), identity=found["identity"].fillna(-1).astype(int))
    counted = counts["recording_id"].astype(str).map(paths).dropna()
    return {"tracks": found, "files": pd.DataFrame({"path": sorted(counted), "media": "film"})}


def _named(found, root):
    """Detections with the scientific and common names of their species, where a taxonomy beside the recordings has them."""
    names = taxonomy.names(sorted(set(found["species"])), root if birdclef.is_layout(root) else "").set_index("label")
    names = names.where(names.ne(pd.Series(names.index, index=names.index), axis=0), "")  # a label that is its own name has none
    return found.assign(**{column: found["species"].map(names[column]) for column in names})


SOURCES = {  # {source: (stage, function from the outputs folder to its tables)}
    "detections": ("08_submit", _submission),
    "pseudo-labels": ("06_pseudolabel", _pseudo_labels),
    "voices": ("02_clean", _voices),
    "tracks": ("09_count", _tracks),
}
