"""What triplets are learnt from: batches of a few samples of several species, or triplets mined beforehand."""

import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import mining
from birdlib.multimodal import pairs


class TripletError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def batches(encoder, library, train, classes, mined, *, n_species=8, n_samples=6, modality_dropout=0.5, n_replicas=1, seed):
    """What ``model.fit`` learns from: P × K batches, or triplets mined offline.

    Args:
        encoder, library, train, n_species, n_samples, modality_dropout: as in ``triplets.fit``.
        classes: species, in the order of the labels.
        mined: how triplets are mined beforehand, ``"hard"`` or ``"semi_hard"``; ``""`` for P × K batches.
        n_replicas: parts of equal size that the strategy will cut a batch into, each of them P × K.
        seed: list of int.

    Returns:
        keras.utils.PyDataset of (inputs, labels).

    Raises:
        TripletError: if there is nothing to mine.
    """
    names = list(encoder.input)
    if not mined:
        return _classes()["SpeciesBatches"](
            library, train, classes, names, n_species, n_samples, modality_dropout, n_replicas, seed
        )
    rng = np.random.default_rng(seed)
    pool = pairs.drop_modalities(pairs.pair(*train, rng), modality_dropout, rng)
    labels = pd.Index(classes).get_indexer(pool["species"])
    triplets = mining.mine(pairs.embed(encoder, library, pool), labels, mined, rng)
    if not len(triplets):
        raise TripletError("no species has two samples to make a triplet of")
    n_triplets = n_replicas * max(1, n_species * n_samples // 3)
    return _classes()["TripletBatches"](library, pool, labels, names, triplets, n_triplets, seed)


@functools.cache
def _classes():
    """Keras classes of this module, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class SpeciesBatches(keras.utils.PyDataset):
        """P × K batches: n_species species, n_samples pairs of each, paired anew every time."""

        def __init__(self, library, train, classes, names, n_species, n_samples, modality_dropout, n_replicas, seed):
            super().__init__()
            self.library, self.classes, self.names, self.seed = library, classes, names, seed
            self.n_species, self.n_samples, self.modality_dropout = n_species, n_samples, modality_dropout
            self.n_replicas = n_replicas
            self.members = [[table[table["species"] == label] for table in train] for label in classes]
            self.n_steps = max(4, max(map(len, train)) // (n_species * n_samples * n_replicas))
            self.epoch = 0

        def __len__(self):
            return self.n_steps

        def on_epoch_end(self):
            self.epoch += 1

        def __getitem__(self, step):
            rng = np.random.default_rng([*self.seed, self.epoch, step])
            draws = [rng.choice(len(self.classes), self.n_species, replace=False) for _ in range(self.n_replicas)]
            chosen = np.concatenate(draws)
            drawn = [self._draw(self.members[label], rng) for label in chosen]
            batch = pairs.drop_modalities(pd.concat(drawn, ignore_index=True), self.modality_dropout, rng)
            arrays = pairs.inputs(self.library, batch, rng)
            return {name: arrays[name] for name in self.names}, np.repeat(chosen, self.n_samples)

        def _draw(self, members, rng):
            drawn = [pairs.pair(*members, rng)]
            while sum(map(len, drawn)) < self.n_samples:
                drawn.append(pairs.pair(*members, rng))
            drawn = pd.concat(drawn, ignore_index=True)
            return drawn.iloc[rng.permutation(len(drawn))[: self.n_samples]]

    class TripletBatches(keras.utils.PyDataset):
        """Mined triplets, each three rows of a batch: anchor, positive, negative."""

        def __init__(self, library, pool, labels, names, triplets, n_triplets, seed):
            super().__init__()
            self.library, self.pool, self.labels, self.names, self.seed = library, pool, labels, names, seed
            self.triplets = np.resize(triplets, (-(-len(triplets) // n_triplets) * n_triplets, 3))  # whole batches
            self.n_triplets = n_triplets

        def __len__(self):
            return len(self.triplets) // self.n_triplets

        def __getitem__(self, step):
            rows = self.triplets[step * self.n_triplets : (step + 1) * self.n_triplets].reshape(-1)
            arrays = pairs.inputs(self.library, self.pool.iloc[rows], np.random.default_rng([*self.seed, step]))
            return {name: arrays[name] for name in self.names}, self.labels[rows]

    return {"SpeciesBatches": SpeciesBatches, "TripletBatches": TripletBatches}
