"""The classifier that stage 07 saves, see ``classifier_choice``, its ensemble with other encoders, and its calibration.

The ensemble and its calibration are chosen on validation without its repeated rows; test is for figures only. Scores are (rows of the splits, classes).
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.metrics import calibration, classification
from birdlib.models import pooling, probe_fits, probes
from birdlib.species import (
    classifier_choice,
    classifier_inputs,
    classifiers,
    ensembles,
    experiments,
    site_hour,
    soundscape_windows,
    train_heads,
)

BOTH, AUTO, CHOSEN = "both", "auto", "chosen"  # the last: the name of what ``auto`` gives
SAVED = (AUTO, BOTH, "network", "logistic regression")


@dataclasses.dataclass(frozen=True)
class Saved:
    """What was saved.

    Attributes:
        scores: {classifier: (rows of the splits, classes)}.
        name: of the saved one.
        fitted: scores of the saved model itself, in place of those out of fold.
        first: PatchEmbeddings of the first recording, by the embedder of the saved one.
        strength: C of logistic regression, chosen on validation.
        selection: of ``classifier_choice``; None where the classifier was named.
        notes: embedders that could not be tried, and why.
    """

    scores: dict
    name: str
    fitted: np.ndarray
    first: train_heads.PatchEmbeddings
    strength: float
    selection: classifier_choice.Selection | None = None
    notes: tuple = ()

    @property
    def table(self):
        """Candidates of the choice, a row each; without rows where the classifier was named."""
        return self.selection.table if self.selection else probes.compare({}, None, None, None, rng=None)[1]


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """``members``: encoders in their order; ``results``: {candidate: ablation.Result}; ``rule`` and ``kept``: of ``ensembles.combine``;
    ``validation``: {candidate: macro ROC-AUC}; ``tried``: the table of ``ensembles.choose``."""

    members: list
    results: dict
    rule: str
    kept: list | None
    scores: np.ndarray
    validation: dict
    tried: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Calibration:
    """``curve``: of ``calibration.choose``; on test: ``reliability`` {scores, probabilities: table}, ``errors``, ``precision`` by threshold."""

    curve: dict
    reliability: dict
    errors: dict
    precision: pd.DataFrame


def require_saved(name):
    """The name of the classifier to save; ClassifierError if there is none of that name."""
    if name not in SAVED:
        raise classifiers.ClassifierError(f"saved is {name!r}: choose {', '.join(SAVED)}")
    return name


def save_classifier(folder, network, inputs, saved, rng):
    """Fit logistic regression on the features of a network, choose the classifier where ``saved`` is ``auto``, and save it, patches to scores.

    The regression learns one species a recording, and from windows without any of the species (negative labels of stage 06) a background.

    Args:
        network: of ``train_heads.train_head``, on the training split.
        inputs: ``classifier_inputs.Inputs``.
        saved: one of ``SAVED``.
        rng: of the choice.

    Raises:
        ClassifierError: if there is no classifier of that name.

    Returns:
        Saved.
    """
    from birdlib.species import fit_heads

    require_saved(saved)
    data, features, embedded, background = inputs.data, inputs.features, inputs.embedded, inputs.background
    rows, labels = features[data.is_train], data.labels[data.is_train]
    if background is not None:
        rows, labels = np.concatenate([rows, background]), np.append(labels, np.full(len(background), len(data.classes)))
    logistic, strength = fit_heads.fit_logistic_regression(rows, labels, (features[data.is_validation], data.truth[data.is_validation]))
    heads = {"network": network, "logistic regression": logistic, BOTH: probe_fits.average([network, logistic], [0.5, 0.5])}
    scores = {name: classifiers.predict(head, features) for name, head in heads.items()}
    name, selection, notes = CHOSEN if saved == AUTO else saved, None, []
    if saved == AUTO:
        with tempfile.TemporaryDirectory(dir=folder) as other_dir:
            others, notes = classifier_inputs.alternatives(inputs, Path(other_dir))
            selection = classifier_choice.select(inputs, rng, network, others)
            chosen = next(one for one in [inputs, *others] if one.embedder == selection.candidate.embedder)
            model, fitted = classifier_choice.fit(selection, chosen, rng, network)
            embedded = chosen.embedded
            first = _of_first(embedded, data)
        scores[CHOSEN] = np.where(np.isfinite(selection.scores), selection.scores, fitted)
    else:
        fitted, first = scores[saved], _of_first(embedded, data)
        model = classifiers.join(inputs.patch_pooling, heads[saved], embedded.embeddings.shape[1])
    experiments.save_member(folder, model, scores[name], data, embedded.preprocessing)
    return Saved(scores, name, fitted, first, strength, selection, tuple(notes))


def _of_first(embedded, data):
    """The patches of the first recording, in memory."""
    is_first = (embedded.patches["recording_id"] == data.splits.loc[0, "recording_id"]).to_numpy()
    patches = embedded.patches[is_first].reset_index(drop=True)
    return dataclasses.replace(embedded, embeddings=np.array(embedded.embeddings[is_first]), patches=patches, windows=None)


def describe_saved(classifier):
    """Sentences about a Saved: which classifier it is, and how it was chosen."""
    if classifier.selection is None:
        return f"Saved as named: {classifier.name}; logistic regression has C = {classifier.strength:g}."
    return " ".join([classifier_choice.describe(classifier.selection), *(f"Not tried: {note}." for note in classifier.notes)])


def choose_ensemble(members, results, scores, data, rng):
    """Choose members and rule on validation; where ``members`` names them, only the rule.

    Args:
        members: as ``text`` of ``experiments.candidates``.
        results: of the ablation's encoder rows.
        scores: of the classifier on the embedder of stage 03, in place of its ablation row.
        rng: of folds and bootstrap.

    Returns:
        Ensemble.
    """
    allowed = experiments.candidates(members, results, data.embedder)
    by_encoder = {name: scores if name == data.embedder else result.scores for name, result in allowed.items()}
    is_validation = data.is_validation
    on_validation = {name: encoder_scores[is_validation] for name, encoder_scores in by_encoder.items()}
    truth, groups = data.truth[is_validation], data.splits["group_id"].to_numpy()[is_validation]
    choose = ensembles.choose if members == "auto" else ensembles.choose_rule
    rule, chosen, tried = choose(on_validation, truth, groups, rng)
    kept = ensembles.keep([on_validation[name] for name in chosen], rule)
    combined = ensembles.combine([by_encoder[name] for name in chosen], rule, kept)
    validation = {name: classification.macro_roc_auc(truth, encoder_scores) for name, encoder_scores in on_validation.items()}
    return Ensemble(chosen, allowed, rule, kept, combined, validation, tried)


def calibrate(scores, data, rng):
    """Fit the calibration on validation and evaluate it on test: a Calibration."""
    is_validation, is_test, truth = data.is_validation, data.is_test, data.truth[data.is_test]
    groups = data.splits["group_id"].to_numpy()[is_validation]
    curve, _ = calibration.choose(scores[is_validation], data.truth[is_validation], groups, rng)
    values = {"scores": scores[is_test], "probabilities": calibration.apply(curve, scores)[is_test]}
    return Calibration(
        curve,
        {name: calibration.reliability(truth, rows) for name, rows in values.items()},
        {name: calibration.expected_calibration_error(truth, rows) for name, rows in values.items()},
        calibration.precision_table(truth, values["probabilities"]),
    )


def describe_calibration(result):
    """Sentences about a Calibration: its method, what it changes on test, and what the sign of the remaining error means."""
    before, after = result.errors["scores"], result.errors["probabilities"]
    text = f"{result.curve['method']}, {result.curve['scope']}: expected calibration error on test {before:.3f} before, {after:.3f} after."
    if after > before:
        text += " Calibration makes it worse: validation is small or unlike test; rank by the scores and do not read them as probabilities."
    table = result.reliability["probabilities"]
    gap = float(np.average(table["predicted"] - table["observed"], weights=table["n"])) if len(table) else 0.0
    if abs(gap) > 0.02:
        text += f" Probabilities are too {'high' if gap > 0 else 'low'} by {abs(gap):.2f} on average."
    return text


def member_names(ensemble, classifier, own):
    """Names of the members, for people: that on stage 03's embedder ``own`` is followed by the embedder of the saved classifier, where it is another."""
    embedder = classifier.first.preprocessing["embedder"]
    return [f"{name} ({embedder})" if name == own != embedder else name for name in ensemble.members]


def describe_ensemble(ensemble, names):
    """A sentence about an Ensemble of ``member_names``: what was chosen, and how much the best candidate would gain on validation."""
    chosen = ensemble.tried.loc[ensemble.tried["is_chosen"], "macro_auc"].iloc[0]
    text = f"Chosen: {ensemble.rule} of {', '.join(names)}, macro ROC-AUC {chosen:.3f} on validation."
    best = ensemble.tried["macro_auc"].max()
    if best > chosen:
        text += f" The best combination has {best:.3f}, which is within one standard error, so the simplest is taken."
    return text


def save_ensemble(folder, data, ensemble, curve, thresholds):
    """Save the members, the prior by site and hour of stage 06 if there is one, and ``ensemble.json``; returns its contents, see ``experiments.save_ensemble``."""
    is_readable = stages.can_be_read(data.outputs_dir, soundscape_windows.STAGE)
    site_hour.save(site_hour.load(Path(data.outputs_dir) / soundscape_windows.STAGE, data.classes) if is_readable else None, folder)
    settings = {"rule": ensemble.rule, "kept": ensemble.kept, "calibration": curve, "thresholds": thresholds.tolist(), "prior": data.prior.tolist()}
    settings["validation"] = ensemble.validation
    return experiments.save_ensemble(folder, data.embedder, ensemble.members, ensemble.results, settings)


def predictions(data, scores):
    """Scores of every row as a table: ``recording_id, species, split, is_repeated``, and a column for each class.

    A class of the same name as one of the four is ``class NAME``: columns must differ.
    """
    columns = ["recording_id", "species", "split", "is_repeated"]
    classes = [f"class {name}" if name in columns else name for name in data.classes]
    return pd.concat([data.splits[columns], pd.DataFrame(scores, columns=classes)], axis=1)


def is_reproduced(folder, classifier):
    """Whether the classifier of a Saved, read back, predicts its scores of the first recording."""
    saved, _, _ = classifiers.load(Path(folder))
    weights = pooling.patch_weights(classifier.first.patches["bird_score"].to_numpy())
    predicted = saved.predict({"embeddings": classifier.first.embeddings[None], "weights": weights[None]}, verbose=0)
    return np.allclose(predicted, classifier.fitted[:1], atol=1e-4)
