"""Species by photo, by sound and by both: probes on frozen features of each modality, and their late fusion.

A modality is a table of media with ``species, group_id`` and its features, row-aligned, (rows, features) float32. Everything is chosen and
calibrated on scores out of fold of the rows that are trained on, see ``models.probes``.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from birdlib.data import splits
from birdlib.metrics import bootstrap, class_fusion, classification
from birdlib.models import pooling, probes
from birdlib.multimodal import pairs

MODALITIES = ("photo", "sound")
PROBES = probes.PROBES  # candidates
CONSTANT = class_fusion.Calibration(1.0, 0.0, 0.0)  # where there are too few groups to calibrate
_FIGURES = {"accuracy": class_fusion.accuracy, "macro_auc": classification.macro_roc_auc}


@dataclasses.dataclass(frozen=True)
class SpeciesProbe:
    """``head``: keras.Model, features → probabilities of ``classes``; ``choice``: of ``probes.choose``; ``calibration`` of the probabilities."""

    head: Any
    classes: list
    choice: Any
    calibration: class_fusion.Calibration

    def predict(self, features):
        """(rows, classes) probabilities, not calibrated."""
        if not len(features):
            return np.zeros((0, len(self.classes)))
        return np.asarray(self.head(np.asarray(features, np.float32), training=False))


@dataclasses.dataclass(frozen=True)
class Fusion:
    """``classes``: that both modalities know; ``calibrations``: {modality: Calibration}; ``rule`` of ``class_fusion.fuse``, the best of ``qualities``."""

    classes: list
    calibrations: dict
    rule: str
    qualities: dict


@dataclasses.dataclass(frozen=True)
class Study:
    """``fitted``: {modality: SpeciesProbe or None}; ``fusion`` or None; ``table``: ``modality, n`` and figures, each [value, low, high] with its
    90 % interval over connected groups; ``text`` about it."""

    fitted: dict
    fusion: Any
    table: pd.DataFrame
    text: str


def sound_features(library, embedder):
    """Features of every sound of a ``pairs.Library``: its patches pooled, as stage 07 pools them.

    Args:
        embedder: its name.
    """
    if not len(library.sounds):
        return np.zeros((0, 0), np.float32)
    layer = pooling.of_embedder(embedder, library.embeddings.shape[1])
    return pooling.pool(library.embeddings, library.weights, library.sounds, layer)


def fit(features, media, rng):
    """Choose, fit and calibrate the probe of one modality.

    Args:
        features, media: the rows to train on.
        rng: of folds and bootstrap.

    Returns:
        SpeciesProbe; None if the rows are of fewer than two species.
    """
    classes = sorted(set(media["species"]))
    if len(classes) < 2:
        return None
    targets = _targets(media["species"], classes)
    choice = probes.choose(features, targets, media["group_id"].to_numpy(), rng=rng, probes=PROBES)
    calibration = CONSTANT if choice.scores is None else class_fusion.calibrate(choice.scores, targets)
    return SpeciesProbe(probes.fit(choice, features, targets), classes, choice, calibration)


def fit_fusion(fitted, media, rng):
    """Choose how two modalities are fused, on random pairs of their scores out of fold.

    Args:
        fitted: {modality: SpeciesProbe}.
        media: {modality: the rows that it was trained on}.

    Returns:
        Fusion; None if the two have fewer than two species in common.
    """
    classes = [name for name in fitted["photo"].classes if name in fitted["sound"].classes]
    if len(classes) < 2:
        return None
    calibrations = {name: probe.calibration for name, probe in fitted.items()}
    if any(probe.choice.scores is None for probe in fitted.values()):
        return Fusion(classes, calibrations, "product", {})
    paired = pair(media["photo"], media["sound"], classes, rng)
    scores = {name: _of_classes(probe.choice.scores, probe.classes, classes)[paired[name]] for name, probe in fitted.items()}
    rule, qualities = class_fusion.choose_rule(scores, _targets(paired["species"], classes), calibrations)
    return Fusion(classes, calibrations, rule, qualities)


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


def evaluate(fitted, fusion, features, media, paired):
    """Probabilities by photo, by sound and by both of the same pairs.

    Args:
        fitted, fusion: of ``fit`` and ``fit_fusion``.
        features, media: {modality: (rows, features)} and {modality: rows}, of recordings that nothing was trained on.
        paired: of ``pair``, of the species of ``fusion``.

    Returns:
        (targets, {"sound", "photo", "both": (pairs, classes)}, clusters): ``clusters`` (pairs,) is equal for pairs that share a group.
    """
    scores = {
        name: _of_classes(probe.predict(features[name]), probe.classes, fusion.classes)[paired[name]] for name, probe in fitted.items()
    }
    calibrated = {name: class_fusion.apply(fusion.calibrations[name], scores[name]) for name in ("sound", "photo")}
    groups = {name: media[name]["group_id"].to_numpy()[paired[name]] for name in MODALITIES}
    media_groups = pd.DataFrame({"group_id": groups["sound"], "audio_path": "", "image_path": groups["photo"], "video_path": ""})
    clusters = splits.units(media_groups) if len(paired) else np.zeros(0, int)
    both = class_fusion.fuse(scores, fusion.calibrations, fusion.rule)
    return _targets(paired["species"], fusion.classes), {**calibrated, "both": both}, clusters


def study(features, media, rng):
    """Train the probes on train and validation, and report figures of test: by pairs, or by the one modality that can be trained.

    Args:
        features, media: {modality: (rows, features)} and {modality: rows, with ``split`` and ``is_repeated``}; either may be empty.
        rng: of folds, pairs and bootstrap.
    """
    trained = {name: _part(features, media, name, media[name]["split"] != "test") for name in MODALITIES}
    tested = {name: _part(features, media, name, media[name]["split"] == "test") for name in MODALITIES}
    fitted = {name: fit(*trained[name], rng) for name in MODALITIES}
    fusion = None
    if all(fitted.values()):
        fusion = fit_fusion(fitted, {name: table for name, (_, table) in trained.items()}, rng)
    if fusion:
        parts = [{name: part[i] for name, part in tested.items()} for i in (0, 1)]
        evaluated = evaluate(fitted, fusion, *parts, pair(parts[1]["photo"], parts[1]["sound"], fusion.classes, rng))
    else:
        evaluated = _evaluate_alone(fitted, tested)
    table = _figures(*evaluated, rng)
    return Study(fitted, fusion, table, _describe(table, *evaluated, rng))


def _part(features, media, name, is_wanted):
    rows = np.flatnonzero(is_wanted & ~media[name]["is_repeated"])
    return features[name][rows], media[name].iloc[rows].reset_index(drop=True)


def _evaluate_alone(fitted, tested):
    """As ``evaluate``, of the first modality that has a probe."""
    for name, probe in fitted.items():
        if probe:
            features, table = tested[name]
            is_known = table["species"].isin(probe.classes).to_numpy()
            scores = class_fusion.apply(probe.calibration, probe.predict(features[is_known]))
            return _targets(table["species"][is_known], probe.classes), {name: scores}, table["group_id"].to_numpy()[is_known]
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


def _targets(species, classes):
    return (np.asarray(species, object)[:, None] == np.array(classes, object)).astype(np.float32)


def _of_classes(scores, known, wanted):
    """The columns of some of the known classes, so that each row adds up to 1."""
    columns = scores[:, [known.index(name) for name in wanted]].astype(float)
    return columns / np.maximum(columns.sum(axis=1, keepdims=True), 1e-12)
