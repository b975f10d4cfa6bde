"""Augmentation: which distortion happens to which clip, how often and how strongly.

What is applied is a dict {name: probability}, which ``parse`` reads from a text. A new distortion of waveforms is one
entry in ``DISTORTIONS`` and one function in ``distortions``; mixing of two clips is in ``mixing``, filters of
spectrograms in ``filter_augment``, the layer that masks them in ``spec_augment``. A probability is a number, or (min, max), growing with the species' rarity.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from birdlib import runtime
from birdlib.audio import distortions, filter_augment, mixing

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
    "clipping": Distortion((0.05, 0.2), (0.7, 0.95), lambda x, hz, share, rng: distortions.clip(x, share)),
}
PROBABILITIES = {name: distortion.probability for name, distortion in DISTORTIONS.items()} | {
    "wave_mixup": 0.5,  # of a batch of waveforms
    "audio_mix": 0.3,
    "mixup": 0.3,  # of a batch of spectrograms
    "cutmix": 0.2,
    "filter_augment": 0.5,
    "spec_augment": 1.0,  # of a spectrogram, in the model
}
NAMES = tuple(PROBABILITIES)
MIXERS = ("wave_mixup", "audio_mix", "mixup", "cutmix")  # those that mix two clips
_WORDS = ("all", "none", "by_rarity")  # of a text, beside names


class AugmentError(runtime.BirdlibError):
    """An augmentation that does not exist, or lacks what it needs."""


def parse(text):
    """The probabilities of the augmentations of a text such as ``"reverb=0.15,pitch=0.05-0.2,shift,by_rarity"``.

    A name alone has its probability of ``PROBABILITIES``; NAME=P has P, and NAME=MIN-MAX grows with rarity. ``all`` adds
    all names that the text does not have, ``none`` nothing; with ``by_rarity`` see ``by_rarity``.

    Returns:
        {name: number or (min, max)} in the order in which they are applied.

    Raises:
        AugmentError: for a name that does not exist, or a probability that is none.
    """
    items = dict(_parse_item(item) for item in runtime.names(text))
    known = {*NAMES, *_WORDS}
    if unknown := sorted(items.keys() - known):
        raise AugmentError(f"augmentation {', '.join(unknown)} is unknown: use all, none, or of {', '.join(NAMES)}")
    default = PROBABILITIES if "all" in items else {}
    chosen = {name: items.get(name, default.get(name)) for name in NAMES if name in items or name in default}
    if np.ndim(chosen.get("spec_augment", 0.0)):
        raise AugmentError("spec_augment has one probability for all species: give one number")
    return by_rarity(probabilities=chosen) if "by_rarity" in items else chosen


def parse_masks(text):
    """The masks of SpecAugment of a text such as ``"2x10%,2x15%"``: number x longest, of time, then of bands.

    The longest is a share in percent, or a number of frames and of bands: ``"1x20,1x20"``.

    Returns:
        dict, arguments of ``spec_augment.SpecAugment``.

    Raises:
        AugmentError: for any other text.
    """
    found = re.fullmatch(r"(\d+)x(\d+(?:\.\d+)?)(%?),(\d+)x(\d+(?:\.\d+)?)(%?)", text.replace(" ", ""))
    if not found:
        raise AugmentError(f"masks are {text!r}: give number x longest, of time and of bands, as in '2x10%,2x15%' or '1x20,1x20'")
    n_time, longest, of_time, n_bands, widest, of_bands = found.groups()
    if any(is_share and float(size) > 100 for size, is_share in ((longest, of_time), (widest, of_bands))):
        raise AugmentError(f"masks are {text!r}: a mask covers at most 100%")
    time = {"longest_share": float(longest) / 100} if of_time else {"longest_frames": float(longest)}
    bands = {"widest_share": float(widest) / 100} if of_bands else {"widest_bands": float(widest)}
    return {"n_time_masks": int(n_time), **time, "n_band_masks": int(n_bands), **bands}


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
    """Make every probability p depend on the rarity of the species: it becomes (min_share * p, p).

    That of ``spec_augment`` stays: the layer does not know the species.
    """
    is_fixed = {name: np.ndim(p) or name == "spec_augment" for name, p in probabilities.items()}
    return {name: p if is_fixed[name] else (min_share * p, p) for name, p in probabilities.items()}


def waveform(song, sample_rate_hz, probabilities=PROBABILITIES, rarity=1.0, background=None, voice=None, *, rng):
    """Distort one clip, each of ``DISTORTIONS`` with its own probability and an amount from its own range.

    Args:
        song: (samples,) float32 in [-1, 1].
        probabilities: {name: probability}, see ``parse``; what is not of ``DISTORTIONS`` is ignored.
        rarity: of the clip, from ``row_rarity``.
        background, voice: ``backgrounds.Sounds``.

    Returns:
        (samples,) float32 in [-1, 1]: the clip itself, if nothing was drawn.

    Raises:
        AugmentError: if background or voice is named and not given.
    """
    sounds = {"background": background, "voice": voice}
    if missing := [name for name, sound in sounds.items() if name in probabilities and sound is None]:
        raise AugmentError(f"augmentation {', '.join(missing)} needs sounds: give backgrounds.Sounds, or switch it off")
    for name, distortion in DISTORTIONS.items():
        if name not in probabilities:
            continue
        happens, amount = rng.random() < probability(probabilities[name], rarity), rng.uniform(*distortion.range)
        if happens and name in sounds:
            song = distortions.add(song, sounds[name].draw(len(song), rng=rng), amount)
        elif happens:
            song = distortion.apply(song, sample_rate_hz, amount, rng)
    return song


def waveforms(
    songs, labels, sample_rate_hz, probabilities=PROBABILITIES, rarities=None, background=None, voice=None, *, along=(), rng
):
    """Distort a batch: ``waveform`` for each row, then mix rows, each by ``wave_mixup``, else by ``audio_mix``, or not at all.

    ``wave_mixup`` is ``mixing.mixup`` with the labels of both and the row at least as loud as its partner, as won in BirdCLEF+ 2026.

    Args:
        songs: (batch, samples) float32 in [-1, 1].
        labels: (batch, classes) in [0, 1].
        probabilities: as in ``waveform``.
        rarities: (classes,) from ``rarity``; None counts every species as the rarest.
        along: as of ``mixing``.

    Returns:
        (songs, labels, *along), float32 of the same shapes.

    Raises:
        AugmentError: as ``waveform``.
    """
    songs, labels = np.asarray(songs, np.float32), np.asarray(labels, np.float32)
    rarity_of_rows = row_rarity(labels, rarities)
    if probabilities.keys() & DISTORTIONS.keys():
        rows = zip(songs, rarity_of_rows, strict=True)
        options = {"background": background, "voice": voice, "rng": rng}
        songs = np.stack([waveform(song, sample_rate_hz, probabilities, rarity, **options) for song, rarity in rows])
    mixed_already = np.zeros(len(songs), bool)
    if "wave_mixup" in probabilities:
        mixed_already = _drawn(probabilities["wave_mixup"], rarity_of_rows, rng)
        songs, labels, *along = mixing.mixup(songs, labels, mixed_already, rule="union", is_dominant=True, along=along, rng=rng)
    if "audio_mix" in probabilities:
        chosen = _drawn(probabilities["audio_mix"], rarity_of_rows, rng) & ~mixed_already
        overlap_s = min(mixing.OVERLAP_S, songs.shape[1] / sample_rate_hz)
        songs, labels, *along = mixing.audio_mix(songs, labels, sample_rate_hz, chosen, overlap_s=overlap_s, along=along, rng=rng)
    return songs, labels, *along


def spectrograms(images, labels, probabilities=PROBABILITIES, rarities=None, scale=None, *, along=(), rng):
    """Mix a batch of spectrograms, each row by ``mixup``, else by ``cutmix``, or not at all; then filter rows by ``filter_augment``.

    Args:
        images: (batch, frames, bands); the edges of cutmix are scaled to their frames.
        labels, probabilities, rarities, along: as in ``waveforms``.
        scale: ``unit_db`` and ``limits`` of spectrograms as ``filter_augment`` takes them; None for those of mel models.

    Returns:
        (images, labels, *along), float32 of the same shapes.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels, np.float32)
    rarity_of_rows = row_rarity(labels, rarities)
    by_mixup, by_cutmix = (_drawn(probabilities.get(name, 0.0), rarity_of_rows, rng) for name in ("mixup", "cutmix"))
    edges = tuple(round(edge * images.shape[1] / 512) for edge in mixing.CUTMIX_EDGES)
    blended = mixing.mixup(images, labels, by_mixup, along=along, rng=rng)
    joined = mixing.cutmix(images, labels, by_cutmix, edges=edges, along=along, rng=rng)
    images, *others = (
        np.where(by_mixup.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(blended, joined, strict=True)
    )
    if "filter_augment" in probabilities:
        chosen = _drawn(probabilities["filter_augment"], rarity_of_rows, rng)
        images = filter_augment.filter_augment(images, chosen, **scale or {}, rng=rng)
    return images, *others


def masking(probabilities, masks, seed):
    """The layer ``spec_augment.SpecAugment`` that masks spectrograms in training; None without ``spec_augment``.

    Args:
        probabilities: as in ``waveform``.
        masks: text, see ``parse_masks``.
    """
    if "spec_augment" not in probabilities:
        return None
    from birdlib.audio.spec_augment import SpecAugment

    return SpecAugment(probability=probabilities["spec_augment"], seed=seed, **parse_masks(masks))


def _parse_item(item):
    """(name, probability) of ``NAME``, ``NAME=P`` or ``NAME=MIN-MAX``."""
    name, equals, value = (part.strip() for part in item.partition("="))
    if not equals:
        return name, PROBABILITIES.get(name)
    try:
        numbers = [float(part) for part in value.split("-")]
    except ValueError:
        numbers = []
    if name in _WORDS or not 1 <= len(numbers) <= 2 or not 0 <= numbers[0] <= numbers[-1] <= 1:
        raise AugmentError(f"{item!r} is no augmentation: write NAME=P or NAME=MIN-MAX, numbers from 0 to 1")
    return name, numbers[0] if len(numbers) == 1 else tuple(numbers)


def _drawn(value, rarities, rng):
    """(batch,) bool: the rows that are chosen at random."""
    return rng.random(len(rarities)) < [probability(value, rarity) for rarity in rarities]
