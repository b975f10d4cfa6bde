"""Small data sets that lack something: each is a folder with a manifest, made at test time."""

import csv

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from birdlib.video import writer

RATE_HZ = 32_000
HEAD = ["recording_id", "species", "audio_path", "image_path", "video_path", "group_id", "individual_id"]
# Parameters that make a chain fast; networks learn nothing.
FAST = {
    "epochs": 2, "n_networks": 1, "mel_epochs": 1, "mel_steps": 1, "n_draws": 20, "n_patches": 4, "lstm_units": 8,
    "pairs_an_epoch": 32, "audio_encoders": "cnn", "video_encoders": "cnn_average", "match_losses": "bce", "encoders": "",
    "losses": "bce", "steps": "audio", "n_aviary": 0, "detector": "motion", "rate_hz": 2.0, "n_annotated": 1, "teachers": "",
    "n_rounds": 1, "members": "auto",
}  # fmt: skip


def chirps(duration_s=3.0, low_hz=2000.0, high_hz=5000.0, seed=0):
    """(samples,) float32: tones that rise twice a second, and noise at -46 dB."""
    n = int(duration_s * RATE_HZ)
    time_s = np.arange(n) / RATE_HZ
    turn = time_s % 0.5 / 0.5
    phase = 2 * np.pi * np.cumsum(low_hz + (high_hz - low_hz) * turn) / RATE_HZ
    noise = 0.005 * np.random.default_rng(seed).standard_normal(n)
    return (0.4 * np.sin(phase) * (turn < 0.6) + noise).astype(np.float32)


def _photo(path, colour, seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(60, 120, (120, 160, 3), dtype=np.uint8))
    ImageDraw.Draw(image).ellipse((40 + seed, 30, 110 + seed, 90), fill=colour)
    image.save(path)


def _film(path, colour=None, duration_s=2.0, seed=0):
    """A disc that crosses the picture; without a colour, nothing moves."""
    background = np.random.default_rng(seed).integers(90, 110, (96, 128, 3), dtype=np.uint8)
    images = []
    for k in range(int(duration_s * 10)):
        image = Image.fromarray(background)
        if colour:
            ImageDraw.Draw(image).ellipse((5 + 4 * k, 30, 35 + 4 * k, 60), fill=colour)
        images.append(np.asarray(image))
    sound = chirps(duration_s, 1500 + 700 * seed, seed=seed) if colour else np.zeros(int(duration_s * RATE_HZ), np.float32)
    writer.write(path, images, rate_hz=10, sound=[sound], sample_rate_hz=RATE_HZ)


_COLOURS = ["#a03c28", "#2840a0", "#c0a020", "#30a050"]


class _Set:
    """A folder with media and the rows of its manifest."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, species, *, k=0, sound=True, photo=False, film=None, group="", individual="", silent=False):
        """A row; ``film`` is "bird" or "empty"."""
        number = len(self.rows)
        name = f"r{number}"
        kind = sum(map(ord, species)) % 4
        paths = {"audio": "", "image": "", "video": ""}
        if sound:
            paths["audio"] = f"{name}.wav"
            low_hz = 1500 + 700 * kind
            waveform = np.zeros(3 * RATE_HZ) if silent else chirps(3, low_hz, low_hz + 1500, seed=number)
            soundfile.write(self.folder / paths["audio"], waveform, RATE_HZ)
        if photo:
            paths["image"] = f"{name}.jpg"
            _photo(self.folder / paths["image"], _COLOURS[kind], number)
        if film:
            paths["video"] = f"{name}.mp4"
            _film(self.folder / paths["video"], _COLOURS[kind] if film == "bird" else None, seed=kind)
        row = [name, species, paths["audio"], paths["image"], paths["video"], group or f"g{number}", individual]
        self.rows.append(row)
        return self

    def write(self):
        with open(self.folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEAD, *self.rows])
        return self.folder / "manifest.csv"


def _each(species, n, **options):
    def fill(data):
        for name in species:
            for _ in range(n):
                data.add(name, **options)

    return fill


def _films(data):
    for name in ("finch", "crow"):
        for _ in range(2):
            data.add(name, sound=False, film="bird")


def _silence_and_an_empty_film(data):
    _each(["finch", "crow"], 4, silent=True)(data)
    data.add("", sound=False, film="empty")


def _one_species_with_names(data):
    """Six birds of one species, two recordings each."""
    for k in range(6):
        for take in range(2):
            data.add("finch", individual=f"bird {k}", group=f"{k} {take}")


ODD_NAMES = ["Pay $5 and $6_x bird", "尖尾雨燕", 'Crow/Raven "black" <b>bold</b>', "_hidden"]
SETS = {
    "no voices, no films, odd names": _each(ODD_NAMES, 4, photo=True),
    "one species": _one_species_with_names,
    "two recordings": _each(["finch", "crow"], 1),  # and all species with one recording
    "silence and an empty film": _silence_and_an_empty_film,
    "no photos, one group": _each(["finch", "crow"], 4, group="all"),
    "photos only": _each(["finch", "crow", "tit"], 4, sound=False, photo=True),
    "films only": _films,
}


def make(folder, name):
    """Write the data set ``name``; gives the path of its manifest."""
    data = _Set(folder)
    SETS[name](data)
    return data.write()


def make_whole(folder):
    """Write a data set that lacks nothing: two species with sounds and photos, and two films of a bird of each; gives the path of its manifest."""
    data = _Set(folder)
    _each(["finch", "crow"], 4, photo=True)(data)
    _films(data)
    return data.write()
