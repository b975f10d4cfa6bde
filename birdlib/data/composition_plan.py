"""What is in each composed soundscape: site, date and hour, species, songs and voices. All of it is drawn from the seed.

Each site has its own mixture of species and its own background, each species its own hours, with most at dawn; both are the same in train and test soundscapes, so that
priors by site and hour can be learnt. File names are those of BirdCLEF+ 2026: ``BC2026_Train_0001_S08_20250606_030007.ogg``.
"""

import dataclasses
from datetime import date, timedelta

import numpy as np

from birdlib import runtime
from birdlib.data import mixtures

ROLES = ("train", "test")
SUFFIXES = ("ogg", "flac")
_DAWN = (4.5, 8.5)  # hours; at night, at noon and in the evening fewer species sing
_DAWN_SHARE = 0.7  # of the species
_HOUR_CONCENTRATION = 2.0  # of a von Mises distribution over the day: about four hours of deviation
_FIRST_DAY, _N_DAYS = date(2025, 4, 1), 90
_LEVEL_DB = (-52.0, -40.0)  # of a site's background, re full scale
_QUIET_SHARE, _VOICE_SHARE = 0.1, 0.15  # of the soundscapes: without birds; with a voice
_MORE_BOUTS = 1.5  # of a species in a minute, beside the first
_BOUT_DB = 2.0  # deviation between bouts of one bird
_MAX_SNR_DB = 100.0
_MAX_MINUTES, _MAX_SOUNDSCAPE_S = 1e6, 86_400.0  # about 600 GB of ogg; a day
_MAX_SPECIES, _MAX_SITES = 1000, 99  # S99 in file names


class PlanError(runtime.BirdlibError):
    """Options that do not make soundscapes."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of ``compose``.

    ``minutes``: of all soundscapes. ``soundscape_s``: of each. ``test_share``, ``labelled_share``: of all soundscapes for the test, and of the train soundscapes
    with labels. ``n_species``: on average in a soundscape with birds. ``snr_db``: (lowest, highest) level of a bird over the background in its own frequencies.
    """

    minutes: float = 60.0
    soundscape_s: float = 60.0
    test_share: float = 0.3
    labelled_share: float = 0.1
    n_species: float = 3.0
    snr_db: tuple = (0.0, 20.0)
    n_sites: int = 8
    suffix: str = "ogg"
    seed: int = 0

    def __post_init__(self):
        for name in ("test_share", "labelled_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanError(f"{name} is {getattr(self, name)}: it is a share, from 0 to 1")
        if not self.snr_db[0] <= self.snr_db[1]:
            raise PlanError(f"snr_db is {self.snr_db}: give the lowest level first")
        if max(map(abs, self.snr_db)) > _MAX_SNR_DB:
            raise PlanError(f"snr_db is {self.snr_db}: choose levels of -{_MAX_SNR_DB:g} to {_MAX_SNR_DB:g} dB, such as 0 and 20")
        if self.soundscape_s < 5.0 or self.n_species < 1 or self.n_sites < 1:
            raise PlanError("a soundscape lasts at least 5 s and has at least one species, at one site")
        for name, largest in {"minutes": _MAX_MINUTES, "soundscape_s": _MAX_SOUNDSCAPE_S, "n_species": _MAX_SPECIES, "n_sites": _MAX_SITES}.items():
            if not getattr(self, name) <= largest:
                raise PlanError(f"{name} is {getattr(self, name):g}: choose {largest:g} or less")
        if self.suffix not in SUFFIXES:
            raise PlanError(f"suffix is {self.suffix!r}: choose {' or '.join(SUFFIXES)}")
        if round(self.minutes * 60 / self.soundscape_s) < 2:
            raise PlanError(f"{self.minutes:g} minutes are not two soundscapes of {self.soundscape_s:g} s: one is for training, one for the test")

    def n_soundscapes(self):
        """{role: number of soundscapes}, at least one each."""
        n = round(self.minutes * 60 / self.soundscape_s)
        n_test = int(np.clip(round(n * self.test_share), 1, n - 1))
        return {"train": n - n_test, "test": n_test}


@dataclasses.dataclass(frozen=True)
class Sounds:
    """What soundscapes are made of: {role: list of ``mixtures.Source``} of birds, voices and backgrounds; the last two may be empty."""

    birds: dict
    voices: dict
    backgrounds: dict


@dataclasses.dataclass(frozen=True)
class Planned:
    """One soundscape: its file's ``name``, its ``bouts`` and what is behind them; ``background`` None is synthetic pink noise."""

    role: str
    name: str
    is_labelled: bool
    bouts: list
    background: mixtures.Source | None
    level_db: float
    seed: list

    def draw_background(self, soundscape_s):
        """(samples,) float32 at ``mixtures.SAMPLE_RATE_HZ``."""
        rng, n_samples = np.random.default_rng(self.seed), round(soundscape_s * mixtures.SAMPLE_RATE_HZ)
        if self.background is None:
            noise = mixtures.pink_noise(n_samples, rng)
        else:
            waveform = self.background.read()
            noise = mixtures.loop(waveform, n_samples, rng.integers(max(1, len(waveform) - n_samples + 1)))
        return mixtures.at_level(noise, self.level_db, rng)


def plan(options, sounds):
    """The soundscapes, train ones first: list of Planned."""
    world = _World(options, sounds)
    planned = []
    for role, n in options.n_soundscapes().items():
        rng = np.random.default_rng([options.seed, 1 + ROLES.index(role)])
        n_labelled = max(round(n * options.labelled_share), options.labelled_share > 0)  # of few soundscapes at least one
        labelled = set(rng.permutation(n)[:n_labelled]) if role == "train" else set()
        for number in range(n):
            seed = [options.seed, 3 + ROLES.index(role), number]
            planned.append(_planned(role, number, number in labelled, seed, options, world, sounds))
    return planned


class _World:
    """Sites and species: where and when each sings."""

    def __init__(self, options, sounds):
        rng = np.random.default_rng([options.seed, 0])
        self.species = sorted({source.species for sources in sounds.birds.values() for source in sources})
        n = len(self.species)
        self.at_site = rng.exponential(size=(options.n_sites, n))
        self.peak_h = np.where(rng.random(n) < _DAWN_SHARE, rng.uniform(*_DAWN, n), rng.uniform(0, 24, n))
        self.level_db = rng.uniform(*_LEVEL_DB, options.n_sites)

    def weights(self, site, hour, species):
        """(species,) how likely each of them sings there and then."""
        columns = np.searchsorted(self.species, species)
        phase = 2 * np.pi * (hour - self.peak_h[columns]) / 24
        return self.at_site[site, columns] * np.exp(_HOUR_CONCENTRATION * (np.cos(phase) - 1.0))


def _planned(role, number, is_labelled, seed, options, world, sounds):
    rng = np.random.default_rng(seed)
    site, hour = rng.integers(options.n_sites), rng.uniform(0, 24)
    day = _FIRST_DAY + timedelta(days=int(rng.integers(_N_DAYS)))
    clock = f"{int(hour):02d}{int(hour * 60) % 60:02d}{rng.integers(60):02d}"
    name = f"BC2026_{role.capitalize()}_{number + 1:04d}_S{site + 1:02d}_{day:%Y%m%d}_{clock}.{options.suffix}"
    bouts = [] if rng.random() < _QUIET_SHARE else _birds(world, site, hour, sounds.birds[role], options, rng)
    voices, backgrounds = sounds.voices.get(role, []), sounds.backgrounds.get(role, [])
    if voices and rng.random() < _VOICE_SHARE:
        bouts.append(mixtures.bout(voices[rng.integers(len(voices))], options.soundscape_s, rng.uniform(*options.snr_db), rng))
    background = backgrounds[site % len(backgrounds)] if backgrounds else None
    return Planned(role, name, is_labelled, bouts, background, world.level_db[site], [*seed, 1])


def _birds(world, site, hour, sources, options, rng):
    """The bouts of some species, each of one bird: a species is one recording here, in several bouts."""
    species = np.array(sorted({source.species for source in sources}))
    weights = world.weights(site, hour, species)
    n = min(len(species), 1 + rng.poisson(options.n_species - 1))
    bouts = []
    for name in rng.choice(species, n, replace=False, p=weights / weights.sum()):
        own = [source for source in sources if source.species == name]
        source, snr_db = own[rng.integers(len(own))], rng.uniform(*options.snr_db)
        for _ in range(1 + rng.poisson(_MORE_BOUTS * options.soundscape_s / 60.0)):
            bouts.append(mixtures.bout(source, options.soundscape_s, float(np.clip(rng.normal(snr_db, _BOUT_DB), *options.snr_db)), rng))
    return bouts
