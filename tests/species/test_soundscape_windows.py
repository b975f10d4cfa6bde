import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import streaming
from birdlib.data import birdclef
from birdlib.models import base as embedder_base
from birdlib.models import pooling
from birdlib.species import pseudolabels, soundscape_windows
from birdlib.store import EmbeddingStore

RATE_HZ = 1000


class Loudness(embedder_base.PatchwiseEmbedder):
    """An embedder with patches of 1 s, half a second apart: their loudness, and 1."""

    name, sample_rate_hz, patch_s, hop_s, dim, key = "loudness", RATE_HZ, 1.0, 0.5, 2, "k" * 64
    _is_bird = np.array([True])
    n_files = 0

    def _predict_stream(self, blocks):
        Loudness.n_files += 1
        for patch in streaming.frames(blocks, RATE_HZ, RATE_HZ // 2):
            yield np.array([[np.abs(patch).mean(), 1.0]], np.float32), np.array([[0.5]], np.float32)


def put(path, duration_s):
    """A soundscape whose second n has the level n / 100."""
    soundfile.write(path, np.repeat(np.arange(duration_s) / 100, RATE_HZ), RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Soundscapes of 10, 61 and 3 s, and one that is a web page."""
    folder = tmp_path_factory.mktemp("soundscapes")
    paths = [put(folder / f"S{duration_s}.wav", duration_s) for duration_s in (10, 61, 3)]
    (folder / "page.wav").write_text("<html>not found</html>")
    store = EmbeddingStore(folder / "store", Loudness.key)
    readable, skipped = soundscape_windows.embed([*paths, folder / "page.wav"], Loudness(), store)
    assert readable == paths
    return folder, paths, store, skipped


def test_soundscapes_have_the_windows_of_a_submission_and_broken_ones_are_skipped(embedded):
    folder, paths, _, skipped = embedded
    windows = soundscape_windows.cut([*paths, folder / "page.wav"])
    assert windows.groupby("soundscape", sort=False).size().to_dict() == {"S10": 2, "S61": 13, "S3": 1}
    assert windows["row_id"].tolist() == [birdclef.row_id(path, end_s) for path, n in zip(paths, (2, 13, 1), strict=True) for end_s in 5 * (np.arange(n) + 1)]
    assert skipped["path"].tolist() == ["page.wav"] and set(skipped["stage"]) == {"06_pseudolabel"}


def test_the_patches_of_a_window_are_those_whose_centres_lie_in_it(embedded, tmp_path):
    _, paths, store, _ = embedded
    windows = soundscape_windows.cut(paths)
    patches = soundscape_windows.assemble(windows, paths, Loudness(), store, tmp_path / "e.npy")
    embeddings = np.load(tmp_path / "e.npy", mmap_mode="r")
    assert len(patches) == len(embeddings) and patches["recording_id"].unique().tolist() == windows["row_id"].tolist()
    bounds = windows.set_index("row_id").loc[patches["recording_id"]]
    centres_s = (patches["start_s"] + patches["end_s"]).to_numpy() / 2
    last = (bounds["end_s"] == 65).to_numpy()  # two centres lie in the last second of 61 s
    assert ((centres_s >= bounds["start_s"]) & (centres_s < bounds["end_s"])).all() and last.sum() == 2
    inside = embeddings[(patches["start_s"] == 7.0) & (patches["recording_id"] == "S10_10")]
    assert inside[0] == pytest.approx([0.07, 1.0], abs=1e-3)


def test_pooled_windows_do_not_depend_on_order_or_number(embedded, tmp_path):
    """What 07 reads are the patches of the windows that have labels."""
    _, paths, store, _ = embedded
    windows = soundscape_windows.cut(paths)

    def pooled(rows):
        layer = pooling.build_pooling(view_dim=2)
        return soundscape_windows.features(rows, paths, Loudness(), store, tmp_path, layer)

    assert np.allclose(pooled(windows.iloc[[9, 0, 15]]), pooled(windows)[[9, 0, 15]])
    assert pooled(windows[:0]).shape == (0, 4) and not list(tmp_path.iterdir())


def test_pooled_windows_are_not_in_memory(tmp_path):
    """Of 20,000 windows they take 10 MB."""
    embedder, store = Loudness(), EmbeddingStore(tmp_path, "k" * 64)
    embedder.dim, paths = 64, [tmp_path / f"S{number}.flac" for number in range(4)]  # files that are gone have a key, too
    with store:
        store.put(soundscape_windows._key(paths[0]), np.random.default_rng(0).random((50_000, 64), np.float32), np.full(50_000, 0.5, np.float32))
    spans = [(stem, 5.0 * number) for stem in ("S0", "S1", "S2", "S3") for number in range(5000)]
    windows = pd.DataFrame([(f"{stem}_{start_s}", stem, start_s, start_s + 5) for stem, start_s in spans], columns=soundscape_windows.COLUMNS)
    layer = pooling.build_pooling(64)
    soundscape_windows.features(windows[:9], paths, embedder, store, tmp_path, layer)
    tracemalloc.start()
    found = soundscape_windows.features(windows, paths, embedder, store, tmp_path, layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (20_000, 128) and np.array_equal(found[:5000], found[5000:10_000]) and np.ptp(found) > 0
    assert peak < 8e6 < found.nbytes


def test_a_soundscape_is_embedded_once(embedded):
    _, paths, store, _ = embedded
    before = Loudness.n_files
    assert soundscape_windows.embed(paths, Loudness(), store)[0] == paths and Loudness.n_files == before


def test_soundscapes_are_sampled_each_stem_once(embedded):
    _, paths, *_ = embedded
    twin = paths[0].with_suffix(".ogg")
    samples = [soundscape_windows.sample([*paths, twin], 2, np.random.default_rng(seed)) for seed in range(20)]
    assert all(len(set(sample)) == 2 and twin not in sample for sample in samples) and len({tuple(sample) for sample in samples}) > 1
    assert soundscape_windows.sample([*paths, twin], 99, np.random.default_rng(0)) == paths
    assert soundscape_windows.sample([], 5, np.random.default_rng(0)) == []


def test_test_soundscapes_with_a_truth_are_held_out(tmp_path):
    """Unreadable ones are left out; without a truth there is nothing to evaluate on."""
    (tmp_path / "test_soundscapes").mkdir()
    put(tmp_path / "test_soundscapes" / "T1.wav", 10)
    (tmp_path / "test_soundscapes" / "page.wav").write_text("<html>not found</html>")
    arguments = ["crow", "wren"], 5.0, Loudness(), EmbeddingStore(tmp_path / "store", Loudness.key), tmp_path, pooling.build_pooling(2, "mean")
    assert soundscape_windows.held_out_set(tmp_path, *arguments) is None
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "soundscape_labels.csv").write_text("row_id,birds\nT1_5,wren\nT1_10,\n")
    features, truth, soundscapes = soundscape_windows.held_out_set(tmp_path, *arguments)
    assert features.shape == (2, 2) and truth.tolist() == [[0, 1], [0, 0]] and soundscapes.tolist() == ["T1", "T1"]


def test_labelled_windows_name_their_sound_file(embedded):
    folder, paths, *_ = embedded
    windows, labels = soundscape_windows.cut(paths), pseudolabels.from_annotations([[1.0]], ["S61_5"], ["wren"])
    table = soundscape_windows.labelled(windows, labels, paths, folder)
    assert table[["row_id", "audio_path"]].to_numpy().tolist() == [["S61_5", "S61.wav"]] and list(table)[2] == "audio_path"


def test_annotated_soundscapes_are_always_among_the_sampled(embedded):
    _, paths, *_ = embedded
    for seed in range(10):
        chosen = soundscape_windows.sample(paths, 2, np.random.default_rng(seed), {"S61"})
        assert len(chosen) == 2 and paths[1] in chosen
    assert soundscape_windows.sample(paths, 1, np.random.default_rng(0), {"S61", "S3"}) == paths[1:]


def test_training_soundscapes_with_the_name_of_a_test_soundscape_are_left_out(tmp_path):
    for name in ("train_soundscapes/S1.wav", "train_soundscapes/S2.wav", "test_soundscapes/S2.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        put(tmp_path / name, 1)
    assert soundscape_windows.available(tmp_path) == [tmp_path / "train_soundscapes" / "S1.wav"]
