"""Trainings of heads: networks on what an embedder hears, of recordings and of windows of soundscapes."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.audio import clips
from birdlib.models import embedders, pooling
from birdlib.species import ablation, classifiers, dataset, soundscape_labels, students
from birdlib.store import EmbeddingStore

OPTIONS = {  # where nothing else is said
    "window_patches": 10,  # recordings are learnt in windows of so many patches too; 0: whole only
    "hidden": "512,256",
    "dropout": 0.5,
    "n_networks": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "batch_size": 0,
    "epochs": 60,
    "patience": 10,
    "balance": 0.5,  # power of class weights
}
_ALPHA = 0.4  # of mixup


@dataclasses.dataclass(frozen=True)
class Heard:
    """What an embedder made of the recordings, and of the windows of soundscapes (None without); ``preprocessing`` names it."""

    embeddings: np.ndarray
    patches: pd.DataFrame
    windows: tuple | None
    preprocessing: dict
    weights: dict

    def pooling(self):
        """The layer that pools its patches."""
        return pooling.of_embedder(self.preprocessing["embedder"], self.embeddings.shape[1])


def listen(name, data, folder, with_windows):
    """Patches of all recordings by an embedder: those of stage 03 if it is the same, else embedded now, through the same store.

    Args:
        folder: where the embeddings of another embedder are written.
        with_windows: whether the windows of soundscapes are needed too.
    """
    if name == data.embedder:
        told = stages.receipt(data.outputs_dir, "03_embed")
        place = data.outputs_dir / "03_embed"
        patches = pd.read_parquet(place / "patches.parquet")
        windows = (data.windows.embeddings, data.windows.patches) if with_windows else None
        how = {"embedder": name, "octave_down": told["parameters"]["octave_down"], "key": told["results"]["key"]}
        return Heard(np.load(place / "embeddings.npy", mmap_mode="r"), patches, windows, {"kind": "embeddings", **how}, told["weights"])
    listener = embedders.load(name, data.weights_dir)
    store = EmbeddingStore(data.outputs_dir / "store", listener.key)

    def heard(table, root, file):
        clips.embed_clips(table, root, listener, store)
        patches = clips.assemble(table, store, listener, folder / file)
        return np.load(folder / file, mmap_mode="r"), patches

    embeddings, patches = heard(data.clips, data.outputs_dir / "02_clean", "embeddings.npy")
    windows = None
    if with_windows:
        root = stages.recordings_root(data.outputs_dir)
        windows = heard(soundscape_labels.as_clips(data.windows, root), root, "window_embeddings.npy")
    how = {"embedder": name, "octave_down": getattr(listener, "octave_down", False), "key": listener.key}
    return Heard(embeddings, patches, windows, {"kind": "embeddings", **how}, listener.weights)


def pooled(heard, data, patch_pooling):
    """Features of every row of the splits, (rows, features); NaN for a recording that this embedder could not hear.

    Raises:
        ablation.UntrainableError: if it heard no recording of training, or none of validation.
    """
    slices = pooling.recording_slices(heard.patches)
    whole = pooling.pool(heard.embeddings, pooling.patch_weights(heard.patches["bird_score"].to_numpy()), slices, patch_pooling)
    rows = pd.Index(slices["recording_id"]).get_indexer(data.splits["recording_id"])
    for split, asked in (("training", data.is_train), ("validation", data.is_validation)):
        if asked.any() and not (rows[asked] >= 0).any():
            name = heard.preprocessing["embedder"]
            raise ablation.UntrainableError(f"{name} heard none of the {split} recordings: leave it out, or see what is skipped")
    return np.where(rows[:, None] >= 0, whole[rows], np.nan).astype(np.float32)


def fit_networks(one, data, heard, features, patch_pooling, rng, *, window_patches, hidden, dropout, n_networks, balance, **options):
    """Networks on pooled patches, of recordings and, if ``one`` says so, of windows of soundscapes, alone and mixed into recordings.

    Args:
        features: from ``pooled``.
        options: ``learning_rate, weight_decay, batch_size, epochs, patience``.

    Returns:
        (head, history), as of ``classifiers.fit_networks``.
    """
    is_train, is_judged = data.is_train, data.is_validation & np.isfinite(features[:, 0])
    train = classifiers.training_set(
        heard.embeddings, heard.patches, patch_pooling, data.splits[is_train], data.truth[is_train], window_patches, balance, rng
    )
    if one["soundscapes"]:
        embeddings, patches = heard.windows
        slices = pooling.recording_slices(patches)
        rows = pd.Index(data.windows.table["row_id"]).get_indexer(slices["recording_id"])
        slices, rows = slices[rows >= 0], rows[rows >= 0]
        more = pooling.pool(embeddings, pooling.patch_weights(patches["bird_score"].to_numpy()), slices, patch_pooling)
        train = students.lesson(train, more, data.windows.targets[rows], rng=rng)  # as those that 06 chose the labels by
    mode = dataset.mode_of(one["loss"])
    units = [int(size) for size in hidden.split(",") if size.strip()]
    build = functools.partial(classifiers.build_head, features.shape[1], len(data.classes), mode, units, dropout)
    validation = features[is_judged], data.truth[is_judged]
    options |= {"mode": mode, "loss": one["loss"], "mixup": _ALPHA * one["mixup"], "rng": rng}
    return classifiers.fit_networks(n_networks, build, train, validation, **options)


def train(one, data, heard, rng, **options):
    """Train what ``one`` asks for.

    Args:
        heard: from ``listen``.
        options: those of ``OPTIONS``.

    Returns:
        (model, scores, history, preprocessing, weights): the whole classifier; (rows, classes), NaN where nothing was heard; as of ``classifiers.fit_networks``; how sound is
        brought before it; and of the embedder, for the receipt.
    """
    patch_pooling = heard.pooling()
    features = pooled(heard, data, patch_pooling)
    head, history = fit_networks(one, data, heard, features, patch_pooling, rng, **options)
    model = classifiers.join(patch_pooling, head, heard.embeddings.shape[1])
    scores = np.where(np.isfinite(features[:, :1]), classifiers.predict(head, np.nan_to_num(features)), np.nan)
    return model, scores, history, heard.preprocessing, heard.weights
