"""Exports of iNaturalist: a CSV table of observations (https://www.inaturalist.org/observations/export) and the downloaded photos and sounds.

A file is named by its observation's number, as ``123456.jpg`` or ``123456_2.jpg``, or by the number of the photo or sound in ``image_url`` and ``sound_url``; or
it lies in a folder with that number.
"""

import posixpath
import re
from collections import defaultdict

from birdlib.data.layouts import rows
from birdlib.data.layouts.tree import of_folder

NEEDS = "a table with the columns id, scientific_name and image_url or sound_url, and the downloaded files"
MEDIA = ("sound", "photo", "film")
_URL_COLUMNS = ("image_url", "sound_url")
_URL_NUMBER = re.compile(r"/(?:photos|sounds)/(\d+)")
_NUMBER = re.compile(r"\d{2,}")
_COLUMNS = (
    "id", "observed_on", "time_observed_at", "user_login", "user_name", "license", "url", *_URL_COLUMNS, "place_guess", "latitude", "longitude",
    "coordinates_obscured", "scientific_name", "common_name", "taxon_species_name",
)  # fmt: skip


def find(tree):
    """Folders with a table of observations and media below."""
    found = {}
    for path in _tables(tree):
        found.setdefault(tree.with_media(posixpath.dirname(path)), f"{posixpath.basename(path)} is an export of iNaturalist's observations")
    return found


def read(tree, folder, files):
    """A row a file. Obscured coordinates, which iNaturalist moves at random, are left out of the group."""
    observations, by_media, tables = {}, {}, defaultdict(list)
    for path in of_folder(_tables(tree), folder):
        for record in tree.table(path, _COLUMNS, ("id",)).to_dict("records"):
            number = record["id"].strip()
            observations.setdefault(number, record)
            urls = [record.get(name, "") for name in _URL_COLUMNS]
            for url in filter(None, urls):
                by_media.update(dict.fromkeys(_URL_NUMBER.findall(url), number))
            if any(urls):
                tables[path].append(number)
    numbers = {path: _numbers(path, folder) for path in files}
    by_observation = {number: number for number in observations}
    schemes = sorted((by_observation, by_media), key=lambda scheme: -sum(any(number in scheme for number in found) for found in numbers.values()))
    found, unplaced, seen = [], [], set()
    for path in files:
        observation = next((scheme[number] for scheme in schemes for number in numbers[path] if number in scheme), "")
        if not observation:
            unplaced.append((path, "no observation of the export has its number: export it again, or remove the file"))
            continue
        seen.add(observation)
        row = _row(observations[observation])
        if row["scientific_name"] or row["common_name"]:
            found.append({"path": path, "media": tree.media[path], **row})
        else:
            unplaced.append((path, f"its observation {observation} has no species"))
    for path, listed in tables.items():
        unplaced += rows.missing(path, [f"observation {number}" for number in listed], {f"observation {number}" for number in listed if number in seen})
    return found, unplaced


def _row(record):
    names = record.get("taxon_species_name") or record.get("scientific_name", "")
    user = record.get("user_name") or record.get("user_login", "")
    is_obscured = record.get("coordinates_obscured", "").lower() in ("true", "t", "1")
    return {
        "scientific_name": names if "×" in names else " ".join(names.split()[:2]),
        "common_name": record.get("common_name", ""),
        "recordist": user,
        "recorded_on": rows.day(record.get("observed_on") or record.get("time_observed_at", "")),
        "latitude": "" if is_obscured else rows.degrees(record.get("latitude", ""), 90),
        "longitude": "" if is_obscured else rows.degrees(record.get("longitude", ""), 180),
        "place": "" if is_obscured else record.get("place_guess", ""),
        "source": f"iNaturalist {record.get('url') or 'https://www.inaturalist.org/observations/' + record['id']}",
        "licence": rows.licence(record.get("license", "")) or "all rights reserved",
        "attribution": user,
    }


def _numbers(path, folder):
    """Numbers in the file's name, then in the names of its folders, innermost first."""
    parts = path.removeprefix(folder + "/" if folder else "").split("/")
    parts[-1] = posixpath.splitext(parts[-1])[0]
    return [number for part in reversed(parts) for number in _NUMBER.findall(part)]


def _tables(tree):
    names = {path: set(tree.header(path)) for path in tree.with_suffix(".csv", ".tsv")}
    return [path for path, header in names.items() if {"id", "scientific_name"} <= header and header & set(_URL_COLUMNS)]
