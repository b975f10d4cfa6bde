"""Waveforms. A waveform here is mono float32 in [-1, 1], shape (samples,), with its rate passed beside it.

Files of any rate and number of channels are read through libsndfile (wav, flac, ogg, mp3) and mixed down to mono.
Of a truncated or damaged file the part that could be decoded is used; a file of which nothing can be decoded raises
an ``AudioError`` with the reason.
"""

import zlib
from pathlib import Path

import numpy as np

from birdlib import runtime, streaming

SUFFIXES = (".ogg", ".wav", ".flac", ".mp3")  # of files that are taken for recordings
RESAMPLERS = ("soxr_hq", "kaiser_best")
_MAX_PEAK = 16.0  # float files may overshoot 1.0 a little; beyond this they are not scaled to [-1, 1] at all


class AudioError(runtime.FileError):
    """A recording that cannot be used."""


def read(path, sample_rate_hz=None, start_s=0.0, end_s=None, resampler="soxr_hq"):
    """Read a recording, or the part of it from ``start_s`` to ``end_s``, as one waveform.

    Args:
        path: wav, flac, ogg or mp3.
        sample_rate_hz: of the result; None keeps that of the file.
        start_s, end_s: in seconds of the file; None or NaN is its beginning or end, and so is an ``end_s`` beyond.
        resampler: as in ``resample``.

    Returns:
        (waveform, sample_rate_hz): (samples,) float32 and its rate.

    Raises:
        AudioError: the file is missing, empty or not audio, holds NaN or infinite samples, or ends before ``start_s``.
    """
    file_rate_hz, pieces = _open(path, start_s, end_s)
    waveform = np.concatenate(list(pieces))
    sample_rate_hz = sample_rate_hz or file_rate_hz
    return np.clip(resample(waveform, file_rate_hz, sample_rate_hz, resampler), -1.0, 1.0), sample_rate_hz


def stream(path, block_s=60.0, sample_rate_hz=None, start_s=0.0, end_s=None):
    """Read a recording in blocks, so that memory does not grow with its length.

    Args:
        path, sample_rate_hz, start_s, end_s: as in ``read``.
        block_s: seconds of each block; only the last is shorter.

    Yields:
        (samples,) float32, consecutive and without overlap; together they are what ``read`` gives.

    Raises:
        AudioError: as ``read``; NaN samples and the like are found when their block is reached.
    """
    file_rate_hz, pieces = _open(path, start_s, end_s)
    sample_rate_hz = sample_rate_hz or file_rate_hz
    pieces = resample_blocks(pieces, file_rate_hz, sample_rate_hz)
    for block in streaming.regroup(pieces, max(1, round(block_s * sample_rate_hz))):
        yield np.clip(block, -1.0, 1.0)


def describe(path):
    """``duration_s``, ``sample_rate_hz`` and ``n_channels`` as in the header; a truncated file may hold less.

    Raises AudioError if the file is not audio.
    """
    with _sound_file(path) as file:
        rate_hz = file.samplerate
        return {"duration_s": file.frames / rate_hz, "sample_rate_hz": rate_hz, "n_channels": file.channels}


def resample(waveform, from_hz, to_hz, resampler="soxr_hq"):
    """Change the sample rate; the result has ceil(samples * to_hz / from_hz) samples.

    ``soxr_hq`` is 150 times faster than ``kaiser_best`` (resampy), which serves to repeat older recipes.
    """
    if resampler not in RESAMPLERS:
        raise ValueError(f"resampler is {resampler!r}: choose one of {', '.join(RESAMPLERS)}")
    if from_hz == to_hz:
        return waveform
    import librosa

    resampled = librosa.resample(waveform, orig_sr=from_hz, target_sr=to_hz, res_type=resampler, fix=False)
    resampled = librosa.util.fix_length(resampled, size=_n_resampled(len(waveform), from_hz, to_hz))
    return resampled.astype(np.float32, copy=False)


def resample_blocks(pieces, from_hz, to_hz):
    """``resample`` for consecutive pieces of a waveform: the same samples, in pieces of other lengths."""
    if from_hz == to_hz:
        return (yield from pieces)
    import soxr

    converter = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="soxr_hq")
    n_in = n_out = 0
    for piece in pieces:
        resampled = converter.resample_chunk(piece)
        n_in, n_out = n_in + len(piece), n_out + len(resampled)
        yield resampled
    n_last = _n_resampled(n_in, from_hz, to_hz) - n_out
    last = converter.resample_chunk(np.zeros(0, np.float32), last=True)[:n_last]
    yield np.pad(last, (0, n_last - len(last)))  # soxr rounds the length, resample() gives its ceiling


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
        raise AudioError(path, f"the part from {start_s:g} s to {end_s:g} s is empty")
    pieces = _decoded(path, start_s, end_s)
    sample_rate_hz = next(pieces)
    return sample_rate_hz, pieces


def _decoded(path, start_s, end_s):
    """Yields the rate first (when at least one sample was decoded), then the pieces."""
    import soundfile

    with _sound_file(path) as file:
        rate = file.samplerate
        start = round(start_s * rate)
        if start > 0 and start >= file.frames:
            raise AudioError(path, f"is {file.frames / rate:.2f} s long, so nothing starts at {start_s:g} s")
        n_left = np.inf if np.isinf(end_s) else max(1, round(end_s * rate) - start)
        n_decoded, reason = 0, "its header promises sound but none could be decoded"
        try:
            file.seek(start)
            while n_left > 0:
                piece = file.read(int(min(n_left, rate)), dtype="float32", always_2d=True)
                if not len(piece):
                    break
                if n_decoded == 0:
                    yield rate
                n_decoded += len(piece)
                n_left -= len(piece)
                yield _checked(path, piece.mean(axis=1))
        except soundfile.LibsndfileError as error:  # damaged from here on: what was decoded before is used
            reason = f"could not be decoded ({_reason(error)})"
        if n_decoded == 0:
            raise AudioError(path, reason)


def _checked(path, piece):
    peak = np.abs(piece).max()
    if not np.isfinite(peak):
        raise AudioError(path, "holds samples that are NaN or infinite")
    if peak > _MAX_PEAK:
        raise AudioError(path, f"holds samples up to {peak:g}: a float file must be scaled to [-1, 1]")
    return piece


def _sound_file(path):
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AudioError(path, "there is no such file")
    with path.open("rb") as file:
        head = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not path.stat().st_size:
        raise AudioError(path, "is empty (0 bytes)")
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise AudioError(path, "is a web page, not sound (a failed download?)")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(path, f"is not audio that can be read ({_reason(error)})") from error
    if file.frames == 0:
        file.close()
        raise AudioError(path, "holds no samples")
    return file


def _reason(error):
    return error.error_string.strip().rstrip(".")


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


def _n_resampled(n_samples, from_hz, to_hz):
    return -(-n_samples * to_hz // from_hz)
