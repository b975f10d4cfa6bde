"""The windows of a recording: where they lie, and the sound around them, read once from beginning to end in little memory."""

import math
from typing import NamedTuple

import numpy as np

from birdlib.audio import decoding
from birdlib.audio import io as audio_io
from birdlib.species import file_embedding

_CHUNK_S = 60.0  # windows that begin in it are predicted together, and have one background
_PART_S = 300.0  # of a long file, a task of its own
_BLOCK_S = 10.0
_MIN_BYTES = 8_000_000  # files below are one task, and are not opened to find out
_TAIL_S = 0.05  # that encoders add


class Grid(NamedTuple):
    """Windows ``window_s`` long that begin every ``step_s``.

    Attributes:
        min_rest_s: the shortest sound that is a last window, filled up; None: any sound that the window before does not have.
    """

    window_s: float
    step_s: float
    min_rest_s: float | None = None

    def count(self, duration_s):
        """How many windows a recording has."""
        if duration_s <= 0:
            return 0
        if self.min_rest_s is not None:
            return max(0, math.floor((duration_s - self.min_rest_s) / self.step_s + 1e-9) + 1)
        new_s = self.window_s - self.step_s + _TAIL_S  # sound up to here is in the window before
        return max(1, math.ceil((duration_s - new_s) / self.step_s - 1e-9))

    def spans(self, first, end):
        """[(start_s, end_s)] of the windows from ``first`` on, without ``end``."""
        return [(k * self.step_s, k * self.step_s + self.window_s) for k in range(first, end)]

    @property
    def n_chunk(self):
        """How many windows are predicted together."""
        return max(1, round(_CHUNK_S / self.step_s))


class Chunk(NamedTuple):
    """Windows that are predicted together: their spans, and an excerpt of the file that holds them with context."""

    spans: list
    excerpt: file_embedding.Excerpt


class Reader:
    """Reads chunks of windows, one after the other; after the last, ``duration_s`` is known where the file was read to its end."""

    def __init__(self, path, grid, context_s, first=0, end=None, noise=None):
        """
        Args:
            path: of a sound, or a film with sound.
            grid: ``Grid``.
            context_s: seconds around the windows that are read with them.
            first, end: numbers of the windows, of which the first begins a chunk; None: to the last.
            noise: of ``Excerpt``.
        """
        self.path, self.grid, self.noise = path, grid, noise or {}
        self.sample_rate_hz, self.duration_s = audio_io.sample_rate(path), None
        self._context_s, self._first, self._end = context_s, first, end

    def __iter__(self):
        grid, rate_hz = self.grid, self.sample_rate_hz
        begin_s = self._begin_s(self._first)
        blocks = audio_io.stream(self.path, block_s=_BLOCK_S, start_s=begin_s, clip=False)  # BirdNET's own tools do not clip
        waveform, first, end = np.zeros(0, np.float32), self._first, math.inf if self._end is None else self._end
        while first < end:
            stop = min(first + grid.n_chunk, end)
            skip = (self._begin_s(first) - begin_s) * rate_hz
            begin_s, waveform = self._begin_s(first), waveform[skip:]
            need = math.ceil(((stop - 1) * grid.step_s + grid.window_s + self._context_s - begin_s) * rate_hz)
            pieces, n_samples = [waveform], len(waveform)
            while n_samples < need and self.duration_s is None:
                if (block := next(blocks, None)) is None:
                    self.duration_s = begin_s + n_samples / rate_hz
                    end = min(end, grid.count(self.duration_s))
                    stop = min(stop, end)
                else:
                    pieces.append(block)
                    n_samples += len(block)
            waveform = np.concatenate(pieces)
            if first < stop:
                excerpt = file_embedding.Excerpt(waveform, rate_hz, begin_s, self.duration_s is not None, self.noise)
                yield Chunk(grid.spans(first, stop), excerpt)
            first = stop

    def _begin_s(self, first):
        """The even second at which the sound of a window is read: excerpts begin where all sample rates and the grid of ``noise`` meet."""
        return max(0, int((first * self.grid.step_s - self._context_s) // 2) * 2)


def parts(path, grid):
    """Parts of a file that can be analysed each on its own: [(first window, end)]; one, to the end, of files that are short or cannot be sought in.

    Args:
        path: of a file that need not be readable.
        grid: ``Grid``.
    """
    whole = [(0, None)]
    try:
        if path.stat().st_size < _MIN_BYTES:
            return whole
        with decoding.opened(path) as decoders:
            if len(decoders) > 1 or not decoders[0].n_samples:
                return whole
            n_windows = grid.count(decoders[0].n_samples / decoders[0].sample_rate_hz)
    except (OSError, decoding.AudioError):
        return whole  # whoever reads it will say why
    n_part = max(1, round(_PART_S / (grid.n_chunk * grid.step_s))) * grid.n_chunk
    if n_windows <= 1.5 * n_part:
        return whole
    firsts = list(range(0, n_windows - n_part // 2, n_part))
    return list(zip(firsts, [*firsts[1:], None], strict=True))
