"""The folder of an analysis: its tables, its settings, and that nothing in it is lost by another one."""

import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from birdlib import runtime
from birdlib.analysis import detections, inputs

TABLES = ("detections.csv", "files.csv", "species.csv", "counts.csv", "skipped.csv", "tracks.parquet")
_COUNTED = ".counted.json"
_VERSION = "version of the model"
_RUN = inputs.RUN  # settings and files of the analysis that is running, or finished


class OutputError(runtime.BirdlibError):
    """A folder that holds something else, which is kept."""


class Tables(NamedTuple):
    """The tables of an analysis, see ``detections``."""

    detections: pd.DataFrame
    files: pd.DataFrame
    species: pd.DataFrame
    counts: pd.DataFrame
    tracks: pd.DataFrame
    skipped: pd.DataFrame


def require_free(folder, settings, paths, overwrite=False):
    """Refuse a folder with an analysis of other settings, or of files that are not analysed now; more files are welcome.

    Args:
        folder: need not exist.
        settings: ``engine.Settings``.
        paths: of the files.
        overwrite: whether what is there may be replaced.

    Raises:
        OutputError: it says what differs.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose another --output")
    if overwrite or not folder.is_dir():
        return
    remedy = "choose another --output, or replace it by --overwrite"
    if not (folder / _RUN).is_file():
        there = [name for name in (*TABLES, inputs.MARKER, "report.html") if (folder / name).exists()]
        if there:
            raise OutputError(f"{folder} holds {', '.join(there)} of something else: {remedy}")
        return
    try:
        before = runtime.read_json(folder / _RUN)
        old, old_paths = dict(before["settings"]), list(before["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{folder / _RUN} is damaged: {remedy}") from error
    new = _recorded(settings)
    changed = [f"{name} {_text(old.get(name))} (now {_text(new.get(name))})" for name in new if name != _VERSION and old.get(name) != new.get(name)]
    if changed or old.get(_VERSION) != new[_VERSION]:
        changed = changed or ["another version of the model"]  # its digest tells people nothing
        raise OutputError(f"{folder} holds an analysis with {', '.join(changed)}: {remedy}")
    now = {runtime.printable(path) for path in paths}
    if lost := [path for path in old_paths if path not in now]:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise OutputError(f"{folder} holds the analysis of {lost[0]}{more}, which {'are' if more else 'is'} not among these files: {remedy}")


def begin(folder, settings, paths):
    """Record what is analysed, and remove what a former analysis of other settings wrote."""
    record = {"settings": _recorded(settings), "files": [runtime.printable(path) for path in paths]}
    if _settings_before(folder) != record["settings"]:
        for name in (*TABLES, inputs.MARKER, "report.html"):
            (folder / name).unlink(missing_ok=True)
    runtime.write_json(record, folder / _RUN)


def write(folder, settings, tables, note=""):
    """Write the tables, and ``analysis.json`` last of all; a page of other tables is removed."""
    before = _digests(folder)
    for name in TABLES:
        table = getattr(tables, Path(name).stem)
        if name.startswith(("counts", "tracks")) and not len(tables.counts):
            (folder / name).unlink(missing_ok=True)
        else:
            runtime.write_table(table, folder / name)
    if _digests(folder) != before:
        (folder / "report.html").unlink(missing_ok=True)
    model = settings.model
    licences = dict.fromkeys(model.licences.values())
    about = {
        "model": {"name": model.name, "folder": model.folder, "key": model.key[:16], "licences": model.licences, "n_species": len(model.labels)},
        "licence": "; ".join(licences),
        "settings": {**settings.as_dict(), "window_s": model.window_s},
        "counts": note,
        "working_folder": str(Path.cwd()),
        "finished_at": datetime.datetime.now().isoformat(timespec="seconds"),
        "seconds": round(float(tables.files["seconds"].sum()), 1),  # of computing, in all processes
        "versions": runtime.versions(),
    }
    runtime.write_json(about, folder / inputs.MARKER)


def _digests(folder):
    return {name: runtime.digest_file(folder / name) for name in TABLES if (folder / name).is_file()}


def _settings_before(folder):
    try:
        return runtime.read_json(folder / _RUN)["settings"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
        return None


def keep_counts(folder, key, counts, tracks, skipped, note):
    """Keep what films were counted to, so that they are not counted again while the key is the same."""
    runtime.write_table(counts, Path(folder) / "counts.csv")
    runtime.write_table(tracks, Path(folder) / "tracks.parquet")
    runtime.write_json({"key": key, "skipped": skipped, "note": note}, Path(folder) / _COUNTED)


def read_counts(folder, key):
    """(counts, tracks, skipped, note) of ``keep_counts`` with this key; None if there are none."""
    paths = [Path(folder) / name for name in (_COUNTED, "counts.csv", "tracks.parquet")]
    if not all(path.is_file() for path in paths):
        return None
    kept = runtime.read_json(paths[0])
    if kept["key"] != key:
        return None
    return detections.read_counts(paths[1]), pd.read_parquet(paths[2]), [tuple(row) for row in kept["skipped"]], kept["note"]


def _recorded(settings):
    """What must be the same for two analyses to be one."""
    import birdlib

    model = settings.model
    return {"model": f"{model.name}{' in ' + model.folder if model.folder else ''}", _VERSION: model.key[:16], **settings.as_dict(), "birdlib": birdlib.__version__}


def _text(value):
    return "none" if value is None else str(value)
