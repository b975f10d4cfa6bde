"""A BirdCLEF folder of any year, by ``birdlib.data.birdclef``."""

import posixpath

from birdlib.data import birdclef, manifest, media_paths
from birdlib.data.layouts import annotations, rows
from birdlib.data.layouts.tree import LayoutError

NEEDS = "train.csv (or train_metadata.csv) and train_audio/ (or train_short_audio/)"
MEDIA = ("sound", "photo", "film")
_SOUNDSCAPE_LABELS = ("train_soundscapes_labels.csv", "train_soundscape_labels.csv")  # the second in 2021
_GROUP = "author and place of the metadata"


def find(tree):
    """Folders with the training table and the folder of training recordings."""
    folders = {posixpath.dirname(path) for path in tree.documents if posixpath.basename(path) in ("train.csv", "train_metadata.csv")}
    return {
        folder: f"{birdclef.train_table(tree.root / folder).name} and a folder of training recordings are there"
        for folder in sorted(folders) if birdclef.is_layout(tree.root / folder)
    }  # fmt: skip


def read(tree, folder, files):
    """Rows of the training table, of ``images/`` and of ``videos/``; soundscapes are left to stage 06."""
    root = tree.root / folder
    try:
        table = birdclef.unchecked(root)
    except birdclef.LayoutError as error:
        raise LayoutError(str(error)) from error
    disk = media_paths.Disk(root, may_leave=False)
    media = dict(zip(rows.MEDIA_COLUMNS.values(), rows.MEDIA_COLUMNS, strict=True))
    found, gone = [], []
    table = table.reindex(columns=[*table.columns, *(set(manifest.COLUMNS) - set(table.columns))], fill_value="")
    for row in table.to_dict("records"):
        column = next((name for name in media if row[name]), "")
        path = posixpath.join(folder, row[column]) if column else ""
        fault = disk.find([row[column]])[0][1] if column else "names no file"
        if fault or not row["species"] and column != "video_path":
            gone.append((path or row["recording_id"], fault or "has no species"))
            continue
        found.append({**row, "path": path, "media": media[column], "recordist": row["attribution"], "group_by": _GROUP if row["group_id"] else ""})
    table_name = birdclef.train_table(root).name
    missing = rows.missing(posixpath.join(folder, table_name), [path for path, fault in gone if fault == "has no such file"], {row["path"] for row in found})
    unplaced = missing + [(path, fault) for path, fault in gone if fault != "has no such file"]
    soundscapes = {posixpath.join(folder, path.relative_to(root).as_posix()) for which in ("train", "test") for path in birdclef.soundscapes(root, which)}
    unplaced += [(posixpath.join(folder, path), reason) for path, reason in birdclef.unused(root, table) if "UTF-8" not in reason]
    labelled = [posixpath.join(folder, name) for name in _SOUNDSCAPE_LABELS if tree.has(posixpath.join(folder, name))]
    parts, reasons = annotations.read_tables(tree, labelled)
    found, unplaced = found + parts, unplaced + reasons
    soundscapes -= {row["path"] for row in parts}
    known = {row["path"] for row in found} | soundscapes | {path for path, _ in unplaced}
    unplaced += [(path, f"{table_name} does not name it") for path in files if path not in known]
    unplaced += [(path, "is a soundscape without labels: stage 06 uses it, by run --data") for path in sorted(soundscapes & set(files))]
    return found, unplaced
