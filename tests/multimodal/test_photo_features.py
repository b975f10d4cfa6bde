import dataclasses

import numpy as np
import photo_species
import pytest
from PIL import Image

from birdlib.models import image_networks, weights
from birdlib.multimodal import photo_features
from birdlib.store import EmbeddingStore
from birdlib.video import detectors

VIEW = 4  # numbers of a view


def test_second_view_is_the_bird_wherever_it_is():
    """Bird and margin fill the square, so that its colour outweighs the green; the whole photo is mostly green."""
    rng = np.random.default_rng(0)
    found = photo_features.extract([photo_species.photo("cardinal", rng) for _ in range(5)], photo_species.extractor())
    whole, bird = found[:, :VIEW], found[:, VIEW:]
    assert found.shape == (5, 2 * VIEW) and np.allclose(np.linalg.norm(found.reshape(-1, VIEW), axis=1), 1, atol=1e-5)
    assert (bird[:, 0] > bird[:, 1]).all() and (whole[:, 0] < whole[:, 1]).all()


@pytest.mark.parametrize(("species", "detector"), [(None, True), ("jay", False)], ids=["no bird found", "no detector"])
def test_whole_photo_stands_in_for_the_bird(species, detector):
    photo = photo_species.photo(species, np.random.default_rng(0))
    found = photo_features.extract([photo], photo_species.extractor(detector=detector))[0]
    assert np.array_equal(found[:VIEW], found[VIEW:])


class LeftEdge(photo_species.Network):
    """The mean colour of the left edge, which differs between a picture and its mirror image."""

    def predict(self, pictures, **options):
        return super().predict(pictures, **options) + np.pad(pictures[:, :, :4].mean(axis=(1, 2)), ((0, 0), (0, 1)))


def test_photo_and_its_mirror_image_have_the_same_features():
    extractor = dataclasses.replace(photo_species.extractor(), network=LeftEdge())
    photo = photo_species.photo("crow", np.random.default_rng(0))
    photo[:, :10] = 200
    found = photo_features.extract([photo, photo[:, ::-1]], extractor)
    assert found.shape == (2, extractor.dim) and np.allclose(found[0], found[1], atol=1e-5)


def test_unknown_or_missing_network_is_refused_before_anything_is_built(monkeypatch):
    with pytest.raises(image_networks.ImageNetworkError, match="mobilenetv2"):
        photo_features.choose("lenet")
    found = []
    monkeypatch.setattr(weights, "fetch", lambda *arguments: found.append(arguments))
    assert photo_features.choose("vgg16", "folder") == "vgg16"
    assert found == [("vgg16", "folder")]


@pytest.mark.parametrize(("present", "chosen"), [({"mobilenetv2", "vgg16"}, "mobilenetv2"), ({"vgg16"}, "vgg16")])
def test_auto_takes_the_first_network_whose_weights_can_be_had(present, chosen, monkeypatch):
    def fetch(name, folder):
        if name not in present:
            raise weights.MissingWeightsError(f"no {name}")

    monkeypatch.setattr(weights, "fetch", fetch)
    assert photo_features.choose("auto") == chosen
    present.clear()
    with pytest.raises(weights.MissingWeightsError, match="vgg16"):
        photo_features.choose("auto")


@pytest.mark.slow
def test_every_network_gives_its_numbers_twice():
    for name, dim in {"mobilenetv2": 1280, "vgg16": 512}.items():
        assert photo_features.load(name, is_trained=False, detector="", size=64).dim == 2 * dim


def test_features_do_not_depend_on_the_other_photos_and_are_stored_by_content(tmp_path):
    table, first = photo_species.album(tmp_path), photo_species.extractor()
    (tmp_path / "crow0 again.png").write_bytes((tmp_path / "crow0.png").read_bytes())
    table.loc[0, "image_path"] = "crow0 again.png"
    photos, features, skipped = photo_features.embed(table, tmp_path, first, tmp_path / "store", "04_triplet")
    assert first.network.n_pictures == 11 * 2 * 2 and skipped.empty and len(photos) == len(features) == 12
    assert np.array_equal(features[0], features[4])
    again = photo_species.extractor()
    assert np.array_equal(photo_features.embed(table[::-1], tmp_path, again, tmp_path / "store", "04_triplet")[1], features[::-1])
    assert again.network.n_pictures == 0 and len(EmbeddingStore(tmp_path / "store", again.key)) == 11
    alone = photo_features.extract([np.asarray(Image.open(tmp_path / "jay2.png"))], photo_species.extractor())
    assert np.allclose(alone[0], features[10], atol=1e-6)


def test_unreadable_photos_are_reported(tmp_path):
    table = photo_species.album(tmp_path)
    (tmp_path / "jay1.png").write_bytes(b"")
    photos, features, skipped = photo_features.embed(table, tmp_path, photo_species.extractor(), tmp_path / "store", "04_triplet")
    assert skipped["path"].tolist() == ["jay1.png"] and len(features) == len(photos) == 11 and "jay1" not in set(photos["recording_id"])


def test_generalised_mean_lies_between_mean_and_maximum():
    """Of 1, 2, 3 and 4 it is the cube root of (1 + 8 + 27 + 64) / 4 = 25."""
    maps = np.float32([1, 2, 3, 4]).reshape(1, 2, 2, 1)
    assert np.asarray(photo_features._generalised_mean(maps)) == pytest.approx(25 ** (1 / 3), rel=1e-5)


@pytest.mark.slow
def test_without_weights_of_the_detector_the_whole_photo_is_used_and_a_warning_says_so(monkeypatch):
    def refuse(*_, **__):
        raise weights.MissingWeightsError("nowhere")

    monkeypatch.setattr(detectors, "load", refuse)
    with pytest.warns(detectors.DetectorWarning, match="not cut out of photos"):
        extractor = photo_features.load("mobilenetv2", is_trained=False, size=64)
    assert extractor.detector is None and extractor.key == photo_features.load("mobilenetv2", is_trained=False, size=64, detector="").key
