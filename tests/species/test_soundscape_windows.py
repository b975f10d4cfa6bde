import numpy as np
import pytest
import soundfile

from birdlib import streaming
from birdlib.data import birdclef, taxonomy
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


def labels_file(folder, *lines):
    path = folder / "labels.csv"
    path.write_text("\n".join(["filename,start,end,primary_label", *lines]))
    return path


ROWS = ["S1_5", "S1_10", "S1_15", "S1_20"]


def test_annotations_apply_to_the_windows_in_their_interval_only(tmp_path):
    """An interval of 10 s labels both windows in it; an empty label means no species; labels of no class are dropped."""
    path = labels_file(tmp_path, "S1.ogg,00:00:00,00:00:05,wren;crow", "S1.ogg,5,15,crow;dragon", "S1.ogg,00:00:10,00:00:15,", "S9.ogg,0,5,wren")
    with pytest.warns(UserWarning, match="1 labels are no species of the recordings and are dropped: dragon"):
        truth = soundscape_windows.read_annotations(path, ROWS, ["crow", "wren"])
    assert np.array_equal(truth, [[1, 1], [1, 0], [1, 0], [np.nan, np.nan]], equal_nan=True)


def test_invalid_annotations_are_reported_with_their_line(tmp_path):
    with pytest.raises(soundscape_windows.WindowError, match="labels.csv, line 3: 'noon' is no time"):
        soundscape_windows.read_annotations(labels_file(tmp_path, "S1.ogg,0,5,wren", "S1.ogg,noon,5,wren"), ROWS, ["wren"])
    (tmp_path / "other.csv").write_text("row_id,birds\nS1_5,wren\n")
    with pytest.raises(soundscape_windows.WindowError, match="no column filename, start, end, primary_label"):
        soundscape_windows.read_annotations(tmp_path / "other.csv", ROWS, ["wren"])


def test_a_species_of_the_taxonomy_without_data_has_a_name(tmp_path):
    (tmp_path / "taxonomy.csv").write_text("primary_label,scientific_name,common_name\nwren,Troglodytes troglodytes,Wren\nroc,Roc roc,Roc\n")
    assert taxonomy.names(["roc"], tmp_path).loc[0, ["scientific_name", "common_name"]].tolist() == ["Roc roc", "Roc"]


def test_human_labels_are_a_table_and_the_file_is_optional(tmp_path):
    path = labels_file(tmp_path, "S1.ogg,0,5,wren")
    table = soundscape_windows.human_labels(path, ROWS, ["crow", "wren"])
    assert table[["row_id", "label", "target", "kind"]].to_numpy().tolist() == [["S1_5", "crow", 0.0, "human"], ["S1_5", "wren", 1.0, "human"]]
    assert soundscape_windows.human_labels(tmp_path / "none.csv", ROWS, ["crow"]).empty


def test_truth_is_read_in_the_order_of_rows_and_classes(tmp_path):
    """A numeric label stays text, NA is a label, a species outside the classes is dropped, an unknown row is empty."""
    (tmp_path / "truth.csv").write_text("row_id,birds\nH1_10,wren;22973\nH1_5,\nH1_15,NA;zander\n")
    classes = ["22973", "NA", "wren"]
    truth = soundscape_windows.read_truth(tmp_path / "truth.csv", ["H1_5", "H1_10", "H1_15", "H9_5"], classes)
    assert truth.tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert soundscape_windows.read_truth(tmp_path / "truth.csv", [], classes).shape == (0, 3)


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


def test_annotations_may_come_from_a_spreadsheet(tmp_path):
    """Semicolons, names in capitals, decimal commas, a list of labels."""
    path = tmp_path / "labels.csv"
    path.write_bytes("Filename;Start;End;Primary Label\na.ogg;0,0;00:00:05;['crow', 'tit']\n".encode("utf-16"))
    truth = soundscape_windows.read_annotations(path, ["a_5", "a_10"], ["crow", "owl", "tit"])
    np.testing.assert_array_equal(truth, [[1, 0, 1], [np.nan] * 3])


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


def test_the_names_of_annotated_soundscapes_are_their_stems(tmp_path):
    assert soundscape_windows.annotated_stems(labels_file(tmp_path, "S1.ogg,0,5,wren", "S1.ogg,0,5,wren", "S2,5,10,")) == {"S1", "S2"}
    assert soundscape_windows.annotated_stems(tmp_path / "none.csv") == set()


def test_annotations_that_are_named_and_missing_are_an_error(tmp_path):
    assert not soundscape_windows.annotations_path(tmp_path, soundscape_windows.ANNOTATIONS).is_file()
    assert not soundscape_windows.annotations_path(tmp_path, "").is_file()
    with pytest.raises(soundscape_windows.WindowError, match="human_labels is 'missing.csv'"):
        soundscape_windows.annotations_path(tmp_path, "missing.csv")
