"""Training with triplets: collapse is detected and remedied, the best epoch is kept, every objective separates species."""

import functools
import subprocess
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from made_pairs import encoder, library

from birdlib import checkpoints, runtime, stages
from birdlib.losses import metric_learning, mining
from birdlib.metrics import retrieval
from birdlib.multimodal import pairs, triplet_training

COLUMNS = ["epoch", "mining", "loss", "spread", "active_share", "validation_map_at_r", "is_kept"]


def fit(one, whole, validate=True, **options):
    train, validation = pairs.rows(whole, "train"), pairs.rows(whole, "validation")
    options = {"n_samples": 3, "learning_rate": 3e-3} | options
    options = triplet_training.Options(**options)
    return triplet_training.fit(one, whole, train, validation if validate else [side[:0] for side in validation], options)


def embedded(one, whole, split):
    table = pairs.pair(*pairs.rows(whole, split), np.random.default_rng(0))
    return pairs.embed(one, whole, table), table["species"].to_numpy()


def is_same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def fit_badly(**options):
    """Photos of similar features, the hardest negatives from the first epoch on, and large steps."""
    whole, one = library(n_species=20, n_each=4, signal=1.0, offset=3.0), encoder()
    options = {"objective": "batch_hard", "margin": 0.5, "learning_rate": 1e-2, "patience": 99} | options
    return one, whole, fit(one, whole, **options)


@pytest.mark.slow
def test_unguarded_hard_mining_collapses():
    """Collapsed: the hardest positive is as near as the hardest negative, and the loss stays at the margin."""
    model, whole, history = fit_badly(epochs=4, min_spread=0)
    assert history["spread"].iloc[-1] < 0.03 and mining.spread(embedded(model, whole, "train")[0]) < 0.03
    assert history["loss"].iloc[-1] == pytest.approx(0.5, abs=0.02) and history["active_share"].iloc[-1] > 0.95
    assert set(history["mining"]) == {"batch_hard"}


def test_guard_warns_of_a_collapse_and_continues_with_softer_mining():
    with pytest.warns(triplet_training.CollapseWarning, match="collapsing.*going on.*with batch_semi_hard") as caught:
        model, whole, history = fit_badly(epochs=5)
    assert len([one for one in caught if one.category is triplet_training.CollapseWarning]) == 1
    assert "spread is 0.0" in str(caught[0].message) or "is at the margin" in str(caught[0].message)
    assert history["mining"].drop_duplicates().tolist() == ["batch_hard", "batch_semi_hard"]
    assert history["loss"].iloc[-1] < 0.45
    assert mining.spread(embedded(model, whole, "train")[0]) > 0.3
    assert history.loc[history["is_kept"], "spread"].item() > 0.3


@pytest.mark.filterwarnings("ignore::birdlib.multimodal.triplet_training.CollapseWarning")
@pytest.mark.parametrize("objective", ["triplet_hard", "arcface"])
def test_training_stops_with_the_last_healthy_weights_where_every_mining_collapses(objective):
    """Nothing is trained at rate 0, and no spread reaches 2: two epochs of each mining, and the encoder is unchanged."""
    one, whole = encoder(), library()
    before = one.get_weights()
    with pytest.warns(triplet_training.CollapseWarning, match="stopping with the last healthy weights"):
        history = fit(one, whole, objective=objective, epochs=9, learning_rate=0.0, weight_decay=0.0, min_spread=2.0)
    softer = triplet_training.OBJECTIVES[objective][2]
    names = [objective] * 2 + [softer] * 2 * bool(softer)
    assert history["mining"].tolist() == names and history["epoch"].tolist() == list(range(1, len(names) + 1))
    assert not history["is_kept"].any() and is_same(one.get_weights(), before)


@pytest.mark.parametrize(
    ("values", "n_ill", "patience", "kept", "n_epochs"),
    [
        ([0.2, 0.7, 0.5, 0.7], [0, 0, 0, 0], 99, 2, 4),  # the first of two equals
        ([np.nan] * 3, [0, 0, 0], 1, 3, 3),  # without validation, the last
        ([0.5, 0.6, 0.6, 0.5, 0.9], [0, 0, 0, 0, 0], 2, 2, 4),
        ([0.2, 0.9, 0.8, 0.1], [0, 1, 2, 0], 99, 1, 4),  # collapsed embeddings may score well by chance
        ([np.nan, np.nan], [0, 1], 99, 1, 2),
    ],
)
def test_the_best_epoch_that_is_not_in_collapse_is_kept(values, n_ill, patience, kept, n_epochs):
    """The encoder's weight is the number of the epoch."""
    weights, measured = [0], iter(values)
    one = types.SimpleNamespace(get_weights=lambda: weights[0], set_weights=lambda new: weights.__setitem__(0, new))
    guard, best = types.SimpleNamespace(n_ill=0), checkpoints.BestEpoch(one, patience)
    validation = triplet_training._Validation(lambda: next(measured), guard, best)
    validation.set_model(types.SimpleNamespace(stop_training=False))
    for epoch, guard.n_ill in enumerate(n_ill, start=1):
        weights[0] = epoch
        validation.on_epoch_end(epoch - 1, {})
        if validation.model.stop_training:
            break
    best.restore()
    assert (best.kept, weights[0], epoch) == (kept, kept, n_epochs)


def test_the_encoder_ends_with_the_weights_of_the_kept_epoch(monkeypatch):
    """The second of four epochs has the best MAP@R."""
    one, figures, weights = encoder(), iter([0.2, 0.9, 0.1, 0.1]), []

    def map_at_r(found, species, among):
        weights.append(one.get_weights())
        return next(figures)

    monkeypatch.setattr(retrieval, "map_at_r", map_at_r)
    monkeypatch.setattr(pairs, "KINDS", ())  # a single figure an epoch
    history = fit(one, library(), epochs=9, patience=2)
    assert history["is_kept"].tolist() == [False, True, False, False]
    assert [is_same(one.get_weights(), then) for then in weights] == [False, True, False, False]


@pytest.fixture(scope="module")
def trained():
    """By objective: encoder, library, history, and what was mined from, of three epochs mined anew after two."""

    @functools.cache
    def train(objective):
        one, whole, seen, mine = encoder(), library(), [], mining.mine

        def watched(embeddings, *others):
            seen.append(embeddings)
            return mine(embeddings, *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mining, "mine", watched)
            return one, whole, fit(one, whole, objective=objective, epochs=3, remine_every=2), seen

    return train


SLOW = ("triplet_semi_hard", "batch_semi_hard")  # the guard's tests train with them too


OF_PHOTOS = [name for name in triplet_training.OBJECTIVES if name != "triplet_similar"]  # which needs sounds


@pytest.mark.parametrize("objective", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OF_PHOTOS])
def test_every_objective_separates_distinct_species(objective, trained):
    """Species differ by three times the noise: an unseen photo is nearest to its own species."""
    one, whole, history, _ = trained(objective)
    assert list(history) == COLUMNS and history["epoch"].tolist() == [1, 2, 3]
    assert history["is_kept"].sum() == 1 and set(history["mining"]) == {objective}
    assert history["spread"].between(0, 1).all() and history["active_share"].between(0, 1).all()
    (found, species), (gallery, among) = embedded(one, whole, "validation"), embedded(one, whole, "train")
    assert retrieval.recall_at_k(found @ gallery.T, species, among, 1) > 0.9


def test_the_same_seed_gives_the_same_training(trained):
    again, other = (fit(encoder(), library(), objective="batch_hard", epochs=1, seed=seed) for seed in (0, 2))
    first = trained("batch_hard")[2][:1].assign(is_kept=True)  # of three epochs
    pd.testing.assert_frame_equal(first, again, rtol=1e-4)
    assert (first["loss"] - other["loss"]).abs().max() > 1e-4


def test_triplets_are_mined_anew_every_remine_every_epochs(trained):
    """3 epochs, mined before the first and the third, each time on the encoder's embeddings at that time."""
    *_, seen = trained("triplet_hard")
    assert len(seen) == 2 and not np.allclose(*seen)


def test_training_runs_to_the_end_without_validation_rows_and_with_a_single_sample_of_a_species():
    whole = library()
    whole.photos.loc[whole.photos["species"] == "s05", "split"] = ["train"] + ["none"] * 9
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        history = fit(encoder(), whole, validate=False, epochs=3, patience=1)
    assert history["validation_map_at_r"].isna().all() and history["is_kept"].tolist() == [False, False, True]
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"objective": "triplet"}, "triplet_hard, triplet_semi_hard, triplet_similar, batch_hard"),
        ({"epochs": 0}, "epochs is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"remine_every": 0}, "remine_every is 0"),
        ({"n_species": 1}, "n_species is 1: it must be 2 or more"),
        ({"n_samples": 1}, "n_samples is 1"),
    ],
)
def test_invalid_parameters_are_named(options, named):
    with pytest.raises(triplet_training.TripletError, match=named):
        fit(encoder(), library(), **options)


def test_a_single_species_or_single_samples_are_refused():
    with pytest.raises(stages.NothingToDoError, match="only 1 species"):
        fit(encoder(), library(n_species=1))
    with pytest.raises(stages.NothingToDoError, match="only 0 species"):
        fit(encoder(), library(n_species=0))
    with pytest.raises(stages.NothingToDoError, match="two samples"):
        fit(encoder(), library(n_each=1), objective="triplet_hard")


def test_arcface_adds_class_centres_on_top_of_the_encoder():
    one = encoder()
    model = triplet_training.compiled(one, 7, triplet_training.Options(objective="arcface"))
    assert model.output_shape == (None, 7) and one.output_shape == (None, 16)
    assert triplet_training.compiled(one, 7, triplet_training.Options(objective="batch_hard")).loss.options == {"margin": 0.2}
    assert isinstance(model.loss, type(metric_learning.get("arcface")))


TWO_REPLICAS = """
import sys
sys.path[:0] = ["tests/helpers", "tests/multimodal"]
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
import made_pairs
import test_triplet_training as here
from birdlib import devices
from birdlib.metrics import retrieval
assert devices.n_replicas() == 1
for objective in ("batch_semi_hard", "triplet_semi_hard"):
    whole = made_pairs.library()
    with strategy.scope():
        assert devices.n_replicas() == 2
        one = made_pairs.encoder()
        history = here.fit(one, whole, objective=objective, epochs=4, n_species=5, n_samples=3)
    (found, species), (gallery, among) = here.embedded(one, whole, "validation"), here.embedded(one, whole, "train")
    assert retrieval.recall_at_k(found @ gallery.T, species, among, 1) > 0.9, history.to_string()
"""


@pytest.mark.slow
def test_two_replicas_train_on_batches_of_odd_size():
    """Two logical CPU devices stand in for two GPUs: 15 rows, or 5 triplets, for each."""
    command = [sys.executable, "-c", TWO_REPLICAS]
    subprocess.run(command, cwd=runtime.repository(), check=True, capture_output=True, timeout=300)


def test_description_of_a_training_names_its_kept_epoch_and_softer_mining():
    history = pd.DataFrame({"mining": ["batch_hard"] * 2 + ["batch_semi_hard"], "validation_map_at_r": [0.1, 0.3, 0.2], "is_kept": [False, True, False]})
    history["epoch"] = [1, 2, 3]
    text = triplet_training.describe(history)
    assert "Epoch 2 of 3 is kept: validation MAP@R 0.30, 0.10 after the first epoch." in text and "changed to batch_semi_hard" in text
    assert "raise `epochs`" in triplet_training.describe(history[:2])
    assert "No epoch is kept" in triplet_training.describe(history[:1])
