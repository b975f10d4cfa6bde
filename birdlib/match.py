"""The table of all combinations, which later runs extend, and the question it is good for: how probable is it that these two belong together?"""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import correspondence, manifest, pictures, runtime, scene_encoders, scenes, stages, video
from birdlib.embedding_store import EmbeddingStore

COMBINATION = ["audio", "video", "loss", "seed"]
MATCHER = "matcher.keras"
SETS = ("validation", "unseen media", "unseen species", "unseen films")


def run(combinations, library, left_out, folder, key, *, epochs, patience, learning_rate, seed):
    """Train and judge every combination that the table does not have yet.

    Each is kept as soon as it is there: the table is written anew, with its model beside it.

    Args:
        combinations: from ``correspondence.grid``.
        library: ``correspondence.Library``.
        left_out: categories kept out of training.
        folder: of the stage.
        key: digest of all else that changes the figures; rows of another key are dropped.
        epochs, patience, learning_rate: of ``correspondence.fit``.
        seed: added to that of a combination.

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
    train = correspondence.rows(library, "train", [*left_out, *correspondence.nameless_films(library)])
    for one in runtime.progress(combinations, desc="combinations"):
        model_path = model_file(folder, one)
        if model_path.is_file() and len(table) and _is_of(table, one).any():
            continue
        model, history, seconds = train_one(one, library, train, sets["validation"], epochs=epochs, patience=patience, learning_rate=learning_rate, seed=seed)
        rng = np.random.default_rng([seed, one["seed"]])
        threshold = correspondence.best_threshold(model, library, sets["validation"], rng)
        told = {**one, "seconds": seconds, "epochs": len(history), "threshold": threshold, "key": key}
        rows = [
            {**told, "set": name, "n_pictures": len(some[0]), "n_sounds": len(some[1]), **correspondence.evaluate(model, library, some, rng, threshold)}
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
    nameless = correspondence.nameless_films(library)
    validation, sets = correspondence.rows(library, "validation", [*left_out, *nameless]), []
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
    history = correspondence.fit(model, library, train, validation, one["loss"], seed=seed + one["seed"], **options)
    return model, history, time.monotonic() - start


def train_for_use(one, library, folder, **options):
    """Train a combination once more, with no species left out, and keep it as ``matcher.keras``: what ``judge`` asks, and films are tested on.

    Args:
        one: from ``best``.
        options: ``epochs, patience, learning_rate, seed``, as in ``run``.

    Returns:
        the matcher.
    """
    nameless = correspondence.nameless_films(library)
    train, validation = (correspondence.rows(library, split, nameless) for split in ("train", "validation"))
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
    """The combination with the best mean ROC-AUC on validation, and of its seeds the best: a dict like those of ``correspondence.grid``."""
    checked = table[table["set"] == "validation"].assign(roc_auc=lambda t: t["roc_auc"].fillna(0.0))
    mean = checked.groupby(COMBINATION[:3], sort=False)["roc_auc"].transform("mean")
    row = checked[mean == mean.max()].sort_values("roc_auc", ascending=False, kind="stable").iloc[0]
    return {name: row[name] if name != "seed" else int(row[name]) for name in COMBINATION}


def model_file(folder, one):
    """Where the model of a combination lies."""
    return Path(folder) / "models" / f"{one['audio']}-{one['video']}-{one['loss']}-{one['seed']}.keras"


def examples(model, library, some, rng, n=2):
    """Pairs worth a look: the surest that match, the mismatches taken for matches, the matches that were missed.

    Args:
        model: a trained matcher.
        some: (pictures, sounds), rows of the library.
        n: of each kind.

    Returns:
        DataFrame: ``picture, sound, match, probability, is_right``; no picture twice.
    """
    table = correspondence.pair(*some, rng, n_each=4)
    table["probability"], _ = correspondence.scores(model, library, table)
    table["is_right"] = (table["probability"] >= 0.5) == (table["match"] == 1)
    left = table.iloc[np.argsort(-(table["probability"] - 0.5).abs(), kind="stable")]
    found = []
    for match, is_right in ((1, True), (0, False), (1, False)):
        found.append(left[(left["match"] == match) & (left["is_right"] == is_right)].drop_duplicates("picture").head(n))
        left = left[~left["picture"].isin(found[-1]["picture"])]
    return pd.concat(found, ignore_index=True)


def card(library, row):
    """The card of a pair, for ``galleries.match_cards``: frames, spectrogram, title and whether it was told rightly."""
    seen, heard = library.pictures.loc[row.picture], library.sounds.loc[row.sound]
    return {
        "title": f"{seen['category']} seen, {heard['category']} heard: {row.probability:.0%}",
        "frames": library.picture_arrays["pixels"](row.picture),
        "spectrogram": library.sound_arrays["spectrogram"](row.sound),
        "is_right": bool(row.is_right),
    }


def judge(picture_path, sound_path, outputs_dir, weights_dir=""):
    """How probable it is that a film or photo and a sound belong together, and what that rests on.

    Args:
        picture_path: a film or a picture.
        sound_path: a sound, or a film, whose soundtrack is taken.
        outputs_dir: where stage 05 is.
        weights_dir: as in ``weights.find``.

    Returns:
        (probability, table, basis): of matching, where matches and mismatches are as frequent; a DataFrame, a row for each pair of scenes:
        ``picture_s, sound_s, probability, cosine``, the most probable first, whose mean is the probability; and in words which
        combination judged, and how well it does on what it never met.

    Raises:
        MissingStageError: if stage 05 is not finished.
        CorrespondenceError: if a file holds no scene; it says why.
    """
    stages.receipt(outputs_dir, "05_match")
    folder = Path(outputs_dir) / "05_match"
    chosen = runtime.read_json(folder / "best.json")
    model = scene_encoders.load(folder / MATCHER)
    library = _library_of(Path(picture_path), Path(sound_path), folder.parent / "store", weights_dir)
    table = pd.DataFrame([(p, s) for p in library.pictures.index for s in library.sounds.index], columns=["picture", "sound"])
    probability, cosine = correspondence.scores(model, library, table)
    facts = pd.DataFrame({
        "picture_s": library.pictures["start_s"].to_numpy()[table["picture"]],
        "sound_s": library.sounds["start_s"].to_numpy()[table["sound"]],
        "probability": probability,
        "cosine": cosine,
    })  # fmt: skip
    facts = facts.sort_values("probability", ascending=False, kind="stable").reset_index(drop=True)
    return float(probability.mean()), facts, _basis(folder, chosen)


def _is_of(table, one):
    """Which rows are of a combination."""
    return (table[COMBINATION] == pd.Series(one)[COMBINATION]).all(axis=1)


def _basis(folder, chosen):
    table = pd.read_parquet(folder / "results.parquet")
    own = table[_is_of(table, chosen)].set_index("set")["roc_auc"]
    figures = ", ".join(f"{own[name]:.2f} on {name}" for name in SETS[1:] if np.isfinite(own.get(name, np.nan)))
    return f"judged by {chosen['audio']} (sound) and {chosen['video']} (picture), learnt with {chosen['loss']}; ROC-AUC {figures or 'not known'}"


def _library_of(picture_path, sound_path, store_dir, weights_dir):
    is_photo, is_film = picture_path.suffix.lower() in pictures.SUFFIXES, sound_path.suffix.lower() in video.SUFFIXES
    asked = [
        {"recording_id": "asked", "image_path" if is_photo else "video_path": str(picture_path.absolute())},
        {"recording_id": "asked", "video_path" if is_film else "audio_path": str(sound_path.absolute())},
    ]
    table = pd.DataFrame(asked, columns=["recording_id", "species", "group_id", "split", *manifest.PATH_COLUMNS]).fillna("")
    table = table.assign(is_repeated=False, start_s=np.nan, end_s=np.nan)
    with EmbeddingStore(store_dir, scenes.STORE_KEY) as store:
        seen, bad = scenes.picture_scenes(table[:1], Path(), scenes.load_backbone(weights_dir), store)
        heard, unheard = scenes.sound_scenes(table[1:], Path(), store)
        for path, found, skipped in ((picture_path, seen, bad), (sound_path, heard, unheard)):
            if not len(found):
                reason = skipped["reason"].iloc[0] if len(skipped) else "it holds no scene"
                raise correspondence.CorrespondenceError(f"{path}: {reason}")
        return correspondence.library(seen, heard, store)


def true_casts(root):
    """{recording_id of a film: set of species}, where the truth is known, as of the sample: for scores only; else None."""
    path = Path(root) / "truth" / "video_tracks.csv"
    if not path.is_file():
        return None
    tracks = pd.read_csv(path, dtype={"label": str})
    return {f"video-{Path(video).stem}": set(some) for video, some in tracks.groupby("video")["label"]}


def _earlier(path, key):
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_parquet(path)
    return table[table["key"] == key].reset_index(drop=True)
