import types

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from birdlib import __main__, runtime, stages
from birdlib.audio import cleaning
from birdlib.audio import io as audio_io
from birdlib.models import embedders, vgg16
from birdlib.multimodal import encoders, image_features, pairs, search
from birdlib.video import images as video_images
from birdlib.video import kinds

RATE_HZ, DIM, N_PATCHES = 1000, 6, 4
PATHS = ["wren.png", "crow.png", "wren.wav", "crow.wav"]


class Embedder:
    """A patch is a second; its embedding is the size of its first frequencies. Loud patches have a bird in them."""

    name, sample_rate_hz, resampler, key = "yamnet", RATE_HZ, "soxr_hq", "k" * 8

    def embed(self, waveform):
        patches = waveform[: len(waveform) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
        embeddings = np.abs(np.fft.rfft(patches)[:, 10 : 10 * DIM + 1 : 10]).astype(np.float32)
        return embeddings, np.clip(np.abs(patches).max(axis=1), 0, 1).astype(np.float32)


class Seen:
    """In place of VGG16: the mean colour of each half of a picture."""

    shape = (6,)

    def __init__(self, root, table):
        self.images = [image_features.as_input(video_images.read_image(root / path)) for path in table["image_path"]]

    def __call__(self, row, view):
        return frozen().predict(self.images[row][None].astype(np.float32), verbose=0)[0]


def frozen():
    import keras

    images = keras.Input((vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE, 3), name="image")
    halves = keras.layers.AveragePooling2D((vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE // 2))(images)
    return keras.Model(images, keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(halves)))


def write_media(root):
    """Two birds in two colours, each with a song of six seconds in one tone, the fourth and fifth the loudest."""
    seconds = np.arange(6 * RATE_HZ) / RATE_HZ
    loudness = np.array([0.1, 0.1, 0.1, 0.8, 0.7, 0.1]).repeat(RATE_HZ)
    for name, colour, pitch_hz in (("wren", (200, 30, 30), 10), ("crow", (20, 40, 220), 40)):
        image = np.zeros((50, 60, 3), np.uint8)
        image[:, :30] = colour
        Image.fromarray(image).save(root / f"{name}.png")
        waveform = loudness * np.sin(2 * np.pi * pitch_hz * seconds)
        soundfile.write(root / f"{name}.wav", waveform, RATE_HZ, subtype="FLOAT")


def make_library(root, has_photos=True, spans=()):
    """The wren's photo is repeated in test: the index names it once."""
    table = pd.DataFrame({"recording_id": ["p0", "p1", "p0"], "species": ["wren", "crow", "wren"]})
    table["image_path"] = table["species"] + ".png"
    table = table.assign(individual_id="", split=["train", "train", "test"], is_repeated=[False, False, True])
    sounds = table[:2].assign(recording_id=["a0", "a1"], audio_path=["wren.wav", "crow.wav"], image_path="")
    embedder, parts = Embedder(), []
    for path in sounds["audio_path"]:
        waveform, rate_hz = audio_io.read(root / path, RATE_HZ)
        parts.append(embedder.embed(cleaning.apply_policy(waveform, rate_hz, spans, "remove")))
    embeddings, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    n = len(parts[0][0])
    sounds = sounds.assign(first=[0, n], last=[n, 2 * n])
    seen = Seen(root, table) if has_photos else None
    return pairs.Library(table if has_photos else table[:0], sounds, seen, embeddings, weights, N_PATCHES)


def image_encoder():
    import keras

    features = keras.Input((6,), name="image_features")
    return keras.Model({"image_features": features}, keras.layers.UnitNormalization()(keras.layers.Dense(8)(features)))


def make_stage(outputs_dir, root, has_photos=True, spans=()):
    """The files of stage 04, by an untrained encoder."""
    runtime.set_seed(0)
    library = make_library(root, has_photos, spans)
    audio = encoders.audio_encoder(DIM, dim=8, view_dim=DIM, units=3)
    encoder = encoders.fused_encoder(image_encoder() if has_photos else None, audio)
    vectors, table = search.index(encoder, library)
    folder = outputs_dir / "04_triplet"
    folder.mkdir(parents=True)
    (encoders.with_images(frozen(), encoder) if has_photos else encoder).save(folder / "fused_encoder.keras")
    np.save(folder / "embeddings.npy", vectors)
    runtime.write_table(table, folder / "index.parquet")
    made_with = {
        "02_clean": {"parameters": {"policy": "remove", "denoise": "none", "speech_threshold": 0.6, "seed": 0}},
        "03_embed": {"parameters": {"embedder": "yamnet", "octave_down": True, "resampler": "kaiser_best"}, "results": {"key": Embedder.key}},
        "04_triplet": {},
    }
    for name, facts in made_with.items():
        runtime.write_json({name: kind() for name, kind in stages.FIELDS.items()} | facts, outputs_dir / name / stages.RECEIPT)
    runtime.write_json(search.preprocessing(outputs_dir, N_PATCHES), folder / "preprocessing.json")
    return vectors, table


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("outputs")
    make_stage(folder, root)
    return folder


@pytest.fixture(scope="module")
def sound_outputs(tmp_path_factory, root):
    """Of a manifest without photos."""
    folder = tmp_path_factory.mktemp("sounds")
    make_stage(folder, root, has_photos=False)
    return folder


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """The arguments by which embedders are loaded."""
    calls = []
    monkeypatch.setattr(embedders, "load", lambda *arguments, **options: calls.append((*arguments, options)) or Embedder())
    return calls


def test_index_has_each_photo_and_each_sound_once(outputs):
    folder = outputs / "04_triplet"
    table, vectors = pd.read_parquet(folder / "index.parquet"), np.load(folder / "embeddings.npy")
    assert list(table) == ["recording_id", "kind", "species", "split", "path"]
    assert table["path"].tolist() == PATHS and table["kind"].tolist() == ["photo"] * 2 + ["sound"] * 2
    assert table["recording_id"].tolist() == ["p0", "p1", "a0", "a1"]
    assert set(table["split"]) == {"train"}  # its own, not that in which it is repeated
    assert vectors.shape == (4, 8) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_query_in_the_index_finds_itself(outputs, root, path):
    found = search.find([str(root / path)], outputs)
    assert list(found) == ["cosine", "kind", "species", "recording_id", "path"]
    assert found["path"][0] == path and found["cosine"][0] == pytest.approx(1, abs=1e-4)
    assert len(found) == 4 and found["cosine"].is_monotonic_decreasing and found["cosine"].between(-1.001, 1.001).all()


def test_query_is_cleaned_as_the_index_was(tmp_path, root, monkeypatch):
    """Speech in the second, third and fourth second was removed from the index."""
    spans = np.array([[1.0, 4.0]])
    monkeypatch.setattr(cleaning.vad, "probabilities_to_spans", lambda *_, **__: spans)
    make_stage(tmp_path, root, has_photos=False, spans=spans)
    assert search.find([root / "crow.wav"], tmp_path)["cosine"][0] > 0.999
    path = tmp_path / "04_triplet" / "preprocessing.json"
    made_with = runtime.read_json(path)
    made_with["cleaning"]["policy"] = "keep"
    runtime.write_json(made_with, path)
    assert search.find([root / "crow.wav"], tmp_path)["cosine"][0] < 0.999


def test_photo_and_sound_are_one_query(outputs, root):
    """Untrained, the gate weighs both alike: the query lies between the two, as near to either."""
    queries = [root / "wren.png", root / "wren.wav"]
    both, turned = search.find(queries, outputs), search.find(queries[::-1], outputs)
    pd.testing.assert_frame_equal(both, turned)
    cosines = both.set_index("path")["cosine"]
    assert cosines["wren.png"] == pytest.approx(cosines["wren.wav"], abs=1e-4)
    vectors = np.load(outputs / "04_triplet" / "embeddings.npy")
    assert cosines["wren.png"] == pytest.approx(np.sqrt((1 + vectors[0] @ vectors[2]) / 2), abs=1e-4)


def test_n_rows_are_listed(outputs, root):
    assert len(search.find([root / "wren.png"], outputs, n=2)) == 2


def test_embedder_is_that_of_the_stage_and_not_loaded_for_a_photo(outputs, root, loaded):
    search.find([root / "wren.png"], outputs)
    assert loaded == []
    search.find([root / "wren.wav"], outputs, weights_dir="here")
    assert loaded == [("yamnet", "here", True, {"resampler": "kaiser_best"})]


def test_encoder_of_sounds_finds_sounds(sound_outputs, root):
    found = search.find([root / "crow.wav"], sound_outputs)
    assert found["path"].tolist()[0] == "crow.wav" and set(found["kind"]) == {"sound"}
    assert found["cosine"][0] == pytest.approx(1, abs=1e-4)
    with pytest.raises(search.NearestError, match="no photos to train on.*wren.png"):
        search.find([root / "wren.png"], sound_outputs)
    with pytest.raises(search.NearestError, match="no photos to train on"):
        search.find([root / "wren.png", root / "wren.wav"], sound_outputs)


@pytest.mark.parametrize(
    "names", [["wren.png", "crow.png"], ["wren.wav", "crow.wav"], ["wren.png", "wren.wav", "crow.wav"]]
)
def test_two_queries_of_a_kind_are_refused(outputs, root, names):
    with pytest.raises(search.NearestError, match="one picture, one sound, or one of each"):
        search.find([root / name for name in names], outputs)


@pytest.mark.parametrize("name", ["owl.png", "owl.wav", ""])
def test_missing_file_is_named(outputs, root, name):
    with pytest.raises(kinds.MediaError, match=f"{name}: " + ("there is no such file" if name else "is a folder")):
        search.find([root / name], outputs)


def test_a_photo_of_a_phone_is_no_sound(outputs, root, tmp_path):
    """Nor is one that lost its suffix."""
    video_images.register_heif()
    for name in ("a.heic", "photo"):
        Image.open(root / "wren.png").convert("RGB").save(tmp_path / name, "HEIF")
        assert len(search.find([tmp_path / name], outputs, n=2)) == 2
    (tmp_path / "notes").write_text("a wren")
    with pytest.raises(kinds.MediaError, match="of a kind that cannot be read: give pictures .*, films .* and sounds"):
        search.find([tmp_path / "notes"], outputs)


def test_unreadable_query_is_named(outputs, tmp_path):
    for name in ("page.jpg", "page.ogg"):
        (tmp_path / name).write_text("<html>not found</html>")
    for name, error in (("page.jpg", kinds.MediaError), ("page.ogg", kinds.MediaError), ("torn.jpg", video_images.ImageError), ("torn.ogg", audio_io.AudioError)):
        if name.startswith("torn"):
            (tmp_path / name).write_bytes(b"\xff" * 100)
        with pytest.raises(error, match=name):
            search.find([tmp_path / name], outputs)


def test_search_needs_stage_04(tmp_path, root):
    with pytest.raises(stages.MissingStageError, match="04_triplet.ipynb"):
        search.find([root / "wren.png"], tmp_path)


def test_other_weights_of_the_embedder_are_refused(outputs, root, monkeypatch):
    other = types.SimpleNamespace(name="yamnet", key="o" * 8)
    monkeypatch.setattr(embedders, "load", lambda *_, **__: other)
    with pytest.raises(search.NearestError, match="other weights of yamnet"):
        search.find([root / "wren.wav"], outputs)


def test_nearest_command_lists_the_nearest(outputs, root, capsys):
    assert __main__.main(["nearest", str(root / "wren.png"), "--outputs", str(outputs), "-n", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].split() == ["cosine", "kind", "species", "recording_id", "path"]
    cosine, *row = lines[1].split()
    assert float(cosine) == 1 and row == ["photo", "wren", "p0", "wren.png"]


def test_nearest_command_prints_an_error_and_exits_with_1(tmp_path, capsys):
    assert __main__.main(["nearest", "owl.wav", "--outputs", str(tmp_path)]) == 1
    assert "04_triplet is not finished" in capsys.readouterr().err


def test_nearest_command_needs_a_query(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["nearest"])
    assert "FILE" in capsys.readouterr().err
