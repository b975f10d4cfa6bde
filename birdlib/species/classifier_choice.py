"""Which classifier stage 07 saves: probes, the network, what the embedder itself knows of the species, blends of these, by cross-validation.

Where the embedder has inner layers that may separate better (``ALTERNATIVES``), there are probes on these, too.

All candidates are scored on the same folds of training and validation recordings, whole groups; the network's epoch is chosen on the next fold. The
chosen one is fitted again to all of them. So its scores of these recordings are those out of fold, on which thresholds and calibration can be chosen.
With many recordings, the validation split is the only fold.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import taxonomy
from birdlib.models import base, pooling, probe_fits, probes, zero_shot
from birdlib.models.probe_fits import PROTOTYPES, STANDARDISED, UNIT, Probe
from birdlib.species import classifiers, train_heads

MAX_ROWS, MAX_CELLS = 2000, 100_000  # recordings, and recordings x species, up to which there is cross-validation
_MAX_CELLS_GRID = 20_000  # up to which the whole grid of probes is tried
_FEW = (Probe(PROTOTYPES, 10.0), Probe(STANDARDISED, 0.01), Probe(UNIT, 300.0))
ALTERNATIVES = {"yamnet": ("yamnet_bands",)}  # embedder → others of the same weights
WEIGHTS = (0.25, 0.5, 0.75)  # of the network, and of what the embedder knows, beside the best without it
_MIN_FOLDS = 3  # scored, validation and training, of the network
NETWORK, ZERO_SHOT = "network", "zero-shot"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """``parts``: {Probe: weight} of the mean of probabilities, ``network``: its weight there; ``zero_shot``: its weight in ``LogLinear``."""

    embedder: str
    parts: dict
    network: float = 0.0
    zero_shot: float = 0.0

    def level(self, embedder):
        """Its complexity: the number of parts beside the first, where another embedder than the named one is a part, too."""
        return len(self.parts) + (self.network > 0) + (self.zero_shot > 0) + (self.embedder != embedder) - 1


@dataclasses.dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        name, candidate: of the table.
        table: of ``probes.compare``.
        epochs: of a network of all recordings: the median of those that were kept.
        scores: (rows of the splits, classes) out of fold; NaN for rows that were not scored.
        is_cross_validated: whether there were folds; else validation has decided.
    """

    name: str
    candidate: Candidate
    table: pd.DataFrame
    epochs: int
    scores: np.ndarray
    is_cross_validated: bool


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What candidates are made of: ``config, data, embedded`` and ``options`` as of ``train_heads.train_head``; ``features`` of its recordings."""

    config: dict
    data: object
    embedded: train_heads.PatchEmbeddings
    features: np.ndarray
    patch_pooling: object
    options: train_heads.Options

    @property
    def is_used(self):
        """(rows,) bool: recordings of training and validation that have features, each once."""
        splits = self.data.splits
        return ~splits["is_repeated"].to_numpy() & (splits["split"] != "test").to_numpy() & np.isfinite(self.features[:, 0])

    @property
    def is_small(self):
        """Whether there are few enough recordings for cross-validation."""
        n = int(self.is_used.sum())
        return n <= MAX_ROWS and n * len(self.data.classes) <= MAX_CELLS

    @property
    def embedder(self):
        """Its name."""
        return self.embedded.preprocessing["embedder"]

    @functools.cached_property
    def background(self):
        """(windows, features) of soundscapes without any of the species, or None."""
        if self.embedded.windows is None:
            return None
        windows, targets = train_heads.pool_windows(self.embedded, self.data, self.patch_pooling)
        return windows[~targets.any(axis=1)]

    @functools.cached_property
    def zero_shot(self):
        """(layer, is_known (classes,)) of what the embedder knows of the species without training; None where that is nothing."""
        last_layer = zero_shot.load(self.embedder, self.data.weights_dir)
        if last_layer is None:
            return None
        matched = taxonomy.match(_names(self.data), last_layer.species)["column"].to_numpy()
        return (last_layer.columns(matched), matched >= 0) if (matched >= 0).any() else None


def _names(data):
    """Names of the classes, by the taxonomy of the recordings' folder where it has one."""
    try:
        return taxonomy.names(data.classes, stages.recordings_root(data.outputs_dir))
    except runtime.BirdlibError:  # without stage 01, as in benchmarks, or its recordings are gone
        return taxonomy.names(data.classes)


def alternatives(inputs, folder):
    """Inputs of the recordings by the other embedders of the same weights, where they are few enough for cross-validation.

    Args:
        inputs: those of stage 03's embedder.
        folder: for the embeddings, which are memory-mapped.

    Returns:
        (list of Inputs, notes): notes say which cannot be had.
    """
    name, found, notes = inputs.embedder, [], []
    for other in ALTERNATIVES.get(name, ()) if inputs.is_small else ():
        try:
            embedded = train_heads.load_embeddings(other, inputs.data, folder, inputs.embedded.windows is not None)
        except base.EmbedderError as error:
            notes.append(f"{other}: {error}")
            continue
        patch_pooling = embedded.pooling()
        features = train_heads.pool_recordings(embedded, inputs.data, patch_pooling)
        found.append(dataclasses.replace(inputs, embedded=embedded, features=features, patch_pooling=patch_pooling))
    return found, notes


def select(inputs, rng, network=None, others=()):
    """Choose a classifier, see above.

    Args:
        inputs: Inputs of stage 03's embedder.
        rng: of folds, networks and bootstrap.
        network: fitted on the training split; used where there are too many recordings for cross-validation, with its scores of validation.
        others: of ``alternatives``.

    Returns:
        Selection.
    """
    data, rows, mode = inputs.data, np.flatnonzero(inputs.is_used), inputs.data.label_mode
    features, targets, groups = inputs.features[rows], data.truth[rows], data.splits["group_id"].to_numpy()[rows]
    folds = probes.assign_folds(targets, groups, rng, n_repeats=1) if inputs.is_small else None
    is_cross_validated = folds is not None and bool(folds.max() >= _MIN_FOLDS - 1)
    if not is_cross_validated:
        folds = np.where(data.is_validation[rows], 0, -1)[None]
    grid = [*(probes.PROBES if targets.size <= _MAX_CELLS_GRID else _FEW), *([probes.PLAIN] if inputs.is_small else [])]
    grid = [*dict.fromkeys(grid)]
    scores, parts = probes.cross_validate(grid, features, targets, folds, mode, inputs.background)
    candidates = {name: Candidate(inputs.embedder, of_probes) for name, of_probes in parts.items()}

    def best(names):
        return max(names, key=lambda name: np.nan_to_num(probes.quality(scores[name], targets, folds), nan=-1.0))

    probe, known = best(scores), inputs.zero_shot
    if known is not None:
        layer, is_known = known
        species_scores = pool_zero_shot(inputs, layer)[rows]
        _add_zero_shot(probe, candidates, scores, species_scores, is_known, mode)
    for other in others:
        found, parts_of_other = probes.cross_validate(grid, np.nan_to_num(other.features[rows]), targets, folds, mode, other.background)
        scores |= {f"{other.embedder}: {name}": of_probes for name, of_probes in found.items()}
        candidates |= {f"{other.embedder}: {name}": Candidate(other.embedder, of_probes) for name, of_probes in parts_of_other.items()}
    epochs = [inputs.options.epochs]
    if is_cross_validated:
        scores[NETWORK], epochs = _network_scores(inputs, rows, folds, rng)
    else:
        scores[NETWORK] = classifiers.predict(network, features)[None]
    candidates[NETWORK] = Candidate(inputs.embedder, {}, 1.0)
    for weight in WEIGHTS:
        name = f"{1 - weight:g} ({probe}) + {weight:g} {NETWORK}"
        scores[name] = (1.0 - weight) * scores[probe] + weight * scores[NETWORK]
        candidates[name] = Candidate(inputs.embedder, {part: (1.0 - weight) * share for part, share in parts[probe].items()}, weight)
    if known is not None:
        with_network = best([name for name, candidate in candidates.items() if candidate.network])
        _add_zero_shot(with_network, candidates, scores, species_scores, is_known, mode)
    baseline, levels = str(probes.PLAIN) if inputs.is_small else None, {name: each.level(inputs.embedder) for name, each in candidates.items()}
    name, table = probes.compare(scores, targets, folds, groups, levels=levels, baseline=baseline, rng=rng)
    out_of_fold, is_scored = np.full(data.truth.shape, np.nan, np.float32), folds[0] >= 0
    out_of_fold[rows[is_scored]] = scores[name][0][is_scored]
    return Selection(name, candidates[name], table, int(np.median(epochs)), out_of_fold, is_cross_validated)


def fit(selection, inputs, rng, network=None):
    """Fit what was chosen to all recordings of training and validation.

    Args:
        inputs: Inputs of the embedder of ``selection.candidate``.
        network: as of ``select``; without cross-validation it is taken as it is.

    Returns:
        (keras.Model of ``classifiers.join``, its scores (rows of the splits, classes)).
    """
    from birdlib.models import zero_shot_layers

    data, candidate, rows = inputs.data, selection.candidate, inputs.is_used
    fitted, targets = probes.with_background(inputs.features[rows], data.truth[rows], inputs.background)
    heads = [(probe_fits.fit_linear(probe, fitted, targets, data.label_mode).as_keras(), weight) for probe, weight in candidate.parts.items()]
    if candidate.network:
        heads.append((_refitted_network(selection, inputs, rng) if selection.is_cross_validated else network, candidate.network))
    head = probe_fits.average(*zip(*heads, strict=True)) if len(heads) > 1 else heads[0][0]
    known, scores = None, classifiers.predict(head, np.nan_to_num(inputs.features))
    if candidate.zero_shot:
        layer, is_known = inputs.zero_shot
        known = layer, zero_shot_layers.LogLinear(candidate.zero_shot, is_known.tolist(), data.label_mode)
        scores = np.asarray(known[1](scores, pool_zero_shot(inputs, layer)))
    model = classifiers.join(inputs.patch_pooling, head, inputs.embedded.embeddings.shape[1], known)
    return model, scores


def describe(selection):
    """Sentences about a Selection: what was chosen, from what, and how sure the choice is."""
    table = selection.table.set_index("candidate")
    chosen, first = table.loc[selection.name], table.index[0]
    how = "cross-validation over groups of training and validation recordings" if selection.is_cross_validated else "validation"
    text = f"Chosen by {how}: {selection.name}; macro ROC-AUC {chosen['macro_auc']:.3f}, accuracy {chosen['accuracy']:.3f}."
    if str(probes.PLAIN) in table.index:
        plain = table.loc[str(probes.PLAIN)]
        text += f" Plain logistic regression has {plain['macro_auc']:.3f} and {plain['accuracy']:.3f}."
    if first != selection.name:
        text += f" The best, {first}, has {table['macro_auc'].iloc[0]:.3f} and {table['accuracy'].iloc[0]:.3f}, within one standard error, so the simpler is taken."
    return text + f" In {chosen['share_best']:.0%} of resamples of the groups it is the best of {len(table)} candidates."


def pool_zero_shot(inputs, layer):
    """Scores of ``layer`` for every row of the splits, (rows, classes); 0.5 for recordings without embeddings."""
    patches = inputs.embedded.patches
    slices = pooling.recording_slices(patches)
    scores = pooling.pool(inputs.embedded.embeddings, pooling.patch_weights(patches["bird_score"].to_numpy()), slices, layer)
    rows = pd.Index(slices["recording_id"]).get_indexer(inputs.data.splits["recording_id"])
    return np.where(rows[:, None] >= 0, scores[rows], 0.5)


def _add_zero_shot(name, candidates, scores, species_scores, is_known, mode):
    """Add candidate ``name`` combined with what the embedder knows, with each weight; 1 uses the candidate for unknown species only."""
    from birdlib.models import zero_shot_layers

    for weight in (*WEIGHTS, 1.0):
        combined = f"{ZERO_SHOT}, weight {weight:g}, with {name}"
        candidates[combined] = dataclasses.replace(candidates[name], zero_shot=weight)
        scores[combined] = np.stack([np.asarray(zero_shot_layers.log_linear(of_repeat, species_scores, weight, is_known, mode)) for of_repeat in scores[name]])


def _network_scores(inputs, rows, folds, rng):
    """((1, recordings, classes) scores out of fold, epochs that the networks have kept)."""
    from birdlib.species import fit_heads

    epochs, numbers = [], folds[0]
    options = dataclasses.replace(inputs.options, n_networks=1)

    def predict(is_fitted, is_scored):
        following = (numbers[is_scored][0] + 1) % (numbers.max() + 1)
        split = np.full(len(inputs.data.splits), "test", object)
        split[rows[is_fitted]] = np.where(numbers[is_fitted] == following, "validation", "train")
        part = dataclasses.replace(inputs.data, splits=inputs.data.splits.assign(split=split))
        head, history = train_heads.train_head(inputs.config, part, inputs.embedded, inputs.features, inputs.patch_pooling, rng, options)
        epochs.extend(fit_heads.kept_epochs(history))
        return classifiers.predict(head, inputs.features[rows[is_scored]])

    return probes.out_of_fold(predict, folds), epochs


def _refitted_network(selection, inputs, rng):
    split = np.where(inputs.is_used, "train", "test")
    data = dataclasses.replace(inputs.data, splits=inputs.data.splits.assign(split=split))
    options = dataclasses.replace(inputs.options, epochs=selection.epochs, patience=0)
    return train_heads.train_head(inputs.config, data, inputs.embedded, inputs.features, inputs.patch_pooling, rng, options)[0]
