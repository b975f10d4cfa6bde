"""A gallery of known birds: individuals with names, to which newcomers can be added.

A folder with ``gallery.json``, which says whose embeddings these are and names the two files of its present state: a table with ``name`` and
``source``, and an array of unit vectors, row-aligned. An addition writes two new files, then ``gallery.json``, so that a reader finds the
old gallery or the whole new one. There is one writer at a time; others wait. The distance to a bird is the mean distance to its embeddings, as in
average linkage.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import locks, runtime
from birdlib.individuals import clustering

_INDEX = "gallery.json"
FIELDS = {"key", "table", "embeddings"}
COLUMNS = ["name", "source"]
MATCH_COLUMNS = ["identity", "name", "nearest", "distance", "threshold", "false_accept"]


class GalleryError(runtime.FileError):
    """A gallery, or a file to compare with it, that cannot be used."""


def add(folder, name, embeddings, key, source=""):
    """Add what was seen of a bird, which may be known already or not.

    Args:
        folder: of the gallery; made when missing.
        name: of the bird.
        embeddings: (n, dim) unit vectors, one or more.
        key: of the embedder that made them; a gallery holds those of one.
        source: the file they were made from.

    Returns:
        int: how many embeddings the bird has now.

    Raises:
        GalleryError: if the gallery is damaged or of another embedder, or the name is blank.
        ValueError: if the embeddings are no unit vectors or of another size.
    """
    folder, name, embeddings = Path(folder), " ".join(str(name).split()), np.asarray(embeddings, np.float32)
    if not name:
        raise GalleryError(folder, "a bird needs a name that is not blank")
    clustering.distances(embeddings)  # refuses what are no unit vectors
    added = pd.DataFrame({"name": [name] * len(embeddings), "source": str(source)})
    with locks.hold(folder):
        table, known, old = pd.DataFrame(columns=COLUMNS), embeddings[:0], {}
        if (folder / _INDEX).exists():
            table, known, old = _read(folder, key)
        if known.shape[1] != embeddings.shape[1] or not len(embeddings):
            raise ValueError(f"embeddings {embeddings.shape} for a gallery of vectors of {known.shape[1]} numbers")
        _write(folder, key, pd.concat([table, added], ignore_index=True), np.concatenate([known, embeddings]), old)
    return int((table["name"] == name).sum()) + len(added)


def listing(folder):
    """Who is in a gallery: DataFrame, one row a bird in the order they came, ``name, n_embeddings, sources``.

    Raises:
        GalleryError: if there is none, or it is damaged.
    """
    table, _, _ = _read(folder)
    birds = table.groupby("name", sort=False)["source"]
    sources = birds.agg(lambda some: ", ".join(dict.fromkeys(filter(None, some))))
    return pd.DataFrame({"n_embeddings": birds.size(), "sources": sources}).reset_index()


def match(folder, embeddings, key, false_accept=0.05, are_different=False, at_most=None):
    """Which known bird is this, or is it a new one?

    How near a newcomer comes is learnt from the gallery itself: each of its birds in turn is taken for a newcomer to the others. So it takes
    two birds, and few birds cannot promise a small rate (``individuals.open_set_threshold``).

    Args:
        folder, key: as of ``add``.
        embeddings: (n, dim) unit vectors, each of a bird in question.
        false_accept: the share of newcomers that may be taken for a known bird.
        are_different: whether the birds in question are surely different ones, as those of one photo are: each known bird is then found
            once at most.
        at_most: the distance beyond which the encoder calls no two sightings the same bird (``individuals.choose_threshold``): birds of a
            gallery may be so unlike that newcomers of their kind would never come near. The only threshold for a gallery of one bird.

    Returns:
        DataFrame with ``MATCH_COLUMNS``, one row an embedding: the number of the bird in ``listing``, ``individuals.NEW`` for a new one, and
        its name, ``""`` for a new one; the nearest known bird and the distance to it or, if it is a known one, to that; the threshold; the
        false-accept rate that is promised, NaN with one bird.

    Raises:
        GalleryError: if there is no gallery, it is damaged, of another embedder, or of one bird and ``at_most`` is not given.
        ValueError: if the embeddings do not fit, or ``false_accept`` is no share.
    """
    table, known, _ = _read(folder, key)
    bird_of, names = pd.factorize(table["name"])
    means = np.stack([known[bird_of == bird].mean(axis=0, dtype=np.float64) for bird in range(len(names))])
    others = _apart_from_others(known, bird_of, means)
    threshold = clustering.open_set_threshold(others, false_accept)
    promised = max(false_accept, 1 / (len(others) + 1)) if len(others) else float("nan")
    if np.isnan(threshold):
        if at_most is None:
            raise GalleryError(folder, f"holds {names[0]} alone, and nothing tells how near others come: add another bird")
    threshold = float(np.fmin(threshold, np.inf if at_most is None else at_most))
    embeddings = np.asarray(embeddings, np.float32)
    clustering.distances(embeddings)
    apart = 1.0 - embeddings @ means.T  # (n, birds)
    nearest = apart.argmin(axis=1)
    identities = np.where(apart.min(axis=1) <= threshold, nearest, clustering.NEW)
    if are_different:
        identities[:] = clustering.NEW
        rows, birds = clustering.assign(apart, threshold).T
        identities[rows] = birds
    told = np.where(identities == clustering.NEW, nearest, identities)
    return pd.DataFrame(
        {
            "identity": identities,
            "name": np.where(identities == clustering.NEW, "", names[told]),
            "nearest": names[told],
            "distance": apart[np.arange(len(apart)), told],
            "threshold": threshold,
            "false_accept": promised,
        },
        columns=MATCH_COLUMNS,
    )


def add_files(folder, name, paths, embed, key, bird=None):
    """Add what films and photos show of a bird.

    Args:
        folder, name, key: as of ``add``.
        paths: of films and photos, each showing one bird, or ``bird`` says which.
        embed: function from a path to (individuals, dim), one unit vector for each bird that is seen.
        bird: the number of the bird in each file, from 1; None where there is but one.

    Returns:
        int: how many embeddings the bird has now.

    Raises:
        GalleryError: if a file shows no bird, or several and it is not said which; nothing is added then.
    """
    if (Path(folder) / _INDEX).exists():
        _read(folder, key)  # before the work
    vectors = []
    for path in paths:
        seen = embed(path)
        if not len(seen):
            raise GalleryError(path, "no bird is seen in it")
        if bird is None and len(seen) > 1:
            raise GalleryError(path, f"shows {len(seen)} birds: say which with --bird 1 to --bird {len(seen)}, or cut it to one")
        if bird is not None and not 1 <= bird <= len(seen):
            raise GalleryError(path, f"shows {len(seen)} birds: there is no bird {bird}")
        vectors.append(seen[[(bird or 1) - 1]])
    for path, vector in zip(paths, vectors, strict=True):
        n_embeddings = add(folder, name, vector, key, source=path)
    return n_embeddings


def match_files(folder, paths, embed, key, false_accept=0.05, at_most=None):
    """Which known birds films and photos show; those of one file are different birds.

    Args:
        folder, key, false_accept, at_most: as of ``match``.
        paths, embed: as of ``add_files``.

    Returns:
        DataFrame: ``path``, ``bird`` (its number in the file, from 1) and the columns of ``match``. A file without birds has no row.
    """
    _read(folder, key)  # before the work
    tables = []
    for path in paths:
        found = match(folder, embed(path), key, false_accept, are_different=True, at_most=at_most)
        found.insert(0, "bird", np.arange(1, len(found) + 1))
        found.insert(0, "path", str(path))
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def _apart_from_others(known, bird_of, means):
    """The distance of each embedding to the nearest of the other birds: (embeddings,), none where there is one bird."""
    if len(means) < 2:
        return np.zeros(0)
    apart = 1.0 - known @ means.T  # (embeddings, birds)
    apart[np.arange(len(known)), bird_of] = np.inf
    return apart.min(axis=1)


def _read(folder, key=None):
    """(table, embeddings, index); ``key`` is that of the embedder that is now in use."""
    folder = Path(folder)
    if not (folder / _INDEX).is_file():
        raise GalleryError(folder, "is no gallery yet: add a bird with python -m birdlib gallery add NAME FILE")
    try:
        index = runtime.read_json(folder / _INDEX)
        if not (isinstance(index, dict) and FIELDS <= index.keys()):
            raise ValueError(f"{_INDEX} has no {', '.join(sorted(FIELDS))}")
        table, embeddings = pd.read_parquet(folder / index["table"]), np.load(folder / index["embeddings"])
        if embeddings.ndim != 2 or len(table) != len(embeddings) or list(table) != COLUMNS:
            raise ValueError(f"{len(table)} rows for embeddings {embeddings.shape}")
    except (OSError, ValueError, EOFError) as error:  # pyarrow's errors are ValueErrors too
        raise GalleryError(folder, f"is damaged ({error}): delete it and add the birds again") from error
    if key is not None and index["key"] != key:
        sources = ", ".join(dict.fromkeys(filter(None, table["source"]))) or "their files"
        raise GalleryError(
            folder, f"was made by another encoder, whose distances mean something else: choose a new folder, and add the birds again from {sources}"
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
