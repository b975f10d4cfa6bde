"""Search for the nearest recordings and photos in the index that stage 04 writes.

The index has a row for every photo and every sound of the manifest, each embedded alone, so that a photo finds sounds and a sound
finds photos. A sound of a query is cleaned and embedded as those of the index were.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import cleaning
from birdlib.audio import io as audio_io
from birdlib.models import embedders, pooling
from birdlib.multimodal import image_features, pairs
from birdlib.video import images
from birdlib.video import kinds as media_kinds

_PREPROCESSING = ("embedder", "octave_down", "resampler", "key", "n_patches", "cleaning", "seed")


class NearestError(runtime.BirdlibError):
    """A query or an index that cannot be used."""


def index(encoder, library):
    """Embed every photo and every sound alone.

    Returns:
        (embeddings, table): (n, dim) unit vectors and, row-aligned, ``recording_id, kind, species, split, path``.
    """
    tables, vectors = [], []
    for kind, media, column in (("photo", library.photos, "image_path"), ("sound", library.sounds, "audio_path")):
        if not len(media):
            continue
        media = media.drop_duplicates("recording_id")
        rows = pd.DataFrame({"photo": pairs.ABSENT, "sound": pairs.ABSENT, "species": media["species"]})
        rows[kind] = media.index
        vectors.append(pairs.embed(encoder, library, rows))
        table = media.assign(kind=kind, path=media[column])
        tables.append(table[["recording_id", "kind", "species", "split", "path"]])
    return np.concatenate(vectors), pd.concat(tables, ignore_index=True)


def preprocessing(outputs_dir, n_patches):
    """How the sounds of an index were cleaned and embedded, so that a query is too: dict, fit for JSON."""
    embedded, cleaned = (stages.receipt(outputs_dir, name) for name in ("03_embed", "02_clean"))
    chosen = cleaned["parameters"]
    return {
        "embedder": embedded["parameters"]["embedder"],
        "octave_down": embedded["parameters"]["octave_down"],
        "resampler": embedded["parameters"]["resampler"],
        "key": embedded["results"]["key"],
        "n_patches": n_patches,
        "cleaning": {"policy": chosen["policy"], "denoise": chosen["denoise"], "threshold": chosen["speech_threshold"]},
        "seed": chosen["seed"],
    }


def find(queries, outputs_dir, n=10, weights_dir=""):
    """List the nearest photos and sounds to a photo, a sound, or both together.

    Args:
        queries: one path of a picture or a sound, or one of each; of a film the sound is used.
        outputs_dir, weights_dir: where stage 04 is; as in ``weights.find``.
        n: rows to list.

    Returns:
        DataFrame: ``cosine, kind, species, recording_id, path``, nearest first; paths as in the manifest.

    Raises:
        NearestError: if two are of one kind, or of a kind that the encoder was not trained on.
        MediaError: if there is no such file, or it is neither a picture, nor a film or a sound.
        MissingStageError: if stage 04 is not finished.
        ImageError, AudioError: if a file cannot be read.
    """
    from birdlib.multimodal import encoders

    folder = Path(outputs_dir) / "04_triplet"
    config = stages.settings(outputs_dir, "04_triplet", "preprocessing.json", _PREPROCESSING)
    kinds = {_kind(query): Path(query) for query in queries}
    if len(kinds) < len(queries):
        raise NearestError("a query is one picture, one sound, or one of each: leave out the others")
    encoder = encoders.load(folder / "fused_encoder.keras")
    arrays = _inputs(encoder, kinds, config, weights_dir)
    embedding = encoder.predict(arrays, verbose=0)[0]
    table = pd.read_parquet(folder / "index.parquet")
    table.insert(0, "cosine", np.load(folder / "embeddings.npy") @ embedding)
    columns = ["cosine", "kind", "species", "recording_id", "path"]
    return table.sort_values("cosine", ascending=False, kind="stable").head(n)[columns].reset_index(drop=True)


def _kind(path):
    """``"photo"`` or ``"sound"``; of a film its sound is used."""
    return "photo" if media_kinds.kind_of(path) == "image" else "sound"


def _inputs(encoder, kinds, preprocessing, weights_dir):
    wanted = {name: x.shape for name, x in encoder.input.items()}
    is_trained = {"photo": "image" in wanted, "sound": "embeddings" in wanted}
    for kind in kinds:
        if not is_trained[kind]:
            raise NearestError(f"stage 04 had no {kind}s to train on: it cannot embed {kinds[kind]}")
    arrays = {"presence": np.array([["photo" in kinds, "sound" in kinds]], np.float32)}
    if is_trained["photo"]:
        arrays["image"] = np.zeros((1, *wanted["image"][1:]), np.float32)
        if "photo" in kinds:
            arrays["image"][0] = image_features.as_input(images.read_image(kinds["photo"]))
    if is_trained["sound"]:
        arrays["embeddings"] = np.zeros((1, 1, wanted["embeddings"][2]), np.float32)
        arrays["weights"] = np.ones((1, 1), np.float32)
        if "sound" in kinds:
            embedder = embedders.load(preprocessing["embedder"], weights_dir, preprocessing["octave_down"], resampler=preprocessing["resampler"])
            if embedder.key != preprocessing["key"]:
                raise NearestError(f"stage 04 used other weights of {embedder.name}: attach the same, or run 03 and 04 again")
            embeddings, bird_scores = embedder.embed(_cleaned(kinds["sound"], embedder, preprocessing))
            weights = pooling.patch_weights(bird_scores)
            first, last = pairs.window(weights, 0, len(weights), preprocessing["n_patches"])
            arrays["embeddings"], arrays["weights"] = embeddings[None, first:last], weights[None, first:last]
    return {name: arrays[name] for name in wanted}


def _cleaned(path, embedder, preprocessing):
    rng = cleaning.recording_rng(runtime.digest_file(path), preprocessing["seed"])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "cleaned.flac"
        cleaning.clean_recording(path, target, rng, **preprocessing["cleaning"])
        return audio_io.read(target, embedder.sample_rate_hz, resampler=embedder.resampler)[0]
