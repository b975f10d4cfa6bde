"""A gallery of known birds: individuals with names, to which new ones can be added.

A folder with ``gallery.json``, which holds the key of the embedder and the names of the two files of the present state: a table with
``name`` and ``source``, and an array of unit vectors, row-aligned. An addition writes two new files, then ``gallery.json``, so that a
reader finds the old gallery or the whole new one. Writers take turns. The distance to a bird is the mean distance to its embeddings, as
in average linkage.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import locks, runtime
from birdlib.individuals import clustering, open_set_threshold
from birdlib.metrics.identity import UNKNOWN

_INDEX = "gallery.json"
_FIELDS = {"key", "table", "embeddings"}
_COLUMNS = ["name", "source"]


class GalleryError(runtime.FileError):
    """A gallery, or a file to compare with it, that cannot be used."""


def add(folder, name, embeddings, key, source=""):
    """Add embeddings of a bird, known or new.

    Args:
        folder: of the gallery; created when missing.
        name: of the bird.
        embeddings: (n, dim) unit vectors, one or more.
        key: of the embedder; a gallery holds embeddings of one.
        source: the embedded file.

    Returns:
        int: how many embeddings the bird has now.

    Raises:
        GalleryError: if the gallery is damaged or of another embedder, or the name is blank.
        ValueError: if the embeddings are no unit vectors or of another dimension.
    """
    folder, name, embeddings = Path(folder), " ".join(str(name).split()), np.asarray(embeddings, np.float32)
    if not name:
        raise GalleryError(folder, "a bird needs a name that is not blank: give one")
    clustering.distances(embeddings)  # raises where they are no unit vectors
    added = pd.DataFrame({"name": [name] * len(embeddings), "source": str(source)})
    with locks.lock_folder(folder):
        table, known, old = pd.DataFrame(columns=_COLUMNS), embeddings[:0], {}
        if (folder / _INDEX).exists():
            table, known, old = _read(folder, key)
        if known.shape[1] != embeddings.shape[1] or not len(embeddings):
            raise ValueError(f"embeddings {embeddings.shape} for a gallery of {known.shape[1]} dimensions")
        _write(folder, key, pd.concat([table, added], ignore_index=True), np.concatenate([known, embeddings]), old)
    return int((table["name"] == name).sum()) + len(added)


def list_birds(folder):
    """The birds of a gallery: DataFrame, one row a bird in the order of addition, ``name, n_embeddings, sources``.

    Raises:
        GalleryError: if there is none, or it is damaged.
    """
    table, _, _ = _read(folder)
    birds = table.groupby("name", sort=False)["source"]
    sources = birds.agg(lambda names: ", ".join(dict.fromkeys(filter(None, names))))
    return pd.DataFrame({"n_embeddings": birds.size(), "sources": sources}).reset_index()


def match(folder, embeddings, key, false_accept=0.05, one_to_one=False, max_distance=None):
    """Identify birds: a known one, or new.

    The threshold is estimated from the gallery: each of its birds in turn is treated as new to the others. So it takes two birds, and few
    birds cannot guarantee a small rate (``open_set_threshold.choose``).

    Args:
        folder, key: as in ``add``.
        embeddings: (n, dim) unit vectors, one a bird.
        false_accept: the share of new birds that may be taken for a known one.
        one_to_one: whether the embeddings are of different birds, as those of one photo: each known bird is then found once at most.
        max_distance: upper limit of the threshold, the equal-error threshold of the encoder (``clustering.choose_threshold``): a gallery of
            very different birds would accept any bird. The only threshold for a gallery of one bird.

    Returns:
        DataFrame, one row an embedding: ``identity`` (row in ``list_birds``, ``UNKNOWN`` for a new bird), ``name`` (``""`` for a new bird),
        ``nearest`` known bird, ``distance`` to the identified bird, or to the nearest one if it is new; ``threshold``; ``false_accept``, the
        guaranteed rate, NaN with one bird.

    Raises:
        GalleryError: if there is no gallery, it is damaged, of another embedder, or of one bird and ``max_distance`` is not given.
        ValueError: if the embeddings do not fit, or ``false_accept`` is no share.
    """
    table, known, _ = _read(folder, key)
    bird_of, names = pd.factorize(table["name"])
    means = np.stack([known[bird_of == bird].mean(axis=0, dtype=np.float64) for bird in range(len(names))])
    others = _distances_to_others(known, bird_of, means)
    threshold = open_set_threshold.choose(others, false_accept, bird_of[: len(others)])
    guaranteed = open_set_threshold.guaranteed_rate(len(names) if len(others) else 0, false_accept)
    if np.isnan(threshold) and max_distance is None:
        raise GalleryError(folder, f"holds {names[0]} alone, and a threshold needs two birds: add another bird")
    threshold = float(np.fmin(threshold, np.inf if max_distance is None else max_distance))
    embeddings = np.asarray(embeddings, np.float32)
    clustering.distances(embeddings)
    distances = 1.0 - embeddings @ means.T  # (n, birds)
    nearest = distances.argmin(axis=1)
    identities = np.where(distances.min(axis=1) <= threshold, nearest, UNKNOWN)
    if one_to_one:
        identities[:] = UNKNOWN
        rows, birds = clustering.assign(distances, threshold).T
        identities[rows] = birds
    is_new = identities == UNKNOWN
    reported = np.where(is_new, nearest, identities)
    return pd.DataFrame({
        "identity": identities, "name": np.where(is_new, "", names[reported]), "nearest": names[reported],
        "distance": distances[np.arange(len(distances)), reported], "threshold": threshold, "false_accept": guaranteed,
    })  # fmt: skip


def add_files(folder, name, paths, embed, key, bird=None):
    """Add a bird from films and photos.

    Args:
        folder, name, key: as in ``add``.
        paths: of films and photos, each of one bird if ``bird`` is None.
        embed: function from a path to (individuals, dim), one unit vector for each bird in the file.
        bird: the number of the bird in each file, from 1.

    Returns:
        int: how many embeddings the bird has now.

    Raises:
        GalleryError: if a file shows no bird, or several and ``bird`` is None; nothing is added then.
    """
    if (Path(folder) / _INDEX).exists():
        _read(folder, key)  # errors come before the files are embedded
    vectors = []
    for path in paths:
        found = embed(path)
        if not len(found):
            raise GalleryError(path, "no bird was detected: give a film or photo in which it is larger, or crop the file")
        if bird is None and len(found) > 1:
            raise GalleryError(path, f"shows {len(found)} birds: choose one with --bird 1 to --bird {len(found)}, or crop the file")
        if bird is not None and not 1 <= bird <= len(found):
            raise GalleryError(path, f"shows {len(found)} birds: there is no bird {bird}, choose --bird 1 to --bird {len(found)}")
        vectors.append(found[[(bird or 1) - 1]])
    for path, vector in zip(paths, vectors, strict=True):
        n_embeddings = add(folder, name, vector, key, source=runtime.printable(path))
    return n_embeddings


def match_files(folder, paths, embed, key, false_accept=0.05, max_distance=None):
    """Identify the birds of films and photos; those of one file are different birds.

    Args:
        folder, key, false_accept, max_distance: as in ``match``.
        paths, embed: as in ``add_files``.

    Returns:
        DataFrame: ``path``, ``bird`` (its number in the file, from 1) and the columns of ``match``. A file without birds has no row.
    """
    _read(folder, key)  # errors come before the files are embedded
    tables = []
    for path in paths:
        found = match(folder, embed(path), key, false_accept, one_to_one=True, max_distance=max_distance)
        found.insert(0, "bird", np.arange(1, len(found) + 1))
        found.insert(0, "path", runtime.printable(path))
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def _distances_to_others(known, bird_of, means):
    """The distance of each embedding to the nearest other bird: (embeddings,), empty for one bird."""
    if len(means) < 2:
        return np.zeros(0)
    distances = 1.0 - known @ means.T  # (embeddings, birds)
    distances[np.arange(len(known)), bird_of] = np.inf
    return distances.min(axis=1)


def _read(folder, key=None):
    """(table, embeddings, index); ``key`` is that of the embedder in use."""
    folder = Path(folder)
    if not (folder / _INDEX).is_file():
        raise GalleryError(folder, "is no gallery yet: add a bird with python -m birdlib gallery add NAME FILE")
    try:
        index = runtime.read_json(folder / _INDEX)
        if not (isinstance(index, dict) and _FIELDS <= index.keys()):
            raise ValueError(f"{_INDEX} has no {', '.join(sorted(_FIELDS))}")
        table, embeddings = pd.read_parquet(folder / index["table"]), np.load(folder / index["embeddings"])
        if embeddings.ndim != 2 or len(table) != len(embeddings) or list(table) != _COLUMNS:
            raise ValueError(f"{len(table)} rows for embeddings {embeddings.shape}")
    except (OSError, ValueError, EOFError) as error:  # pyarrow's errors are ValueErrors too
        raise GalleryError(folder, f"is damaged ({error}): delete it and add the birds again") from error
    if key is not None and index["key"] != key:
        sources = ", ".join(dict.fromkeys(filter(None, table["source"]))) or "their files"
        raise GalleryError(
            folder, f"was made by another encoder, with other distances: choose a new folder, and add the birds again from {sources}"
        )  # fmt: skip
    return table, embeddings, index


def _write(folder, key, table, embeddings, old):
    state = runtime.digest([table.to_dict("list"), embeddings.tolist()])[:12]
    index = {"key": key, "table": f"birds-{state}.parquet", "embeddings": f"embeddings-{state}.npy"}
    runtime.write_table(table, folder / index["table"])
    with runtime.replacing(folder / index["embeddings"]) as temporary:
        np.save(temporary, embeddings)
    runtime.write_json(index, folder / _INDEX)
    for file_name in {old.get("table"), old.get("embeddings")} - {None, *index.values()}:
        (folder / file_name).unlink(missing_ok=True)
