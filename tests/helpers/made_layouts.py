"""Folders laid out as data sets are; media are files of one byte where nobody opens them."""

import json
from pathlib import Path


def touch(root, *paths):
    """Make files of one byte; returns the root."""
    for path in paths:
        file = Path(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return Path(root)


def write(root, path, content):
    """Write text, or anything else as JSON; returns the root."""
    file = Path(root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return Path(root)


def by_path(reading):
    """{path: row as a dictionary} of a reading, by the media path."""
    rows = reading.table.to_dict("records")
    return {row["audio_path"] or row["image_path"] or row["video_path"]: row for row in rows}


def reasons(reading):
    """{path: reason} of what is unplaced."""
    return dict(reading.unplaced.itertuples(index=False))
