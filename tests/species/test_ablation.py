"""The ablation: which rows are trained, which are reused, and their verdicts."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime
from birdlib.metrics import classification
from birdlib.models import birdnet, perch, weights
from birdlib.species import ablation

BASE = {"encoder": "yamnet", "loss": "cross_entropy", "soundscapes": False, "mixup": False}
SPECIES = np.tile(np.arange(3), 40)
TRUTH = np.eye(3)[SPECIES]
SPLITS = pd.DataFrame({"split": ["validation"] * 60 + ["test"] * 60, "is_repeated": [False] * 110 + [True] * 10, "group_id": np.arange(120) // 2})
IS_VALIDATION = (SPLITS["split"] == "validation").to_numpy()


def scores_of(skill, seed=0):
    return 1 / (1 + np.exp(-(skill * (TRUTH - 0.5) + np.random.default_rng(seed).standard_normal(TRUTH.shape))))


@pytest.fixture
def trainer():
    """A function that writes random scores of a given skill, and the list of configurations it trained."""
    done = []

    def train(training, place):
        done.append(training)
        if training["encoder"] == "perch":
            raise weights.MissingWeightsError("perch:\n  not on this machine")
        place.mkdir(parents=True)
        np.save(place / "scores.npy", scores_of(1.0 + 3.0 * training["soundscapes"], seed=int(training["mixup"])))
        runtime.write_json({"training_s": 1.0, "embedding_s": 2.0, "note": "1 of 120 recordings"}, place / "training.json")

    return train, done


def compare(results):
    return ablation.compare(results, TRUTH, SPLITS, classification.best_thresholds, IS_VALIDATION, np.random.default_rng(0))


def test_each_step_is_compared_with_the_one_before():
    rows = ablation.step_rows("audio,soundscapes,mixup", BASE, True)
    assert [(row.name, row.against) for row in rows] == [
        ("train audio only", ""), ("+ soundscapes", "train audio only"), ("+ mixup", "+ soundscapes")
    ]  # fmt: skip
    assert rows[2].training == BASE | {"soundscapes": True, "mixup": True}
    without = ablation.step_rows("audio,soundscapes,mixup", BASE, False)
    assert without[2].against == "train audio only" and without[2].training == BASE | {"mixup": True}


def test_losses_and_encoders_are_compared_with_those_in_use():
    losses, encoders = ablation.loss_rows("bce, focal", BASE), ablation.encoder_rows("birdnet,yamnet", BASE, ["yamnet", "birdnet"])
    assert [row.name for row in losses] == ["cross_entropy", "bce", "focal"] and {row.against for row in losses[1:]} == {"cross_entropy"}
    assert [(row.name, row.against) for row in encoders] == [("yamnet", ""), ("birdnet", "yamnet")]
    assert ablation.loss_rows("", BASE) == []


def test_unknown_names_are_refused_with_the_known_ones():
    for wrong in (lambda: ablation.step_rows("noise", BASE, True), lambda: ablation.loss_rows("hinge", BASE)):
        with pytest.raises(ablation.AblationError, match="noise.*mixup|hinge.*soft_auc"):
            wrong()


def test_verdict_and_components_follow_the_scores(trainer, tmp_path):
    rows = ablation.step_rows("audio,soundscapes,mixup", BASE, True)
    results = ablation.run(rows, trainer[0], runtime.digest, tmp_path, has_windows=True)
    table = compare(results).set_index(["name", "rows"])
    own = table.xs("test without repeated rows", level="rows")
    assert own["verdict"].tolist() == ["", "helps", "no difference seen"]
    assert own["n"].tolist() == [50] * 3 and table.xs("test", level="rows")["n"].tolist() == [60] * 3
    value, low, high = own.loc["+ soundscapes", "difference"]
    assert value == pytest.approx(own.loc["+ soundscapes", "macro_auc"][0] - own.loc["train audio only", "macro_auc"][0]) and low <= value <= high
    alike = [dataclasses.replace(result, scores=results[0].scores) for result in results]
    assert ablation.components("auto", alike, TRUTH, IS_VALIDATION) == {"soundscapes": True, "mixup": False}  # 06 chose the labels
    assert ablation.components("mixup", results, TRUTH, IS_VALIDATION) == {"soundscapes": False, "mixup": True}
    assert ablation.sentence(table.reset_index().query("rows == 'test'")).startswith("helps: + soundscapes; no difference seen: + mixup")
    text = ablation.as_text(compare(results))
    assert (text["training_s"] == 1).all() and (text["embedding_s"] == 2).all() and (text["note"] == "1 of 120 recordings").all()


def test_row_is_trained_again_only_if_its_key_changes(trainer, tmp_path):
    train, done = trainer
    rows = ablation.step_rows("audio,mixup", BASE, False)
    run = functools.partial(ablation.run, rows, train, folder=tmp_path, has_windows=False)
    first, again = run(key=runtime.digest), run(key=runtime.digest)
    assert len(done) == 2 and np.array_equal(first[1].scores, again[1].scores)
    run(key=lambda training: runtime.digest([training, "other recordings"]))
    assert len(done) == 4


def test_killed_run_resumes_with_the_interrupted_row(trainer, tmp_path):
    train, done = trainer
    rows = ablation.step_rows("audio,mixup", BASE, False)

    def killed(training, place):
        if training["mixup"]:
            raise KeyboardInterrupt
        train(training, place)

    with pytest.raises(KeyboardInterrupt):
        ablation.run(rows, killed, runtime.digest, tmp_path, has_windows=False)
    ablation.run(rows, train, runtime.digest, tmp_path, has_windows=False)
    assert [config["mixup"] for config in done] == [False, True]


def test_missing_windows_and_weights_give_rows_with_a_note(trainer, tmp_path):
    rows = [*ablation.step_rows("audio,soundscapes", BASE, False), *ablation.encoder_rows("perch", BASE, ["yamnet", "perch"])]
    results = ablation.run(rows, trainer[0], runtime.digest, tmp_path, has_windows=False)
    table = compare(results).drop_duplicates("name").set_index("name")
    assert "06_pseudolabel" in table.loc["+ soundscapes", "note"] and table.loc["perch", "note"] == "perch: not on this machine"
    assert table.loc[["+ soundscapes", "perch"], "verdict"].tolist() == ["", ""] and np.isnan(table.loc["perch", "macro_auc"][0])
    assert not any(ablation.components("auto", results, TRUTH, IS_VALIDATION).values())
    with pytest.raises(ablation.AblationError, match="06_pseudolabel"):
        ablation.components("soundscapes", results, TRUTH, IS_VALIDATION)


@pytest.mark.parametrize("error", [weights.WeightsError, birdnet.BirdnetError, perch.PerchError])
def test_embedder_that_fails_on_this_machine_gives_a_row_with_a_note(error, tmp_path):
    """BirdNET gives no embedding in some versions of LiteRT; the other rows are trained all the same."""

    def train(training, place):
        raise error("update ai-edge-litert")

    [result] = ablation.run(ablation.step_rows("audio", BASE, False), train, runtime.digest, tmp_path, has_windows=False)
    assert result.scores is None and result.note == "update ai-edge-litert"


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [([0.1, 0.01, 0.2], "helps"), ([0.1, -0.1, 0.2], "no difference seen"), ([-0.1, -0.2, -0.01], "hurts"), ([0.1, np.nan, np.nan], "")],
)
def test_verdict_needs_an_interval_without_zero(difference, verdict):
    assert ablation.verdict(difference) == verdict


def test_notes_name_their_rows_once():
    row = lambda part, name: ablation.Row(part, name, {})  # noqa: E731
    results = [ablation.Result(row("encoder", "mae_base"), None, None, note="weights cannot be had"), ablation.Result(row("loss", "bce"), None, None)]
    results += [ablation.Result(row("steps", name), None, None, note="weights cannot be had") for name in ("audio", "+ mixup", "audio")]
    assert ablation.notes(results) == "mae_base, audio, + mixup: weights cannot be had"
    assert ablation.notes(results[1:2]) == "none"
