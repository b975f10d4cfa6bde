"""Training and evaluation of matchers: does this sound belong to this picture?"""

import math

import keras
import numpy as np
import pandas as pd

from birdlib import checkpoints, read_ahead, stages
from birdlib.losses import matching
from birdlib.metrics import bootstrap, classification, retrieval
from birdlib.models import batch_calls
from birdlib.multimodal import scene_encoders, scene_pairs

_DEPTHS = (1, 5, 10)
_PAIR_FIGURES = ("accuracy", "roc_auc", "equal_error_rate", "average_precision")
BATCH = 64  # scenes, or pairs, whose arrays are in memory at once


def fit(model, library, train, validation, loss, *, epochs=30, patience=6, pairs_an_epoch=1024, batch_size=32,
        learning_rate=1e-3, seed=0):  # fmt: skip
    """Train a matcher; keep the epoch with the best ROC-AUC of the probability on validation.

    Args:
        model: from ``scene_encoders.matcher``.
        train, validation: (pictures, sounds), rows of the library.
        loss: one of ``matching.LOSSES``.
        pairs_an_epoch: at least; more where there are many pictures or sounds, so that each is used about once.

    Returns:
        DataFrame: ``epoch, loss, validation_roc_auc, is_kept``.

    Raises:
        NothingToDoError: without two categories, there are no mismatches.
    """
    rng = np.random.default_rng(seed)
    validation_pairs = scene_pairs.pair(*validation, rng, n_each=4)
    if not len(scene_pairs.pair(*train, rng)):
        raise stages.NothingToDoError("no category has pictures and sounds beside another: nothing to learn from")
    model.compile(keras.optimizers.AdamW(learning_rate, weight_decay=1e-3, clipnorm=1.0), loss=matching.get(loss))
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    best, history, is_over = checkpoints.BestEpoch(model, patience), [], False
    while len(history) < epochs and not is_over:
        batches = _PairBatches(library, _sample_pairs(train, pairs_an_epoch, rng), list(model.input), batch_size)
        logs = model.fit(read_ahead.on_jax(batches), shuffle=False, verbose=0).history
        auc = np.nan
        if len(validation_pairs):
            auc = _auc(validation_pairs["match"], scores(model, library, validation_pairs)[0])
        history.append({"epoch": len(history) + 1, "loss": logs["loss"][-1], "validation_roc_auc": auc})
        is_over = best.update(auc)
    best.restore()
    table = pd.DataFrame(history)
    return table.assign(is_kept=table["epoch"] == best.kept)


def _sample_pairs(train, n_pairs, rng):
    """Every picture as often with a sound that matches as with one that does not; in random order."""
    n_pictures = max(len(train[0]), 1)
    n_each = max(round(len(train[1]) / n_pictures), math.ceil(n_pairs / 2 / n_pictures))
    table = scene_pairs.pair(*train, rng, n_each=n_each)
    return table.iloc[rng.permutation(len(table))]


class _PairBatches(keras.utils.PyDataset):
    """Pairs with their targets, a batch at a time, so that their arrays are never all in memory."""

    def __init__(self, library, table, names, batch_size):
        super().__init__()
        self.library, self.table, self.names, self.batch_size = library, table, names, batch_size
        categories = pd.concat([library.pictures["category"], library.sounds["category"]])
        self.of_pictures, self.of_sounds = np.split(pd.factorize(categories)[0], [len(library.pictures)])

    def __len__(self):
        return math.ceil(len(self.table) / self.batch_size)

    def __getitem__(self, step):
        rows = self.table.iloc[step * self.batch_size : (step + 1) * self.batch_size]
        targets = np.stack([rows["match"], self.of_sounds[rows["sound"]], self.of_pictures[rows["picture"]]], axis=1)
        return scene_pairs.inputs(self.library, rows, self.names), targets.astype(np.float32)


def scores(model, library, table):
    """(probability, cosine) of pairs, each (pairs,) float64. Each scene is encoded once.
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


def evaluate(model, library, rows, rng, threshold=0.5):
    """Figures of a matcher on scenes outside its training.

    Args:
        rows: (pictures, sounds), rows of the library.
        rng: samples the pairs: 8 that match and 8 that do not for every picture.
        threshold: of the probability, chosen on validation; for the accuracy.

    Returns:
        dict: accuracy, roc_auc, equal_error_rate, average_precision of pairs, and ``recall_at_1, 5, 10`` and ``mrr`` of sounds for a
        picture (``sound_...``) and of pictures for a sound; NaN where there is nothing to compare.
    """
    table = scene_pairs.pair(*rows, rng, n_each=8)
    figures = dict.fromkeys(_PAIR_FIGURES, np.nan)
    if len(table):
        truth = table["match"].to_numpy()
        probability, _ = scores(model, library, table)
        figures["accuracy"] = float(np.mean((probability >= threshold) == truth))
        figures["roc_auc"] = _auc(truth, probability)
        figures["equal_error_rate"] = classification.equal_error_rate(truth, probability)
        figures["average_precision"] = float(classification.average_precision(truth[:, None], probability[:, None])[0])
    categories = [side["category"].to_numpy() for side in rows]
    cosines = embed(model, library, rows[0], "picture") @ embed(model, library, rows[1], "sound").T
    for name, similarity, queries, gallery in (("sound", cosines, *categories), ("picture", cosines.T, *categories[::-1])):
        for depth in _DEPTHS:
            figures[f"{name}_recall_at_{depth}"] = retrieval.recall_at_k(similarity, queries, gallery, depth)
        figures[f"{name}_mrr"] = retrieval.mean_reciprocal_rank(similarity, queries, gallery)
    return figures


def tested_pairs(model, library, sets, rng):
    """The probabilities of pairs, to compare matchers pair by pair: the same sets and ``rng`` give the same pairs.

    Args:
        sets: {set: (pictures, sounds)}, rows of the library.
        rng: samples the pairs: 8 that match and 8 that do not for every picture.

    Returns:
        DataFrame: ``set, picture, sound`` (scene_ids), ``recording_id`` of the picture, ``match`` (0 or 1), ``probability``; no pair twice in a set.
    """
    tables = [pd.DataFrame(columns=["set", "picture", "sound", "recording_id", "match", "probability"])]
    for name, rows in sets.items():
        pairs = scene_pairs.pair(*rows, rng, n_each=8).drop_duplicates()
        if not len(pairs):
            continue
        pictures, sounds = library.pictures.loc[pairs["picture"]], library.sounds.loc[pairs["sound"]]
        columns = {"set": name, "picture": pictures["scene_id"].to_numpy(), "sound": sounds["scene_id"].to_numpy(), "recording_id": pictures["recording_id"].to_numpy()}
        tables.append(pd.DataFrame({**columns, "match": pairs["match"].to_numpy(int), "probability": scores(model, library, pairs)[0]}))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def pair_aucs(pairs, rng):
    """ROC-AUC of ``tested_pairs``: {set: [value, low, high]}, 90 %, bootstrapped by the picture's file; NaN where it is not defined."""
    return {
        name: bootstrap.interval(_auc, rows["match"], rows["probability"], groups=rows["recording_id"], rng=rng)
        for name, rows in pairs.groupby("set", sort=False)
    }


def best_threshold(model, library, validation, rng):
    """The probability with the best accuracy on validation pairs; 0.5 without any."""
    table = scene_pairs.pair(*validation, rng, n_each=8)
    if not len(table):
        return 0.5
    truth = table["match"].to_numpy()
    probability, _ = scores(model, library, table)
    thresholds = np.unique(np.append(probability, 0.5))
    return float(thresholds[np.argmax([np.mean((probability >= threshold) == truth) for threshold in thresholds])])


def embed(model, library, table, side):
    """Unit vectors of pictures (or sounds), (rows, dim) float32.

    ``table`` has rows of the library's pictures (or sounds); ``side`` is "sound" or "picture".
    """
    encoder = model.get_layer({"sound": "audio_encoder", "picture": "video_encoder"}[side])
    vectors = [np.zeros((0, encoder.output_shape[-1]), np.float32)]
    for first in range(0, len(table), BATCH):
        part = pd.DataFrame({side: table.index[first : first + BATCH]})
        vectors.append(batch_calls.outputs(encoder, scene_pairs.inputs(library, part, list(encoder.input)), BATCH))
    return np.concatenate(vectors)


def film_pairs(model, library, rows):
    """Every film with the sound of every film.

    Returns:
        DataFrame: ``film, sound_film, is_own`` (0 or 1), ``probability``, the mean over their scenes.
    """
    pictures, sounds = (table[table["kind"] == "film"].drop_duplicates("scene_id") for table in rows)
    table = pd.DataFrame([(p, s) for p in pictures.index for s in sounds.index], columns=["picture", "sound"])
    if not len(table):
        return pd.DataFrame(columns=["film", "sound_film", "is_own", "probability"])
    table["probability"], _ = scores(model, library, table)
    table["film"] = library.pictures["recording_id"].to_numpy()[table["picture"]]
    table["sound_film"] = library.sounds["recording_id"].to_numpy()[table["sound"]]
    means = table.groupby(["film", "sound_film"])["probability"].mean().reset_index()
    return means.assign(is_own=(means["film"] == means["sound_film"]).astype(int))[["film", "sound_film", "is_own", "probability"]]


def film_aucs(table, species_of, rng):
    """ROC-AUC of pairs of films: {"its own sound", "a sound of its species"}, each [value, low, high], 90 %, bootstrapped by film.

    Args:
        table: from ``film_pairs``.
        species_of: {recording_id: set of species}, none in a film that it lacks; None where species are not known: only "its own sound".
    """
    truths = {"its own sound": table["is_own"].to_numpy()}
    if species_of is not None:
        truths["a sound of its species"] = _share_species(table, species_of)
    if not len(table):
        return {name: [np.nan] * 3 for name in truths}
    probability, films = table["probability"], table["film"]
    return {name: bootstrap.interval(_auc, truth, probability, groups=films, rng=rng) for name, truth in truths.items()}


def _share_species(table, species_of):
    """(pairs,) of 0 and 1: whether the two films of a pair have a species in common."""
    films = zip(table["film"], table["sound_film"], strict=True)
    return np.array([int(bool(species_of.get(a, set()) & species_of.get(b, set()))) for a, b in films], dtype=int)


def _auc(truth, values):
    truth = np.asarray(truth)[:, None]
    return float(classification.roc_auc(truth, np.asarray(values, dtype=np.float64)[:, None])[0])
