"""Cleaning: speech is removed, softened or kept, noise is measured and reduced.

The bird sound that is lost with the speech is measured, because removing all speech has cost competitors more than it
gained (BirdCLEF-2025, 9th place). Times are seconds; spans are (n, 2) arrays of start and end, sorted and disjoint.
Recordings are processed in blocks, so memory does not grow with their length. The same file and parameters give the
same bytes, whatever the order of the files and the number of processes.
"""

import itertools

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.audio import noise, resampling, vad

POLICIES = ("remove", "soften", "keep")
_N_KEPT = 5  # blocks of a recording that are kept in memory
_MIN_DURATION_S = 0.975  # one patch of YAMNet


def clean_recording(
    source, target, rng, *, policy="remove", denoise="none", start_s=0.0, end_s=None, threshold=vad.SPEECH_THRESHOLD,
    soften_db=20.0, max_rate_hz=32000, min_duration_s=_MIN_DURATION_S, block_s=60.0,
):  # fmt: skip
    """Clean one recording, or the part of it from ``start_s`` to ``end_s``, into a FLAC file.

    In this order: resampling to at most ``max_rate_hz``, noise reduction, speech policy, padding. Where ``remove``
    would leave less than ``min_duration_s`` the speech is softened instead, so that no species loses a recording to a
    talking observer. A result shorter than ``min_duration_s`` is padded with noise at the recording's own floor, at
    most -60 dB. Silence is flagged, not refused.

    Args:
        source: the recording.
        target: the ``.flac`` file to write.
        rng: for the padding; ``recording_rng`` gives one that does not depend on the order of the files.
        policy, denoise: one of ``POLICIES``, of ``noise.DENOISERS``.
        start_s, end_s: in seconds of the file; None or NaN is its beginning or end.
        threshold: of the speech probability.
        block_s: seconds in memory at a time; a recording of up to five such blocks is decoded once, a longer one twice.

    Returns:
        dict of JSON types: ``duration_s``, ``speech_s`` and ``speech_spans`` of the source part; ``policy`` as applied,
        ``kept_spans``, ``cleaned_s``, ``sample_rate_hz``, ``is_padded``, ``bird_energy_share`` inside the speech, the
        measures of ``noise.Measures.summary``, and the ``digest`` of the target.

    Raises:
        AudioError: if the source cannot be used.
    """
    sample_rate_hz = min(audio_io.sample_rate(source), max_rate_hz)
    blocks = _repeatable(source, block_s, sample_rate_hz, start_s, end_s)
    measures = noise.Measures(sample_rate_hz)
    measured = resampling.resample_blocks(measures.update(blocks()), sample_rate_hz, vad.SAMPLE_RATE_HZ)
    probabilities = vad.speech_probabilities(measured)
    duration_s = measures.n_samples / sample_rate_hz
    spans = vad.probabilities_to_spans(probabilities, duration_s, threshold=threshold)
    speech_s = _total_s(spans)
    if policy == "remove" and len(spans) and duration_s - speech_s < min_duration_s:
        policy = "soften"
    summary = measures.summary(spans)

    def cleaned():
        n_samples = n_cleaned = 0
        for block in noise.denoise_blocks(blocks(), sample_rate_hz, denoise, measures.noise()):
            piece = apply_policy(block, sample_rate_hz, spans, policy, first_sample=n_samples, soften_db=soften_db)
            n_samples += len(block)
            n_cleaned += len(piece)
            yield piece
        n_missing = int(np.ceil(min_duration_s * sample_rate_hz)) - n_cleaned
        level_db = min(-60.0, summary["noise_floor_db"])
        yield audio_io.pad_with_noise(np.zeros(0, np.float32), n_missing, rng, level_db)

    audio_io.write(target, cleaned(), sample_rate_hz)
    kept = kept_spans(spans if policy == "remove" else [], duration_s)
    return {
        "duration_s": duration_s,
        "sample_rate_hz": sample_rate_hz,
        "speech_s": speech_s,
        "speech_spans": spans.tolist(),
        "policy": policy,
        "denoise": denoise,
        "kept_spans": kept.tolist(),
        "cleaned_s": audio_io.duration(target),
        "is_padded": _total_s(kept) < min_duration_s,
        "bird_energy_share": energy_share(measures.band_powers(), sample_rate_hz, spans),
        **summary,
        "digest": runtime.digest_file(target),
    }


def recording_rng(digest, seed=0):
    """A generator that depends only on a recording's sha256 (hex) and the seed, not on the order of recordings."""
    return np.random.default_rng([seed, int(digest[:16], 16)])


def _repeatable(path, block_s, sample_rate_hz, start_s, end_s):
    """A function that returns a new iterator of the blocks; a recording of few blocks is kept in memory."""
    kept = list(itertools.islice(audio_io.stream(path, block_s, sample_rate_hz, start_s, end_s), _N_KEPT + 1))
    if len(kept) <= _N_KEPT:
        return lambda: iter(kept)
    return lambda: audio_io.stream(path, block_s, sample_rate_hz, start_s, end_s)


# Speech policies


def kept_spans(spans, duration_s):
    """The spans that are left of a recording when ``spans`` are removed."""
    edges_s = np.concatenate([[0.0], np.asarray(spans, np.float64).reshape(-1), [duration_s]]).reshape(-1, 2)
    return edges_s[edges_s[:, 1] > edges_s[:, 0]]


def split_at(spans, waveform, sample_rate_hz, first_sample=0):
    """Split a waveform at the edges of spans; the pieces joined are the waveform, sample for sample.

    Args:
        spans: (n, 2) seconds of the recording, in which the waveform starts at ``first_sample``.

    Returns:
        list of (piece, is_inside).
    """
    edges = np.round(np.asarray(spans).reshape(-1) * sample_rate_hz).astype(np.int64) - first_sample
    pieces = np.split(waveform, np.clip(edges, 0, len(waveform)))  # outside, inside, outside, ...
    return [(piece, i % 2 == 1) for i, piece in enumerate(pieces) if len(piece)]


def apply_policy(waveform, sample_rate_hz, spans, policy, first_sample=0, soften_db=20.0, fade_s=0.02):
    """Remove, soften or keep the spans of a waveform.

    ``remove`` joins what is outside the spans without fades: removed + kept = the recording. ``soften`` attenuates the
    inside by ``soften_db`` with linear fades of ``fade_s`` within the span, and keeps the length.

    Returns:
        (samples,) float32.
    """
    if policy not in POLICIES:
        raise runtime.ParameterError(f"policy is {policy!r}: choose one of {', '.join(POLICIES)}")
    if policy == "keep" or not len(spans):
        return waveform
    if policy == "remove":
        split = split_at(spans, waveform, sample_rate_hz, first_sample)
        pieces = [piece for piece, is_inside in split if not is_inside]
        return np.concatenate([np.zeros(0, np.float32), *pieces])
    low = 10.0 ** (-soften_db / 20.0)
    knots_s, gains = [], []
    for start_s, end_s in spans:
        fade = min(fade_s, (end_s - start_s) / 2)
        knots_s += [start_s, start_s + fade, end_s - fade, end_s]
        gains += [1.0, low, low, 1.0]
    time_s = (first_sample + np.arange(len(waveform))) / sample_rate_hz
    return (waveform * np.interp(time_s, knots_s, gains)).astype(np.float32)


# Loss of bird sound


def energy_share(powers, sample_rate_hz, spans):
    """Share of the energy between 1.5 and 10 kHz inside ``spans``; powers from ``noise.band_powers``."""
    frame_s = noise.FRAME / sample_rate_hz
    inside = noise.share_inside(np.arange(len(powers)) * frame_s, frame_s, spans)
    return _weighted_share(inside, powers)


def bird_loss(powers, sample_rate_hz, spans, bird_scores=None, patch_starts_s=None, patch_s=None):
    """How much bird sound is lost when spans of speech are removed.

    Args:
        powers: of the recording before cleaning, from ``noise.band_powers`` or ``noise.Measures``.
        spans: (n, 2) seconds of speech.
        bird_scores, patch_starts_s, patch_s: (patches,) scores of "bird", start of each patch, length of a patch.

    Returns:
        dict: ``speech_s``, ``energy_share`` between 1.5 and 10 kHz (including the speech, so this is an upper bound)
        and, if scores are given, ``bird_score_share`` of their sum; both in [0, 1].
    """
    spans = np.asarray(spans, np.float64).reshape(-1, 2)
    loss = {"speech_s": _total_s(spans), "energy_share": energy_share(powers, sample_rate_hz, spans)}
    if bird_scores is None:
        return loss
    inside = noise.share_inside(patch_starts_s, patch_s, spans)
    return loss | {"bird_score_share": _weighted_share(inside, np.asarray(bird_scores))}


def _weighted_share(shares, weights):
    total = float(weights.sum())
    return float((shares * weights).sum()) / total if total > 0 else 0.0


def _total_s(spans):
    return float((spans[:, 1] - spans[:, 0]).sum())


# Clips


def random_clips(duration_s, rng, n_clips=3, clip_s=1.0):
    """Random clips that do not overlap, sorted; noise replaces those for which a recording is too short.

    Returns:
        list of (start_s, end_s, is_noise): always ``n_clips``, at least one of the recording. Noise has no times (NaN) and
        stands for ``clip_s`` of white noise. A shorter recording is one clip as a whole.
    """
    n_found = min(n_clips, max(1, int(duration_s / clip_s)))
    slack_s = max(0.0, duration_s - n_found * clip_s)
    starts_s = np.sort(rng.uniform(0.0, slack_s, n_found)) + clip_s * np.arange(n_found)
    clips = [(start_s, min(start_s + clip_s, duration_s), False) for start_s in starts_s.tolist()]
    return clips + [(np.nan, np.nan, True)] * (n_clips - n_found)
