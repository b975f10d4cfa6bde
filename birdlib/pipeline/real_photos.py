"""Rows of ``bench real`` for species by photo, and by photo and sound together, of the media of ``species24.csv``.

Every photo and every recording is tested once, by models that know none of its group. A photo and a recording of one row of the table are a pair;
the others are paired at random within a fold, by species.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import class_fusion, classification
from birdlib.models import embedders, pooling, probe_fits, probes
from birdlib.multimodal import image_features, pairs, photo_features, species_probes
from birdlib.pipeline import real_embeddings, real_rows

EMBEDDERS = {"yamnet": "YAMNet", "birdnet": "BirdNET"}
_FIGURES = {"accuracy": class_fusion.accuracy, "macro ROC-AUC": classification.macro_roc_auc}
_METHODS = {"sound": f"{real_rows.SUITE}, sound alone", "photo": f"{real_rows.SUITE}, photo alone", "both": real_rows.SUITE}
_COLUMNS = {"photo": "image_path", "sound": "audio_path"}


@dataclasses.dataclass(frozen=True)
class _Modality:
    """``suite``: ``species_probes.Media`` with ``fold``; ``plain``: features of the reference, row-aligned; ``note`` on these."""

    suite: species_probes.Media
    plain: np.ndarray
    note: str

    @property
    def media(self):
        return self.suite.table

    def part(self, rows):
        return _Modality(self.suite.part(rows), self.plain[rows], self.note)


def rows(folder, cache, *, rng, weights_dir=""):
    """Rows by photo, and by photo and sound for each embedder.

    Args:
        folder: Path with ``species24.csv``.
        cache: Path for features and embeddings.
        rng: of folds, pairs and the bootstrap over groups.
        weights_dir: as in ``weights.find``.

    Returns:
        list of ``real_rows.Row``; empty without photos of two species.
    """
    table = pd.read_csv(folder / "species24.csv", dtype=str, keep_default_na=False)
    media = _with_folds(table, rng)
    if media["photo"]["species"].nunique() < 2:
        return []
    classes = sorted(set(table["species"]))
    photos = _photos(media["photo"], folder, cache, weights_dir)
    fitted = {fold: species_probes.fit(part.suite, rng) for fold, part in _trained(photos)}
    found = _photo_rows(photos, fitted, classes, rng)
    for name in EMBEDDERS if media["sound"]["species"].nunique() > 1 else ():
        found += _pair_rows(name, photos, _sounds(name, media["sound"], folder, cache, weights_dir), fitted, classes, rng)
    return found


def _with_folds(table, rng):
    """{modality: rows with such a file, with ``fold``}; groups are whole, folds have their share of the photos and sounds of each species."""
    media = pd.concat([table[table[column] != ""].assign(modality=name) for name, column in _COLUMNS.items()], ignore_index=True)
    strata = pd.get_dummies(media["species"] + " " + media["modality"]).to_numpy(np.float32)
    media["fold"] = probes.assign_folds(strata, media["group_id"], rng, n_repeats=1)[0]
    return {name: media[media["modality"] == name].reset_index(drop=True) for name in _COLUMNS}


def _photos(media, folder, cache, weights_dir):
    """Whole photos by VGG16, and the features of stage 04."""
    backbone = image_features.load_backbone("", weights_dir)  # nothing is trained: its output is the mean of the last map, then the maximum
    _, pooled, skipped = image_features.embed(media, folder, backbone, cache / "store", "bench")
    if len(skipped):
        raise runtime.FileError(folder / skipped["path"].iloc[0], skipped["reason"].iloc[0])
    plain = np.stack([np.split(pooled(row, 0), 2)[0] for row in range(len(media))])
    extractor = photo_features.load(photo_features.choose("auto", weights_dir), weights_dir)
    suite = photo_features.embed(media, folder, extractor, cache / "store", "bench")[1]
    return _Modality(species_probes.Media(media, suite), plain, "mean VGG16 features of the whole photo, standardised logistic regression")


def _sounds(name, media, folder, cache, weights_dir):
    """Mean embeddings, and what stage 04 makes of the embeddings."""
    patches = real_embeddings.embed([folder / path for path in media["audio_path"]], embedders.load(name, weights_dir, n_threads=1), cache)
    ends = np.cumsum([len(scores) for _, scores in patches])
    sounds = media.assign(first=np.append(0, ends[:-1]), last=ends)
    embeddings, bird_scores = (np.concatenate(part) for part in zip(*patches, strict=True))
    library = pairs.Library(media[:0], sounds, None, embeddings, pooling.patch_weights(bird_scores), 0)
    plain = np.stack([embeddings.mean(axis=0) for embeddings, _ in patches])
    return _Modality(species_probes.of_sounds(library, name, weights_dir), plain, "mean embeddings, standardised logistic regression")


def _photo_rows(photos, fitted, classes, rng):
    job, targets = f"{photos.media['species'].nunique()} species by photo", species_probes.one_hot(photos.media["species"], classes)
    scores = {real_rows.PLAIN: np.zeros(targets.shape), real_rows.SUITE: np.zeros(targets.shape)}
    for fold, probe in fitted.items():
        is_tested = (photos.media["fold"] == fold).to_numpy()
        scores[real_rows.PLAIN][is_tested] = _plain_scores(photos, fold, classes)
        scores[real_rows.SUITE][is_tested] = _spread(probe.predict(photos.suite.part(is_tested)), probe.classes, classes)
    notes = {real_rows.PLAIN: photos.note, real_rows.SUITE: "; ".join(sorted({probe.name for probe in fitted.values()}))}
    return _figure_rows(job, targets, scores, photos.media["group_id"].to_numpy(), notes, rng)


def _pair_rows(name, photos, sounds, fitted_photos, classes, rng):
    """Rows by the sounds and by the photos of the pairs alone, and by both."""
    parts, chosen = [], []
    for fold, part in _trained(sounds):
        fitted = {"photo": fitted_photos[fold], "sound": species_probes.fit(part.suite, rng)}
        fusion = species_probes.fit_fusion(fitted, {"photo": _train(photos, fold).suite, "sound": part.suite}, rng)
        tested = {"photo": photos.suite.part(_is_in(photos, fold)), "sound": sounds.suite.part(_is_in(sounds, fold))}
        targets, found, clusters, paired = species_probes.evaluate(fitted, fusion, tested, rng)
        plain = sum(np.log(_plain_scores(one, fold, classes)[paired[key]] + 1e-9) for key, one in (("photo", photos), ("sound", sounds)))
        scores = {_METHODS[key]: _spread(values, fusion.classes, classes) for key, values in found.items()}
        parts.append((_spread(targets, fusion.classes, classes), {real_rows.PLAIN: np.exp(plain / 2), **scores}, np.char.add(f"{fold} ", clusters.astype(str))))
        chosen.append({key: round(weight, 2) for key, weight in fusion.pool.weights.items()} | {"gated": fusion.pool.is_gated})
    targets, clusters = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
    scores = {method: np.concatenate([part[1][method] for part in parts]) for method in parts[0][1]}
    notes = {real_rows.PLAIN: "mean log-probability of two plain probes", real_rows.SUITE: _weights_text(chosen)}
    return _figure_rows(f"photo + sound, {EMBEDDERS[name]}", targets, scores, clusters, notes, rng)


def _weights_text(chosen):
    """Mean weights over folds, and in how many they are gated."""
    table = pd.DataFrame(chosen)
    weights = ", ".join(f"{name} {table[name].mean():.2f}" for name in ("sound", "photo"))
    return f"mean weights: {weights}; gated in {table['gated'].sum()} of {len(table)} folds"


def _figure_rows(job, targets, scores, groups, notes, rng):
    rows = [real_rows.of_methods(job, figure, metric, targets, scores, groups=groups, rng=rng, notes=notes) for figure, metric in _FIGURES.items()]
    return [row for of_figure in rows for row in of_figure]


def _plain_scores(modality, fold, classes):
    """(tested rows, classes) of the plain reference."""
    part, is_tested = _train(modality, fold), _is_in(modality, fold)
    fitted = probe_fits.fit_linear(probes.PLAIN, part.plain, species_probes.one_hot(part.media["species"], classes), "single")
    return fitted.predict(modality.plain[is_tested])


def _trained(modality):
    """Yields (fold, the rows outside it)."""
    for fold in sorted(set(modality.media["fold"])):
        yield fold, _train(modality, fold)


def _train(modality, fold):
    return modality.part(~_is_in(modality, fold))


def _is_in(modality, fold):
    return (modality.media["fold"] == fold).to_numpy()


def _spread(scores, known, classes):
    """Columns of some classes among all, those of others 0."""
    spread = np.zeros((len(scores), len(classes)))
    spread[:, [classes.index(name) for name in known]] = scores
    return spread
