"""The classifier of species by photo that stage 04 saves: a head on the features of ``photo_features``, with its classes and its preprocessing."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.metrics import class_fusion
from birdlib.models import saved
from birdlib.multimodal import image_features, photo_features
from birdlib.video import images

FOLDER = "photo_classifier"
_FILES = ("head.keras", "classes.json", "preprocessing.json")


class PhotoClassifierError(runtime.BirdlibError):
    """A classifier of photos that cannot be used."""


@dataclasses.dataclass(frozen=True)
class PhotoClassifier:
    """``head``: keras.Model, features → probabilities of ``classes``; ``calibration`` of these; ``extractor``: of ``photo_features.load``."""

    head: object
    classes: list
    calibration: class_fusion.Calibration
    extractor: photo_features.Extractor

    def predict(self, photos):
        """Calibrated probabilities, (photos, classes), of a list of (height, width, 3) uint8 RGB images of any sizes."""
        if not len(photos):
            return np.zeros((0, len(self.classes)))
        features = photo_features.extract(photos, self.extractor)
        return class_fusion.apply(self.calibration, np.asarray(self.head(features, training=False)))


def save(folder, probe, extractor, image_backbone):
    """Save a probe of photos, in place of an older one.

    Args:
        folder: of stage 04; the files are written to ``photo_classifier/`` in it.
        probe: ``species_probes.SpeciesProbe`` on features of ``extractor``; None where there is none.
        image_backbone: the name that ``extractor`` was loaded by.
    """
    target = Path(folder) / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    if probe is None:
        return
    target.mkdir()
    head, classes, preprocessing = (target / name for name in _FILES)
    with runtime.replacing(head) as temporary:
        probe.head.save(temporary)
    runtime.write_json(probe.classes, classes)
    settings = {"image_backbone": image_backbone, "key": extractor.key, "has_detector": extractor.detector is not None, "size": extractor.size}
    runtime.write_json({**settings, "probe": probe.name, "calibration": probe.calibration._asdict()}, preprocessing)


def load(outputs_dir, weights_dir=""):
    """The classifier that stage 04 has saved.

    Args:
        outputs_dir: where stage 04 is.
        weights_dir: as in ``weights.find``.

    Raises:
        MissingStageError: if stage 04 is not finished.
        PhotoClassifierError: if it has saved no classifier, or the weights here are not those that it was trained on.
        MissingWeightsError: see ``weights.fetch``.
        SavedModelError: see ``saved.load``.
    """
    from birdlib.models import layers, probe_layers  # noqa: F401  registers their layers with Keras

    stages.receipt(outputs_dir, "04_triplet")
    paths = [Path(outputs_dir) / "04_triplet" / FOLDER / name for name in _FILES]
    if not all(path.is_file() for path in paths):
        raise PhotoClassifierError(f"{paths[0].parent} has no classifier: run notebooks/04_triplet.ipynb with photos of at least two species")
    head, classes, preprocessing = paths[0], *map(runtime.read_json, paths[1:])
    detector = photo_features.DETECTOR if preprocessing["has_detector"] else ""
    extractor = photo_features.load(preprocessing["image_backbone"], weights_dir, detector=detector, size=preprocessing["size"])
    if extractor.key != preprocessing["key"]:
        raise PhotoClassifierError(f"stage 04 used other weights of {preprocessing['image_backbone']}: attach the same, or run 04 again")
    return PhotoClassifier(saved.load(head), classes, class_fusion.Calibration(**preprocessing["calibration"]), extractor)


def identify(paths, classifier, n=5):
    """The most probable species of photos.

    Args:
        paths: of photos, at least one.
        classifier: of ``load``.
        n: species to list for each photo.

    Returns:
        DataFrame: ``photo, species, probability``, the most probable first, photos in their order.

    Raises:
        ImageError: if a file cannot be read.
    """
    tables = []
    for first in range(0, len(paths), image_features.BATCH):
        batch = paths[first : first + image_features.BATCH]
        for path, scores in zip(batch, classifier.predict([images.read_image(path) for path in batch]), strict=True):
            best = np.argsort(-scores, kind="stable")[:n]
            tables.append(pd.DataFrame({"photo": str(path), "species": np.array(classifier.classes, object)[best], "probability": scores[best]}))
    return pd.concat(tables, ignore_index=True)
