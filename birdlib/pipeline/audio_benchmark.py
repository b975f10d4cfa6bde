"""Stages 02 and 03 beside the plain way of a notebook, on the same files in one run: what ``python -m birdlib bench audio`` measures.

The plain way, file by file: resampy's ``kaiser_best``, noisereduce (nonstationary) at 32 kHz, Silero's TorchScript model frame by frame, and one
call of YAMNet for each clip. Processes and models are started before the clock is.
"""

import functools
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import clips, kaiser_best, noise, resampling, vad
from birdlib.audio import io as audio_io
from birdlib.data.synthetic import sample
from birdlib.models import embedders, weights, yamnet
from birdlib.store import EmbeddingStore

_SAMPLE_S = 180.0  # of sound, of the sample's recordings
_NOISE_HZ = 32_000  # at which the plain way reduces noise
_COLUMNS = ["what", "plain", "birdlib", "times_faster"]
_METHOD = "nonstationary"


def sample_files():
    """Recordings of the sample, together three minutes or a little more."""
    paths, seconds = [], 0.0
    for path in sorted((sample.ensure() / "train_audio").rglob("*.*")):
        paths.append(path)
        seconds += audio_io.duration(path)
        if seconds >= _SAMPLE_S:
            break
    return paths


def measure(paths, n_jobs=-1):
    """Measure each step in this process, then the whole.

    Args:
        paths: of sound files.
        n_jobs: of cleaning; the plain way has one process, in which TensorFlow uses all cores.

    Returns:
        (speed, note): DataFrame ``what, plain, birdlib, times_faster``, the first two as multiples of real time, NaN where there is no plain
        way; and a sentence about the sound and about a second run on what is stored.

    Raises:
        AudioError: for a file that is not sound.
    """
    minutes = sum(audio_io.duration(path) for path in paths) / 60
    plain = _Plain()
    plain.decode(paths[0])
    speed = _steps(paths, plain)
    whole, again_s = _whole(paths, plain, n_jobs)
    table = pd.concat([_as_multiples(speed, minutes), _as_multiples(whole, minutes)], ignore_index=True)
    return table, f"{len(paths)} files, {minutes:.1f} minutes. A second run on what is stored: {again_s:.2f} s."


class _Plain:
    """The plain way, with its models loaded."""

    def __init__(self):
        import torch

        n_threads = torch.get_num_threads()
        import silero_vad  # sets the threads of the whole process to one

        self._vad, self._torch, self._silero = silero_vad.load_silero_vad(), torch, silero_vad
        torch.set_num_threads(n_threads)
        self._yamnet = yamnet.load(weights.fetch("yamnet"))
        hiss = 1e-3 * np.random.default_rng(0).standard_normal(10 * yamnet.SAMPLE_RATE_HZ, np.float32)
        for first_call in (self.speech, self.embed, self.reduce_noise):
            first_call(hiss)

    @staticmethod
    def decode(path):
        """(waveform, rate): what is mono already stays as it is."""
        import librosa

        return librosa.load(path, sr=None)

    @staticmethod
    def reduce_noise(waveform):
        """Of a waveform at 32 kHz."""
        import noisereduce

        return noisereduce.reduce_noise(y=waveform, sr=_NOISE_HZ, stationary=False)

    def speech(self, waveform):
        """Spans of samples of a waveform at 16 kHz."""
        return self._silero.get_speech_timestamps(self._torch.from_numpy(waveform), self._vad)

    def embed(self, waveform):
        """(patches, 1024) of a waveform at 16 kHz."""
        return self._yamnet.predict(waveform)[1]

    def clean_and_embed(self, path, denoise):
        """(patches, 1024) of a file without its speech."""
        waveform, rate_hz = self.decode(path)
        waveform = kaiser_best.resample(waveform, rate_hz, _NOISE_HZ) if rate_hz != _NOISE_HZ else waveform
        waveform = self.reduce_noise(waveform).astype(np.float32) if denoise else waveform
        waveform = kaiser_best.resample(waveform, _NOISE_HZ, yamnet.SAMPLE_RATE_HZ)
        is_kept = np.ones(len(waveform), bool)
        for span in self.speech(waveform):
            is_kept[span["start"] : span["end"]] = False
        return self.embed(waveform[is_kept])


def _steps(paths, plain):
    """{step: [seconds of the plain way, our seconds]}: the two in turns, on a machine that may have other work."""
    own, octave = (embedders.load("yamnet", octave_down=octave_down) for octave_down in (False, True))
    for embedder in (own, octave):
        embedder.embed(np.zeros(10 * embedder.sample_rate_hz, np.float32))
    vad.speech_spans(np.zeros(vad.SAMPLE_RATE_HZ, np.float32))
    seconds = {}

    def clock(step, *ways):
        """Run the plain way and ours, or ours alone; returns what ours gives."""
        times = seconds.setdefault(step, [np.nan if len(ways) == 1 else 0.0, 0.0])
        for number, way in enumerate(ways, start=2 - len(ways)):
            start, result = time.perf_counter(), way()
            times[number] += time.perf_counter() - start
        return result

    for path in runtime.progress(paths, desc="steps"):
        rate_hz = audio_io.sample_rate(path)
        kept_hz = min(rate_hz, _NOISE_HZ)  # stage 02 keeps no more
        waveform = clock("decode", lambda path=path: plain.decode(path), lambda path=path: np.concatenate(list(audio_io.stream(path))))
        ways = [lambda resample=resample, own=waveform, hz=rate_hz: resample(own, hz, vad.SAMPLE_RATE_HZ) for resample in (kaiser_best.resample, resampling.resample)]
        at_16k = clock("resample to 16 kHz", *ways)
        kept, wide = (resampling.resample(waveform, rate_hz, hz) for hz in (kept_hz, _NOISE_HZ))
        reduced = (lambda own=kept, hz=kept_hz: list(noise.denoise_blocks([own], hz, _METHOD, None)),)
        clock("reduce noise", lambda own=wide: plain.reduce_noise(own), *reduced)
        clock("find speech", lambda own=at_16k: plain.speech(own), lambda own=at_16k: vad.speech_spans(own))
        clock("embed by YAMNet", lambda own=at_16k: plain.embed(own), lambda own_=at_16k: own.embed(own_))
        clock("embed by YAMNet, with the octave below", lambda own=wide: octave.embed(own))
    return seconds


def _whole(paths, plain, n_jobs):
    """({what: [seconds of the plain way, our seconds]}, seconds of a second run)."""
    numbers = {"recording_id": [f"r{number}" for number in range(len(paths))], "start_s": np.nan, "end_s": np.nan}
    table = pd.DataFrame({**numbers, "audio_path": [str(Path(path).resolve()) for path in paths]})
    seconds, again_s = {}, np.nan
    for what, denoise, octave_down in (
        ("clean and embed, noise reduced", _METHOD, False),
        ("clean and embed", "none", False),
        ("clean and embed as the stages do by default", "none", True),
    ):
        embedder = embedders.load("yamnet", octave_down=octave_down)
        with tempfile.TemporaryDirectory() as folder:
            _run_stages(table[:1], Path(folder) / "warm", embedder, denoise, n_jobs)
            run = functools.partial(_run_stages, table, Path(folder) / "timed", embedder, denoise, n_jobs)
            own_s, again_s = _seconds(run), _seconds(run)
        seconds[what] = [np.nan if octave_down else _seconds(functools.partial(_all_plain, plain, paths, denoise != "none")), own_s]
    return seconds, again_s


def _all_plain(plain, paths, denoise):
    for path in runtime.progress(paths, desc="plain way"):
        plain.clean_and_embed(path, denoise)


def _run_stages(table, folder, embedder, denoise, n_jobs):
    """The work of 02 and 03 on a table of recordings."""
    cleaned, _ = clips.clean_recordings(table, Path("/"), folder, policy="remove", denoise=denoise, threshold=vad.SPEECH_THRESHOLD, seed=0, n_jobs=n_jobs)
    chosen = clips.cut_clips(cleaned, "whole", 0)
    store = EmbeddingStore(folder / "store", embedder.key)
    clips.embed_clips(chosen, folder, embedder, store)
    clips.assemble(chosen, store, embedder, folder / "embeddings.npy")


def _as_multiples(seconds, minutes):
    table = pd.DataFrame([(what, *times) for what, times in seconds.items()], columns=_COLUMNS[:3])
    table[_COLUMNS[1:3]] = 60 * minutes / table[_COLUMNS[1:3]]
    return table.assign(times_faster=table["birdlib"] / table["plain"])


def _seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
