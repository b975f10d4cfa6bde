"""Learning from triplets: a collapse is seen and left, the best epoch is kept, every objective learns."""

import functools
import subprocess
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from made_pairs import encoder, library

from birdlib import runtime
from birdlib.losses import metric_learning, mining
from birdlib.metrics import retrieval
from birdlib.multimodal import pairs, triplet_training

COLUMNS = ["epoch", "mining", "loss", "spread", "active_share", "validation_map_at_r", "is_kept"]


def fit(one, whole, validate=True, **options):
    train, validation = pairs.rows(whole, "train"), pairs.rows(whole, "validation")
    options = {"n_samples": 3, "learning_rate": 3e-3} | options
    return triplet_training.fit(one, whole, train, validation if validate else [side[:0] for side in validation], **options)


def embedded(one, whole, split):
    table = pairs.pair(*pairs.rows(whole, split), np.random.default_rng(0))
    return pairs.embed(one, whole, table), table["species"].to_numpy()


def is_same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def hopeless(**options):
    """All photos look much alike, the hardest negatives are asked for at once, and the steps are large."""
    whole, one = library(n_species=20, n_each=4, signal=1.0, offset=3.0), encoder()
    options = {"objective": "batch_hard", "margin": 0.5, "learning_rate": 1e-2, "patience": 99} | options
    return one, whole, fit(one, whole, **options)


@pytest.mark.slow
def test_unguarded_hard_mining_lays_everything_on_one_point():
    """There the hardest positive is as near as the hardest negative, and the loss is the margin, for ever."""
    one, whole, history = hopeless(epochs=4, least_spread=0)
    assert history["spread"].iloc[-1] < 0.03 and mining.spread(embedded(one, whole, "train")[0]) < 0.03
    assert history["loss"].iloc[-1] == pytest.approx(0.5, abs=0.02) and history["active_share"].iloc[-1] > 0.95
    assert set(history["mining"]) == {"batch_hard"}


def test_the_guard_sees_it_says_so_and_goes_on_with_softer_mining():
    with pytest.warns(triplet_training.CollapseWarning, match="collapsing.*going on.*with batch_semi_hard") as told:
        one, whole, history = hopeless(epochs=5)
    assert len([one for one in told if one.category is triplet_training.CollapseWarning]) == 1
    assert "spread is 0.0" in str(told[0].message) or "sits at the margin" in str(told[0].message)
    assert history["mining"].drop_duplicates().tolist() == ["batch_hard", "batch_semi_hard"]
    assert history["loss"].iloc[-1] < 0.45
    assert mining.spread(embedded(one, whole, "train")[0]) > 0.3
    assert history.loc[history["is_kept"], "spread"].item() > 0.3


def guarded(objective, spreads, loss=1.0, **options):
    """A guard that is shown embeddings of these spreads, epoch by epoch; the encoder's weight is the number of the epoch.

    A mean vector of length sqrt(1 - spread) makes that spread.
    """
    weights = [np.array([0.0])]
    one = types.SimpleNamespace(
        get_weights=lambda: [weights[0].copy()], set_weights=lambda new: weights.__setitem__(0, new[0].copy())
    )
    shown = iter(spreads)

    def measure():
        spread = next(shown)
        up, aside = np.sqrt(1 - spread), np.sqrt(spread)
        return np.array([0, 0, 1, 1]), np.array([[up, aside], [up, -aside]] * 2, np.float32)

    guard = triplet_training.collapse_guard(measure, one, 0.5, objective, **options)
    guard.set_model(types.SimpleNamespace(stop_training=False))
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(1, len(spreads) + 1):
            weights[0] = np.array([float(epoch)])
            guard.on_epoch_end(epoch - 1, {"loss": loss})
            told.append(len(caught))
    return guard, weights[0].item(), told


def test_one_ill_epoch_is_forgiven_and_two_are_not():
    """Then the weights are those of epoch 3, the last healthy one."""
    guard, weight, told = guarded("multi_similarity", [0.5, 0.04, 0.3, 0.04, 0.03])
    assert told == [0, 0, 0, 0, 1] and weight == 3 and guard.has_collapsed and guard.model.stop_training


@pytest.mark.parametrize("spreads", [[0.01, 0.02, 0.03, 0.04], [0.5, 0.04, 0.045, 0.04, 0.05], [0.06] * 4])
def test_a_narrow_start_that_widens_is_no_collapse(spreads):
    guard, weight, _ = guarded("multi_similarity", spreads)
    assert not guard.has_collapsed and weight == len(spreads)


@pytest.mark.parametrize("objective", ["batch_hard", "triplet_hard"])
def test_a_loss_at_the_margin_is_a_sign_for_hard_mining_only(objective):
    assert guarded(objective, [0.5, 0.5], loss=0.49)[0].has_collapsed
    assert not guarded(objective, [0.5, 0.5], loss=0.4)[0].has_collapsed
    assert not guarded(triplet_training.SOFTER[objective], [0.5, 0.5], loss=0.49)[0].has_collapsed


def test_without_a_least_spread_the_guard_only_looks_on():
    assert not guarded("batch_hard", [0.001, 0.0, 0.0], loss=0.5, least_spread=0)[0].has_collapsed


def test_after_softening_the_guard_is_as_new():
    guard, *_ = guarded("triplet_hard", [0.01, 0.0])
    assert guard.soften() and guard.objective == "triplet_semi_hard" and not guard.has_collapsed
    assert not guard.soften()


@pytest.mark.filterwarnings("ignore::birdlib.multimodal.triplet_training.CollapseWarning")
@pytest.mark.parametrize("objective", ["triplet_hard", "arcface"])
def test_where_every_mining_collapses_training_stops_with_the_weights_that_were_healthy(objective):
    """Nothing is learnt at rate 0, and no spread reaches 2: two epochs of each mining, and the encoder is as it was."""
    one, whole = encoder(), library()
    before = one.get_weights()
    with pytest.warns(triplet_training.CollapseWarning, match="stopping with the last healthy weights"):
        history = fit(one, whole, objective=objective, epochs=9, learning_rate=0.0, weight_decay=0.0, least_spread=2.0)
    names = [objective] * 2 + [triplet_training.SOFTER[objective]] * 2 if objective in triplet_training.SOFTER else [objective] * 2
    assert history["mining"].tolist() == names and history["epoch"].tolist() == list(range(1, len(names) + 1))
    assert not history["is_kept"].any() and is_same(one.get_weights(), before)


def kept(values, n_ill=None, patience=99):
    """(epoch kept, weight at the end, epochs until it stops): the encoder's weight is the number of the epoch."""
    weights = [0]
    one = types.SimpleNamespace(get_weights=lambda: weights[0], set_weights=lambda new: weights.__setitem__(0, new))
    shown, guard = iter(values), types.SimpleNamespace(n_ill=0)
    best = triplet_training._classes()["BestEpoch"](one, lambda: next(shown), guard, patience)
    best.set_model(types.SimpleNamespace(stop_training=False))
    for epoch, guard.n_ill in zip(range(1, len(values) + 1), n_ill or [0] * len(values), strict=True):
        weights[0] = epoch
        best.on_epoch_end(epoch - 1, {})
        if best.model.stop_training:
            break
    best.restore()
    return best.kept, weights[0], epoch


def test_the_best_epoch_is_kept_the_first_where_several_are():
    assert kept([0.2, 0.7, 0.5, 0.7]) == (2, 2, 4)


def test_without_validation_the_last_epoch_is_kept():
    assert kept([np.nan] * 3, patience=1) == (3, 3, 3)


def test_an_epoch_in_collapse_is_never_kept():
    """On one point the order is by lot, and may be good by chance."""
    assert kept([0.2, 0.9, 0.8, 0.1], n_ill=[0, 1, 2, 0]) == (1, 1, 4)
    assert kept([np.nan, np.nan], n_ill=[0, 1]) == (1, 1, 2)


def test_training_stops_after_so_many_epochs_without_a_better_one():
    assert kept([0.5, 0.6, 0.6, 0.5, 0.9], patience=2) == (2, 2, 4)


def test_the_encoder_ends_with_the_weights_of_the_kept_epoch(monkeypatch):
    """The second epoch is said to be the best; two more are not better."""
    one, said, weights = encoder(), iter([0.2, 0.9, 0.1, 0.1]), []

    def map_at_r(found, species, among):
        weights.append(one.get_weights())
        return next(said)

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


@pytest.mark.parametrize("objective", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in triplet_training.OBJECTIVES])
def test_every_objective_learns_species_that_differ(objective, trained):
    """The species' marks are three times the noise: a photo never seen lies next to its own."""
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


def test_triplets_are_mined_anew_every_so_many_epochs(trained):
    """3 epochs, mined before the first and the third, each time on what the encoder then makes."""
    *_, seen = trained("triplet_hard")
    assert len(seen) == 2 and not np.allclose(*seen)


def test_without_validation_rows_training_goes_on_to_the_end_and_a_single_sample_does_no_harm():
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
        ({"objective": "triplet"}, "triplet_hard, triplet_semi_hard, batch_hard"),
        ({"epochs": 0}, "epochs is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"remine_every": 0}, "remine_every is 0"),
        ({"n_species": 1}, "n_species is 1: it must be 2 or more"),
        ({"n_samples": 1}, "n_samples is 1"),
    ],
)
def test_what_cannot_be_trained_with_is_named(options, named):
    with pytest.raises(triplet_training.TripletError, match=named):
        fit(encoder(), library(), **options)


def test_one_species_alone_or_one_sample_of_each_is_refused():
    with pytest.raises(triplet_training.TripletError, match="only 1 species"):
        fit(encoder(), library(n_species=1))
    with pytest.raises(triplet_training.TripletError, match="only 0 species"):
        fit(encoder(), library(n_species=0))
    with pytest.raises(triplet_training.TripletError, match="two samples"):
        fit(encoder(), library(n_each=1), objective="triplet_hard")


def test_arcface_has_class_centres_that_the_encoder_does_not():
    one = encoder()
    model = triplet_training.compiled(one, "arcface", 7)
    assert model.output_shape == (None, 7) and one.output_shape == (None, 16)
    assert triplet_training.compiled(one, "batch_hard", 7).loss.options == {"margin": 0.2}
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
from birdlib import runtime
from birdlib.metrics import retrieval
assert runtime.n_replicas() == 1
for objective in ("batch_semi_hard", "triplet_semi_hard"):
    whole = made_pairs.library()
    with strategy.scope():
        assert runtime.n_replicas() == 2
        one = made_pairs.encoder()
        history = here.fit(one, whole, objective=objective, epochs=4, n_species=5, n_samples=3)
    (found, species), (gallery, among) = here.embedded(one, whole, "validation"), here.embedded(one, whole, "train")
    assert retrieval.recall_at_k(found @ gallery.T, species, among, 1) > 0.9, history.to_string()
"""


@pytest.mark.slow
def test_two_replicas_learn_from_batches_of_odd_size():
    """Two logical CPU devices stand in for two GPUs: 15 rows, or 5 triplets, for each."""
    subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS], cwd=runtime.repository(), check=True, capture_output=True, timeout=300
    )
