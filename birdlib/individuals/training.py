"""Learning who is who from what is certain: crops of one track are one bird, birds that share a picture are two.

``identity_relations.relations`` (tracks, tracks) int8 say what is known: 1 surely the same bird, -1 surely different ones, 0 not known, which teaches
nothing. A track is its own relation, so every two crops of it are alike. Every function that draws by lot takes ``rng``.
"""

import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import clustering, track_encoder

_TEMPERATURE = 0.1
_STANDARD = 512  # crops tell the scale of numbers
_HALVES = 2  # of a track in time, which validation takes for two sightings of one bird
COMPANY = 4  # birds that come into a batch together: one by lot, and some that are known to be others
_NEAREST = 20  # of the tracks of others that are the most alike, they are drawn
_REFRESH = 10  # epochs after which it is asked anew what is alike


class IdentityTrainingError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def fit(encoder, arrays, of_track, known, *, held_out=None, n_tracks=40, n_crops=3, n_steps=20, epochs=20, patience=8,
        learning_rate=4e-3, weight_decay=1e-3, sound_dropout=0.5, rng):  # fmt: skip
    """Train an encoder by ``relation_loss`` on what is known; keep the epoch that tells held-out tracks apart best.

    Args:
        encoder: from ``track_encoders.encoder``.
        arrays: {"features", "map"} of the crops, from ``backbones.see``, and if the encoder hears, {"heard": (tracks, 125, 128),
            "has_sound": (tracks,) bool}.
        of_track: (crops,) int, row of ``known``; crops of a track in the order of time.
        known: ``identity_relations.relations``.
        held_out: (tracks,) bool; None or none at all keeps the last epoch.
        n_tracks, n_crops: P × K of a batch: tracks, crops of each.
        n_steps: batches of an epoch.
        epochs: at most.
        patience: epochs without a better validation.
        learning_rate, weight_decay: of AdamW; the rate falls to nothing over ``epochs``.
        sound_dropout: share of tracks whose sound is not listened to.
        rng: of batches.

    Returns:
        DataFrame, a row an epoch: ``epoch, loss, validation, is_kept``. ``validation`` is the average precision of the pairs of
        held-out sightings (each half of a track) that are known to be one bird or two.

    Raises:
        IdentityTrainingError: if there is nothing to tell apart, or a number is too small.
    """
    import keras

    known, of_track = np.asarray(known), np.asarray(of_track)
    held_out = np.zeros(len(known), bool) if held_out is None else np.asarray(held_out, bool)
    if min(n_tracks, n_crops) < 2 or min(n_steps, epochs, patience) < 1:
        raise IdentityTrainingError("n_tracks and n_crops must be 2 or more, n_steps, epochs and patience 1 or more")
    if not (known[~held_out][:, ~held_out] == -1).any():
        raise IdentityTrainingError(
            "no two tracks are known to be different birds: add films in which birds are seen together, labelled ones, or invented ones"
        )
    rows = np.flatnonzero(~held_out[of_track])
    rows = rows[:: -(-len(rows) // _STANDARD)]
    track_encoder.standardise(encoder, [arrays[name][rows] for name in ("features", "map")])
    batches = _classes()["RelationBatches"](
        arrays, of_track, known, ~held_out, list(encoder.input), n_tracks, n_crops, n_steps, sound_dropout, rng
    )
    best = _classes()["BestEpoch"](encoder, arrays, of_track, known, held_out, batches, patience)
    model = keras.Model(encoder.input, encoder.output)
    n_warm = min(n_steps, 20)
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate, epochs * n_steps, alpha=0.02, warmup_target=learning_rate, warmup_steps=n_warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, clipnorm=1.0)
    model.compile(optimizer, loss=relation_loss(known, n_crops))
    history = model.fit(batches, epochs=epochs, callbacks=[best], verbose=0).history
    encoder.set_weights(best.weights)
    table = pd.DataFrame({"loss": history["loss"], "validation": history["validation"]})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table.assign(is_kept=table["epoch"] == best.kept)


def relation_loss(known, n_crops=1):
    """Supervised contrastive loss of what is known of tracks, each being the mean of some crops; all else is ignored.

    Khosla et al., "Supervised Contrastive Learning", 2020, its denominator over what is known to be the same bird or another.

    Args:
        known: ``identity_relations.relations``.
        n_crops: consecutive crops of a batch that are of one track and stand for it together, as a track is embedded.

    Returns:
        function (rows of tracks (batch,), embeddings (batch, dim)) → float; 0 where nothing is known.
    """
    from keras import ops

    known = np.asarray(known)

    def loss(tracks, embeddings):
        tracks = ops.cast(ops.reshape(tracks, (-1,)), "int32")[::n_crops]
        means = ops.mean(ops.reshape(embeddings, (-1, n_crops, embeddings.shape[-1])), axis=1)
        means = means * ops.rsqrt(ops.sum(ops.square(means), axis=1, keepdims=True) + 1e-12)
        table = ops.convert_to_tensor(known, dtype="int32")
        relation = ops.take(ops.take(table, tracks, axis=0), tracks, axis=1)  # (sets, sets)
        others = ops.logical_not(ops.eye(ops.shape(tracks)[0], dtype="bool"))
        cosines = ops.matmul(means, ops.transpose(means)) / _TEMPERATURE
        counted = ops.where(ops.logical_and(relation != 0, others), cosines, -1e9)
        log_share = cosines - ops.logsumexp(counted, axis=1, keepdims=True)
        positives = ops.cast(ops.logical_and(relation == 1, others), "float32")
        n_positives = ops.sum(positives, axis=1)
        is_told = ops.cast(n_positives > 0, "float32")
        costs = -ops.sum(ops.where(positives > 0, log_share, 0.0), axis=1) / ops.maximum(n_positives, 1.0)
        return ops.sum(costs * is_told) / ops.maximum(ops.sum(is_told), 1.0)

    return loss


def _track_means(numbers, of_track, n_tracks):
    """(tracks, dim): the mean of each track's crops; 0 for a track without any."""
    sums = np.zeros((n_tracks, numbers.shape[1]), np.float32)
    np.add.at(sums, of_track, numbers)
    return sums / np.maximum(np.bincount(of_track, minlength=n_tracks), 1)[:, None]


def halves(of_track):
    """(crops,) int: which half of its track in time a crop belongs to, 2 * track + 0 or 1; -1 for a track of one crop."""
    crops = pd.Series(np.asarray(of_track))
    place, size = crops.groupby(crops).cumcount(), crops.groupby(crops).transform("size")
    half = (place >= size / _HALVES).astype(int)
    return np.where(size > 1, _HALVES * crops + half, -1)


def average_precision(embeddings, of_track, known):
    """How well the cosine of two sightings, each half of a track, says whether they are one bird.

    Args:
        embeddings: (crops, dim).
        of_track: (crops,) int.
        known: ``identity_relations.relations``.

    Returns:
        float in [0, 1]; NaN without pairs of both kinds.
    """
    from sklearn.metrics import average_precision_score

    half = halves(of_track)
    names, number = np.unique(half[half >= 0], return_inverse=True)
    if len(names) < 2:
        return float("nan")
    means = clustering.mean_embeddings(embeddings[half >= 0], number)
    a, b = np.triu_indices(len(names), 1)
    truth = np.asarray(known)[names[a] // _HALVES, names[b] // _HALVES]
    cosines = np.sum(means[a] * means[b], axis=1)[truth != 0]
    truth = truth[truth != 0]
    return float(average_precision_score(truth == 1, cosines)) if len(set(truth)) == 2 else float("nan")


@functools.cache
def _classes():
    """Keras classes of this module, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class RelationBatches(keras.utils.PyDataset):
        """Birds that have to do with each other: one by lot and some that look much like it, of each two tracks, or one twice."""

        def __init__(self, arrays, of_track, known, is_train, names, n_tracks, n_crops, n_steps, sound_dropout, rng):
            super().__init__()
            self.arrays, self.known, self.names, self.rng = arrays, known, names, rng
            self.n_tracks, self.n_crops, self.n_steps, self.sound_dropout = n_tracks, n_crops, n_steps, sound_dropout
            self.crops = pd.Series(np.arange(len(of_track))).groupby(of_track).indices
            self.train = np.array([track for track in np.flatnonzero(is_train) if track in self.crops])
            self.look_at(arrays["map"].mean(axis=(1, 2), dtype=np.float32), of_track)

        def look_at(self, numbers, of_track):
            """Take what is alike from (crops, numbers) of any kind."""
            means = _track_means(numbers, of_track, len(self.known))
            means = (means - means.mean(axis=0)) / (means.std(axis=0) + 1e-6)
            means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-6
            self.cosines = means @ means.T

        def __len__(self):
            return self.n_steps

        def __getitem__(self, step):
            chosen = []
            while len(chosen) < self.n_tracks:
                track = self.rng.choice(self.train)
                others = self.train[self.known[track, self.train] == -1]
                nearest = others[np.argsort(-self.cosines[track, others], kind="stable")[:_NEAREST]]
                company = (
                    self.rng.choice(nearest, min(len(nearest), COMPANY - 1), replace=False) if len(nearest) else []
                )
                for bird in (track, *company):
                    same = self.train[(self.known[bird, self.train] == 1) & (self.train != bird)]
                    chosen += [bird, self.rng.choice(same) if len(same) else bird]
            tracks = np.repeat(chosen[: self.n_tracks], self.n_crops)
            rows = np.concatenate([self._crops_of(track) for track in chosen[: self.n_tracks]])
            return self._inputs(rows, tracks), tracks

        def _crops_of(self, track):
            crops = self.crops[track]
            return self.rng.choice(crops, self.n_crops, replace=len(crops) < self.n_crops)

        def _inputs(self, rows, tracks):
            maps = self.arrays["map"][rows]
            if self.rng.random() < 0.5:  # the bird looks the other way
                maps = maps[:, :, ::-1]
            inputs = {"map": maps}
            if "features" in self.names:
                inputs["features"] = self.arrays["features"][rows]
            if "spectrogram" in self.names:
                is_listened_to = self.rng.random(len(self.known)) >= self.sound_dropout
                has_sound = self.arrays["has_sound"][tracks] & is_listened_to[tracks]
                inputs |= {"spectrogram": self.arrays["heard"][tracks], "has_sound": np.float32(has_sound)[:, None]}
            return inputs

    class BestEpoch(keras.callbacks.Callback):
        """Validates by held-out tracks, keeps the best weights, stops after ``patience`` epochs, tells the batches what is alike."""

        def __init__(self, encoder, arrays, of_track, known, held_out, batches, patience):
            super().__init__()
            self.encoder, self.arrays, self.of_track, self.known = encoder, arrays, of_track, known
            self.held_out, self.batches, self.patience = held_out[of_track], batches, patience
            crops = pd.Series(of_track)
            self.is_end = ~(
                crops.duplicated() & crops.duplicated(keep="last")
            ).to_numpy()  # a track's first crop and its last
            self.kept, self.best, self.weights = 0, -np.inf, encoder.get_weights()

        def on_epoch_end(self, epoch, logs=None):
            is_asked = (epoch + 1) % _REFRESH == 0
            rows = np.flatnonzero(self.held_out | (is_asked & self.is_end))
            sound = [self.arrays[name][self.of_track[rows]] for name in ("heard", "has_sound") if name in self.arrays]
            seen = self.arrays["features"][rows], self.arrays["map"][rows]
            embeddings = track_encoder.embed_crops(self.encoder, seen, *sound)
            if is_asked:
                self.batches.look_at(embeddings, self.of_track[rows])
            is_held = self.held_out[rows]
            value = average_precision(embeddings[is_held], self.of_track[rows][is_held], self.known)
            logs["validation"] = value
            if value > self.best or np.isnan(value):
                self.best, self.kept, self.weights = value, epoch + 1, self.encoder.get_weights()
            if epoch + 1 - self.kept >= self.patience:
                self.model.stop_training = True

    return {"RelationBatches": RelationBatches, "BestEpoch": BestEpoch}
