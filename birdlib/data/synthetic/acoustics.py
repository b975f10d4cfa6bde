"""Acoustics of the synthetic sample: propagation, weather, recorders, spoken announcements, and the ogg encoder.

Waveforms are mono float32 in [-1, 1], shape (samples,), at ``SAMPLE_RATE_HZ``. Everything is synthetic, the spoken
announcements too (espeak-ng, from the package ``espeakng-loader``).
"""

import ctypes
import functools
import zlib
from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from birdlib import runtime

SAMPLE_RATE_HZ = 32_000


@dataclass(frozen=True)
class Recordist:
    """A person's recorder and habits; the level of every noise is an RMS in dB re full scale before the gain."""

    name: str
    noise_db: float
    noise_slope: float  # the power of the noise falls as frequency ** -slope
    low_cut_hz: float
    high_cut_hz: float
    distance_m: tuple  # nearest, farthest
    hum_hz: float = 0.0
    hum_db: float = -60.0
    peak: float = 0.7  # level after the gain


@dataclass(frozen=True)
class _Place:
    """A place; coordinates are text, as in the competition ("None" where unknown)."""

    name: str
    latitude: str
    longitude: str
    reverb_s: float
    wind_db: float
    rain: float  # chance of rain


RECORDISTS = (
    Recordist("Ada Meadow", -52, 1.0, 90, 14_500, (5, 18)),
    Recordist("Bruno Thicket", -40, 0.6, 220, 9_500, (12, 45), peak=0.45),
    Recordist("Chiara Fen", -46, 1.3, 60, 15_000, (8, 30), hum_hz=50, hum_db=-40),
    Recordist("Dmitri Heath", -36, 0.9, 150, 8_000, (10, 40), peak=0.9),
    Recordist("Esi Lagoon", -55, 1.1, 120, 15_000, (4, 14), peak=0.8),
    Recordist("Femke Dyke", -44, 0.3, 300, 11_000, (10, 35), peak=0.5),
    Recordist("Goro Ridge", -42, 1.6, 80, 13_000, (15, 50), hum_hz=60, hum_db=-46),
    Recordist("Hana Copse", -48, 0.8, 180, 7_500, (6, 25), peak=0.6),
)
SOUNDSCAPE_RECORDER = Recordist("recorder", -47, 0.7, 110, 12_500, (8, 40), peak=0.5)

PLACES = (
    _Place("the reed bed", "12.3456", "-45.1001", 0.30, -46, 0.3),
    _Place("the oak wood", "12.3811", "-45.1502", 0.90, -58, 0.1),
    _Place("the old quarry", "12.4102", "-45.0903", 1.20, -52, 0.1),
    _Place("the salt marsh", "12.4503", "-45.2104", 0.20, -38, 0.2),
    _Place("the ferry road", "12.2904", "-45.0205", 0.40, -44, 0.2),
    _Place("the beech valley", "12.5005", "-45.2606", 1.00, -56, 0.4),
    _Place("the mill pond", "None", "None", 0.50, -50, 0.3),
    _Place("the upper pasture", "12.5506", "-45.3007", 0.25, -40, 0.2),
    _Place("the orchard", "12.3207", "-45.1808", 0.40, -54, 0.1),
    _Place("the cloud forest", "12.6008", "-45.3509", 0.80, -50, 0.7),
    _Place("the island", "12.2109", "-44.9510", 0.35, -36, 0.4),
)


def propagate(waveform, *, distance_m, reverb_s, rng):
    """The sound at the microphone: attenuated by distance, low-passed by air, with reverberation."""
    if not waveform.any():
        return waveform.copy()
    cut_hz = np.clip(15_000 / (1 + distance_m / 22), 2_500, 14_500)
    filtered = signal.sosfilt(signal.butter(1, cut_hz, fs=SAMPLE_RATE_HZ, output="sos"), waveform)
    seconds = np.arange(round(reverb_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    echoes = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / reverb_s)
    echoes[: round(0.012 * SAMPLE_RATE_HZ)] = 0
    echoes /= np.sqrt(np.sum(echoes**2))
    wet = min(0.6, 0.06 + distance_m / 110)
    reverberant = signal.fftconvolve(filtered, echoes)[: len(waveform)]
    return ((5 / max(5, distance_m)) * (filtered + wet * reverberant)).astype(np.float32)


def noise(n_samples, *, level_db, slope, rng):
    """Steady noise with a power spectrum of frequency ** -slope and an RMS of ``level_db`` re full scale."""
    n = fft.next_fast_len(max(64, n_samples), real=True)
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    spectrum = rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
    spectrum *= np.maximum(hz, 60) ** (-slope / 2)
    sound = np.fft.irfft(spectrum, n)[:n_samples]
    return (10 ** (level_db / 20) * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)


def wind(n_samples, *, level_db, rng):
    """Rumble below some 300 Hz in gusts of a few seconds."""
    rumble = noise(n_samples, level_db=level_db, slope=2.4, rng=rng)
    n_gusts = max(4, n_samples // (SAMPLE_RATE_HZ * 3 // 2))
    gusts = np.interp(np.linspace(0, n_gusts - 1, n_samples), np.arange(n_gusts), rng.gamma(1.2, 0.7, n_gusts))
    return (rumble * gusts).astype(np.float32)


def rain(n_samples, *, drops_per_s, level_db, rng):
    """Drops on leaves: short damped clicks of random level over a hiss."""
    clicks = np.zeros(n_samples, np.float32)
    seconds = np.arange(round(0.006 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    for hz in (1_900, 3_600, 6_700):
        drops = np.zeros(n_samples, np.float32)
        n_drops = rng.poisson(drops_per_s / 3 * n_samples / SAMPLE_RATE_HZ)
        drops[rng.integers(0, n_samples, n_drops)] = rng.lognormal(-1.2, 0.8, n_drops)
        ring = np.sin(2 * np.pi * hz * seconds) * np.exp(-seconds / 0.0012)
        clicks += signal.fftconvolve(drops, ring)[:n_samples].astype(np.float32)
    hiss = noise(n_samples, level_db=level_db, slope=0.2, rng=rng)
    return (hiss + 10 ** ((level_db + 16) / 20) * clicks).astype(np.float32)


def record(waveform, recordist, *, rng):
    """The effects of a recordist's microphone and recorder: hum, self-noise, low and high cut, gain."""
    n = len(waveform)
    sound = waveform + noise(n, level_db=recordist.noise_db, slope=recordist.noise_slope, rng=rng)
    if recordist.hum_hz:
        seconds = np.arange(n) / SAMPLE_RATE_HZ
        phases = rng.uniform(0, 2 * np.pi, 4)
        hum = sum(np.sin(2 * np.pi * recordist.hum_hz * k * seconds + phases[k - 1]) / k for k in (1, 2, 3, 4))
        sound = sound + 10 ** (recordist.hum_db / 20) * hum
    band_hz = (recordist.low_cut_hz, recordist.high_cut_hz)
    sound = signal.sosfilt(signal.butter(2, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), sound)
    gain = recordist.peak * 2 ** rng.normal(0, 0.2) / max(1e-6, np.abs(sound).max())
    return np.clip(gain * sound, -0.98, 0.98).astype(np.float32)


@functools.cache
def _espeak():
    """The espeak-ng library and its data folder.

    Raises:
        BirdlibError: if the package espeakng-loader is missing or has no library for this platform.
    """
    try:
        import espeakng_loader

        return ctypes.CDLL(str(espeakng_loader.get_library_path())), str(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise runtime.BirdlibError(
            f"the sample's spoken announcements need the package espeakng-loader ({error}): pip install "
            "espeakng-loader, or run on your own recordings with --manifest or --data"
        ) from error


VOICES = ("Storm", "Hugo", "Henrique", "Denis")  # of espeak-ng: without flutter, which differs from call to call


def speak(text, *, voice, pitch, words_per_minute):
    """Synthesize speech; the same words in the same voice are the same samples.

    Args:
        text: English.
        voice: one of ``VOICES``.
        pitch: 0 to 99; 50 is the voice's own.

    Returns:
        (samples,) float32 at ``SAMPLE_RATE_HZ``, peak 1, without silence at either end.

    Raises:
        BirdlibError: as in ``_espeak``, or if espeak-ng gives no sound.
    """
    library, data = _espeak()
    blocks = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(samples, n_samples, events):
        if samples and n_samples > 0:
            blocks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    rate_hz = library.espeak_Initialize(2, 0, data.encode(), 0)  # AUDIO_OUTPUT_SYNCHRONOUS, to the callback
    try:
        library.espeak_SetVoiceByName(b"en-us+" + voice.encode())
        library.espeak_SetSynthCallback(collect)
        library.espeak_SetParameter(1, int(words_per_minute), 0)
        library.espeak_SetParameter(3, int(pitch), 0)
        encoded = text.encode()
        library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, 1, None, None
        )  # 1, 1: characters, UTF-8
        library.espeak_Synchronize()
    finally:
        library.espeak_Terminate()
    if rate_hz <= 0 or not blocks:
        raise runtime.BirdlibError("espeak-ng gave no sound: reinstall the package espeakng-loader")
    sound = np.concatenate(blocks).astype(np.float32)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1] / np.abs(sound).max()
    return signal.resample_poly(sound, SAMPLE_RATE_HZ, rate_hz).astype(np.float32)


def write_ogg(waveform, path, *, serial):
    """Encode as Ogg Vorbis; the same waveform and serial number give the same bytes from the same libsndfile.

    libsndfile takes the stream's serial number from the clock, so it is set afterwards, and the checksums with it.
    """
    import soundfile

    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, format="OGG", subtype="VORBIS") as file:
        for first in range(0, len(waveform), SAMPLE_RATE_HZ):  # long single writes overflow libsndfile's stack
            file.write(waveform[first : first + SAMPLE_RATE_HZ])
    path.write_bytes(_with_serial(path.read_bytes(), serial))


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _with_serial(ogg, serial):
    """An Ogg stream with this serial number in every page (RFC 3533, section 6)."""
    pages, first = [], 0
    while first < len(ogg):
        n_segments = ogg[first + 26]
        last = first + 27 + n_segments + sum(ogg[first + 27 : first + 27 + n_segments])
        page = bytearray(ogg[first:last])
        page[14:18] = serial.to_bytes(4, "little")
        page[22:26] = bytes(4)
        # Ogg's CRC is zlib's polynomial read the other way round, from 0 and without a final inversion.
        mirrored = zlib.crc32(bytes(page).translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[22:26] = mirrored.to_bytes(4, "little").translate(_REVERSED_BITS)[::-1]
        pages.append(bytes(page))
        first = last
    return b"".join(pages)
