"""Do this sound and this picture belong together? Pairs, training, and figures for any audio with any video encoder.

A pair is a picture scene and a sound scene (``scenes``), named by their rows. They match if their category is the same: the species,
or, for a film without one, the film. A film's pictures are paired with their own moment's sound.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import losses, metrics, retrieval, runtime, scene_encoders, scenes

DEPTHS = (1, 5, 10)
NAMELESS = "film:"  # category of a film without species begins so
REMEMBERED = 2048  # scenes whose arrays stay in memory: some 130 MB of each kind
PAIR_FIGURES = ("accuracy", "roc_auc", "equal_error_rate", "average_precision")
SOUGHT = ("sound", "picture")  # what is looked for, by the other
BATCH = 256  # scenes, or pairs, whose arrays are in memory at once


class CorrespondenceError(runtime.BirdlibError):
    """A training or a question that cannot be done as asked."""


@dataclasses.dataclass(frozen=True)
class Library:
    """Scenes and their arrays.

    Attributes:
        pictures, sounds: tables of ``scenes``, rows numbered from 0.
        picture_arrays: {"pixels", "features"}: functions of a row of pictures.
        sound_arrays: {"spectrogram"}: functions of a row of sounds.
    """

    pictures: pd.DataFrame
    sounds: pd.DataFrame
    picture_arrays: dict
    sound_arrays: dict


def can_learn(splits):
    """Whether the recordings of a split table give pairs: two species that can be seen and heard, or two films."""
    has_film = splits["video_path"] != ""
    seen, heard = (set(splits.loc[has_film | (splits[name] != ""), "species"]) for name in ("image_path", "audio_path"))
    return len(seen & heard - {""}) > 1 or splits.loc[has_film, "recording_id"].nunique() > 1


def library(pictures, sounds, store):
    """A library of the scenes of a store; what was read last stays in memory."""
    seen, heard = scenes.Arrays(store, pictures), scenes.Arrays(store, sounds)
    remember = functools.lru_cache(maxsize=REMEMBERED)
    pixels, features, spectrogram = (remember(read) for read in (seen.pixels, seen.features, heard.spectrogram))
    return Library(pictures, sounds, {"pixels": pixels, "features": features}, {"spectrogram": spectrogram})


def rows(library, split, without=()):
    """(pictures, sounds): the rows of one split, less some categories, and less what is repeated from another split."""
    return tuple(
        table[(table["split"] == split) & ~table["is_repeated"] & ~table["category"].isin(without)]
        for table in (library.pictures, library.sounds)
    )


def left_out(library, share, rng):
    """Species to keep out of training: drawn from those with pictures and sounds in train and in test.

    Args:
        share: of those species; where it is above 0 and more than three are there, two or more, that mismatches can be tested, and two or
            more stay to be learnt.

    Returns:
        sorted list of categories.
    """
    sides = [table[~table["is_repeated"] & (table["kind"] != "film")] for table in (library.pictures, library.sounds)]
    complete = [set(side.loc[side["split"] == split, "category"]) for side in sides for split in ("train", "test")]
    candidates = sorted(set.intersection(*complete))
    n = min(max(2, round(share * len(candidates))), len(candidates) - 2) if share > 0 and len(candidates) > 3 else 0
    return sorted(rng.choice(candidates, n, replace=False).tolist()) if n else []


def pair(pictures, sounds, rng, n_each=1):
    """Balanced pairs: for every picture ``n_each`` sounds that match, and as many that do not.

    A film's moment takes its own sound. A picture whose category has no sound is in no pair; a sound without pictures is in mismatches.

    Args:
        pictures, sounds: rows of a library's tables.
        rng: draws the partners.

    Returns:
        DataFrame: ``picture, sound`` (rows of the library), ``match`` (0 or 1).
    """
    of, moments = pictures["category"].to_numpy(), sounds["moment"].to_numpy()
    categories, found = sounds["category"].to_numpy(), []
    for row, category, moment in zip(pictures.index, of, pictures["moment"], strict=True):
        same = np.flatnonzero(categories == category)
        own = np.flatnonzero(moments == moment) if moment else np.zeros(0, int)
        matches = own if len(own) else same
        others = np.flatnonzero(categories != category)
        if len(matches) and len(others):
            found += [(row, sounds.index[i], 1) for i in rng.choice(matches, n_each)]
            found += [(row, sounds.index[i], 0) for i in rng.choice(others, n_each)]
    return pd.DataFrame(found, columns=["picture", "sound", "match"])


def nameless_films(library):
    """Categories of films without species, where species can be learnt without them: what they hold is not known, so with the sound of another
    they may be false mismatches. They are tested on, and not learnt from."""
    learnt = [{name for name in table["category"] if not name.startswith(NAMELESS)} for table in rows(library, "train")]
    if not learnt[0] & learnt[1] or len(learnt[1]) < 2:
        return []
    names = {*library.pictures["category"], *library.sounds["category"]}
    return sorted(name for name in names if name.startswith(NAMELESS))


def false_negatives(pictures, sounds):
    """What may be wrong with the mismatches that are learnt from, in words; ``""`` where every category is a species."""
    n_films = max(table.loc[table["category"].str.startswith(NAMELESS), "category"].nunique() for table in (pictures, sounds))
    if not n_films:
        return ""
    return f"{n_films} films without species are learnt from: with the sound of another they count as mismatches, and may hold the same birds"


def inputs(library, table, names):
    """What a matcher takes: {"pixels" or "features", "spectrogram"} float32, row-aligned with the pairs."""
    sides = {"spectrogram": ("sound", library.sound_arrays), **{n: ("picture", library.picture_arrays) for n in ("pixels", "features")}}
    arrays = {}
    for name in names:
        column, source = sides[name]
        arrays[name] = np.stack([np.asarray(source[name](row), np.float32) for row in table[column]])
    return arrays


def fit(model, library, train, validation, loss, *, epochs=30, patience=6, batch_size=32, learning_rate=1e-3, seed=0):
    """Train a matcher; keep the epoch with the best ROC-AUC of the probability on validation.

    Args:
        model: from ``scene_encoders.matcher``.
        train, validation: (pictures, sounds), rows of the library.
        loss: one of ``losses.MATCH_LOSSES``.

    Returns:
        DataFrame: ``epoch, loss, validation_roc_auc, is_kept``.

    Raises:
        CorrespondenceError: if there are no two categories to tell apart.
    """
    import keras

    rng = np.random.default_rng(seed)
    checked = pair(*validation, rng, n_each=4)
    if not len(pair(*train, rng)):
        raise CorrespondenceError("no category has pictures and sounds beside another: nothing to learn from")
    model.compile(keras.optimizers.AdamW(learning_rate, weight_decay=1e-3, clipnorm=1.0), loss=losses.get(loss))
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    best, history = (-1.0, model.get_weights(), 0), []
    for epoch in range(epochs):
        arrays, targets = _epoch(library, train, rng, list(model.input))
        logs = model.fit(arrays, targets, batch_size=batch_size, verbose=0).history
        auc = _auc(checked["match"], scores(model, library, checked)[0]) if len(checked) else np.nan
        history.append({"epoch": epoch + 1, "loss": logs["loss"][-1], "validation_roc_auc": auc})
        if auc > best[0] or np.isnan(auc):
            best = (auc, model.get_weights(), epoch)
        if epoch - best[2] >= patience:
            break
    model.set_weights(best[1])
    table = pd.DataFrame(history)
    return table.assign(is_kept=table["epoch"] == best[2] + 1)


def _epoch(library, train, rng, names):
    """Every picture with matches and mismatches, about as many of each as there are sounds; in random order."""
    drawn = pair(*train, rng, n_each=max(1, round(len(train[1]) / max(len(train[0]), 1))))
    drawn = drawn.iloc[rng.permutation(len(drawn))]
    categories = pd.factorize(pd.concat([library.pictures["category"], library.sounds["category"]]))[0]
    of_pictures, of_sounds = np.split(categories, [len(library.pictures)])
    targets = np.stack([drawn["match"], of_sounds[drawn["sound"]], of_pictures[drawn["picture"]]], axis=1)
    return inputs(library, drawn, names), targets.astype(np.float32)


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
    table = pair(*some, rng, n_each=8)
    figures = dict.fromkeys(PAIR_FIGURES, np.nan)
    if len(table):
        truth = table["match"].to_numpy()
        probability, _ = scores(model, library, table)
        figures["accuracy"] = float(np.mean((probability >= threshold) == truth))
        figures["roc_auc"] = _auc(truth, probability)
        figures["equal_error_rate"] = metrics.equal_error_rate(truth, probability)
        figures["average_precision"] = float(metrics.average_precision(truth[:, None], probability[:, None])[0])
    sides = [one["category"].to_numpy() for one in some]
    cosines = embed(model, library, some[0], "picture") @ embed(model, library, some[1], "sound").T
    for what, found, asked, among in (("sound", cosines, *sides), ("picture", cosines.T, *sides[::-1])):
        for depth in DEPTHS:
            figures[f"{what}_recall_at_{depth}"] = retrieval.recall_at_k(found, asked, among, depth)
        figures[f"{what}_mrr"] = retrieval.mean_reciprocal_rank(found, asked, among)
    return figures


def best_threshold(model, library, validation, rng):
    """The probability at which most validation pairs are told rightly."""
    table = pair(*validation, rng, n_each=8)
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
        side: one of ``SOUGHT``.
    """
    encoder = model.get_layer({"sound": "audio_encoder", "picture": "video_encoder"}[side])
    vectors = [np.zeros((0, encoder.output_shape[-1]), np.float32)]
    for first in range(0, len(table), BATCH):
        part = pd.DataFrame({side: table.index[first : first + BATCH]})
        vectors.append(encoder.predict(inputs(library, part, list(encoder.input)), verbose=0))
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


def film_auc(table, truth, rng):
    """ROC-AUC of the pairs of films: [value, low, high], 90 %, bootstrapped by film.

    Args:
        table: from ``film_pairs``.
        truth: (pairs,) of 0 and 1.
    """
    if not len(table):
        return [np.nan] * 3
    return [float(v) for v in metrics.bootstrap_interval(_auc, truth, table["probability"], groups=table["film"], rng=rng)]


def share_species(table, casts):
    """(pairs,) of 0 and 1: whether the two films of a pair have a species in common.

    Args:
        table: from ``film_pairs``.
        casts: {recording_id: set of species}; none in a film that it lacks.
    """
    shared = [casts.get(a, set()) & casts.get(b, set()) for a, b in zip(table["film"], table["sound_film"], strict=True)]
    return np.array([int(bool(species)) for species in shared], dtype=int)


def thin_categories(library):
    """Categories that can match nothing, or hardly: ``(category, what is lacking)``, in training."""
    pictures, sounds = (table["category"].value_counts() for table in rows(library, "train"))
    found = []
    for name in sorted(set(pictures.index) | set(sounds.index)):
        n_seen, n_heard = pictures.get(name, 0), sounds.get(name, 0)
        if not (n_seen and n_heard):
            lacking = "sound in training: it is not learnt" if n_seen else "picture in training: it serves for mismatches only"
            found.append((f"category {name}", f"no {lacking}"))
        elif n_seen == n_heard == 1:
            found.append((f"category {name}", "one picture and one sound in training: one pair that matches"))
    return found


def grid(audio, video, loss, n_seeds):
    """Every combination: list of dict ``audio, video, loss, seed``. ``"all"`` in place of names takes all there are.

    Raises:
        CorrespondenceError: for a name that does not exist; it lists those that do. For less than one seed.
    """
    if n_seeds < 1:
        raise CorrespondenceError(f"n_seeds = {n_seeds}: train each combination once or more")
    known = {"audio": scene_encoders.AUDIO, "video": scene_encoders.VIDEO, "loss": losses.MATCH_LOSSES}
    chosen = {}
    for what, text in {"audio": audio, "video": video, "loss": loss}.items():
        names = list(known[what]) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known[what]]
        if unknown or not names:
            raise CorrespondenceError(f"{what} {', '.join(unknown) or 'names nothing'}: choose all, or some of {', '.join(known[what])}")
        chosen[what] = names
    return [
        {"audio": a, "video": v, "loss": one, "seed": seed}
        for one in chosen["loss"] for a in chosen["audio"] for v in chosen["video"] for seed in range(n_seeds)
    ]  # fmt: skip


def _auc(truth, values):
    truth = np.asarray(truth)[:, None]
    return float(metrics.roc_auc(truth, np.asarray(values, dtype=np.float64)[:, None])[0])
