import numpy as np
import pytest
import soundfile

from birdlib import streaming
from birdlib.data import birdclef, taxonomy
from birdlib.models import base as embedder_base
from birdlib.models import pooling
from birdlib.species import soundscape_windows
from birdlib.store import EmbeddingStore

RATE_HZ = 1000


class Clock(embedder_base.PatchwiseEmbedder):
    """Its patches of 1 s, half a second apart, tell how loud they are, and how many they are."""

    name, sample_rate_hz, patch_s, hop_s, dim, key = "clock", RATE_HZ, 1.0, 0.5, 2, "k" * 64
    _birds = np.array([True])
    asked = 0

    def _pieces(self, blocks):
        Clock.asked += 1
        for patch in streaming.frames(blocks, RATE_HZ, RATE_HZ // 2):
            yield np.array([[np.abs(patch).mean(), 1.0]], np.float32), np.array([[0.5]], np.float32)


def put(path, duration_s):
    """A soundscape whose second n has the level n / 100."""
    soundfile.write(path, np.repeat(np.arange(duration_s) / 100, RATE_HZ), RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Soundscapes of 10, 61 and 3 s, and one that is a web page."""
    folder = tmp_path_factory.mktemp("soundscapes")
    paths = [put(folder / f"S{duration_s}.wav", duration_s) for duration_s in (10, 61, 3)]
    (folder / "page.wav").write_text("<html>not found</html>")
    store = EmbeddingStore(folder / "store", Clock.key)
    skipped = soundscape_windows.embed([*paths, folder / "page.wav"], Clock(), store)
    return folder, paths, store, skipped


def test_short_and_long_soundscapes_have_the_windows_of_a_submission_and_broken_ones_are_told(heard):
    folder, paths, _, skipped = heard
    windows, lost = soundscape_windows.cut([*paths, folder / "page.wav"])
    assert windows.groupby("soundscape", sort=False).size().to_dict() == {"S10": 2, "S61": 13, "S3": 1}
    assert windows["row_id"].tolist() == [birdclef.row_id(path, end_s) for path, n in zip(paths, (2, 13, 1), strict=True) for end_s in 5 * (np.arange(n) + 1)]
    assert skipped["path"].tolist() == lost["path"].tolist() == ["page.wav"] and set(skipped["stage"]) == {"06_pseudolabel"}


def test_the_patches_of_a_window_are_those_whose_centres_lie_in_it(heard, tmp_path):
    _, paths, store, _ = heard
    windows, _ = soundscape_windows.cut(paths)
    patches = soundscape_windows.assemble(windows, paths, Clock(), store, tmp_path / "e.npy")
    embeddings = np.load(tmp_path / "e.npy", mmap_mode="r")
    assert len(patches) == len(embeddings) and patches["recording_id"].unique().tolist() == windows["row_id"].tolist()
    bounds = windows.set_index("row_id").loc[patches["recording_id"]]
    centres_s = (patches["start_s"] + patches["end_s"]).to_numpy() / 2
    last = (bounds["end_s"] == 65).to_numpy()  # two centres lie in the last second of 61 s
    assert ((centres_s >= bounds["start_s"]) & (centres_s < bounds["end_s"])).all() and last.sum() == 2
    inside = embeddings[(patches["start_s"] == 7.0) & (patches["recording_id"] == "S10_10")]
    assert inside[0] == pytest.approx([0.07, 1.0], abs=1e-3)


def test_windows_in_another_order_and_fewer_of_them_are_pooled_the_same(heard, tmp_path):
    """What 07 reads are the patches of the windows that have labels."""
    _, paths, store, _ = heard
    windows, _ = soundscape_windows.cut(paths)

    def pooled(some):
        layer = pooling.build_pooling(view_dim=2)
        return soundscape_windows.features(some, paths, Clock(), store, tmp_path, layer)

    some = windows.iloc[[9, 0, 15]]
    assert np.allclose(pooled(some), pooled(windows)[[9, 0, 15]])
    assert pooled(windows[:0]).shape == (0, 4) and not list(tmp_path.iterdir())


def test_a_soundscape_is_heard_once(heard):
    _, paths, store, _ = heard
    before = Clock.asked
    assert not len(soundscape_windows.embed(paths, Clock(), store)) and Clock.asked == before


def test_at_most_so_many_soundscapes_are_drawn_each_stem_once(heard):
    _, paths, *_ = heard
    twin = paths[0].with_suffix(".ogg")
    drawn = [soundscape_windows.draw([*paths, twin], 2, np.random.default_rng(seed)) for seed in range(20)]
    assert all(len(set(some)) == 2 and twin not in some for some in drawn) and len({tuple(some) for some in drawn}) > 1
    assert soundscape_windows.draw([*paths, twin], 99, np.random.default_rng(0)) == paths
    assert soundscape_windows.draw([], 5, np.random.default_rng(0)) == []


def labels_file(folder, *lines):
    path = folder / "labels.csv"
    path.write_text("\n".join(["filename,start,end,primary_label", *lines]))
    return path


ROWS = ["S1_5", "S1_10", "S1_15", "S1_20"]


def test_what_people_wrote_is_believed_for_windows_that_they_heard_and_no_other(tmp_path):
    """A stretch of 10 s speaks of both windows in it; nobody there is an answer; a label of no class is none."""
    path = labels_file(tmp_path, "S1.ogg,00:00:00,00:00:05,wren;crow", "S1.ogg,5,15,crow;dragon", "S1.ogg,00:00:10,00:00:15,", "S9.ogg,0,5,wren")
    truth = soundscape_windows.read_labels(path, ROWS, ["crow", "wren"])
    assert np.array_equal(truth, [[1, 1], [1, 0], [1, 0], [np.nan, np.nan]], equal_nan=True)


def test_labels_that_cannot_be_read_are_told_with_their_line(tmp_path):
    with pytest.raises(soundscape_windows.WindowError, match="labels.csv, line 3: 'noon' is no time"):
        soundscape_windows.read_labels(labels_file(tmp_path, "S1.ogg,0,5,wren", "S1.ogg,noon,5,wren"), ROWS, ["wren"])
    (tmp_path / "other.csv").write_text("row_id,birds\nS1_5,wren\n")
    with pytest.raises(soundscape_windows.WindowError, match="no column filename, start, end, primary_label"):
        soundscape_windows.read_labels(tmp_path / "other.csv", ROWS, ["wren"])


def test_a_species_of_the_taxonomy_without_data_has_a_name(tmp_path):
    (tmp_path / "taxonomy.csv").write_text("primary_label,scientific_name,common_name\nwren,Troglodytes troglodytes,Wren\nroc,Roc roc,Roc\n")
    assert taxonomy.names(["roc"], tmp_path).loc[0, ["scientific_name", "common_name"]].tolist() == ["Roc roc", "Roc"]
