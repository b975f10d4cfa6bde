"""Augmentation: which distortion happens to which clip, how often and how much.

One switch says what is done: ``all``, ``none``, or names separated by commas. What happens to single waveforms is in ``distortions``,
what makes one clip of two in ``mixing``, what the model does to its spectrograms in ``spec_augment``. A probability is a number, or
(least, most): then it is inversely proportional to how often the species is there, see ``rarity``.
"""

import numpy as np

from birdlib import runtime
from birdlib.audio import distortions, mixing, spec_augment

PROBABILITIES = {  # in the order in which sound meets them: the bird, the place, the recorder
    "stretch": 0.1,
    "pitch": (0.05, 0.2),
    "shift": 0.1,
    "reverb": 0.15,
    "background": 0.3,
    "voice": 0.1,
    "volume": 0.2,
    "compression": 0.2,
    "clipping": (0.05, 0.2),
    "audio_mix": 0.3,
    "mixup": 0.3,
    "cutmix": 0.2,
    "spec_augment": 1.0,
}
RANGES = {  # from which the numbers of a distortion are drawn, uniformly
    "stretch": (0.8, 1.2),  # times as fast
    "pitch": (-0.5, 0.5),  # semitones
    "shift": (-0.25, 0.25),  # s
    "reverb": (0.2, 1.0),  # s until it is 60 dB weaker
    "background": (3.0, 30.0),  # dB of the bird above it
    "voice": (3.0, 30.0),
    "volume": (0.5, 1.3),  # times as loud
    "compression": (2.0, 6.0),  # ratio
    "clipping": (0.01, 0.1),  # share of samples
}
WAVEFORM = tuple(RANGES)
BATCH = ("audio_mix",)
_SPECTROGRAM = ("mixup", "cutmix")
_MODEL = ("spec_augment",)
NAMES = (*WAVEFORM, *BATCH, *_SPECTROGRAM, *_MODEL)
_WET = 0.3  # share of the echo in reverb


class AugmentError(runtime.BirdlibError):
    """An augmentation that does not exist, or lacks what it needs."""


def names(switch):
    """What a switch says.

    Args:
        switch: ``"all"``, ``"none"``, or names of ``NAMES`` separated by commas; or a sequence of them.

    Returns:
        tuple of names, in the order in which they are done.

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
    """How rare each species is: inversely proportional to its number of clips, 1 for the rarest.

    Args:
        truth: (clips, classes) in [0, 1] of the training set; what is less than 1 counts as that part of a clip.

    Returns:
        (classes,) in (0, 1]; a species that is there (``mixing.PRESENT``) in no clip is not rarer than the rarest that is.
    """
    truth = np.asarray(truth)
    counts = np.maximum(truth.sum(axis=0), 1)
    present = counts[(truth >= mixing.PRESENT).any(axis=0)]
    return np.minimum(present.min(initial=counts.max()) / counts, 1.0)


def row_rarity(labels, rarities):
    """Rarity of each row: that of the rarest species that is there (``mixing.PRESENT``); of a row without one, that of the commonest.

    Args:
        labels: (batch, classes).
        rarities: (classes,), from ``rarity``.

    Returns:
        (batch,).
    """
    return np.where(np.asarray(labels) >= mixing.PRESENT, rarities, np.min(rarities)).max(axis=1)


def probability(given, rare=1.0):
    """The probability for a clip: a number as it is; of (least, most), most * rarity, but not below least."""
    if np.ndim(given) == 0:
        return float(given)
    least, most = given
    return max(least, most * float(rare))


def by_rarity(least_share=0.1, probabilities=PROBABILITIES):
    """Make every probability inversely proportional to how often the species is there: p becomes (least_share * p, p)."""
    return {name: (least_share * p, p) if np.ndim(p) == 0 else p for name, p in probabilities.items()}


def waveform(
    song, sample_rate_hz, switch="all", rare=1.0, background=None, voice=None, *, probabilities=PROBABILITIES, ranges=RANGES, rng
):  # fmt: skip
    """Distort one clip, each distortion of ``WAVEFORM`` with its own probability and a number from its own range.

    Args:
        song: (samples,) float32 in [-1, 1].
        switch: see ``names``; what is not of ``WAVEFORM`` is left to others.
        rare: rarity of the clip, from ``row_rarity``.
        background, voice: ``ambience.Sounds`` or None; without them ``background`` and ``voice`` are left out of ``all``.
        probabilities, ranges: as ``PROBABILITIES`` and ``RANGES``; of those that are left out, the defaults.

    Returns:
        (samples,) float32 in [-1, 1]: the clip itself, if nothing was drawn.

    Raises:
        AugmentError: if background or voice is asked for by name and not given.
    """
    probabilities, ranges = PROBABILITIES | dict(probabilities), RANGES | dict(ranges)
    sounds = {"background": background, "voice": voice}
    for name in _waveform_names(switch, sounds):
        happens, number = rng.random() < probability(probabilities[name], rare), rng.uniform(*ranges[name])
        if happens:
            song = _distorted(name, song, sample_rate_hz, number, sounds, rng)
    return song


def waveforms(
    songs, labels, sample_rate_hz, switch="all", rarities=None, background=None, voice=None, *, probabilities=PROBABILITIES, ranges=RANGES,
    weights=(0.3, 0.7), overlap_s=2.0, rng,
):  # fmt: skip
    """Distort a batch: ``waveform`` for each row, then ``audio_mix`` among them.

    Args:
        songs: (batch, samples) float32 in [-1, 1].
        labels: (batch, classes) in [0, 1].
        rarities: (classes,) from ``rarity``; None takes every species as the rarest.
        weights, overlap_s: as in ``mixing.audio_mix``; clips shorter than the overlap do all of it together.

    Returns:
        (songs, labels), float32 of the same shapes.

    Raises:
        AugmentError: as ``waveform``.
    """
    probabilities = PROBABILITIES | dict(probabilities)
    songs, labels = np.asarray(songs, np.float32), np.asarray(labels, np.float32)
    rare = np.ones(len(songs)) if rarities is None else row_rarity(labels, rarities)
    options = {"background": background, "voice": voice, "probabilities": probabilities, "ranges": ranges, "rng": rng}
    if set(names(switch)) & set(WAVEFORM):
        songs = np.stack(
            [waveform(song, sample_rate_hz, switch, r, **options) for song, r in zip(songs, rare, strict=True)]
        )
    if "audio_mix" in names(switch):
        chosen = _drawn(probabilities["audio_mix"], rare, rng)
        overlap_s = min(overlap_s, songs.shape[1] / sample_rate_hz)
        songs, labels = mixing.audio_mix(
            songs, labels, sample_rate_hz, chosen, weights=weights, overlap_s=overlap_s, rng=rng
        )
    return songs, labels


def spectrograms(
    images, labels, switch="all", rarities=None, *, probabilities=PROBABILITIES, alpha=0.4, edges=(204, 307), rng
):
    """Mix a batch of spectrograms: each row by ``mixup``, else by ``cutmix``, or not at all.

    Args:
        images: (batch, frames, bands); for other than 512 frames, the edges of cutmix are scaled.
        labels, rarities: as in ``waveforms``.
        alpha: of mixup.
        edges: of cutmix, for 512 frames.

    Returns:
        (images, labels), float32 of the same shapes.
    """
    probabilities = PROBABILITIES | dict(probabilities)
    images, labels, done = np.asarray(images, np.float32), np.asarray(labels, np.float32), names(switch)
    rare = np.ones(len(images)) if rarities is None else row_rarity(labels, rarities)
    by_mixup, by_cutmix = (_drawn(probabilities[name], rare, rng) & (name in done) for name in _SPECTROGRAM)
    scaled = tuple(round(edge * images.shape[1] / 512) for edge in edges)
    blended, blended_labels = mixing.mixup(images, labels, by_mixup, alpha=alpha, rng=rng)
    joined, joined_labels = mixing.cutmix(images, labels, by_cutmix, edges=scaled, rng=rng)
    rows = by_mixup.reshape(-1, *[1] * (images.ndim - 1))
    return np.where(rows, blended, joined), np.where(by_mixup[:, None], blended_labels, joined_labels)


def model_layer(switch="all", seed=None, **numbers):
    """The layer that masks spectrograms in training, of ``spec_augment.build``; None, if it is switched off."""
    return spec_augment.build(seed=seed, **numbers) if "spec_augment" in names(switch) else None


def _waveform_names(switch, sounds):
    done = [name for name in names(switch) if name in WAVEFORM]
    missing = [name for name in done if sounds.get(name, True) is None]
    if missing and switch != "all":
        raise AugmentError(f"augmentation {', '.join(missing)} needs sounds: give ambience.Sounds, or switch it off")
    return [name for name in done if name not in missing]


def _distorted(name, song, sample_rate_hz, number, sounds, rng):
    if name in sounds:
        return distortions.add(song, sounds[name].draw(len(song), rng=rng), number)
    if name == "reverb":
        return distortions.reverb(song, sample_rate_hz, decay_s=number, wet=_WET, rng=rng)
    if name == "compression":
        return distortions.compress(song, sample_rate_hz, ratio=number)
    if name == "pitch":
        return distortions.pitch(song, sample_rate_hz, number)
    if name == "shift":
        return distortions.shift(song, round(number * sample_rate_hz))
    return {"stretch": distortions.stretch, "volume": distortions.volume, "clipping": distortions.clip}[name](
        song, number
    )


def _drawn(given, rare, rng):
    """Which rows it happens to, (batch,) bool."""
    return rng.random(len(rare)) < [probability(given, each) for each in rare]
