"""What is kept of trainings, in files alone: who may join the ensemble, its folder, and what is swept away."""

import json

import numpy as np
import pytest

from birdlib import runtime
from birdlib.species import ablation, classifiers, experiments


def results_of(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        for file in classifiers.FILES:
            (tmp_path / name / file).write_text(name)
    return [ablation.Result(ablation.Row("encoder", name, {"encoder": name}), tmp_path / name, np.zeros((1, 2))) for name in names]


def test_birdnet_joins_only_by_its_name(tmp_path):
    """Its licence forbids commerce, and what hears through it may not be sold either."""
    results = results_of(tmp_path, ["yamnet", "birdnet", "mel_cnn"])
    assert list(experiments.candidates("auto", results, "yamnet")) == ["yamnet", "mel_cnn"]
    assert list(experiments.candidates("yamnet,birdnet", results, "yamnet")) == ["yamnet", "birdnet"]
    assert list(experiments.candidates("mel_cnn", results, "yamnet")) == ["mel_cnn"] and list(experiments.candidates("", results, "yamnet")) == ["yamnet"]
    with pytest.raises(experiments.TrainingError, match="perch"):
        experiments.candidates("perch", results, "yamnet")


def test_members_that_left_the_ensemble_leave_the_folder(tmp_path):
    results = experiments.candidates("auto", results_of(tmp_path, ["yamnet", "mel_cnn", "mae"]), "yamnet")
    (tmp_path / "classifier.keras").write_text("own")
    told = {"rule": "min", "validation": {"yamnet": 0.9, "mel_cnn": float("nan"), "mae": 0.7}}
    both = experiments.keep_ensemble(tmp_path, "yamnet", ["yamnet", "mel_cnn", "mae"], results, told)
    assert both["members"] == [".", "members/mel_cnn", "members/mae"] and len(set(both["sha256"].values())) == 3
    assert both["validation"] == {".": 0.9, "members/mae": 0.7}  # as soundscapes.get_ready looks it up
    experiments.keep_ensemble(tmp_path, "yamnet", ["yamnet", "mae"], results, told)
    assert [path.name for path in (tmp_path / "members").iterdir()] == ["mae"]
    assert json.loads((tmp_path / "ensemble.json").read_text())["members"] == [".", "members/mae"]


def test_trainings_of_recordings_as_they_were_are_swept_away(tmp_path):
    for name, digest, code in (("now", "a", experiments.CODE), ("before", "b", experiments.CODE), ("by older code", "a", "recipe 0")):
        (tmp_path / name).mkdir()
        runtime.write_json({"inputs": {"code": code, "03_embed": digest}}, tmp_path / name / "training.json")
    (tmp_path / "unfinished").mkdir()
    experiments.sweep(tmp_path, {"03_embed": "a"})
    assert [path.name for path in tmp_path.iterdir()] == ["now"]
