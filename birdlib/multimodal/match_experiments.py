"""Every audio encoder with every video encoder and loss: a table of all combinations, which later runs extend, and the best one."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.multimodal import scene_pairs, scenes

COMBINATION = ["audio", "video", "loss", "seed"]
MATCHER = "matcher.keras"
ALL_VIDEO = ("cnn3d", "cnn_lstm", "cnn_average", "transformer")  # "all" video encoders: the grid of 3 x 4 x 6 on frozen features
SETS = ("validation", "unseen media", "unseen species", "unseen films")


def choose_names(size, audio, video, loss):
    """What ``grid`` takes: the names of a ``small`` grid, or all of a ``full`` one; CorrespondenceError for another size."""
    if size not in ("small", "full"):
        raise scene_pairs.CorrespondenceError(f"grid is {size!r}: choose small or full")
    return ("all", "all", "all") if size == "full" else (audio, video, loss)


def grid(audio, video, loss, n_seeds):
    """Every combination: list of dict ``audio, video, loss, seed``. Names are comma lists, or ``"all"`` (of video: ``ALL_VIDEO``).

    Raises:
        CorrespondenceError: for an unknown name (the error lists the known ones), or less than one seed.
    """
    from birdlib.losses import matching
    from birdlib.multimodal import scene_encoders

    if n_seeds < 1:
        raise scene_pairs.CorrespondenceError(f"n_seeds = {n_seeds}: train each combination once or more")
    known = {"audio": scene_encoders.AUDIO, "video": scene_encoders.VIDEO, "loss": matching.LOSSES}
    chosen = {}
    for part, text in {"audio": audio, "video": video, "loss": loss}.items():
        names = runtime.names(text) if text != "all" else list(ALL_VIDEO if part == "video" else known[part])
        unknown = [name for name in names if name not in known[part]]
        if unknown or not names:
            problem = f"{part} {', '.join(unknown) or 'names nothing'}"
            raise scene_pairs.CorrespondenceError(f"{problem}: choose all, or some of {', '.join(known[part])}")
        chosen[part] = names
    return [
        {"audio": a, "video": v, "loss": name, "seed": seed}
        for name in chosen["loss"] for a in chosen["audio"] for v in chosen["video"] for seed in range(n_seeds)
    ]  # fmt: skip


def key(inputs, backbone, unseen_share, precision, **options):
    """Digest of all that changes the figures of a combination: digests of the input stages, backbone or None, options of ``run``."""
    config = {"unseen": unseen_share, "precision": precision, **options}
    return runtime.digest({**config, **inputs, "scenes": scenes.STORE_KEY, "seen with": backbone.key if backbone else ""})


def run(combinations, library, left_out, folder, key, *, seed, **options):
    """Train and evaluate every combination that the table lacks; each is saved, table and model, as soon as it is done.

    Args:
        combinations: from ``grid``.
        library: ``scene_pairs.Library``.
        left_out: categories kept out of training.
        folder: of the stage.
        key: of all else that changes the figures; rows of another key are dropped.
        seed: added to that of a combination.
        options: ``epochs, patience, pairs_an_epoch, learning_rate`` of ``match_training.fit``.

    Returns:
        DataFrame, a row for each combination and set: ``audio, video, loss, seed, set, seconds, epochs, threshold, n_pictures, n_sounds`` and
        the figures of ``match_training.evaluate``; also the combinations of earlier runs.
    """
    from birdlib.multimodal import match_training

    path = Path(folder) / "results.parquet"
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=[*COMBINATION, "key"])
    table = table[table["key"] == key].reset_index(drop=True)
    in_table = {model_file(folder, row) for row in table[COMBINATION].to_dict("records")}
    for stale in set((Path(folder) / "models").glob("*.keras")) - in_table:
        stale.unlink()
    sets = query_sets(library, left_out)
    train = scene_pairs.training_rows(library, "train", left_out)
    for config in runtime.progress(combinations, desc="combinations"):
        model_path = model_file(folder, config)
        if model_path.is_file() and _is_of(table, config).any():
            continue
        model, history, seconds = train_one(config, library, train, sets["validation"], seed=seed, **options)
        rng = np.random.default_rng([seed, config["seed"]])
        threshold = match_training.best_threshold(model, library, sets["validation"], rng)
        common = {**config, "seconds": seconds, "epochs": len(history), "threshold": threshold, "key": key}
        rows = []
        for name, (pictures, sounds) in sets.items():
            figures = match_training.evaluate(model, library, (pictures, sounds), rng, threshold)
            rows.append({**common, "set": name, "n_pictures": len(pictures), "n_sounds": len(sounds), **figures})
        with runtime.replacing(model_path) as temporary:
            model.save(temporary)
        tables = [table[~_is_of(table, config)], pd.DataFrame(rows)]
        table = pd.concat([part for part in tables if len(part)], ignore_index=True)
        runtime.write_table(table, path)
    return table.drop(columns="key")


def query_sets(library, left_out):
    """The evaluation sets: {set: (pictures, sounds)}, rows of the library.

    No set shares a recording, photo or film with another or with train. Unseen media and unseen species are photos and recordings; unseen
    films are those that have no species, or are of test: neither these matchers nor that of ``train_for_use`` are trained on them.
    """
    nameless = scene_pairs.nameless_films(library)
    validation, sets = scene_pairs.training_rows(library, "validation", left_out), []
    for table in (library.pictures, library.sounds):
        table = table[~table["is_repeated"]]
        is_film, category = table["kind"] == "film", table["category"]
        is_left_out, is_nameless = category.isin(left_out), category.isin(nameless)
        media = table[~is_film & ~is_left_out & ~is_nameless & (table["split"] == "test")]
        species = table[~is_film & is_left_out & table["split"].isin(["validation", "test"])]
        films = table[is_film & (is_nameless | (table["split"] == "test"))]
        sets.append((media, species, films))
    return dict(zip(SETS, (validation, *zip(*sets, strict=True)), strict=True))


def build(config, spectrogram="bands"):
    """The untrained matcher of a combination, for spectrograms of a kind of ``scene_audio.KINDS``: with binary cross-entropy the head trains
    the encoders, else their own loss does."""
    from birdlib.multimodal import scene_encoders

    audio, video = scene_encoders.audio_encoder(config["audio"], spectrogram=spectrogram), scene_encoders.video_encoder(config["video"])
    return scene_encoders.matcher(audio, video, joint=config["loss"] == "bce")


def train_one(config, library, train, validation, *, seed, **options):
    """Build and train one combination: (model, history, seconds)."""
    from birdlib.multimodal import match_training

    start = time.monotonic()
    runtime.set_seed(seed + config["seed"])
    model = build(config, library.spectrogram)
    history = match_training.fit(model, library, train, validation, config["loss"], seed=seed + config["seed"], **options)
    return model, history, time.monotonic() - start


def train_for_use(config, library, folder, **options):
    """Train a combination once more, with no species left out, and save it as ``matcher.keras``, which ``match_files.match`` uses.

    ``config`` is that of ``best``; ``options`` are those of ``run``.
    """
    train, validation = (scene_pairs.training_rows(library, split) for split in ("train", "validation"))
    model, _, _ = train_one(config, library, train, validation, **options)
    with runtime.replacing(Path(folder) / MATCHER) as temporary:
        model.save(temporary)
    return model


def summary(table, which="unseen media"):
    """Mean and range over seeds, one row a combination.

    Returns:
        DataFrame: ``audio, video, loss, n_seeds``, and each figure as [mean, lowest, highest].
    """
    others = {*COMBINATION, "set", "seconds", "epochs", "threshold", "n_pictures", "n_sounds"}
    rows = []
    for names, group in table[table["set"] == which].groupby(COMBINATION[:3], sort=False):
        figures = {name: [float(f(group[name])) for f in (np.mean, np.min, np.max)] for name in table if name not in others}
        rows.append({**dict(zip(COMBINATION, names, strict=False)), "n_seeds": len(group), **figures})
    return pd.DataFrame(rows)


def best(table):
    """The combination with the best mean ROC-AUC on validation, and of its seeds the best: a dict like those of ``grid``."""
    validation = table[table["set"] == "validation"].assign(roc_auc=lambda t: t["roc_auc"].fillna(0.0))
    mean = validation.groupby(COMBINATION[:3], sort=False)["roc_auc"].transform("mean")
    row = validation[mean == mean.max()].sort_values("roc_auc", ascending=False, kind="stable").iloc[0]
    return {name: row[name] if name != "seed" else int(row[name]) for name in COMBINATION}


def tested_pairs(config, library, left_out, folder, seed):
    """``match_training.tested_pairs`` of the saved matcher of a combination, on all of ``SETS``; the same for every combination of a library."""
    from birdlib.multimodal import match_training, scene_encoders

    model = scene_encoders.load(model_file(folder, config))
    return match_training.tested_pairs(model, library, query_sets(library, left_out), np.random.default_rng(seed))


def figures_of(table, config):
    """The figures of a combination, indexed by set."""
    return table[_is_of(table, config)].set_index("set")


def best_table(table, config):
    """The figures of a combination on each of ``SETS``: mean and range over its seeds as text, a column a set."""
    names = COMBINATION[:3]
    own = table[_is_of(table, config, names)]
    rows = pd.concat([summary(own, which).assign(set=which) for which in SETS]).set_index("set").drop(columns=names)
    return rows.map(lambda figure: "{:.3f} ({:.3f} to {:.3f})".format(*figure) if isinstance(figure, list) else figure).T


def describe(table, config):
    """Sentences about the best combination: ROC-AUC on each set (chance: 0.5), and whether it works for unseen species."""
    aucs = figures_of(table, config)["roc_auc"].reindex(SETS)
    listed = ", ".join(f"{name} {auc:.2f}" for name, auc in aucs.dropna().items())
    text = f"Best on validation: {config['audio']} + {config['video']} + {config['loss']}; ROC-AUC: {listed or 'not defined'}."
    if aucs["unseen species"] < 0.6:
        text += " On species that were not in training it is no better than chance: use it only for species of the training set."
    return text


def model_file(folder, config):
    """Path of the model of a combination."""
    return Path(folder) / "models" / f"{config['audio']}-{config['video']}-{config['loss']}-{config['seed']}.keras"


def _is_of(table, config, names=COMBINATION):
    return (table[names] == pd.Series(config)[names]).all(axis=1)
