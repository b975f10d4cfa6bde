"""Mixing two clips: mixup, weighted audio mixing and cutmix, on batches.

Every function takes ``labels`` (batch, classes) in [0, 1] and mixes each row with a *partner* row without a species in
common, so that the mixture has two birds. A row without a possible partner is unchanged. The label ``rule`` is
``union``, every species of the mixture counts fully, for multi-label losses; or ``weighted``, each counts by its share,
as in "mixup: Beyond Empirical Risk Minimization" (2018). ``chosen`` (batch,) bool are the rows to mix, None for all.
``along`` are further arrays (batch, ...), such as embeddings of the clips, which are mixed by the shares of the clips.
The three mixers return (clips, labels, *along), float32 of the same shapes, and raise ``MixingError`` for arguments
that do not fit together.
"""

import numpy as np

from birdlib import runtime

RULES = ("union", "weighted")
PRESENT = 0.5  # a species is present from this label on
OVERLAP_S = 2.0  # of audio_mix
CUTMIX_EDGES = 204, 307  # of 512 frames: two and three fifths
_EDGE_FADE_S = 0.01  # where a part of a sound begins or ends: a hard edge would click


class MixingError(runtime.BirdlibError):
    """Clips, weights or edges that do not fit together."""


def partners(labels, *, rng):
    """A random partner of each row: another row without a species in common.

    Args:
        labels: (batch, classes) in [0, 1]; only species from ``PRESENT`` on count, so soft labels exclude no partner.

    Returns:
        (batch,) int; a row's own number where no other fits.
    """
    is_present = (np.asarray(labels, np.float32) >= PRESENT).astype(np.float32)
    fits = is_present @ is_present.T == 0  # (batch, batch)
    np.fill_diagonal(fits, False)
    chance = np.where(fits, rng.random(fits.shape), -1.0)
    return np.where(fits.any(axis=1), chance.argmax(axis=1), np.arange(len(labels)))


def mixup(clips, labels, chosen=None, *, alpha=0.4, rule="weighted", is_dominant=False, along=(), rng):
    """w * row + (1 - w) * partner, w from Beta(alpha, alpha).

    "mixup: Beyond Empirical Risk Minimization" (2018).

    Args:
        clips: (batch, frames, bands), (batch, samples), or any other batch.
        is_dominant: whether w is the larger of w and 1 - w, so that no row is fainter than its partner.
    """
    clips, labels, chosen = _checked(clips, labels, chosen, rule)
    partner = partners(labels, rng=rng)
    weight = rng.beta(alpha, alpha, (len(labels), 1)).astype(np.float32)
    weight = np.maximum(weight, 1.0 - weight) if is_dominant else weight
    mixed = _weighted(clips, partner, weight, 1.0 - weight)
    return _mixed_rows(clips, mixed, labels, partner, chosen, weight, 1.0 - weight, rule, along)


def audio_mix(
    waveforms, labels, sample_rate_hz, chosen=None, *, weights=(0.3, 0.7), overlap_s=OVERLAP_S, rule="union", along=(), rng
):
    """The beginning of the row and the end of its partner, which overlap in the middle.

    Of clips of 5 s with an overlap of 2 s, the row lasts from 0 to 3.5 s and the partner from 1.5 to 5 s, each at its
    own time; one is multiplied by the first weight and one by the second, at random.

    Args:
        waveforms: (batch, samples).
        weights: of the quieter and the louder clip; their sum is at most 1, so that the mixture stays within [-1, 1].
        overlap_s: at most the length of the clips.
    """
    waveforms, labels, chosen = _checked(waveforms, labels, chosen, rule)
    n_samples = waveforms.shape[1]
    n_overlap = round(overlap_s * sample_rate_hz)
    if not 0 <= n_overlap <= n_samples:
        raise MixingError(f"clips of {n_samples / sample_rate_hz:g} s cannot overlap by {overlap_s:g} s")
    if min(weights) < 0 or sum(weights) > 1.0 + 1e-6:
        raise MixingError(f"weights {weights} of two clips: they must not be negative, nor be above 1 together")
    partner = partners(labels, rng=rng)
    order = rng.permuted(np.tile(np.asarray(weights, np.float32), (len(labels), 1)), axis=1)  # (batch, 2)
    first, second = order[:, :1], order[:, 1:]
    begins, ends = _parts(n_samples, n_overlap, max(1, round(_EDGE_FADE_S * sample_rate_hz)))  # (samples,)
    mixed = first * begins * waveforms + second * ends * waveforms[partner]
    return _mixed_rows(waveforms, mixed, labels, partner, chosen, first, second, rule, along)


def cutmix(spectrograms, labels, chosen=None, *, edges=CUTMIX_EDGES, alpha=0.5, rule="union", along=(), rng):
    """Frames before the first edge from the row, from the second on from its partner, a blend in between.

    After "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (2019), along time.

    Args:
        spectrograms: (batch, frames, bands). Weighted labels count frames.
        edges: numbers of frames.
        alpha: share of the row in the blended frames; its partner has the rest.
    """
    spectrograms, labels, chosen = _checked(spectrograms, labels, chosen, rule)
    n_frames = spectrograms.shape[1]
    if not 0 <= edges[0] <= edges[1] <= n_frames:
        raise MixingError(f"edges {edges} do not fit into spectrograms of {n_frames} frames")
    share = np.full(n_frames, alpha, np.float32)
    share[: edges[0]], share[edges[1] :] = 1.0, 0.0
    partner = partners(labels, rng=rng)
    mixed = share[:, None] * spectrograms + (1.0 - share[:, None]) * spectrograms[partner]
    own = np.full((len(labels), 1), share.mean())
    return _mixed_rows(spectrograms, mixed, labels, partner, chosen, own, 1.0 - own, rule, along)


def _parts(n_samples, n_overlap, n_fade):
    """Gain of the first and of the last part of a clip, (samples,) float32 each."""
    n_part = (n_samples + n_overlap) // 2
    fade = np.minimum(np.arange(n_part, 0, -1, dtype=np.float32) / n_fade, 1.0)
    begins = np.concatenate([fade if n_part < n_samples else np.ones(n_samples), np.zeros(n_samples - n_part)])
    return begins.astype(np.float32), begins[::-1].astype(np.float32)


def _mixed_rows(clips, mixed, labels, partner, chosen, own, others, rule, along):
    """(clips, labels, *along); ``own`` and ``others`` (batch, 1) are the weights of row and partner in weighted labels."""
    is_mixed = chosen & (partner != np.arange(len(labels)))
    both = np.maximum(labels, labels[partner]) if rule == "union" else own * labels + others * labels[partner]
    more = [_where(is_mixed, _weighted(array, partner, own, others), array) for array in along]
    return _where(is_mixed, mixed, clips), _where(is_mixed, both, labels), *more


def _weighted(array, partner, own, others):
    own, others = (np.float32(weight).reshape(-1, *[1] * (array.ndim - 1)) for weight in (own, others))
    return own * array + others * array[partner]


def _where(rows, a, b):
    """Rows of ``a`` where ``rows`` (batch,) is true, else of ``b``; float32."""
    return np.where(rows.reshape(-1, *[1] * (b.ndim - 1)), a, b).astype(np.float32)


def _checked(clips, labels, chosen, rule):
    if rule not in RULES:
        raise MixingError(f"label rule {rule!r} is unknown: use {' or '.join(RULES)}")
    clips, labels = np.asarray(clips, np.float32), np.asarray(labels, np.float32)
    chosen = np.ones(len(labels), bool) if chosen is None else np.asarray(chosen, bool)
    if not len(clips) == len(labels) == len(chosen):
        raise MixingError(f"{len(clips)} clips, {len(labels)} rows of labels, {len(chosen)} choices: one of each a row")
    return clips, labels, chosen
