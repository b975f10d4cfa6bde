"""The study of poolings on made-up patches in which the poolings differ."""

import numpy as np
import pandas as pd
import pytest

from birdlib.models import base, probe_fits
from birdlib.species import classifier_inputs, dataset, pooling_study, train_heads

N, DIM = 40, 4


@pytest.fixture
def made(tmp_path, monkeypatch):
    """40 recordings of four patches: the species is in the one patch with a bird, behind louder patches without."""
    rng, species = np.random.default_rng(0), np.arange(N) % 2
    splits = pd.DataFrame({
        "recording_id": [f"r{i}" for i in range(N)], "species": np.array(["jay", "owl"])[species], "split": "train",
        "is_repeated": False, "group_id": np.arange(N) // 2,
    })  # fmt: skip
    patches = rng.normal(size=(N, 4, DIM))
    patches[:, 0, 0] += np.where(species, 2.0, -2.0)
    table = pd.DataFrame({"recording_id": np.repeat(splits["recording_id"], 4), "bird_score": np.tile([1.0, 0.0, 0.0, 0.0], N)}).reset_index(drop=True)
    embedded = train_heads.PatchEmbeddings(patches.reshape(-1, DIM).astype(np.float32), table, None, {"embedder": "made"}, {})
    data = dataset.TrainingData(tmp_path, splits, np.eye(2)[species], ["jay", "owl"], pd.DataFrame(), None, "made", "single")

    def load(name, data, folder, with_windows):
        if name != "made":
            raise base.EmbedderError("its layers cannot be reached")
        return embedded

    monkeypatch.setattr(classifier_inputs, "ALTERNATIVES", {"made": ("other",)})
    monkeypatch.setattr(dataset, "load", lambda outputs, mode: data)
    monkeypatch.setattr(train_heads, "load_embeddings", load)
    return embedded, splits


def test_weights_by_bird_score_help_where_only_one_patch_has_the_bird(made, tmp_path):
    table = pooling_study.run(tmp_path, n_repeats=1).set_index("pooling")
    assert list(table.index) == list(pooling_study.POOLINGS) and set(table["embedder"]) == {"made"}
    unweighted = table.loc["mean and deviation, unweighted"]
    assert unweighted["macro_auc_difference"][2] < 0 and unweighted["verdict"] == "hurts"
    assert table.loc[pooling_study.REFERENCE, "verdict"] == "" and table.loc[pooling_study.REFERENCE, "macro_auc"] > 0.9
    assert pooling_study.as_text(table.reset_index()).loc[0, "macro_auc_difference"] == ""


def test_features_are_statistics_of_the_patches_of_unit_length(made):
    embedded, splits = made
    features = pooling_study.features_of(embedded, splits["recording_id"])
    highest = embedded.embeddings[:4].max(axis=0)
    assert features["maximum"][0] == pytest.approx(highest / np.linalg.norm(highest), abs=1e-5)
    assert features[pooling_study.REFERENCE].shape == (N, 2 * DIM) and features["maximum"].shape == (N, DIM)
    missing = pooling_study.features_of(embedded, [*splits["recording_id"], "absent"])["mean and deviation, unweighted"]
    assert np.isnan(missing[-1]).all() and np.isfinite(missing[:-1]).all()


def test_too_few_groups_are_refused(made, tmp_path):
    made[1]["group_id"] = 0
    with pytest.raises(probe_fits.ProbeError, match="too few groups"):
        pooling_study.run(tmp_path)
