"""Retrieval by sound, photo and both: one table of figures, for species in training and species left out.

Every row of the table uses the same pairs of a photo and a sound, so that rows can be compared: the gallery of a query is all pairs
of the training split, including those of species left out of training.
"""

import functools
import itertools

import numpy as np
import pandas as pd

from birdlib.data import splits
from birdlib.metrics import late_fusion, retrieval
from birdlib.multimodal import pairs

_ONE_KIND = {"sound only": "sound", "photo only": "photo"}
_DIRECTIONS = {"photo for a sound": ("sound", "photo"), "sound for a photo": ("photo", "sound")}
_QUERY = ["set", "modality", "query", "species", "cluster"]
_FIGURES = ("p_at_1", "recall_at_5", "recall_at_10", "r_precision", "map_at_r", "nmi")


def query_sets(library, left_out, rng):
    """The pairs of the gallery and of the queries.

    Returns:
        (gallery, {"validation", "known species", "unseen species"}): tables as ``pairs.pair`` makes them. Of the species left out,
        validation is used too, as nothing was chosen on it. Repeated rows are left out.
    """
    known = set(library.photos["species"]).union(library.sounds["species"]).difference(left_out)

    def paired(split, without):
        return pairs.pair(*pairs.rows(library, split, without), rng)

    unseen = pd.concat([paired("validation", known), paired("test", known)], ignore_index=True)
    validation, test = paired("validation", left_out), paired("test", left_out)
    queries = {"validation": validation, "known species": test, "unseen species": unseen}
    return paired("train", ()), queries


def table(encoder, library, gallery, queries, rng):
    """Sound only, photo only, early fusion and late fusion side by side, each figure with its 90 % interval.

    Gallery and queries are those of ``query_sets``. Late fusion is calibrated and gated on the queries of ``"validation"``.
    Intervals are bootstrapped by connected pairs, which share a group of recordings or of photos.

    Returns:
        (results, by_query): DataFrame ``set, modality, n`` and the figures, each [value, low, high]; without photos there is one row a set.
        DataFrame, a row for each query: ``set, modality, query`` (its recordings), ``species, cluster`` (of connected pairs), and the figures
        of ``retrieval.per_query``.
    """
    has_both = len(library.photos) > 0 and len(library.sounds) > 0
    if has_both:
        queries, gallery = {name: _with_both(rows) for name, rows in queries.items()}, _with_both(gallery)
    if not len(gallery):
        return pd.DataFrame(columns=["set", "modality", "n", *_FIGURES]), pd.DataFrame(columns=_QUERY)
    species = gallery["species"].to_numpy()
    views = {name: functools.partial(pairs.alone, kind=kind) for name, kind in _ONE_KIND.items()}
    if has_both:
        views["early fusion"] = lambda rows: rows
    else:
        views.pop("sound only" if not len(library.sounds) else "photo only")
    embedded = {
        (name, modality): pairs.embed(encoder, library, view(rows))
        for name, rows in [*queries.items(), ("gallery", gallery)]
        for modality, view in views.items()
    }
    scores = {key: vectors @ embedded["gallery", key[1]].T for key, vectors in embedded.items() if key[0] != "gallery"}
    if has_both and len(queries["validation"]):
        truth = queries["validation"]["species"].to_numpy()
        calibrations = {name: late_fusion.calibrate(scores["validation", name], truth, species) for name in _ONE_KIND}
        for name in queries:
            scores[name, "late fusion"] = late_fusion.fuse({m: scores[name, m] for m in _ONE_KIND}, species, calibrations)
            # cosines of vectors side by side are the mean of the cosines
            embedded[name, "late fusion"] = np.hstack([embedded[name, m] for m in _ONE_KIND])
    rows, by_query = [], [pd.DataFrame(columns=_QUERY)]
    for name, modality in itertools.product(queries, [*views, "late fusion"]):
        if name == "validation" or not len(queries[name]) or (name, modality) not in scores:
            continue
        truth, groups = queries[name]["species"].to_numpy(), _clusters(library, queries[name])
        own = retrieval.per_query(scores[name, modality], truth, species)
        clusters = retrieval.cluster(embedded[name, modality], len(set(truth)), seed=int(rng.integers(2**31)))
        figures = retrieval.summary(own, truth, clusters, groups, rng)
        rows.append({"set": name, "modality": modality, "n": len(truth), **{key: figures[key] for key in _FIGURES}})
        columns = {"set": name, "modality": modality, "query": _names(library, queries[name]), "species": truth, "cluster": groups}
        by_query.append(own.assign(**columns))
    return pd.DataFrame(rows, columns=["set", "modality", "n", *_FIGURES]), pd.concat([table for table in by_query if len(table)] or by_query)


def cross_modal(encoder, library, gallery, queries, rng):
    """Cross-modal retrieval: the photo for a sound, the sound for a photo.

    Returns:
        DataFrame as ``table`` gives, with ``direction`` in place of ``modality``, and ``chance``, the P@1 of a random ranking
        (both without queries whose species the gallery lacks).
    """
    rows = []
    for name, query_pairs in queries.items():
        for direction, (from_, to) in _DIRECTIONS.items():
            sources, targets = pairs.each(query_pairs, from_), pairs.each(gallery, to)
            if name == "validation" or not len(sources) or not len(targets):
                continue
            truth, species = sources["species"].to_numpy(), targets["species"].to_numpy()
            scores = pairs.embed(encoder, library, sources) @ pairs.embed(encoder, library, targets).T
            by_query = retrieval.per_query(scores, truth, species)
            figures = retrieval.summary(by_query, truth, None, _clusters(library, sources), rng)
            chance = float(np.mean(truth[np.isin(truth, species), None] == species))
            rows.append({"set": name, "direction": direction, "n": len(truth), "chance": chance, **figures})
    return pd.DataFrame(rows, columns=["set", "direction", "n", "chance", *(name for name in _FIGURES if name != "nmi")])


def describe(results):
    """Sentences about ``table``: P@1 of the modalities in each set, and whether two modalities are better than the best alone."""
    text = []
    for name, rows in results.groupby("set", sort=False):
        p_at_1 = rows.set_index("modality")["p_at_1"].str[0].dropna()
        if not len(p_at_1):
            continue
        listed = ", ".join(f"{modality} {value:.2f}" for modality, value in p_at_1.items())
        single, fused = (p_at_1[p_at_1.index.isin(_ONE_KIND) == is_single] for is_single in (True, False))
        verdict = ""
        if len(single) and len(fused):
            verdict = "; fusion " + ("helps" if fused.max() > single.max() else "does not exceed the best modality alone")
        text.append(f"P@1 of {name} ({rows['n'].iloc[0]} queries): {listed}{verdict}.")
    return " ".join(text) or "Test has no pairs to evaluate."


def describe_cross_modal(table):
    """A sentence about ``cross_modal``: P@1 against chance; its interval may include chance."""
    rows = [row for row in table.itertuples() if np.isfinite(row.p_at_1[0])]
    if not rows:
        return "Test has no photo or no sound to evaluate."
    listed = []
    for row in rows:
        clear = row.p_at_1[1] > row.chance
        listed.append(f"{row.direction}, {row.set}: {row.p_at_1[0]:.2f}, {'above' if clear else 'not clearly above'} chance ({row.chance:.2f})")
    return "P@1 of the " + "; the ".join(listed) + "."


def examples(scores, query_labels, gallery_labels, n=5):
    """Queries to show: up to ``n`` of different species, right and wrong ones in turn.

    Returns:
        list of int, rows of the scores.
    """
    if not len(gallery_labels):
        return []
    is_right = gallery_labels[scores.argmax(axis=1)] == query_labels
    order = pd.DataFrame({"species": query_labels, "is_right": is_right}).drop_duplicates(["species", "is_right"])
    order["turn"] = order.groupby("is_right").cumcount()
    return order.sort_values(["turn", "is_right"], kind="stable").drop_duplicates("species").index[:n].tolist()


def _clusters(library, table):
    """(pairs,) int: one number for all pairs that share a group of recordings or of photos, which are not independent."""
    names = {}
    for column, media in (("photo", library.photos), ("sound", library.sounds)):
        rows = table[column].to_numpy()
        groups = np.append(media["group_id"].to_numpy(dtype=object), "")[rows]  # -1 takes the last: no group
        names[column] = np.where(rows == pairs.ABSENT, "", groups)
    own = pd.Series(np.arange(len(table)).astype(str))  # a pair without sound is a group of its own
    group = pd.Series(names["sound"]).mask(names["sound"] == "", "pair " + own)
    blank = pd.Series("", index=group.index)
    paths = {"audio_path": blank, "image_path": names["photo"], "video_path": blank}
    return splits.units(pd.DataFrame({"group_id": group, **paths}))


def _names(library, table):
    """The recordings of each pair, joined by ``+``."""
    ids = [np.append(media["recording_id"].to_numpy(dtype=object), "")[table[kind].to_numpy()] for kind, media in (("photo", library.photos), ("sound", library.sounds))]
    return [" + ".join(filter(None, names)) for names in zip(*ids, strict=True)]


def _with_both(table):
    return table[(table["photo"] != pairs.ABSENT) & (table["sound"] != pairs.ABSENT)].reset_index(drop=True)
