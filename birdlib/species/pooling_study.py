"""Which pooling of patches: one probe on each, in cross-validation over groups of training and validation recordings, paired with that of stage 07.

The probe is the same for all: logistic regression on features of unit length. ``python -m birdlib bench pooling`` prints the table.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import bootstrap
from birdlib.models import base, pooling, probe_fits, probes
from birdlib.species import ablation, classifier_inputs, dataset, train_heads

PROBE = probe_fits.Probe(probe_fits.UNIT, 300.0)
REFERENCE = "mean and deviation, weighted by bird score"
TOP = 3  # patches with the highest bird scores
POWER = 3.0  # of the generalised mean, as "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018) begins with
_N_DRAWS = 300
_FIGURES = ("macro_auc", "accuracy")


def _mean(patches, weights):
    return [np.average(patches, axis=0, weights=weights)]


def _mean_std(patches, weights):
    [mean] = _mean(patches, weights)
    return [mean, np.sqrt(np.average((patches - mean) ** 2, axis=0, weights=weights))]


def _top(patches, weights):
    return _mean_std(*(rows[np.argsort(-weights, kind="stable")[:TOP]] for rows in (patches, weights)))


def _generalised_mean(patches, weights):
    return [np.average(np.maximum(patches, 0.0) ** POWER, axis=0, weights=weights) ** (1.0 / POWER)]


POOLINGS = {  # name → function of patches (patches, dim) and weights (patches,) → list of statistics (dim,)
    REFERENCE: _mean_std,
    "mean, weighted by bird score": _mean,
    "mean and deviation, unweighted": lambda patches, weights: _mean_std(patches, np.ones_like(weights)),
    "mean, deviation and maximum": lambda patches, weights: [*_mean_std(patches, weights), patches.max(axis=0)],
    "maximum": lambda patches, weights: [patches.max(axis=0)],
    f"the {TOP} patches with the highest bird scores": _top,
    f"generalised mean, power {POWER:g}": _generalised_mean,
    "twice the hop": lambda patches, weights: _mean_std(patches[::2], weights[::2]),
}
ONE_VIEW = "without the octave-down view"


def run(outputs_dir, *, n_repeats=2, seed=0):
    """The table of the study, for the embedder of stage 03 and for those of the same weights that stage 07 tries.

    Args:
        outputs_dir: with the stages 01 to 03.
        n_repeats: of the cross-validation, with other folds.

    Returns:
        DataFrame: ``embedder, pooling``, ``macro_auc`` and ``accuracy`` (out of fold), ``macro_auc_difference`` and ``accuracy_difference`` to
        ``REFERENCE``, [value, low, high] (90 % over groups), ``verdict`` on the first; and a row that compares each further embedder with the first.
    """
    data = dataset.load(outputs_dir, "single")
    scored, rng = {}, np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        for name in (data.embedder, *classifier_inputs.ALTERNATIVES.get(data.embedder, ())):
            (Path(folder) / name).mkdir()
            try:
                embedded = train_heads.load_embeddings(name, data, Path(folder) / name, False)
            except base.EmbedderError:
                continue  # its layers cannot be reached in these weights
            for pooled, features in features_of(embedded, data.splits["recording_id"]).items():
                scored[name, pooled] = features
            del embedded
    first = next(iter(scored.values()))
    rows = ~data.splits["is_repeated"].to_numpy() & (data.splits["split"] != "test").to_numpy() & np.isfinite(first[:, 0])
    truth, groups = data.truth[rows], data.splits["group_id"].to_numpy()[rows]
    folds = probes.assign_folds(truth, groups, rng, n_repeats=n_repeats)
    if folds is None:
        raise probe_fits.ProbeError(f"{outputs_dir} has too few groups of recordings for cross-validation: add recordings from more places")
    scores = {key: _scores(np.nan_to_num(features[rows]), truth, folds) for key, features in runtime.progress(list(scored.items()), desc="poolings")}
    return pd.DataFrame([_row(key, scores, truth, groups, seed) for key in scores])


def features_of(embedded, recording_ids):
    """{pooling: (recordings, features)} by each pooling of ``POOLINGS``, and with the first view alone where there are two; NaN without embeddings."""
    slices = pooling.recording_slices(embedded.patches).set_index("recording_id").reindex(recording_ids)
    view_dim = embedded.pooling().view_dim
    weights = pooling.patch_weights(embedded.patches["bird_score"].to_numpy())
    by_pooling = {name: (pool, embedded.embeddings.shape[1]) for name, pool in POOLINGS.items()}
    if embedded.embeddings.shape[1] > view_dim:
        by_pooling[ONE_VIEW] = _mean_std, view_dim
    rows = {name: [] for name in by_pooling}
    for first, last in zip(slices["first"], slices["last"], strict=True):
        patches = None if np.isnan(first) else np.array(embedded.embeddings[int(first) : int(last)])
        for name, (pool, dim) in by_pooling.items():
            parts = [np.full(dim, np.nan)] if patches is None else pool(patches[:, :dim], weights[int(first) : int(last)])
            rows[name].append(np.concatenate([_unit_views(part, view_dim) for part in parts]))
    n_features = {name: max(map(len, features)) for name, features in rows.items()}
    return {name: np.stack([np.resize(row, n_features[name]) for row in features]) for name, features in rows.items()}


def as_text(table):
    """The table for readers."""
    shown = [name for name in table if name.endswith("_difference")]
    return table.assign(**{name: table[name].map(lambda figure: "" if np.isnan(figure[0]) else bootstrap.interval_text(figure)) for name in shown}).round(3)


def _unit_views(part, view_dim):
    views = part.reshape(-1, view_dim)
    return (views / np.maximum(np.linalg.norm(views, axis=1, keepdims=True), 1e-6)).ravel()


def _scores(features, truth, folds):
    def predict(is_fitted, is_scored):
        return probe_fits.fit_linear(PROBE, features[is_fitted], truth[is_fitted], "single").predict(features[is_scored])

    return probes.out_of_fold(predict, folds).mean(axis=0)


def _row(key, scores, truth, groups, seed):
    embedder, pooled = key
    own = next(iter(scores))[0]
    against = (embedder, REFERENCE) if pooled != REFERENCE else (own, REFERENCE)
    figures = dict(zip(_FIGURES, probes.figures(truth, scores[key]), strict=True))
    for number, name in enumerate(_FIGURES):

        def gain(truth, after, before, number=number):
            return probes.figures(truth, after)[number] - probes.figures(truth, before)[number]

        difference = [np.nan] * 3
        if against != key:
            pair = scores[key], scores[against]
            difference = bootstrap.interval(gain, truth, *pair, groups=groups, n=_N_DRAWS, rng=np.random.default_rng(seed))
        figures[f"{name}_difference"] = difference
    return {"embedder": embedder, "pooling": pooled, **figures, "verdict": ablation.verdict(figures["macro_auc_difference"])}
