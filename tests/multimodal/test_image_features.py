import types

import numpy as np
import pandas as pd
import pytest
from models import narrow_vgg
from PIL import Image

from birdlib.models import vgg16, weights
from birdlib.multimodal import image_features
from birdlib.store import EmbeddingStore
from birdlib.video import images as video_images

SIZE = vgg16.IMAGE_SIZE
SHAPE = (2, 2, 3)


class Frozen:
    """In place of VGG16: the mean colour of each quarter of a picture. Counts its calls; may die at one of them."""

    output_shape = (None, *SHAPE)

    def __init__(self, dies_at=None):
        self.sizes, self.dies_at = [], dies_at

    def predict(self, images, batch_size, verbose):
        assert images.dtype == np.float32 and images.shape[1:] == (SIZE, SIZE, 3)
        if len(self.sizes) == self.dies_at:
            raise KeyboardInterrupt
        self.sizes.append(len(images))
        return images.reshape(len(images), 2, SIZE // 2, 2, SIZE // 2, 3).mean(axis=(2, 4))


def backbone(dies_at=None, key="a" * 64):
    return image_features.Backbone(None, Frozen(dies_at), key, {})


def picture(colour, width=32, height=32):
    """One colour on the left, black on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = colour
    return image


def album(root, n=3):
    """So many pictures, p00.png and so on, each of a colour of its own."""
    for i in range(n):
        Image.fromarray(picture(((10 * i + 5) % 256, 200, 40))).save(root / f"p{i:02d}.png")
    return listed(f"p{i:02d}.png" for i in range(n))


def listed(paths):
    paths = list(paths)
    return pd.DataFrame({"recording_id": [f"r{i}" for i in range(len(paths))], "image_path": paths}, dtype=str)


def embed(table, root, one):
    return image_features.embed(table, root, one, root / "store", "04_triplet")


# Pictures


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 900), (224, 224), (3000, 2500), (31, 17), (1, 1)])
def test_a_picture_of_any_size_becomes_a_square(width, height):
    shown = image_features.as_input(np.full((height, width, 3), (250, 100, 3), np.uint8))
    assert shown.shape == (SIZE, SIZE, 3) and shown.dtype == np.uint8
    assert (shown == (250, 100, 3)).all()


@pytest.mark.parametrize(("width", "height"), [(900, 300), (300, 900), (90, 30), (30, 90), (1000, 302)])
def test_middle_square_is_not_stretched(width, height):
    """A white square in the middle, half as wide as the shorter side, is 112 pixels wide and lies in the middle."""
    side, half = min(width, height), min(width, height) // 2
    image = np.zeros((height, width, 3), np.uint8)
    image[(height - half) // 2 :, (width - half) // 2 :][:half, :half] = 255
    white = image_features.as_input(image)[..., 0] > 127
    assert white.sum() == pytest.approx((SIZE * half / side) ** 2, rel=0.03)
    assert [np.flatnonzero(white.any(axis=axis)).mean() for axis in (0, 1)] == pytest.approx([SIZE / 2] * 2, abs=4)


def test_thin_strip_does_not_fill_the_memory():
    """Scaled whole, a line of a million pixels would be 224 times as wide and take 150 GB."""
    assert image_features.as_input(np.full((1, 1_000_000, 3), 9, np.uint8)).shape == (SIZE, SIZE, 3)


def test_large_picture_is_averaged():
    """Alternating black and white lines of single pixels become grey."""
    image = np.zeros((2240, 2240, 3), np.uint8)
    image[::2] = 255
    shown = image_features.as_input(image)
    assert 126 <= shown.min() and shown.max() <= 129


# Features


def test_features_are_those_of_the_picture_and_of_its_mirror_image(tmp_path):
    table = album(tmp_path)
    kept, features, skipped = embed(table, tmp_path, backbone())
    assert skipped.empty and kept["recording_id"].tolist() == table["recording_id"].tolist()
    assert features.shape == SHAPE
    for row, path in enumerate(kept["image_path"]):
        image = image_features.as_input(video_images.read_image(tmp_path / path)).astype(np.float32)
        as_it_is, mirrored = Frozen().predict(np.stack([image, image[:, ::-1]]), 1, 0)
        assert np.allclose(features(row, 0), as_it_is) and np.allclose(features(row, 1), mirrored)
        assert features(row, 0)[0, 0, 1] > 190 and features(row, 1)[0, 0, 1] < 10  # the colour is on the left


def test_picture_is_computed_once_by_content(tmp_path):
    table, one = album(tmp_path, 3), backbone()
    (tmp_path / "again.png").write_bytes((tmp_path / "p01.png").read_bytes())
    table = listed([*table["image_path"], "again.png", "p00.png"])
    kept, features, _ = embed(table, tmp_path, one)
    assert sum(one.frozen.sizes) == 3 * image_features._N_VIEWS and len(kept) == 5
    assert np.array_equal(features(3, 0), features(1, 0)) and np.array_equal(features(4, 0), features(0, 0))


def test_second_run_computes_new_pictures_only(tmp_path):
    embed(album(tmp_path, 3), tmp_path, backbone())
    again, other_network = backbone(), backbone(key="b" * 64)
    kept, _, _ = embed(album(tmp_path, 4), tmp_path, again)
    embed(album(tmp_path, 4), tmp_path, other_network)
    assert again.frozen.sizes == [2] and len(kept) == 4
    assert other_network.frozen.sizes == [8]


def test_changed_picture_is_computed_anew(tmp_path):
    table = album(tmp_path, 2)
    embed(table, tmp_path, backbone())
    Image.fromarray(picture((1, 1, 1))).save(tmp_path / "p00.png")
    again = backbone()
    _, features, _ = embed(table, tmp_path, again)
    assert again.frozen.sizes == [2] and features(0, 0)[0, 0, 1] == pytest.approx(1)


def test_unreadable_pictures_are_reported_and_the_others_used(tmp_path):
    album(tmp_path, 3)
    (tmp_path / "torn.png").write_bytes((tmp_path / "p00.png").read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    table = listed(["p00.png", "torn.png", "p01.png", "missing.png", "folder.png", "p02.png", "torn.png"])
    kept, features, skipped = embed(table, tmp_path, backbone())
    assert kept["recording_id"].tolist() == ["r0", "r2", "r5"] and kept.index.tolist() == [0, 1, 2]
    assert [features(row, 0)[0, 0, 0] for row in range(3)] == pytest.approx([5, 15, 25], abs=1)
    reasons = skipped.set_index("path")["reason"]
    assert sorted(reasons.index) == ["folder.png", "missing.png", "torn.png"]
    assert "truncated or damaged" in reasons["torn.png"] and reasons["missing.png"].startswith("there is no such file: ")
    assert reasons["folder.png"].startswith("is a folder, not a file")
    assert set(skipped["stage"]) == {"04_triplet"}


def test_no_readable_picture_gives_an_empty_table(tmp_path):
    kept, features, skipped = embed(listed(["a.png", "b.png"]), tmp_path, backbone())
    assert kept.empty and len(skipped) == 2 and features.shape == SHAPE


def test_empty_table_needs_no_network(tmp_path):
    kept, features, skipped = embed(listed([]), tmp_path, None)
    assert kept.empty and "digest" in kept and features is None
    assert skipped.empty and list(skipped) == ["path", "stage", "reason"]
    assert not (tmp_path / "store").exists()


def test_killed_run_resumes(tmp_path):
    """40 pictures are batches of 16, 16 and 8; killed in the third, the first two are there."""
    table = album(tmp_path, 40)
    with pytest.raises(KeyboardInterrupt):
        embed(table, tmp_path, backbone(dies_at=2))
    assert len(EmbeddingStore(tmp_path / "store", "a" * 64)) == 2 * image_features.BATCH
    again = backbone()
    kept, features, _ = embed(table, tmp_path, again)
    assert again.frozen.sizes == [8 * image_features._N_VIEWS] and len(kept) == 40
    assert features(39, 0)[0, 0, 0] == pytest.approx((10 * 39 + 5) % 256, abs=1)


def test_pooled_features_are_vectors(tmp_path):
    """With all of VGG16 frozen, a photo has 1024 features, not maps."""

    class Pooled(Frozen):
        output_shape = (None, 3)

        def predict(self, *arguments, **options):
            return super().predict(*arguments, **options).mean(axis=(1, 2))

    _, features, _ = embed(album(tmp_path), tmp_path, image_features.Backbone(None, Pooled(), "c" * 64, {}))
    assert features.shape == (3,) and features(2, 1).shape == (3,)
    assert features(2, 1) == pytest.approx([12.5, 100, 20], abs=0.5)


def test_features_of_another_layer_or_precision_are_another_store(tmp_path, monkeypatch):
    """A folder may hold the features of all of them: none is taken for another."""
    import keras

    source = types.SimpleNamespace(sha256="ab" * 32, receipt=dict)
    monkeypatch.setattr(weights, "fetch", lambda *_: source)
    monkeypatch.setattr(vgg16, "load", lambda source: keras.models.clone_model(narrow_vgg()))
    table, shapes = album(tmp_path, 2), {"": (64,), "block5_conv1": (14, 14, 32), "block3_conv1": (56, 56, 8), "block1_conv1": (SIZE, SIZE, 3)}
    for _ in range(2):  # the second time from the store
        for train_from, shape in shapes.items():
            kept, features, _ = embed(table, tmp_path, image_features.load_backbone(train_from))
            assert features.shape == shape == features(1, 1).shape and len(kept) == 2
    assert len(list((tmp_path / "store").glob("*.float32"))) == 4
    plain = image_features.load_backbone("block5_conv1").key
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        monkeypatch.setattr(vgg16, "load", lambda source: keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)))
        assert image_features.load_backbone("block5_conv1").key != plain
    finally:
        keras.mixed_precision.set_global_policy("float32")
