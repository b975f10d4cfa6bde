"""Tracks of synthetic birds with known names, to train an encoder of individuals where films have too few known relations.

The birds are drawn like those of the synthetic sample, but each has a seed of its own, so none is in a sample. Each is in some films, with
others of its species, of which a few frames are drawn; these are compressed as JPEG, as a film is by its codec, and the boxes are the
true ones with the random errors of a detector.
"""

import numpy as np
import pandas as pd

from birdlib import parallel
from birdlib.data.synthetic import acoustics, films, generator, world
from birdlib.multimodal import scene_audio
from birdlib.video import track_crops

_SPECIES = tuple(label for label, _, _, kind, _ in world.SPECIES if kind == "Aves")
N_COMPANIONS = 2  # birds of a species in a film, of two species
N_FILMS = 3  # of each bird
_RATE_HZ, _DURATION_S = 0.9, 7.0
_JPEG_QUALITY = (40, 80)
_MIN_SIDE = 1 / 12  # of a box, of the height of the frame
_BOX_ERROR = 0.05  # standard deviation, of a box's sides
MIN_SEED = 1_000  # samples have smaller ones
_COLUMNS = ["recording_id", "track", "individual_id", "species", "time_s", "sound"]


def draw(n_individuals, *, n_crops=8, sound="alone", rng, n_jobs=1):
    """Draw tracks.

    Args:
        n_individuals: of all species in turn; rounded up to whole films of four.
        n_crops: of a track, at most, selected as ``tracking.follow`` does.
        sound: ``alone``, a song of each bird alone, or ``crop``, the soundtrack around the time of each crop, as of ``track_sounds.extract``;
            ``""``: none.
        n_jobs: processes, as in ``parallel.map_unordered``.

    Returns:
        table: DataFrame of ``recording_id, track, individual_id, species, time_s, sound``, a row a crop, sorted by recording_id and track;
            an ``individual_id`` is in ``N_FILMS`` films; ``sound`` is the row of ``spectrograms``.
        images: list of (height, width, 3) uint8 RGB, row-aligned with it.
        spectrograms: (sounds, 125, 128) float32; with ``alone`` one a track, in the order of the tracks in ``table``; a single one of zeros for none.
    """
    casts = {f"aviary-{number:04d}": cast for number, cast in enumerate(_casts(n_individuals, rng))}
    tasks = [{"recording_id": name, "cast": cast, "n_crops": n_crops, "sound": sound, "rng": own_rng} for name, (cast, own_rng) in casts.items()]
    rows, images, spectrograms = [], [], []
    for found in parallel.map_ordered(_film, tasks, casts, n_jobs, "synthetic birds"):
        rows += [(*row, len(spectrograms) + sound_row) for *row, sound_row in found[0]]
        images += found[1]
        spectrograms += found[2]
    spectrograms = spectrograms or [np.zeros((scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32)]
    return pd.DataFrame(rows, columns=_COLUMNS), images, np.stack(spectrograms)


def _casts(n_individuals, rng):
    """[(cast, rng)] of the films: a bird has the same companion in one film, and another of its species in the next."""
    n_pairs = 2 * -(-n_individuals // (2 * N_COMPANIONS))
    couples = []
    for number in range(n_pairs):
        label, seed = _SPECIES[number % len(_SPECIES)], int(rng.integers(MIN_SEED, 2**31))
        places = rng.choice(len(acoustics.PLACES), N_COMPANIONS, replace=False)
        couples.append([_bird(world.individual(label, int(place), seed=seed), seed) for place in places])
    casts = []
    for _ in range(N_FILMS):
        order = rng.permutation(n_pairs)
        casts += [[*couples[a], *couples[b]] for a, b in zip(order[::2], order[1::2], strict=True)]
        firsts = pd.Series(range(n_pairs)).groupby(np.arange(n_pairs) % len(_SPECIES)).indices.values()
        others = [couple[1] for couple in couples]
        for members in firsts:  # of a species
            for couple, other in zip(members, np.roll(members, 1), strict=True):
                couples[couple] = [couples[couple][0], others[other]]
    return list(zip(casts, rng.spawn(len(casts)), strict=True))


def _bird(individual, seed):
    return films.Bird(individual.label, f"{individual.individual_id}-{seed}", individual.voice, individual.marks)


def _film(recording_id, cast, n_crops, sound, rng):
    """(rows, images, spectrograms) of the tracks of one film."""
    import cv2

    width, height = generator.FILM_SIZE
    frames, soundtrack = films.film(cast, duration_s=_DURATION_S, fps=_RATE_HZ, width=width, height=height, rng=rng)
    best = {bird.individual_id: track_crops.BestCrops(n_crops) for bird in cast}
    for number, (image, birds) in enumerate(frames):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_JPEG_QUALITY))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        for bird in birds:
            box = np.array([bird[name] for name in ("x", "y", "width", "height")], float)
            if box[2:].min() >= _MIN_SIDE * height:
                box += rng.normal(0, _BOX_ERROR, 4) * np.tile(box[2:], 2)
                crop = track_crops.crop(image, box)
                best[bird["individual_id"]].add(number / _RATE_HZ, crop, track_crops.quality(crop, box, image.shape[:2]))
    rows, images, spectrograms, sound_at = [], [], [], {}
    for number, bird in enumerate((bird for bird in cast if best[bird.individual_id].kept), start=1):
        track = recording_id, number, bird.individual_id, bird.label
        if sound == "alone":
            _, song = films.film([bird], duration_s=scene_audio.SCENE_S, fps=_RATE_HZ, width=64, height=48, rng=rng)
            spectrograms.append(scene_audio.spectrogram(song))
        for _, time_s, crop in sorted(best[bird.individual_id].select(), key=lambda crop: crop[1]):
            if sound == "crop" and time_s not in sound_at:
                sound_at[time_s] = len(spectrograms)
                spectrograms.append(_spectrogram_around(soundtrack, time_s))
            rows.append((*track, time_s, number - 1 if sound == "alone" else sound_at.get(time_s, 0)))
            images.append(crop)
    return rows, images, spectrograms


def _spectrogram_around(soundtrack, time_s):
    """(125, 128) of the soundtrack around a time, as of ``track_sounds.extract``."""
    start = round(max(time_s - scene_audio.SCENE_S / 2, 0.0) * acoustics.SAMPLE_RATE_HZ)
    return scene_audio.spectrogram(soundtrack[start : start + round(scene_audio.SCENE_S * acoustics.SAMPLE_RATE_HZ)])
