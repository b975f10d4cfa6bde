"""Rows of ``bench real`` for individuals by voice: which known bird sings, and is it a known one at all.

Recordings are the rows of ``individuals.csv`` with sound, of the species with the most named birds. Each is identified by models that know
no recording of its session. Where every bird was recorded in one session, neither sessions nor days can be tested: two stand-ins are reported
instead. *Blocks* keeps other parts of the session, in the order of the table, out of training, which may be other song types; *renditions*
keeps recordings at random out of training, and puts another bird's background under those that are identified.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import background_swap, songs, voice_evaluation, voice_models, voices
from birdlib.metrics import identity as identity_metrics
from birdlib.models import embedders
from birdlib.pipeline import real_embeddings, real_rows

EMBEDDERS = ("yamnet", "birdnet")
_N_FOLDS = 4
_N_PARTITIONS = 13  # of the birds into four rounds, in each of which some are new: 52 sets of known birds
_FALSE_ACCEPT = 0.1
_CONDITIONS = ("another session", "another day", "same session")


def rows(folder, cache, *, rng, weights_dir=""):
    """Rows of closed set, open set and background test, for each embedder.

    Args:
        folder: Path with ``individuals.csv``.
        cache: Path for embeddings and comparisons of songs.
        rng: of folds, partitions, backgrounds and the bootstrap over sessions.
        weights_dir: as in ``weights.find``.

    Returns:
        list of ``real_rows.Row``; empty if no species has enough named birds.
    """
    table = pd.read_csv(folder / "individuals.csv", dtype=str, keep_default_na=False)
    singers = voice_evaluation.select_singers(table.assign(is_repeated=False))
    found = []
    for name in EMBEDDERS if len(singers) else ():
        found += _EmbedderRows(name, singers, folder, cache, weights_dir, rng).rows()
    return found


class _EmbedderRows:
    """Rows of one embedder; ``by_session`` and ``by_rendition`` are the recordings in the two kinds of folds."""

    def __init__(self, name, singers, folder, cache, weights_dir, rng):
        self.name, self.singers, self.rng = name, singers, rng
        self.groups = singers["group_id"].to_numpy()
        self.bird_noun = f"{singers['individual_id'].nunique()} birds ({singers['species'][0]})"
        by_session, by_rendition = voices.sessions(singers, _N_FOLDS), _by_rendition(singers, rng)
        self.vectors, data, self.own = _load(name, singers, by_session, by_rendition, folder, cache, weights_dir, rng)
        self.by_session = dataclasses.replace(data, sessions=by_session)
        self.by_rendition = dataclasses.replace(data, sessions=by_rendition)

    def rows(self):
        is_one_session = self.by_session.sessions["shares_background"].all()
        views = {"other blocks of one session" if is_one_session else "other sessions and days together": self.by_session.recorded}
        found = self._closed(self.by_session, views) + self._open(self.by_session, views)
        if is_one_session:
            data = self.by_rendition
            views = {"other renditions of one session": data.recorded, "other renditions, another bird's background": data.swapped}
            found += self._closed(data, views) + self._open(data, views)
        return found + self._background_shares()

    def _closed(self, data, views):
        found, first = [], next(iter(views))
        tables = {f"{real_rows.PLAIN}, {method}": _plain(data, self.vectors, predict).assign(kind=first) for method, predict in _PLAIN.items()}
        tables |= {method: voice_models.closed_set(variant, views) for method, variant in self._variants(data).items()}
        for method, table in tables.items():
            for what in (what for what in views if what in set(table["kind"])):
                part = table[table["kind"] == what]
                found.append(self._row(what, method, part))
                if "condition" in part and not part["condition"].eq("same session").all():
                    parts = {condition: part[part["condition"] == condition] for condition in _CONDITIONS}
                    found += [self._row(condition, method, tested) for condition, tested in parts.items() if len(tested)]
        return found

    def _row(self, what, method, table):
        return real_rows.of_metric(
            f"{self.bird_noun}: {what}", f"{method} ({self.name})", "accuracy", identity_metrics.accuracy, table["bird"], table["predicted"],
            groups=self.groups[table.index], rng=self.rng,
        )  # fmt: skip

    def _open(self, data, views):
        found = []
        for method, variant in self._variants(data).items():
            parts = [voice_models.open_set(variant, _FALSE_ACCEPT, n_folds=1, views=views, rng=self.rng) for _ in range(_N_PARTITIONS)]
            table = pd.concat([part.assign(round=part["round"] + 100 * number) for number, part in enumerate(parts)])
            for what in views:
                part = table[table["kind"] == what]
                job, note = f"known or new bird: {what}", f"{part['round'].nunique()} partitions of {self.bird_noun}"
                known, new = part[part["is_known"]], part[~part["is_known"]]
                for figure, tested, columns, metric in (
                    ("AUROC", part, ("is_known", "margin"), voice_evaluation.known_or_new_auroc),
                    (f"new birds accepted, asked {_FALSE_ACCEPT}", new, ("predicted",), lambda predicted: np.mean(predicted != voice_models.UNKNOWN)),
                    ("known birds identified", known, ("is_right",), np.mean),
                ):
                    arrays = [tested[column].to_numpy() for column in columns]
                    groups = tested["bird"].to_numpy()
                    found.append(real_rows.of_metric(job, f"{method} ({self.name})", figure, metric, *arrays, groups=groups, rng=self.rng, note=note))
        return found

    def _background_shares(self):
        found = []
        for method, variant in self._variants(self.by_rendition).items():
            _, swapped = voice_evaluation.identify(variant, self.own, self.by_rendition.swapped)
            shares = background_swap.background_shares(swapped, rng=self.rng)
            for share in shares[shares["kind"] == background_swap.OTHER].itertuples():
                values = share.share, share.low, share.high, share.n
                found.append(real_rows.Row("another bird's background", f"{method} ({self.name})", f"taken for {share.taken_for}", *values))
        return found

    def _variants(self, data):
        return {
            "embedding of the isolated song": dataclasses.replace(data, features=("embedding",), swapped=None),
            "the same, trained over other backgrounds": dataclasses.replace(data, features=("embedding",)),
            "songs alone": dataclasses.replace(data, features=("songs",)),
            real_rows.SUITE: data,
        }


def _by_rendition(singers, rng):
    """Folds of recordings at random, as ``voices.sessions``."""
    from sklearn.model_selection import StratifiedKFold

    found = voices.sessions(singers, _N_FOLDS)
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_, tested) in enumerate(folds.split(singers, singers["individual_id"])):
        found.loc[tested, "fold"] = fold
    return found.assign(unit=np.arange(len(found)))


def _load(name, singers, by_session, by_rendition, folder, cache, weights_dir, rng):
    """(vectors, data, own): embeddings of the whole recordings; ``voice_evaluation.load_voices``, from the cache where nothing has changed."""
    embedder = embedders.load(name, weights_dir)
    paths = [folder / path for path in singers["audio_path"]]
    files = [runtime.digest_file(path) for path in paths]
    cells = by_session.assign(fold=by_session["fold"] * _N_FOLDS + by_rendition["fold"])  # hosts are of one fold in both kinds of folds
    swap_rng = np.random.default_rng(int(rng.integers(2**31)))
    key = runtime.digest([embedder.key, songs.VERSION, background_swap.VERSION, files, cells["fold"].tolist()])[:16]
    path = cache / f"voices-{name}-{key}.npz"
    birds = singers["individual_id"].to_numpy()
    vectors = np.array([voices.pooled(*patches) for patches in real_embeddings.embed(paths, embedder, cache)])
    if not path.exists():
        features = voice_models.FEATURES["auto"]
        data, own = voice_evaluation.load_voices(birds, cells, paths, embedder, features=features, n_swapped=len(birds), rng=swap_rng)
        views = {"recorded": data.recorded, "swapped": data.swapped, "own": own}
        with runtime.replacing(path) as temporary, open(temporary, "wb") as file:
            arrays = {f"{view}_{field}": getattr(views[view], field) for view in views for field in ("vectors", "similarities")}
            np.savez(file, **arrays, **{f"{view}_hosts": views[view].hosts.astype(str) for view in views})
    with np.load(path) as file:
        views = {
            view: voice_models.View(file[f"{view}_vectors"], file[f"{view}_similarities"], file[f"{view}_hosts"].astype(object))
            for view in ("recorded", "swapped", "own")
        }
    return vectors, voice_models.Voices(birds, cells, views["recorded"], views["swapped"]), views["own"]


def _plain(data, vectors, predict):
    """Predictions of a plain classifier on mean embeddings, (bird, predicted) a recording."""
    folds, birds = data.sessions["fold"].to_numpy(), data.birds
    tables = []
    for fold in np.unique(folds):
        known = folds != fold
        tested = np.flatnonzero(~known & np.isin(birds, birds[known]))
        predicted = predict(vectors[known], birds[known], vectors[tested])
        tables.append(pd.DataFrame({"bird": birds[tested], "predicted": predicted}, index=tested))
    return pd.concat(tables)


def _nearest_mean(known, birds, tested):
    from sklearn.metrics import pairwise_distances_argmin

    names = np.unique(birds)
    return names[pairwise_distances_argmin(tested, np.stack([known[birds == name].mean(axis=0) for name in names]))]


def _logistic_regression(known, birds, tested):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known, birds).predict(tested)


_PLAIN = {"nearest mean": _nearest_mean, "logistic regression": _logistic_regression}
