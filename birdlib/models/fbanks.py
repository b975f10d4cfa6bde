"""Kaldi's log-mel filter bank as a Keras layer as in "Can Masked Autoencoders Also Listen to Birds?" (2025).

Frames of 25 ms every 10 ms, none of which reaches beyond the sound; their mean removed, pre-emphasis .97, a Hann window, the power
of an FFT of the next power of two, 128 triangles on the mel scale from 20 Hz to half the rate, the natural logarithm. Missing
frames up to ``n_frames`` are filled with the lowest value of that clip. Then (x - mean) / (2 * std) of the published training set.
"""

import keras
import numpy as np
from keras import ops

SAMPLE_RATE_HZ = 32_000
CLIP_S = 5.0
CLIP_SAMPLES = 160_000
N_FRAMES, N_MELS = 512, 128
MEAN, STD = -7.2, 4.43  # of the log-mel values of the recordings that Bird-MAE was trained on
SCALE = {"unit_db": 2.0 * STD * 10.0 / np.log(10.0), "limits": None}  # of a normalised spectrogram, as ``augment.spectrograms`` takes it
_MIN_ENERGY = float(np.finfo(np.float32).eps)  # energy of a band, before the logarithm
_PRE_EMPHASIS = 0.97


@keras.saving.register_keras_serializable("birdlib")
class Fbank(keras.layers.Layer):
    """Waveforms (batch, samples) in [-1, 1] → (batch, n_frames, n_mels) float32, about -1 to 1.

    A longer sound is cut after ``n_frames``; 5 s are 498 frames and 14 of padding.
    """

    def __init__(self, sample_rate_hz=SAMPLE_RATE_HZ, n_frames=N_FRAMES, n_mels=N_MELS, mean=MEAN, std=STD, min_hz=20.0,
                 name="fbank", dtype="float32", **options):  # fmt: skip
        super().__init__(name=name, dtype=dtype, **options)
        self.settings = {"sample_rate_hz": sample_rate_hz, "n_frames": n_frames, "n_mels": n_mels, "mean": mean, "std": std, "min_hz": min_hz}
        self.n_frames, self.n_mels, self.mean, self.std = n_frames, n_mels, mean, std
        self.window, self.hop = round(0.025 * sample_rate_hz), round(0.010 * sample_rate_hz)
        self.n_fft = 1 << (self.window - 1).bit_length()
        self.filters = _mel_filters(sample_rate_hz, self.n_fft, n_mels, min_hz)
        self.hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / (self.window - 1))).astype(np.float32)

    def build(self, shape):
        if shape[-1] is not None and shape[-1] < self.window:
            raise ValueError(f"a sound of {shape[-1]} samples is shorter than one window, {self.window}")

    def call(self, waveforms):
        frames = ops.extract_sequences(waveforms, self.window, self.hop)[:, : self.n_frames]
        frames = frames - ops.mean(frames, axis=-1, keepdims=True)  # (batch, frames, window)
        before = ops.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
        frames = (frames - _PRE_EMPHASIS * before) * self.hann
        real, imaginary = ops.rfft(frames, self.n_fft)
        power = ops.square(real) + ops.square(imaginary)  # (batch, frames, n_fft / 2 + 1)
        energy = ops.matmul(power[..., :-1], self.filters)  # (batch, frames, n_mels)
        logarithm = ops.log(ops.maximum(energy, _MIN_ENERGY))
        missing = self.n_frames - logarithm.shape[1]
        if missing > 0:
            lowest = ops.min(logarithm, axis=(1, 2), keepdims=True)
            logarithm = ops.concatenate([logarithm, ops.tile(lowest, (1, missing, self.n_mels))], axis=1)
        return (logarithm - self.mean) / (2.0 * self.std)

    def compute_output_shape(self, shape):
        return (shape[0], self.n_frames, self.n_mels)

    def get_config(self):
        return super().get_config() | self.settings


def spectrograms(waveforms, fbank=None):
    """The front end on arrays: (clips, samples) float32 → (clips, n_frames, n_mels) float32."""
    return ops.convert_to_numpy((fbank or Fbank())(np.asarray(waveforms, np.float32)))


def _mel_filters(sample_rate_hz, n_fft, n_mels, min_hz):
    """Triangles of equal width on the mel scale 1127 ln(1 + f / 700), reaching 1: (n_fft / 2, n_mels) float32.

    Without the bin of half the rate, as in Kaldi.
    """
    edges = np.linspace(_mel(min_hz), _mel(sample_rate_hz / 2), n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]  # (n_mels,)
    bins = _mel(np.arange(n_fft // 2) * sample_rate_hz / n_fft)[:, None]  # (n_fft / 2, 1)
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(np.minimum(rising, falling), 0.0).astype(np.float32)


def _mel(hz):
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)
