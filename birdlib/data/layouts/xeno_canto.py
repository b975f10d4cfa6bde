"""Downloads of Xeno-Canto: sounds with their numbers, and the records of its API (versions 2 and 3) as JSON or CSV.

Records are JSON as the API answers (``recordings``), a list of records, or one record a file; or a CSV table with the same names. Sounds are named
``XC123456 - Common Blackbird - Turdus merula.mp3`` by the website, ``CommonBlackbird123456.mp3`` or ``123456.mp3`` by programs; the name that
a record gives (``file-name``) is found, too. Without records the website's names tell the species.
"""

import posixpath
import re
from collections import defaultdict

from birdlib import runtime
from birdlib.data.layouts import rows
from birdlib.data.layouts.tree import LayoutError, is_below, of_folder

NEEDS = "sounds with XC numbers and the records of Xeno-Canto's API as JSON or CSV, or sounds with the website's names"
MEDIA = ("sound",)
_RECORD = re.compile(r'"gen"\s*:.*"(?:sp|rec)"\s*:|"sp"\s*:.*"gen"\s*:|"numRecordings"\s*:', re.DOTALL)
_CSV_COLUMNS = {"gen", "sp", "id"}
_OTHER_NAMES = {  # of warbleR's query_xc
    "recording_id": "id", "genus": "gen", "specific_epithet": "sp", "subspecies": "ssp", "english_name": "en", "recordist": "rec", "locality": "loc",
    "latitude": "lat", "longitude": "lon", "date": "date", "vocalization_type": "type", "license": "lic", "other_species": "also",
}  # fmt: skip
_WEBSITE_NAME = re.compile(r"XC(?P<id>\d+) - (?P<en>.+) - (?P<gen>[A-Z][a-z]+) (?P<sp>[a-z-]+)(?: (?P<ssp>[a-z-]+))?(?: \(\d+\))?")
_NUMBER = re.compile(r"(?<![A-Za-z])XC[ _-]?(\d{1,8})(?!\d)|^(\d{2,8})(?=$|[ _.-])|(?<!\d)(\d{2,8})$", re.IGNORECASE)
_METADATA_FOLDERS = ("metadata", "queries", "json", "records", "meta")
_NO_SPECIES = {"mystery": "its species is unknown to Xeno-Canto", "sonus": "is a soundscape without a main species"}
_MANY = 100  # files with records, which take a while
_SAMPLED = 3  # JSON files of a folder that are opened to know them


def find(tree):
    """Folders with records and sounds, or with sounds that bear the website's names."""
    found = {}
    for path in _record_files(tree):
        folder = posixpath.dirname(path)
        if posixpath.basename(folder).lower() in _METADATA_FOLDERS:
            folder = posixpath.dirname(folder)
        found.setdefault(tree.with_media(folder), f"{posixpath.basename(path)} has records of Xeno-Canto's API")
    named = defaultdict(list)
    for path, kind in tree.media.items():
        if kind == "sound":
            named[posixpath.dirname(path)].append(_WEBSITE_NAME.fullmatch(posixpath.splitext(posixpath.basename(path))[0]) is not None)
    for folder, are_named in named.items():
        if 2 * sum(are_named) > len(are_named) and not any(is_below(folder + "/", other) for other in found):
            found[folder] = "sounds are named XC123456 - Common Name - Scientific name"
    return found


def read(tree, folder, files):
    """A row a sound, with the labels, place, licence and background species of its record."""
    tables = of_folder(_record_files(tree), folder)
    records, sources = {}, defaultdict(list)
    for path in runtime.progress(tables, desc="records") if len(tables) > _MANY else tables:
        for record in _records(tree, path):
            number = str(record.get("id", "")).strip().upper().removeprefix("XC")
            if number:
                records.setdefault(number, record)
                sources[path].append(number)
    by_name = {str(record["file-name"]): number for number, record in records.items() if record.get("file-name")}
    found, unplaced, seen = [], [], set()
    for path in files:
        name = posixpath.basename(path)
        numbers = [next(filter(None, match.groups())) for match in _NUMBER.finditer(posixpath.splitext(name)[0])]
        number = by_name.get(name) or next((number for number in numbers if number in records), "")
        named = _WEBSITE_NAME.fullmatch(posixpath.splitext(name)[0])
        record = records.get(number) or (named.groupdict() if named else None)
        seen.add(number)
        if record is None:
            reason = "no record lists it: download its metadata, or remove the file" if records else "its name tells no species, and there are no records"
            unplaced.append((path, reason))
            continue
        row = _row(record)
        if row["scientific_name"]:
            found.append({"path": path, "media": "sound", **row})
        else:
            unplaced.append((path, _NO_SPECIES.get(str(record.get("gen", "")).lower(), "its record names no species")))
    for path, numbers in sources.items():
        unplaced += rows.missing(path, [f"XC{number}" for number in numbers], {f"XC{number}" for number in numbers if number in seen})
    return found, unplaced


def _row(record):
    text = {name: " ".join(str(value if value is not None else "").split()) for name, value in record.items() if not isinstance(value, list | dict)}
    genus, epithet = text.get("gen", ""), text.get("sp", "")
    is_known = genus.lower() not in _NO_SPECIES and epithet.lower() not in ("", "sp", "sp.", "spec", "mystery")
    number = text.get("id", "").upper().removeprefix("XC")
    also = record.get("also") or []
    also = also if isinstance(also, list) else re.split(r"[;,]", str(also).strip("[]'\" "))
    return {
        "recording_id": f"XC{number}" if number else "",
        "scientific_name": f"{genus} {epithet}" if is_known else "",
        "common_name": text.get("en", "") if is_known else "",
        "secondary_species": ";".join(name for name in (str(name).strip("'\" ") for name in also) if name),
        "recordist": text.get("rec", ""),
        "recorded_on": rows.day(text.get("date", "")),
        "latitude": rows.degrees(text.get("lat", ""), 90),
        "longitude": rows.degrees(text.get("lon") or text.get("lng", ""), 180),
        "place": ", ".join(filter(None, [text.get("loc", ""), text.get("cnt", "")])),
        "source": f"Xeno-Canto https://xeno-canto.org/{number}" if number else "Xeno-Canto",
        "licence": rows.licence(text.get("lic", "")),
        "attribution": text.get("rec", ""),
    }


def _record_files(tree):
    """JSON files and CSV tables with records; of a folder with many JSON files a few are opened."""
    found = []
    for paths in tree.folders.values():
        documents = [path for path in paths if path.lower().endswith(".json")]
        if any(_RECORD.search(tree.start(path)) for path in documents[:_SAMPLED]):
            found += documents
        found += [path for path in paths if path.lower().endswith((".csv", ".tsv")) and _is_record_table(tree, path)]
    return found


def _is_record_table(tree, path):
    return {_OTHER_NAMES.get(name, name) for name in tree.header(path)} >= _CSV_COLUMNS


def _records(tree, path):
    """The records of a file: dictionaries with the API's names."""
    if not path.lower().endswith(".json"):
        table = tree.table(path).rename(columns=lambda name: name.lower())
        return table.rename(columns=lambda name: _OTHER_NAMES.get(name, name) if _OTHER_NAMES.get(name) not in table else name).to_dict("records")
    content = tree.json(path)
    if isinstance(content, dict):
        content = content.get("recordings", [content] if "gen" in content else [])
    if not isinstance(content, list):
        raise LayoutError(f"{tree.root / path} has no list of recordings: download it again, or remove it")
    pages = [record["recordings"] if isinstance(record, dict) and "recordings" in record else [record] for record in content]
    return [record for page in pages for record in page if isinstance(record, dict) and "gen" in record]
