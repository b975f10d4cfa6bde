"""Which loss, and which of its options: heads on the embeddings of stage 03, trained in cross-validation over groups.

Only recordings of training and validation take part in it; each fold is scored once, by a head whose epoch was chosen on the next fold. The
losses of ``FINAL`` are then trained on the training split, chosen on validation and evaluated on test. So that a training takes seconds, features
are projected on the first ``N_DIRECTIONS`` singular directions of the training rows, and the head has one hidden layer.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import mixing
from birdlib.data import splits as split_rules
from birdlib.metrics import bootstrap, classification
from birdlib.species import classifiers, dataset, students, train_heads

N_FOLDS = 5
N_DIRECTIONS = 256
_N_STARTS = 3  # of each loss on test
_PATIENCE = 15
_N_DRAWS = 300
_N_MIXTURES = {"train": 600, "validation": 200, "test": 300}
_MISSING = 0.7  # of mixtures keep the label of one species only


@dataclasses.dataclass(frozen=True)
class Config:
    """``loss`` and its ``options``; ``has_prior``: the outputs begin at the prior; ``rate``: factor of the learning rate; ``summed``: over species."""

    loss: str
    options: dict = dataclasses.field(default_factory=dict)
    has_prior: bool = False
    rate: float = 1.0
    summed: bool = False


REFERENCE = "cross-entropy"
CONFIGS = {
    REFERENCE: Config("cross_entropy"),
    "binary cross-entropy": Config("bce"),
    "binary cross-entropy, begins at the prior": Config("bce", has_prior=True),
    "focal": Config("focal"),
    "focal, begins at the prior": Config("focal", has_prior=True),
    "soft-AUC": Config("soft_auc"),
    "asymmetric": Config("asymmetric"),
    "asymmetric, weights with gradient": Config("asymmetric", {"weights_have_gradient": True}),
    "asymmetric, begins at the prior": Config("asymmetric", has_prior=True),
    "asymmetric, clip 0": Config("asymmetric", {"clip": 0.0}),
    "asymmetric, negative focus 2": Config("asymmetric", {"negative_focus": 2.0}),
    "asymmetric, summed over species": Config("asymmetric", summed=True),
    "asymmetric, a third of the learning rate": Config("asymmetric", rate=1 / 3),
    "asymmetric, three times the learning rate": Config("asymmetric", rate=3.0),
}
FINAL = (REFERENCE, "binary cross-entropy", "focal", "asymmetric", "asymmetric, weights with gradient")
SETS = {  # of labels: how many species a row has, and the share of mixtures of which one label is missing in training and validation
    "recordings": (1, 0.0),
    "mixtures of two": (2, 0.0),
    "mixtures, labels missing": (2, _MISSING),
}


def run(outputs_dir, *, epochs=60, n_repeats=1, seed=0):
    """The tables of the study.

    Args:
        outputs_dir: with the stages 01 to 03.
        epochs: of a head.
        n_repeats: of the cross-validation of recordings, each with other folds and random starts; that of mixtures is not repeated.

    Returns:
        (cross-validation, test): DataFrames ``labels, loss``, ``macro_auc`` and ``difference`` to ``REFERENCE`` as [value, low, high]
        (90 % intervals over groups), ``accuracy`` (share of rows whose highest score is a species of the row), and ``offset``: standard
        deviation over recordings of their mean logit, which a ranking of recordings suffers from.
    """
    data = dataset.load(outputs_dir, "single")
    embedded = train_heads.load_embeddings(data.embedder, data, None, False)
    study = _Study(data, embedded, embedded.pooling(), epochs)
    rows = []
    for name in SETS:
        configs = CONFIGS if name == "recordings" else {loss: CONFIGS[loss] for loss in FINAL}
        rows += _cross_validate(study, name, configs, n_repeats if name == "recordings" else 1, seed)
    return pd.DataFrame(rows), pd.DataFrame(_test(study, seed))


def as_text(table):
    """A table of ``run`` for readers."""
    return table.assign(**{name: table[name].map(bootstrap.interval_text) for name in ("macro_auc", "difference")}).round(3)


@dataclasses.dataclass(frozen=True)
class _Study:
    data: dataset.TrainingData
    embedded: train_heads.PatchEmbeddings
    patch_pooling: object
    epochs: int

    @functools.cached_property
    def features(self):
        return train_heads.pool_recordings(self.embedded, self.data, self.patch_pooling)

    def sets(self, is_train, is_validation, is_test, set_name, rng):
        """(train, validation, test): features, truth and, for training, weights; rows of the test features in the splits."""
        from birdlib.species import fit_heads

        data, (n_species, missing) = self.data, SETS[set_name]
        train = fit_heads.training_set(
            self.embedded.embeddings, self.embedded.patches, self.patch_pooling, data.splits[is_train], data.truth[is_train], 10, 0.5, rng
        )
        validation, test = ((self.features[rows], data.truth[rows]) for rows in (is_validation, is_test))
        if n_species == 1:
            return *_project(train, validation, test), np.flatnonzero(is_test)
        train = *_mixtures(*train[:2], _N_MIXTURES["train"], missing, rng)[:2], np.ones(_N_MIXTURES["train"], np.float32)
        validation = _mixtures(*validation, _N_MIXTURES["validation"], missing, rng)[:2]
        *test, rows = _mixtures(*test, _N_MIXTURES["test"], 0.0, rng)
        return *_project(train, validation, test), np.flatnonzero(is_test)[rows]

    def fit(self, config, train, validation, seed):
        """A head on one training set."""
        from birdlib.losses import classification as losses
        from birdlib.species import fit_heads

        rng, mode = runtime.set_seed(seed), dataset.mode_of(config.loss)
        prior = np.average(train[1], axis=0, weights=train[2]) if config.has_prior else None
        loss, weight = losses.get(config.loss, **config.options), train[2] * (train[1].shape[1] if config.summed else 1)
        build = functools.partial(classifiers.build_head, train[0].shape[1], train[1].shape[1], mode, (256,), 0.5, prior=prior)
        rates = {"learning_rate": 1e-3 * config.rate, "weight_decay": 0.05, "epochs": self.epochs, "patience": _PATIENCE}
        return fit_heads.fit_networks(1, build, (train[0], train[1], weight), validation, loss=loss, rng=rng, **rates)[0]


def _project(*sets):
    """Each (features, ...) with its features on the singular directions of those of the first, (n, at most N_DIRECTIONS)."""
    directions = np.linalg.svd(sets[0][0], full_matrices=False)[2][:N_DIRECTIONS].T
    return [(features @ directions, *others) for features, *others in sets]


def _mixtures(features, truth, n, missing, rng):
    """Means of the features of two rows of different species, (n, features); the labels of both, and the row of the first.

    Args:
        missing: share of mixtures that have the label of the first species only.
    """
    rows = rng.integers(len(features), size=n)
    others = rows[mixing.partners(truth[rows], rng=rng)]
    mixed, both = students.mix(features[rows], truth[rows], features[others], truth[others], 0.5)
    return mixed, np.where(rng.random((n, 1)) < missing, truth[rows], both).astype(np.float32), rows


def _folds(study, seed):
    """(rows of the splits,) fold of each recording of training and validation; -1 for the others."""
    from sklearn.model_selection import StratifiedGroupKFold

    splits, folds = study.data.splits, np.full(len(study.data.splits), -1)
    own = np.flatnonzero(~splits["is_repeated"] & (splits["split"] != "test") & np.isfinite(study.features[:, 0]))
    folder = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(folder.split(own, study.data.labels[own], splits["group_id"].to_numpy()[own])):
        folds[own[rows]] = fold
    return folds


def _cross_validate(study, set_name, configs, n_repeats, seed):
    scored = {name: [] for name in configs}
    for repeat in range(n_repeats):
        folds = _folds(study, seed + repeat)
        for fold in runtime.progress(range(N_FOLDS), desc=f"{set_name}, repeat {repeat + 1}"):
            following, number = (fold + 1) % N_FOLDS, repeat * N_FOLDS + fold
            is_train = (folds >= 0) & (folds != fold) & (folds != following)
            rng = np.random.default_rng([seed, number])
            train, validation, test, rows = study.sets(is_train, folds == following, folds == fold, set_name, rng)
            for name, config in configs.items():
                scores = classifiers.predict(study.fit(config, train, validation, seed + number), test[0])
                scored[name].append((test[1], scores, rows, np.full(len(rows), number)))
    return _figures(study, set_name, {name: [np.concatenate(parts) for parts in zip(*folds, strict=True)] for name, folds in scored.items()}, seed)


def _test(study, seed):
    """Recordings of test, once, for the losses of ``FINAL``."""
    data, rng, scored = study.data, np.random.default_rng(seed), {}
    is_train = data.is_train & ~data.splits["is_repeated"].to_numpy()
    is_validation, is_test = (split_rules.own_rows(data.splits, name) & np.isfinite(study.features[:, 0]) for name in ("validation", "test"))
    train, validation, test, rows = study.sets(is_train, is_validation, is_test, "recordings", rng)
    for name in FINAL:
        parts = []
        for start in range(_N_STARTS):
            scores = classifiers.predict(study.fit(CONFIGS[name], train, validation, seed + start), test[0])
            parts.append((test[1], scores, rows, np.full(len(rows), start)))
        scored[name] = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return _figures(study, "recordings of test", scored, seed)


def _figures(study, set_name, scored, seed):
    """Rows of the table; a macro ROC-AUC is the mean of those of the parts (folds, or random starts)."""
    rows, groups = [], study.data.splits["group_id"].to_numpy()
    for name, (truth, scores, recordings, part) in scored.items():
        reference = scored[REFERENCE][1]
        options = {"groups": groups[recordings], "n": _N_DRAWS, "rng": np.random.default_rng(seed)}
        auc = bootstrap.interval(_mean_auc, truth, scores, part, **options)
        difference = bootstrap.interval(lambda t, a, b, p: _mean_auc(t, a, p) - _mean_auc(t, b, p), truth, scores, reference, part, **options)
        hit = float(np.mean(truth[np.arange(len(scores)), scores.argmax(axis=1)]))
        rows.append({"labels": set_name, "loss": name, "macro_auc": auc, "difference": difference, "accuracy": hit, "offset": _offset(scores, part)})
    return rows


def _mean_auc(truth, scores, part):
    return float(np.mean([classification.macro_roc_auc(truth[part == number], scores[part == number]) for number in np.unique(part)]))


def _offset(scores, part):
    p = np.clip(scores.astype(np.float64), 1e-7, 1.0 - 1e-7)
    means = (np.log(p) - np.log1p(-p)).mean(axis=1)
    return float(np.mean([means[part == number].std() for number in np.unique(part)]))
