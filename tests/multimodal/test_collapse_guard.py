import types
import warnings

import numpy as np
import pytest

from birdlib.multimodal import triplet_training


def guarded(objective, spreads, loss=1.0, **options):
    """A guard that measures these spreads, epoch by epoch; the encoder's weight is the number of the epoch.

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

    guard = triplet_training.CollapseGuard(measure, one, 0.5, objective, **options)
    guard.set_model(types.SimpleNamespace(stop_training=False))
    n_warnings = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(1, len(spreads) + 1):
            weights[0] = np.array([float(epoch)])
            guard.on_epoch_end(epoch - 1, {"loss": loss})
            n_warnings.append(len(caught))
    return guard, weights[0].item(), n_warnings


def test_two_ill_epochs_in_a_row_are_a_collapse():
    """Then the weights are those of epoch 3, the last healthy one."""
    guard, weight, n_warnings = guarded("multi_similarity", [0.5, 0.04, 0.3, 0.04, 0.03])
    assert n_warnings == [0, 0, 0, 0, 1] and weight == 3 and guard.has_collapsed and guard.model.stop_training


@pytest.mark.parametrize("spreads", [[0.01, 0.02, 0.03, 0.04], [0.5, 0.04, 0.045, 0.04, 0.05], [0.06] * 4])
def test_a_small_spread_that_grows_is_no_collapse(spreads):
    guard, weight, _ = guarded("multi_similarity", spreads)
    assert not guard.has_collapsed and weight == len(spreads)


@pytest.mark.parametrize("objective", ["batch_hard", "triplet_hard"])
def test_loss_at_the_margin_is_a_sign_of_collapse_for_hard_mining_only(objective):
    assert guarded(objective, [0.5, 0.5], loss=0.49)[0].has_collapsed
    assert not guarded(objective, [0.5, 0.5], loss=0.4)[0].has_collapsed
    assert not guarded(triplet_training.OBJECTIVES[objective][2], [0.5, 0.5], loss=0.49)[0].has_collapsed


def test_min_spread_0_switches_the_guard_off():
    assert not guarded("batch_hard", [0.001, 0.0, 0.0], loss=0.5, min_spread=0)[0].has_collapsed


def test_softening_resets_the_guard():
    guard, *_ = guarded("triplet_hard", [0.01, 0.0])
    assert guard.soften() and guard.objective == "triplet_semi_hard" and not guard.has_collapsed
    assert not guard.soften()
