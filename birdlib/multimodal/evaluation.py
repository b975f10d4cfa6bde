"""What sound, picture and both are worth: one table of retrieval figures, for species that were learnt and species that were not.

Every row of the table is about the same pairs of a photo and a sound, so that the rows can be compared: a query is looked for among
all pairs of the training split, those of species that were left out of training among them.
"""

import functools

import numpy as np
import pandas as pd

from birdlib.data import splits
from birdlib.metrics import late_fusion, retrieval
from birdlib.multimodal import pairs

_ONE_KIND = {"sound only": "sound", "photo only": "photo"}
_DIRECTIONS = {"photo for a sound": ("sound", "photo"), "sound for a photo": ("photo", "sound")}
FIGURES = ("p_at_1", "recall_at_5", "recall_at_10", "r_precision", "map_at_r", "nmi")


def query_sets(library, left_out, rng):
    """Pairs to be found and pairs to look among.

    Args:
        left_out: species kept out of training.
        rng: draws who is paired with whom.

    Returns:
        (gallery, {"validation", "known species", "unseen species"}): tables as ``pairs.pair`` makes them. Of the species left out,
        validation is used too, as nothing was chosen on it. Repeated rows are left out.
    """

    known = set(library.photos["species"]).union(library.sounds["species"]).difference(left_out)

    def made(split, without):
        return pairs.pair(*pairs.rows(library, split, without), rng)

    unseen = pd.concat([made("validation", known), made("test", known)], ignore_index=True)
    queries = {
        "validation": made("validation", left_out),
        "known species": made("test", left_out),
        "unseen species": unseen,
    }
    return made("train", ()), queries


def table(encoder, library, gallery, queries, rng):
    """Sound only, photo only, early fusion and late fusion side by side, each figure with its 90 % interval.

    Late fusion is calibrated and gated on the queries of ``"validation"``. Intervals are bootstrapped by what hangs together: pairs that
    share a group of recordings or a photo.

    Args:
        encoder: from ``encoders``.
        gallery, queries: from ``query_sets``.
        rng: of the bootstrap and of k-means.

    Returns:
        DataFrame: ``set, modality, n`` and ``FIGURES``, each [value, low, high]. Without photos there is one row a set.
    """
    has_both = len(library.photos) > 0 and len(library.sounds) > 0
    sets = {name: _with_both(one) if has_both else one for name, one in queries.items()}
    gallery = _with_both(gallery) if has_both else gallery
    if not len(gallery):
        return pd.DataFrame(columns=["set", "modality", "n", *FIGURES])
    species = gallery["species"].to_numpy()
    views = {name: functools.partial(pairs.alone, kind=kind) for name, kind in _ONE_KIND.items()}
    if has_both:
        views["early fusion"] = lambda one: one
    else:
        views.pop("sound only" if not len(library.sounds) else "photo only")
    embedded = {
        (name, modality): pairs.embed(encoder, library, view(one))
        for name, one in [*sets.items(), ("gallery", gallery)]
        for modality, view in views.items()
    }
    scores = {key: vectors @ embedded["gallery", key[1]].T for key, vectors in embedded.items() if key[0] != "gallery"}
    if has_both and len(sets["validation"]):
        truth = sets["validation"]["species"].to_numpy()
        calibrations = {name: late_fusion.calibrate(scores["validation", name], truth, species) for name in _ONE_KIND}
        for name in sets:
            scores[name, "late fusion"] = late_fusion.fuse({m: scores[name, m] for m in _ONE_KIND}, species, calibrations)
            # cosines of vectors side by side are the mean of the cosines
            embedded[name, "late fusion"] = np.hstack([embedded[name, m] for m in _ONE_KIND])
    rows = []
    for (name, modality), found in sorted(
        scores.items(), key=lambda item: list(sets).index(item[0][0])
    ):  # keeps the order of modalities
        if name == "validation" or not len(sets[name]):
            continue
        truth, groups = sets[name]["species"].to_numpy(), clusters(library, sets[name])
        each = retrieval.per_query(found, truth, species)
        said = retrieval.cluster(embedded[name, modality], len(set(truth)), seed=int(rng.integers(2**31)))
        figures = retrieval.summary(each, truth, said, groups, rng)
        rows.append({"set": name, "modality": modality, "n": len(truth), **{key: figures[key] for key in FIGURES}})
    return pd.DataFrame(rows, columns=["set", "modality", "n", *FIGURES])


def across(encoder, library, gallery, queries, rng):
    """Cross-modal retrieval: the photo for a sound, the sound for a photo.

    Returns:
        DataFrame as ``table`` gives, with ``direction`` in place of ``modality``, and ``chance``, the P@1 of a draw by lot
        (both without queries whose species the gallery lacks).
    """
    rows = []
    for name, one in queries.items():
        for direction, (from_, to) in _DIRECTIONS.items():
            sought, among = pairs.each(one, from_), pairs.each(gallery, to)
            if name == "validation" or not len(sought) or not len(among):
                continue
            truth, species = sought["species"].to_numpy(), among["species"].to_numpy()
            scores = pairs.embed(encoder, library, sought) @ pairs.embed(encoder, library, among).T
            each = retrieval.per_query(scores, truth, species)
            figures = retrieval.summary(each, truth, None, clusters(library, sought), rng)
            chance = float(np.mean(truth[np.isin(truth, species), None] == species))
            rows.append({"set": name, "direction": direction, "n": len(truth), "chance": chance, **figures})
    return pd.DataFrame(rows, columns=["set", "direction", "n", "chance", *(name for name in FIGURES if name != "nmi")])


def examples(scores, query_labels, gallery_labels, n=5):
    """Queries worth a look: up to ``n`` of different species, right and wrong ones in turn.

    Returns:
        list of int, rows of the scores.
    """
    if not len(gallery_labels):
        return []
    is_right = gallery_labels[scores.argmax(axis=1)] == query_labels
    order = pd.DataFrame({"species": query_labels, "is_right": is_right}).drop_duplicates(["species", "is_right"])
    order["turn"] = order.groupby("is_right").cumcount()
    return order.sort_values(["turn", "is_right"], kind="stable").drop_duplicates("species").index[:n].tolist()


def clusters(library, table):
    """(pairs,) int: pairs that share a group of recordings, or of photos, are not independent and get one number."""
    names = {}
    for column, media in (("photo", library.photos), ("sound", library.sounds)):
        rows = table[column].to_numpy()
        groups = np.append(media["group_id"].to_numpy(dtype=object), "")[rows]  # -1 takes the last: no group
        names[column] = np.where(rows == pairs.ABSENT, "", groups)
    own = pd.Series(np.arange(len(table)).astype(str))  # a pair without sound stands for itself
    group = pd.Series(names["sound"]).mask(names["sound"] == "", "pair " + own)
    blank = pd.Series("", index=group.index)
    return splits.units(
        pd.DataFrame({"group_id": group, "audio_path": blank, "image_path": names["photo"], "video_path": blank})
    )


def _with_both(table):
    return table[(table["photo"] != pairs.ABSENT) & (table["sound"] != pairs.ABSENT)].reset_index(drop=True)
