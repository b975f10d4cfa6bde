"""Waveforms. A waveform here is mono float32 in [-1, 1], shape (samples,), with its rate passed beside it.

Files of any container, rate and number of channels are decoded by ``decoding`` and mixed down to mono. Where the channels of a file cancel
each other, as of a microphone cable that is wired the wrong way round, its loudest channel is used. Of a truncated or damaged file the
part that could be decoded is used; a file of which nothing can be decoded raises an ``AudioError`` with the reason. An ``AudioWarning``
says where a file is not used as it stands.
"""

import itertools
import warnings
import zlib
from pathlib import Path

import numpy as np

from birdlib import runtime, streaming
from birdlib.audio import decoding, resampling
from birdlib.audio.media_files import AudioError, AudioWarning  # raised by all that reads sound

_MAX_PEAK = 16.0  # float files may overshoot 1.0 a little; beyond this they are not scaled to [-1, 1] at all
_CANCELLED = 0.1  # level of the mix over that of the loudest channel, below which channels cancel each other
_COMPARED_S = 30.0  # of the beginning of a file, over which channels are compared
_MISSING_S = 0.5  # a file that ends this much before its header states is worth a warning


def read(path, sample_rate_hz=None, start_s=0.0, end_s=None, resampler="soxr_hq"):
    """Read a recording, or the part of it from ``start_s`` to ``end_s``, as one waveform.

    Args:
        path: of any sound file, or film with sound.
        sample_rate_hz: of the result; None keeps that of the file.
        start_s, end_s: in seconds of the file; None or NaN is its beginning or end, and so is an ``end_s`` beyond.
        resampler: as in ``resampling.resample``.

    Returns:
        (waveform, sample_rate_hz): (samples,) float32 and its rate.

    Raises:
        AudioError: the file is missing, empty or not audio, holds NaN or infinite samples, or ends before ``start_s``.
    """
    file_rate_hz, pieces = _open(path, start_s, end_s)
    waveform = np.concatenate(list(pieces))
    sample_rate_hz = sample_rate_hz or file_rate_hz
    return np.clip(resampling.resample(waveform, file_rate_hz, sample_rate_hz, resampler), -1.0, 1.0), sample_rate_hz


def stream(path, block_s=60.0, sample_rate_hz=None, start_s=0.0, end_s=None, clip=True, resampler="soxr_hq"):
    """Read a recording in blocks, so that memory does not grow with its length.

    Args:
        path, sample_rate_hz, start_s, end_s: as in ``read``.
        block_s: seconds of each block; only the last is shorter.
        clip: False leaves samples beyond [-1, 1], which lossy formats decode to, for who resamples first.
        resampler: as in ``resampling.resample``.

    Yields:
        (samples,) float32, consecutive and without overlap; together they are what ``read`` gives.

    Raises:
        AudioError: as ``read``; NaN samples and the like are found when their block is reached.
    """
    file_rate_hz, pieces = _open(path, start_s, end_s)
    sample_rate_hz = sample_rate_hz or file_rate_hz
    pieces = resampling.resample_blocks(pieces, file_rate_hz, sample_rate_hz, resampler)
    for block in streaming.regroup(pieces, max(1, round(block_s * sample_rate_hz))):
        yield np.clip(block, -1.0, 1.0) if clip else block


def sample_rate(path):
    """The sample rate of a file in Hz; raises AudioError if it is not sound."""
    with decoding.opened(path) as decoders:
        return decoders[0].sample_rate_hz


def duration(path):
    """Seconds of sound in a file: all of it is decoded where the header states no length that can be trusted.

    Raises:
        AudioError: as ``read``.
    """
    with decoding.opened(path) as decoders:
        lengths = [decoder.n_samples or sum(map(len, decoder.pieces())) for decoder in decoders]
        return sum(n_samples / decoder.sample_rate_hz for n_samples, decoder in zip(lengths, decoders, strict=True))


def frame(waveform, frame_length, hop_length):
    """Cut a waveform into overlapping frames, zero-padding the last so that no sample is lost (librosa drops the rest).

    Args:
        frame_length, hop_length: in samples; 0 < ``hop_length`` <= ``frame_length``, else ValueError.

    Returns:
        (frames, frame_length) float32, at least one frame.
    """
    if not 0 < hop_length <= frame_length:
        raise ValueError(f"need 0 < hop_length <= frame_length, not {hop_length} and {frame_length}")
    n_frames = 1 + max(0, -(-(len(waveform) - frame_length) // hop_length))
    padded = np.zeros(frame_length + (n_frames - 1) * hop_length, np.float32)
    padded[: len(waveform)] = waveform
    return np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length].copy()


def log_mel(waveform, sample_rate_hz, n_mels=64, window_s=0.025, hop_s=0.010, min_hz=125.0, max_hz=7500.0):
    """Mel spectrogram in dB, by default with the window, hop and bands of YAMNet.

    "CNN Architectures for Large-Scale Audio Classification" (2017).

    Returns:
        (frames, n_mels) float32 in dB re a sine of amplitude 1, not below -100; frame i is centred on i * hop_s.
    """
    import librosa

    window = round(window_s * sample_rate_hz)
    n_fft, hop = 1 << (window - 1).bit_length(), round(hop_s * sample_rate_hz)
    frames = {"n_fft": n_fft, "win_length": window, "hop_length": hop}
    bands = {"n_mels": n_mels, "fmin": min_hz, "fmax": min(max_hz, sample_rate_hz / 2), "htk": True, "norm": None}
    power = librosa.feature.melspectrogram(y=waveform, sr=sample_rate_hz, **frames, **bands)  # (n_mels, frames)
    full_scale = (window / 2) ** 2 / 4  # a sine of amplitude 1 through a Hann window of sum window / 2
    return np.maximum(10.0 * np.log10(power.T / full_scale + 1e-20), -100.0).astype(np.float32)


def write(path, waveform, sample_rate_hz):
    """Write a waveform, or an iterator of its blocks, in the format of the suffix; flac and wav have 16 bit.

    The file gets its name when it is complete. The same waveform gives the same bytes.
    """
    import soundfile

    path = Path(path)
    blocks = [waveform] if isinstance(waveform, np.ndarray) else waveform
    with runtime.replacing(path) as partial:
        with soundfile.SoundFile(partial, "w", sample_rate_hz, channels=1) as file:
            for block in streaming.regroup(blocks, sample_rate_hz):  # long ones overflow the Vorbis encoder's stack
                file.write(block)
        if path.suffix == ".ogg":
            _fix_ogg_serial(partial)


def pad_with_noise(waveform, length, rng, level_db=-60.0):
    """Lengthen a waveform to ``length`` samples with white noise at ``level_db`` re full scale; a longer one stays."""
    missing = length - len(waveform)
    if missing <= 0:
        return waveform
    noise = 10.0 ** (level_db / 20.0) * rng.standard_normal(missing)
    return np.concatenate([waveform, np.clip(noise, -1.0, 1.0).astype(np.float32)])


def _open(path, start_s, end_s):
    """The rate of the file, and a generator of mono pieces of at most a second, the first one already decoded."""
    start_s = 0.0 if start_s is None or np.isnan(start_s) else float(start_s)
    end_s = np.inf if end_s is None or np.isnan(end_s) else float(end_s)
    if not 0.0 <= start_s < end_s:
        raise AudioError(path, f"the part from {start_s:g} s to {end_s:g} s is empty: let it start before it ends, and not before 0 s")
    pieces = _decoded(path, start_s, end_s)
    sample_rate_hz = next(pieces)
    return sample_rate_hz, pieces


def _decoded(path, start_s, end_s):
    """Yields the rate first (when at least one sample was decoded), then mono pieces of about a second."""
    with decoding.opened(path) as decoders:
        rate_hz, length = decoders[0].sample_rate_hz, None
        if all(decoder.n_samples for decoder in decoders):
            length = sum(decoder.n_samples * rate_hz / decoder.sample_rate_hz for decoder in decoders)
        start = round(start_s * rate_hz)
        n_wanted = np.inf if np.isinf(end_s) else max(1, round(end_s * rate_hz) - start)
        n_decoded = 0
        for piece in _mono(path, decoders, start) if length is None or start < length or start == 0 else ():
            if n_decoded == 0:
                yield rate_hz
            piece = piece[: int(min(len(piece), n_wanted - n_decoded))]
            n_decoded += len(piece)
            yield _checked(path, piece)
            if n_decoded >= n_wanted:
                break
        damage = [line for decoder in decoders for line in decoder.damage]
        if n_decoded == 0:
            raise AudioError(path, _nothing_decoded(decoders, start_s, length and length / rate_hz, damage))
        stated = length and length + sum(decoder.n_missing for decoder in decoders)
        missing_s = (min(stated, start + n_wanted) - start - n_decoded) / rate_hz if length else 0.0
        if missing_s > _MISSING_S:
            damage.append(f"it ends {missing_s:.1f} s before its header states")
        if damage:
            warnings.warn(f"{runtime.printable(path)}: {'; '.join(dict.fromkeys(damage))}", AudioWarning, stacklevel=2)


def _nothing_decoded(decoders, start_s, duration_s, damage):
    if start_s and not damage:
        duration_s = duration_s or sum(len(piece) for piece in decoders[0].pieces()) / decoders[0].sample_rate_hz
        return f"is {duration_s:.2f} s long, so nothing starts at {start_s:g} s: correct start_s"
    reason = f"could not be decoded ({damage[0]})" if damage else "its header states sound but none could be decoded"
    return f"{reason}: copy it again, or save it as WAV or FLAC"


def _mono(path, decoders, start):
    """Mono pieces of joined files from sample ``start`` on, all at the rate of the first."""
    if len(decoders) == 1:
        yield from _channel(path, decoders[0], start)
        return
    rate_hz = decoders[0].sample_rate_hz
    parts = (resampling.resample_blocks(_channel(path, part, 0), part.sample_rate_hz, rate_hz) for part in decoders)
    for piece in itertools.chain.from_iterable(parts):
        start, piece = max(0, start - len(piece)), piece[start:]
        if len(piece):
            yield piece


def _channel(path, decoder, start):
    channel = loudest_if_cancelling(decoder.pieces(), _COMPARED_S * decoder.sample_rate_hz) if decoder.n_channels > 1 else None
    if channel is not None:
        decoder.damage.append(f"its channels cancel each other: channel {channel + 1} alone is used")
    for piece in decoder.pieces(start):
        yield mix_down(piece, channel)


def loudest_if_cancelling(pieces, n_samples=np.inf):
    """The number of the loudest channel, where the mix of all is much weaker than it; else None.

    Args:
        pieces: iterable of (samples, channels); levels are without DC.
        n_samples: how many are compared.
    """
    powers, mixed_power, n_done = 0.0, 0.0, 0
    for piece in pieces:
        if n_done and piece.shape[1] != len(powers):
            break  # joined files: those behind follow the first
        powers, mixed_power, n_done = powers + piece.var(axis=0) * len(piece), mixed_power + piece.mean(axis=1).var() * len(piece), n_done + len(piece)
        if n_done >= n_samples:
            break
    if n_done == 0 or mixed_power >= _CANCELLED**2 * np.max(powers):
        return None
    return int(np.argmax(powers))


def mix_down(piece, channel=None):
    """(samples, channels) to (samples,): the mean of the channels, or one of them."""
    return piece.mean(axis=1) if channel is None or channel >= piece.shape[1] else piece[:, channel]


def _checked(path, piece):
    peak = np.abs(piece).max()
    if not np.isfinite(peak):
        raise AudioError(path, "holds samples that are NaN or infinite: save it again as 16-bit WAV or FLAC")
    if peak > _MAX_PEAK:
        raise AudioError(path, f"holds samples up to {peak:g}: a float file must be scaled to [-1, 1]")
    return piece


def _fix_ogg_serial(path):
    """Replace the random serial number that libsndfile gives an Ogg stream by 1 (layout of a page: RFC 3533)."""
    reversed_bits = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    pages = bytearray(path.read_bytes())
    start = 0
    while start < len(pages):
        n_segments = pages[start + 26]
        end = start + 27 + n_segments + sum(pages[start + 27 : start + 27 + n_segments])
        pages[start + 14 : start + 18] = (1).to_bytes(4, "little")
        pages[start + 22 : start + 26] = bytes(4)
        # Ogg's CRC-32 is zlib's with the bits the other way round, and neither starts nor ends inverted
        crc = zlib.crc32(pages[start:end].translate(reversed_bits), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages[start + 22 : start + 26] = crc.to_bytes(4, "little").translate(reversed_bits)[::-1]
        start = end
    path.write_bytes(pages)
