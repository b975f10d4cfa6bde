import os
import subprocess
import sys
import time

import numpy as np
import pytest

from birdlib.store import EmbeddingStore, StoreError, read_rows, temporary_array, write_rows

WRITER = """
import sys, time
import numpy as np
from birdlib import store as embedding_store

def entry(number):
    rng = np.random.default_rng(number)
    return rng.random((50 + number, 8), np.float32), rng.random(50 + number, np.float32)

def slowly(pieces):
    for piece in pieces:
        yield piece
        time.sleep(0.01)

folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with embedding_store.EmbeddingStore(folder, "key") as store:
    for number in range(first, last):
        if f"recording {number}" in store:
            continue
        embeddings, bird_score = entry(number)
        halves = [(embeddings[:20], bird_score[:20]), (embeddings[20:], bird_score[20:])]
        store.put_stream(f"recording {number}", slowly(halves))
"""


def start_writer(folder, first=0, last=30):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(first), str(last)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_writer_resumes_where_it_stopped(tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    assert start_writer(undisturbed).wait() == 0
    writer = start_writer(killed)
    index = killed / "key.jsonl"
    deadline = time.monotonic() + 60
    while not (index.is_file() and index.read_bytes().count(b"\n") >= 5) and time.monotonic() < deadline:
        time.sleep(0.005)
    writer.kill()
    writer.wait()
    assert 5 <= len(EmbeddingStore(killed, "key")) < 30
    assert start_writer(killed).wait() == 0
    assert contents(killed) == contents(undisturbed)


@pytest.mark.parametrize("name", ["key.float32", "key.jsonl"])
def test_an_unfinished_tail_is_dropped(tmp_path, name):
    """Whatever byte a file ends at, whole entries stay and the rest is written again to the same bytes."""
    assert start_writer(tmp_path / "whole", last=3).wait() == 0
    expected = contents(tmp_path / "whole")
    for n_bytes in (0, 10, len(expected[name]) // 2, len(expected[name]) - 1):
        folder = tmp_path / f"cut_{n_bytes}"
        folder.mkdir()
        for file, data in expected.items():
            (folder / file).write_bytes(data[:n_bytes] if file == name else data)
        assert len(EmbeddingStore(folder, "key")) < 3
        rewrite(folder)
        assert contents(folder) == expected


def rewrite(folder):
    with EmbeddingStore(folder, "key") as store:
        for number in range(3):
            rng = np.random.default_rng(number)
            if f"recording {number}" not in store:
                store.put(
                    f"recording {number}", rng.random((50 + number, 8), np.float32), rng.random(50 + number, np.float32)
                )


def test_put_and_get(tmp_path):
    rng = np.random.default_rng(0)
    embeddings, bird_score = rng.random((50, 4), np.float32), rng.random(50, np.float32)
    with EmbeddingStore(tmp_path, "key") as store:
        assert store.get("robin") is None
        store.put("robin", embeddings, bird_score)
        store.put("wren", embeddings[:1], bird_score[:1])
    for some in (store, EmbeddingStore(tmp_path, "key")):
        got = some.get("robin")
        assert np.array_equal(got[0], embeddings) and np.array_equal(got[1], bird_score)
        assert some.get("wren")[0].shape == (1, 4) and len(some) == 2 and "wren" in some


def test_all_rows_are_one_array_in_which_a_key_is_a_span(tmp_path):
    """With what else was stored of a key, also where that is known only at the end."""
    rng, facts = np.random.default_rng(0), {}
    entries = {name: (rng.random((n, 4), np.float32), rng.random(n, np.float32)) for name, n in (("robin", 5), ("wren", 3))}

    def pieces():
        yield entries["wren"]
        facts["duration_s"] = 1.5

    with EmbeddingStore(tmp_path, "key") as store:
        assert store.rows().shape[0] == 0 and store.facts("wren") == {}
        store.put("robin", *entries["robin"])
        store.put_stream("wren", pieces(), facts)
    store = EmbeddingStore(tmp_path, "key")
    first, last = store.span("wren")
    assert (first, last) == (5, 8) and np.array_equal(store.rows()[first:last, :-1], entries["wren"][0])
    assert np.array_equal(store.rows()[:5, -1], entries["robin"][1])
    assert store.facts("wren") == {"duration_s": 1.5} and store.facts("robin") == store.facts("owl") == {}


def test_a_temporary_array_leaves_no_file(tmp_path):
    array = temporary_array(tmp_path, (3, 4))
    array[1] = 7
    assert array.dtype == np.float32 and array.sum() == 28 and temporary_array(tmp_path, (0, 4)).shape == (0, 4)
    assert os.name == "nt" or not list(tmp_path.iterdir())


def test_rows_written_and_read_in_blocks_are_an_array_of_numpy(tmp_path):
    array = np.random.default_rng(0).random((10, 3), np.float32)
    write_rows(tmp_path / "a.npy", np.array_split(array, 4), 10, 3)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), array)
    blocks = list(read_rows(tmp_path / "a.npy", n_rows=4))
    assert [len(block) for block in blocks] == [4, 4, 2] and np.array_equal(np.concatenate(blocks), array)
    write_rows(tmp_path / "none.npy", [], 0, 3)
    assert np.load(tmp_path / "none.npy").shape == (0, 3) and not list(read_rows(tmp_path / "none.npy"))


def test_blocks_of_a_key_are_its_rows(tmp_path):
    embeddings, bird_score = np.random.default_rng(0).random((7, 4), np.float32), np.arange(7, dtype=np.float32)
    with EmbeddingStore(tmp_path, "key") as store:
        store.put("robin", embeddings + 1, bird_score + 1)
        store.put("wren", embeddings, bird_score)
    blocks, scores = zip(*store.blocks("wren", n_rows=3), strict=True)
    assert list(map(len, blocks)) == [3, 3, 1] and np.array_equal(np.concatenate(blocks), embeddings) and np.array_equal(np.concatenate(scores), bird_score)


def test_embedders_do_not_share_entries(tmp_path):
    with EmbeddingStore(tmp_path, "a" * 64) as store:
        store.put("robin", np.ones((2, 4), np.float32), np.ones(2, np.float32))
    assert EmbeddingStore(tmp_path, "b" * 64).get("robin") is None


def test_a_put_that_raises_stores_nothing(tmp_path):
    def broken():
        yield np.ones((5, 4), np.float32), np.ones(5, np.float32)
        raise ValueError("the file ends here")

    with EmbeddingStore(tmp_path, "key") as store:
        with pytest.raises(ValueError, match="ends here"):
            store.put_stream("broken", broken())
        store.put("robin", np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
        assert "broken" not in store and not store.get("robin")[0].any()
    assert (tmp_path / "key.float32").stat().st_size == 2 * 5 * 4


def test_there_is_one_writer_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    row = np.zeros((1, 4), np.float32), np.zeros(1, np.float32)
    with EmbeddingStore(tmp_path, "key") as first:
        first.put("robin", *row)
        second = EmbeddingStore(tmp_path, "key")
        assert second.get("robin") is not None
        with pytest.raises(StoreError, match="another process is writing"):
            second.put("wren", *row)
    second.put("wren", *row)
    assert len(second) == 2
    second.close()
