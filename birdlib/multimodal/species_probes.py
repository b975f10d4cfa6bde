"""Species by photo, by sound and by both: probes on frozen features of each modality, and their late fusion.

Where a pretrained embedder knows species itself, its scores are combined with those of the probe, by a weight that is chosen out of fold.
Everything is chosen and calibrated on scores out of fold of the rows that are trained on, see ``models.probes``.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from birdlib.data import splits, taxonomy
from birdlib.metrics import bootstrap, class_fusion, classification
from birdlib.models import pooling, probes, zero_shot
from birdlib.models.probe_fits import PROTOTYPES, STANDARDISED, UNIT, Probe
from birdlib.multimodal import pairs

MODALITIES = ("photo", "sound")
PROBES = (  # candidates, the simplest first; ``probes.PLAIN`` joins them
    *(Probe(PROTOTYPES, strength) for strength in (10.0, 20.0)),
    *(Probe(STANDARDISED, strength) for strength in (0.001, 0.01, 0.1)),
    *(Probe(UNIT, strength) for strength in (30.0, 300.0)),
)
_KNOWN_WEIGHTS = (0.25, 0.5, 0.75)  # of scores that need no training
_N_PAIRINGS = 10  # at random, that the weights of both modalities are fitted on
CONSTANT = class_fusion.Calibration(1.0, 0.0, 0.0)  # where there are too few groups to calibrate
_FIGURES = {"accuracy": class_fusion.accuracy, "macro_auc": classification.macro_roc_auc}


@dataclasses.dataclass(frozen=True)
class Media:
    """The media of one modality, row-aligned.

    Attributes:
        table: ``recording_id, species, individual_id, group_id``, in ``study`` also ``split, is_repeated``; rows from 0.
        features: (rows, features) float32.
        known: DataFrame of scores in [0, 1] that need no training, a column for each species that they know; None: none.
    """

    table: pd.DataFrame
    features: np.ndarray
    known: pd.DataFrame | None = None

    def part(self, rows):
        """Some of the rows, (rows,) bool."""
        table, known = self.table[rows].reset_index(drop=True), self.known
        return Media(table, self.features[rows], None if known is None else known[rows].reset_index(drop=True))


@dataclasses.dataclass(frozen=True)
class SpeciesProbe:
    """``head``: keras.Model, features → probabilities of ``classes``; ``name``: of what was chosen; ``known_weight``: of ``Media.known``, 0: not used;
    ``scores``: (rows that it was trained on, classes) out of fold, or None; ``calibration`` of the probabilities."""

    head: Any
    classes: list
    name: str
    known_weight: float
    scores: np.ndarray | None
    calibration: class_fusion.Calibration

    def predict(self, media):
        """(rows, classes) probabilities, not calibrated."""
        if not len(media.features):
            return np.zeros((0, len(self.classes)))
        probabilities = np.asarray(self.head(np.asarray(media.features, np.float32), training=False))
        return _with_known(probabilities, media.known, self.classes, self.known_weight)


@dataclasses.dataclass(frozen=True)
class Fusion:
    """``classes``: that both modalities know; ``calibrations``: {modality: Calibration}; ``pool`` of ``class_fusion.fit_pool``, with
    its ``log_losses`` out of fold, empty where there are too few groups."""

    classes: list
    calibrations: dict
    pool: class_fusion.Pool
    log_losses: dict


@dataclasses.dataclass(frozen=True)
class Study:
    """``fitted``: {modality: SpeciesProbe or None}; ``fusion`` or None; ``table``: ``modality, n`` and figures, each [value, low, high] with its
    90 % interval over connected groups; ``text`` about it."""

    fitted: dict
    fusion: Any
    table: pd.DataFrame
    text: str


def of_sounds(library, embedder, weights_dir=""):
    """The sounds of a ``pairs.Library``: their patches pooled as stage 07 pools them, and what the embedder knows of their species.

    Args:
        embedder: its name.
        weights_dir: as in ``weights.find``.

    Returns:
        Media.
    """
    if not len(library.sounds):
        return Media(library.sounds, np.zeros((0, 0), np.float32))
    patches = library.embeddings, library.weights, library.sounds
    features = pooling.pool(*patches, pooling.of_embedder(embedder, library.embeddings.shape[1]))
    last_layer, classes = zero_shot.load(embedder, weights_dir), np.array(sorted(set(library.sounds["species"])), object)
    if last_layer is None:
        return Media(library.sounds, features)
    columns = taxonomy.match(taxonomy.names(classes.tolist()), last_layer.species)["column"].to_numpy()
    is_known = columns >= 0
    if not is_known.any():
        return Media(library.sounds, features)
    scores = pooling.pool(*patches, last_layer.columns(columns[is_known]))
    return Media(library.sounds, features, pd.DataFrame(scores, columns=classes[is_known]))


def fit(media, rng):
    """Choose, fit and calibrate the probe of one modality.

    Args:
        media: the rows to train on.
        rng: of folds and bootstrap.

    Returns:
        SpeciesProbe; None if the rows are of fewer than two species.
    """
    classes = sorted(set(media.table["species"]))
    if len(classes) < 2:
        return None
    targets = one_hot(media.table["species"], classes)
    choice = probes.choose(media.features, targets, media.table["group_id"].to_numpy(), rng=rng, probes=PROBES)
    head = probes.fit(choice, media.features, targets)
    if choice.scores is None:
        return SpeciesProbe(head, classes, choice.name, 0.0, None, CONSTANT)
    weights = (0.0, *_KNOWN_WEIGHTS) if media.known is not None else (0.0,)
    combined = {weight: _with_known(choice.scores, media.known, classes, weight) for weight in weights}
    best = max(weights, key=lambda weight: np.nanmean(probes.figures(targets, combined[weight])))  # the first of equal ones: without
    name = f"known species, weight {best:g}, with {choice.name}" if best else choice.name
    return SpeciesProbe(head, classes, name, best, combined[best], class_fusion.calibrate(combined[best], targets))


def fit_fusion(fitted, media, rng):
    """Fit the weights of two modalities on random pairs of their scores out of fold.

    Args:
        fitted: {modality: SpeciesProbe}.
        media: {modality: Media that it was trained on}.

    Returns:
        Fusion; None if the two have fewer than two species in common.
    """
    classes = [name for name in fitted["photo"].classes if name in fitted["sound"].classes]
    if len(classes) < 2:
        return None
    calibrations = {name: probe.calibration for name, probe in fitted.items()}
    if any(probe.scores is None for probe in fitted.values()):
        return Fusion(classes, calibrations, class_fusion.Pool(dict.fromkeys(fitted, 1.0), False), {})
    tables = [media[name].table for name in MODALITIES]
    paired = pd.concat([pair(*tables, classes, rng) for _ in range(_N_PAIRINGS)])
    scores = {name: _of_classes(probe.scores, probe.classes, classes)[paired[name]] for name, probe in fitted.items()}
    pool, log_losses = class_fusion.fit_pool(scores, one_hot(paired["species"], classes), calibrations)
    return Fusion(classes, calibrations, pool, log_losses)


def pair(photos, sounds, species, rng):
    """Pairs of a photo and a sound: those of one row of the manifest, and the others of one species (of one individual, where known) at random.

    Args:
        species: whose media are paired.

    Returns:
        DataFrame ``photo, sound, species``: numbers of rows of the tables, from 0. Media without a partner are left out.
    """
    photos, sounds = (table.reset_index(drop=True) for table in (photos, sounds))
    photos, sounds = (table[table["species"].isin(species)] for table in (photos, sounds))
    own = pd.Series(sounds.index, index=sounds["recording_id"])
    own = own[~own.index.duplicated()]
    together = photos["recording_id"].map(own).dropna().astype(int)
    known = pd.DataFrame({"photo": together.index, "sound": together.to_numpy(), "species": photos["species"][together.index]})
    others = pairs.pair(photos.drop(index=known["photo"]), sounds.drop(index=known["sound"]), rng)
    others = others[(others[["photo", "sound"]] != pairs.ABSENT).all(axis=1)]
    return pd.concat([known, others], ignore_index=True)


def evaluate(fitted, fusion, media, rng):
    """Probabilities by photo, by sound and by both of the same pairs.

    Args:
        fitted, fusion: of ``fit`` and ``fit_fusion``.
        media: {modality: Media} that nothing was trained on.
        rng: of the pairs.

    Returns:
        (targets, {"sound", "photo", "both": (pairs, classes)}, clusters, pairs): ``clusters`` (pairs,) is equal for pairs that share a group;
        ``pairs`` as of ``pair``.
    """
    paired = pair(media["photo"].table, media["sound"].table, fusion.classes, rng)
    scores = {name: _of_classes(probe.predict(media[name]), probe.classes, fusion.classes)[paired[name]] for name, probe in fitted.items()}
    calibrated = {name: class_fusion.apply(fusion.calibrations[name], scores[name]) for name in ("sound", "photo")}
    groups = {name: media[name].table["group_id"].to_numpy()[paired[name]] for name in MODALITIES}
    of_groups = pd.DataFrame({"group_id": groups["sound"], "audio_path": "", "image_path": groups["photo"], "video_path": ""})
    clusters = splits.units(of_groups) if len(paired) else np.zeros(0, int)
    both = class_fusion.fuse(scores, fusion.calibrations, fusion.pool)
    return one_hot(paired["species"], fusion.classes), {**calibrated, "both": both}, clusters, paired


def study(media, rng):
    """Train the probes on train and validation, and report figures of test: by pairs, or by the one modality that can be trained.

    Args:
        media: {modality: Media}; either may be empty.
        rng: of folds, pairs and bootstrap.
    """
    used = {name: one.part((~one.table["is_repeated"].astype(bool)).to_numpy()) for name, one in media.items()}
    trained = {name: one.part((one.table["split"] != "test").to_numpy()) for name, one in used.items()}
    tested = {name: one.part((one.table["split"] == "test").to_numpy()) for name, one in used.items()}
    fitted = {name: fit(trained[name], rng) for name in MODALITIES}
    fusion = fit_fusion(fitted, trained, rng) if all(fitted.values()) else None
    evaluated = evaluate(fitted, fusion, tested, rng)[:3] if fusion else _evaluate_alone(fitted, tested)
    table = _figures(*evaluated, rng)
    return Study(fitted, fusion, table, _describe(table, *evaluated, rng))


def _evaluate_alone(fitted, tested):
    """As ``evaluate``, without pairs: of the first modality that has a probe."""
    for name, probe in fitted.items():
        if probe:
            known = tested[name].part(tested[name].table["species"].isin(probe.classes).to_numpy())
            scores = class_fusion.apply(probe.calibration, probe.predict(known))
            return one_hot(known.table["species"], probe.classes), {name: scores}, known.table["group_id"].to_numpy()
    return np.zeros((0, 0)), {}, np.zeros(0)


def _figures(targets, scores, clusters, rng):
    rows = []
    for name, probabilities in scores.items() if len(targets) else ():
        figures = {figure: bootstrap.interval(metric, targets, probabilities, groups=clusters, rng=rng) for figure, metric in _FIGURES.items()}
        rows.append({"modality": name, "n": len(targets), **figures})
    return pd.DataFrame(rows, columns=["modality", "n", *_FIGURES])


def _describe(table, targets, scores, clusters, rng):
    """Sentences about the figures: the best modality alone, and whether both are better, by the paired interval of accuracy."""
    if not len(table):
        return "Test has no photo or sound of a species that was trained on."
    accuracy = table.set_index("modality")["accuracy"].str[0]
    best = accuracy.drop("both", errors="ignore").idxmax()
    if "both" not in accuracy:
        return f"Only the {best} has a classifier: it is right for {accuracy[best]:.0%} of {len(targets)} files of test."

    def gain(truth, after, before):
        return class_fusion.accuracy(truth, after) - class_fusion.accuracy(truth, before)

    value, low, high = bootstrap.interval(gain, targets, scores["both"], scores[best], groups=clusters, rng=rng)
    verdict = "both are better" if low > 0 else "both are worse" if high < 0 else "the difference may be chance"
    return (
        f"The better one alone is the {best}, right for {accuracy[best]:.0%} of {len(targets)} pairs; both together for {accuracy['both']:.0%}, "
        f"{value:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict}."
    )


def as_columns(table):
    """The table of a ``Study`` with a column for each number, for a CSV file."""
    columns = table[["modality", "n"]].copy()
    for figure in _FIGURES:
        for i, end in enumerate(("", "_low", "_high")):
            columns[f"{figure}{end}"] = table[figure].str[i].astype(float)
    return columns


def one_hot(species, classes):
    """(rows, classes) float32: 1 in the column of the species of a row; a species that is no class has none."""
    return (np.asarray(species, object)[:, None] == np.array(classes, object)).astype(np.float32)


def _of_classes(scores, known, wanted):
    """The columns of some of the known classes, so that each row adds up to 1."""
    columns = scores[:, [known.index(name) for name in wanted]].astype(float)
    return columns / np.maximum(columns.sum(axis=1, keepdims=True), 1e-12)


def _with_known(probabilities, known, classes, weight):
    """Probabilities combined with the scores of ``Media.known``: (rows, classes)."""
    if not weight:
        return probabilities
    from birdlib.models import zero_shot_layers

    is_known = [name in known for name in classes]
    scores = known.reindex(columns=classes, fill_value=0.5).to_numpy(np.float32)
    return np.asarray(zero_shot_layers.log_linear(probabilities, scores, weight, is_known, "single"))
