"""Who lives where in the synthetic aviary: species, individuals, and the outings on which they are recorded.

Everything follows from a seed, and each thing from its own generator, so that one more photo changes no song.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from birdlib.data.synthetic import acoustics, drawing, songs

SPECIES = (  # label, common name, scientific name, class, recordings (0: as many as are asked for)
    ("grywag1", "Grey Wagfinch", "Synthornis cinereus", "Aves", 0),
    ("yelsin1", "Yellow Singlet", "Synthornis flavus", "Aves", 0),
    ("ruflut1", "Rufous Flutist", "Melosynthus rufus", "Aves", 0),
    ("cobflu1", "Cobalt Flutist", "Melosynthus cobaltinus", "Aves", 0),
    ("grebuz1", "Green Buzzer", "Bombosynthus viridis", "Aves", 0),
    ("redcha1", "Red-crested Chatterer", "Garrulosynthus cristatus", "Aves", 0),
    ("12050063", "Pixel Treefrog", "Synthyla palustris", "Amphibia", 0),
    ("9304117", "Brown Vector Cricket", "Synthogryllus fuscus", "Insecta", 0),
    ("blkwhi1", "Black Whistler", "Melosynthus ater", "Aves", 1),
    ("goltri1", "Golden Triller", "Synthornis aureus", "Aves", 2),
    ("tawcuc1", "Tawny Cuckling", "Cuculosynthus fulvus", "Aves", 3),
    ("9304482", "Green Vector Cricket", "Synthogryllus viridis", "Insecta", 4),
)
LABELS = tuple(sorted(label for label, *_ in SPECIES))
COMMON_LABELS = tuple(label for label, *_, n in SPECIES if n == 0)

CASTS = (  # of the films: species, which of its individuals, visits
    (("ruflut1", 0, 1),),
    (("grywag1", 0, 1), ("grywag1", 1, 1)),
    (("ruflut1", 0, 1), ("cobflu1", 1, 1), ("redcha1", 0, 1)),
    (("grywag1", 0, 1), ("yelsin1", 0, 1), ("grebuz1", 0, 1), ("grywag1", 1, 1)),
    (("redcha1", 0, 2), ("redcha1", 1, 1)),
    (("cobflu1", 1, 2), ("yelsin1", 0, 1), ("grebuz1", 1, 1)),
)


@dataclass(frozen=True)
class _Individual:
    """One animal: the same voice in all its recordings, the same marks in all its pictures."""

    label: str
    individual_id: str
    voice: songs.Voice
    marks: drawing.Marks


@dataclass(frozen=True)
class _Outing:
    """One recordist at one place: the group that a split must not cut. Gear, weather and a neighbour are shared."""

    recordist: acoustics.Recordist
    place: int  # in fieldwork.PLACES
    rains: bool
    neighbour: _Individual  # of the species that is heard behind others on that day


def rng_for(seed, *purpose):
    """A generator for one purpose: what is made does not depend on what was made before it."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, purpose)).encode())])


def individual(label, place, *, seed):
    """The animal of a species that lives at a place (an index of ``fieldwork.PLACES``)."""
    name = f"{label}-{'abcdefghijk'[place]}"
    rng = rng_for(seed, "individual", name)
    return _Individual(label, name, songs.voice(label, rng), drawing.marks(rng))


def outings(n_outings, *, seed):
    """List of ``_Outing``, each a different pair of recordist and place; both recur, so do the individuals there.

    Args:
        n_outings: at most 88, all the pairs there are.
    """
    rng, made = rng_for(seed, "outings"), []
    for k in range(n_outings):
        place = 3 * k % len(acoustics.PLACES)
        neighbour = individual(str(rng.choice(COMMON_LABELS)), place, seed=seed)
        rains = bool(rng.random() < acoustics.PLACES[place].rain)
        made.append(_Outing(acoustics.RECORDISTS[k % len(acoustics.RECORDISTS)], place, rains, neighbour))
    return made


def deal(n_recordings, n_outings, *, seed):
    """Which species is recorded on which outing.

    Args:
        n_recordings: of a common species, more or less one, on up to eight outings. Every recording of a rare species
            has an outing of its own, which no other rare species shares.
        n_outings: 10 or more, for the rare ones.

    Returns:
        list of (label, index of the outing), one for each recording.
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
