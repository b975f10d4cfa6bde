"""Downloads of the Macaulay Library: the CSV table that a search exports, and media named by catalogue number: ``ML612000000.mp3``, ``612000000.jpg``."""

import posixpath
import re
from collections import defaultdict

from birdlib.data.layouts import rows
from birdlib.data.layouts.tree import of_folder

NEEDS = "a table with the columns ML Catalog Number and Scientific Name, and media with these numbers"
MEDIA = ("sound", "photo", "film")
_NUMBER, _SCIENTIFIC = "ML Catalog Number", "Scientific Name"
_COLUMNS = ("Common Name", "Recordist", "Date", "Locality", "State", "Country", "Latitude", "Longitude")
_FILE_NUMBER = re.compile(r"(?<!\d)\d{4,10}(?!\d)")
_LICENCE = "terms of use of the Macaulay Library"


def find(tree):
    """Folders with such a table and media below."""
    return {tree.with_media(posixpath.dirname(path)): f"{posixpath.basename(path)} is an export of the Macaulay Library" for path in _tables(tree)}


def read(tree, folder, files):
    """A row a file; the background species of the table are not used, for they have no fixed form."""
    records, listed_in = {}, defaultdict(list)
    for path in of_folder(_tables(tree), folder):
        for record in tree.table(path, _COLUMNS, (_NUMBER, _SCIENTIFIC)).to_dict("records"):
            number = record[_NUMBER].upper().removeprefix("ML").strip()
            records.setdefault(number, record)
            listed_in[path].append(f"ML{number}")
    found, unplaced, seen = [], [], set()
    for path in files:
        name = posixpath.splitext(posixpath.basename(path))[0]
        number = next((number for number in _FILE_NUMBER.findall(name) if number in records), "")
        seen.add(f"ML{number}")
        if not number:
            unplaced.append((path, "no table of the Macaulay Library lists it: export it again, or remove the file"))
        else:
            found.append({"path": path, "media": tree.media[path], **_row(number, records[number])})
    for path, numbers in listed_in.items():
        unplaced += rows.missing(path, numbers, {number for number in numbers if number in seen})
    return found, unplaced


def _row(number, record):
    place = ", ".join(filter(None, (record.get(name, "") for name in ("Locality", "State", "Country"))))
    return {
        "recording_id": f"ML{number}",
        "scientific_name": " ".join(record[_SCIENTIFIC].split()[:2]),
        "common_name": re.sub(r"\s*\(.*\)$", "", record.get("Common Name", "")),
        "recordist": record.get("Recordist", ""),
        "attribution": record.get("Recordist", ""),
        "recorded_on": rows.day(record.get("Date", "")),
        "latitude": rows.degrees(record.get("Latitude", ""), 90),
        "longitude": rows.degrees(record.get("Longitude", ""), 180),
        "place": place,
        "source": f"Macaulay Library https://macaulaylibrary.org/asset/{number}",
        "licence": _LICENCE,
    }


def _tables(tree):
    return [path for path in tree.with_suffix(".csv", ".tsv") if {_NUMBER.lower(), _SCIENTIFIC.lower()} <= set(tree.header(path))]
