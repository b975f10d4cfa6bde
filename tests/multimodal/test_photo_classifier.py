import os
import subprocess
import sys

import numpy as np
import photo_species
import pytest

from birdlib import __main__, runtime, stages
from birdlib.metrics import class_fusion
from birdlib.multimodal import photo_classifier, photo_features, species_probes
from birdlib.video import images


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Stage 04 with a classifier of photos in three colours, in ``out``; photos are beside it."""
    table, extractor = photo_species.album(tmp_path), photo_species.extractor()
    features = photo_features.extract([images.read_image(tmp_path / path) for path in table["image_path"]], extractor)
    monkeypatch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])
    probe = species_probes.fit(species_probes.Media(table, features), np.random.default_rng(0))
    folder = tmp_path / "out" / "04_triplet"
    folder.mkdir(parents=True)
    runtime.write_json({name: kind() for name, kind in stages.FIELDS.items()} | {"stage": "04_triplet"}, folder / stages.RECEIPT)
    photo_classifier.save(folder, probe, extractor, "mobilenetv2")
    monkeypatch.setattr(photo_features, "load", lambda *_, **__: photo_species.extractor())
    return tmp_path / "out"


def new_photos(folder):
    from PIL import Image

    rng, paths = np.random.default_rng(9), []
    for species in photo_species.COLOURS:
        paths.append(folder / f"new {species}.png")
        Image.fromarray(photo_species.photo(species, rng)).save(paths[-1])
    return paths


def test_species_of_new_photos_come_with_calibrated_probabilities(outputs, tmp_path):
    classifier = photo_classifier.load(outputs)
    found = photo_classifier.identify(new_photos(tmp_path), classifier, n=3)
    assert len(found) == 9 and found.groupby("photo")["probability"].sum().to_numpy() == pytest.approx(1)
    best = found.groupby("photo", sort=False)["species"].first()
    assert best.tolist() == list(photo_species.COLOURS) and found["probability"].diff()[1:3].le(0).all()
    raw = classifier.head(photo_features.extract([images.read_image(found["photo"][0])], classifier.extractor))
    assert classifier.predict([images.read_image(found["photo"][0])]) == pytest.approx(class_fusion.apply(classifier.calibration, np.asarray(raw)))
    assert classifier.predict([]).shape == (0, 3)


def test_command_prints_the_most_probable_species(outputs, tmp_path, capsys):
    paths = [str(path) for path in new_photos(tmp_path)]
    assert __main__.main(["identify", *paths, "-n", "1", "--outputs", str(outputs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["photo", "species", "probability"] and len(lines) == 4
    assert [line.split()[-2] for line in lines[1:]] == list(photo_species.COLOURS)


def test_file_that_is_no_photo_is_named(outputs, tmp_path, capsys):
    (tmp_path / "page.jpg").write_text("<html>")
    assert __main__.main(["identify", str(tmp_path / "page.jpg"), "--outputs", str(outputs)]) == 1
    assert "page.jpg" in capsys.readouterr().err


def test_stage_that_is_not_finished_or_has_no_classifier_names_the_remedy(outputs, tmp_path):
    with pytest.raises(stages.MissingStageError, match="04_triplet.ipynb"):
        photo_classifier.load(tmp_path / "nowhere")
    photo_classifier.save(outputs / "04_triplet", None, None, "")
    assert not (outputs / "04_triplet" / "photo_classifier").exists()
    with pytest.raises(photo_classifier.PhotoClassifierError, match="photos of at least two species"):
        photo_classifier.load(outputs)


def test_other_weights_than_in_training_are_refused(outputs, monkeypatch):
    monkeypatch.setattr(photo_features, "load", lambda *_, **__: photo_species.extractor(key="b" * 20))
    with pytest.raises(photo_classifier.PhotoClassifierError, match="other weights of mobilenetv2"):
        photo_classifier.load(outputs)


@pytest.mark.slow
def test_saved_classifier_loads_in_a_new_process(outputs):
    """Its layers are registered with Keras by loading alone."""
    code = (
        "import photo_species, sys; from birdlib.multimodal import photo_classifier, photo_features\n"
        "photo_features.load = lambda *_, **__: photo_species.extractor()\n"
        "print(photo_classifier.load(sys.argv[1]).classes)"
    )
    path = os.pathsep.join([str(runtime.repository()), str(runtime.repository() / "tests" / "helpers")])
    done = subprocess.run([sys.executable, "-c", code, str(outputs)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.stdout.strip() == str(sorted(photo_species.COLOURS)), done.stderr
