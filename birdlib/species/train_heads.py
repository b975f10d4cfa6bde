"""Trainings of heads: networks on the embeddings of recordings and of soundscape windows."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import clips
from birdlib.models import embedders, pooling
from birdlib.species import ablation, classifiers, dataset, soundscape_windows, students
from birdlib.store import EmbeddingStore

_MIXUP_ALPHA = 0.4


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a head's training, see ``fit_heads``."""

    window_patches: int = 10  # recordings are also cut into windows of so many patches; 0: whole only
    hidden: str = "512,256"
    dropout: float = 0.5
    n_networks: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    batch_size: int = 0
    epochs: int = 60
    patience: int = 10
    balance: float = 0.5  # power of class weights
    pooling: str = "mean_std"  # of patches: one of ``pooling.STATISTICS``

    def __post_init__(self):
        students.parse_units(self.hidden)
        for name, smallest in {"window_patches": 0, "n_networks": 1, "epochs": 1}.items():
            if getattr(self, name) < smallest:
                raise runtime.ParameterError(f"{name} is {getattr(self, name)}: choose {smallest} or more")
        for name in ("dropout", "balance"):
            if not 0 <= getattr(self, name) <= 1 or self.dropout == 1:
                raise runtime.ParameterError(f"{name} is {getattr(self, name):g}: choose a share from 0 to 1; a dropout of 1 would leave nothing")


@dataclasses.dataclass(frozen=True)
class PatchEmbeddings:
    """Patch embeddings of the recordings, and (embeddings, patches) of soundscape windows or None; ``preprocessing`` names the embedder."""

    embeddings: np.ndarray
    patches: pd.DataFrame
    windows: tuple | None
    preprocessing: dict
    weights: dict

    def pooling(self, statistics="mean_std"):
        """The layer that pools the patches, see ``pooling.of_embedder``."""
        return pooling.of_embedder(self.preprocessing["embedder"], self.embeddings.shape[1], statistics)


def load_embeddings(name, data, folder, with_windows):
    """PatchEmbeddings of all recordings by an embedder: those of stage 03 if it is the same, else embedded now, through the same store.

    Args:
        folder: where the embeddings of another embedder are written.
        with_windows: whether the windows of soundscapes are needed too.
    """
    if name == data.embedder:
        receipt = stages.receipt(data.outputs_dir, "03_embed")
        embeddings, patches = stages.read(data.outputs_dir, "03_embed", "embeddings.npy", "patches.parquet")
        windows = (data.windows.embeddings, data.windows.patches) if with_windows else None
        preprocessing = _preprocessing(name, receipt["parameters"]["octave_down"], receipt["parameters"]["resampler"], receipt["results"]["key"])
        return PatchEmbeddings(embeddings, patches, windows, preprocessing, receipt["weights"])
    embedder = embedders.load(name, data.weights_dir)
    store = EmbeddingStore(data.outputs_dir / "store", embedder.key)

    def embed(table, root, file):
        clips.embed_clips(table, root, embedder, store)
        patches = clips.assemble(table, store, embedder, folder / file)
        return np.load(folder / file, mmap_mode="r"), patches

    embeddings, patches = embed(data.clips, data.outputs_dir / "02_clean", "embeddings.npy")
    windows = None
    if with_windows:
        root = stages.recordings_root(data.outputs_dir)
        windows = embed(soundscape_windows.as_clips(data.windows, root), root, "window_embeddings.npy")
    preprocessing = _preprocessing(name, getattr(embedder, "octave_down", False), embedder.resampler, embedder.key)
    if hasattr(embedder, "blocks"):
        preprocessing["blocks"] = embedder.blocks
    return PatchEmbeddings(embeddings, patches, windows, preprocessing, embedder.weights)


def pool_recordings(embedded, data, patch_pooling):
    """Features of every row of the splits, (rows, features); NaN for a recording without embeddings.

    Raises:
        ablation.UntrainableError: if no recording of training, or none of validation, has embeddings.
    """
    slices = pooling.recording_slices(embedded.patches)
    whole = _pool(embedded.embeddings, embedded.patches, slices, patch_pooling)
    rows = pd.Index(slices["recording_id"]).get_indexer(data.splits["recording_id"])
    for split, is_in_split in (("training", data.is_train), ("validation", data.is_validation)):
        if is_in_split.any() and not (rows[is_in_split] >= 0).any():
            name = embedded.preprocessing["embedder"]
            raise ablation.UntrainableError(f"{name} embedded none of the {split} recordings: leave it out, or see what is skipped")
    return np.where(rows[:, None] >= 0, whole[rows], np.nan).astype(np.float32)


def pool_windows(embedded, data, patch_pooling):
    """(features, targets) of the labelled windows of soundscapes that have embeddings: (windows, features) and (windows, classes)."""
    embeddings, patches = embedded.windows
    slices = pooling.recording_slices(patches)
    rows = pd.Index(data.windows.table["row_id"]).get_indexer(slices["recording_id"])
    slices, rows = slices[rows >= 0], rows[rows >= 0]
    return _pool(embeddings, patches, slices, patch_pooling), data.windows.targets[rows]


def train_head(config, data, embedded, features, patch_pooling, rng, options):
    """Networks on pooled patches of recordings and, if ``config`` includes soundscapes, of their windows, alone and mixed into recordings.

    Windows without any of the species (negative labels of stage 06) teach softmax a background, see ``classifiers.build_head``.

    Args:
        features: from ``pool_recordings``.
        options: Options; with a patience of 0, all epochs are trained, without validation.

    Returns:
        (head, history), as of ``fit_heads.fit_networks``.
    """
    from birdlib.losses import classification as losses
    from birdlib.species import fit_heads

    is_train, is_validation = data.is_train, data.is_validation & np.isfinite(features[:, 0])
    recordings, truth = data.splits[is_train], data.truth[is_train]
    train_set = fit_heads.training_set(
        embedded.embeddings, embedded.patches, patch_pooling, recordings, truth, options.window_patches, options.balance, rng
    )
    if config["soundscapes"]:
        windows, targets = pool_windows(embedded, data, patch_pooling)
        train_set = students.training_set(train_set, windows, targets, rng=rng)  # as 06 trains its students
    mode = dataset.mode_of(config["loss"])
    background = mode == "single" and not train_set[1].any(axis=1).all()
    loss = losses.get(config["loss"], **({"background": True} if background else {}))
    units = students.parse_units(options.hidden)
    scale = 1.0 if options.pooling == pooling.ADAPTIVE_AVERAGE else None
    build = functools.partial(classifiers.build_head, features.shape[1], len(data.classes), mode, units, options.dropout, background, scale=scale)
    numbers = {name: getattr(options, name) for name in ("epochs", "patience", "learning_rate", "weight_decay", "batch_size")}
    numbers["mixup"] = _MIXUP_ALPHA * config["mixup"]
    validation = (features[is_validation], data.truth[is_validation]) if options.patience else None
    return fit_heads.fit_networks(options.n_networks, build, train_set, validation, loss=loss, rng=rng, **numbers)


def train(config, data, embedded, rng, options):
    """Train the classifier of a configuration.

    Args:
        embedded: from ``load_embeddings``.
        options: Options.

    Returns:
        (model, scores, history, preprocessing, weights): the whole classifier; (rows, classes), NaN for a recording without embeddings; as of
        ``fit_heads.fit_networks``; the input of the model; and of the embedder, for the receipt.
    """
    patch_pooling = embedded.pooling(options.pooling)
    features = pool_recordings(embedded, data, patch_pooling)
    head, history = train_head(config, data, embedded, features, patch_pooling, rng, options)
    model = classifiers.join(patch_pooling, head, embedded.embeddings.shape[1])
    scores = np.where(np.isfinite(features[:, :1]), classifiers.predict(head, np.nan_to_num(features)), np.nan)
    return model, scores, history, embedded.preprocessing, embedded.weights


def _preprocessing(embedder, octave_down, resampler, key):
    return {"kind": "embeddings", "embedder": embedder, "octave_down": octave_down, "resampler": resampler, "key": key}


def _pool(embeddings, patches, slices, patch_pooling):
    return pooling.pool(embeddings, pooling.patch_weights(patches["bird_score"].to_numpy()), slices, patch_pooling)
