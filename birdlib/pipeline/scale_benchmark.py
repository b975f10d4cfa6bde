"""Memory, time and disk of stages 01 to 03 on much sound: what ``python -m birdlib bench memory`` and ``bench scale`` measure.

The sound is made for it and removed afterwards. Each measurement is a process of its own. Memory is resident memory: the most that all
processes of it had together. Seconds of the processor do not depend on what else the machine does; hours are those seconds over two cores.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from birdlib import runtime
from birdlib.audio import clips
from birdlib.audio import io as audio_io
from birdlib.data.synthetic import sample
from birdlib.models import embedders
from birdlib.pipeline import process_watch
from birdlib.store import EmbeddingStore, read_rows

LONG_RATE_HZ, _TINY_RATE_HZ, _RATE_HZ = 192_000, 8_000, 32_000
MINUTES, ROWS = (1, 60, 900), (10_000, 100_000)
ARCHIVE = {"recordings": 28_564, "hours": 280.0, "species": 206}  # BirdCLEF+ 2025
_BYTES_PER_MINUTE = 8e6  # of the long recording, as FLAC; what 02 and 03 write is a fifth of it
_PIECE_S = 12.0  # 25 hops of YAMNet, so that patches of a piece are patches of the whole
_EDGE = 4  # patches at the edges of a piece, in which a resampler lacks its context
_STAGES = ("01", "02", "03")


# A long recording


def long_recordings(minutes=MINUTES):
    """Yields a row for each length: ``minutes, clean_mb, embed_mb, cpu_s, lowest_cosine`` of an embedding and that of the same patch in a piece of the recording alone.

    Raises:
        FullDiskError: if the longest would not fit.
    """
    for n in minutes:
        with _folder(n * _BYTES_PER_MINUTE * 1.3) as folder:
            path = folder / "long.flac"
            write_long(path, n)
            clean_mb, clean_s = _watch(["_clean", str(path), str(folder / "whole")])
            embed_mb, embed_s = _watch(["_embed", str(folder / "whole")])
            start_s = _PIECE_S * max(0, round((n * 60 - 60) / 2 / _PIECE_S))
            _watch(["_clean", str(path), str(folder / "piece"), start_s, start_s + 5 * _PIECE_S])
            _watch(["_embed", str(folder / "piece")])
            yield {"minutes": n, "clean_mb": clean_mb, "embed_mb": embed_mb, "cpu_s": clean_s + embed_s, "lowest_cosine": _lowest_cosine(folder, start_s)}


def write_long(path, minutes, rate_hz=LONG_RATE_HZ, seed=0):
    """Write a stereo recording of quiet noise with a tone every ten seconds, whose pitch tells minutes apart, piece by piece."""
    rng, seconds = np.random.default_rng(seed), np.arange(rate_hz) / rate_hz
    hiss = rng.integers(-2, 3, size=rate_hz, dtype=np.int16)
    with soundfile.SoundFile(path, "w", rate_hz, 2, "PCM_16") as file:
        for second in range(round(60 * minutes)):
            block = hiss.copy()
            if second % 10 == 3:
                block += (3000 * np.sin(2 * np.pi * (2000 + 7 * (second // 60 % 600)) * seconds)).astype(np.int16)
            file.write(np.stack([block, block], axis=1))


def _clean(path, folder, start_s=np.nan, end_s=np.nan):
    """What 02 does with one recording, in this process."""
    table = pd.DataFrame({"recording_id": ["long"], "audio_path": [path], "start_s": float(start_s), "end_s": float(end_s)})
    cleaned, _ = clips.clean_recordings(table, "/", folder, policy="remove", denoise="none", threshold=0.6, seed=0, n_jobs=1)
    clips.bird_losses(cleaned[cleaned["speech_s"] > 0], {"long": path}, "/")
    runtime.write_table(clips.cut_clips(cleaned, "whole", 0), Path(folder) / "clips.parquet")


def _embed(folder):
    """What 03 does."""
    chosen, embedder = pd.read_parquet(Path(folder) / "clips.parquet"), embedders.load("yamnet")
    store = EmbeddingStore(Path(folder) / "store", embedder.key)
    clips.embed_clips(chosen, folder, embedder, store)
    patches = clips.assemble(chosen, store, embedder, Path(folder) / "embeddings.npy")
    runtime.write_table(patches, Path(folder) / "patches.parquet")
    assert all(np.isfinite(rows).all() for rows in read_rows(Path(folder) / "embeddings.npy"))


def _lowest_cosine(folder, start_s):
    """The lowest cosine of the patches of a piece and those of the whole, without the edges."""
    whole, piece = (np.load(folder / name / "embeddings.npy", mmap_mode="r") for name in ("whole", "piece"))
    first = round(start_s / pd.read_parquet(folder / "whole" / "patches.parquet", columns=["start_s"])["start_s"].iloc[1])
    inner = slice(_EDGE, len(piece) - _EDGE)
    a, b = piece[inner], whole[first : first + len(piece)][inner]
    return float((np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


# Many recordings


def many_rows(rows=ROWS):
    """Yields a row for each size of a manifest of tiny sounds, run through stage 01: ``rows, peak_mb, cpu_s``."""
    for n in rows:
        with _folder(n * 8192) as folder:
            manifest = _write_tiny(folder, n)
            peak_mb, cpu_s = _watch(["_run_stage", "01", str(folder / "outputs"), str(manifest)])
            yield {"rows": n, "peak_mb": peak_mb, "cpu_s": cpu_s}


def archive(paths=(), n_recordings=2857):
    """Yields a row for each of 01 to 03 on recordings made of those given by repeating and shifting, as many hours each as in ``ARCHIVE``.

    Args:
        paths: of recordings; those of the sample where there are none.

    Yields:
        dict: ``stage, recordings, cpu_s, peak_mb, disk_gb`` as measured, and ``archive_hours, archive_gb`` in proportion for all of ``ARCHIVE``.
    """
    times = ARCHIVE["recordings"] / n_recordings
    minutes = 60 * ARCHIVE["hours"] / times
    with _folder(minutes * 60 * _RATE_HZ * 4) as folder:
        manifest = _write_archive(folder, paths or sorted((sample.ensure() / "train_audio").rglob("*.*")), n_recordings)
        for number in _STAGES:
            before = _disk_bytes(folder / "outputs")
            peak_mb, cpu_s = _watch(["_run_stage", number, str(folder / "outputs"), str(manifest)])
            disk_gb = (_disk_bytes(folder / "outputs") - before) / 1e9
            measured = {"stage": number, "recordings": n_recordings, "cpu_s": cpu_s, "peak_mb": peak_mb, "disk_gb": disk_gb}
            yield measured | {"archive_hours": cpu_s * times / 2 / 3600, "archive_gb": disk_gb * times}


def _write_tiny(folder, n):
    rng, names = np.random.default_rng(0), [f"t{number:06}" for number in range(n)]
    (folder / "audio").mkdir()
    for name in names:
        soundfile.write(folder / "audio" / f"{name}.wav", rng.normal(scale=0.01, size=_TINY_RATE_HZ // 10), _TINY_RATE_HZ)
    return _write_manifest(folder, names, "wav")


def _write_archive(folder, paths, n):
    """Recordings of different lengths with a mean of 35 s, as FLAC at 32 kHz."""
    rng, names = np.random.default_rng(0), [f"r{number:05}" for number in range(n)]
    seconds = rng.lognormal(np.log(24.0), 0.88, n).clip(3.0, 300.0)
    seconds *= n * 3600 * ARCHIVE["hours"] / ARCHIVE["recordings"] / seconds.sum()
    (folder / "audio").mkdir()
    for number, (name, length_s) in enumerate(runtime.progress(list(zip(names, seconds, strict=True)), desc="recordings")):
        waveform, _ = audio_io.read(paths[number % len(paths)], _RATE_HZ, end_s=300.0)
        shifted = np.resize(np.roll(waveform, rng.integers(len(waveform))), round(length_s * _RATE_HZ))
        audio_io.write(folder / "audio" / f"{name}.flac", shifted * rng.uniform(0.5, 1.0), _RATE_HZ)
    return _write_manifest(folder, names, "flac")


def _write_manifest(folder, names, suffix):
    """Common and rare species, three recordings a group."""
    species = np.random.default_rng(0).zipf(1.6, len(names)) % ARCHIVE["species"]
    rows = {"recording_id": names, "species": [f"s{number:03}" for number in species], "group_id": [f"g{number // 3}" for number in range(len(names))]}
    runtime.write_table(pd.DataFrame({**rows, "audio_path": [f"audio/{name}.{suffix}" for name in names]}), folder / "manifest.csv")
    return folder / "manifest.csv"


def _run_stage(number, outputs, manifest):
    from birdlib.pipeline import runner

    runner.run(outputs, only=number, given={"manifest": manifest})


def _disk_bytes(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


# Measuring


@contextlib.contextmanager
def _folder(n_bytes):
    """A temporary folder with room for so many bytes."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < n_bytes:
        raise runtime.FullDiskError(f"{tempfile.gettempdir()} has {free / 1e9:.0f} GB free, not {n_bytes / 1e9:.0f}: set TMPDIR to a larger disk, or measure less")
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _watch(call):
    """Run a function of this module in a process of its own: (peak MB and processor seconds of it and its children).

    Args:
        call: name and arguments.

    Raises:
        BirdlibError: if it fails, with its last message.
    """
    code = f"from birdlib.pipeline import scale_benchmark; scale_benchmark.{call[0]}(*{json.dumps(call[1:])})"
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=messages, stderr=messages, cwd=runtime.repository())
        cpu_s, peak = process_watch.watch(process)
        if process.returncode:
            messages.seek(0)
            raise runtime.BirdlibError(f"{call[0]} failed: {messages.read().decode(errors='replace').strip().splitlines()[-1]}")
    return round(peak / 1e6), round(cpu_s)
