import numpy as np
import pandas as pd
import pytest

from birdlib import store as embedding_store
from birdlib.individuals import backbones
from birdlib.video import images, squares, tracking


class Colours:
    """In place of a network: the mean colour of a crop."""

    def __init__(self):
        self.n_seen = 0

    def predict(self, squares, **_):
        self.n_seen += len(squares)
        return squares.mean(axis=(1, 2)), squares[:, ::64, ::64]


@pytest.fixture
def backbone():
    return backbones.Backbone(Colours(), 3, (2, 2, 3), "colours", {})


def crop_table(folder, colours):
    """Two crops of each track, one colour a track."""
    import cv2

    rows = []
    for track, colour in enumerate(colours, start=1):
        for number in (1, 2):
            path = f"{track}_{number}.png"
            cv2.imwrite(str(folder / path), np.full((20 + number, 40, 3), colour[::-1], np.uint8))
            rows.append(("film", track, float(number), path, 1.0))
    return pd.DataFrame(rows, columns=tracking.CROP_COLUMNS)


def test_squares_keep_proportions_and_centre_the_crop():
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, :20] = 200
    square = squares.as_square(image, 80)
    assert square.shape == (80, 80, 3) and (square[:29] == 100).all() and (square[51:] == 100).all()
    assert (square[32:48, :36] == 200).all() and (square[32:48, 44:] == 0).all()


def test_stored_features_are_not_extracted_again(tmp_path, backbone):
    crops = crop_table(tmp_path, [(250, 10, 10), (10, 10, 250)])
    with embedding_store.EmbeddingStore(tmp_path / "store", backbone.key) as store:
        first = backbones.extract_stored_features(crops, tmp_path, backbone, store)
        again = backbones.extract_stored_features(crops, tmp_path, backbone, store)
    assert np.allclose(first[0], [(250, 10, 10)] * 2 + [(10, 10, 250)] * 2) and first[1].shape == (4, 2, 2, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert backbone.network.n_seen == len(crops)


def test_an_unreadable_crop_raises_with_its_name(tmp_path, backbone):
    crops = crop_table(tmp_path, [(250, 10, 10)])
    (tmp_path / "1_2.png").write_bytes(b"")
    with pytest.raises(images.ImageError, match="1_2.png"):
        backbones.extract_stored_features(crops, tmp_path, backbone)


def test_an_unknown_backbone_raises_with_the_known_names():
    with pytest.raises(backbones.BackboneError, match="resnet50, densenet121, efficientnetb0"):
        backbones.load("vgg")


@pytest.mark.parametrize("options", [{"size": 16}, {"has_end": False, "has_map": False}])
def test_a_backbone_of_which_nothing_is_left_raises(options):
    with pytest.raises(backbones.BackboneError, match="32 pixels or more"):
        backbones.load(**options)


@pytest.mark.slow
@pytest.mark.parametrize("name", backbones.EARLY_LAYERS)
def test_every_backbone_gives_features_and_maps(name):
    backbone = backbones.load(name, is_trained=False)
    assert not backbone.network.trainable_weights and max(backbone.map_shape[:2]) >= 16
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    features, maps = backbones.extract_features([noise, noise[:, ::-1]], backbone)
    assert backbone.dim == {"resnet50": 2048, "densenet121": 1024, "efficientnetb0": 1280}[name]
    assert features.shape == (2, backbone.dim) and maps.shape == (2, *backbone.map_shape)
    assert np.isfinite(features).all() and np.isfinite(maps).all()


@pytest.mark.slow
def test_a_backbone_without_last_features_gives_the_same_map():
    import keras

    crop, seen = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8), []
    for has_end in (True, False):
        keras.utils.set_random_seed(0)
        backbone = backbones.load("resnet50", is_trained=False, has_end=has_end)
        seen.append(backbones.extract_features([crop], backbone))
    assert seen[1][0].shape == (1, 0) and np.allclose(seen[0][1], seen[1][1], atol=1e-2)


@pytest.mark.slow
def test_a_backbone_without_a_map_gives_the_same_features_of_its_size(tmp_path):
    """The stores of the two are apart."""
    import keras

    crops, seen, keys = crop_table(tmp_path, [(250, 10, 10)]), [], []
    for has_map in (True, False):
        keras.utils.set_random_seed(0)
        backbone = backbones.load("resnet50", is_trained=False, has_map=has_map, size=64)
        with embedding_store.EmbeddingStore(tmp_path / "store", backbone.key) as store:
            backbones.extract_stored_features(crops, tmp_path, backbone, store)
            seen.append(backbones.extract_stored_features(crops, tmp_path, backbone, store))
        keys.append(backbone.key)
    assert backbone.network.input.shape == (None, 64, 64, 3) and seen[1][1].size == 0 and len(set(keys)) == 2
    assert np.allclose(seen[0][0], seen[1][0], rtol=1e-3, atol=1e-4)
