"""The embedding store: a cache of embeddings on disk.

Two files for each embedder: consecutive float32 rows (an embedding and its bird score), and an index of JSON lines, one
per recording, written when its rows are complete. Both only grow. A killed process leaves an unfinished tail, which the
next writer drops. There is one writer at a time and any number of readers.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from birdlib import locks, runtime


class StoreError(runtime.BirdlibError):
    """The store cannot be written."""


def temporary_array(folder, shape):
    """A float32 array of zeros on disk, memory-mapped: a file without a name, which goes with the array or with the process, however that ends.

    Raises:
        FullDiskError: if the disk is full.
    """
    if not all(shape):
        return np.zeros(shape, np.float32)
    with runtime.full_disk_errors(Path(folder) / "temporary"), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # on a full disk, writing into the map would kill the process
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
        return np.memmap(file, np.float32, mode="w+", shape=shape)


def write_rows(path, blocks, n_rows, n_columns):
    """Write blocks of rows as one float32 ``.npy`` file, fit for memory-mapping; what is written does not stay in memory, as it would in a map.

    Args:
        path: of the file.
        blocks: iterable of (rows, n_columns), ``n_rows`` in all.

    Raises:
        FullDiskError: if the disk is full.
    """
    with runtime.replacing(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (int(n_rows), int(n_columns))}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4"))


def read_rows(path, n_rows=4096):
    """Yields the rows of a float32 ``.npy`` file, at most ``n_rows`` at a time, without a map of the file."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        (n_left, *columns), _, dtype = read(file)
        while n_left > 0:
            n = min(n_left, n_rows)
            yield np.fromfile(file, dtype, n * int(np.prod(columns))).reshape(n, *columns)
            n_left -= n


class EmbeddingStore:
    """Embeddings by key; the key must contain all that determines the input, e.g. audio digest + cleaning parameters.

    Args:
        folder: made when missing.
        embedder_key: ``key`` of the embedder; each has its own files.
    """

    def __init__(self, folder, embedder_key):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._data_path = folder / f"{embedder_key[:16]}.float32"
        self._index_path = self._data_path.with_suffix(".jsonl")
        self._data = self._index = None  # open in the writer only
        self._entries, self._end, _ = self._read_index()

    def __contains__(self, key):
        return key in self._entries

    def __len__(self):
        return len(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def get(self, key):
        """(embeddings (patches, dim), bird_score (patches,)) as read-only memory maps, or None."""
        if key not in self._entries:
            return None
        entry = self._entries[key]
        shape = (entry["rows"], entry["columns"])
        rows = np.memmap(self._data_path, np.float32, mode="r", offset=entry["start"], shape=shape)
        return rows[:, :-1], rows[:, -1]

    def put(self, key, embeddings, bird_score):
        """Store the embeddings of a recording; replaces an older entry of that key."""
        self.put_stream(key, [(embeddings, bird_score)])

    def blocks(self, key, n_rows=4096):
        """Yields ``get`` of a key, at most ``n_rows`` at a time, without a map of the file."""
        entry = self._entries[key]
        with open(self._data_path, "rb") as file:
            file.seek(entry["start"])
            for first in range(0, entry["rows"], n_rows):
                n = min(n_rows, entry["rows"] - first)
                rows = np.fromfile(file, np.float32, n * entry["columns"]).reshape(n, -1)
                yield rows[:, :-1], rows[:, -1]

    def rows(self):
        """The rows of all entries as one read-only memory map, (rows, dim + 1): the last column is the bird score; see ``span``."""
        if not self._end:
            return np.zeros((0, 1), np.float32)
        n_columns = next(iter(self._entries.values()))["columns"]
        return np.memmap(self._data_path, np.float32, mode="r", shape=(self._end // (4 * n_columns), n_columns))

    def span(self, key):
        """(first, last): the embeddings of a key are rows ``first`` to ``last`` - 1 of ``rows``."""
        entry = self._entries[key]
        first = entry["start"] // (4 * entry["columns"])
        return first, first + entry["rows"]

    def facts(self, key):
        """The ``facts`` that a key was stored with, a dict."""
        return self._entries[key].get("facts", {}) if key in self._entries else {}

    def put_stream(self, key, pieces, facts=None):
        """Store what ``embed_stream`` yields, piece by piece, in little memory; nothing is stored if it raises.

        Args:
            facts: JSON-able dict that is stored with the key; it may be filled while the pieces are read.

        Raises:
            StoreError: if another process is writing.
            FullDiskError: if the disk is full.
        """
        self._open()
        n_rows, n_columns = 0, 0
        with runtime.full_disk_errors(self._data_path):
            self._data.seek(self._end)
            self._data.truncate()  # rows of a failed put
            for embeddings, bird_score in pieces:
                rows = np.column_stack([embeddings, bird_score]).astype("<f4", copy=False)
                self._data.write(rows.tobytes())
                n_rows, n_columns = n_rows + len(rows), rows.shape[1]
            self._data.flush()
            os.fsync(self._data.fileno())  # rows before their index line
        entry = {"key": key, "start": self._end, "rows": n_rows, "columns": n_columns, **({"facts": facts} if facts else {})}
        self._index.write((json.dumps(entry) + "\n").encode())
        self._index.flush()
        self._entries[key] = entry
        self._end = self._data.tell()

    def close(self):
        """Close the files, so that another process can write."""
        for file in (self._index, self._data):
            if file:
                file.close()
        self._data = self._index = None

    def _open(self):
        if self._data:
            return
        data = self._data_path.open("ab+")
        if not locks.lock_file(data):
            data.close()
            raise StoreError(f"{self._data_path}: another process is writing to this store")
        self._entries, self._end, index_end = self._read_index()
        self._data, self._index = data, self._index_path.open("ab")
        self._index.truncate(index_end)

    def _read_index(self):
        """(entries, end of the last complete rows, end of the last complete line), in bytes."""
        entries, data_end, index_end = {}, 0, 0
        if not (self._index_path.is_file() and self._data_path.is_file()):
            return entries, data_end, index_end
        size = self._data_path.stat().st_size
        for line in self._index_path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            end = entry["start"] + 4 * entry["rows"] * entry["columns"]
            if end > size:
                break
            entries[entry["key"]] = entry
            data_end, index_end = end, index_end + len(line)
        return entries, data_end, index_end
