"""Which classifier stage 07 saves: probes, the network, what the embedder itself knows of the species, blends of these, by cross-validation.

Where the embedder has inner layers that may separate better (``classifier_inputs.ALTERNATIVES``), there are probes on these, too.

All candidates are scored on the same folds of training and validation recordings, whole groups; the network's epoch is chosen on the next fold. The
chosen one is fitted again to all of them. So its scores of these recordings are those out of fold, on which thresholds and calibration can be chosen.
With many recordings, or too few for the folds of a network, the validation split is the only fold; without one, plain logistic regression is taken.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.models import probe_fits, probes
from birdlib.models.probe_fits import PROTOTYPES, STANDARDISED, UNIT, Probe
from birdlib.species import classifiers, train_heads

_MAX_CELLS_GRID = 20_000  # recordings x species up to which the whole grid of probes is tried
_FEW = (Probe(PROTOTYPES, 10.0), Probe(STANDARDISED, 0.01), Probe(UNIT, 300.0))
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


def select(inputs, rng, network=None, others=()):
    """Choose a classifier, see above.

    Args:
        inputs: ``classifier_inputs.Inputs`` of stage 03's embedder.
        rng: of folds, networks and bootstrap.
        network: fitted on the training split; used where there are too many recordings for cross-validation, with its scores of validation.
        others: of ``classifier_inputs.alternatives``.

    Returns:
        Selection.
    """
    data, rows = inputs.data, np.flatnonzero(inputs.is_used)
    targets, groups = data.truth[rows], data.splits["group_id"].to_numpy()[rows]
    folds, is_cross_validated = _folds(inputs, rows, rng)
    if (folds < 0).all():
        return _plain(inputs, probes.compare({}, targets, folds, groups, rng=rng)[1])
    tried = _Candidates(inputs, rows, folds)
    probe = tried.add_probes()
    tried.add_zero_shot(probe)
    for other in others:
        tried.add_probes_of(other)
    epochs = [inputs.options.epochs]
    if is_cross_validated:
        network_scores, epochs = _network_scores(inputs, rows, folds, rng)
    else:
        network_scores = classifiers.predict(network, inputs.features[rows])[None]
    tried.add_zero_shot(tried.add_network(network_scores, probe))
    baseline = str(probes.PLAIN) if inputs.is_small else None
    name, table = probes.compare(tried.scores, targets, folds, groups, levels=tried.levels(), baseline=baseline, rng=rng)
    out_of_fold, is_scored = np.full(data.truth.shape, np.nan, np.float32), folds[0] >= 0
    out_of_fold[rows[is_scored]] = tried.scores[name][0][is_scored]
    return Selection(name, tried.candidates[name], table, int(np.median(epochs)), out_of_fold, is_cross_validated)


def _folds(inputs, rows, rng):
    """((1, recordings) fold numbers, whether they are of cross-validation); of many recordings, or of too few groups, validation is the only fold."""
    data, groups = inputs.data, inputs.data.splits["group_id"].to_numpy()[rows]
    folds = probes.assign_folds(data.truth[rows], groups, rng, n_repeats=1) if inputs.is_small else None
    if folds is not None and folds.max() >= _MIN_FOLDS - 1 and _can_train(data.truth[rows], folds[0]):
        return folds, True
    return np.where(data.is_validation[rows], 0, -1)[None], False


def _following(numbers, number):
    """The fold on which a network's epoch is chosen that does not see fold ``number``."""
    return (number + 1) % (numbers.max() + 1)


def _can_train(targets, numbers):
    """Whether the network of each fold is trained on two species or more."""
    trained = ((numbers != number) & (numbers != _following(numbers, number)) for number in np.unique(numbers))
    return all(targets[rows].any(axis=0).sum() >= 2 for rows in trained)


def _plain(inputs, table):
    """The Selection where nothing can be compared."""
    scores = np.full(inputs.data.truth.shape, np.nan, np.float32)
    return Selection(str(probes.PLAIN), Candidate(inputs.embedder, {probes.PLAIN: 1.0}), table, inputs.options.epochs, scores, False)


class _Candidates:
    """Candidates, each with its scores out of fold: ``candidates`` {name: Candidate}, ``scores`` {name: (1, recordings, classes)}."""

    def __init__(self, inputs, rows, folds):
        self.inputs, self.rows, self.folds, self.targets = inputs, rows, folds, inputs.data.truth[rows]
        self.candidates, self.scores = {}, {}
        grid = probes.PROBES if self.targets.size <= _MAX_CELLS_GRID else _FEW
        self._grid = list(dict.fromkeys([*grid, *([probes.PLAIN] if inputs.is_small else [])]))

    def add_probes(self):
        """Add the probes on the embedder of stage 03; returns the name of the best."""
        self._cross_validate(self.inputs, "")
        return self._best(self.candidates)

    def add_probes_of(self, other):
        """Add the probes on another embedder, by its Inputs."""
        self._cross_validate(other, f"{other.embedder}: ")

    def add_network(self, network_scores, probe):
        """Add the network, and blends with the probe of that name; returns the name of the best of these."""
        self.candidates[NETWORK], self.scores[NETWORK] = Candidate(self.inputs.embedder, {}, 1.0), network_scores
        for weight in WEIGHTS:
            name = f"{1 - weight:g} ({probe}) + {weight:g} {NETWORK}"
            parts = {part: (1.0 - weight) * share for part, share in self.candidates[probe].parts.items()}
            self.candidates[name] = Candidate(self.inputs.embedder, parts, weight)
            self.scores[name] = (1.0 - weight) * self.scores[probe] + weight * network_scores
        return self._best(name for name, candidate in self.candidates.items() if candidate.network)

    def add_zero_shot(self, name):
        """Add the candidate of that name combined with what the embedder knows, if it knows any species; weight 1 uses the candidate for the others only."""
        from birdlib.models import zero_shot_layers

        if self.inputs.zero_shot is None:
            return
        known, (_, is_known), mode = self.inputs.zero_shot_scores[self.rows], self.inputs.zero_shot, self.inputs.data.label_mode
        for weight in (*WEIGHTS, 1.0):
            combined = f"{ZERO_SHOT}, weight {weight:g}, with {name}"
            self.candidates[combined] = dataclasses.replace(self.candidates[name], zero_shot=weight)
            self.scores[combined] = np.stack([np.asarray(zero_shot_layers.log_linear(own, known, weight, is_known, mode)) for own in self.scores[name]])

    def levels(self):
        """{name: complexity}."""
        return {name: candidate.level(self.inputs.embedder) for name, candidate in self.candidates.items()}

    def _cross_validate(self, inputs, prefix):
        features = np.nan_to_num(inputs.features[self.rows])
        scores, parts = probes.cross_validate(self._grid, features, self.targets, self.folds, inputs.data.label_mode, inputs.background)
        self.scores |= {prefix + name: of_probes for name, of_probes in scores.items()}
        self.candidates |= {prefix + name: Candidate(inputs.embedder, of_probes) for name, of_probes in parts.items()}

    def _best(self, names):
        return max(names, key=lambda name: np.nan_to_num(probes.quality(self.scores[name], self.targets, self.folds), nan=-1.0))


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
        scores = np.asarray(known[1](scores, inputs.zero_shot_scores))
    model = classifiers.join(inputs.patch_pooling, head, inputs.embedded.embeddings.shape[1], known)
    return model, scores


def describe(selection):
    """Sentences about a Selection: what was chosen, from what, and how sure the choice is."""
    table = selection.table.set_index("candidate")
    if not len(table):
        return f"Too few groups, and no validation recording, so candidates cannot be compared: {selection.name}."
    chosen, first = table.loc[selection.name], table.index[0]
    how = "cross-validation over groups of training and validation recordings" if selection.is_cross_validated else "validation"
    text = f"Chosen by {how}: {selection.name}; macro ROC-AUC {chosen['macro_auc']:.3f}, accuracy {chosen['accuracy']:.3f}."
    if str(probes.PLAIN) in table.index:
        plain = table.loc[str(probes.PLAIN)]
        text += f" Plain logistic regression has {plain['macro_auc']:.3f} and {plain['accuracy']:.3f}."
    if first != selection.name:
        text += f" The best, {first}, has {table['macro_auc'].iloc[0]:.3f} and {table['accuracy'].iloc[0]:.3f}, within one standard error, so the simpler is taken."
    return text + f" In {chosen['share_best']:.0%} of resamples of the groups it is the best of {len(table)} candidates."


def _network_scores(inputs, rows, folds, rng):
    """((1, recordings, classes) scores out of fold, epochs that the networks have kept)."""
    from birdlib.species import fit_heads

    epochs, numbers = [], folds[0]
    options = dataclasses.replace(inputs.options, n_networks=1)

    def predict(is_fitted, is_scored):
        following = _following(numbers, numbers[is_scored][0])
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
