"""Noise: its level in a recording, and its reduction by spectral gating.

Both take a recording in consecutive blocks of any lengths, with the same result as for the whole.
"""

import heapq
import itertools

import numpy as np

from birdlib import runtime, streaming

DENOISERS = ("none", "stationary", "nonstationary")
_BIRD_BAND_HZ = (1500.0, 10000.0)
_SILENCE = 1e-4  # a recording that never exceeds this (-80 dB) is silent
_CLIPPED = 0.999
_N_QUIETEST = 10
FRAME = 1024
_N_FFT, _HOP = 1024, 256  # of noisereduce; all blocks start on this grid, so that they equal the whole
_BLOCK = {"stationary": 2**17, "nonstationary": 2**20}  # samples
CONTEXT = {"stationary": 2**12, "nonstationary": 2**19}  # samples around a block: mask smoothing; 8 time constants at 32 kHz


class Measures:
    """Noise floor, signal-to-noise ratio, clipping and silence of a recording that comes in blocks.

    Levels are those of frames of 1024 samples between 1.5 and 10 kHz, where most birds sing.
    """

    def __init__(self, sample_rate_hz):
        self.sample_rate_hz = sample_rate_hz
        self.n_samples = self.n_clipped = 0
        self.peak = 0.0  # without an offset (DC), which is no sound
        self._rest = np.zeros(0, np.float32)
        self._powers = []
        self._quietest = []  # heap of (-power, index, a second of audio)

    @classmethod
    def of(cls, waveform, sample_rate_hz):
        """The measures of a whole waveform."""
        measures = cls(sample_rate_hz)
        list(measures.update([waveform]))
        return measures

    def update(self, blocks):
        """Measure consecutive blocks and yield them unchanged."""
        for block in blocks:
            self.n_samples += len(block)
            self.n_clipped += int(np.count_nonzero(np.abs(block) >= _CLIPPED))
            second = FRAME * max(1, round(self.sample_rate_hz / FRAME))
            samples = np.concatenate([self._rest, block])
            n_whole = len(samples) - len(samples) % second
            for start in range(0, n_whole, second):
                self._add_second(samples[start : start + second])
            self._rest = samples[n_whole:].copy()
            yield block
        self._add_second(self._rest)

    def band_powers(self):
        """(frames,) mean square between 1.5 and 10 kHz of each 1024 samples."""
        return np.concatenate([np.zeros(0), *self._powers])

    def noise(self):
        """The ten quietest seconds without digital silence, in order of time: (samples,) float32."""
        seconds = [second for _, _, second in sorted(self._quietest, key=lambda entry: entry[1])]
        return np.concatenate(seconds) if seconds else np.zeros(FRAME, np.float32)

    def summary(self, spans=()):
        """The measures of what is outside ``spans`` (speech), as a dictionary.

        ``noise_floor_db`` is the 10th percentile of frame levels in dB re full scale, ``snr_db`` the 95th above it,
        ``clipped_share`` the share of samples at full scale; ``is_silent`` if none exceeds -80 dB.
        """
        powers = self.band_powers()
        frame_s = FRAME / self.sample_rate_hz
        outside = share_inside(np.arange(len(powers)) * frame_s, frame_s, spans) < 0.5
        levels_db = 10.0 * np.log10((powers[outside] if outside.any() else powers) + 1e-12)
        floor_db, signal_db = np.percentile(levels_db, [10, 95])
        return {
            "noise_floor_db": round(float(floor_db), 2),
            "snr_db": round(float(signal_db - floor_db), 2),
            "clipped_share": self.n_clipped / self.n_samples,
            "is_silent": self.peak < _SILENCE,
        }

    def _add_second(self, second):
        if not len(second) or (self._powers and len(second) < FRAME):
            return  # a zero-padded frame would be measured too quiet
        self.peak = max(self.peak, _swing(second))
        powers = band_powers(second, self.sample_rate_hz)
        if second.any():
            keep = heapq.heappush if len(self._quietest) < _N_QUIETEST else heapq.heappushpop
            keep(self._quietest, (-powers.mean(), len(self._powers), second.copy()))  # a view would keep its block
        self._powers.append(powers)


def _swing(second):
    """Half the peak-to-peak value of the second-largest frame: resamplers ring in one, where an offset begins or ends."""
    frames = np.split(second, range(FRAME, len(second), FRAME))
    return sorted(float(np.ptp(frame)) / 2 for frame in frames)[-2 if len(frames) > 2 else -1]


def band_powers(waveform, sample_rate_hz, band_hz=_BIRD_BAND_HZ):
    """Mean square within a frequency band of each whole frame of 1024 samples; (frames,), at least one."""
    n_frames = max(1, len(waveform) // FRAME)
    frames = np.zeros(n_frames * FRAME, np.float32)
    frames[: len(waveform)] = waveform[: len(frames)]
    window = np.hanning(FRAME)
    spectrum = np.fft.rfft(frames.reshape(n_frames, FRAME) * window)
    hz = np.fft.rfftfreq(FRAME, 1.0 / sample_rate_hz)
    power = np.abs(spectrum[:, (hz >= band_hz[0]) & (hz <= band_hz[1])]) ** 2
    return 2.0 * power.sum(axis=1) / (FRAME * (window**2).sum())


def share_inside(starts_s, length_s, spans):
    """Share of each window (``starts_s``, all ``length_s`` long) that lies inside ``spans``; (windows,) in [0, 1]."""
    spans = np.asarray(spans, np.float64).reshape(-1, 2)
    if not len(spans):
        return np.zeros(len(starts_s))
    so_far_s = np.cumsum(spans[:, 1] - spans[:, 0])
    inside_s = np.stack([np.concatenate([[0.0], so_far_s[:-1]]), so_far_s], axis=1).reshape(-1)
    starts_s = np.asarray(starts_s)
    edges_s = spans.reshape(-1)
    return (np.interp(starts_s + length_s, edges_s, inside_s) - np.interp(starts_s, edges_s, inside_s)) / length_s


def denoise_blocks(blocks, sample_rate_hz, method, noise):
    """Spectral gating of consecutive blocks, equal to that of the whole waveform.

    By noisereduce (Sainburg, Thielk and Gentner 2020), with the audio around each block as context. ``stationary``
    gates at the level of ``noise``, the same for all blocks; ``nonstationary`` follows the level within about 2 s.

    Args:
        blocks: consecutive pieces of a waveform, of any lengths.
        method: one of ``DENOISERS``.
        noise: (samples,) float32, a noise-only part of the same recording.

    Yields:
        (samples,) float32, of the same total length. Digital silence is kept.
    """
    if method not in DENOISERS:
        raise runtime.ParameterError(f"denoise is {method!r}: choose one of {', '.join(DENOISERS)}")
    if method == "none":
        yield from blocks
        return
    import noisereduce

    is_stationary = method == "stationary"
    rules = {"sr": sample_rate_hz, "stationary": is_stationary, "n_fft": _N_FFT, "hop_length": _HOP}
    if is_stationary:
        rules["y_noise"] = np.resize(noise, max(len(noise), 4 * _N_FFT))  # fails if shorter than one transform
    for around, n_before, n in _with_context(blocks, _BLOCK[method], CONTEXT[method]):
        if around.any():  # the nonstationary gate turns zeros into NaN
            # chunk_size: noisereduce's own chunks miss the grid; padding: without it the last samples are lost
            around = noisereduce.reduce_noise(y=around, chunk_size=None, padding=4 * _N_FFT, **rules)
        yield np.clip(around[n_before : n_before + n], -1.0, 1.0).astype(np.float32)


def _with_context(blocks, n_block, n_context):
    """Yields (samples with context, samples of context before, samples of the block)."""
    blocks = streaming.regroup(blocks, n_block)
    before, block = np.zeros(0, np.float32), next(blocks)
    for after in itertools.chain(blocks, [np.zeros(0, np.float32)]):
        yield np.concatenate([before, block, after[:n_context]]), len(before), len(block)
        before, block = block[-n_context:], after
