"""A folder of species folders: sounds, photos and films below folders that are named after species."""

import re
from collections import Counter, defaultdict

from birdlib.data.layouts import file_names

NEEDS = "sounds, photos or films in folders with the names of species"
MEDIA = ("sound", "photo", "film")
NOT_SPECIES = frozenset(
    "noise background backgrounds silence nocall nobird nobirds unknown unknownspecies unidentified other others misc ambience ambient nonevent negative negatives".split()
)
_GENERIC = frozenset(
    "train training val valid validation test testing split splits all data dataset datasets raw original originals files media species birds bird class classes label labels"
    " photo photos image images img imgs picture pictures pics foto fotos bilder audio audios sound sounds recording recordings song songs call calls wav mp3 flac ogg"
    " video videos film films movie movies clip clips dcim camera download downloads male female adult juvenile trainaudio trainshortaudio individual individuals".split()
)
_CAMERA_FOLDER = re.compile(r"\d{3}[A-Z_]{4,5}\d{0,2}|\d{1,4}")  # 100GOPRO, 101_PANA, 0001, 2025
_BINOMIAL = re.compile(r"[A-Z][a-z]+[ _][a-z]{2,}(?:-[a-z]+)*(?:[ _][a-z]{2,})?")
_BIRDNET = re.compile(r"([A-Z][a-z]+ [a-z]{2,}(?:-[a-z]+)*(?: [a-z]{2,})?)_(.+)")
_NUMBERED = re.compile(r"\d{1,4}[._ -]+(?=[^\W\d_])")
_WORDS = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*(?:_[^\W\d_]+(?:[-'’][^\W\d_]+)*)+")
_EXAMPLES_SHOWN = 3


def find(tree):
    """The root, if any medium has a folder that may be a species."""
    return {"": "its folders have the names of species"} if has_candidates(tree.media) else {}


def has_candidates(paths):
    """Whether a path has a folder that may be a species."""
    return any(_candidates(path) for path in paths)


def read(tree, folder, files, level=0, species=""):
    """Rows of files below species folders.

    The species is the folder at the level where most names are scientific ones, else where names recur below several folders, else the first one
    that differs. Words such as ``train``, ``photos`` or ``2025-04-14`` are no species.

    Args:
        level: number of the folder below the root that names the species, from 1; 0: guess.
        species: of the files that no folder names; empty: they are unplaced.
    """
    candidates = {path: _at_level(path, level) if level else _candidates(path, folder) for path in files}
    index = 0 if level else _species_index(candidates.values())
    shared = _n_shared([parts for parts in candidates.values() if parts])
    found, unplaced = [], []
    for path in files:
        parts = candidates[path]
        name = parts[min(index, len(parts) - 1)] if parts else ""
        kind = tree.media[path]
        if other := next((part for part in parts if _folded(part) in NOT_SPECIES), ""):
            unplaced.append((path, f"lies in {other!r}, which is no species"))
        elif not name and not species and kind != "film":
            unplaced.append((path, "no folder names its species: move it into a folder with that name, or give --species NAME"))
        else:
            scientific, common, label = species_of_folder(name) if name else ("", "", species)
            row = {"path": path, "media": kind, "species": label, "scientific_name": scientific, "common_name": common}
            found.append({**row, "folder_group": context(path, {name, *parts[: min(shared, index)]})})
    return found, unplaced


def context(path, without=()):
    """The folders of a path that name neither a medium, camera or split, nor are among ``without``: a site, a day, a bird; joined by ``/``."""
    return "/".join(part for part in path.split("/")[:-1] if part not in without and (not _is_generic(part) or _is_dated(part)))


def examples(found):
    """The most frequent labels of rows, as text."""
    counts = Counter(row["species"] or row["scientific_name"] or row["common_name"] for row in found)
    return ", ".join(repr(name) for name, _ in counts.most_common(_EXAMPLES_SHOWN) if name)


def species_of_folder(name):
    """(scientific name, common name, label) of a folder's name; the label is empty where one of the others is known.

    ``Turdus merula_Common Blackbird`` has both, ``Turdus_merula`` the first, ``001.Black_footed_Albatross`` is the label ``Black footed Albatross``.
    """
    name = _NUMBERED.sub("", name.strip(), count=1) or name
    both = _BIRDNET.fullmatch(name)
    if both and both[2][0].isupper():
        return both[1], both[2].replace("_", " "), ""
    if _BINOMIAL.fullmatch(name):
        return "", "", name.replace("_", " ")
    return "", "", name.replace("_", " ") if _WORDS.fullmatch(name) else name


def _candidates(path, folder=""):
    """The folders of a path, below ``folder``, that may name a species."""
    parts = path.split("/")[folder.count("/") + 1 if folder else 0 : -1]
    return [part for part in parts if not _is_generic(part)]


def _at_level(path, level):
    return path.split("/")[:-1][level - 1 : level]


def _is_generic(part):
    return _folded(part) in _GENERIC or _CAMERA_FOLDER.fullmatch(part) is not None or _is_dated(part)


def _is_dated(part):
    return bool(file_names.recorder_and_day(part)[1])


def _folded(name):
    return re.sub(r"[^a-z]", "", name.lower())


def _species_index(candidates):
    """The index of the species among the candidates of each path."""
    counts = Counter(tuple(parts) for parts in candidates if parts)
    depth = max((len(parts) for parts in counts), default=0)
    for index in range(depth):
        reaching = [(parts[index], n) for parts, n in counts.items() if len(parts) > index]
        n_binomial = sum(n for name, n in reaching if _BINOMIAL.match(name))
        if 2 * n_binomial > sum(counts.values()):
            return index
    first = _n_shared(counts)
    for index in range(depth - 1, first, -1):
        parents = defaultdict(set)
        for parts in counts:
            if len(parts) > index:
                parents[parts[index]].add(parts[:index])
        if 2 * sum(len(above) > 1 for above in parents.values()) > len(parents):
            return index
    return first


def _n_shared(paths):
    """How many folders all paths have in common, so that each has at least one more."""
    n = 0
    while paths and all(len(parts) > n + 1 for parts in paths) and len({parts[n] for parts in paths}) == 1:
        n += 1
    return n
