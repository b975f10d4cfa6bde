"""Made outputs of tones: two species at 1 and 4 kHz, eight recordings of each split, and windows of a soundscape with both."""

import numpy as np
import pandas as pd
import soundfile

from birdlib import runtime, stages

RATE_HZ, N = 32_000, 24
VOICE_HZ, WIND_HZ = 200, 500
SPEAKERS = ["r0", "r8", "r16"]  # of train, validation and test


def make(outputs):
    """Finished stages 01, 02, 03 and 06 of 24 recordings."""
    rng = np.random.default_rng(0)
    root = outputs / "recordings"
    names, species = np.array([f"r{i}" for i in range(N)]), np.arange(N) % 2
    stage = stages.start("01_split", outputs)
    split = np.repeat(["train", "validation", "test"], N // 3)
    rows = {"recording_id": names, "species": np.array(["low", "high"])[species], "secondary_species": "", "split": split}
    rows |= {"audio_path": [f"{name}.flac" for name in names], "start_s": np.nan, "image_path": "", "video_path": "", "individual_id": ""}
    runtime.write_table(pd.DataFrame({**rows, "is_repeated": False, "group_id": names}), stage.folder / "splits.parquet")
    runtime.write_json(["low", "high"], stage.folder / "classes.json")
    stages.finish(stage, {"root": "recordings"})
    stage = stages.start("02_clean", outputs, denoise="none")
    for folder in (root / "train_soundscapes", root / "test_soundscapes", stage.folder / "audio"):
        folder.mkdir(parents=True)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    for i, name in enumerate(names):
        song = 0.3 * np.sin(2 * np.pi * (1000, 4000)[species[i]] * time_s) + 0.01 * rng.standard_normal(RATE_HZ)
        soundfile.write(stage.folder / "audio" / f"{name}.flac", song, RATE_HZ)
    for name in SPEAKERS:
        soundfile.write(root / f"{name}.flac", 0.3 * np.sin(2 * np.pi * VOICE_HZ * time_s), RATE_HZ)
    speech = pd.DataFrame({"recording_id": SPEAKERS, "start_s": 0.1, "end_s": 0.9, "policy": "remove"})
    runtime.write_table(speech, stage.folder / "segments.parquet")
    wind = 0.3 * np.sin(2 * np.pi * WIND_HZ * np.arange(4 * RATE_HZ) / RATE_HZ)
    soundfile.write(root / "train_soundscapes" / "scape.flac", wind, RATE_HZ)
    for which in ("train", "test"):  # a test soundscape must not be trained on, wherever it lies
        soundfile.write(root / f"{which}_soundscapes" / "hidden.flac", wind, RATE_HZ)
    runtime.write_table(pd.DataFrame({"recording_id": names, "is_silent": False}), stage.folder / "recordings.parquet")
    clips = {"clip_id": names, "recording_id": names, "audio_path": [f"audio/{name}.flac" for name in names], "digest": names}
    runtime.write_table(pd.DataFrame({**clips, "start_s": 0.0, "end_s": 1.0, "is_noise": False}), stage.folder / "clips.parquet")
    stages.finish(stage, {})
    stage = stages.start("03_embed", outputs, embedder="yamnet", octave_down=False, resampler="soxr_hq")
    table_of_patches(names, species, rng, stage.folder)
    stages.finish(stage, {"key": "k"})
    stage = stages.start("06_pseudolabel", outputs)
    ids = ["scape_1", "scape_2"]
    table_of_patches(ids, [0, 2], rng, stage.folder)  # the second is of neither species
    windows = {"row_id": ids, "soundscape": "scape", "audio_path": "train_soundscapes/scape.flac", "start_s": [0.0, 1.0], "end_s": [1.0, 2.0]}
    runtime.write_table(pd.DataFrame(windows), stage.folder / "windows.parquet")
    labels = {"row_id": ["scape_1", "scape_1", "scape_2"], "label": ["low", "high", "stranger"], "target": np.float32([0.9, 0.4, 1.0])}
    provenance = {"kind": "soft", "origin": "student", "teacher": "", "round": 1, "confidence": np.float32([0.9, 0.4, 1.0])}
    runtime.write_table(pd.DataFrame({**labels, **provenance}), stage.folder / "labels.parquet")
    stages.finish(stage, {})
    return outputs


def table_of_patches(names, species, rng, folder):
    """Two patches a name, with a large value in the dimension of their species; (patches, 1024) like YAMNet's."""
    embeddings = rng.normal(size=(2 * len(names), 1024)).astype(np.float32)
    embeddings[np.arange(2 * len(names)), np.repeat(species, 2)] += 300.0
    np.save(folder / "embeddings.npy", embeddings)
    columns = {"recording_id": np.repeat(names, 2), "clip_id": np.repeat(names, 2), "patch": [0, 1] * len(names), "start_s": 0.0, "end_s": 0.96}
    runtime.write_table(pd.DataFrame({**columns, "bird_score": 0.5}), folder / "patches.parquet")
