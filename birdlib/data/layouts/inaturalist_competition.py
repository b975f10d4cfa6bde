"""The layout of the iNaturalist competitions (2017 to 2021), which is COCO's: a JSON file with ``images``, ``annotations`` and ``categories``."""

import posixpath
import re
from collections import defaultdict

from birdlib.data.layouts import rows
from birdlib.data.layouts.tree import is_below, of_folder

NEEDS = "a JSON file with images, annotations and categories, and the photos that it lists"
MEDIA = ("photo",)
_KEYS = ("images", "annotations", "categories")
_START = re.compile(r'\s*\{\s*"(info|images|annotations|categories|licenses|type)"\s*:')


def find(tree):
    """Folders with such a file and photos below."""
    found = {}
    for path in _tables(tree):
        found.setdefault(tree.with_media(posixpath.dirname(path)), f"{posixpath.basename(path)} has images, annotations and categories")
    return found


def read(tree, folder, files):
    """A row a photo; of several categories the first is the species and the others are secondary."""
    tables = of_folder(_tables(tree), folder)
    found, unplaced, known = [], [], set()
    for path in tables:
        content = tree.json(path)
        categories = {category.get("id"): category for category in content["categories"]}
        licences = {item.get("id"): item for item in content.get("licenses") or []}
        annotations = defaultdict(list)
        for annotation in content["annotations"]:
            annotations[annotation.get("image_id")].append(annotation)
        bases = _bases(tree, path, folder)
        listed, there = [], set()
        split = _split(path)
        for image in content["images"]:
            name = str(image.get("file_name", "")).replace("\\", "/").removeprefix("./")
            photo = next((joined for base in bases if tree.has(joined := posixpath.join(base, name))), "")
            listed.append(photo or name)
            if not photo or photo in known:
                there |= {photo} - {""}
                continue
            there.add(photo)
            known.add(photo)
            row = _row(image, [annotation for annotation in annotations[image.get("id")] if annotation.get("category_id") in categories], categories, licences)
            if row is None:
                unplaced.append((photo, f"has no species in {posixpath.basename(path)}"))
            else:
                found.append({"path": photo, "media": "photo", "original_split": split, **row})
        unplaced += rows.missing(path, listed, there)
    return found, unplaced + rows.unlisted(" or ".join(map(posixpath.basename, tables)), [path for path in files if path not in known])


def _row(image, annotations, categories, licences):
    """Columns of an image; None without a category."""
    if not annotations:
        return None
    kinds = list({annotation["category_id"]: categories[annotation["category_id"]] for annotation in annotations}.values())
    box = annotations[0].get("bbox") if len(annotations) == 1 else None
    licence = licences.get(image.get("license"), {})
    author = str(image.get("rights_holder") or "")
    return {
        "scientific_name": str(kinds[0].get("name", "")),
        "common_name": str(kinds[0].get("common_name") or ""),
        "secondary_species": ";".join(str(kind.get("name", "")) for kind in kinds[1:]),
        "recordist": author,
        "attribution": author,
        "recorded_on": rows.day(image.get("date") or image.get("date_captured") if author else ""),
        "latitude": rows.degrees(image.get("latitude"), 90),
        "longitude": rows.degrees(image.get("longitude"), 180),
        "source": "iNaturalist competition" if "supercategory" in kinds[0] and author else "",
        "licence": rows.licence(licence.get("url") or "") if "creativecommons" in str(licence.get("url")) else str(licence.get("name") or ""),
        **dict(zip(("box_x", "box_y", "box_width", "box_height"), map(str, box or ()), strict=False)),
    }


def _bases(tree, path, folder):
    """Folders that names may be relative to: of the table, above it, and the folders and those named images below."""
    own = posixpath.dirname(path)
    below = sorted({media.split("/")[folder.count("/") + 1 if folder else 0] for media in tree.media if is_below(media, folder) and media.count("/")})
    return list(dict.fromkeys([own, posixpath.dirname(own), folder, *(posixpath.join(base, "images") for base in (own, folder)), *(posixpath.join(folder, name) for name in below)]))


def _split(path):
    """``train``, ``val`` or ``test`` in the table's name, else empty."""
    found = re.search(r"(?<![a-z])(train|val|test)", posixpath.basename(path).lower())
    return found[1] if found else ""


def _tables(tree):
    candidates = [path for path in tree.with_suffix(".json") if _START.match(tree.start(path))]
    return [path for path in candidates if _is_table(tree.json(path))]


def _is_table(content):
    lists = [content.get(key) for key in _KEYS] if isinstance(content, dict) else [None]
    return all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in lists)
