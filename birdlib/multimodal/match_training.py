"""Do this sound and this picture belong together? Training, and figures for any audio with any video encoder."""

import functools
import math

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import metric_learning
from birdlib.metrics import bootstrap, classification, retrieval
from birdlib.multimodal import scene_encoders, scene_pairs

_DEPTHS = (1, 5, 10)
PAIR_FIGURES = ("accuracy", "roc_auc", "equal_error_rate", "average_precision")
BATCH = 256  # scenes, or pairs, whose arrays are in memory at once


class CorrespondenceError(runtime.BirdlibError):
    """A training or a question that cannot be done as asked."""


def fit(
    model, library, train, validation, loss, *, epochs=30, patience=6, pairs_an_epoch=1024, batch_size=32, learning_rate=1e-3, seed=0
):
    """Train a matcher; keep the epoch with the best ROC-AUC of the probability on validation.

    Args:
        model: from ``scene_encoders.matcher``.
        train, validation: (pictures, sounds), rows of the library.
        loss: one of ``losses.MATCH_LOSSES``.
        pairs_an_epoch: at least; more where there are many pictures or sounds, so that each is met about once.

    Returns:
        DataFrame: ``epoch, loss, validation_roc_auc, is_kept``.

    Raises:
        CorrespondenceError: if there are no two categories to tell apart.
    """
    import keras

    rng = np.random.default_rng(seed)
    checked = scene_pairs.pair(*validation, rng, n_each=4)
    if not len(scene_pairs.pair(*train, rng)):
        raise CorrespondenceError("no category has pictures and sounds beside another: nothing to learn from")
    model.compile(keras.optimizers.AdamW(learning_rate, weight_decay=1e-3, clipnorm=1.0), loss=metric_learning.get(loss))
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    best, history = (-1.0, model.get_weights(), 0), []
    for epoch in range(epochs):
        drawn = _draw(train, pairs_an_epoch, rng)
        logs = model.fit(_batches()(library, drawn, list(model.input), batch_size), shuffle=False, verbose=0).history
        auc = _auc(checked["match"], scores(model, library, checked)[0]) if len(checked) else np.nan
        history.append({"epoch": epoch + 1, "loss": logs["loss"][-1], "validation_roc_auc": auc})
        if auc > best[0] or np.isnan(auc):
            best = (auc, model.get_weights(), epoch)
        if epoch - best[2] >= patience:
            break
    model.set_weights(best[1])
    table = pd.DataFrame(history)
    return table.assign(is_kept=table["epoch"] == best[2] + 1)


def _draw(train, n_pairs, rng):
    """Every picture as often with a sound that matches as with one that does not; in random order."""
    n_pictures = max(len(train[0]), 1)
    n_each = max(round(len(train[1]) / n_pictures), math.ceil(n_pairs / 2 / n_pictures))
    drawn = scene_pairs.pair(*train, rng, n_each=n_each)
    return drawn.iloc[rng.permutation(len(drawn))]


@functools.cache
def _batches():
    """A Keras class, made on first use, so that importing birdlib does not import Keras."""
    import keras

    class PairBatches(keras.utils.PyDataset):
        """Pairs with their targets, a batch at a time: their arrays are never all in memory."""

        def __init__(self, library, drawn, names, batch_size):
            super().__init__()
            self.library, self.drawn, self.names, self.batch_size = library, drawn, names, batch_size
            categories = pd.concat([library.pictures["category"], library.sounds["category"]])
            self.of_pictures, self.of_sounds = np.split(pd.factorize(categories)[0], [len(library.pictures)])

        def __len__(self):
            return math.ceil(len(self.drawn) / self.batch_size)

        def __getitem__(self, step):
            some = self.drawn.iloc[step * self.batch_size : (step + 1) * self.batch_size]
            targets = np.stack([some["match"], self.of_sounds[some["sound"]], self.of_pictures[some["picture"]]], axis=1)
            return scene_pairs.inputs(self.library, some, self.names), targets.astype(np.float32)

    return PairBatches


def scores(model, library, table):
    """(probability, cosine) of pairs, each (pairs,) float64. A scene is encoded once, in however many pairs it is.

    Args:
        table: ``picture, sound``, rows of the library.
    """
    vectors = []
    for side, scenes_of in (("sound", library.sounds), ("picture", library.pictures)):
        needed, numbers = np.unique(table[side].to_numpy(int), return_inverse=True)
        vectors.append((embed(model, library, scenes_of.loc[needed], side), numbers))
    head, logits, cosines = scene_encoders.head(model), [np.zeros(0)], [np.zeros(0)]
    for first in range(0, len(table), BATCH):
        audio, video = (embedded[numbers[first : first + BATCH]] for embedded, numbers in vectors)
        logits.append(np.asarray(head([audio, video], training=False), np.float64)[:, 0])
        cosines.append(np.sum(audio * video, axis=1, dtype=np.float64))
    return 1.0 / (1.0 + np.exp(-np.concatenate(logits))), np.concatenate(cosines)


def evaluate(model, library, some, rng, threshold=0.5):
    """Figures of a matcher on scenes it did not learn from.

    Args:
        some: (pictures, sounds), rows of the library.
        rng: draws the pairs: 8 that match and 8 that do not for every picture.
        threshold: of the probability, chosen on validation; for the accuracy.

    Returns:
        dict: ``PAIR_FIGURES``, and ``recall_at_1, 5, 10`` and ``mrr`` of sounds for a picture (``sound_...``) and pictures for a sound; NaN
        where there is nothing to compare.
    """
    table = scene_pairs.pair(*some, rng, n_each=8)
    figures = dict.fromkeys(PAIR_FIGURES, np.nan)
    if len(table):
        truth = table["match"].to_numpy()
        probability, _ = scores(model, library, table)
        figures["accuracy"] = float(np.mean((probability >= threshold) == truth))
        figures["roc_auc"] = _auc(truth, probability)
        figures["equal_error_rate"] = classification.equal_error_rate(truth, probability)
        figures["average_precision"] = float(classification.average_precision(truth[:, None], probability[:, None])[0])
    sides = [one["category"].to_numpy() for one in some]
    cosines = embed(model, library, some[0], "picture") @ embed(model, library, some[1], "sound").T
    for what, found, asked, among in (("sound", cosines, *sides), ("picture", cosines.T, *sides[::-1])):
        for depth in _DEPTHS:
            figures[f"{what}_recall_at_{depth}"] = retrieval.recall_at_k(found, asked, among, depth)
        figures[f"{what}_mrr"] = retrieval.mean_reciprocal_rank(found, asked, among)
    return figures


def best_threshold(model, library, validation, rng):
    """The probability at which most validation pairs are told rightly."""
    table = scene_pairs.pair(*validation, rng, n_each=8)
    if not len(table):
        return 0.5
    truth = table["match"].to_numpy()
    probability, _ = scores(model, library, table)
    cuts = np.unique(np.append(probability, 0.5))
    return float(cuts[np.argmax([np.mean((probability >= cut) == truth) for cut in cuts])])


def embed(model, library, table, side):
    """Unit vectors of pictures (or sounds), (rows, dim) float32.

    Args:
        table: rows of the library's pictures (or sounds).
        side: ``sound`` or ``picture``.
    """
    encoder = model.get_layer({"sound": "audio_encoder", "picture": "video_encoder"}[side])
    vectors = [np.zeros((0, encoder.output_shape[-1]), np.float32)]
    for first in range(0, len(table), BATCH):
        part = pd.DataFrame({side: table.index[first : first + BATCH]})
        vectors.append(encoder.predict(scene_pairs.inputs(library, part, list(encoder.input)), verbose=0))
    return np.concatenate(vectors)


def film_pairs(model, library, some):
    """Every film with the sound of every film.

    Args:
        some: (pictures, sounds), rows of the library; those of films count.

    Returns:
        DataFrame: ``film, sound_film, is_own`` (0 or 1), ``probability``, the mean over their scenes.
    """
    seen, heard = (table[table["kind"] == "film"].drop_duplicates("scene_id") for table in some)
    table = pd.DataFrame([(p, s) for p in seen.index for s in heard.index], columns=["picture", "sound"])
    if not len(table):
        return pd.DataFrame(columns=["film", "sound_film", "is_own", "probability"])
    table["probability"], _ = scores(model, library, table)
    table["film"] = library.pictures["recording_id"].to_numpy()[table["picture"]]
    table["sound_film"] = library.sounds["recording_id"].to_numpy()[table["sound"]]
    means = table.groupby(["film", "sound_film"])["probability"].mean().reset_index()
    return means.assign(is_own=(means["film"] == means["sound_film"]).astype(int))[["film", "sound_film", "is_own", "probability"]]


def film_aucs(table, casts, rng):
    """ROC-AUC of the pairs of films by what is asked: {"its own sound", "a sound of its species"}, each as ``film_auc`` gives it.

    Args:
        table: from ``film_pairs``.
        casts: of ``share_species``; None where they are not known, and the species not asked for.
    """
    asked = {"its own sound": table["is_own"].to_numpy()}
    if casts is not None:
        asked["a sound of its species"] = share_species(table, casts)
    return {name: film_auc(table, truth, rng) for name, truth in asked.items()}


def film_auc(table, truth, rng):
    """ROC-AUC of the pairs of films: [value, low, high], 90 %, bootstrapped by film.

    Args:
        table: from ``film_pairs``.
        truth: (pairs,) of 0 and 1.
    """
    if not len(table):
        return [np.nan] * 3
    return bootstrap.interval(_auc, truth, table["probability"], groups=table["film"], rng=rng)


def share_species(table, casts):
    """(pairs,) of 0 and 1: whether the two films of a pair have a species in common.

    Args:
        table: from ``film_pairs``.
        casts: {recording_id: set of species}; none in a film that it lacks.
    """
    shared = [casts.get(a, set()) & casts.get(b, set()) for a, b in zip(table["film"], table["sound_film"], strict=True)]
    return np.array([int(bool(species)) for species in shared], dtype=int)


def _auc(truth, values):
    truth = np.asarray(truth)[:, None]
    return float(classification.roc_auc(truth, np.asarray(values, dtype=np.float64)[:, None])[0])
