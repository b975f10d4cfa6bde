"""Files of trainings: candidates of the ensemble, its folder, and the removal of stale trainings."""

import json

import numpy as np
import pytest

from birdlib import runtime
from birdlib.species import ablation, classifiers, experiments


def results_of(tmp_path, names, licences=None):
    for name in names:
        (tmp_path / name).mkdir()
        weights = {"teacher": {"licence": licences[name]}} if name in (licences or {}) else {}
        runtime.write_json({"weights": weights}, tmp_path / name / "training.json")
        for file in classifiers.FILES:
            (tmp_path / name / file).write_text(name)
    return [ablation.Result(ablation.Row("encoder", name, {"encoder": name}), tmp_path / name, np.zeros((1, 2))) for name in names]


def test_birdnet_joins_only_by_its_name(tmp_path):
    """Its licence forbids commercial use, also of classifiers on its embeddings."""
    results = results_of(tmp_path, ["yamnet", "birdnet", "mel_cnn"])
    assert list(experiments.candidates("auto", results, "yamnet")) == ["yamnet", "mel_cnn"]
    assert list(experiments.candidates("yamnet,birdnet", results, "yamnet")) == ["yamnet", "birdnet"]
    assert list(experiments.candidates("mel_cnn", results, "yamnet")) == ["mel_cnn"] and list(experiments.candidates("", results, "yamnet")) == ["yamnet"]
    with pytest.raises(experiments.TrainingError, match="perch"):
        experiments.candidates("perch", results, "yamnet")


def test_what_is_distilled_from_birdnet_joins_only_by_its_name(tmp_path):
    results = results_of(tmp_path, ["yamnet", "mel_cnn", "mobilenetv2"], {"mel_cnn": "CC BY-NC-SA 4.0", "mobilenetv2": "Apache-2.0"})
    assert list(experiments.candidates("auto", results, "yamnet")) == ["yamnet", "mobilenetv2"]
    assert list(experiments.candidates("yamnet,mel_cnn", results, "yamnet")) == ["yamnet", "mel_cnn"]


def test_former_members_are_removed_from_the_folder(tmp_path):
    results = experiments.candidates("auto", results_of(tmp_path, ["yamnet", "mel_cnn", "mae"]), "yamnet")
    (tmp_path / "classifier.keras").write_text("own")
    settings = {"rule": "min", "validation": {"yamnet": 0.9, "mel_cnn": float("nan"), "mae": 0.7}}
    both = experiments.save_ensemble(tmp_path, "yamnet", ["yamnet", "mel_cnn", "mae"], results, settings)
    assert both["members"] == [".", "members/mel_cnn", "members/mae"] and len(set(both["sha256"].values())) == 3
    assert both["validation"] == {".": 0.9, "members/mae": 0.7}
    experiments.save_ensemble(tmp_path, "yamnet", ["yamnet", "mae"], results, settings)
    assert [path.name for path in (tmp_path / "members").iterdir()] == ["mae"]
    assert json.loads((tmp_path / "ensemble.json").read_text())["members"] == [".", "members/mae"]


def test_trainings_of_other_recordings_or_code_are_removed(tmp_path):
    for name, digest, code in (("now", "a", experiments.CODE), ("before", "b", experiments.CODE), ("by older code", "a", "recipe 0")):
        (tmp_path / name).mkdir()
        runtime.write_json({"inputs": {"code": code, "03_embed": digest}}, tmp_path / name / "training.json")
    (tmp_path / "unfinished").mkdir()
    experiments.remove_stale(tmp_path, {"03_embed": "a"})
    assert [path.name for path in tmp_path.iterdir()] == ["now"]
