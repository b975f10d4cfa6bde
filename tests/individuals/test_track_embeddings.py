import numpy as np
import pytest
import soundfile
from media import film

from birdlib import runtime, stages
from birdlib.individuals import backbones, track_embeddings, track_encoder
from birdlib.video import detectors, kinds
from birdlib.video import images as video_images
from birdlib.video import io as video_io

RED, BLUE, DARK = (250, 60, 60), (60, 60, 250), 40


class Detector:
    """Detects connected bright regions, small ones with a low score."""

    def detect(self, images):
        return [self._detect(image) for image in images]

    score = 0.9  # of a large square

    def detect_film(self, path, rate_hz, start_s=0.0, end_s=None):
        for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
            yield time_s, image, self._detect(image)

    def _detect(self, image):
        import cv2

        _, _, stats, _ = cv2.connectedComponentsWithStats((image.max(axis=2) > 100).astype(np.uint8))
        return np.array([[*row[:4], self.score if row[4] > 200 else 0.3] for row in stats[1:]], np.float32).reshape(-1, 5)


class Colours:
    """Embeds a bird as its colour."""

    dim = 3

    def embed(self, images):
        means = np.array([image[8:-8, 8:-8].mean(axis=(0, 1)) for image in images], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def scene(*birds):
    """A dark picture with squares: (colour, left) each."""
    image = np.full((64, 128, 3), DARK, np.uint8)
    for colour, left in birds:
        image[16:48, left : left + 32] = colour
    return image


def write(path, image):
    import cv2

    cv2.imwrite(str(path), image[..., ::-1])
    return path


def seen(path, threshold=0.1, **options):
    return track_embeddings._embed_file(path, Colours(), Detector(), threshold, **options)


def is_red(vectors):
    return (vectors[:, 0] > vectors[:, 2]).tolist()


def test_identical_birds_of_one_photo_are_two_birds(tmp_path):
    found = seen(write(tmp_path / "two.png", scene((RED, 8), (RED, 80))))
    assert found.shape == (2, 3) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert sorted(is_red(seen(write(tmp_path / "other.png", scene((RED, 8), (BLUE, 80)))))) == [False, True]


def test_boxes_below_the_minimum_score_are_ignored_in_photos(tmp_path):
    image = scene((RED, 8))
    image[4:10, 100:106] = BLUE
    assert is_red(seen(write(tmp_path / "photo.png", image))) == [True]


def test_a_bird_that_returns_to_a_film_is_one_bird(tmp_path):
    """Two tracks, three seconds apart and in other places, of one colour; a third of another."""
    film(tmp_path / "film.mkv", [scene((RED, 10))] * 10 + [scene()] * 30 + [scene((RED, 80))] * 10)
    assert is_red(seen(tmp_path / "film.mkv")) == [True]
    film(tmp_path / "both.mkv", [scene((RED, 10))] * 10 + [scene()] * 30 + [scene((BLUE, 80))] * 10)
    assert is_red(seen(tmp_path / "both.mkv")) == [True, False]


def test_the_birds_of_a_film_are_those_that_stage_09_counts(tmp_path):
    """Where its threshold is not validated, a bird that comes later and elsewhere has to be more alike to be the same."""
    path = tmp_path / "film.mkv"
    film(path, [scene((RED, 10))] * 10 + [scene()] * 30 + [scene(((250, 120, 60), 80))] * 10)
    apart = 1.0 - float(np.prod(seen(path, 1e-6), axis=0).sum())
    assert len(seen(path, 1.5 * apart)) == 1 and len(seen(path, 1.5 * apart, link_factor=2.0)) == 2


def test_two_birds_in_one_frame_are_two(tmp_path):
    film(tmp_path / "film.mkv", [scene((RED, 10), (RED, 80))] * 10)
    assert seen(tmp_path / "film.mkv").shape == (2, 3)


def test_files_without_birds_give_no_vectors(tmp_path):
    film(tmp_path / "film.mkv", [scene()] * 10)
    assert seen(tmp_path / "film.mkv").shape == seen(write(tmp_path / "sky.png", scene())).shape == (0, 3)


def test_files_that_are_no_film_or_photo_raise(tmp_path):
    (tmp_path / "notes.txt").write_text("a robin")
    with pytest.raises(kinds.MediaError, match="notes.txt: is of a kind that cannot be read: give pictures"):
        seen(tmp_path / "notes.txt")
    for name, error in (("torn.mp4", video_io.VideoError), ("torn.jpg", video_images.ImageError), ("page.mp4", kinds.MediaError), ("lost.mp4", kinds.MediaError)):
        if name != "lost.mp4":
            (tmp_path / name).write_text("<html>not found</html>" if "page" in name else "no film")
        with pytest.raises(error, match=name):
            seen(tmp_path / name)
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    with pytest.raises(track_embeddings.TrackEmbedderError, match="a.wav: is a sound, which shows no bird"):
        seen(tmp_path / "a.wav")


# What a stage keeps


class Network:
    """In place of a backbone: the mean colour, and the colours of four places."""

    def predict(self, squares, **_):
        return squares.mean(axis=(1, 2)), squares[:, ::64, ::64]


HOW = {"backbone": "resnet50", "parts": "marks,looks", "detector": "auto", "n_tiles": 1, "rate_hz": 5.0, "min_score": 0.6, "n_crops": 4}


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Outputs whose stage 09 may be kept by ``keep``; networks are not asked for."""
    network = backbones.Backbone(Network(), 3, (2, 2, 3), "colours", {})
    monkeypatch.setattr(backbones, "load", lambda *_, **__: network)
    monkeypatch.setattr(detectors, "load", lambda *_, **__: Detector())
    stages.finish(stages.start("01_split", tmp_path), {"root": "."})
    return tmp_path


@pytest.fixture(scope="module")
def encoder():
    import keras

    keras.utils.set_random_seed(0)
    return track_encoder.encoder(3, (2, 2, 3), out_dim=8)


def keep(outputs, name, encoder, **how):
    stage = stages.start("09_count", outputs)
    track_embeddings.save(stage.folder, name, encoder, 0.2, **HOW | how)
    stages.finish(stage, {})


def test_other_files_are_embedded_as_by_the_stage(outputs, encoder):
    keep(outputs, "early_fusion", encoder)
    embed, key, threshold = track_embeddings.from_stage(outputs)
    photo = write(outputs / "photo.png", scene((RED, 8)))
    crop = video_images.read_image(photo)[12:52, 4:44]  # a tenth more on each side
    direct = track_embeddings.EarlyFusion(backbones.load(), encoder).embed([crop])
    assert threshold == 0.2 and np.allclose(embed(photo), direct, atol=1e-3)


def test_the_minimum_score_of_the_stage_applies_to_other_files(outputs, encoder, monkeypatch):
    """A box of 0.7 counts with a minimum score of 0.6 and not with 0.8."""
    monkeypatch.setattr(Detector, "score", 0.7)
    photo = write(outputs / "photo.png", scene((RED, 8)))
    for min_score, n_birds in ((0.6, 1), (0.8, 0)):
        keep(outputs, "early_fusion", encoder, min_score=min_score)
        assert len(track_embeddings.from_stage(outputs)[0](photo)) == n_birds


def test_settings_of_an_older_version_raise(outputs, encoder):
    keep(outputs, "early_fusion", encoder)
    path = outputs / "09_count" / track_embeddings._SETTINGS
    told = runtime.read_json(path)
    del told["min_score"]
    runtime.write_json(told, path)
    with pytest.raises(stages.MissingStageError, match="has no min_score.*run notebooks/09_count.ipynb again"):
        track_embeddings.from_stage(outputs)


def test_the_key_depends_on_the_weights_not_on_the_file(outputs, encoder):
    """A .keras file holds the time of writing."""
    keep(outputs, "early_fusion", encoder)
    path = outputs / "09_count" / track_embeddings._ENCODER
    key, before = track_embeddings.from_stage(outputs)[1], runtime.digest_file(path)
    keep(outputs, "early_fusion", encoder)
    assert track_embeddings.from_stage(outputs)[1] == key
    old = encoder.get_weights()
    encoder.set_weights([old[0] + 1, *old[1:]])
    keep(outputs, "early_fusion", encoder)
    encoder.set_weights(old)
    assert track_embeddings.from_stage(outputs)[1] != key and runtime.digest_file(path) != before


def test_a_stage_without_birds_has_no_encoder(outputs, encoder):
    keep(outputs, "early_fusion", encoder)
    keep(outputs, "early_fusion", None)
    assert not (outputs / "09_count" / track_embeddings._ENCODER).exists()
    with pytest.raises(track_embeddings.TrackEmbedderError, match="no bird was detected"):
        track_embeddings.from_stage(outputs)


def test_an_unfinished_stage_raises_with_its_name(outputs):
    with pytest.raises(stages.MissingStageError, match="09_count"):
        track_embeddings.from_stage(outputs)


def fused(has_sound=True):
    """As stage 04's: {"image", and with sound, "presence", "weights", "embeddings"} → the colour, if the photo is present."""
    import keras

    image = keras.Input((224, 224, 3), name="image")
    inputs, x = {"image": image}, keras.layers.GlobalAveragePooling2D()(image)
    if has_sound:
        inputs |= {name: keras.Input(shape, name=name) for name, shape in (("presence", (2,)), ("weights", (None,)), ("embeddings", (None, 5)))}
        heard = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(inputs["embeddings"]))
        x = x * inputs["presence"][:, :1] + 1000.0 * heard * inputs["presence"][:, 1:]
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


@pytest.mark.parametrize("has_sound", [True, False])
def test_stage_04_embeds_the_image_with_absent_sound(has_sound):
    embedder = track_embeddings.Stage04(fused(has_sound), "key")
    crops = [np.full((30, 50, 3), colour, np.uint8) for colour in (RED, BLUE) * 9]  # more than one batch
    found = embedder.embed(crops)
    assert found.shape == (18, 3) and embedder.dim == 3 and is_red(found) == [True, False] * 9
    assert np.allclose(found[0], np.array(RED) / np.linalg.norm(RED), atol=1e-3)
    assert embedder.embed([]).shape == (0, 3)


def test_stage_04_without_photos_raises():
    import keras

    inputs = {"embeddings": keras.Input((None, 5), name="embeddings")}
    with pytest.raises(track_embeddings.TrackEmbedderError, match="without photos"):
        track_embeddings.Stage04(keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(inputs["embeddings"])))


@pytest.mark.parametrize("name, told", [("vgg", "choose early_fusion or stage04"), ("stage04", "04_triplet"), ("early_fusion", "09_count")])
def test_a_missing_encoder_raises_with_the_notebook_to_run(tmp_path, name, told):
    with pytest.raises(track_embeddings.TrackEmbedderError, match=told):
        track_embeddings.load(name, tmp_path / "encoder.keras")
