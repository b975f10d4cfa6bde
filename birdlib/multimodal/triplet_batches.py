"""Training batches of pairs: P × K samples that the loss mines, or rows of anchor, positive and negative that were mined beforehand.

A positive is another photo and another recording than its anchor, wherever the species has another.
"""

import keras
import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.losses import mining
from birdlib.multimodal import pairs


def batches(encoder, library, train, classes, mined, options, *, n_replicas=1, seed):
    """The training batches: P × K samples, or triplets mined offline.

    Args:
        encoder: whose inputs are given, and whose embeddings are mined.
        library: ``pairs.Library``.
        train: (photos, sounds), rows of the library's tables.
        classes: species, in the order of the labels.
        mined: how triplets are mined beforehand, ``"hard"``, ``"semi_hard"`` or ``"similar"``; ``""`` for P × K batches.
        options: ``triplet_training.Options``.
        n_replicas: parts of equal size that the strategy will cut a batch into, each of them P × K.
        seed: list of int.

    Returns:
        keras.utils.PyDataset of (inputs, labels); labels (batch, 3) are the species, the photo and the recording of each row.

    Raises:
        NothingToDoError: if there is nothing to mine.
    """
    names, rng = list(encoder.input), np.random.default_rng(seed)
    if not mined:
        return _SpeciesBatches(library, train, classes, names, options, n_replicas, seed)
    if mined == "similar":
        pool = similar_triplets(library, train, options.triplets_per_species, options.min_cosine, rng)
        pool = pairs.drop_modalities(pool, options.modality_dropout, rng)
        triplets = rng.permutation(np.arange(len(pool)).reshape(-1, 3))
    else:
        pool = pairs.drop_modalities(pairs.pair(*train, rng), options.modality_dropout, rng)
        labels, media = pd.Index(classes).get_indexer(pool["species"]), pairs.media(library, pool)
        triplets = mining.mine(pairs.embed(encoder, library, pool), labels, mined, rng, media)
    if not len(triplets):
        raise stages.NothingToDoError("no species has two samples to make a triplet of")
    n_triplets = n_replicas * max(1, options.n_species * options.n_samples // 3)
    return _TripletBatches(library, pool, classes, names, triplets, n_triplets, options.augment, seed)


def similar_triplets(library, train, n_each, min_cosine, rng):
    """Triplets whose negative sounds like the anchor: the mean embeddings of the two recordings have a cosine of ``min_cosine`` or more.

    ``n_each`` triplets are drawn for each species with two recordings (and two photos, where there are photos): the anchor and the positive
    of different photos and recordings, the negative of a random other species. Those whose negative is less similar are dropped, so that
    a species has at most ``n_each``.

    Returns:
        pairs as of ``pairs.pair``, in rows of anchor, positive, negative.

    Raises:
        NothingToDoError: if no triplet is left.
    """
    sides = [media for media in zip(pairs.KINDS, train, strict=True) if len(media[1])]
    members = [table.groupby("species").groups for _, table in sides]
    species = sorted(set.intersection(*(set(groups) for groups in members)))
    anchors = [name for name in species if all(len(groups[name]) > 1 for groups in members)]
    if not len(train[1]) or not anchors or len(species) < 2:
        raise stages.NothingToDoError("triplets by similar sound need a species with two recordings and two photos, and another species: use triplet_hard")
    rows = []
    for name in anchors:
        others = [other for other in species if other != name]
        negatives = [others[i] for i in rng.integers(len(others), size=n_each)]
        drawn = np.array([_triplet(name, negative, members, rng) for negative in negatives])  # (n_each, 3, sides)
        table = pd.DataFrame(drawn.reshape(3 * n_each, len(sides)), columns=[kind for kind, _ in sides])
        rows.append(table.assign(species=[one for negative in negatives for one in (name, name, negative)]))
    pool = pd.concat(rows, ignore_index=True).reindex(columns=["photo", "sound", "species"], fill_value=pairs.ABSENT)
    sounds = pool["sound"].to_numpy().reshape(-1, 3)
    means = _mean_embeddings(library)
    is_similar = np.einsum("ij,ij->i", means[sounds[:, 0]], means[sounds[:, 2]]) >= min_cosine
    if not is_similar.any():
        raise stages.NothingToDoError(f"no two species have recordings with a cosine of {min_cosine:g}: lower min_cosine")
    return pool[np.repeat(is_similar, 3)].reset_index(drop=True)


def _triplet(name, negative, members, rng):
    """A triplet: (3, sides) rows of the library."""
    columns = [[*rng.choice(groups[name], 2, replace=False), rng.choice(groups[negative])] for groups in members]
    return np.transpose(columns)


def _mean_embeddings(library):
    """(sounds, dim) unit vectors: the mean of the patches of each sound that are embedded."""
    first, last = library.sounds["first"].to_numpy(), library.sounds["last"].to_numpy()
    windows = [pairs.window(library.weights, start, end, library.n_patches) for start, end in zip(first, last, strict=True)]
    means = np.stack([library.embeddings[start:end].mean(axis=0) for start, end in windows])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)


def _labels(library, table, classes):
    species = pd.Index(classes).get_indexer(table["species"])
    return np.column_stack([species, pairs.media(library, table)])


class _SpeciesBatches(keras.utils.PyDataset):
    """P × K batches: n_species species, n_samples samples of each, drawn anew for each batch."""

    def __init__(self, library, train, classes, names, options, n_replicas, seed):
        super().__init__()
        self.library, self.classes, self.names, self.options = library, classes, names, options
        self.n_replicas, self.seed, self.epoch = n_replicas, seed, 0
        self.n_species = min(options.n_species, len(classes))
        self.members = [[table[table["species"] == label] for table in train] for label in classes]
        self.n_steps = max(4, max(map(len, train)) // (self.n_species * options.n_samples * n_replicas))

    def __len__(self):
        return self.n_steps

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, step):
        rng = np.random.default_rng([*self.seed, self.epoch, step])
        species = [rng.choice(len(self.classes), self.n_species, replace=False) for _ in range(self.n_replicas)]
        sampled = [pairs.sample(*self.members[label], self.options.n_samples, rng) for label in np.concatenate(species)]
        batch = pairs.drop_modalities(pd.concat(sampled, ignore_index=True), self.options.modality_dropout, rng)
        arrays = pairs.inputs(self.library, batch, rng if self.options.augment else None)
        return {name: arrays[name] for name in self.names}, _labels(self.library, batch, self.classes)


class _TripletBatches(keras.utils.PyDataset):
    """Mined triplets, each three rows of a batch: anchor, positive, negative; in another order each epoch."""

    def __init__(self, library, pool, classes, names, triplets, n_triplets, augment, seed):
        super().__init__()
        self.library, self.pool, self.names, self.augment = library, pool, names, augment
        self.triplets, self.n_triplets, self.seed, self.epoch = triplets, n_triplets, seed, 0
        self.labels = _labels(library, pool, classes)
        self.n_steps = -(-len(triplets) // n_triplets)

    def __len__(self):
        return self.n_steps

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, step):
        order = np.random.default_rng([*self.seed, self.epoch]).permutation(len(self.triplets))
        order = np.resize(order, self.n_steps * self.n_triplets)  # whole batches
        rows = self.triplets[order[step * self.n_triplets : (step + 1) * self.n_triplets]].reshape(-1)
        rng = np.random.default_rng([*self.seed, self.epoch, step]) if self.augment else None
        arrays = pairs.inputs(self.library, self.pool.iloc[rows], rng)
        return {name: arrays[name] for name in self.names}, self.labels[rows]
