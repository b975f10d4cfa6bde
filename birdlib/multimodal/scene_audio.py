"""Spectrograms of scenes: four seconds of a film or recording each, silent ones left out.

There are two kinds: ``bands``, the suite's own, and ``stft``, all bins of a short-time Fourier transform as published networks take it.
Times are in seconds of the file. A row is one scene: when it starts and ends, then its spectrogram, step by step.
"""

import dataclasses

import numpy as np

from birdlib import runtime, streaming
from birdlib.audio import io as audio_io
from birdlib.video import io as video_io

SAMPLE_RATE_HZ = 32_000
_N_FFT = 1024  # and the hop
N_STEPS, N_BANDS = 125, 128
_N_SAMPLES = N_STEPS * _N_FFT  # of a scene
SCENE_S = _N_SAMPLES / SAMPLE_RATE_HZ
MIN_HZ = 1000  # wind and traffic are below, most birds above
_SILENT_PEAK = 1e-4  # a lower peak is silence
MAX_SCENES = 4  # of a recording: those of the greatest energy
_MAX_REST_S = 0.5  # at the end of a recording, which gets no scene of its own


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of spectrogram: transforms of ``n_fft`` samples (Hann's window), ``hop`` apart, the bins without the ``first_bin`` lowest,
    the power of ``bins_per_band`` added."""

    n_fft: int
    hop: int
    first_bin: int = 0
    bins_per_band: int = 1

    @property
    def shape(self):
        """(steps, bands) of a scene."""
        return _N_SAMPLES // self.hop, (self.n_fft // 2 + 1 - self.first_bin) // self.bins_per_band


KINDS = {
    "bands": Kind(_N_FFT, _N_FFT, first_bin=1, bins_per_band=4),  # 125 steps of 32 ms, 128 bands of 125 Hz
    "stft": Kind(512, 256),  # 500 steps of 8 ms, 257 bins of 62.5 Hz: those of "Look, Listen and Learn" (2017), whose transforms overlap by half
}


class SpectrogramError(runtime.BirdlibError):
    """A kind of spectrogram that does not exist."""


def kind_of(name):
    """The ``Kind`` of that name.

    Raises:
        SpectrogramError: for an unknown name.
    """
    if name not in KINDS:
        raise SpectrogramError(f"spectrogram {name!r} is unknown: use {' or '.join(KINDS)}")
    return KINDS[name]


def spectrogram(waveform, kind="bands"):
    """Log10 of the power up to 16 kHz, for ``bands`` in 128 equal bands and 125 steps of 32 ms.

    Args:
        waveform: (samples,) float32 at ``SAMPLE_RATE_HZ``; a shorter one is padded with silence, a longer one is cut.
        kind: a name of ``KINDS``.

    Returns:
        (steps, bands) float32: 0 is silence (-100 dB), 1 a full sine; noise may go a little beyond.
    """
    return (1.0 + np.log10(_power(waveform, kind_of(kind)) + 1e-10) / 10.0).astype(np.float32)


def extract_film(path, times_s, kind="bands"):
    """The scenes of a film's soundtrack that are not silent.

    Args:
        times_s: (scenes, 2), start and end, ascending.
        kind: a name of ``KINDS``.

    Returns:
        (scenes, 2 + steps * bands): rows; none where it has no sound.
    """
    blocks = video_io.soundtrack(path, SAMPLE_RATE_HZ, block_s=SCENE_S)
    spans = [(round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)) for start_s, end_s in times_s]
    pieces = zip(times_s, streaming.slices(blocks, spans), strict=True)
    return np.array([_as_row(*time_s, piece, kind) for time_s, piece in pieces if not _is_silent(piece)])


def extract_recording(path, start_s, end_s, kind="bands"):
    """Of consecutive scenes, the last flush with the end, the ``MAX_SCENES`` with the greatest energy above ``MIN_HZ``.

    Args:
        start_s, end_s: the part to use; a time beyond the end is the end.
        kind: a name of ``KINDS``; it does not change which scenes are taken.

    Returns:
        (scenes, 2 + steps * bands): rows, in order of time; none of silence.
    """
    found, before = [], np.zeros(0, np.float32)
    for n, block in enumerate(audio_io.stream(path, SCENE_S, SAMPLE_RATE_HZ, start_s, end_s)):
        at_s, n_new = start_s + n * SCENE_S, len(block)
        if n and n_new < _N_SAMPLES:
            if n_new <= _MAX_REST_S * SAMPLE_RATE_HZ:
                break
            at_s, block = at_s - SCENE_S + n_new / SAMPLE_RATE_HZ, np.concatenate([before[n_new:], block])
        before = block
        if not _is_silent(block):
            energy = _power(block, KINDS["bands"])[:, MIN_HZ * N_BANDS * 2 // SAMPLE_RATE_HZ :].sum()
            found.append((-energy, at_s, _as_row(at_s, at_s + len(block) / SAMPLE_RATE_HZ, block, kind)))
            found = sorted(found, key=lambda scene: scene[:2])[:MAX_SCENES]
    return np.array([row for _, _, row in sorted(found, key=lambda scene: scene[1])])


def _power(waveform, kind):
    """(steps, bands) float64; a full sine has 1."""
    padded = np.zeros(_N_SAMPLES + kind.n_fft - kind.hop)  # the last transform is whole
    padded[: min(len(waveform), _N_SAMPLES)] = waveform[:_N_SAMPLES]
    frames = np.lib.stride_tricks.sliding_window_view(padded, kind.n_fft)[:: kind.hop]
    window = np.hanning(kind.n_fft + 1)[:-1]
    spectrum = np.fft.rfft(frames * window)[:, kind.first_bin :]
    return (np.abs(2.0 * spectrum / window.sum()) ** 2).reshape(*kind.shape, -1).sum(axis=2)


def _is_silent(waveform):
    return not len(waveform) or np.ptp(waveform) / 2 < _SILENT_PEAK  # an offset (DC) is no sound


def _as_row(start_s, end_s, waveform, kind):
    return np.concatenate([[start_s, end_s], spectrogram(waveform, kind).ravel()])
