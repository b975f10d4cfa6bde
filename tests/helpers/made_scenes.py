"""Scenes of synthetic recordings, photos and films, a small matcher, and perfect or random scores in its place."""

import numpy as np
import pandas as pd

from birdlib.multimodal import match_training, scene_encoders, scene_pairs

DIM = 8
PERFECT, RANDOM = "perfect", "random"
SIDES = ("sound", "picture")
ONE = {"audio": "cnn", "video": "cnn_average", "loss": "bce", "seed": 0}


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(kind, category, recording_id, split="train", start_s=0.0, is_repeated=False):
    moment = f"{recording_id}@{start_s:.1f}" if kind == "film" else ""
    own = {"scene_id": f"{recording_id}/{kind}@{start_s}", "recording_id": recording_id, "kind": kind}
    own |= {"category": category, "split": split, "moment": moment, "start_s": start_s}
    return own | {"is_repeated": is_repeated, "path": f"{recording_id}.{kind}"}


def film(recording_id, split="train", species="", n=2, **options):
    """The scenes of a film, the same for both sides."""
    category = species or f"film:{recording_id}"
    return [scene("film", category, recording_id, split, 2.0 * k, **options) for k in range(n)]


def media(species, split="train", n=3, kind="photo"):
    return [scene(kind, species, f"{species}-{split}-{kind}-{k}", split) for k in range(n)]


def library(pictures, sounds, noise=0.3, seed=0):
    """Its arrays are the vector of the category, and noise: (2, 8) for each side."""
    pictures, sounds = (pd.DataFrame(rows, columns=list(scene("", "", ""))) for rows in (pictures, sounds))
    categories = sorted({*pictures["category"], *sounds["category"]})
    centres = dict(zip(categories, rng(1).normal(size=(len(categories), 2, 8)), strict=True))

    def arrays(table, generator):
        values = [centres[category] + noise * generator.normal(size=(2, 8)) for category in table["category"]]
        return lambda row: values[row]

    frames, spectrograms = arrays(pictures, rng(seed)), arrays(sounds, rng(seed + 1))
    return scene_pairs.Library(pictures, sounds, {"features": frames, "pixels": frames}, {"spectrogram": spectrograms})


def birds(n_species=6, splits=("train", "validation", "test"), n=3, **options):
    pictures = [one for k in range(n_species) for split in splits for one in media(f"s{k}", split, n)]
    sounds = [one for k in range(n_species) for split in splits for one in media(f"s{k}", split, n, "recording")]
    return library(pictures, sounds, **options)


def everything(seed):
    """Photos, recordings and films, with and without species, in any split, some repeated."""
    draw, sides = rng(seed), ([], [])
    for k in range(draw.integers(3, 9)):
        for side, kind in zip(sides, ("photo", "recording"), strict=True):
            for n in range(draw.integers(0, 7)):
                split = draw.choice(["train", "validation", "test"])
                is_repeated = bool(draw.random() < 0.1)
                side.append(scene(kind, f"s{k}", f"{kind} {k} {n}", split, is_repeated=is_repeated))
    for k in range(draw.integers(0, 8)):
        species = draw.choice(["", f"s{draw.integers(6)}"])
        split = draw.choice(["train", "validation", "test"])
        for side in sides:
            side += film(f"v{k}", split, species, is_repeated=bool(draw.random() < 0.1))
    return library(*sides)


def small_encoder(name, kind):
    import keras

    from birdlib.models import layers as vector_layers

    inputs = keras.Input((2, 8), name=name)
    x = keras.layers.Dense(DIM, name="dense")(keras.layers.Flatten()(inputs))
    return keras.Model({name: inputs}, vector_layers.UnitVector(name="unit")(x), name=f"{kind}_encoder")


def small_matcher(joint=False, seed=0):
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    return scene_encoders.matcher(small_encoder("spectrogram", "audio"), small_encoder("features", "video"), joint)


def put_scorer(monkeypatch, kind):
    """Perfect or random scores and embeddings in place of the network."""

    def scores(model, library, table):
        match = library.pictures["category"].to_numpy()[table["picture"].to_numpy(int)]
        match = match == library.sounds["category"].to_numpy()[table["sound"].to_numpy(int)]
        values = match.astype(float) if kind == PERFECT else rng(7).random(len(table))
        return values, values

    def embed(model, library, table, side):
        names = sorted({*library.pictures["category"], *library.sounds["category"]})
        if kind == PERFECT:
            return np.eye(len(names))[[names.index(category) for category in table["category"]]]
        return rng(SIDES.index(side)).normal(size=(len(table), 5))

    monkeypatch.setattr(match_training, "scores", scores)
    monkeypatch.setattr(match_training, "embed", embed)


def results(figures):
    """{(loss, seed): {set: ROC-AUC}} as a table."""
    rows = [
        {**ONE, "loss": loss, "seed": seed, "set": name, "roc_auc": auc, "seconds": 1.0, "epochs": 1}
        for (loss, seed), of in figures.items()
        for name, auc in of.items()
    ]
    return pd.DataFrame(rows)
