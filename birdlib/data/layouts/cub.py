"""CUB-200-2011 (Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", 2011) and NABirds (Van Horn et al., 2015), which has the same tables.

Lines are ``image_id value``, separated by a blank: ``images.txt`` (path below ``images/``), ``image_class_labels.txt`` (class id), ``classes.txt`` (name
of a class id), and, where there, ``train_test_split.txt`` (1: train), ``bounding_boxes.txt`` (x, y, width, height in pixels) and ``photographers.txt``.
"""

import posixpath
import re

from birdlib.data.layouts import rows
from birdlib.data.layouts.tree import LayoutError

NEEDS = "images.txt, image_class_labels.txt, classes.txt and images/"
MEDIA = ("photo",)
_TABLES = ("images.txt", "image_class_labels.txt", "classes.txt")
_LICENCE = "non-commercial research and education only"


def find(tree):
    """Folders with the three tables."""
    folders = [posixpath.dirname(path) for path in tree.documents if posixpath.basename(path) == _TABLES[1]]
    return {folder: f"{', '.join(_TABLES)} are there" for folder in folders if all(tree.has(posixpath.join(folder, name)) for name in _TABLES)}


def read(tree, folder, files):
    """A row a photo. CUB tells neither photographer nor place; NABirds tells the photographer."""
    images, labels, classes = (_lines(tree, posixpath.join(folder, name)) for name in _TABLES)
    is_train, boxes, photographers = (
        _lines(tree, posixpath.join(folder, name)) for name in ("train_test_split.txt", "bounding_boxes.txt", "photographers.txt")
    )
    is_nabirds = bool(photographers) or tree.has(posixpath.join(folder, "hierarchy.txt"))
    source = "NABirds" if is_nabirds else "CUB-200-2011"
    base = next((base for base in (posixpath.join(folder, "images"), folder) if any(tree.has(posixpath.join(base, path)) for path in images.values())), "")
    found, unplaced, listed, there = [], [], [], set()
    for number, name in images.items():
        path = posixpath.join(base or posixpath.join(folder, "images"), name)
        listed.append(path)
        if not tree.has(path):
            continue
        there.add(path)
        label = classes.get(labels.get(number, ""), "")
        if not label:
            unplaced.append((path, f"has no class in {_TABLES[1]} and {_TABLES[2]}"))
            continue
        box = dict(zip(("box_x", "box_y", "box_width", "box_height"), boxes.get(number, "").split(), strict=False))
        found.append(
            {
                "path": path, "media": "photo", "recording_id": posixpath.splitext(posixpath.basename(name))[0], "common_name": common_name(label),
                "recordist": photographers.get(number, ""), "attribution": photographers.get(number, ""), "source": source, "licence": _LICENCE,
                "original_split": {"1": "train", "0": "test"}.get(is_train.get(number, ""), ""), **box,
            }
        )  # fmt: skip
    unplaced += rows.missing(posixpath.join(folder, _TABLES[0]), listed, there)
    return found, unplaced + rows.unlisted(_TABLES[0], [path for path in files if path not in there])


def common_name(label):
    """``Black footed Albatross`` of ``001.Black_footed_Albatross``."""
    return " ".join(re.sub(r"^\d+\.", "", label).replace("_", " ").split())


def _lines(tree, path):
    """{image id: rest of the line}; empty without the file."""
    if not tree.has(path):
        return {}
    try:
        text = (tree.root / path).read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise LayoutError(f"{tree.root / path} cannot be read ({error.strerror}): download it again") from error
    return dict(line.split(None, 1) for line in (line.strip() for line in text.splitlines()) if len(line.split(None, 1)) == 2)
