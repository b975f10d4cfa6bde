"""Every way to hear with every way to see: one table of all combinations, which later runs extend, and the best of them."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import metric_learning
from birdlib.multimodal import match_training, scene_encoders, scene_pairs, scenes

COMBINATION = ["audio", "video", "loss", "seed"]
MATCHER = "matcher.keras"
SETS = ("validation", "unseen media", "unseen species", "unseen films")


def grid(audio, video, loss, n_seeds):
    """Every combination: list of dict ``audio, video, loss, seed``. ``"all"`` in place of names takes all there are.

    Raises:
        CorrespondenceError: for a name that does not exist; it lists those that do. For less than one seed.
    """
    if n_seeds < 1:
        raise match_training.CorrespondenceError(f"n_seeds = {n_seeds}: train each combination once or more")
    known = {"audio": scene_encoders.AUDIO, "video": scene_encoders.VIDEO, "loss": metric_learning.MATCH_LOSSES}
    chosen = {}
    for what, text in {"audio": audio, "video": video, "loss": loss}.items():
        names = list(known[what]) if text == "all" else runtime.names(text)
        unknown = [name for name in names if name not in known[what]]
        if unknown or not names:
            raise match_training.CorrespondenceError(f"{what} {', '.join(unknown) or 'names nothing'}: choose all, or some of {', '.join(known[what])}")
        chosen[what] = names
    return [
        {"audio": a, "video": v, "loss": one, "seed": seed}
        for one in chosen["loss"] for a in chosen["audio"] for v in chosen["video"] for seed in range(n_seeds)
    ]  # fmt: skip


def key(inputs, backbone, unseen_share, precision, **options):
    """Digest of all that changes the figures of a combination: what it is made of, and how.

    Args:
        inputs: digests of the stages that are read.
        backbone: what sees the pictures; None where there are none.
        options: of ``run``.
    """
    how = {"unseen": unseen_share, "precision": precision, **options}
    return runtime.digest({**how, **inputs, "scenes": scenes.STORE_KEY, "seen with": backbone.key if backbone else ""})


def run(combinations, library, left_out, folder, key, *, seed, **options):
    """Train and judge every combination that the table does not have yet.

    Each is kept as soon as it is there: the table is written anew, with its model beside it.

    Args:
        combinations: from ``grid``.
        library: ``scene_pairs.Library``.
        left_out: categories kept out of training.
        folder: of the stage.
        key: of all else that changes the figures; rows of another key are dropped.
        seed: added to that of a combination.
        options: ``epochs, patience, pairs_an_epoch, learning_rate`` of ``correspondence.fit``.

    Returns:
        DataFrame, a row for each combination and set: ``audio, video, loss, seed, set, seconds, epochs, threshold, n_pictures, n_sounds`` and
        the figures of ``correspondence.evaluate``; also those of earlier runs that were not asked for now.
    """
    path = Path(folder) / "results.parquet"
    table = _earlier(path, key)
    of_table = {model_file(folder, one) for one in (table[COMBINATION].to_dict("records") if len(table) else [])}
    for stale in set((Path(folder) / "models").glob("*.keras")) - of_table:
        stale.unlink()
    sets = query_sets(library, left_out)
    train = scene_pairs.learnt(library, "train", left_out)
    for one in runtime.progress(combinations, desc="combinations"):
        model_path = model_file(folder, one)
        if model_path.is_file() and len(table) and _is_of(table, one).any():
            continue
        model, history, seconds = train_one(one, library, train, sets["validation"], seed=seed, **options)
        rng = np.random.default_rng([seed, one["seed"]])
        threshold = match_training.best_threshold(model, library, sets["validation"], rng)
        told = {**one, "seconds": seconds, "epochs": len(history), "threshold": threshold, "key": key}
        rows = [
            {**told, "set": name, "n_pictures": len(some[0]), "n_sounds": len(some[1]), **match_training.evaluate(model, library, some, rng, threshold)}
            for name, some in sets.items()
        ]
        with runtime.replacing(model_path) as temporary:
            model.save(temporary)
        if len(table):
            table = table[~_is_of(table, one)]
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        runtime.write_table(table, path)
    return table.drop(columns="key")


def query_sets(library, left_out):
    """What is tested on: {set: (pictures, sounds)}, rows of the library.

    No set shares a recording, photo or film with another or with train. Unseen media and unseen species are photos and recordings; unseen
    films are those that have no species, or are of test: neither these matchers nor that of ``train_for_use`` learn from them.

    Args:
        left_out: species kept out of training.
    """
    nameless = scene_pairs.nameless_films(library)
    validation, sets = scene_pairs.learnt(library, "validation", left_out), []
    for table in (library.pictures, library.sounds):
        table = table[~table["is_repeated"]]
        is_film, is_left_out, is_nameless = table["kind"] == "film", table["category"].isin(left_out), table["category"].isin(nameless)
        media = table[~is_film & ~is_left_out & ~is_nameless & (table["split"] == "test")]
        species = table[~is_film & is_left_out & table["split"].isin(["validation", "test"])]
        films = table[is_film & (is_nameless | (table["split"] == "test"))]
        sets.append((media, species, films))
    return dict(zip(SETS, (validation, *zip(*sets, strict=True)), strict=True))


def build(one):
    """The matcher of a combination, not trained yet: with binary cross-entropy the head trains the encoders, else their own loss does."""
    sound, picture = scene_encoders.audio_encoder(one["audio"]), scene_encoders.video_encoder(one["video"])
    return scene_encoders.matcher(sound, picture, joint=one["loss"] == "bce")


def train_one(one, library, train, validation, *, seed, **options):
    """Build and train one combination.

    Returns:
        (model, history, seconds).
    """
    start = time.monotonic()
    runtime.set_seed(seed + one["seed"])
    model = build(one)
    history = match_training.fit(model, library, train, validation, one["loss"], seed=seed + one["seed"], **options)
    return model, history, time.monotonic() - start


def train_for_use(one, library, folder, **options):
    """Train a combination once more, with no species left out, and keep it as ``matcher.keras``: what ``match.judge`` asks, and films are tested on.

    Args:
        one: from ``best``.
        options: ``epochs, patience, pairs_an_epoch, learning_rate, seed``, as in ``run``.

    Returns:
        the matcher.
    """
    train, validation = (scene_pairs.learnt(library, split) for split in ("train", "validation"))
    model, _, _ = train_one(one, library, train, validation, **options)
    with runtime.replacing(Path(folder) / MATCHER) as temporary:
        model.save(temporary)
    return model


def summary(table, which="unseen media"):
    """Mean over seeds with the range of the seeds: one row a combination.

    Returns:
        DataFrame: ``audio, video, loss, n_seeds``, and each figure as [mean, lowest, highest].
    """
    figures = [name for name in table if name not in {*COMBINATION, "set", "seconds", "epochs", "threshold", "n_pictures", "n_sounds"}]
    rows = []
    for names, some in table[table["set"] == which].groupby(COMBINATION[:3], sort=False):
        found = {name: [float(f(some[name])) for f in (np.mean, np.min, np.max)] for name in figures}
        rows.append({**dict(zip(COMBINATION, names, strict=False)), "n_seeds": len(some), **found})
    return pd.DataFrame(rows)


def best(table):
    """The combination with the best mean ROC-AUC on validation, and of its seeds the best: a dict like those of ``grid``."""
    checked = table[table["set"] == "validation"].assign(roc_auc=lambda t: t["roc_auc"].fillna(0.0))
    mean = checked.groupby(COMBINATION[:3], sort=False)["roc_auc"].transform("mean")
    row = checked[mean == mean.max()].sort_values("roc_auc", ascending=False, kind="stable").iloc[0]
    return {name: row[name] if name != "seed" else int(row[name]) for name in COMBINATION}


def figures_of(table, one):
    """The figures of a combination, indexed by set."""
    return table[_is_of(table, one)].set_index("set")


def best_table(table, one):
    """What a combination is worth on each of ``SETS``: mean and range over its seeds in words, a column a set."""
    names = COMBINATION[:3]
    own = table[_is_of(table, one, names)]
    rows = pd.concat([summary(own, which).assign(set=which) for which in SETS]).set_index("set").drop(columns=names)
    return rows.map(lambda figure: "{:.3f} ({:.3f} to {:.3f})".format(*figure) if isinstance(figure, list) else figure).T


def model_file(folder, one):
    """Where the model of a combination lies."""
    return Path(folder) / "models" / f"{one['audio']}-{one['video']}-{one['loss']}-{one['seed']}.keras"


def _is_of(table, one, names=COMBINATION):
    return (table[names] == pd.Series(one)[names]).all(axis=1)


def _earlier(path, key):
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_parquet(path)
    return table[table["key"] == key].reset_index(drop=True)
