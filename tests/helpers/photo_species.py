"""Photos of synthetic species, each of one colour on green, and an extractor that knows colours; features of synthetic species."""

import numpy as np
import pandas as pd
from PIL import Image

from birdlib.multimodal import photo_features, species_probes

COLOURS = {"cardinal": (200, 30, 30), "crow": (20, 20, 20), "jay": (40, 80, 220)}
SIZE = 32


class Network:
    """In place of a network: the mean colour of each picture, and a constant."""

    output_shape = (None, 4)

    def __init__(self):
        self.n_pictures = 0

    def predict(self, pictures, batch_size, verbose):
        assert pictures.dtype == np.float32 and pictures.shape[1:] == (SIZE, SIZE, 3)
        self.n_pictures += len(pictures)
        return np.column_stack([pictures.mean(axis=(1, 2)), np.full(len(pictures), 1.0)])


class Detector:
    """Finds what is not green."""

    key = "colours"

    def detect(self, images):
        return [self._detect(image.astype(int)) for image in images]

    def _detect(self, image):
        rows, columns = np.nonzero(image[..., 1] < 130)
        if not len(rows):
            return np.zeros((0, 5), np.float32)
        return np.float32([[columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1, 0.9]])


def extractor(key="a" * 20, detector=True):
    return photo_features.Extractor(Network(), Detector() if detector else None, key, {"colours": {"licence": "MIT"}}, SIZE)


def photo(species, rng, side=20):
    """Green, with a square bird somewhere; ``species`` None has no bird."""
    image = np.full((60, 90, 3), (60, 180, 60), np.uint8)
    if species:
        x, y = rng.integers(90 - side), rng.integers(60 - side)
        colour = np.clip(np.array(COLOURS[species]) + rng.integers(-15, 16, 3), 0, 255)
        image[y : y + side, x : x + side] = colour
    return image


def album(root, n=4, seed=0):
    """So many photos of each species, as a table of stage 01."""
    rng, rows = np.random.default_rng(seed), []
    for species in COLOURS:
        for number in range(n):
            path = f"{species}{number}.png"
            Image.fromarray(photo(species, rng)).save(root / path)
            rows.append((f"{species}{number}", species, path))
    table = pd.DataFrame(rows, columns=["recording_id", "species", "image_path"])
    split = np.where(np.arange(len(table)) % n == n - 1, "test", "train")
    return table.assign(individual_id="", group_id=table["recording_id"], split=split, is_repeated=False)


def media(rng, kind, n_species=4, n_each=8, signal=1.0, dim=16):
    """Media of synthetic species: the direction of the species, as long as ``signal``, and noise; every fourth is test."""
    number = np.repeat(np.arange(n_species), n_each)
    features = signal * np.eye(dim)[number] * np.sqrt(dim) + rng.standard_normal((len(number), dim))
    table = pd.DataFrame({"recording_id": [f"{kind}{i}" for i in range(len(number))], "species": [f"s{i}" for i in number]})
    split = np.where(np.arange(len(number)) % 4 == 3, "test", np.where(np.arange(len(number)) % 4 == 2, "validation", "train"))
    table = table.assign(individual_id="", group_id=table["recording_id"], split=split, is_repeated=False)
    return species_probes.Media(table, features.astype(np.float32))


