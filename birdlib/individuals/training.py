"""Training of the early-fusion encoder on known relations of tracks. Imports Keras.

``relations`` is (tracks, tracks) int8 as of ``constraints``: 1 the same bird, -1 different birds, 0 unknown, which is ignored. A track is
related to itself, so any two crops of it are of one bird.
"""

import keras
import numpy as np
import pandas as pd
from keras import ops

from birdlib import runtime
from birdlib.individuals import clustering, track_encoder, track_sounds

_TEMPERATURE = 0.1
_N_STANDARDISED = 512  # crops that set the scale of the inputs
_GROUP = 4  # birds that are sampled together: one at random, and others that are known to differ and look most similar
_N_SIMILAR = 20  # most similar tracks of other birds, of which those are sampled
_REFRESH_EPOCHS = 10  # after which similarities are computed anew


class IdentityTrainingError(runtime.BirdlibError):
    """A training without pairs of different birds, or with invalid options."""


def fit(encoder, arrays, of_track, relations, *, held_out=None, n_tracks=40, n_crops=3, n_steps=20, epochs=20, patience=8,
        learning_rate=4e-3, weight_decay=1e-3, sound_dropout=0.5, rng):  # fmt: skip
    """Train an encoder by ``relation_loss``; keep the epoch with the best average precision on held-out tracks.

    Args:
        encoder: from ``track_encoder.encoder``.
        arrays: {"features", "map"} of the crops, from ``backbones.extract_features``, and if the encoder has sound,
            {"spectrogram": (sounds, 125, 128), "has_sound": (sounds,) bool, "sound_of": (crops,) int}, as of ``track_sounds``.
        of_track: (crops,) int, row of ``relations``; crops of a track in the order of time.
        relations: (tracks, tracks) int8.
        held_out: (tracks,) bool; None or none at all keeps the last epoch.
        n_tracks, n_crops: P × K of a batch: tracks, crops of each.
        n_steps: batches of an epoch.
        epochs: at most.
        patience: epochs without a better validation.
        learning_rate, weight_decay: of AdamW, with cosine decay over ``epochs``.
        sound_dropout: share of tracks whose sound is left out.
        rng: of batches.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation, is_kept``. ``validation`` is ``average_precision`` of the held-out tracks.

    Raises:
        IdentityTrainingError: if no pair of different birds is known, or a number is too small.
    """
    relations, of_track = np.asarray(relations), np.asarray(of_track)
    held_out = np.zeros(len(relations), bool) if held_out is None else np.asarray(held_out, bool)
    if min(n_tracks, n_crops) < 2 or min(n_steps, epochs, patience) < 1:
        raise IdentityTrainingError("n_tracks and n_crops must be 2 or more, n_steps, epochs and patience 1 or more")
    if not (relations[~held_out][:, ~held_out] == -1).any():
        raise IdentityTrainingError(
            "no two tracks are known to be different birds: add films with several birds in one frame, labelled films, or synthetic birds"
        )
    rows = np.flatnonzero(~held_out[of_track])
    rows = rows[:: -(-len(rows) // _N_STANDARDISED)]
    track_encoder.standardise(encoder, [arrays[name][rows] for name in ("features", "map")])
    batches = RelationBatches(arrays, of_track, relations, ~held_out, list(encoder.input), n_tracks, n_crops, n_steps, sound_dropout, rng)
    best = BestEpoch(encoder, arrays, of_track, relations, held_out, batches, patience)
    model = keras.Model(encoder.input, encoder.output)
    n_warm = min(n_steps, 20)
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate, epochs * n_steps, alpha=0.02, warmup_target=learning_rate, warmup_steps=n_warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, clipnorm=1.0)
    model.compile(optimizer, loss=relation_loss(relations, n_crops))
    history = model.fit(batches, epochs=epochs, callbacks=[best], verbose=0).history
    encoder.set_weights(best.weights)
    table = pd.DataFrame({"loss": history["loss"], "validation": history["validation"]})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table.assign(is_kept=table["epoch"] == best.kept)


def relation_loss(relations, n_crops=1):
    """Supervised contrastive loss over known relations of tracks, each the mean of some crops.

    Khosla et al., "Supervised Contrastive Learning", 2020, with unknown pairs left out of the denominator.

    Args:
        relations: (tracks, tracks) int8.
        n_crops: consecutive crops of a batch that are of one track and averaged.

    Returns:
        function (rows of tracks (batch,), embeddings (batch, dim)) → float; 0 where nothing is known.
    """
    relations = np.asarray(relations)

    def loss(tracks, embeddings):
        tracks = ops.cast(ops.reshape(tracks, (-1,)), "int32")[::n_crops]
        means = ops.mean(ops.reshape(embeddings, (-1, n_crops, embeddings.shape[-1])), axis=1)
        means = means * ops.rsqrt(ops.sum(ops.square(means), axis=1, keepdims=True) + 1e-12)
        table = ops.convert_to_tensor(relations, dtype="int32")
        relation = ops.take(ops.take(table, tracks, axis=0), tracks, axis=1)  # (sets, sets)
        others = ops.logical_not(ops.eye(ops.shape(tracks)[0], dtype="bool"))
        cosines = ops.matmul(means, ops.transpose(means)) / _TEMPERATURE
        counted = ops.where(ops.logical_and(relation != 0, others), cosines, -1e9)
        log_share = cosines - ops.logsumexp(counted, axis=1, keepdims=True)
        positives = ops.cast(ops.logical_and(relation == 1, others), "float32")
        n_positives = ops.sum(positives, axis=1)
        has_positives = ops.cast(n_positives > 0, "float32")
        costs = -ops.sum(ops.where(positives > 0, log_share, 0.0), axis=1) / ops.maximum(n_positives, 1.0)
        return ops.sum(costs * has_positives) / ops.maximum(ops.sum(has_positives), 1.0)

    return loss


def average_precision(embeddings, of_track, relations):
    """Average precision of known pairs of track halves, ranked by their cosine: halves of one track count as two sightings.

    Args:
        embeddings: (crops, dim).
        of_track: (crops,) int.
        relations: (tracks, tracks) int8.

    Returns:
        float in [0, 1]; NaN without pairs of both kinds.
    """
    from sklearn.metrics import average_precision_score

    half = _halves(of_track)
    halves, number = np.unique(half[half >= 0], return_inverse=True)
    if len(halves) < 2:
        return float("nan")
    means = clustering.mean_embeddings(embeddings[half >= 0], number)
    a, b = np.triu_indices(len(halves), 1)
    truth = np.asarray(relations)[halves[a] // 2, halves[b] // 2]
    cosines = np.sum(means[a] * means[b], axis=1)[truth != 0]
    truth = truth[truth != 0]
    return float(average_precision_score(truth == 1, cosines)) if len(set(truth)) == 2 else float("nan")


class RelationBatches(keras.utils.PyDataset):
    """Batches of P × K crops: groups of a random bird and similar ones, each with two of its tracks, or one twice."""

    def __init__(self, arrays, of_track, relations, is_train, names, n_tracks, n_crops, n_steps, sound_dropout, rng):
        super().__init__()
        self.arrays, self.relations, self.names, self.rng = arrays, relations, names, rng
        self.n_tracks, self.n_crops, self.n_steps, self.sound_dropout = n_tracks, n_crops, n_steps, sound_dropout
        self.crops = pd.Series(np.arange(len(of_track))).groupby(of_track).indices
        self.train = np.array([track for track in np.flatnonzero(is_train) if track in self.crops])
        has_map = arrays["map"].shape[-1] > 0
        self.update_similarities(arrays["map"].mean(axis=(1, 2), dtype=np.float32) if has_map else arrays["features"], of_track)

    def update_similarities(self, vectors, of_track):
        """Compute the similarities of tracks from (crops, dim) vectors of any kind."""
        means = _track_means(vectors, of_track, len(self.relations))
        means = (means - means.mean(axis=0)) / (means.std(axis=0) + 1e-6)
        means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-6
        self.cosines = means @ means.T

    def __len__(self):
        return self.n_steps

    def __getitem__(self, step):
        chosen = []
        while len(chosen) < self.n_tracks:
            track = self.rng.choice(self.train)
            others = self.train[self.relations[track, self.train] == -1]
            similar = others[np.argsort(-self.cosines[track, others], kind="stable")[:_N_SIMILAR]]
            sampled = self.rng.choice(similar, min(len(similar), _GROUP - 1), replace=False) if len(similar) else []
            for bird in (track, *sampled):
                same = self.train[(self.relations[bird, self.train] == 1) & (self.train != bird)]
                chosen += [bird, self.rng.choice(same) if len(same) else bird]
        tracks = np.repeat(chosen[: self.n_tracks], self.n_crops)
        rows = np.concatenate([self._sample_crops(track) for track in chosen[: self.n_tracks]])
        return self._inputs(rows, tracks), tracks

    def _sample_crops(self, track):
        crops = self.crops[track]
        return self.rng.choice(crops, self.n_crops, replace=len(crops) < self.n_crops)

    def _inputs(self, rows, tracks):
        inputs, is_mirrored = {}, self.rng.random() < 0.5
        if "map" in self.names:
            maps = self.arrays["map"][rows]
            inputs["map"] = maps[:, :, ::-1] if is_mirrored else maps
        if "features" in self.names:
            inputs["features"] = self.arrays["features"][rows]
        if "spectrogram" in self.names:
            is_used = self.rng.random(len(self.relations)) >= self.sound_dropout
            sounds = self.arrays["sound_of"][rows]
            has_sound = self.arrays["has_sound"][sounds] & is_used[tracks]
            inputs |= {"spectrogram": self.arrays["spectrogram"][sounds], "has_sound": np.float32(has_sound)[:, None]}
        return inputs


class BestEpoch(keras.callbacks.Callback):
    """Validates on held-out tracks, keeps the best weights, stops after ``patience`` epochs, and updates the batches' similarities."""

    def __init__(self, encoder, arrays, of_track, relations, held_out, batches, patience):
        super().__init__()
        self.encoder, self.arrays, self.of_track, self.relations = encoder, arrays, of_track, relations
        self.held_out, self.batches, self.patience = held_out[of_track], batches, patience
        crops = pd.Series(of_track)
        self.is_end = ~(crops.duplicated() & crops.duplicated(keep="last")).to_numpy()  # a track's first and last crop
        self.kept, self.best, self.weights = 0, -np.inf, encoder.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        is_refreshed = (epoch + 1) % _REFRESH_EPOCHS == 0
        rows = np.flatnonzero(self.held_out | (is_refreshed & self.is_end))
        sounds = None
        if "spectrogram" in self.encoder.input:
            sounds = track_sounds.Sounds(self.arrays["spectrogram"], self.arrays["has_sound"], self.arrays["sound_of"][rows])
        embeddings = track_encoder.embed_crops(self.encoder, (self.arrays["features"][rows], self.arrays["map"][rows]), sounds)
        if is_refreshed:
            self.batches.update_similarities(embeddings, self.of_track[rows])
        is_held = self.held_out[rows]
        value = average_precision(embeddings[is_held], self.of_track[rows][is_held], self.relations)
        logs["validation"] = value
        if value > self.best or np.isnan(value):
            self.best, self.kept, self.weights = value, epoch + 1, self.encoder.get_weights()
        if epoch + 1 - self.kept >= self.patience:
            self.model.stop_training = True


def _halves(of_track):
    """(crops,) int: which half of its track in time a crop belongs to, 2 * track + 0 or 1; -1 for a track of one crop."""
    crops = pd.Series(np.asarray(of_track))
    rank, size = crops.groupby(crops).cumcount(), crops.groupby(crops).transform("size")
    return np.where(size > 1, 2 * crops + (rank >= size / 2).astype(int), -1)


def _track_means(vectors, of_track, n_tracks):
    """(tracks, dim): the mean of each track's crops; 0 for a track without any."""
    sums = np.zeros((n_tracks, vectors.shape[1]), np.float32)
    np.add.at(sums, of_track, vectors)
    return sums / np.maximum(np.bincount(of_track, minlength=n_tracks), 1)[:, None]
