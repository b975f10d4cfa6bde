"""Probes of inner blocks, on made-up patches of three blocks of which the middle one separates two species."""

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime
from birdlib.species import ablation, block_probes, classifiers, train_heads

BLOCKS = {"1-2": [0, 4], "2-2": [4, 8], "embedding": [8, 12]}
N = 24


class Data:
    """In place of ``dataset.TrainingData``: 24 recordings of two species, a third of them in each split."""

    splits = pd.DataFrame({"recording_id": [f"r{i}" for i in range(N)], "species": np.array(["a", "b"])[np.arange(N) % 2], "split": np.repeat(["train", "validation", "test"], N // 3)})
    labels, truth, classes, windows = np.arange(N) % 2, np.eye(2)[np.arange(N) % 2], ["a", "b"], None
    is_train, is_validation, is_test = np.repeat(np.eye(3, dtype=bool), N // 3, axis=1)


def embedded(blocks=BLOCKS, seed=0):
    """Two patches a recording: noise, but for block 2-2, in which the species point in opposite directions."""
    patches = np.random.default_rng(seed).normal(size=(2 * N, 12)).astype(np.float32)
    patches[:, 4:8] = 0.2 * patches[:, 4:8] + np.repeat(np.where(Data.labels, 1.0, -1.0), 2)[:, None] * [1, -1, 1, 1]
    columns = {"recording_id": np.repeat(Data.splits["recording_id"], 2), "patch": [0, 1] * N, "start_s": 0.0, "end_s": 3.0, "bird_score": 0.5}
    preprocessing = {"kind": "embeddings", "embedder": "birdnet_blocks", "octave_down": False, "key": "k"} | ({"blocks": blocks} if blocks else {})
    return train_heads.PatchEmbeddings(patches, pd.DataFrame(columns).reset_index(drop=True), None, preprocessing, {"birdnet": {"licence": "x"}})


@pytest.fixture(scope="module")
def trained():
    config = {"encoder": "birdnet_blocks", "loss": "bce", "soundscapes": False, "mixup": False}
    return block_probes.train(config, Data, embedded(), np.random.default_rng(0), train_heads.Options())


def test_the_block_that_separates_the_species_on_validation_is_taken(trained):
    _, scores, history, preprocessing, _ = trained
    assert preprocessing["note"].startswith("block 2-2, ") and preprocessing["note"].endswith("the best of 9 on validation")
    assert (scores.argmax(axis=1) == Data.labels)[Data.is_test].all()
    best = history.groupby("block", sort=False)["validation_auc"].max()
    assert best.index.tolist() == list(BLOCKS) and best["2-2"] == 1.0 > best["1-2"]


def test_the_saved_probe_predicts_the_same_and_depends_on_its_block_alone(trained, tmp_path):
    model, scores, _, preprocessing, _ = trained
    classifiers.save(tmp_path, model, Data.classes, preprocessing)
    again, _, _ = classifiers.load(tmp_path)
    patches = embedded().embeddings.reshape(N, 2, 12)
    found = again.predict({"embeddings": patches, "weights": np.full((N, 2), 0.5, np.float32)}, verbose=0)
    assert found == pytest.approx(scores, abs=1e-5)
    patches[:, :, :4] *= -1
    assert again.predict({"embeddings": patches, "weights": np.full((N, 2), 0.5, np.float32)}, verbose=0) == pytest.approx(scores, abs=1e-3)


def test_the_table_has_a_row_a_block_and_a_column_a_probe(trained, tmp_path):
    _, _, history, _, _ = trained
    runtime.write_json({"history": history.to_dict("records")}, tmp_path / "training.json")
    row = ablation.Row("encoder", "birdnet_blocks", {})
    table = block_probes.table([ablation.Result(row, tmp_path, None), ablation.Result(ablation.Row("encoder", "birdnet", {}), tmp_path, None)])
    assert table.index.tolist() == [("birdnet_blocks", block) for block in BLOCKS] and set(table.columns) == {"logistic regression", "5 neighbours", "20 neighbours"}
    assert block_probes.table([]).empty


def test_blocks_are_no_embedder_of_stage_03():
    with pytest.raises(ablation.UntrainableError, match="not the embedder of 03"):
        block_probes.train({"soundscapes": False}, Data, embedded(blocks=None), np.random.default_rng(0), train_heads.Options())
