"""The classifier that stage 07 saves: members, calibration, and what is said about them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from arrays import rng

from birdlib import runtime
from birdlib.metrics import classification
from birdlib.models import probes
from birdlib.species import (
    ablation,
    classifier_inputs,
    classifiers,
    dataset,
    ensembles,
    experiments,
    final_classifier,
    train_heads,
)

N = 90


@pytest.fixture
def data(tmp_path):
    """Three species; 30 rows of each split, two to a group."""
    species = np.arange(N) % 3
    splits = pd.DataFrame({
        "recording_id": [f"r{i}" for i in range(N)], "species": np.array(["jay", "owl", "tit"])[species],
        "split": np.repeat(["train", "validation", "test"], 30), "is_repeated": False, "group_id": np.arange(N) // 2,
    })  # fmt: skip
    return dataset.TrainingData(tmp_path, splits, np.eye(3)[species], ["jay", "owl", "tit"], pd.DataFrame(), None, "yamnet", "single")


def scores_of(data, skill, seed=0):
    return 1 / (1 + np.exp(-(skill * (data.truth - 0.5) + rng(seed).standard_normal(data.truth.shape))))


def results_of(data, skills):
    rows = {name: ablation.Row("encoder", name, {"encoder": name}) for name in skills}
    return [ablation.Result(row, None, scores_of(data, skills[name], 1)) for name, row in rows.items()]


def test_ensemble_is_chosen_on_validation_with_the_scores_of_the_saved_classifier(data):
    own = scores_of(data, 9.0)
    chosen = final_classifier.choose_ensemble("auto", results_of(data, {"yamnet": 0.0, "mel_cnn": 0.0}), own, data, rng())
    assert chosen.members == ["yamnet"] and np.allclose(chosen.scores, own) and set(chosen.validation) == {"yamnet", "mel_cnn"}
    assert chosen.validation["yamnet"] == classification.macro_roc_auc(data.truth[data.is_validation], own[data.is_validation])
    assert final_classifier.describe_ensemble(chosen, ["yamnet"]).startswith(f"Chosen: {chosen.rule} of yamnet, macro ROC-AUC ")


def test_named_members_all_join_and_only_the_rule_is_chosen(data):
    results = results_of(data, {"yamnet": 0.0, "birdnet": 9.0, "mel_cnn": 0.0})
    chosen = final_classifier.choose_ensemble("birdnet,mel_cnn", results, scores_of(data, 1.0), data, rng())
    assert chosen.members == ["birdnet", "mel_cnn"] and chosen.rule in ensembles.RULES
    assert "within one standard error" in final_classifier.describe_ensemble(dataclasses.replace(
        chosen, tried=pd.DataFrame({"macro_auc": [0.9, 0.8], "is_chosen": [False, True]})
    ), chosen.members)  # fmt: skip


@pytest.mark.parametrize(("embedder", "name"), [("yamnet", "yamnet"), ("yamnet_bands", "yamnet (yamnet_bands)")])
def test_a_member_is_named_with_the_embedder_that_was_chosen_for_it(embedder, name, data):
    chosen = final_classifier.choose_ensemble("yamnet,mel_cnn", results_of(data, {"yamnet": 0.0, "mel_cnn": 0.0}), scores_of(data, 1.0), data, rng())
    first = train_heads.PatchEmbeddings(None, None, None, {"embedder": embedder}, {})
    saved = final_classifier.Saved({}, "chosen", None, first, 1.0)
    assert final_classifier.member_names(chosen, saved, "yamnet") == [name, "mel_cnn"]


def test_calibration_is_fitted_on_validation_and_evaluated_on_test(data):
    scores = scores_of(data, 4.0)
    changed = np.where(data.is_test[:, None], 1.0 - scores, scores)
    calibrated, other = (final_classifier.calibrate(values, data, rng()) for values in (scores, changed))
    assert calibrated.curve == other.curve and other.errors["probabilities"] > calibrated.errors["probabilities"]
    assert calibrated.reliability["scores"]["n"].sum() == 30 * 3 and len(calibrated.precision) == 5
    assert "Calibration makes it worse" in final_classifier.describe_calibration(
        dataclasses.replace(calibrated, errors={"scores": 0.1, "probabilities": 0.2})
    )


@pytest.mark.parametrize(("predicted", "word"), [(0.9, "high"), (0.1, "low")])
def test_description_of_a_calibration_states_the_direction_of_its_error(predicted, word):
    table = pd.DataFrame({"predicted": [predicted], "observed": [0.5], "n": [9]})
    result = final_classifier.Calibration({"method": "platt", "scope": "pooled"}, {"probabilities": table}, {"scores": 0.5, "probabilities": 0.4}, None)
    assert final_classifier.describe_calibration(result).endswith(f"Probabilities are too {word} by 0.40 on average.")


@pytest.fixture
def inputs(data, monkeypatch):
    """One patch a recording, in which the species differ."""
    monkeypatch.setattr(experiments.stages, "receipt", lambda *_: {"parameters": {"denoise": "none"}})
    embeddings = (data.truth @ rng().normal(size=(3, 8)) + 0.5 * rng(1).normal(size=(N, 8))).astype(np.float32)
    patches = pd.DataFrame({"recording_id": data.splits["recording_id"], "bird_score": 0.5})
    embedded = train_heads.PatchEmbeddings(embeddings, patches, None, {"kind": "embeddings", "embedder": "none"}, {})
    layer = embedded.pooling()
    config = {"loss": "cross_entropy", "soundscapes": False, "mixup": False}
    options = train_heads.Options(window_patches=0, hidden="4", epochs=2)
    return classifier_inputs.Inputs(config, data, embedded, train_heads.pool_recordings(embedded, data, layer), layer, options)


def network_of(inputs):
    runtime.set_seed(0)
    return classifiers.build_head(inputs.features.shape[1], 3, "single", [4], 0.0)


def test_a_classifier_that_is_named_is_saved_and_reproduces_its_scores(inputs, tmp_path):
    saved = final_classifier.save_classifier(tmp_path, network_of(inputs), inputs, "both", rng())
    assert np.allclose(saved.scores["both"], (saved.scores["network"] + saved.scores["logistic regression"]) / 2, atol=1e-5) and saved.strength > 0
    assert final_classifier.is_reproduced(tmp_path, saved) and saved.name == "both" and not len(saved.table)
    assert not final_classifier.is_reproduced(tmp_path, dataclasses.replace(saved, fitted=saved.fitted + 0.1))


def test_the_chosen_classifier_has_scores_out_of_fold_but_for_test_and_is_reproduced(inputs, data, tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "PROBES", probes.PROBES[:1])
    saved = final_classifier.save_classifier(tmp_path, network_of(inputs), inputs, "auto", rng())
    scores = saved.scores[final_classifier.CHOSEN]
    assert saved.name == final_classifier.CHOSEN and np.allclose(scores[data.is_test], saved.fitted[data.is_test])
    assert np.abs(scores - saved.fitted)[~data.is_test].max() > 1e-6 and final_classifier.is_reproduced(tmp_path, saved)
    assert saved.table["is_chosen"].sum() == 1 and saved.selection.name in final_classifier.describe_saved(saved)
    assert not list(tmp_path.glob("tmp*"))


def test_predictions_and_settings_are_saved_with_the_classes(data, tmp_path):
    (tmp_path / "classifier.keras").write_text("own")
    scores = scores_of(data, 4.0)
    table = final_classifier.predictions(data, scores)
    assert list(table.columns) == ["recording_id", "species", "split", "is_repeated", *data.classes] and len(table) == N
    chosen = final_classifier.choose_ensemble("auto", results_of(data, {"yamnet": 0.0}), scores, data, rng())
    written = final_classifier.save_ensemble(tmp_path, data, chosen, {"method": "none"}, np.full(3, 0.5))
    assert written["thresholds"] == [0.5] * 3 and written["members"] == ["."] and written["prior"] == pytest.approx([1 / 3] * 3)


def test_a_class_named_like_a_column_has_a_column_of_its_own(data):
    named = dataclasses.replace(data, classes=["jay", "species", "split"])
    columns = list(final_classifier.predictions(named, data.truth).columns)
    assert columns[-3:] == ["jay", "class species", "class split"] and len(set(columns)) == len(columns)
