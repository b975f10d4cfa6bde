"""Sound and spectrogram of a part of a recording, as the bytes that a page embeds.

Both cover 0 to 12 kHz, where nearly all birds sing: sound is resampled to 24 kHz for both. A page is read with eyes that compare, so a
spectrogram shows levels above the background of its own recording, dark on light, on the mel scale.
"""

import io

import numpy as np

from birdlib import streaming
from birdlib.audio import decoding
from birdlib.audio import io as audio_io

SAMPLE_RATE_HZ = 24_000
MIN_HZ, MAX_HZ = 100.0, 12_000.0
KBIT_S = 48  # of the MP3: transparent enough for song up to 11 kHz
COLUMNS_PER_S = 50  # of a spectrogram; a trill of 20 notes a second is still a row of notes
_MIN_COLUMNS, _MAX_COLUMNS, ROWS = 240, 3600, 144
_WINDOW, _N_FFT = 512, 1024  # samples; 21 ms
_BACKGROUND_PERCENTILE = 25  # level over time of each frequency that counts as background
_QUIET_DB, _MIN_RANGE_DB, _MAX_RANGE_DB = 5.0, 25.0, 55.0  # above background: white, and the least and most that black stands for
_MAX_GAIN, _PEAK = 8.0, 0.8  # of played sound: quiet recordings are made louder by up to 18 dB
_KBIT_S_RANGE = (8, 160)  # MPEG-2, rates below 32 kHz; libsndfile maps compression levels 1 to 0 on it


def read_spans(path, spans):
    """Read parts of a recording at 24 kHz. Only they are read where the container can seek; else it is decoded once, in little memory.

    Args:
        path: of any sound file, or film with sound.
        spans: [(start_s, end_s)] in seconds, ascending.

    Yields:
        (samples,) float32 of each span; shorter or empty where the file ends.

    Raises:
        AudioError: as ``audio.io.read``.
    """
    with decoding.opened(path) as decoders:
        can_seek = len(decoders) == 1 and decoders[0].n_samples is not None
    if can_seek or len(spans) == 1:
        for start_s, end_s in spans:
            yield audio_io.read(path, SAMPLE_RATE_HZ, start_s, end_s)[0]
        return
    first_s, last_s = spans[0][0], max(end_s for _, end_s in spans)
    blocks = audio_io.stream(path, 10.0, SAMPLE_RATE_HZ, first_s, last_s)
    yield from streaming.slices(blocks, [tuple(round((s - first_s) * SAMPLE_RATE_HZ) for s in span) for span in spans])


def mp3(waveform, kbit_s=KBIT_S):
    """A waveform at 24 kHz as an MP3, made louder where it is quiet.

    Returns:
        bytes, by libsndfile, or FFmpeg where libsndfile is too old.
    """
    import soundfile

    peak = float(np.abs(waveform).max(initial=0.0))
    waveform = waveform * np.float32(min(_MAX_GAIN, max(1.0, _PEAK / peak)) if peak else 1.0)
    lowest, highest = _KBIT_S_RANGE
    options = {"bitrate_mode": "CONSTANT", "compression_level": (highest - kbit_s) / (highest - lowest)}
    target = io.BytesIO()
    try:
        with soundfile.SoundFile(target, "w", SAMPLE_RATE_HZ, 1, "MPEG_LAYER_III", format="MP3", **options) as file:
            file.write(waveform)
    except (soundfile.LibsndfileError, TypeError, ValueError):  # libsndfile before 1.1, soundfile before 0.13
        return ffmpeg_mp3(waveform, kbit_s)
    return target.getvalue()


def ffmpeg_mp3(waveform, kbit_s=KBIT_S):
    """As ``mp3``, by FFmpeg and without any change of level."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = 1000 * kbit_s
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform, np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=SAMPLE_RATE_HZ, frame_size=stream.frame_size or 1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return target.getvalue()


def spectrogram(waveform, max_hz=MAX_HZ):
    """Levels of a waveform at 24 kHz above its background, dark on light.

    Returns:
        (rows, columns) uint8, highest frequency first; 255 is background, 0 the loudest.
    """
    import librosa

    n_columns = int(np.clip(len(waveform) / SAMPLE_RATE_HZ * COLUMNS_PER_S, _MIN_COLUMNS, _MAX_COLUMNS))
    hop = max(1, len(waveform) // n_columns)
    spectrum = librosa.stft(waveform, n_fft=_N_FFT, win_length=_WINDOW, hop_length=hop)
    level_db = 20.0 * np.log10(np.abs(spectrum) + 1e-6)  # (bins, columns)
    bins = row_hz(max_hz) / (SAMPLE_RATE_HZ / _N_FFT)
    below = np.minimum(bins.astype(int), len(level_db) - 2)
    share = (bins - below)[:, None]
    level_db = (1.0 - share) * level_db[below] + share * level_db[below + 1]  # (rows, columns)
    level_db -= np.percentile(level_db, _BACKGROUND_PERCENTILE, axis=1, keepdims=True)
    range_db = np.clip(np.percentile(level_db, 99.7), _MIN_RANGE_DB, _MAX_RANGE_DB)
    return np.round(255.0 * (1.0 - np.clip((level_db - _QUIET_DB) / (range_db - _QUIET_DB), 0.0, 1.0))).astype(np.uint8)


def row_hz(max_hz=MAX_HZ):
    """(rows,) frequency of each row of a spectrogram, highest first."""
    mel = np.linspace(_mel(max_hz), _mel(MIN_HZ), ROWS)
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def height(hz, max_hz=MAX_HZ):
    """Height of a frequency in a spectrogram: 0 at its lower edge, 1 at its upper one; beyond them, the edge."""
    return float(np.clip((_mel(hz) - _mel(MIN_HZ)) / (_mel(max_hz) - _mel(MIN_HZ)), 0.0, 1.0))


def webp(image, quality=45):
    """A grey image (rows, columns) uint8 as WebP bytes."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(image).save(target, "WEBP", quality=quality, method=4)
    return target.getvalue()


def estimated_bytes(seconds):
    """What a part of a recording adds to a page, within about a fifth: sound, spectrogram, text."""
    return round(4 / 3 * (1000 * KBIT_S / 8 + 2000) * seconds) + 3000


def max_hz(path):
    """The upper edge of the spectrograms of a file: 12 kHz, or half its sample rate."""
    return min(MAX_HZ, audio_io.sample_rate(path) / 2)


def _mel(hz):
    return 2595.0 * np.log10(1.0 + hz / 700.0)
