"""Rows of a layout: columns of the manifest, and those of which labels and groups are made. Missing values are empty strings."""

import math
import re

import pandas as pd

from birdlib.data import manifest

MEDIA_COLUMNS = {"sound": "audio_path", "photo": "image_path", "film": "video_path"}
NAMES = ("scientific", "common")
EXTRA_COLUMNS = (
    "scientific_name", "common_name", "recordist", "recorded_on", "latitude", "longitude", "place",
    "box_x", "box_y", "box_width", "box_height", "original_split",
)  # fmt: skip
COLUMNS = (*manifest.COLUMNS, *EXTRA_COLUMNS, "path", "media", "folder_group", "group_by")
_LICENCE_URL = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)(?:/(\d\.\d))?")
_LICENCE_CODE = re.compile(r"cc[ -]?(by(?:-(?:nc|nd|sa))*|0)(?:[ -](\d\.\d))?", re.IGNORECASE)


def table(rows):
    """Rows as a DataFrame of str with all of ``COLUMNS``."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    return frame.where(frame.notna(), "").astype(str)


def label(scientific, common, names):
    """The label of a species: its scientific or its common name, or the other where it is missing."""
    return (scientific or common) if names == "scientific" else (common or scientific)


def licence(text):
    """``CC BY-NC-SA 4.0`` of an address of Creative Commons or of ``cc-by-nc-sa``; other text as it is."""
    text = str(text or "").strip()
    found = _LICENCE_URL.search(text.lower()) or _LICENCE_CODE.fullmatch(text)
    if not found:
        return text
    code, version = found[1].upper(), found[2]
    if code in ("ZERO", "0"):
        return "CC0" + (f" {version}" if version else "")
    if code == "MARK":
        return "Public domain"
    return f"CC {code}" + (f" {version}" if version else "")


def day(text):
    """The date of a text that begins with one, as ``2025-04-14``; an unknown day or month stays 00; empty without a year."""
    found = re.match(r"\s*(\d{4})(?:[-/.:]?(\d\d)(?:[-/.:]?(\d\d))?)?(?!\d)", str(text or ""))
    if not found or int(found[1]) == 0:
        return ""
    return "-".join([found[1], found[2] or "00", found[3] or "00"])


def degrees(text, limit):
    """A latitude (limit 90) or longitude (180) as text, or empty where it is none."""
    try:
        value = float(str(text).strip().replace(",", "."))
    except ValueError:
        return ""
    return f"{value:g}" if math.isfinite(value) and abs(value) <= limit else ""


def place(latitude, longitude, text=""):
    """A place to 0.01 degrees (1 km), ``52.52,13.40``, or the text without coordinates."""
    if latitude and longitude:
        return ",".join(f"{round(float(value), 2) + 0.0:.2f}" for value in (latitude, longitude))
    return " ".join(str(text or "").split())


def missing(table_path, listed, found):
    """[(path, reason)] of files that a table lists and that are not there; one entry for the table if none of them is.

    Args:
        listed: paths, in their order.
        found: set of those that are there.
    """
    gone = [path for path in dict.fromkeys(listed) if path not in found]
    if gone and not found:
        return [(table_path, f"none of the {len(gone)} files that it lists is there: unpack or download them")]
    return [(path, f"listed in {table_path}, but not there: download it, or remove the row") for path in gone]


def unlisted(table_path, files):
    """[(path, reason)] of files that are there, but not listed."""
    return [(path, f"not listed in {table_path}: add a row, or remove the file") for path in files]
