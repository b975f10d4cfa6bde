"""The world of the synthetic sample: species, individuals, and the outings on which they are recorded.

Everything follows from a seed, and each thing from its own generator, so that one more photo changes no song.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from birdlib.data.synthetic import acoustics, drawing, songs


class Species(NamedTuple):
    """A row of the taxonomy; ``n_recordings`` 0 stands for the ``n_recordings`` of the sample."""

    primary_label: str
    common_name: str
    scientific_name: str
    class_name: str = "Aves"
    n_recordings: int = 0


SPECIES = (
    Species("grywag1", "Grey Wagfinch", "Synthornis cinereus"),
    Species("yelsin1", "Yellow Singlet", "Synthornis flavus"),
    Species("ruflut1", "Rufous Flutist", "Melosynthus rufus"),
    Species("cobflu1", "Cobalt Flutist", "Melosynthus cobaltinus"),
    Species("grebuz1", "Green Buzzer", "Bombosynthus viridis"),
    Species("redcha1", "Red-crested Chatterer", "Garrulosynthus cristatus"),
    Species("12050063", "Pixel Treefrog", "Synthyla palustris", "Amphibia"),
    Species("9304117", "Brown Vector Cricket", "Synthogryllus fuscus", "Insecta"),
    Species("blkwhi1", "Black Whistler", "Melosynthus ater", n_recordings=1),
    Species("goltri1", "Golden Triller", "Synthornis aureus", n_recordings=2),
    Species("tawcuc1", "Tawny Cuckling", "Cuculosynthus fulvus", n_recordings=3),
    Species("9304482", "Green Vector Cricket", "Synthogryllus viridis", "Insecta", n_recordings=4),
)
LABELS = tuple(sorted(species.primary_label for species in SPECIES))
COMMON_LABELS = tuple(species.primary_label for species in SPECIES if species.n_recordings == 0)

CASTS = (  # of the films: label, which of its individuals, visits
    (("ruflut1", 0, 1),),
    (("grywag1", 0, 1), ("grywag1", 1, 1)),
    (("ruflut1", 0, 1), ("cobflu1", 1, 1), ("redcha1", 0, 1)),
    (("grywag1", 0, 1), ("yelsin1", 0, 1), ("grebuz1", 0, 1), ("grywag1", 1, 1)),
    (("redcha1", 0, 2), ("redcha1", 1, 1)),
    (("cobflu1", 1, 2), ("yelsin1", 0, 1), ("grebuz1", 1, 1)),
)


@dataclass(frozen=True)
class _Individual:
    """One animal: the same voice in all its recordings, the same marks in all its images."""

    label: str
    individual_id: str
    voice: songs.Voice
    marks: drawing.Marks


@dataclass(frozen=True)
class _Outing:
    """One recordist at one place, which a split must not cut: gear, weather and a neighbour are shared."""

    recordist: acoustics.Recordist
    place: int  # in acoustics.PLACES
    rains: bool
    neighbour: _Individual  # sings in the background of other species' recordings


def rng_for(seed, *purpose):
    """A generator for one purpose, independent of what was generated before."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, purpose)).encode())])


def individual(label, place, *, seed):
    """The animal of a species that lives at a place (an index of ``acoustics.PLACES``)."""
    name = f"{label}-{'abcdefghijk'[place]}"
    rng = rng_for(seed, "individual", name)
    return _Individual(label, name, songs.voice(label, rng), drawing.marks(rng))


def outings(n_outings, *, seed):
    """List of at most 88 ``_Outing``, each a different pair of recordist and place; individuals recur."""
    rng, made = rng_for(seed, "outings"), []
    for k in range(n_outings):
        place = 3 * k % len(acoustics.PLACES)
        neighbour = individual(str(rng.choice(COMMON_LABELS)), place, seed=seed)
        rains = bool(rng.random() < acoustics.PLACES[place].rain)
        made.append(_Outing(acoustics.RECORDISTS[k % len(acoustics.RECORDISTS)], place, rains, neighbour))
    return made


def assign_recordings(n_recordings, n_outings, *, seed):
    """The species and outing of each recording.

    Args:
        n_recordings: of a common species, more or less one, on up to eight outings. Every recording of a rare species
            has an outing of its own, which no other rare species shares.
        n_outings: at least 10, for the rare species.

    Returns:
        list of (label, index of the outing).
    """
    rng, recordings = rng_for(seed, "deal"), []
    n_decks = 1 + 8 * len(COMMON_LABELS) // n_outings
    deck = np.concatenate([rng.permutation(n_outings) for _ in range(n_decks)]).tolist()
    rare = rng.permutation(n_outings).tolist()
    for label, *_, n_rare in SPECIES:
        if n_rare:
            recordings += [(label, rare.pop()) for _ in range(n_rare)]
            continue
        n = int(rng.integers(n_recordings - 1, n_recordings + 2))
        own = [deck.pop() for _ in range(min(8, max(1, n_recordings - 1)))]
        recordings += [(label, outing) for outing in sorted(own + rng.choice(own, max(0, n - len(own))).tolist())]
    return recordings
