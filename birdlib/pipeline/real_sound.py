"""Rows of ``bench real`` for species by sound, of the recordings of ``species24.csv``: a plain reference, what the embedder knows, and stage 07.

Every recording is tested once, by classifiers that know none of its group; the suite chooses on the other groups as stage 07 does.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import manifest
from birdlib.metrics import class_fusion, classification
from birdlib.models import embedders, pooling, probe_fits, probes
from birdlib.pipeline import real_embeddings, real_rows
from birdlib.species import classifier_choice, classifier_inputs, dataset, train_heads

JOBS = {"yamnet": "YAMNet", "birdnet": "BirdNET"}
OPTIONS = train_heads.Options(n_networks=1)
_CONFIG = {"loss": "cross_entropy", "soundscapes": False, "mixup": False}


def rows(folder, cache, *, rng, weights_dir="", names=tuple(JOBS), options=OPTIONS):
    """Rows of species by sound, for each embedder.

    Args:
        folder: Path with ``species24.csv``.
        cache: Path for embeddings.
        rng: of folds, networks and the bootstrap over groups.
        weights_dir: as in ``weights.find``.
        names: of ``JOBS``.
        options: of the networks.

    Returns:
        list of ``real_rows.Row``; empty where there are too few groups.
    """
    table = pd.read_csv(folder / "species24.csv", dtype=str, keep_default_na=False)
    table = table[table["audio_path"] != ""].reset_index(drop=True).assign(split="train", is_repeated=False)
    classes = sorted(set(table["species"]))
    truth = manifest.multi_hot(table, classes, secondary_weight=0.0)
    folds = probes.assign_folds(truth, table["group_id"], rng, n_repeats=1)
    if folds is None or len(classes) < 2:
        return []
    found = []
    for name in names:
        data = dataset.TrainingData(Path(cache), table, truth, classes, pd.DataFrame(), None, name, "single", weights_dir)
        found += _rows_of(name, data, folder, folds[0], rng, options)
    return found


def _rows_of(name, data, folder, folds, rng, options):
    inputs = _inputs(name, data, folder, options)
    others = [_inputs(other, data, folder, options) for other in classifier_inputs.ALTERNATIVES.get(name, ())]
    means = _means(inputs.embedded, data)
    scores = {real_rows.PLAIN: np.zeros(data.truth.shape), real_rows.SUITE: np.zeros(data.truth.shape)}
    notes = {real_rows.PLAIN: "mean embedding, standardised logistic regression"}
    if inputs.zero_shot is not None:
        scores["zero-shot"] = inputs.zero_shot_scores
        notes["zero-shot"] = f"{JOBS[name]}'s own scores, pooled over patches"
    chosen = []
    for fold in runtime.progress(range(folds.max() + 1), desc=f"species by sound, {JOBS[name]}"):
        is_tested = folds == fold
        fitted = probe_fits.fit_linear(probes.PLAIN, means[~is_tested], data.truth[~is_tested], "single")
        scores[real_rows.PLAIN][is_tested] = fitted.predict(means[is_tested])
        part = dataclasses.replace(data, splits=data.splits.assign(split=np.where(is_tested, "test", "train")))
        of_part = {each.embedder: dataclasses.replace(each, data=part) for each in (inputs, *others)}
        selection = classifier_choice.select(of_part[name], rng, others=[of_part[other.embedder] for other in others])
        scores[real_rows.SUITE][is_tested] = classifier_choice.fit(selection, of_part[selection.candidate.embedder], rng)[1][is_tested]
        chosen.append(selection.candidate)
    notes[real_rows.SUITE] = _parts_of(chosen)
    return _figures(f"{len(data.classes)} species by sound, {JOBS[name]}", data, scores, folds, notes, rng)


def _parts_of(candidates):
    """In how many folds each part was chosen, as text."""
    parts = [kind for candidate in candidates for kind in dict.fromkeys([f"on {candidate.embedder}", *(probe.kind for probe in candidate.parts)])]
    parts += ["network" for candidate in candidates if candidate.network] + ["zero-shot" for candidate in candidates if candidate.zero_shot]
    counts = pd.Series(parts).value_counts(sort=False)
    return f"chosen in {len(candidates)} folds: " + ", ".join(f"{part} {n}" for part, n in counts.items())


def _inputs(name, data, folder, options):
    embedded = _embed(name, data, folder)
    patch_pooling = embedded.pooling(options.pooling)
    features = train_heads.pool_recordings(embedded, data, patch_pooling)
    return classifier_inputs.Inputs(_CONFIG | {"encoder": name}, data, embedded, features, patch_pooling, options)


def _embed(name, data, folder):
    """``train_heads.PatchEmbeddings`` of whole recordings."""
    embedder = embedders.load(name, data.weights_dir, n_threads=1)
    embeddings, bird_scores = zip(*real_embeddings.embed([folder / path for path in data.splits["audio_path"]], embedder, data.outputs_dir), strict=True)
    recording_ids = np.repeat(data.splits["recording_id"].to_numpy(), [len(scores) for scores in bird_scores])
    patches = pd.DataFrame({"recording_id": recording_ids, "bird_score": np.concatenate(bird_scores)})
    return train_heads.PatchEmbeddings(np.concatenate(embeddings), patches, None, {"embedder": name}, embedder.weights)


def _means(embedded, data):
    """(recordings, dim) plain means of the patches."""
    slices = pooling.recording_slices(embedded.patches)
    means = np.stack([embedded.embeddings[first:last].mean(axis=0) for first, last in zip(slices["first"], slices["last"], strict=True)])
    return means[pd.Index(slices["recording_id"]).get_indexer(data.splits["recording_id"])]


def _figures(job, data, scores, folds, notes, rng):
    groups, truth = data.splits["group_id"].to_numpy(), (data.truth, folds)
    rows = [real_rows.of_methods(job, figure, metric, truth, scores, groups=groups, rng=rng, notes=notes) for figure, metric in _FIGURES.items()]
    return [row for of_figure in rows for row in of_figure]


def _accuracy(truth, folds, scores):
    return class_fusion.accuracy(truth, scores)


def _macro_auc(truth, folds, scores):
    return classification.macro_roc_auc(truth, scores)


def _macro_auc_in_folds(truth, folds, scores):
    return float(np.nanmean([classification.macro_roc_auc(truth[folds == fold], scores[folds == fold]) for fold in np.unique(folds)]))


# scores of different classifiers are not on one scale, so ranks over all folds are worse than those of one classifier, and ranks within folds are not
_FIGURES = {"accuracy": _accuracy, "macro ROC-AUC": _macro_auc, "macro ROC-AUC, mean of folds": _macro_auc_in_folds}
