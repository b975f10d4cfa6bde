"""The frequency band of a detection: where its sound is louder than the background of the recording."""

import numpy as np

_FRAME_S = 0.02  # a bin is about 50 Hz wide
_N_BACKGROUND = 2000  # frames that the background is measured on
_ABOVE = 10.0  # power over the background that counts as sound, 10 dB: one in a thousand frames of noise alone
_SHARE = 0.05  # of the energy that lies below the band, and above it
_MIN_HZ = 100.0  # below is handling and wind
_CONSTANT = 0.01  # share of the energy that rises above the background, below which the sound is its own background
_SILENCE = 1e-12  # power of a frame


class Background:
    """The background of a stretch of sound: the median power of each frequency."""

    def __init__(self, waveform, sample_rate_hz):
        """
        Args:
            waveform: (samples,) float32, some windows long.
            sample_rate_hz: of it.
        """
        self.sample_rate_hz = sample_rate_hz
        self._n = 1 << (max(1, round(_FRAME_S * sample_rate_hz)) - 1).bit_length()
        self._taper = np.hanning(self._n + 1)[:-1].astype(np.float32)
        self._hz = np.arange(self._n // 2 + 1) * sample_rate_hz / self._n
        powers = self._powers(waveform, max(1, len(waveform) // (self._n // 2) // _N_BACKGROUND))
        self._level = np.median(powers, axis=0) if len(powers) else np.zeros(len(self._hz))

    def band(self, waveform):
        """The band that holds 5 to 95 % of the energy above the background.

        A sound that lasts all the time is its own background: then its band is that of the energy above the quietest frequencies.

        Args:
            waveform: (samples,) float32 of the detection.

        Returns:
            (low_hz, high_hz): NaN where nothing is above the background, as in silence.
        """
        powers = self._powers(waveform)
        above, above_quiet = (self._above(powers, level) for level in (self._level, np.median(self._level)))
        if above.sum() <= _CONSTANT * above_quiet.sum():
            above = above_quiet
        if above.sum() > 0:
            share = np.cumsum(above) / above.sum()
            low, high = np.searchsorted(share, [_SHARE, 1.0 - _SHARE])
            half_hz = self.sample_rate_hz / self._n / 2
            return float(self._hz[low] - half_hz), float(min(self._hz[high] + half_hz, self.sample_rate_hz / 2))
        return np.nan, np.nan

    def _above(self, powers, level):
        """(frequencies,) energy above a level."""
        energy = np.where(powers > _ABOVE * level + _SILENCE, powers - level, 0.0).sum(axis=0)
        return np.where(self._hz < _MIN_HZ, 0.0, energy)

    def _powers(self, waveform, step=1):
        """(frames, frequencies) of frames that overlap by half."""
        import scipy.fft

        if len(waveform) < self._n:
            waveform = np.pad(waveform, (0, self._n - len(waveform)))
        frames = np.lib.stride_tricks.sliding_window_view(waveform, self._n)[:: self._n // 2 * step]
        spectrum = scipy.fft.rfft(frames * self._taper, axis=1)
        return spectrum.real**2 + spectrum.imag**2
