"""Augmentation: which distortion happens to which clip, how often and how strongly.

A *switch* names the augmentations: ``all``, ``none``, or names separated by commas. A new distortion of waveforms is
one entry in ``DISTORTIONS`` and one function in ``distortions``; mixing of two clips is in ``mixing``, the layer that
masks spectrograms in ``spec_augment``. A probability is a number, or (min, max), growing with the species' rarity.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from birdlib import runtime
from birdlib.audio import distortions, mixing

_WET = 0.3  # share of the echo in reverb


@dataclasses.dataclass(frozen=True)
class Distortion:
    """A distortion of one waveform.

    Attributes:
        probability: a number, or (min, max) by rarity.
        range: of its amount, drawn uniformly.
        apply: function (waveform, sample_rate_hz, amount, rng) → waveform; None: another sound of that name is added,
            the amount being the level of the waveform above it in dB.
    """

    probability: float | tuple
    range: tuple
    apply: Callable | None = None


DISTORTIONS = {  # in the order of the sound's way: the bird, the surroundings, the recorder
    "stretch": Distortion(0.1, (0.8, 1.2), lambda x, hz, rate, rng: distortions.stretch(x, rate)),
    "pitch": Distortion((0.05, 0.2), (-0.5, 0.5), lambda x, hz, semitones, rng: distortions.pitch(x, hz, semitones)),
    "shift": Distortion(0.1, (-0.25, 0.25), lambda x, hz, shift_s, rng: distortions.shift(x, round(shift_s * hz))),
    "reverb": Distortion(
        0.15, (0.2, 1.0), lambda x, hz, decay_s, rng: distortions.reverb(x, hz, decay_s=decay_s, wet=_WET, rng=rng)
    ),
    "background": Distortion(0.3, (3.0, 30.0)),
    "voice": Distortion(0.1, (3.0, 30.0)),
    "volume": Distortion(0.2, (0.5, 1.3), lambda x, hz, gain, rng: distortions.volume(x, gain)),
    "compression": Distortion(0.2, (2.0, 6.0), lambda x, hz, ratio, rng: distortions.compress(x, hz, ratio=ratio)),
    "clipping": Distortion((0.05, 0.2), (0.01, 0.1), lambda x, hz, share, rng: distortions.clip(x, share)),
}
PROBABILITIES = {name: distortion.probability for name, distortion in DISTORTIONS.items()} | {
    "audio_mix": 0.3,  # of a batch of waveforms
    "mixup": 0.3,  # of a batch of spectrograms
    "cutmix": 0.2,
    "spec_augment": 1.0,  # in the model
}
NAMES = tuple(PROBABILITIES)


class AugmentError(runtime.BirdlibError):
    """An augmentation that does not exist, or lacks what it needs."""


def names(switch):
    """The augmentations of a switch (str, or a sequence of names), in the order in which they are applied.

    Raises:
        AugmentError: for a name that does not exist.
    """
    if isinstance(switch, str):
        switch = {"all": NAMES, "none": ()}.get(switch, runtime.names(switch))
    unknown = sorted(set(switch) - set(NAMES))
    if unknown:
        raise AugmentError(f"augmentation {', '.join(unknown)} is unknown: use all, none, or of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in switch)


def rarity(truth):
    """Rarity of each species: inversely proportional to its number of clips, 1 for the rarest.

    Args:
        truth: (clips, classes) in [0, 1] of the training set; a soft label counts as that part of a clip.

    Returns:
        (classes,) in (0, 1]; a species present (``mixing.PRESENT``) in no clip is as rare as the rarest one that is.
    """
    truth = np.asarray(truth)
    counts = np.maximum(truth.sum(axis=0), 1)
    present = counts[(truth >= mixing.PRESENT).any(axis=0)]
    return np.minimum(present.min(initial=counts.max()) / counts, 1.0)


def row_rarity(labels, rarities):
    """(batch,) rarity of each row: that of its rarest species; of a row without species, that of the commonest.

    Args:
        labels: (batch, classes).
        rarities: (classes,), from ``rarity``; None: 1 for all rows.
    """
    if rarities is None:
        return np.ones(len(labels))
    return np.where(np.asarray(labels) >= mixing.PRESENT, rarities, np.min(rarities)).max(axis=1)


def probability(value, rarity=1.0):
    """The probability for a clip: a number as it is; of (min, max), max * rarity, but not below min."""
    if np.ndim(value) == 0:
        return float(value)
    low, high = value
    return max(low, high * float(rarity))


def by_rarity(min_share=0.1, probabilities=PROBABILITIES):
    """Make every probability p depend on the rarity of the species: it becomes (min_share * p, p)."""
    return {name: (min_share * p, p) if np.ndim(p) == 0 else p for name, p in probabilities.items()}


def waveform(
    song, sample_rate_hz, switch="all", rarity=1.0, background=None, voice=None, *, probabilities=PROBABILITIES, rng
):
    """Distort one clip, each of ``DISTORTIONS`` with its own probability and an amount from its own range.

    Args:
        song: (samples,) float32 in [-1, 1].
        switch: see ``names``; what is not of ``DISTORTIONS`` is ignored.
        rarity: of the clip, from ``row_rarity``.
        background, voice: ``backgrounds.Sounds``; if None, ``all`` does without them.
        probabilities: as ``PROBABILITIES``, which holds for names that are left out.

    Returns:
        (samples,) float32 in [-1, 1]: the clip itself, if nothing was drawn.

    Raises:
        AugmentError: if background or voice is named and not given.
    """
    probabilities = PROBABILITIES | dict(probabilities)
    sounds = {"background": background, "voice": voice}
    for name in _distortion_names(switch, sounds):
        distortion = DISTORTIONS[name]
        happens, amount = rng.random() < probability(probabilities[name], rarity), rng.uniform(*distortion.range)
        if happens and name in sounds:
            song = distortions.add(song, sounds[name].draw(len(song), rng=rng), amount)
        elif happens:
            song = distortion.apply(song, sample_rate_hz, amount, rng)
    return song


def waveforms(
    songs, labels, sample_rate_hz, switch="all", rarities=None, background=None, voice=None, *,
    probabilities=PROBABILITIES, rng,
):  # fmt: skip
    """Distort a batch: ``waveform`` for each row, then ``mixing.audio_mix`` between rows.

    Args:
        songs: (batch, samples) float32 in [-1, 1].
        labels: (batch, classes) in [0, 1].
        rarities: (classes,) from ``rarity``; None counts every species as the rarest.

    Returns:
        (songs, labels), float32 of the same shapes.

    Raises:
        AugmentError: as ``waveform``.
    """
    probabilities = PROBABILITIES | dict(probabilities)
    songs, labels = np.asarray(songs, np.float32), np.asarray(labels, np.float32)
    rarity_of_rows = row_rarity(labels, rarities)
    options = {"background": background, "voice": voice, "probabilities": probabilities, "rng": rng}
    if set(names(switch)) & set(DISTORTIONS):
        rows = zip(songs, rarity_of_rows, strict=True)
        songs = np.stack([waveform(song, sample_rate_hz, switch, rarity, **options) for song, rarity in rows])
    if "audio_mix" in names(switch):
        chosen = _drawn(probabilities["audio_mix"], rarity_of_rows, rng)
        overlap_s = min(mixing.OVERLAP_S, songs.shape[1] / sample_rate_hz)
        songs, labels = mixing.audio_mix(songs, labels, sample_rate_hz, chosen, overlap_s=overlap_s, rng=rng)
    return songs, labels


def spectrograms(images, labels, switch="all", rarities=None, *, probabilities=PROBABILITIES, rng):
    """Mix a batch of spectrograms: each row by ``mixup``, else by ``cutmix``, or not at all.

    Args:
        images: (batch, frames, bands); the edges of cutmix are scaled to their frames.
        labels, rarities: as in ``waveforms``.

    Returns:
        (images, labels), float32 of the same shapes.
    """
    probabilities = PROBABILITIES | dict(probabilities)
    images, labels, switched_on = np.asarray(images, np.float32), np.asarray(labels, np.float32), names(switch)
    rarity_of_rows = row_rarity(labels, rarities)
    by_mixup, by_cutmix = (
        _drawn(probabilities[name], rarity_of_rows, rng) & (name in switched_on) for name in ("mixup", "cutmix")
    )
    edges = tuple(round(edge * images.shape[1] / 512) for edge in mixing.CUTMIX_EDGES)
    blended, blended_labels = mixing.mixup(images, labels, by_mixup, rng=rng)
    joined, joined_labels = mixing.cutmix(images, labels, by_cutmix, edges=edges, rng=rng)
    rows = by_mixup.reshape(-1, *[1] * (images.ndim - 1))
    return np.where(rows, blended, joined), np.where(by_mixup[:, None], blended_labels, joined_labels)


def model_layer(switch="all", seed=None, **options):
    """The layer ``spec_augment.SpecAugment`` that masks spectrograms in training; None, if it is switched off."""
    if "spec_augment" not in names(switch):
        return None
    from birdlib.audio.spec_augment import SpecAugment

    return SpecAugment(seed=seed, **options)


def _distortion_names(switch, sounds):
    named = [name for name in names(switch) if name in DISTORTIONS]
    missing = [name for name in named if sounds.get(name, True) is None]
    if missing and switch != "all":
        raise AugmentError(f"augmentation {', '.join(missing)} needs sounds: give backgrounds.Sounds, or switch it off")
    return [name for name in named if name not in missing]


def _drawn(value, rarities, rng):
    """(batch,) bool: the rows that are chosen at random."""
    return rng.random(len(rarities)) < [probability(value, rarity) for rarity in rarities]
