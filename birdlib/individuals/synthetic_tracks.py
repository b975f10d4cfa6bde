"""Tracks of invented birds whose names are known: what an encoder of individuals learns from where films tell too little.

The birds are those of the synthetic aviary, but others than any sample holds: each has a seed of its own. Everyone is in some films,
with others of its species, as ``films`` draws them, but a few pictures of each film only; they go through JPEG, as those of a film go
through its codec, and the boxes are true but for what a detector would be out by. Everything is synthetic.
"""

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data.synthetic import acoustics, films, generator, world
from birdlib.multimodal import scene_audio
from birdlib.video import track_crops

SPECIES = tuple(label for label, _, _, kind, _ in world.SPECIES if kind == "Aves")
COMPANY = 2  # of a species in a film, twice
N_FILMS = 3  # that every bird is in
RATE_HZ, _DURATION_S = 0.9, 7.0
_JPEG_QUALITY = (40, 80)
_LEAST_SIDE = 1 / 12  # of a box, of the height of the picture
_OUT_BY = 0.05  # of a box's sides, what a detector errs by
MIN_SEED = 1_000  # samples have small ones
COLUMNS = ["recording_id", "track", "individual_id", "species", "time_s"]


def draw(n_individuals, *, n_crops=8, rng, n_jobs=1):
    """Draw tracks.

    Args:
        n_individuals: of all species in turn; rounded up to whole films of four.
        n_crops: the most of a track, chosen as ``tracks.follow`` chooses them.
        rng: of everything.
        n_jobs: processes of joblib.

    Returns:
        table: DataFrame of ``COLUMNS``, a row a crop, sorted by recording_id and track; an ``individual_id`` is in ``N_FILMS`` films.
        images: list of (height, width, 3) uint8 RGB, row-aligned with it.
        heard: (tracks, 125, 128) float32, what each bird sings when it is alone, in the order of the tracks in ``table``.
    """
    import joblib

    jobs = [
        joblib.delayed(_film)(f"aviary-{number:04d}", cast, n_crops, own)
        for number, (cast, own) in enumerate(_casts(n_individuals, rng))
    ]
    done = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    rows, images, heard = [], [], []
    for found in runtime.progress(done, total=len(jobs), desc="invented birds"):
        for many, few in zip((rows, images, heard), found, strict=True):
            many.extend(few)
    return pd.DataFrame(rows, columns=COLUMNS), images, np.stack(heard)


def _casts(n_individuals, rng):
    """[(cast, rng)] of the films: birds keep their company once, and have another of their species in the other film."""
    n_pairs = 2 * -(-n_individuals // (2 * COMPANY))
    couples = []
    for number in range(n_pairs):
        label, seed = SPECIES[number % len(SPECIES)], int(rng.integers(MIN_SEED, 2**31))
        places = rng.choice(len(acoustics.PLACES), COMPANY, replace=False)
        couples.append([_bird(world.individual(label, int(place), seed=seed), seed) for place in places])
    casts = []
    for _ in range(N_FILMS):
        order = rng.permutation(n_pairs)
        casts += [[*couples[a], *couples[b]] for a, b in zip(order[::2], order[1::2], strict=True)]
        firsts = pd.Series(range(n_pairs)).groupby(np.arange(n_pairs) % len(SPECIES)).indices.values()
        others = [couple[1] for couple in couples]
        for members in firsts:  # of a species
            for one, other in zip(members, np.roll(members, 1), strict=True):
                couples[one] = [couples[one][0], others[other]]
    return list(zip(casts, rng.spawn(len(casts)), strict=True))


def _bird(individual, seed):
    return films.Bird(individual.label, f"{individual.individual_id}-{seed}", individual.voice, individual.marks)


def _film(recording_id, cast, n_crops, rng):
    """(rows, images, heard) of the tracks of one film."""
    import cv2

    width, height = generator.FILM_SIZE
    frames, _ = films.film(cast, duration_s=_DURATION_S, fps=RATE_HZ, width=width, height=height, rng=rng)
    best = {bird.individual_id: track_crops.Best(n_crops) for bird in cast}
    for number, (image, birds) in enumerate(frames):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_JPEG_QUALITY))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        for bird in birds:
            box = np.array([bird[name] for name in ("x", "y", "width", "height")], float)
            if box[2:].min() >= _LEAST_SIDE * height:
                box += rng.normal(0, _OUT_BY, 4) * np.tile(box[2:], 2)
                cut = track_crops.crop(image, box)
                best[bird["individual_id"]].offer(number / RATE_HZ, cut, track_crops.quality(cut, box, image.shape[:2]))
    rows, images, heard = [], [], []
    for number, bird in enumerate((bird for bird in cast if best[bird.individual_id].kept), start=1):
        own = recording_id, number, bird.individual_id, bird.label
        for _, time_s, cut in sorted(best[bird.individual_id].chosen(), key=lambda one: one[1]):
            rows.append((*own, time_s))
            images.append(cut)
        _, song = films.film([bird], duration_s=scene_audio.SCENE_S, fps=RATE_HZ, width=64, height=48, rng=rng)
        heard.append(scene_audio.spectrogram(song))
    return rows, images, heard
